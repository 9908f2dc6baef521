//! The format language of `mosquitto_sub -F`.

use postrider::{Message, Property, QoS};

use crate::{
    json::{Json, Layout},
    moment::Moment,
};

/// A format, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

/// What a message looks like apart from its format.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub(crate) layout: Layout,
    /// Whether subscription identifiers are the user's, and not the session's own.
    pub(crate) has_identifiers: bool,
}

/// A payload that `%J` cannot print. Everything else of the format was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotJson;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    /// `%t` and the like.
    Field(Field),
    /// `@H` and the like.
    Time(char),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    letter: char,
    is_left: bool,
    pad: u8,
    width: usize,
    precision: Option<usize>,
}

impl Format {
    /// Reads a format.
    ///
    /// # Errors
    /// Says which specifier is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '%' => pieces.push(field(&mut rest)?),
                '@' => pieces.push(match rest.next().ok_or("incomplete format specifier '@'")? {
                    '@' => Piece::Text(b"@".to_vec()),
                    letter => Piece::Time(letter),
                }),
                '\\' => push(&mut pieces, &[escape(rest.next())?]),
                _ => push(&mut pieces, character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Ok(Self(pieces))
    }

    /// Appends what the format says of a message.
    ///
    /// # Errors
    /// [`NotJson`]; all but `%J` was appended.
    pub(crate) fn write(
        &self,
        message: &Message,
        look: Look,
        out: &mut Vec<u8>,
    ) -> Result<(), NotJson> {
        let moment = Moment::now();
        let mut result = Ok(());
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Time('N') => put(out, &format!("{:09}", moment.nanos())),
                Piece::Time(letter) => put(out, &moment.part(*letter)),
                Piece::Field(field) => {
                    let written = field.write(message, look, &moment, out);
                    result = result.and(written);
                }
            }
        }
        result
    }
}

impl Field {
    fn write(
        self,
        message: &Message,
        look: Look,
        moment: &Moment,
        out: &mut Vec<u8>,
    ) -> Result<(), NotJson> {
        let properties = message.properties();
        match self.letter {
            '%' => out.push(b'%'),
            'A' => self.number(properties.topic_alias().copied().map(u64::from), out),
            'C' => self.text(message.content_type().unwrap_or_default(), out),
            'D' => out.extend_from_slice(message.correlation_data().map_or(&[], |data| data)),
            'E' => self.number(message.message_expiry().map(u64::from), out),
            'F' => self.number(properties.payload_format_indicator().copied().map(u64::from), out),
            'I' => self.text(&moment.iso(), out),
            'j' => json(message, look, moment, quoted(message)).write(look.layout, out),
            'J' => {
                let payload = unquoted(message).ok_or(NotJson)?;
                json(message, look, moment, payload).write(look.layout, out);
            }
            'l' => self.number(u64::try_from(message.payload_len()).ok(), out),
            'm' => self.number(Some(message.packet_id().unwrap_or(0).into()), out),
            'P' => {
                let pairs =
                    message.user_properties().map(|(name, value)| format!("{name}:{value}"));
                put(out, &pairs.collect::<Vec<_>>().join(" "));
            }
            'p' => self.payload(&message.payload(), Shape::Raw, out),
            'q' => put(out, &message.qos().bits().to_string()),
            'R' => {
                if let Some(topic) = message.response_topic() {
                    self.text(topic, out);
                }
            }
            'r' => out.push(if message.is_retained() { b'1' } else { b'0' }),
            'S' => self.number(identifier(message, look).map(u64::from), out),
            't' => self.text(message.topic(), out),
            'U' => put(out, &moment.unix()),
            'x' => self.payload(&message.payload(), Shape::Hex, out),
            'X' => self.payload(&message.payload(), Shape::HexCapital, out),
            // `field` lets no other letter in.
            _ => {}
        }
        Ok(())
    }

    /// As `%*d` of C; nothing is padding alone.
    fn number(self, value: Option<u64>, out: &mut Vec<u8>) {
        let text = value.map_or_else(String::new, |value| value.to_string());
        let pad = if self.is_left && value.is_some() { b' ' } else { self.pad };
        self.align(text.as_bytes(), pad, out);
    }

    /// As `%*.*s` of C: width and precision in bytes.
    fn text(self, text: &str, out: &mut Vec<u8>) {
        let len = self.precision.unwrap_or(usize::MAX).min(text.len());
        self.align(text.as_bytes().get(..len).unwrap_or_default(), b' ', out);
    }

