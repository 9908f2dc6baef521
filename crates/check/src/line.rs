//! One-line forms, and how they are compared.

use std::collections::BTreeMap;

use postrider_wire::Publish;

use crate::case::Message;

/// Packet identifiers by the names that a play gives them.
pub(crate) type Ids = BTreeMap<String, u16>;

/// A message as a line.
pub(crate) fn message(topic: &str, message: &Message) -> String {
    let flag = |is_set, name| if is_set { name } else { "" };
    let (dup, retain) = (flag(message.dup, " dup"), flag(message.retain, " retain"));
    format!("PUBLISH {topic:?} qos={}{dup}{retain} {}", message.qos, payload(&message.payload))
}

/// A PUBLISH as the line of its message: without its identifier and properties.
pub(crate) fn of_publish(publish: &Publish) -> String {
    let message = Message {
        topic: String::new(),
        qos: publish.qos,
        retain: publish.retain,
        dup: publish.dup,
        payload: publish.payload.to_vec(),
    };
    self::message(topic(publish), &message)
}

/// The topic, once an alias has been resolved.
pub(crate) fn topic(publish: &Publish) -> &str {
    publish.topic.as_ref().map(|topic| topic.as_str()).unwrap_or_default()
}

/// The beginning of a payload, and its size.
fn payload(bytes: &[u8]) -> String {
    let start = bytes.get(..bytes.len().min(PAYLOAD_BYTES_MAX)).unwrap_or_default();
    format!("'{}' {}B", start.escape_ascii(), bytes.len())
}

/// Whether a line is as expected. `*` stands for anything; `$a` for a number with that name: the one seen before, or one
/// that has no other name.
pub(crate) fn fits(pattern: &str, line: &str, ids: &mut Ids) -> bool {
    let Some((before, rest)) = pattern.split_once('$') else { return is_like(pattern, line) };
    let (name, after) =
        rest.split_at(rest.find(|next: char| !next.is_ascii_alphanumeric()).unwrap_or(rest.len()));
    if let Some(id) = ids.get(name) {
        return is_like(&format!("{before}{id}{after}"), line);
    }
    let number =
        line.split_once(" id=").map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
    let Some(id) = number.and_then(|number| number.parse::<u16>().ok()) else { return false };
    let is_new = ids.values().all(|other| *other != id);
    let does_fit = is_new && is_like(&format!("{before}{id}{after}"), line);
    if does_fit {
        ids.insert(name.to_owned(), id);
    }
    does_fit
}

fn is_like(pattern: &str, line: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == line,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|line| {
            rest.is_empty()
                || line
                    .char_indices()
                    .any(|(at, _)| is_like(rest, line.get(at..).unwrap_or_default()))
        }),
    }
}

/// Bytes of a payload that a message shows.
const PAYLOAD_BYTES_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let fits = |pattern, line| fits(pattern, line, &mut Ids::new());
        assert!(fits("CONNACK Success*", "CONNACK Success"));
        assert!(fits("CONNACK*A=1*}", "CONNACK Success {B=2 A=1 C=3}"));
        assert!(!fits("CONNACK*A=1}", "CONNACK Success {A=1 C=3}"));
        assert!(!fits("CONNACK", "CONNACK Success"));
    }

    #[test]
    fn a_name_is_bound_once_and_to_one_number() {
        let mut ids = Ids::new();
        assert!(fits("PUBLISH * id=$a 1B", "PUBLISH \"t\" qos=1 id=5 1B", &mut ids));
        assert_eq!(ids.get("a"), Some(&5));
        assert!(fits("PUBREL id=$a Success", "PUBREL id=5 Success", &mut ids));
        assert!(!fits("PUBREL id=$a Success", "PUBREL id=6 Success", &mut ids));
        assert!(!fits("PUBLISH * id=$b 1B", "PUBLISH \"t\" qos=1 id=5 1B", &mut ids));
        assert!(fits("PUBLISH * id=$b 1B", "PUBLISH \"t\" qos=1 id=6 1B", &mut ids));
    }
}
