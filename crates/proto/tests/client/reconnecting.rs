//! When, where and with which version the next attempt is made.

use postrider_proto::{
    Again, HOPS_MAX, LinkEnd, Plan, Reconnect, ReconnectConfig, Time, Verdict,
    wire::{ConnAck, Disconnect, Properties, Property, ReasonCode, Text, Version},
};

use crate::desk::{Desk, config};

fn reconnect(servers: &[&str], change: impl FnOnce(&mut ReconnectConfig)) -> Reconnect {
    let servers = servers.iter().map(ToString::to_string).collect();
    let mut config = ReconnectConfig {
        servers,
        backoff_ms_min: 100,
        backoff_ms_max: 1_000,
        stable_ms: 5_000,
        is_first_retried: true,
        ..ReconnectConfig::default()
    };
    change(&mut config);
    Reconnect::new(config, 42)
}

fn refused(reason: ReasonCode) -> LinkEnd {
    LinkEnd::Refused(ConnAck { session_present: false, reason, properties: Properties::new() })
}

fn told(reason: ReasonCode) -> LinkEnd {
    LinkEnd::Disconnected(Disconnect { reason, properties: Properties::new() })
}

fn unreachable() -> LinkEnd {
    LinkEnd::Unreachable("no route".into())
}

fn retry(verdict: Verdict) -> (Plan, Time) {
    match verdict {
        Verdict::Retry(plan, at) => (plan, at),
        Verdict::GiveUp => panic!("gave up"),
    }
}

/// Waits of attempts that fail one after the other, in milliseconds.
fn waits(seed: u64, count: usize) -> Vec<u64> {
    let config = ReconnectConfig {
        servers: vec!["one".into()],
        backoff_ms_min: 100,
        backoff_ms_max: 1_000,
        is_first_retried: true,
        ..ReconnectConfig::default()
    };
    let mut reconnect = Reconnect::new(config, seed);
    reconnect.start();
    let now = Time(1_000);
    let wait = |_| retry(reconnect.handle_end(&unreachable(), false, now)).1.ms_since(now);
    (0..count).map(wait).collect()
}

fn sent_on(reason: ReasonCode, reference: &str) -> LinkEnd {
    let reference = Property::ServerReference(Text::new(reference).unwrap());
    let properties = Properties::from_iter([reference]);
    LinkEnd::Refused(ConnAck { session_present: false, reason, properties })
}

/// Where the next attempt goes, and after how long.
fn next(reconnect: &mut Reconnect, end: &LinkEnd, now: u64) -> (String, bool) {
    let (plan, at) = retry(reconnect.handle_end(end, true, Time(now)));
    (plan.detour.unwrap_or(plan.server), at == Time(now))
}

/// v5 section 4.11: use another server, for this time or for good.
#[test]
fn a_server_sends_us_on() {
    let (away, moved) = (ReasonCode::UseAnotherServer, ReasonCode::ServerMoved);
    for (reason, after_that) in [(away, "one"), (moved, "other:1884")] {
        let mut reconnect = reconnect(&["one", "two"], |_| {});
        reconnect.start();
        let there = next(&mut reconnect, &sent_on(reason, "other:1884 third"), 0);
        assert_eq!(there, ("other:1884".to_owned(), true));
        reconnect.handle_open(Time(10));
        let (place, _) = next(&mut reconnect, &LinkEnd::Lost, 20);
        assert_eq!(place, after_that);
        // Nobody there: back to our own.
        let (place, _) = next(&mut reconnect, &unreachable(), 30);
        assert_eq!(place, if reason == moved { "one" } else { "two" });
    }
    // Said while connected; and without a name it is an end like any other.
    let mut reconnect = reconnect(&["one"], |_| {});
    reconnect.start();
    reconnect.handle_open(Time(0));
    let LinkEnd::Refused(ConnAck { reason, properties, .. }) = sent_on(away, "other") else {
        unreachable!()
    };
    let told = LinkEnd::Disconnected(Disconnect { reason, properties });
    assert_eq!(next(&mut reconnect, &told, 10), ("other".to_owned(), true));
    assert_eq!(next(&mut reconnect, &refused(away), 20).0, "one");
    assert_eq!(next(&mut reconnect, &sent_on(ReasonCode::ServerBusy, "other"), 30).0, "one");
}