    fn align(self, text: &[u8], pad: u8, out: &mut Vec<u8>) {
        let padding = self.width.saturating_sub(text.len());
        if !self.is_left {
            out.resize(out.len() + padding, pad);
        }
        out.extend_from_slice(text);
        if self.is_left {
            out.resize(out.len() + padding, pad);
        }
    }

    /// With the habits of `mosquitto_sub`: a width also cuts, in hexadecimal to half the bytes; `-` without a width pads
    /// by the length of the payload.
    fn payload(self, payload: &[u8], shape: Shape, out: &mut Vec<u8>) {
        let (mut shown, mut padding) = (payload, 0);
        if self.width > 0 {
            let len = payload.len().min(self.width);
            let (len, used) = if shape == Shape::Raw { (len, len) } else { (len / 2, len / 2 * 2) };
            shown = payload.get(..len).unwrap_or_default();
            padding = self.width - used;
        } else if self.is_left {
            padding = payload.len();
        }
        if !self.is_left {
            out.resize(out.len() + padding, self.pad);
        }
        match shape {
            Shape::Raw => out.extend_from_slice(shown),
            Shape::Hex => shown.iter().for_each(|byte| put(out, &format!("{byte:02x}"))),
            Shape::HexCapital => shown.iter().for_each(|byte| put(out, &format!("{byte:02X}"))),
        }
        if self.is_left {
            out.resize(out.len() + padding, b' ');
        }
    }
}

/// How a payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Raw,
    Hex,
    HexCapital,
}

fn field(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Piece, String> {
    let incomplete = || "incomplete format specifier '%'".to_owned();
    let is_left = rest.next_if_eq(&'-').is_some();
    let pad = if rest.next_if_eq(&'0').is_some() { b'0' } else { b' ' };
    let width = number(rest)?;
    let precision = rest.next_if_eq(&'.').map(|_| number(rest)).transpose()?;
    let letter = rest.next().ok_or_else(incomplete)?;
    if !LETTERS.contains(letter) {
        return Err(format!("invalid format specifier '%{letter}'; there are {LETTERS}"));
    }
    Ok(Piece::Field(Field { letter, is_left, pad, width, precision }))
}

fn number(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<usize, String> {
    let mut number = 0;
    while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
        rest.next();
        number = number * 10 + usize::try_from(digit).unwrap_or(0);
        if number > WIDTH_MAX {
            return Err(format!("a width or precision above {WIDTH_MAX}"));
        }
    }
    Ok(number)
}

fn escape(letter: Option<char>) -> Result<u8, String> {
    Ok(match letter.ok_or("incomplete escape specifier '\\'")? {
        '\\' => b'\\',
        '0' => 0,
        'a' => 7,
        'e' => 27,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        other => return Err(format!("invalid escape specifier '\\{other}'")),
    })
}

fn push(pieces: &mut Vec<Piece>, bytes: &[u8]) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.extend_from_slice(bytes),
        Some(Piece::Field(_) | Piece::Time(_)) | None => pieces.push(Piece::Text(bytes.to_vec())),
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn identifier(message: &Message, look: Look) -> Option<u32> {
    let mut ids = message.properties().iter().filter_map(|property| {
        if let Property::SubscriptionIdentifier(id) = property { Some(*id) } else { None }
    });
    ids.next().filter(|_| look.has_identifiers)
}

/// The whole message as an object.
fn json(message: &Message, look: Look, moment: &Moment, payload: Json) -> Json {
    let number = |number: usize| Json::Number(u32::try_from(number).map_or(f64::MAX, f64::from));
    let mut members = vec![
        ("tst".to_owned(), Json::Text(moment.json())),
        ("topic".to_owned(), Json::text(message.topic())),
        ("qos".to_owned(), Json::Number(message.qos().bits().into())),
        ("retain".to_owned(), Json::Number(u8::from(message.is_retained()).into())),
        ("payloadlen".to_owned(), number(message.payload_len())),
    ];
    if message.qos() != QoS::AtMostOnce {
        let id = message.packet_id().unwrap_or(0);
        members.push(("mid".to_owned(), Json::Number(id.into())));
    }
    let properties = properties(message, look);
    if !properties.is_empty() {
        members.push(("properties".to_owned(), Json::Object(properties)));
    }
    members.push(("payload".to_owned(), payload));
    Json::Object(members)
}

/// In their order; user properties together where the first of them stands.
#[allow(clippy::wildcard_enum_match_arm, reason = "a message has few of the properties")]
fn properties(message: &Message, look: Look) -> Vec<(String, Json)> {
    let mut members: Vec<(String, Json)> = Vec::new();
    for property in message.properties().iter() {
        let (name, value) = match property {
            Property::PayloadFormatIndicator(value) => {
                ("payload-format-indicator", Json::Number((*value).into()))
            }
            Property::MessageExpiryInterval(seconds) => {
                ("message-expiry-interval", Json::Number((*seconds).into()))
            }
            Property::ContentType(text) => ("content-type", Json::text(text.as_str())),
            Property::ResponseTopic(text) => ("response-topic", Json::text(text.as_str())),
            Property::CorrelationData(data) => ("correlation-data", bytes(data)),
            Property::SubscriptionIdentifier(id) if look.has_identifiers => {
                ("subscription-identifier", Json::Number((*id).into()))
            }
            Property::TopicAlias(alias) => ("topic-alias", Json::Number((*alias).into())),
            Property::UserProperty(name, value) => {
                let pair = (name.as_str().to_owned(), Json::text(value.as_str()));
                let place = members.iter_mut().find(|(name, _)| name == "user-properties");
                if let Some((_, Json::Object(pairs))) = place {
                    pairs.push(pair);
                    continue;
                }
                ("user-properties", Json::Object(vec![pair]))
            }
            // No other property comes with a message.
            _ => continue,
        };
        members.push((name.to_owned(), value));
    }
    members
}

/// The payload as text, or as an array of its bytes if it is none; `null` if it is empty.
fn quoted(message: &Message) -> Json {
    if message.payload_len() == 0 { Json::Null } else { bytes(&message.payload()) }
}

fn bytes(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Json::text(text),
        Ok(_) | Err(_) => {
            Json::Array(bytes.iter().map(|byte| Json::Number((*byte).into())).collect())
        }
    }
}

