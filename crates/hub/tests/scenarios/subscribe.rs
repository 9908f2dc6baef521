//! SUBSCRIBE and UNSUBSCRIBE.

use postrider_proto::wire::{Packet, ReasonCode};

use crate::world::{World, ack, each, each_v5, each_with, id};

const GRANTED: [ReasonCode; 3] =
    [ReasonCode::Success, ReasonCode::GrantedQoS1, ReasonCode::GrantedQoS2];

/// v5 [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2]
/// [MQTT-2.2.1-6] [MQTT-3.2.2-10], v3.1.1 [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-4] [MQTT-3.8.4-5] [MQTT-3.9.3-1]
/// [MQTT-3.9.3-2] [MQTT-2.3.1-7] [MQTT-3.8.3-2]: one answer with one code for each filter, in order.
#[test]
fn subscribe_is_answered_filter_by_filter() {
    each(|world| {
        world.connect("a");
        assert_eq!(world.subscribe("a", &[("x", 0), ("+/y", 1), ("#", 2)]), GRANTED);
        world.connect("b");
        for topic in ["x", "z/y", "other"] {
            world.publish("b", topic, "m", 2);
        }
        assert_eq!(world.messages("a"), ["x=m q2", "z/y=m q2", "other=m q2"]);
    });
}

/// v5 [MQTT-3.8.4-3] [MQTT-3.8.4-4], v3.1.1 [MQTT-3.8.4-3]: the same filter again replaces the subscription; nothing
/// live is lost.
#[test]
fn same_filter_again_replaces() {
    each(|world| {
        world.connect("a");
        world.connect("b");
        for qos in [2, 0, 1] {
            world.subscribe("a", &[("t", qos)]);
            world.publish("b", "t", "m", 2);
            assert_eq!(world.messages("a"), [format!("t=m q{qos}")]);
        }
        let subscriptions: u64 = world.hubs.iter().map(|hub| hub.stats().subscriptions).sum();
        assert_eq!(subscriptions, 1);
    });
}

/// v5 [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2],
/// v3.1.1 [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6]: filters are compared
/// literally; each is answered.
#[test]
fn unsubscribe_compares_literally() {
    each(|world| {
        world.connect("a");
        world.subscribe("a", &[("t/#", 1), ("t/x", 1), ("u", 1)]);
        let reasons = world.unsubscribe("a", &["t/+", "t/x", "never", "u", "u"]);
        let none = ReasonCode::NoSubscriptionExisted;
        let gone = ReasonCode::Success;
        let expected: &[ReasonCode] =
            if world.is_v5() { &[none, gone, none, gone, none] } else { &[] };
        assert_eq!(reasons, expected);
        world.connect("b");
        world.publish("b", "t/x", "m", 1);
        world.publish("b", "u", "m", 1);
        assert_eq!(world.messages("a"), ["t/x=m q1"], "t/# is left");
    });
}

/// v5 [MQTT-3.10.4-3], v3.1.1 [MQTT-3.10.4-3]: what is under way is finished.
#[test]
fn unsubscribe_leaves_flights() {
    each(|world| {
        world.resume("a");
        world.subscribe("a", &[("t", 2)]);
        world.set_answering("a", false);
        world.connect("b");
        world.publish("b", "t", "m", 2);
        world.unsubscribe("a", &["t"]);
        assert_eq!(world.messages("a"), ["t=m q2"]);
        world.send("a", &Packet::PubRec(ack(id(1))));
        assert_eq!(world.received("a"), ["PUBREL id=1 Success"]);
        world.send("a", &Packet::PubComp(ack(id(1))));
        world.cut("a");
        world.resume("a");
        assert!(world.received("a").is_empty());
    });
}