#[test]
fn servers_that_point_at_each_other_are_followed_three_times() {
    for opens in [false, true] {
        let mut reconnect = reconnect(&["one"], |_| {});
        reconnect.start();
        let end = sent_on(ReasonCode::UseAnotherServer, "other");
        let mut hops = 0;
        loop {
            if opens {
                reconnect.handle_open(Time(0));
            }
            if next(&mut reconnect, &end, 0).0 != "other" {
                break;
            }
            hops += 1;
        }
        assert_eq!(hops, HOPS_MAX);
        // After a rest they are asked again.
        assert_eq!(next(&mut reconnect, &end, 100).0, "other");
    }
    let mut once = reconnect(&["one"], |config| config.is_first_retried = false);
    once.start();
    let end = sent_on(ReasonCode::UseAnotherServer, "other");
    for _ in 0..HOPS_MAX {
        assert_eq!(next(&mut once, &end, 0), ("other".to_owned(), true));
    }
    assert_eq!(once.handle_end(&end, true, Time(0)), Verdict::GiveUp);
}

#[test]
fn what_another_server_speaks_says_nothing_about_ours() {
    let mut reconnect = reconnect(&["one"], |_| {});
    reconnect.start();
    next(&mut reconnect, &sent_on(ReasonCode::UseAnotherServer, "old"), 0);
    let (plan, _) = retry(reconnect.handle_end(&LinkEnd::Lost, false, Time(0)));
    assert_eq!((plan.detour.as_deref(), plan.version), (Some("old"), Version::V311));
    reconnect.handle_open(Time(0));
    let (plan, _) = retry(reconnect.handle_end(&LinkEnd::Lost, true, Time(1)));
    assert_eq!((plan.detour, plan.version), (None, Version::V5));
}

