//! Wills.

use postrider_proto::wire::{Property, ReasonCode};

use crate::{
    hubs::two_stored,
    world::{World, each, each_v5, set_expiry, text, will},
};

fn with_watcher(world: &mut World) {
    world.connect("watcher");
    world.subscribe("watcher", &[("gone/#", 2)]);
}

fn connect(world: &mut World, payload: &str) {
    world.connect_as("a", |connect| connect.will = Some(will("gone/a", payload, 1)));
}

/// v5 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-10], v3.1.1 [MQTT-3.1.2-8] [MQTT-3.1.2-10]: a lost link publishes the
/// will, once.
#[test]
fn lost_link_publishes_the_will() {
    each(|world| {
        with_watcher(world);
        connect(world, "lost");
        world.cut("a");
        assert_eq!(world.messages("watcher"), ["gone/a=lost q1"]);
        world.connect("a");
        world.cut("a");
        world.pass_s(1_000);
        assert!(world.messages("watcher").is_empty());
    });
}

/// v5 [MQTT-3.14.4-3] [MQTT-3.1.2-10], v3.1.1 [MQTT-3.14.4-3] [MQTT-3.1.2-10]: DISCONNECT 0x00 drops it.
#[test]
fn goodbye_drops_the_will() {
    each(|world| {
        with_watcher(world);
        connect(world, "lost");
        world.disconnect("a");
        world.pass_s(1_000);
        assert!(world.messages("watcher").is_empty());
    });
}

/// v5 [MQTT-3.14.4-3]: any other reason lets it be published.
#[test]
fn disconnect_with_will_publishes_it() {
    each_v5(|world| {
        with_watcher(world);
        for reason in [ReasonCode::DisconnectWithWill, ReasonCode::UnspecifiedError] {
            connect(world, "wanted");
            world.disconnect_with("a", reason, None);
            assert_eq!(world.messages("watcher"), ["gone/a=wanted q1"]);
        }
    });
}

/// v5 section 3.14.2.2.2: a DISCONNECT that raises the expiry from 0 is no goodbye.
#[test]
fn faulty_goodbye_publishes_the_will() {
    each_v5(|world| {
        with_watcher(world);
        connect(world, "faulty");
        world.disconnect_with("a", ReasonCode::Success, Some(7));
        assert_eq!(world.messages("watcher"), ["gone/a=faulty q1"]);
    });
}

/// v5 [MQTT-3.1.2-22] [MQTT-3.1.2-8], v3.1.1 [MQTT-3.1.2-24]: so does silence, and so does a fault.
#[test]
fn silence_and_faults_publish_the_will() {
    each(|world| {
        with_watcher(world);
        world.connect_as("a", |connect| {
            connect.keep_alive = 1;
            connect.will = Some(will("gone/a", "silent", 0));
        });
        world.pass_ms(1_600);
        assert_eq!(world.messages("watcher"), ["gone/a=silent q0"]);
        connect(world, "faulty");
        world.send_bytes("a", &[0x00, 0x00]);
        assert!(world.is_closed("a"));
        assert_eq!(world.messages("watcher"), ["gone/a=faulty q1"]);
    });
}

/// v3.1.1 [MQTT-3.1.2-12]: no will, nothing published. v5 [MQTT-3.1.4-2]: nor for a CONNECT that was refused.
#[test]
fn without_a_will_nothing_is_published() {
    each(|world| {
        with_watcher(world);
        world.connect("a");
        world.cut("a");
        world.connect_as("b", |connect| {
            connect.will = Some(will("gone/b", "refused", 0));
            connect.client_id = Default::default();
            connect.clean_start = false;
        });
        if !world.is_v5() {
            assert!(world.is_closed("b"));
            assert!(world.messages("watcher").is_empty());
        }
    });
}

/// v5 [MQTT-3.1.2-14] [MQTT-3.1.2-15], v3.1.1 [MQTT-3.1.2-16] [MQTT-3.1.2-17]: Will Retain decides whether it stays.
#[test]
fn retained_will_stays() {
    each(|world| {
        for (name, is_retained) in [("plain", false), ("kept", true)] {
            world.connect_as(name, |connect| {
                let mut will = will(&format!("gone/{name}"), "x", 1);
                will.retain = is_retained;
                connect.will = Some(will);
            });
            world.cut(name);
        }
        with_watcher(world);
        assert_eq!(world.messages("watcher"), ["gone/kept=x q1 retain"]);
    });
}