/// v5 [MQTT-4.7.2-1] [MQTT-4.7.3-4] [MQTT-3.3.2-3], v3.1.1 [MQTT-4.7.2-1] [MQTT-4.7.3-4] [MQTT-3.3.2-3]: matching.
#[test]
fn filters_match_as_the_standard_says() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("sport/#", &["sport", "sport/a", "sport/a/b"], &["sports", "Sport/a"]),
        ("sport/+", &["sport/a", "sport/"], &["sport", "sport/a/b"]),
        ("+/+", &["/finance", "a/b"], &["finance", "a/b/c"]),
        ("/+", &["/finance"], &["a/finance", "finance"]),
        ("+", &["finance"], &["/finance"]),
        ("#", &["a", "/", "a/b"], &["$other/a"]),
        ("+/a", &["b/a"], &["$other/a"]),
        ("$other/#", &["$other/a", "$other"], &["other/a"]),
        ("a b/\u{e4}", &["a b/\u{e4}"], &["a b/a\u{308}"]),
        ("/", &["/"], &["", "//"]),
    ];
    each(|world| {
        for (filter, matching, others) in cases {
            world.connect("a");
            world.connect("b");
            world.subscribe("a", &[(filter, 0)]);
            for topic in matching.iter().chain(*others).filter(|topic| !topic.is_empty()) {
                world.publish("b", topic, "m", 0);
            }
            let expected: Vec<_> = matching.iter().map(|topic| format!("{topic}=m q0")).collect();
            assert_eq!(world.messages("a"), expected, "{filter}");
        }
    });
}

/// One filter too many is refused; the others are not hurt.
#[test]
fn subscriptions_are_bounded() {
    each_with(
        |config| config.subscriptions_max = 2,
        |world| {
            world.connect("a");
            let full = if world.is_v5() {
                ReasonCode::QuotaExceeded
            } else {
                ReasonCode::UnspecifiedError
            };
            let reasons = world.subscribe("a", &[("1", 0), ("2", 1), ("3", 2), ("2", 2)]);
            assert_eq!(reasons, [GRANTED[0], GRANTED[1], full, GRANTED[2]]);
            world.unsubscribe("a", &["1"]);
            assert_eq!(world.subscribe("a", &[("3", 2)]), [GRANTED[2]]);
        },
    );
}

/// A client that publishes to itself gets its own messages.
#[test]
fn own_messages_come_back() {
    each(|world| {
        world.connect("a");
        world.subscribe("a", &[("t", 2)]);
        for qos in 0..3 {
            world.publish("a", "t", "m", qos);
        }
        assert_eq!(world.messages("a"), ["t=m q0", "t=m q1", "t=m q2"]);
    });
}

/// v5 [MQTT-3.8.3-3]: No Local keeps a client's own messages from it, by client id, also when it was away.
#[test]
fn no_local_keeps_own_messages_away() {
    each_v5(|world| {
        use crate::world::options;
        let mut quiet = options(1);
        quiet.no_local = true;
        world.resume("a");
        world.subscribe_as("a", &[("t", quiet)], None);
        world.connect("b");
        let publish_both = |world: &mut World| {
            world.publish("a", "t", "own", 1);
            world.publish("b", "t", "other", 1);
        };
        publish_both(world);
        assert_eq!(world.messages("a"), ["t=other q1"]);
        world.cut("a");
        world.resume("a");
        publish_both(world);
        assert_eq!(world.messages("a"), ["t=other q1"]);
        world.subscribe("a", &[("t", 1)]);
        publish_both(world);
        assert_eq!(world.messages("a"), ["t=own q1", "t=other q1"]);
    });
}

/// v5 [MQTT-3.10.4-5] [MQTT-4.6.0-6]: what a filter subscribed to later does not bring back what went before.
#[test]
fn late_subscriber_misses_what_went_before() {
    each(|world| {
        world.connect("b");
        world.publish("b", "t", "before", 1);
        world.connect("a");
        world.subscribe("a", &[("t", 1)]);
        world.publish("b", "t", "after", 1);
        assert_eq!(world.messages("a"), ["t=after q1"]);
    });
}