#[test]
fn waits_double_up_to_a_bound_with_full_jitter() {
    let bounds = [100, 200, 400, 800, 1_000, 1_000];
    let mut highest = [0; 6];
    let mut lowest = [u64::MAX; 6];
    for seed in 0..500 {
        for (at, wait) in waits(seed, 6).into_iter().enumerate() {
            assert!(wait <= bounds[at], "wait {at} is {wait}");
            highest[at] = wait.max(highest[at]);
            lowest[at] = wait.min(lowest[at]);
        }
    }
    for (at, bound) in bounds.into_iter().enumerate() {
        assert!(highest[at] > bound * 95 / 100, "{highest:?}");
        assert!(lowest[at] < bound * 5 / 100, "{lowest:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_waits() {
    assert_eq!(waits(7, 20), waits(7, 20));
    assert_ne!(waits(7, 20), waits(8, 20));
    // The longest chain of doublings does not overflow.
    assert!(waits(7, 200).iter().all(|wait| *wait <= 1_000));
}

/// Only a link that lived resets the backoff; one that ends at once does not.
#[test]
fn a_stable_link_resets_the_backoff() {
    let span = |lived_ms: u64| {
        (0..200)
            .map(|seed| {
                let mut reconnect = reconnect(&["one"], |config| config.backoff_ms_max = 100_000);
                let _ = seed;
                reconnect.start();
                for _ in 0..8 {
                    reconnect.handle_end(&unreachable(), false, Time(0));
                }
                reconnect.handle_open(Time(0));
                let now = Time(lived_ms);
                let (plan, at) = retry(reconnect.handle_end(&LinkEnd::Lost, true, now));
                assert_eq!(plan.attempt, 1);
                at.ms_since(now)
            })
            .max()
    };
    assert!(span(5_000) <= Some(100));
    assert!(span(4_999) > Some(100));
}

#[test]
fn servers_are_taken_in_turn() {
    let mut reconnect = reconnect(&["one", "two", "three"], |_| {});
    assert_eq!(reconnect.start().server, "one");
    let next = |reconnect: &mut Reconnect, end: &LinkEnd| {
        retry(reconnect.handle_end(end, false, Time(0))).0
    };
    assert_eq!(next(&mut reconnect, &unreachable()).server, "two");
    assert_eq!(next(&mut reconnect, &unreachable()).server, "three");
    assert_eq!(next(&mut reconnect, &unreachable()).server, "one");
    assert_eq!(next(&mut reconnect, &unreachable()).server, "two");
    // The session is where the link was, so that one is asked first.
    reconnect.handle_open(Time(0));
    let plan = next(&mut reconnect, &LinkEnd::Lost);
    assert_eq!((plan.server.as_str(), plan.attempt), ("two", 1));
    let plan = next(&mut reconnect, &unreachable());
    assert_eq!((plan.server.as_str(), plan.attempt), ("three", 2));
}

/// v3.1.1 [MQTT-3.1.2-2], v5 [MQTT-3.1.2-2]: 5.0 falls back at once; only a success makes that last.
#[test]
fn version_5_falls_back_to_3_1_1() {
    for end in [refused(ReasonCode::UnsupportedProtocolVersion), LinkEnd::Lost] {
        let mut reconnect = reconnect(&["one", "two"], |_| {});
        let first = reconnect.start();
        assert_eq!((first.version, first.has_properties), (Version::V5, true));
        let (plan, at) =
            retry(reconnect.handle_end(&end, matches!(end, LinkEnd::Refused(_)), Time(9)));
        assert_eq!((plan.server.as_str(), plan.version, at), ("one", Version::V311, Time(9)));
        assert!(!plan.has_properties);
        // It did not help: the next server is asked in 5.0 again.
        let (plan, _) = retry(reconnect.handle_end(&end, false, Time(9)));
        assert_eq!((plan.server.as_str(), plan.version), ("two", Version::V5));
        let (plan, _) = retry(reconnect.handle_end(&end, false, Time(9)));
        assert_eq!((plan.server.as_str(), plan.version), ("two", Version::V311));
        reconnect.handle_open(Time(9));
        let (plan, _) = retry(reconnect.handle_end(&LinkEnd::Lost, true, Time(10)));
        assert_eq!((plan.server.as_str(), plan.version), ("two", Version::V311));
        // Remembered for that server only.
        let (plan, _) = retry(reconnect.handle_end(&unreachable(), false, Time(10)));
        assert_eq!((plan.server.as_str(), plan.version), ("one", Version::V5));
    }
}

#[test]
fn other_ends_say_nothing_about_the_version() {
    let fault = LinkEnd::PeerFault {
        reason: ReasonCode::ProtocolError,
        statement: "MQTT-3.2.2-2",
        what: String::new(),
    };
    for end in [unreachable(), refused(ReasonCode::ServerBusy), fault] {
        let mut reconnect = reconnect(&["one"], |_| {});
        reconnect.start();
        assert_eq!(retry(reconnect.handle_end(&end, false, Time(0))).0.version, Version::V5);
    }
    // A link that had its CONNACK has shown that it speaks 5.0.
    let mut reconnect = reconnect(&["one"], |_| {});
    reconnect.start();
    reconnect.handle_open(Time(0));
    assert_eq!(retry(reconnect.handle_end(&LinkEnd::Lost, true, Time(0))).0.version, Version::V5);
}

#[test]
fn a_fixed_version_never_falls_back() {
    for version in [Version::V31, Version::V311, Version::V5] {
        let mut reconnect = reconnect(&["one"], |config| config.version = Some(version));
        assert_eq!(reconnect.start().version, version);
        for end in [refused(ReasonCode::UnsupportedProtocolVersion), LinkEnd::Lost] {
            assert_eq!(retry(reconnect.handle_end(&end, false, Time(0))).0.version, version);
        }
    }
}

/// Issue 5, section 3: a policy per reason; bad credentials are not tried again, unless asked.
#[test]
fn final_reasons_end_it() {
    for code in [0x86, 0x87, 0x8A, 0x8C, 0x8E] {
        let reason = ReasonCode::from_byte(code).unwrap();
        assert_eq!(Again::by_default(reason), Again::Never);
        for end in [refused(reason), told(reason)] {
            let mut reconnect = reconnect(&["one", "two"], |_| {});
            reconnect.start();
            assert_eq!(reconnect.handle_end(&end, true, Time(0)), Verdict::GiveUp);
            let mut reconnect = self::reconnect(&["one", "two"], |config| {
                config.rules = vec![(reason, Again::Later), (reason, Again::Soon)];
            });
            reconnect.start();
            retry(reconnect.handle_end(&end, true, Time(0)));
        }
    }
    for code in [0x80, 0x84, 0x85, 0x8B, 0x8D] {
        assert_eq!(Again::by_default(ReasonCode::from_byte(code).unwrap()), Again::Soon);
    }
}

/// A server that did not prove who it is gets no second chance by itself.
#[test]
fn an_untrusted_server_ends_it() {
    let mut reconnect = reconnect(&["one", "two"], |_| {});
    reconnect.start();
    let end = LinkEnd::Untrusted("wrong signature".into());
    assert_eq!(reconnect.handle_end(&end, true, Time(0)), Verdict::GiveUp);
}

/// Issue 5, section 3: a refused certificate is not tried again, unless asked. It says nothing about the version.
#[test]
fn a_refused_certificate_ends_it_unless_asked() {
    let end = LinkEnd::Certificate("expired".into());
    let mut reconnect = reconnect(&["one"], |_| {});
    assert_eq!(reconnect.start().version, Version::V5);
    assert_eq!(reconnect.handle_end(&end, false, Time(0)), Verdict::GiveUp);
    for (again, wait) in [(Again::Soon, 0..=100), (Again::Later, 5_000..=5_100)] {
        let mut reconnect = self::reconnect(&["one"], |config| config.certificates = again);
        reconnect.start();
        let (plan, at) = retry(reconnect.handle_end(&end, false, Time(0)));
        assert_eq!((plan.version, plan.attempt), (Version::V5, 2));
        assert!(wait.contains(&at.0), "{at:?}");
    }
}

/// Other servers have other certificates. The one that was refused is left out until one of them takes us.
#[test]
fn a_refused_certificate_bars_one_server() {
    let end = LinkEnd::Certificate("expired".into());
    let mut reconnect = reconnect(&["one", "two", "three"], |_| {});
    reconnect.start();
    let mut servers = Vec::new();
    for end in [&end, &unreachable(), &unreachable(), &unreachable()] {
        servers.push(retry(reconnect.handle_end(end, false, Time(0))).0.server);
    }
    assert_eq!(servers, ["two", "three", "two", "three"]);
    assert_eq!(retry(reconnect.handle_end(&end, false, Time(0))).0.server, "two");
    reconnect.handle_open(Time(0));
    servers.clear();
    for end in [&LinkEnd::Lost, &end, &end] {
        servers.push(retry(reconnect.handle_end(end, true, Time(0))).0.server);
    }
    assert_eq!(servers, ["two", "three", "one"]);
    assert_eq!(reconnect.handle_end(&end, false, Time(0)), Verdict::GiveUp);
}

/// A server that sends us on to one whose certificate is refused would do so again.
#[test]
fn a_refused_certificate_elsewhere_bars_who_sent_us() {
    let mut reconnect = reconnect(&["one", "two"], |_| {});
    reconnect.start();
    let sent_on = sent_on(ReasonCode::UseAnotherServer, "other");
    let (plan, _) = retry(reconnect.handle_end(&sent_on, true, Time(0)));
    assert_eq!(plan.detour.as_deref(), Some("other"));
    let end = LinkEnd::Certificate("expired".into());
    let (plan, _) = retry(reconnect.handle_end(&end, false, Time(0)));
    assert_eq!((plan.server.as_str(), plan.detour), ("two", None));
}

/// The whole client: TLS says no behind its handshake, when CONNECT is on its way. 3.1.1 is not tried.
#[test]
fn a_certificate_refused_behind_the_handshake_is_no_sign_of_an_old_server() {
    for (is_certificate, expected) in
        [(true, "Over Certificate no"), (false, "Over Unreachable no")]
    {
        let mut auto = config(Version::V5);
        auto.reconnect.version = None;
        let mut desk = Desk::new(auto);
        desk.client.connect(desk.now);
        desk.open();
        desk.log();
        if is_certificate {
            desk.client.handle_certificate_refused("no".into(), desk.now);
        } else {
            desk.client.handle_dial_failed("no".into(), desk.now);
        }
        desk.client.handle_closed(desk.now);
        desk.drain();
        let log = desk.log();
        assert_eq!(log.last().unwrap(), expected, "{log:?}");
        assert!(!log.iter().any(|line| line.contains("Dial")), "{log:?}");
    }
}

/// Issue 5, section 3: server busy, quota and use another server are respected.
#[test]
fn a_busy_server_is_left_alone_for_a_while() {
    for code in [0x88, 0x89, 0x97, 0x9C, 0x9D, 0x9F] {
        let reason = ReasonCode::from_byte(code).unwrap();
        for end in [refused(reason), told(reason)] {
            let mut reconnect = reconnect(&["one"], |config| {
                (config.backoff_ms_min, config.backoff_ms_max) = (100, 100);
            });
            reconnect.start();
            reconnect.handle_open(Time(0));
            let (_, at) = retry(reconnect.handle_end(&end, true, Time(1)));
            assert!((5_001..=5_101).contains(&at.0), "{code:x} {at:?}");
            let (_, at) = retry(reconnect.handle_end(&LinkEnd::Lost, true, at));
            assert!(at.0 <= 5_201, "{at:?}");
        }
    }
}

/// Who is sent away goes to the next server, though its session is here.
#[test]
fn another_server_is_used_where_there_is_one() {
    for (code, server) in [(0x9C, "two"), (0x9D, "two"), (0x89, "one")] {
        let mut reconnect = reconnect(&["one", "two"], |_| {});
        reconnect.start();
        reconnect.handle_open(Time(0));
        let end = told(ReasonCode::from_byte(code).unwrap());
        assert_eq!(retry(reconnect.handle_end(&end, true, Time(1))).0.server, server);
    }
}

#[test]
fn attempts_are_bounded() {
    let mut reconnect = reconnect(&["one"], |config| config.attempts_max = Some(3));
    assert_eq!(reconnect.start().attempt, 1);
    for attempt in [2, 3] {
        let verdict = reconnect.handle_end(&unreachable(), false, Time(0));
        assert_eq!(retry(verdict).0.attempt, attempt);
    }
    assert_eq!(reconnect.handle_end(&unreachable(), false, Time(0)), Verdict::GiveUp);
}

#[test]
fn without_reconnecting_the_first_loss_is_the_end() {
    let mut reconnect = reconnect(&["one"], |config| config.is_enabled = false);
    reconnect.start();
    reconnect.handle_open(Time(0));
    assert_eq!(reconnect.handle_end(&LinkEnd::Lost, true, Time(99_999)), Verdict::GiveUp);
}

/// Whoever waits for the first connection learns why it failed, after each server was asked once.
#[test]
fn a_first_failure_is_the_end_unless_configured() {
    let mut reconnect = reconnect(&["one", "two"], |config| config.is_first_retried = false);
    reconnect.start();
    let (plan, at) = retry(reconnect.handle_end(&unreachable(), false, Time(5)));
    assert_eq!((plan.server.as_str(), at), ("two", Time(5)));
    assert_eq!(reconnect.handle_end(&unreachable(), false, Time(5)), Verdict::GiveUp);
}

/// The whole client falls back: on a close, on 3.1.1's own refusal, and on 0x84.
#[test]
fn the_client_falls_back() {
    for answer in [None, Some(&[0x20, 0x02, 0x00, 0x01][..]), Some(&[0x20, 0x03, 0x00, 0x84, 0x00])]
    {
        let mut auto = config(Version::V5);
        auto.reconnect.version = None;
        auto.session_expiry_s = 0;
        let mut desk = Desk::new(auto);
        desk.client.connect(desk.now);
        desk.open();
        match answer {
            Some(bytes) => desk.reply_bytes(bytes),
            None => desk.cut(),
        }
        desk.open();
        desk.accept(false);
        let log = desk.log();
        let log: Vec<_> = log
            .iter()
            .filter(|line| {
                line.contains("CONNECT ") || line.contains("Dial") || *line == "Connected"
            })
            .filter(|line| !line.contains("DISCONNECT"))
            .collect();
        let expected = [
            "Dial one 5.0 #1",
            "> CONNECT 5.0 clean",
            "Dial one 3.1.1 #1",
            "> CONNECT 3.1.1 clean",
            "Connected",
        ];
        assert_eq!(log, expected);
        desk.cut();
        desk.wake();
        assert_eq!(desk.plan.unwrap().version, Version::V311);
    }
}
