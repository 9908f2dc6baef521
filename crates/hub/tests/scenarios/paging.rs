//! Queues and retained messages that are longer than memory.

use postrider_hub::Event;
use postrider_proto::{
    SessionConfig,
    wire::{Packet, Property, Version, Will},
};

use crate::world::{self, World, each_with};

/// Runs a scenario for the setups with a store, with hardly any memory.
fn each_small(scenario: impl Fn(&mut World)) {
    each_with(
        |config| config.session.queue_resident_bytes_max = 2_000,
        |world| {
            if world.setup.is_durable {
                scenario(world);
            }
        },
    );
}

/// Publishes `from` to `to` to a session that is away.
fn fill(world: &mut World, from: u32, to: u32) {
    world.connect("publisher");
    for number in from..=to {
        world.publish("publisher", "t", &number.to_string(), 1 + (number % 2) as u8);
    }
}

fn away(world: &mut World) {
    world.resume("away");
    world.subscribe("away", &[("t", 2)]);
    world.cut("away");
}

fn expected(from: u32, to: u32) -> Vec<String> {
    (from..=to).map(|number| format!("t={number} q{}", 1 + number % 2)).collect()
}

/// v5 [MQTT-4.6.0-1]: a long queue comes in order, whether the process lived or not.
#[test]
fn a_long_queue_comes_in_order() {
    for has_restart in [false, true] {
        each_small(|world| {
            away(world);
            fill(world, 1, 200);
            if has_restart {
                world.restart(2);
            }
            assert!(world.resume("away"));
            assert_eq!(world.messages("away"), expected(1, 200));
            assert!(world.pages > 3, "{}", world.pages);
            fill(world, 201, 203);
            assert_eq!(world.messages("away"), expected(201, 203));
            assert!(world.stored.keys().all(|key| key.get(8) != Some(&b'M')));
        });
    }
}

/// Pages are on their way while links end, messages come, sessions end and processes die.
#[test]
fn pages_that_come_late_do_no_harm() {
    each_small(|world| {
        away(world);
        fill(world, 1, 50);
        world.are_pages_slow = true;
        world.resume("away");
        let first = world.messages("away");
        world.cut("away");
        world.turn_pages();
        fill(world, 51, 60);
        world.resume("away");
        world.turn_pages();
        let second = world.messages("away");
        world.are_pages_slow = false;
        world.turn_pages();
        let all = [first, second, world.messages("away")].concat();
        assert_eq!(all, expected(1, 60));

        world.cut("away");
        fill(world, 61, 90);
        world.are_pages_slow = true;
        world.resume("away");
        let first = world.messages("away");
        world.restart(1);
        world.are_pages_slow = false;
        world.resume("away");
        assert_eq!([first, world.messages("away")].concat(), expected(61, 90));
    });
}

/// A clean start ends the session whose page is on its way; the next session with this client id does not get it.
#[test]
fn a_page_of_an_ended_session_is_for_nobody() {
    each_small(|world| {
        away(world);
        fill(world, 1, 50);
        world.are_pages_slow = true;
        world.resume("away");
        world.messages("away");
        world.connect("away");
        world.subscribe("away", &[("t", 2)]);
        world.turn_pages();
        assert!(world.messages("away").is_empty());
        assert!(world.stored.keys().all(|key| key.get(8) != Some(&b'M')));
        fill(world, 51, 52);
        assert_eq!(world.messages("away"), expected(51, 52));
    });
}

#[test]
fn what_the_store_lost_is_said_and_counted() {
    each_small(|world| {
        away(world);
        fill(world, 1, 50);
        let is_late = |key: &Vec<u8>| key.get(8) == Some(&b'M') && key.get(16) == Some(&40);
        world.stored.retain(|key, _| !is_late(key));
        world.resume("away");
        let messages = world.messages("away");
        assert_eq!(messages.len(), 49);
        let is_said = |event: &Event| matches!(event, Event::Unreadable { .. });
        assert_eq!(world.events.iter().filter(|event| is_said(event)).count(), 1);
        let dropped: u64 = world.hubs.iter().map(|hub| hub.stats().dropped).sum();
        assert_eq!(dropped, 1);
    });
}

/// The bound of a session counts what is in the store, before and after a restart.
#[test]
fn the_bound_of_a_session_holds_in_the_store() {
    let config =
        SessionConfig { queue_messages_max: 30, queue_resident_bytes_max: 0, ..Default::default() };
    each_with(
        |hub| hub.session = config,
        |world| {
            if !world.setup.is_durable {
                return;
            }
            away(world);
            fill(world, 1, 40);
            world.restart(1);
            fill(world, 41, 45);
            world.resume("away");
            assert_eq!(world.messages("away"), expected(1, 30));
            fill(world, 46, 47);
            assert_eq!(world.messages("away"), expected(46, 47));
        },
    );
}

