//! What a session keeps, and how long.

use postrider_proto::wire::{Packet, Property, ReasonCode};

use crate::world::{ack, each, each_v5, each_with, id, set_expiry};

/// v5 [MQTT-3.1.2-23] [MQTT-4.5.0-1], v3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-4.5.0-1]: QoS 1 and 2 wait for a
/// client that is away, in order; QoS 0 does not.
#[test]
fn messages_wait_for_an_absent_client() {
    each(|world| {
        world.resume("a");
        world.subscribe("a", &[("t/#", 2)]);
        world.disconnect("a");
        world.connect("b");
        for (topic, payload, qos) in [("t/1", "x", 1), ("t/2", "lost", 0), ("t/3", "y", 2)] {
            world.publish("b", topic, payload, qos);
        }
        assert!(world.resume("a"));
        assert_eq!(world.messages("a"), ["t/1=x q1", "t/3=y q2"]);
        world.publish("b", "t/4", "z", 0);
        assert_eq!(world.messages("a"), ["t/4=z q0"], "the subscription is still there");
    });
}

/// v5 [MQTT-3.3.1-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-4.3.3-5] [MQTT-4.3.3-6], v3.1.1 [MQTT-3.3.1-1]
/// [MQTT-2.3.1-4] [MQTT-4.4.0-1] [MQTT-4.3.3-1]: what was in flight is sent again on resume, with its old ids, first.
#[test]
fn flights_go_on_after_a_reconnect() {
    each(|world| {
        world.resume("a");
        world.subscribe("a", &[("t", 2)]);
        world.set_answering("a", false);
        world.connect("b");
        world.publish("b", "t", "one", 1);
        world.publish("b", "t", "two", 2);
        world.publish("b", "t", "three", 2);
        assert_eq!(world.messages("a"), ["t=one q1", "t=two q2", "t=three q2"]);
        world.send("a", &Packet::PubRec(ack(id(3))));
        assert_eq!(world.received("a"), ["PUBREL id=3 Success"]);
        world.cut("a");
        world.publish("b", "t", "four", 1);
        world.dial("a");
        world.set_answering("a", false);
        world.send_connect("a", |connect| {
            connect.clean_start = false;
            set_expiry(connect, u32::MAX);
        });
        assert!(world.take_connack("a").contains("session_present"));
        let mut received = world.received("a");
        received.sort_unstable();
        assert_eq!(
            received,
            [
                "PUBLISH \"t\" qos=1 id=1 dup 3B \"one\"",
                "PUBLISH \"t\" qos=1 id=4 4B \"four\"",
                "PUBLISH \"t\" qos=2 id=2 dup 3B \"two\"",
                "PUBREL id=3 Success",
            ]
        );
        world.send("a", &Packet::PubAck(ack(id(1))));
        world.send("a", &Packet::PubRec(ack(id(2))));
        world.send("a", &Packet::PubComp(ack(id(2))));
        world.send("a", &Packet::PubComp(ack(id(3))));
        world.send("a", &Packet::PubAck(ack(id(4))));
        world.received("a");
        world.cut("a");
        world.resume("a");
        assert!(world.received("a").is_empty(), "all is finished");
    });
}