/// v5 [MQTT-3.1.2-8] [MQTT-3.1.3-9]: the will waits for its delay, or for the end of the session, and is cancelled by a
/// client that is back in time.
#[test]
fn will_delay() {
    each_v5(|world| {
        with_watcher(world);
        let mut round = |delay_s: u32, expiry_s: u32| {
            world.connect_as("a", |connect| {
                connect.clean_start = false;
                set_expiry(connect, expiry_s);
                let mut will = will("gone/a", "late", 0);
                will.properties.push(Property::WillDelayInterval(delay_s));
                connect.will = Some(will);
            });
            world.cut("a");
            let wait_ms = u64::from(delay_s.min(expiry_s)) * 1000;
            world.pass_ms(wait_ms.saturating_sub(100));
            let early = world.messages("watcher");
            world.pass_ms(200);
            let late = world.messages("watcher");
            assert_eq!(late.len() + early.len(), 1, "{delay_s} {expiry_s}");
            assert_eq!(early.is_empty(), wait_ms > 0);
        };
        round(5, 100);
        round(100, 5);
        round(0, 100);
        round(7, 0);
        world.connect_as("a", |connect| {
            set_expiry(connect, 100);
            let mut will = will("gone/a", "never", 0);
            will.properties.push(Property::WillDelayInterval(5));
            connect.will = Some(will);
        });
        world.cut("a");
        world.pass_s(4);
        world.connect_as("a", |connect| {
            connect.clean_start = false;
            set_expiry(connect, 100);
        });
        world.pass_s(10);
        world.disconnect("a");
        world.pass_s(1_000);
        assert!(world.messages("watcher").is_empty());
    });
}

/// v5 [MQTT-3.1.2-8] [MQTT-3.1.3-9]: a client that is back when its will is due comes too late, by a millisecond too.
#[test]
fn a_will_that_is_due_is_not_withdrawn() {
    each_v5(|world| {
        with_watcher(world);
        // Between two ticks of any clock that is coarser than time.
        world.pass_ms(3);
        for (away_ms, is_due) in [(4_999, false), (5_000, true), (5_001, true)] {
            world.connect_as("a", |connect| {
                connect.clean_start = false;
                set_expiry(connect, 100);
                let mut will = will("gone/a", "late", 1);
                will.properties.push(Property::WillDelayInterval(5));
                connect.will = Some(will);
            });
            world.cut("a");
            world.now = world.now.plus_ms(away_ms);
            world.resume("a");
            let expected: &[&str] = if is_due { &["gone/a=late q1"] } else { &[] };
            assert_eq!(world.messages("watcher"), expected, "away for {away_ms} ms");
            world.disconnect("a");
        }
    });
}

/// v5 [MQTT-3.1.3-10] [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]: the
/// properties of the will arrive, user properties in order; the delay does not.
#[test]
fn will_properties_arrive() {
    each_v5(|world| {
        with_watcher(world);
        world.connect_as("a", |connect| {
            let mut will = will("gone/a", "x", 0);
            will.properties.push(Property::WillDelayInterval(0));
            will.properties.push(Property::PayloadFormatIndicator(1));
            will.properties.push(Property::MessageExpiryInterval(60));
            will.properties.push(Property::ContentType(text("text/plain")));
            will.properties.push(Property::ResponseTopic(text("answer")));
            will.properties.push(Property::CorrelationData(b"corr"[..].to_vec().into()));
            for (name, value) in [("b", "2"), ("a", "1"), ("b", "2")] {
                will.properties.push(Property::UserProperty(text(name), text(value)));
            }
            connect.will = Some(will);
        });
        world.pass_s(100);
        world.cut("a");
        let properties = world.publishes("watcher").remove(0).properties;
        let mut shown: Vec<_> = properties.iter().map(ToString::to_string).collect();
        let expiry = shown.iter().position(|line| line == "MessageExpiryInterval=60");
        shown.remove(expiry.expect("its time begins when it is published"));
        assert_eq!(
            shown,
            [
                "PayloadFormatIndicator=1",
                "ContentType=\"text/plain\"",
                "ResponseTopic=\"answer\"",
                "CorrelationData=4B",
                "UserProperty=\"b\":\"2\"",
                "UserProperty=\"a\":\"1\"",
                "UserProperty=\"b\":\"2\"",
            ]
        );
    });
}

/// A will on a topic of the server is not published.
#[test]
fn will_on_a_server_topic_is_dropped() {
    each(|world| {
        world.connect("watcher");
        world.subscribe("watcher", &[("$SYS/#", 0)]);
        world.connect_as("a", |connect| connect.will = Some(will("$SYS/broker", "lie", 0)));
        world.cut("a");
        assert!(world.messages("watcher").is_empty());
    });
}

