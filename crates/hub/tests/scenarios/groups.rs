//! Shared subscriptions.

use postrider_proto::wire::{Ack, Packet, Properties, ReasonCode};

use crate::world::{World, each, each_v5, id};

fn publish_many(world: &mut World, count: usize, qos: u8) {
    for n in 0..count {
        world.publish("p", "t", &n.to_string(), qos);
    }
}

/// v5 [MQTT-4.8.2-1] section 4.8.2: each message goes to one member, in turn; groups and plain subscribers get theirs.
#[test]
fn members_take_turns() {
    each(|world| {
        world.connect("p");
        for (name, filter) in [
            ("a", "$share/g/t"),
            ("b", "$share/g/t"),
            ("c", "$share/h/t"),
            ("d", "t"),
            ("e", "$share/g/+"),
        ] {
            world.connect(name);
            assert_eq!(world.subscribe(name, &[(filter, 1)]), [ReasonCode::GrantedQoS1]);
        }
        publish_many(world, 10, 1);
        assert_eq!(world.messages("a").len(), 5);
        assert_eq!(world.messages("b").len(), 5);
        for name in ["c", "d", "e"] {
            assert_eq!(world.messages(name).len(), 10, "{name}");
        }
    });
}

/// v5 [MQTT-4.8.2-3]: at no more than the QoS granted to that member; its own identifier goes along.
#[test]
fn members_get_their_own_qos() {
    each_v5(|world| {
        use crate::world::options;
        world.connect("p");
        for (name, qos, id) in [("a", 0, 5), ("b", 2, 6)] {
            world.connect(name);
            world.subscribe_as(name, &[("$share/g/t", options(qos))], Some(id));
        }
        publish_many(world, 4, 2);
        for (name, end) in [("a", "q0 ids=5"), ("b", "q2 ids=6")] {
            let messages = world.messages(name);
            assert_eq!(messages.len(), 2);
            assert!(messages.iter().all(|line| line.ends_with(end)), "{messages:?}");
        }
    });
}

/// Members without a link are passed over while another one has one; else the message waits for one of them.
#[test]
fn absent_members_are_passed_over() {
    each(|world| {
        world.connect("p");
        for name in ["a", "b"] {
            world.resume(name);
            world.subscribe(name, &[("$share/g/t", 1)]);
        }
        world.cut("a");
        publish_many(world, 4, 1);
        assert_eq!(world.messages("b").len(), 4);
        world.cut("b");
        publish_many(world, 4, 1);
        world.resume("a");
        world.resume("b");
        assert_eq!(world.messages("a").len() + world.messages("b").len(), 4);
    });
}

/// v5 section 4.8.2: UNSUBSCRIBE needs the whole filter and leaves the group; so does the end of the session.
#[test]
fn members_leave() {
    each(|world| {
        world.connect("p");
        for name in ["a", "b", "c"] {
            world.connect(name);
            world.subscribe(name, &[("$share/g/t", 1)]);
        }
        world.unsubscribe("a", &["t"]);
        world.unsubscribe("b", &["$share/g/t"]);
        world.cut("c");
        publish_many(world, 3, 1);
        assert_eq!(world.messages("a").len(), 3);
        assert!(world.messages("b").is_empty());
        world.unsubscribe("a", &["$share/g/t"]);
        let none =
            if world.is_v5() { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success };
        assert_eq!(world.publish("p", "t", "x", 1), none);
    });
}

/// v5 section 3.8.4: no retained messages for a shared subscription.
#[test]
fn no_retained_messages_for_groups() {
    each(|world| {
        world.connect("p");
        world.retain("p", "t", "kept", 1);
        world.connect("a");
        world.subscribe("a", &[("$share/g/t", 1)]);
        assert!(world.messages("a").is_empty());
        world.retain("p", "t", "live", 1);
        assert_eq!(world.messages("a"), ["t=live q1"]);
    });
}

/// A client with a shared and a plain subscription gets both copies.
#[test]
fn shared_and_plain_are_two_copies() {
    each(|world| {
        world.connect("a");
        world.subscribe("a", &[("$share/g/t", 1), ("t", 0)]);
        world.connect("p");
        world.publish("p", "t", "x", 1);
        let mut messages = world.messages("a");
        messages.sort_unstable();
        assert_eq!(messages, ["t=x q0", "t=x q1"]);
    });
}

/// v5 [MQTT-4.8.2-4] [MQTT-4.8.2-5]: a QoS 2 delivery that was cut off is finished with the same member, and goes to
/// nobody else if its session ends.
#[test]
fn cut_off_delivery_stays_with_its_member() {
    each(|world| {
        world.connect("p");
        for name in ["a", "b"] {
            world.resume(name);
            world.subscribe(name, &[("$share/g/t", 2)]);
            world.set_answering(name, false);
        }
        world.publish("p", "t", "x", 2);
        let (with, without) = if world.messages("a").is_empty() { ("b", "a") } else { ("a", "b") };
        world.cut(with);
        assert!(world.messages(without).is_empty());
        world.resume(with);
        assert_eq!(world.messages(with), ["t=x q2 dup"]);
        world.cut(with);
        world.connect(with);
        assert!(world.messages(with).is_empty());
        assert!(world.messages(without).is_empty());
    });
}

/// v5 [MQTT-4.8.2-6]: a refusing acknowledgement drops the message; no other member gets it. v5 [MQTT-4.4.0-2]: nor is
/// it sent again.
#[test]
fn refused_message_goes_to_nobody() {
    each_v5(|world| {
        world.connect("p");
        for name in ["a", "b"] {
            world.resume(name);
            world.subscribe(name, &[("$share/g/t", 1)]);
            world.set_answering(name, false);
        }
        world.publish("p", "t", "x", 1);
        let with = if world.messages("a").is_empty() { "b" } else { "a" };
        let reason = ReasonCode::UnspecifiedError;
        let ack = Ack { packet_id: id(1), reason, properties: Properties::new() };
        world.send(with, &Packet::PubAck(ack));
        world.cut(with);
        world.resume(with);
        assert!(world.messages("a").is_empty());
        assert!(world.messages("b").is_empty());
    });
}