/// The payload as the JSON that it is.
fn unquoted(message: &Message) -> Option<Json> {
    if message.payload_len() == 0 {
        return Some(Json::Null);
    }
    Json::parse(message.text().ok()?)
}

/// What may follow a `%`.
const LETTERS: &str = "%ACDEFIjJlmPpqRrStUxX";
/// More padding than anybody reads; bounds what one message prints.
const WIDTH_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, expected) in [
            ("%", "incomplete format specifier '%'"),
            ("a%-", "incomplete format specifier '%'"),
            ("%5.", "incomplete format specifier '%'"),
            ("@", "incomplete format specifier '@'"),
            ("\\", "incomplete escape specifier '\\'"),
            ("%k", "invalid format specifier '%k'"),
            ("\\q", "invalid escape specifier '\\q'"),
            ("%999999t", "above 100000"),
        ] {
            let said = Format::parse(text).unwrap_err();
            assert!(said.starts_with(expected) || said.ends_with(expected), "{text}: {said}");
        }
    }

    #[test]
    fn flags_width_and_precision_are_read() {
        let expected =
            Field { letter: 't', is_left: true, pad: b'0', width: 12, precision: Some(3) };
        assert_eq!(Format::parse("%-012.3t").unwrap().0, [Piece::Field(expected)]);
        let expected = [Piece::Text(b"a\x1b\0%".to_vec())];
        let read = Format::parse("a\\e\\0").unwrap().0;
        assert_eq!(read, [Piece::Text(expected.iter().flat_map(|_| *b"a\x1b\0").collect())]);
    }

    #[test]
    fn a_width_pads_and_cuts_as_in_mosquitto() {
        let format = |text: &str, payload: &[u8]| {
            let Some(Piece::Field(field)) = Format::parse(text).unwrap().0.pop() else { panic!() };
            let mut out = Vec::new();
            let shape = if field.letter == 'x' { Shape::Hex } else { Shape::Raw };
            field.payload(payload, shape, &mut out);
            String::from_utf8(out).unwrap()
        };
        for (text, expected) in [
            ("%6x", "    61"),
            ("%-6x", "61    "),
            ("%06x", "000061"),
            ("%-p", "ab  "),
            ("%05p", "000ab"),
            ("%-05p", "ab   "),
            ("%1p", "a"),
            ("%.1p", "ab"),
        ] {
            assert_eq!(format(text, b"ab"), expected, "{text}");
        }
    }
}
