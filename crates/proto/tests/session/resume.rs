//! A link ends and another one comes.

use postrider_proto::{
    Fate, Resume, SessionConfig,
    wire::{AckKind, Version},
};

use crate::bench::{Bench, Q0, Q1, Q2, VERSIONS, packet_id};

/// v5 [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.3.1-1], v3.1.1 [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.3.1-1]: old ids, old
/// order, DUP, PUBREL for what was received, and the queue behind them.
#[test]
fn flights_are_sent_again_in_their_states() {
    for version in VERSIONS {
        let config = SessionConfig { flights_max: 4, ..SessionConfig::default() };
        let mut bench = Bench::offline(version, config);
        bench.connect(Resume::Present);
        bench.publish(Q2, "a").unwrap();
        bench.publish(Q1, "b").unwrap();
        bench.publish(Q2, "c").unwrap();
        bench.publish(Q1, "d").unwrap();
        bench.publish(Q1, "e").unwrap();
        bench.pubrec(1);
        bench.sent();
        bench.cut();
        bench.publish(Q2, "f").unwrap();
        for _ in 0..2 {
            bench.connect(Resume::Present);
            let expected =
                ["PUBREL 1", "PUBLISH 2 q1 b dup", "PUBLISH 3 q2 c dup", "PUBLISH 4 q1 d dup"];
            assert_eq!(bench.sent(), expected);
            bench.cut();
        }
        bench.connect(Resume::Present);
        bench.sent();
        bench.pubcomp(1);
        bench.puback(2);
        assert_eq!(bench.sent(), ["PUBLISH 5 q1 e", "PUBLISH 6 q2 f"]);
        assert_eq!(bench.session.stats().resent, 12);
    }
}

/// v5 [MQTT-3.3.4-9]: a new link with a smaller receive maximum gets the old flights bit by bit, before anything new.
#[test]
fn a_smaller_window_slows_the_resume() {
    let mut bench = Bench::new(Version::V5);
    for topic in ["a", "b", "c", "d"] {
        bench.publish(Q1, topic).unwrap();
    }
    bench.cut();
    bench.publish(Q1, "new").unwrap();
    bench.peer.receive_maximum = 2;
    bench.connect(Resume::Present);
    assert_eq!(bench.sent(), ["PUBLISH 1 q1 a dup", "PUBLISH 2 q1 b dup"]);
    bench.puback(1);
    assert_eq!(bench.sent(), ["PUBLISH 3 q1 c dup"]);
    bench.puback(2);
    bench.puback(3);
    assert_eq!(bench.sent(), ["PUBLISH 4 q1 d dup", "PUBLISH 5 q1 new"]);
}

/// v5 [MQTT-3.3.4-8]: a full window never holds PUBREL back, even if more wait than fit.
#[test]
fn pubrel_ignores_the_window() {
    let mut bench = Bench::new(Version::V5);
    for topic in ["a", "b", "c"] {
        bench.publish(Q2, topic).unwrap();
    }
    bench.pubrec(1);
    bench.pubrec(2);
    bench.cut();
    bench.peer.receive_maximum = 1;
    bench.connect(Resume::Present);
    assert_eq!(bench.sent(), ["PUBREL 1", "PUBREL 2"]);
    bench.pubcomp(2);
    assert_eq!(bench.sent(), [""; 0]);
    bench.pubcomp(1);
    assert_eq!(bench.sent(), ["PUBLISH 3 q2 c dup"]);
}

/// An answer to what the last link carried may come before we repeat it.
#[test]
fn an_early_answer_on_the_new_link_counts() {
    let mut bench = Bench::new(Version::V5);
    for topic in ["a", "b", "c"] {
        bench.publish(Q2, topic).unwrap();
    }
    bench.cut();
    bench.peer.receive_maximum = 1;
    bench.connect(Resume::Present);
    assert_eq!(bench.sent(), ["PUBLISH 1 q2 a dup"]);
    bench.pubrec(2);
    assert_eq!(bench.sent(), ["PUBREL 2"]);
    bench.pubcomp(2);
    bench.pubrec(1);
    bench.pubcomp(1);
    assert_eq!(bench.sent(), ["PUBREL 1", "PUBLISH 3 q2 c dup"]);
}

