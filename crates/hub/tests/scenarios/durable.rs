//! What waits for the store, and what is there after a restart.

use postrider_proto::wire::{
    Packet, Property, ReasonCode, Subscribe, SubscribeFilter, Unsubscribe,
};

use crate::world::{World, ack, each, each_v5, id, options, publish_packet, set_expiry, will};

/// Runs a scenario for the setups with a store.
fn each_stored(scenario: impl Fn(&mut World)) {
    each(|world| {
        if world.setup.is_durable {
            scenario(world);
        }
    });
}

fn subscribe_packet(filter: &str, qos: u8, packet_id: u16) -> Packet {
    Packet::Subscribe(Subscribe {
        packet_id: id(packet_id),
        properties: Default::default(),
        filters: vec![SubscribeFilter {
            filter: postrider_proto::wire::Filter::new(filter).expect("a filter"),
            options: options(qos),
        }],
    })
}

/// v5 [MQTT-4.3.2-4] [MQTT-4.3.3-8], v3.1.1 [MQTT-4.3.2-2] [MQTT-4.3.3-2]: taking ownership comes before PUBACK and
/// PUBREC; QoS 0 and pings wait for nothing.
#[test]
fn acknowledgements_wait_for_the_store() {
    each_stored(|world| {
        world.resume("away");
        world.subscribe("away", &[("t", 2)]);
        world.cut("away");
        world.connect("live");
        world.subscribe("live", &[("#", 0)]);
        world.connect("b");
        world.set_answering("b", false);
        world.is_store_slow = true;
        world.send("b", &publish_packet("t", "x", 1, 1));
        world.send("b", &publish_packet("t", "y", 2, 2));
        world.send("b", &Packet::PingReq);
        world.send("b", &publish_packet("u", "now", 0, 0));
        assert_eq!(world.received("b"), ["PINGRESP"]);
        assert_eq!(world.messages("live"), ["t=x q0", "t=y q0", "u=now q0"]);
        world.store();
        assert_eq!(world.received("b"), ["PUBACK id=1 Success", "PUBREC id=2 Success"]);
        world.send("b", &publish_packet("u", "for nobody who stays", 1, 3));
        assert_eq!(world.received("b"), ["PUBACK id=3 Success"], "no record, no wait");
    });
}

/// What a link relies on decides what its acknowledgements and messages wait for, whichever hub stores them.
#[test]
fn what_waits_for_the_store_is_the_matter_of_the_link() {
    use postrider_proto::Durability::{Durable, Memory, Process};
    each_stored(|world| {
        world.resume("away");
        world.subscribe("away", &[("t", 2)]);
        world.cut("away");
        for (name, durability) in [("m", Memory), ("p", Process), ("d", Durable)] {
            world.durability = durability;
            world.resume(name);
            world.subscribe(name, &[("own", 2)]);
            world.set_answering(name, false);
        }
        world.is_store_slow = true;
        world.was_sync_asked = false;
        world.send("m", &publish_packet("t", "x", 2, 1));
        world.send("p", &publish_packet("t", "x", 2, 1));
        assert!(!world.was_sync_asked);
        world.send("d", &publish_packet("t", "x", 2, 1));
        assert!(world.was_sync_asked);
        let received = |world: &mut World| ["m", "p", "d"].map(|name| world.received(name).len());
        assert_eq!(received(world), [1, 0, 0]);
        world.hand_over();
        assert_eq!(received(world), [0, 1, 0]);
        world.store();
        assert_eq!(received(world), [0, 0, 1]);
        // On the way out: what a session must remember before it is sent.
        world.durability = Durable;
        world.connect("sender");
        world.send("sender", &publish_packet("own", "y", 0, 0));
        assert_eq!(received(world), [1, 1, 1], "QoS 0 waits for nothing");
        world.send("sender", &publish_packet("own", "y", 2, 1));
        assert_eq!(received(world), [1, 0, 0]);
        world.hand_over();
        assert_eq!(received(world), [0, 1, 0]);
        world.store();
        assert_eq!(received(world), [0, 0, 1]);
        world.is_store_slow = false;
        world.restart(world.setup.hubs);
        assert_eq!(["m", "p", "d"].map(|name| world.resume(name)), [false, true, true]);
    });
}

