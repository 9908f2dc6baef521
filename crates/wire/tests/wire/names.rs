//! Topic names, topic filters, shared filters, matching.

use postrider_wire::{ClientId, Filter, FilterError, Share, Topic, TopicError};

/// v5 [MQTT-4.7.3-1] [MQTT-4.7.0-1] v3.1.1 [MQTT-4.7.3-1] [MQTT-4.7.1-1]
#[test]
fn topics() {
    for name in ["a", "/", "//", "a/b/", "/finance", " ", "a b", "$SYS/x", "Accounts payable"] {
        let topic = Topic::new(name).expect(name);
        assert_eq!(topic, name);
        assert_eq!(Topic::from_text(topic.text().clone()), Ok(topic));
    }
    assert_eq!(Topic::new(""), Err(TopicError::Empty));
    assert_eq!(Topic::new("a/+"), Err(TopicError::Wildcard(2)));
    assert_eq!(Topic::new("a#"), Err(TopicError::Wildcard(1)));
    let text = postrider_wire::Text::new("a/#").expect("a text");
    assert_eq!(Topic::from_text(text), Err(TopicError::Wildcard(2)));
    assert_eq!(Topic::from_text(postrider_wire::Text::default()), Err(TopicError::Empty));
}

/// v5 [MQTT-4.7.1-1] [MQTT-4.7.1-2] v3.1.1 [MQTT-4.7.1-2] [MQTT-4.7.1-3]
#[test]
fn filters() {
    for filter in
        ["a", "/", "#", "+", "a/#", "+/+", "/+", "+/a/#", "a/+/b", "a//+", "$SYS/#", "+/#"]
    {
        let filter = Filter::new(filter).expect(filter);
        assert_eq!(Filter::from_text(filter.text().clone()), Ok(filter));
    }
    assert_eq!(Filter::new(""), Err(FilterError::Empty));
    for (filter, at) in [("a/#/b", 2), ("a#", 1), ("#/", 0), ("##", 0), ("a/b#", 3), ("+#", 1)] {
        let found = Filter::new(filter);
        let single = Err(FilterError::SingleLevel(0));
        let expected = if filter == "+#" { single } else { Err(FilterError::MultiLevel(at)) };
        assert_eq!(found, expected, "{filter}");
    }
    for (filter, at) in [("a+", 1), ("a/+b", 2), ("++", 0), ("+a/b", 0), ("a/b+/c", 3)] {
        assert_eq!(Filter::new(filter), Err(FilterError::SingleLevel(at)), "{filter}");
    }
}

/// v5 [MQTT-4.8.2-1] [MQTT-4.8.2-2]
#[test]
fn shared_filters() {
    let share = |filter| {
        let filter = Filter::new(filter).expect(filter);
        filter.share().map(|Share { group, path }| (group.to_string(), path.to_string()))
    };
    let is = |group: &str, path: &str| Some((group.to_string(), path.to_string()));
    assert_eq!(share("$share/g/a"), is("g", "a"));
    assert_eq!(share("$share/g/a/+/#"), is("g", "a/+/#"));
    assert_eq!(share("$share/a//finance"), is("a", "/finance"));
    assert_eq!(share("$share/g/$share/h/x"), is("g", "$share/h/x"));
    assert_eq!(share("$share/gr\u{fc}n/x"), is("gr\u{fc}n", "x"));
    for ordinary in ["$share", "$shared/g/a", "$Share/g/a", "a/$share/g/a", "$SYS/share", "+/g/a"] {
        assert_eq!(share(ordinary), None, "{ordinary}");
    }
    for wrong in ["$share/", "$share/g", "$share//a", "$share/+/a", "$share/#/a", "$share/a+/x"] {
        assert_eq!(Filter::new(wrong), Err(FilterError::Share), "{wrong}");
    }
    assert_eq!(Filter::new("$share/g/"), Err(FilterError::Empty));
    assert_eq!(Filter::new("$share/g/a#"), Err(FilterError::MultiLevel(10)));
    assert_eq!(Filter::new("$share/g/+a"), Err(FilterError::SingleLevel(9)));
}

/// The path is what is matched; a `+` in it counts, the group cannot have one.
#[test]
fn paths() {
    let filter = |filter| Filter::new(filter).expect(filter);
    assert_eq!(filter("$share/g/a/b").path_bytes(), b"a/b");
    assert_eq!(filter("a/b").path_bytes(), b"a/b");
    assert_eq!(filter("$share").path_bytes(), b"$share");
    assert!(filter("$share/g/+").has_wildcard());
    assert!(filter("$share/g/+").is_shared());
    assert!(filter("a/#").has_wildcard());
    assert!(!filter("$share/g/a").has_wildcard());
    assert!(!filter("a/b").has_wildcard());
}

