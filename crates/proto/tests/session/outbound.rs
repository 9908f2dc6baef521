//! The sender: QoS flows on one link.

use bytes::Bytes;
use postrider_proto::{
    AckOutcome, Fate, PeerFault, Resume, SessionConfig,
    wire::{AckKind, ReasonCode, Version},
};

use crate::bench::{Bench, Q0, Q1, Q2, VERSIONS, ack};

fn done(number: u64, id: u16, reason: ReasonCode, is_downgraded: bool) -> AckOutcome {
    AckOutcome::Done { number, ack: ack(id, reason), is_downgraded }
}

/// v5 [MQTT-2.2.1-2] [MQTT-3.3.1-2], v3.1.1 [MQTT-2.3.1-5] [MQTT-3.3.1-2].
#[test]
fn qos_0_is_written_and_forgotten() {
    for version in VERSIONS {
        let mut bench = Bench::new(version);
        assert_eq!(bench.publish(Q0, "a").unwrap().number, 0);
        assert_eq!(bench.sent(), ["PUBLISH q0 a"]);
        assert!(bench.session.is_idle());
    }
}

/// v5 [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.2-3], v3.1.1 [MQTT-4.3.2-1].
#[test]
fn qos_1_ends_with_puback() {
    for version in VERSIONS {
        let mut bench = Bench::new(version);
        assert_eq!(bench.publish(Q1, "a").unwrap().number, 1);
        assert_eq!(bench.sent(), ["PUBLISH 1 q1 a"]);
        assert_eq!(bench.session.stats().flights, 1);
        let outcome = bench.ack(AckKind::PubAck, 1);
        assert_eq!(outcome, Ok(done(1, 1, ReasonCode::Success, false)));
        assert!(bench.session.is_idle());
        assert_eq!(bench.session.stats().bytes, 0);
    }
}

/// v5 [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.3.3-3] [MQTT-4.3.3-4] [MQTT-4.3.3-5], v3.1.1 [MQTT-4.3.3-1].
#[test]
fn qos_2_ends_with_pubcomp() {
    for version in VERSIONS {
        let mut bench = Bench::new(version);
        bench.publish(Q2, "a").unwrap();
        assert_eq!(bench.sent(), ["PUBLISH 1 q2 a"]);
        bench.pubrec(1);
        assert_eq!(bench.sent(), ["PUBREL 1"]);
        assert_eq!(bench.session.stats().flights, 1);
        let outcome = bench.ack(AckKind::PubComp, 1);
        assert_eq!(outcome, Ok(done(1, 1, ReasonCode::Success, false)));
        assert!(bench.session.is_idle());
    }
}

/// v5 [MQTT-4.3.3-6]: a PUBREC that is repeated gets PUBREL again, and the PUBLISH is not sent.
#[test]
fn a_repeated_pubrec_gets_pubrel_again() {
    for version in VERSIONS {
        let mut bench = Bench::new(version);
        bench.publish(Q2, "a").unwrap();
        bench.pubrec(1);
        bench.pubrec(1);
        assert_eq!(bench.sent(), ["PUBLISH 1 q2 a", "PUBREL 1", "PUBREL 1"]);
    }
}

/// v5 [MQTT-4.4.0-2]: an acknowledgement of 0x80 or above ends the exchange; a success need not be 0x00.
#[test]
fn reason_codes_decide_whether_the_exchange_goes_on() {
    let mut bench = Bench::new(Version::V5);
    for topic in ["a", "b", "c", "d"] {
        bench.publish(if topic < "c" { Q1 } else { Q2 }, topic).unwrap();
    }
    let (none, denied) = (ReasonCode::NoMatchingSubscribers, ReasonCode::NotAuthorized);
    assert_eq!(bench.ack_with(AckKind::PubAck, 1, none), Ok(done(1, 1, none, false)));
    assert_eq!(bench.ack_with(AckKind::PubAck, 2, denied), Ok(done(2, 2, denied, false)));
    assert_eq!(bench.ack_with(AckKind::PubRec, 3, none), Ok(AckOutcome::Progress));
    assert_eq!(bench.ack_with(AckKind::PubRec, 4, denied), Ok(done(4, 4, denied, false)));
    assert_eq!(bench.sent().last().unwrap(), "PUBREL 3");
    assert_eq!(bench.session.stats().flights, 1);
    bench.cut();
    bench.connect(Resume::Present);
    assert_eq!(bench.sent(), ["PUBREL 3"]);
}

/// A broker that knows no QoS 2 answers with PUBACK (RabbitMQ): done, and reported as such.
#[test]
fn puback_for_qos_2_is_a_downgrade_where_allowed() {
    let mut bench = Bench::new(Version::V311);
    bench.publish(Q2, "a").unwrap();
    let outcome = bench.ack(AckKind::PubAck, 1);
    assert_eq!(outcome, Ok(done(1, 1, ReasonCode::Success, true)));

    let config = SessionConfig { is_puback_for_qos2_allowed: false, ..SessionConfig::default() };
    let mut bench = Bench::offline(Version::V311, config);
    bench.connect(Resume::Present);
    bench.publish(Q2, "a").unwrap();
    assert!(bench.ack(AckKind::PubAck, 1).is_err());
}