/// v5 [MQTT-3.8.4-1] [MQTT-3.10.4-4], v3.1.1 [MQTT-3.8.4-1]: SUBACK and UNSUBACK of a session that stays wait too.
#[test]
fn subscriptions_wait_for_the_store() {
    each_stored(|world| {
        world.resume("a");
        world.connect("clean");
        world.is_store_slow = true;
        world.send("clean", &subscribe_packet("t", 1, 5));
        assert_eq!(world.received("clean"), ["SUBACK id=5 [GrantedQoS1]"]);
        world.send("a", &subscribe_packet("t", 1, 6));
        let unsubscribe = Unsubscribe {
            packet_id: id(7),
            properties: Default::default(),
            filters: vec![postrider_proto::wire::Filter::new("t").expect("a filter")],
        };
        world.send("a", &Packet::Unsubscribe(unsubscribe));
        assert!(world.received("a").is_empty());
        world.store();
        let unsuback = if world.is_v5() { "UNSUBACK id=7 [Success]" } else { "UNSUBACK id=7 []" };
        assert_eq!(world.received("a"), ["SUBACK id=6 [GrantedQoS1]", unsuback]);
    });
}

/// v5 [MQTT-3.2.0-1], v3.1.1 [MQTT-3.2.0-1]: a CONNACK that begins, resumes or discards a session waits, and nothing
/// goes before it.
#[test]
fn connack_waits_for_the_store() {
    each_stored(|world| {
        world.resume("a");
        world.subscribe("a", &[("t", 1)]);
        world.cut("a");
        world.connect("b");
        world.publish("b", "t", "x", 1);
        world.is_store_slow = true;
        world.dial("a");
        world.send_connect("a", |connect| {
            connect.clean_start = false;
            set_expiry(connect, u32::MAX);
        });
        assert!(world.received("a").is_empty());
        world.store();
        assert!(world.take_connack("a").contains("session_present"));
        assert_eq!(world.messages("a"), ["t=x q1"]);
        world.store();
        world.dial("a");
        world.send_connect("a", |_| {});
        assert!(world.received("a").is_empty());
        world.store();
        assert_eq!(world.take_connack("a"), "CONNACK Success");
        world.dial("c");
        world.send_connect("c", |_| {});
        assert_eq!(
            world.take_connack("c"),
            "CONNACK Success",
            "nothing is recorded of a clean one"
        );
    });
}

/// A QoS 2 PUBLISH, PUBREL and PUBCOMP between sessions that stay leave only once they are stored.
#[test]
fn exactly_once_waits_at_each_step() {
    each_stored(|world| {
        world.resume("a");
        world.subscribe("a", &[("t", 2)]);
        world.set_answering("a", false);
        world.resume("b");
        world.set_answering("b", false);
        world.is_store_slow = true;
        let mut step = |name: &str, packet: &Packet, who: &str, expected: &str| {
            world.send(name, packet);
            assert!(world.received(who).is_empty(), "{expected} came before it was stored");
            world.store();
            assert_eq!(world.received(who), [expected]);
            world.store();
        };
        let publish = publish_packet("t", "x", 2, 1);
        step("b", &publish, "a", "PUBLISH \"t\" qos=2 id=1 1B \"x\"");
        step("a", &Packet::PubRec(ack(id(1))), "a", "PUBREL id=1 Success");
        world.send("a", &Packet::PubComp(ack(id(1))));
        assert_eq!(world.received("b"), ["PUBREC id=1 Success"]);
        world.send("b", &Packet::PubRel(ack(id(1))));
        assert!(world.received("b").is_empty());
        world.store();
        assert_eq!(world.received("b"), ["PUBCOMP id=1 Success"]);
    });
}