/// v5 [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-4] v3.1.1 [MQTT-4.7.1-2] [MQTT-4.7.1-3]
/// [MQTT-4.7.3-4]: the examples of section 4.7 and more.
#[test]
fn matching() {
    let yes = [
        ("sport/tennis/player1/#", "sport/tennis/player1"),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
        ("sport/#", "sport"),
        ("sport/#", "sport/"),
        ("#", "a"),
        ("#", "/"),
        ("#", "a/b/c"),
        ("sport/tennis/+", "sport/tennis/player1"),
        ("sport/+", "sport/"),
        ("+/+", "/finance"),
        ("/+", "/finance"),
        ("+", "finance"),
        ("+/+", "/"),
        ("/", "/"),
        ("a//b", "a//b"),
        ("a/+/b", "a//b"),
        ("+/tennis/#", "sport/tennis"),
        ("+/#", "a"),
        ("a b", "a b"),
        ("$share/g/a/+", "a/b"),
        ("$share/g//a", "/a"),
    ];
    let no = [
        ("sport/tennis/+", "sport/tennis/player1/ranking"),
        ("sport/+", "sport"),
        ("+", "/finance"),
        ("+", "a/b"),
        ("a", "A"),
        ("a", "a/"),
        ("a/", "a"),
        ("a", "/a"),
        ("a/b", "a"),
        ("a/b", "a/bc"),
        ("a/bc", "a/b"),
        ("sport/#", "sports"),
        ("sport/#", "spor"),
        ("+/+/+", "a/b"),
        ("caf\u{e9}", "cafe\u{301}"),
        ("$share/g/a", "$share/g/a"),
    ];
    for (filter, topic) in yes {
        assert!(matches(filter, topic), "{filter} matches {topic}");
    }
    for (filter, topic) in no {
        assert!(!matches(filter, topic), "{filter} does not match {topic}");
    }
}

/// v5 [MQTT-4.7.2-1] v3.1.1 [MQTT-4.7.2-1]: a wildcard at the front does not reach `$` topics.
#[test]
fn dollar_topics() {
    for filter in ["#", "+/monitor/Clients", "+/#", "+", "$share/g/#", "$share/g/+/monitor/Clients"]
    {
        assert!(!matches(filter, "$SYS/monitor/Clients"), "{filter}");
        assert!(!matches(filter, "$SYS"), "{filter}");
    }
    for filter in ["$SYS/#", "$SYS/monitor/+", "$SYS/+/Clients", "$share/g/$SYS/#"] {
        assert!(matches(filter, "$SYS/monitor/Clients"), "{filter}");
    }
    assert!(matches("+/$SYS", "a/$SYS"));
    assert!(matches("a/#", "a/$b"));
}

/// Maps keyed by a name can be asked with bytes, without making a name.
#[test]
fn names_are_found_by_bytes() {
    use std::collections::{BTreeMap, HashMap};
    let topic = Topic::new("a/b").expect("a topic");
    let by_hash = HashMap::from([(topic.clone(), 1)]);
    let by_order = BTreeMap::from([(topic, 2)]);
    assert_eq!(by_hash.get(&b"a/b"[..]), Some(&1));
    assert_eq!(by_order.get(&b"a/b"[..]), Some(&2));
    assert!(ClientId::default().is_empty());
}

/// The text of an error tells the offending byte.
#[test]
fn errors_read_well() {
    let text = |filter| Filter::new(filter).expect_err(filter).to_string();
    assert_eq!(text("a+"), "topic filter has a '+' at byte 1 that does not fill its level");
    assert_eq!(text("#/a"), "topic filter has a '#' at byte 0 that is not the whole last level");
    assert_eq!(text("$share/a"), "shared topic filter is not of the form $share/name/filter");
    assert_eq!(text(""), "topic filter is empty");
    let text = |topic| Topic::new(topic).expect_err(topic).to_string();
    assert_eq!(text("a/+"), "topic name has a wildcard at byte 2");
    assert_eq!(text("a\0"), "topic name: string holds U+0000 at byte 1");
}

fn matches(filter: &str, topic: &str) -> bool {
    let filter = Filter::new(filter).expect(filter);
    filter.matches(&Topic::new(topic).expect(topic))
}