/// Runs a scenario for the setups with a store, with retained messages in memory up to a number of bytes.
fn each_retaining(resident_bytes_max: u64, scenario: impl Fn(&mut World)) {
    each_with(
        |config| config.retained_resident_bytes_max = resident_bytes_max,
        |world| {
            if world.setup.is_durable {
                scenario(world);
            }
        },
    );
}

fn retain(world: &mut World, count: u32) {
    world.connect("b");
    for n in 0..count {
        world.retain("b", &format!("t/{n:03}"), &format!("{n}"), 1);
    }
}

fn retained(count: u32) -> Vec<String> {
    (0..count).map(|n| format!("t/{n:03}={n} q1 retain")).collect()
}

/// v5 section 3.3.1.3, v3.1.1 [MQTT-3.3.1-6]: retained messages come in their order wherever they are, before and after
/// a restart, and what is in memory is not read.
#[test]
fn retained_messages_come_from_memory_and_from_the_store() {
    for (budget, least, most) in [(u64::MAX, 0, 0), (30_000, 1, 199), (0, 200, 200)] {
        each_retaining(budget, |world| {
            retain(world, 200);
            for hubs in [world.setup.hubs, 1, 2] {
                world.connect("a");
                world.pages = 0;
                world.subscribe("a", &[("t/+", 1)]);
                assert_eq!(world.messages("a"), retained(200));
                assert!((least..=most).contains(&world.pages), "{} pages", world.pages);
                world.restart(hubs);
            }
            world.pass_s(1);
            world.connect("b");
            world.retain("b", "t/007", "changed", 0);
            world.retain("b", "t/008", "", 0);
            world.restart(2);
            world.connect("a");
            world.subscribe("a", &[("t/007", 1), ("t/008", 1), ("t/009", 1)]);
            assert_eq!(world.messages("a"), ["t/007=changed q0 retain", "t/009=9 q1 retain"]);
        });
    }
}

/// What was replaced, cleared or has expired while it was on its way counts as it is when it is sent.
#[test]
fn retained_messages_that_change_on_their_way() {
    each_retaining(0, |world| {
        retain(world, 5);
        world.connect("b");
        if world.setup.version == Version::V5 {
            world.publish_as("b", "t/003", "short", 1, |publish| {
                publish.retain = true;
                publish.properties.push(Property::MessageExpiryInterval(10));
            });
        }
        world.are_pages_slow = true;
        world.connect("a");
        world.subscribe("a", &[("t/#", 1)]);
        assert!(world.messages("a").is_empty());
        // A publisher waits for the message that goes before its own.
        let payloads = [("t/001", "plain", false), ("t/002", "newer", true), ("t/004", "", true)];
        for (topic, payload, retain) in payloads {
            let mut packet = world::publish(topic, payload, 1);
            packet.packet_id = Some(world.take_id("b"));
            packet.retain = retain;
            world.send("b", &Packet::Publish(packet));
        }
        assert!(world.received("b").iter().all(|line| !line.contains("PUBACK")));
        world.pass_s(20);
        world.are_pages_slow = false;
        world.turn_pages();
        world.pass_s(1);
        assert_eq!(world.received("b").iter().filter(|line| line.contains("PUBACK")).count(), 3);
        let messages = world.messages("a");
        let of = |topic: &str| -> Vec<&str> {
            let lines = messages.iter().filter_map(|line| line.strip_prefix(topic));
            lines.filter_map(|line| line.strip_prefix("=")).collect()
        };
        assert_eq!(of("t/000"), ["0 q1 retain"]);
        assert_eq!(of("t/001"), ["1 q1 retain", "plain q1"]);
        if world.setup.hubs == 1 {
            assert_eq!(of("t/002"), ["2 q1 retain", "newer q1"]);
            assert_eq!(of("t/004"), ["4 q1 retain", " q1"]);
        }
        assert_eq!(of("t/002").last(), Some(&"newer q1"));
        assert_eq!(of("t/004").last(), Some(&" q1"));
        let is_v5 = world.setup.version == Version::V5;
        assert_eq!(of("t/003"), if is_v5 { vec![] } else { vec!["3 q1 retain"] });
    });
}

/// A publisher that waits may go away, and so may a subscriber; the next ones find all as it should be.
#[test]
fn who_waits_for_a_retained_message_may_leave() {
    each_retaining(0, |world| {
        retain(world, 3);
        for who in ["a", "b"] {
            world.are_pages_slow = true;
            world.connect("a");
            world.subscribe("a", &[("t/#", 1)]);
            world.connect("b");
            let mut packet = world::publish("t/001", "plain", 1);
            packet.packet_id = Some(world.take_id("b"));
            world.send("b", &Packet::Publish(packet));
            world.cut(who);
            world.are_pages_slow = false;
            world.turn_pages();
            world.pass_s(1);
            if who == "b" {
                let messages = world.messages("a");
                let is_plain = |line: &&String| *line == "t/001=plain q1";
                // It was not acknowledged, so it may be lost; a peer may have had it.
                assert!(messages.iter().filter(is_plain).count() <= 1);
                assert_eq!(messages.iter().filter(|line| line.ends_with("retain")).count(), 3);
            } else {
                let received = world.received("b");
                assert!(received.len() == 1 && received[0].starts_with("PUBACK id=1"));
            }
        }
        world.connect("b");
        world.publish("b", "t/001", "again", 2);
        world.connect("a");
        world.subscribe("a", &[("t/#", 1)]);
        assert_eq!(world.messages("a"), retained(3));
    });
}