/// An acknowledgement that does not fit its exchange is a protocol error; the exchange stays.
#[test]
fn acknowledgements_of_the_wrong_kind_are_faults() {
    for version in VERSIONS {
        let mut bench = Bench::new(version);
        bench.publish(Q1, "a").unwrap();
        bench.publish(Q2, "b").unwrap();
        bench.publish(Q2, "c").unwrap();
        bench.pubrec(3);
        for (kind, id) in [
            (AckKind::PubRec, 1),
            (AckKind::PubComp, 1),
            (AckKind::PubComp, 2),
            (AckKind::PubAck, 3),
        ] {
            let fault = bench.ack(kind, id);
            let reason = ReasonCode::ProtocolError;
            assert!(matches!(fault, Err(PeerFault { reason: r, .. }) if r == reason), "{fault:?}");
        }
        assert_eq!(bench.session.stats().flights, 3);
    }
}

/// Unknown ids: PUBACK and PUBCOMP are ignored, PUBREC gets PUBREL, with 0x92 where there are codes (v5 section 4.3.3).
#[test]
fn unknown_acknowledgements_are_ignored_or_answered() {
    for (version, answer) in [(Version::V311, "PUBREL 9"), (Version::V5, "PUBREL 9 92")] {
        let mut bench = Bench::new(version);
        let taken = bench.session.take_id().unwrap().get();
        for id in [taken, 9] {
            assert_eq!(bench.ack(AckKind::PubAck, id), Ok(AckOutcome::Unknown));
            assert_eq!(bench.ack(AckKind::PubComp, id), Ok(AckOutcome::Unknown));
        }
        assert_eq!(bench.sent(), [""; 0]);
        assert_eq!(bench.ack(AckKind::PubRec, 9), Ok(AckOutcome::Unknown));
        let refused = bench.ack_with(AckKind::PubRec, 9, ReasonCode::NotAuthorized);
        assert_eq!(refused, Ok(AckOutcome::Unknown));
        assert_eq!(bench.sent(), [answer]);
    }
}

/// v5 [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-3.3.4-7] [MQTT-3.3.4-8] [MQTT-3.3.4-9] [MQTT-3.3.4-10]: quota holds QoS 1
/// and 2 back and nothing else, QoS 2 until PUBCOMP.
#[test]
fn receive_maximum_1_means_one_at_a_time() {
    let mut bench = Bench::offline(Version::V5, SessionConfig::default());
    bench.peer.receive_maximum = 1;
    bench.connect(Resume::Present);
    bench.publish(Q2, "a").unwrap();
    bench.publish(Q1, "b").unwrap();
    bench.publish(Q0, "c").unwrap();
    bench.publish(Q1, "d").unwrap();
    assert_eq!(bench.sent(), ["PUBLISH 1 q2 a", "PUBLISH q0 c"]);
    assert!(!bench.session.is_congested());
    bench.pubrec(1);
    assert_eq!(bench.sent(), ["PUBREL 1"]);
    bench.pubcomp(1);
    assert_eq!(bench.sent(), ["PUBLISH 2 q1 b"]);
    bench.ack_with(AckKind::PubAck, 2, ReasonCode::QuotaExceeded).unwrap();
    assert_eq!(bench.sent(), ["PUBLISH 3 q1 d"]);
}

/// Our own bound on flights holds where the version cannot announce one.
#[test]
fn flights_max_bounds_every_version() {
    for version in VERSIONS {
        let config = SessionConfig { flights_max: 2, ..SessionConfig::default() };
        let mut bench = Bench::offline(version, config);
        bench.connect(Resume::Present);
        for topic in ["a", "b", "c", "d"] {
            bench.publish(Q1, topic).unwrap();
        }
        assert_eq!(bench.sent(), ["PUBLISH 1 q1 a", "PUBLISH 2 q1 b"]);
        bench.puback(2);
        assert_eq!(bench.sent(), ["PUBLISH 3 q1 c"]);
        bench.puback(1);
        bench.puback(3);
        assert_eq!(bench.sent(), ["PUBLISH 4 q1 d"]);
    }
}

/// Where the peer cannot announce a window a smaller one may hold (Mosquitto closes at its 21st open message).
#[test]
fn a_silent_peer_may_have_a_window_of_its_own() {
    for (version, flights) in [(Version::V311, 2), (Version::V5, 3)] {
        let config = SessionConfig { flights_max_unannounced: 2, ..SessionConfig::default() };
        let mut bench = Bench::offline(version, config);
        bench.connect(Resume::Present);
        for topic in ["a", "b", "c"] {
            bench.publish(Q2, topic).unwrap();
        }
        assert_eq!(bench.session.stats().flights, flights);
    }
}