/// v5 [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12], v3.1.1 [MQTT-4.3.3-2]: a repeated QoS 2 PUBLISH is acknowledged
/// and not delivered again, also after a reconnect; after PUBCOMP the id is new.
#[test]
fn received_ids_outlive_the_link() {
    each(|world| {
        world.connect("watcher");
        world.subscribe("watcher", &[("t", 2)]);
        world.resume("a");
        world.set_answering("a", false);
        world.send("a", &crate::world::publish_packet("t", "one", 2, 7));
        world.send("a", &crate::world::publish_packet("t", "one", 2, 7));
        assert_eq!(world.received("a"), ["PUBREC id=7 Success", "PUBREC id=7 Success"]);
        world.cut("a");
        world.resume("a");
        world.set_answering("a", false);
        world.send("a", &crate::world::publish_packet("t", "one", 2, 7));
        assert_eq!(world.received("a"), ["PUBREC id=7 Success"]);
        assert_eq!(world.messages("watcher"), ["t=one q2"]);
        world.send("a", &Packet::PubRel(ack(id(7))));
        assert_eq!(world.received("a"), ["PUBCOMP id=7 Success"]);
        world.send("a", &crate::world::publish_packet("t", "two", 2, 7));
        assert_eq!(world.messages("watcher"), ["t=two q2"]);
        world.received("a");
        world.send("a", &Packet::PubRel(ack(id(99))));
        let unknown = if world.is_v5() { "PacketIdentifierNotFound" } else { "Success" };
        assert_eq!(world.received("a"), [format!("PUBCOMP id=99 {unknown}")]);
    });
}

/// v5 [MQTT-4.1.0-2] [MQTT-3.1.2-23]: a session ends its expiry after its link, not before.
#[test]
fn sessions_expire() {
    each_v5(|world| {
        let connect = |world: &mut crate::world::World| {
            world.connect_as("a", |connect| {
                connect.clean_start = false;
                set_expiry(connect, 10);
            })
        };
        connect(world);
        world.subscribe("a", &[("t", 1)]);
        world.pass_s(100);
        world.cut("a");
        world.pass_ms(9_900);
        assert_eq!(connect(world), "CONNACK session_present Success");
        world.cut("a");
        world.pass_ms(10_100);
        let sessions: u64 = world.hubs.iter().map(|hub| hub.stats().sessions).sum();
        let subscriptions: u64 = world.hubs.iter().map(|hub| hub.stats().subscriptions).sum();
        assert_eq!((sessions, subscriptions), (0, 0));
        assert_eq!(connect(world), "CONNACK Success");
    });
}

/// v5 [MQTT-4.1.0-1] [MQTT-4.1.0-2], v3.1.1 [MQTT-3.1.2-6] [MQTT-4.1.0-1] [MQTT-4.1.0-2]: expiry 0 ends with the link.
#[test]
fn clean_sessions_end_with_their_link() {
    each(|world| {
        world.connect("a");
        world.subscribe("a", &[("t", 1)]);
        world.pass_s(1_000_000);
        world.connect("b");
        world.publish("b", "t", "x", 1);
        assert_eq!(world.messages("a"), ["t=x q1"], "not while the link is open");
        world.cut("a");
        let sessions: u64 = world.hubs.iter().map(|hub| hub.stats().sessions).sum();
        assert_eq!(sessions, 1);
        assert!(!world.resume("a"));
    });
}

/// v5 section 3.14.2.2.2: DISCONNECT may change the expiry, but not raise it from 0.
#[test]
fn disconnect_changes_the_expiry() {
    each_v5(|world| {
        world.resume("a");
        world.disconnect_with("a", ReasonCode::Success, Some(5));
        world.pass_ms(4_900);
        assert!(world.resume("a"));
        world.disconnect_with("a", ReasonCode::Success, Some(0));
        assert!(!world.resume("a"));
        world.connect("b");
        world.disconnect_with("b", ReasonCode::Success, Some(5));
        let sessions: u64 = world.hubs.iter().map(|hub| hub.stats().sessions).sum();
        assert_eq!(sessions, 1, "b ended with its link");
    });
}

/// v5 [MQTT-4.1.0-2]: a session that is resumed with expiry 0 ends with the new link.
#[test]
fn expiry_is_that_of_the_last_connect() {
    each_v5(|world| {
        world.resume("a");
        world.subscribe("a", &[("t", 1)]);
        world.cut("a");
        let connack = world.connect_as("a", |connect| connect.clean_start = false);
        assert_eq!(connack, "CONNACK session_present Success");
        world.connect("b");
        world.publish("b", "t", "x", 1);
        assert_eq!(world.messages("a"), ["t=x q1"]);
        world.cut("a");
        assert!(!world.resume("a"));
        if world.setup.is_durable {
            world.restart(2);
            assert!(world.resume("a"));
        }
    });
}