/// One that its home has not handed to the store yet is waited for, whether the store has an older one or none.
#[test]
fn a_retained_message_may_be_on_its_way_to_the_store() {
    each_retaining(0, |world| {
        if world.setup.hubs == 1 {
            return;
        }
        world.connect("b");
        world.connect("a");
        if world.hub_of("a") != world.hub_of("b") {
            world.connect("c");
        }
        let hub = world.hub_of("b");
        let reader = ["a", "c", "d", "e"].into_iter().find(|name| {
            world.connect(name);
            world.hub_of(name) == hub
        });
        let reader = reader.expect("a client on the hub of the publisher");
        for n in 0..4 {
            world.retain("b", &format!("t/{n:03}"), "old", 1);
        }
        // The peers know of the filter, so that the second SUBSCRIBE does not wait for them.
        world.subscribe(reader, &[("t/+", 0)]);
        world.are_peers_slow = true;
        for n in 0..8 {
            world.retain("b", &format!("t/{n:03}"), &format!("{n}"), 0);
        }
        world.messages(reader);
        world.subscribe(reader, &[("t/+", 1)]);
        world.pass_ms(100);
        let first = world.messages(reader);
        assert!(first.len() < 8, "not all are in the store: {first:?}");
        world.are_peers_slow = false;
        world.pass_ms(100);
        let expected: Vec<_> = (0..8).map(|n| format!("t/{n:03}={n} q0 retain")).collect();
        assert_eq!([first, world.messages(reader)].concat(), expected);
    });
}

#[test]
fn a_retained_message_that_the_store_lost_is_said_and_counted() {
    each_retaining(0, |world| {
        retain(world, 9);
        world.stored.retain(|key, _| !key.ends_with(b"t/004"));
        if let Some((_, value)) = world.stored.iter_mut().find(|(key, _)| key.ends_with(b"t/006")) {
            value.truncate(5);
        }
        world.connect("a");
        world.subscribe("a", &[("t/+", 1)]);
        world.pass_s(10);
        let mut expected = retained(9);
        expected.remove(6);
        expected.remove(4);
        assert_eq!(world.messages("a"), expected);
        let is_said = |event: &Event| matches!(event, Event::Unreadable { .. });
        assert_eq!(world.events.iter().filter(|event| is_said(event)).count(), 2);
        let dropped: u64 = world.hubs.iter().map(|hub| hub.stats().dropped).sum();
        assert_eq!(dropped, 2);
        // A publish does not wait for it for ever.
        world.publish("b", "t/004", "plain", 1);
        assert_eq!(world.messages("a"), ["t/004=plain q1"]);
    });
}

/// A will, whose client cannot wait, is not overtaken by the message that it replaces.
#[test]
fn a_will_replaces_a_retained_message_that_is_on_its_way() {
    each_retaining(0, |world| {
        retain(world, 3);
        world.connect_as("dying", |connect| {
            connect.will = Some(Will { retain: true, ..world::will("t/001", "will", 1) });
        });
        world.are_pages_slow = true;
        world.connect("a");
        world.subscribe("a", &[("t/#", 1)]);
        world.cut("dying");
        world.are_pages_slow = false;
        world.turn_pages();
        world.pass_s(1);
        let messages = world.messages("a");
        let of: Vec<_> = messages.iter().filter(|line| line.starts_with("t/001=")).collect();
        assert_eq!(of.last(), Some(&&"t/001=will q1".to_owned()), "{messages:?}");
    });
}

/// The bound of a session does not cost it retained messages: they wait for room.
#[test]
fn retained_messages_wait_for_room_in_a_small_queue() {
    for resident_bytes_max in [0, u64::MAX] {
        for bound in [1, 2, 10] {
            each_with(
                |config| {
                    config.retained_resident_bytes_max = resident_bytes_max;
                    config.session.queue_messages_max = bound;
                },
                |world| {
                    retain(world, 100);
                    world.connect("a");
                    world.set_answering("a", false);
                    world.subscribe("a", &[("t/#", 1)]);
                    let mut count = 0;
                    while count < 100 {
                        let publishes = world.publishes("a");
                        assert!(!publishes.is_empty(), "{count} came");
                        for publish in publishes {
                            count += 1;
                            let packet_id = publish.packet_id.expect("an id");
                            world.send("a", &Packet::PubAck(world::ack(packet_id)));
                        }
                    }
                    let dropped: u64 = world.hubs.iter().map(|hub| hub.stats().dropped).sum();
                    assert_eq!((count, dropped), (100, 0));
                },
            );
        }
    }
}