/// Sessions, subscriptions, queues, flights and retained messages are there after a restart, whatever the number of hubs
/// was and is.
#[test]
fn everything_is_there_after_a_restart() {
    each_stored(|world| {
        for hubs in [1, 2, 3, 1] {
            world.connect("a");
            world.disconnect("a");
            world.resume("a");
            world.subscribe("a", &[("t/#", 2), ("$share/g/s", 1)]);
            world.connect("b");
            world.retain("b", "kept", &hubs.to_string(), 1);
            world.retain("b", "cleared", "x", 1);
            world.retain("b", "cleared", "", 1);
            world.set_answering("a", false);
            world.publish("b", "t/1", "flight 1", 1);
            world.publish("b", "t/2", "flight 2", 2);
            world.publish("b", "t/3", "released", 2);
            world.messages("a");
            world.send("a", &Packet::PubRec(ack(id(3))));
            world.received("a");
            world.cut("a");
            world.publish("b", "t/4", "queued", 1);
            world.publish("b", "s", "shared", 1);
            world.restart(hubs);
            world.dial("a");
            world.set_answering("a", false);
            world.send_connect("a", |connect| {
                connect.clean_start = false;
                set_expiry(connect, u32::MAX);
            });
            assert!(world.take_connack("a").contains("session_present"));
            let received = world.received("a");
            for expected in [
                "PUBREL id=3 Success",
                "PUBLISH \"t/1\" qos=1 id=1 dup 8B \"flight 1\"",
                "PUBLISH \"t/2\" qos=2 id=2 dup 8B \"flight 2\"",
            ] {
                assert!(received.contains(&expected.to_owned()), "{expected}: {received:?}");
            }
            assert_eq!(received.len(), 5, "{received:?}");
            assert!(received[3].starts_with("PUBLISH \"t/4\""), "{received:?}");
            assert!(received[4].starts_with("PUBLISH \"s\""), "{received:?}");
            world.connect("c");
            world.subscribe("c", &[("#", 1)]);
            assert_eq!(world.messages("c"), [format!("kept={hubs} q1 retain")]);
            world.publish("c", "t/5", "live", 1);
            assert_eq!(world.messages("a"), ["t/5=live q1"], "the subscription is there");
        }
    });
}

/// What is acknowledged survives the end of the process; what is not may be lost, and nothing comes twice at QoS 2.
#[test]
fn received_ids_survive_a_restart() {
    each_stored(|world| {
        world.resume("watcher");
        world.subscribe("watcher", &[("t", 2)]);
        world.resume("b");
        world.set_answering("b", false);
        world.send("b", &publish_packet("t", "x", 2, 9));
        assert_eq!(world.received("b"), ["PUBREC id=9 Success"]);
        assert_eq!(world.messages("watcher"), ["t=x q2"]);
        world.restart(2);
        world.resume("b");
        world.set_answering("b", false);
        world.send("b", &publish_packet("t", "x", 2, 9));
        assert_eq!(world.received("b"), ["PUBREC id=9 Success"]);
        world.resume("watcher");
        assert!(world.messages("watcher").is_empty());
    });
}

/// What was handed to the store and not stored is gone after a restart, and nobody was told otherwise.
#[test]
fn unstored_is_unacknowledged() {
    each_stored(|world| {
        world.resume("away");
        world.subscribe("away", &[("t", 1)]);
        world.cut("away");
        world.connect("b");
        world.is_store_slow = true;
        world.send("b", &publish_packet("t", "lost", 1, 1));
        assert!(world.received("b").is_empty());
        world.restart(1);
        world.is_store_slow = false;
        world.resume("away");
        assert!(world.messages("away").is_empty());
    });
}

/// v5 [MQTT-4.1.0-2], v3.1.1 [MQTT-3.1.2-6]: what ends leaves nothing in the store.
#[test]
fn nothing_is_left_in_the_store() {
    each_stored(|world| {
        world.resume("a");
        world.subscribe("a", &[("t", 2), ("$share/g/u", 1)]);
        world.connect("b");
        world.retain("b", "t", "x", 2);
        world.cut("a");
        world.publish("b", "t", "y", 2);
        world.publish("b", "u", "y", 1);
        assert!(!world.stored.is_empty());
        world.retain("b", "t", "", 0);
        world.connect("a");
        world.disconnect("a");
        assert!(world.stored.is_empty(), "{:02x?}", world.stored.keys());
    });
}