/// A session that would expire first makes room when too many have no link.
#[test]
fn absent_sessions_are_bounded() {
    each_with(
        |config| config.sessions_offline_max = 2,
        |world| {
            if world.setup.hubs > 1 {
                return;
            }
            for name in ["a", "b", "c"] {
                world.resume(name);
            }
            for name in ["b", "a", "c"] {
                world.cut(name);
                world.pass_s(1);
            }
            assert!(world.resume("a"));
            assert!(world.resume("c"));
            assert!(!world.resume("b"), "it was away longest");
        },
    );
}

/// A full queue loses the newest message for this session only; the publisher does not notice.
#[test]
fn full_queue_is_the_sessions_own_loss() {
    each_with(
        |config| config.session.queue_messages_max = 3,
        |world| {
            for name in ["a", "b"] {
                world.resume(name);
                world.subscribe(name, &[("t", 1)]);
            }
            world.cut("a");
            world.connect("c");
            for payload in ["1", "2", "3", "4", "5"] {
                assert_eq!(world.publish("c", "t", payload, 1), ReasonCode::Success);
            }
            assert_eq!(world.messages("b").len(), 5);
            let dropped: u64 = world.hubs.iter().map(|hub| hub.stats().dropped).sum();
            assert_eq!(dropped, 2);
            world.resume("a");
            assert_eq!(world.messages("a"), ["t=1 q1", "t=2 q1", "t=3 q1"]);
            world.disconnect("a");
            world.connect("a");
            let dropped: u64 = world.hubs.iter().map(|hub| hub.stats().dropped).sum();
            assert_eq!(dropped, 2, "what was lost stays counted when the session is gone");
        },
    );
}

/// v5 [MQTT-3.3.2-5] [MQTT-3.3.2-6] [MQTT-4.3.3-7]: a message expires while it waits; the interval that is sent is what
/// is left.
#[test]
fn waiting_messages_expire() {
    each_v5(|world| {
        world.resume("a");
        world.subscribe("a", &[("t", 1)]);
        world.cut("a");
        world.connect("b");
        for (payload, seconds) in [("short", 5), ("long", 60)] {
            world.publish_as("b", "t", payload, 1, |publish| {
                publish.properties.push(Property::MessageExpiryInterval(seconds));
            });
        }
        world.pass_s(6);
        world.resume("a");
        let received = world.received("a");
        assert_eq!(received, ["PUBLISH \"t\" qos=1 id=1 4B {MessageExpiryInterval=54} \"long\""]);
        let dropped: u64 = world.hubs.iter().map(|hub| hub.stats().dropped).sum();
        assert_eq!(dropped, 1);
    });
}

/// v5 [MQTT-3.3.2-7]: aliases end with the link; what is sent again names its topic.
#[test]
fn aliases_end_with_the_link() {
    each_v5(|world| {
        let connect = |world: &mut crate::world::World| {
            world.dial("a");
            world.set_answering("a", false);
            world.send_connect("a", |connect| {
                connect.clean_start = false;
                set_expiry(connect, u32::MAX);
                connect.properties.push(Property::TopicAliasMaximum(5));
            });
            world.take_connack("a");
        };
        connect(world);
        world.subscribe("a", &[("t", 1)]);
        world.connect("b");
        for payload in ["1", "2"] {
            world.publish("b", "t", payload, 1);
        }
        assert_eq!(world.messages("a").len(), 2);
        world.cut("a");
        connect(world);
        let again = world.publishes("a");
        assert_eq!(again.len(), 2);
        assert!(again[0].topic.is_some(), "the first use on a link carries the topic");
    });
}