/// v5 section 4.13.1, 0x8B: a server that goes down says so, and publishes no will; sessions stay.
#[test]
fn shutdown_publishes_no_will() {
    each(|world| {
        world.resume("watcher");
        world.subscribe("watcher", &[("gone/#", 2)]);
        world.connect_as("a", |connect| {
            connect.clean_start = false;
            set_expiry(connect, 100);
            connect.will = Some(will("gone/a", "down", 1));
        });
        for hub in &mut world.hubs {
            hub.shut_down(world.now);
        }
        world.settle();
        for name in ["watcher", "a"] {
            assert!(world.is_closed(name));
            let told: &[&str] =
                if world.is_v5() { &["DISCONNECT ServerShuttingDown"] } else { &[] };
            assert_eq!(world.received(name), told);
        }
        world.dial("late");
        world.send_connect("late", |_| {});
        assert_eq!(world.take_connack("late"), "CONNACK ServerUnavailable");
        if world.setup.is_durable {
            world.restart(1);
            world.resume("watcher");
            assert_eq!(world.messages("watcher"), ["gone/a=down q1"], "it was only put off");
        }
    });
}

/// v5 [MQTT-3.1.2-8] [MQTT-4.3.3-10] [MQTT-4.5.0-1], v3.1.1 [MQTT-3.1.2-8] [MQTT-4.3.3-2]: the process ends when some
/// hubs have stored a will and others have not, at any moment of their talk. It goes to all who lack it, at QoS 2 to
/// nobody twice, however many hubs there are then; also to a group, and as retained.
#[test]
fn a_crash_between_hubs_keeps_the_will() {
    for (steps, hubs, qos) in (0..24_u8).map(|n| (n / 6, n / 2 % 3 + 1, n % 2 + 1)) {
        let case = format!("{steps} messages between hubs, then {hubs} hubs, QoS {qos}");
        let (mut world, first, second) = two_stored();
        let watchers = [&first[1], &second[0], &first[2], &second[1]];
        for (place, name) in watchers.into_iter().enumerate() {
            let filter = ["t".to_owned(), format!("$share/g{place}/t")];
            world.subscribe(name, &[(&filter[place / 2], qos)]);
        }
        world.connect_as(&first[0], |connect| {
            connect.clean_start = false;
            set_expiry(connect, 1_000);
            connect.will = Some(will("t", "x", qos));
            connect.will.as_mut().expect("a will").retain = true;
        });
        world.are_peers_slow = true;
        world.cut(&first[0]);
        for _ in 0..steps {
            world.carry();
            world.settle();
        }
        let mut got = [0; 4];
        let count = |world: &mut World, got: &mut [usize; 4]| {
            for (name, got) in watchers.into_iter().zip(got) {
                *got += world.messages(name).len();
            }
        };
        count(&mut world, &mut got);
        assert_eq!(got[0], 1, "{case}: the hub of the session has stored it");
        world.are_peers_slow = false;
        // Twice, so that what the first start leaves behind is seen too.
        for _ in 0..2 {
            world.restart(u16::from(hubs));
            for name in watchers {
                world.resume(name);
            }
            count(&mut world, &mut got);
            world.connect("late");
            world.subscribe("late", &[("t", 0)]);
            assert_eq!(world.messages("late"), ["t=x q0 retain"], "{case}");
        }
        assert!(got.iter().all(|got| *got == 1 || *got == 2 && qos == 1), "{case}: {got:?}");
        let is_left = |key: &&Vec<u8>| matches!(key.get(8), Some(b'I' | b'W'));
        assert_eq!(world.stored.keys().find(is_left), None, "{case}: nothing is left of it");
    }
}

/// v5 [MQTT-3.1.2-8]: whoever is recovered later gets it too.
#[test]
fn a_crash_publishes_the_will_of_a_session_that_ends_with_it() {
    for (hubs, is_shut_down) in [(1, false), (2, false), (3, false), (1, true), (3, true)] {
        let (mut world, first, second) = two_stored();
        let all = first.iter().chain(&second).skip(1);
        for name in all.clone() {
            world.subscribe(name, &[("t", 2)]);
        }
        world.connect_as(&first[0], |connect| {
            connect.clean_start = false;
            set_expiry(connect, 0);
            connect.will = Some(will("t", "x", 2));
        });
        if is_shut_down {
            world.hubs.iter_mut().for_each(|hub| hub.shut_down(world.now));
            world.settle();
        }
        for expected in [&["t=x q2"][..], &[]] {
            world.restart(hubs);
            for name in all.clone() {
                world.resume(name);
                assert_eq!(world.messages(name), expected, "{name}, {hubs} hubs");
            }
        }
        assert!(!world.resume(&first[0]), "its session is gone");
    }
}