/// v5 [MQTT-4.1.0-2]: the time without a link counts over a restart.
#[test]
fn expiry_counts_over_a_restart() {
    each_v5(|world| {
        if !world.setup.is_durable {
            return;
        }
        for name in ["attached", "away"] {
            world.connect_as(name, |connect| set_expiry(connect, 10));
        }
        world.cut("away");
        world.pass_s(6);
        world.restart(2);
        world.pass_s(5);
        let resumed = |world: &mut World, name: &str| {
            world
                .connect_as(name, |connect| connect.clean_start = false)
                .contains("session_present")
        };
        assert!(!resumed(world, "away"));
        assert!(resumed(world, "attached"));
    });
}

/// v5 [MQTT-3.1.2-8], v3.1.1 [MQTT-3.1.2-8]: a process that ends is a network failure for its clients: wills go out, in
/// their time, once.
#[test]
fn wills_survive_a_restart() {
    each_v5(|world| {
        if !world.setup.is_durable {
            return;
        }
        world.resume("watcher");
        world.subscribe("watcher", &[("gone/#", 1)]);
        for (name, delay_s) in [("now", 0), ("later", 20)] {
            world.connect_as(name, |connect| {
                set_expiry(connect, 100);
                let mut will = will(&format!("gone/{name}"), "x", 1);
                will.properties.push(Property::WillDelayInterval(delay_s));
                connect.will = Some(will);
            });
        }
        world.restart(2);
        world.resume("watcher");
        assert_eq!(world.messages("watcher"), ["gone/now=x q1"]);
        world.pass_s(10);
        world.restart(1);
        world.resume("watcher");
        world.pass_s(9);
        assert!(world.messages("watcher").is_empty());
        world.pass_s(2);
        assert_eq!(world.messages("watcher"), ["gone/later=x q1"]);
        world.restart(1);
        world.resume("watcher");
        world.pass_s(1_000);
        assert!(world.messages("watcher").is_empty());
    });
}

/// The answer to a retained publish waits for the record of whoever keeps it.
#[test]
fn retained_publish_waits_for_the_store() {
    each_stored(|world| {
        world.connect("b");
        world.is_store_slow = true;
        for n in 1..=4 {
            let Packet::Publish(mut publish) = publish_packet(&format!("t/{n}"), "x", 1, n) else {
                panic!("a PUBLISH");
            };
            publish.retain = true;
            world.send("b", &Packet::Publish(publish));
        }
        assert!(world.received("b").is_empty());
        world.store();
        assert_eq!(world.received("b").len(), 4);
        world.is_store_slow = false;
        world.restart(1);
        world.connect("c");
        world.subscribe("c", &[("#", 0)]);
        assert_eq!(world.messages("c").len(), 4);
        assert_eq!(world.publish("c", "t/1", "y", 1), ReasonCode::Success);
    });
}

/// A hub that starts takes nothing before it knows what the others recovered, or their sessions would miss it.
#[test]
fn nothing_is_taken_before_all_hubs_are_known() {
    each_stored(|world| {
        for n in 0..8 {
            let name = format!("s{n}");
            world.resume(&name);
            world.subscribe(&name, &[("t", 1), ("$share/g/u", 1)]);
        }
        world.connect_as("p", |connect| {
            set_expiry(connect, 100);
            connect.will = Some(will("t", "will", 1));
        });
        world.are_peers_slow = true;
        world.restart(3);
        world.dial("b");
        world.send_connect("b", |_| {});
        world
            .send_all("b", &[publish_packet("t", "early", 1, 1), publish_packet("u", "one", 1, 2)]);
        assert!(world.received("b").is_empty());
        world.are_peers_slow = false;
        world.settle();
        let received = world.received("b");
        assert!(received[0].starts_with("CONNACK") && received.len() == 3, "{received:?}");
        let mut shared = 0;
        for n in 0..8 {
            let name = format!("s{n}");
            world.resume(&name);
            let messages = world.messages(&name);
            for payload in ["t=will q1", "t=early q1"] {
                assert!(messages.contains(&payload.to_owned()), "{name}: {messages:?}");
            }
            shared += messages.len() - 2;
        }
        assert_eq!(shared, 1);
    });
}
