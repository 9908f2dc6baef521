//! Slow subscribers, their publishers, and turns.

use postrider_proto::wire::Packet;

use crate::world::{World, each, each_with, publish_packet};

fn small_outbox(config: &mut postrider_hub::HubConfig) {
    config.link.outbox_high_bytes = 1_000;
    config.link.receive_maximum = u16::MAX;
}

fn burst(world: &mut World, name: &str, count: u16, qos: u8) {
    let packets: Vec<_> =
        (1..=count).map(|n| publish_packet("t", &n.to_string(), qos, n)).collect();
    world.send_all(name, &packets);
}

/// A publisher waits while a subscriber reads slowly, and goes on when it has caught up; nothing is lost.
#[test]
fn publisher_waits_for_a_slow_subscriber() {
    each_with(small_outbox, |world| {
        world.connect("slow");
        world.subscribe("slow", &[("t", 1)]);
        world.connect("other");
        world.connect("p");
        world.set_reading("slow", false);
        burst(world, "p", 3_000, 1);
        if world.setup.hubs == 1 {
            assert!(world.is_paused("p"));
            assert!(world.unread("p") > 0);
        }
        assert!(!world.is_paused("other"));
        world.send("other", &Packet::PingReq);
        assert_eq!(world.received("other"), ["PINGRESP"]);
        world.pass_s(1);
        world.set_reading("slow", true);
        assert!(!world.is_paused("p"));
        assert_eq!(world.unread("p"), 0);
        assert_eq!(world.messages("slow").len(), 3_000);
    });
}

/// The wait is limited, and does not come again until the subscriber has caught up. A paused client is not cut for its
/// silence.
#[test]
fn the_wait_is_limited() {
    each_with(small_outbox, |world| {
        world.connect("slow");
        world.subscribe("slow", &[("t", 1)]);
        world.connect_as("p", |connect| connect.keep_alive = 1);
        world.set_reading("slow", false);
        for round in 0..2 {
            burst(world, "p", 1_500, 1);
            burst(world, "p", 1_500, 1);
            assert_eq!(world.is_paused("p"), round == 0);
            let waits_ms = if round == 0 { 4_900 } else { 0 };
            world.pass_ms(waits_ms);
            assert_eq!(world.is_paused("p"), round == 0);
            assert!(!world.is_closed("p"), "its silence is ours");
            world.pass_ms(200);
            assert!(!world.is_paused("p"));
            assert_eq!(world.unread("p"), 0);
        }
        world.set_reading("slow", true);
        assert_eq!(world.messages("slow").len(), 6_000);
        world.set_reading("slow", false);
        world.send("p", &Packet::PingReq);
        burst(world, "p", 1_500, 1);
        burst(world, "p", 1_500, 1);
        assert!(world.is_paused("p"), "it caught up in between");
    });
}

/// A publisher is never paused because of its own session.
#[test]
fn own_slowness_does_not_pause() {
    each_with(small_outbox, |world| {
        world.connect("a");
        world.subscribe("a", &[("t", 0)]);
        world.set_reading("a", false);
        burst(world, "a", 3_000, 0);
        assert_eq!(world.unread("a"), 0);
        world.set_reading("a", true);
        assert_eq!(world.messages("a").len(), 3_000);
    });
}

/// A slow subscriber that goes away lets its publishers go on at once.
#[test]
fn slow_subscriber_leaves() {
    each_with(small_outbox, |world| {
        world.connect("slow");
        world.subscribe("slow", &[("t", 1)]);
        world.connect("p");
        world.set_reading("slow", false);
        burst(world, "p", 1_500, 1);
        burst(world, "p", 1_500, 1);
        assert!(world.is_paused("p"));
        world.cut("slow");
        assert!(!world.is_paused("p"));
        assert_eq!(world.unread("p"), 0);
        assert_eq!(world.received("p").len(), 3_000);
    });
}

/// Much work is cut into turns, so that other links get theirs; nothing is lost.
#[test]
fn work_is_cut_into_turns() {
    each_with(
        |config| config.turn_deliveries = 50,
        |world| {
            for n in 0..10 {
                let name = format!("s{n}");
                world.connect(&name);
                world.subscribe(&name, &[("t", 0)]);
            }
            world.connect("p");
            world.turns = 0;
            burst(world, "p", 100, 0);
            if world.setup.hubs == 1 {
                assert!(world.turns >= 15, "{} turns", world.turns);
            }
            for n in 0..10 {
                let expected: Vec<_> = (1..=100).map(|n| format!("t={n} q0")).collect();
                assert_eq!(world.messages(&format!("s{n}")), expected);
            }
        },
    );
}

/// Once everything is said, nobody has to be woken.
#[test]
fn idle_hubs_sleep() {
    each(|world| {
        world.resume("a");
        world.subscribe("a", &[("t", 1)]);
        world.connect("p");
        world.publish("p", "t", "x", 1);
        world.pass_s(100_000);
        world.turns = 0;
        world.pass_s(100_000);
        assert_eq!(world.turns, 0);
    });
}
