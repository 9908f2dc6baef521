//! Queues and retained messages that are longer than memory.

use postrider_hub::Event;
use postrider_proto::SessionConfig;

use crate::world::{World, each_with};

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