/// v5 [MQTT-2.2.1-3] [MQTT-2.2.1-4], v3.1.1 [MQTT-2.3.1-1] [MQTT-2.3.1-2] [MQTT-2.3.1-3] [MQTT-2.3.1-4]: ids in use
/// are skipped, freed ones are not taken again at once, and after 65,535 comes 1.
#[test]
fn packet_ids_skip_busy_ones_and_wrap() {
    for version in VERSIONS {
        let mut bench = Bench::new(version);
        bench.publish(Q1, "busy").unwrap();
        let taken = bench.session.take_id().unwrap();
        assert_eq!(taken.get(), 2);
        for _ in 3..=u16::MAX {
            bench.publish(Q1, "x").unwrap();
            let line = bench.sent().pop().unwrap();
            let id: u16 = line.split(' ').nth(1).unwrap().parse().unwrap();
            if id > 2 {
                bench.puback(id);
            }
        }
        bench.publish(Q1, "y").unwrap();
        assert_eq!(bench.sent(), ["PUBLISH 3 q1 y"]);
        bench.session.free_id(taken);
        bench.publish(Q1, "z").unwrap();
        assert_eq!(bench.sent(), ["PUBLISH 4 q1 z"]);
    }
}

/// With all 65,535 ids in use messages wait for the next free one.
#[test]
fn all_ids_in_use_is_no_fault() {
    let mut bench = Bench::new(Version::V311);
    let ids: Vec<_> = std::iter::from_fn(|| bench.session.take_id()).collect();
    assert_eq!(ids.len(), 65_535);
    bench.publish(Q1, "a").unwrap();
    assert_eq!(bench.sent(), [""; 0]);
    bench.session.free_id(ids[99]);
    bench.pump();
    assert_eq!(bench.sent(), ["PUBLISH 100 q1 a"]);
}

/// v5 [MQTT-4.6.0-4]: PUBRELs follow the order of their PUBRECs, also when they are sent again.
#[test]
fn acknowledgements_may_come_in_any_order() {
    for version in VERSIONS {
        let mut bench = Bench::new(version);
        for topic in ["a", "b", "c"] {
            bench.publish(Q2, topic).unwrap();
        }
        bench.sent();
        bench.pubrec(3);
        bench.pubrec(1);
        assert_eq!(bench.sent(), ["PUBREL 3", "PUBREL 1"]);
        bench.cut();
        bench.connect(Resume::Present);
        assert_eq!(bench.sent(), ["PUBREL 3", "PUBREL 1", "PUBLISH 2 q2 b dup"]);
        bench.pubcomp(1);
        bench.pubrec(2);
        bench.pubcomp(2);
        bench.pubcomp(3);
        assert!(bench.session.is_idle());
    }
}

/// v5 [MQTT-3.1.2-25] [MQTT-3.2.2-15]: what is too large for the peer is dropped as if it had been delivered.
#[test]
fn too_large_messages_are_dropped_and_counted() {
    let mut bench = Bench::offline(Version::V5, SessionConfig::default());
    bench.peer.packet_size_max = 100;
    bench.publish_with(Q1, "queued", Bytes::from(vec![0; 100]), None).unwrap();
    bench.publish(Q1, "small").unwrap();
    bench.connect(Resume::Present);
    assert_eq!(bench.sent(), ["PUBLISH 2 q1 small"]);
    bench.publish_with(Q2, "direct", Bytes::from(vec![0; 100]), None).unwrap();
    bench.publish_with(Q0, "loose", Bytes::from(vec![0; 100]), None).unwrap();
    bench.publish(Q1, "next").unwrap();
    assert_eq!(bench.sent(), ["PUBLISH 3 q1 next"]);
    assert_eq!(bench.session.stats().dropped_too_large, 3);
    assert_eq!(bench.fates(), [(1, Fate::TooLarge), (3, Fate::TooLarge)]);
}

/// The queue keeps the order in which messages came, QoS 0 among the others, when the outbox was full.
#[test]
fn a_full_outbox_queues_in_order() {
    for version in VERSIONS {
        let mut bench = Bench::offline(version, SessionConfig::default());
        bench.narrow(1);
        bench.connect(Resume::Present);
        for (topic, qos) in [("a", Q1), ("b", Q1), ("c", Q0), ("d", Q2), ("e", Q0)] {
            bench.publish(qos, topic).unwrap();
        }
        assert!(bench.session.is_congested());
        let mut sent = Vec::new();
        while !bench.session.is_idle() && sent.len() < 5 {
            sent.append(&mut bench.sent());
            bench.pump();
        }
        let expected = ["1 q1 a", "2 q1 b", "q0 c", "3 q2 d", "q0 e"];
        assert_eq!(sent, expected.map(|packet| format!("PUBLISH {packet}")));
        assert!(!bench.session.is_congested());
    }
}