/// v5 [MQTT-3.2.2-5] [MQTT-4.3.2-2]: with the session lost what was open starts again as new messages, in order and
/// before the queue; what the peer had taken over is done.
#[test]
fn a_lost_session_starts_open_exchanges_anew() {
    for version in VERSIONS {
        let mut bench = Bench::new(version);
        for (topic, qos) in [("a", Q2), ("b", Q1), ("c", Q2), ("d", Q1)] {
            bench.publish(qos, topic).unwrap();
        }
        bench.pubrec(1);
        bench.puback(4);
        bench.cut();
        bench.publish(Q1, "e").unwrap();
        bench.connect(Resume::Lost);
        assert_eq!(bench.sent(), ["PUBLISH 5 q1 b", "PUBLISH 6 q2 c", "PUBLISH 7 q1 e"]);
        let expected = [(1, Fate::Completed(packet_id(1))), (3, Fate::MayBeDouble)];
        assert_eq!(bench.fates(), expected);
        assert_eq!(bench.session.open_numbers(), [2, 3, 5]);
        assert_eq!(bench.session.stats().resent, 0);
        bench.puback(5);
        bench.publish(Q1, "f").unwrap();
        assert_eq!(bench.sent(), ["PUBLISH 8 q1 f"]);
    }
}

/// A message whose PUBLISH never left is no repeat, whatever happens to its links.
#[test]
fn dup_tells_only_about_what_was_written() {
    let mut bench = Bench::durable(Version::V5);
    bench.publish(Q2, "a").unwrap();
    assert_eq!(bench.session.stats().flights, 1);
    assert_eq!(bench.sent(), [""; 0]);
    bench.cut();
    bench.store_all();
    bench.connect(Resume::Present);
    assert_eq!(bench.sent(), ["PUBLISH 1 q2 a"]);
    bench.cut();
    bench.connect(Resume::Lost);
    bench.store_all();
    assert_eq!(bench.sent(), ["PUBLISH 2 q2 a"]);
    assert_eq!(bench.fates(), [(1, Fate::MayBeDouble)]);
}

/// An answer to a PUBLISH that was never written is not ours: nothing is lost by it.
#[test]
fn an_answer_to_nothing_ends_no_exchange() {
    let mut bench = Bench::durable(Version::V5);
    bench.publish(Q2, "a").unwrap();
    for kind in [AckKind::PubAck, AckKind::PubComp] {
        assert_eq!(bench.ack(kind, 1), Ok(postrider_proto::AckOutcome::Unknown));
    }
    bench.store_all();
    assert_eq!(bench.sent(), ["PUBLISH 1 q2 a"]);
}

/// v3.1.1 [MQTT-3.1.2-5], v5 [MQTT-3.1.2-5]: QoS 1 and 2 wait for the peer; QoS 0 does so only if configured.
#[test]
fn messages_wait_for_a_link() {
    for version in VERSIONS {
        for is_qos0_queued_offline in [false, true] {
            let config = SessionConfig { is_qos0_queued_offline, ..SessionConfig::default() };
            let mut bench = Bench::offline(version, config);
            for (topic, qos) in [("a", Q0), ("b", Q1), ("c", Q0), ("d", Q2)] {
                bench.publish(qos, topic).unwrap();
            }
            bench.connect(Resume::Present);
            let all = ["PUBLISH q0 a", "PUBLISH 1 q1 b", "PUBLISH q0 c", "PUBLISH 2 q2 d"];
            let kept = all.iter().filter(|line| is_qos0_queued_offline || !line.contains("q0"));
            assert_eq!(bench.sent(), kept.copied().collect::<Vec<_>>());
            let dropped = if is_qos0_queued_offline { 0 } else { 2 };
            assert_eq!(bench.session.stats().dropped_offline, dropped);
        }
    }
}

/// QoS 0 that waited for room goes with the link, unless configured.
#[test]
fn waiting_qos_0_goes_with_the_link() {
    let mut bench = Bench::offline(Version::V311, SessionConfig::default());
    bench.narrow(1);
    bench.connect(Resume::Present);
    bench.publish(Q0, "a").unwrap();
    bench.publish(Q0, "b").unwrap();
    assert_eq!(bench.session.stats().queued, 1);
    bench.cut();
    assert_eq!(bench.session.stats().queued, 0);
    assert_eq!(bench.session.stats().dropped_offline, 1);
}
