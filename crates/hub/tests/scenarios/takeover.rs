//! A client connects while an older link of it is open.

use postrider_proto::wire::Property;

use crate::world::{World, each, each_v5, set_expiry, will};

fn old_link(world: &mut World) -> Vec<String> {
    assert!(world.is_closed("a before"));
    world.received("a before")
}

/// v5 [MQTT-3.1.4-3], v3.1.1 [MQTT-3.1.4-2]: the older link is told and closed; the newer one has the session.
#[test]
fn newer_link_takes_over() {
    each(|world| {
        world.resume("a");
        world.subscribe("a", &[("t", 1)]);
        assert!(world.resume("a"));
        let told: &[&str] = if world.is_v5() { &["DISCONNECT SessionTakenOver"] } else { &[] };
        assert_eq!(old_link(world), told);
        world.connect("b");
        world.publish("b", "t", "x", 1);
        assert_eq!(world.messages("a"), ["t=x q1"]);
        assert!(world.received("a before").is_empty());
        let links: u64 = world.hubs.iter().map(|hub| hub.stats().links).sum();
        assert_eq!(links, 2);
    });
}

/// v5 [MQTT-3.1.4-3] [MQTT-4.1.0-2], v3.1.1 [MQTT-3.1.4-2]: a session that ends with its link is not taken over.
#[test]
fn clean_session_is_not_taken_over() {
    each(|world| {
        world.connect("a");
        world.subscribe("a", &[("t", 1)]);
        assert!(!world.resume("a"));
        assert!(world.is_closed("a before"));
        world.connect("b");
        world.publish("b", "t", "x", 1);
        assert!(world.messages("a").is_empty());
    });
}

/// v5 [MQTT-3.1.2-4], v3.1.1 [MQTT-3.1.2-6]: a clean start ends the session that was open.
#[test]
fn clean_start_takes_over_nothing() {
    each(|world| {
        world.resume("a");
        world.subscribe("a", &[("t", 1)]);
        world.connect("a");
        assert!(world.is_closed("a before"));
        world.connect("b");
        world.publish("b", "t", "x", 1);
        assert!(world.messages("a").is_empty());
    });
}

/// v5 [MQTT-3.1.4-3] [MQTT-3.1.2-8], v3.1.1 [MQTT-3.1.2-8]: the will of the older link is published.
#[test]
fn takeover_publishes_the_will_of_the_old_link() {
    each(|world| {
        world.connect("watcher");
        world.subscribe("watcher", &[("gone", 0)]);
        world.connect_as("a", |connect| {
            connect.clean_start = false;
            set_expiry(connect, 100);
            connect.will = Some(will("gone", "old", 0));
        });
        world.resume("a");
        assert_eq!(world.messages("watcher"), ["gone=old q0"]);
        world.disconnect("a");
        assert!(world.messages("watcher").is_empty(), "it goes out once");
    });
}

/// v5 [MQTT-3.1.3-9]: with a delay the will is not published if the session goes on in time.
#[test]
fn takeover_within_the_delay_cancels_the_will() {
    each_v5(|world| {
        world.connect("watcher");
        world.subscribe("watcher", &[("gone", 0)]);
        for is_clean in [false, true] {
            world.connect_as("a", |connect| {
                set_expiry(connect, 100);
                let mut will = will("gone", "old", 0);
                will.properties.push(Property::WillDelayInterval(10));
                connect.will = Some(will);
            });
            world.connect_as("a", |connect| connect.clean_start = is_clean);
            world.pass_s(1_000);
            // A clean start ends the session, and with it the wait.
            let expected: &[&str] = if is_clean { &["gone=old q0"] } else { &[] };
            assert_eq!(world.messages("watcher"), expected);
            world.cut("a");
        }
    });
}

/// A link that is taken over costs nobody else a session, however full the list of absent ones is.
#[test]
fn takeover_evicts_nobody() {
    crate::world::each_with(
        |config| config.sessions_offline_max = 1,
        |world| {
            world.resume("away");
            world.cut("away");
            for _ in 0..3 {
                world.resume("a");
            }
            assert!(world.resume("away"));
            assert!(world.resume("a"));
        },
    );
}
