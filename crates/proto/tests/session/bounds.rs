//! What the queue holds at most, and what expires in it.

use bytes::Bytes;
use postrider_proto::{Fate, QueueFull, Resume, SessionConfig, wire::Version};

use crate::bench::{Bench, Q0, Q1, Q2, VERSIONS, message};

fn small(queue_messages_max: u32) -> SessionConfig {
    SessionConfig { queue_messages_max, is_qos0_queued_offline: true, ..SessionConfig::default() }
}

#[test]
fn the_count_is_bounded_at_its_limit() {
    for version in VERSIONS {
        let mut bench = Bench::offline(version, small(3));
        for topic in ["a", "b", "c"] {
            bench.publish(Q1, topic).unwrap();
        }
        let full = bench.publish(Q2, "d").unwrap_err();
        assert_eq!(full.messages, 3);
        assert_eq!(bench.publish(Q0, "e").unwrap_err(), full);
        assert_eq!(bench.session.stats().dropped_full, 2);
        // Flights count too: a peer that does not answer does not make room.
        bench.connect(Resume::Present);
        assert_eq!(bench.session.stats().flights, 3);
        assert!(bench.publish(Q1, "f").is_err());
        bench.puback(2);
        assert_eq!(bench.publish(Q1, "g").unwrap().number, 4);
    }
}

#[test]
fn the_bytes_are_bounded_at_their_limit() {
    let payload = Bytes::from(vec![0; 1000]);
    let cost = message(Q1, "t", payload.clone(), None, postrider_proto::Time(0)).cost_bytes();
    for (slack, expected) in [(0, 2), (1, 2)] {
        let config =
            SessionConfig { queue_bytes_max: 2 * cost + slack, ..SessionConfig::default() };
        let mut bench = Bench::offline(Version::V5, config);
        let taken = (0..4).filter(|_| bench.publish_with(Q1, "t", payload.clone(), None).is_ok());
        assert_eq!(taken.count(), expected);
        assert_eq!(bench.session.stats().bytes, 2 * cost);
    }
    let config = SessionConfig { queue_bytes_max: 2 * cost - 1, ..SessionConfig::default() };
    let mut bench = Bench::offline(Version::V5, config);
    bench.publish_with(Q1, "t", payload.clone(), None).unwrap();
    let full = bench.publish_with(Q1, "t", payload, None);
    assert_eq!(full, Err(QueueFull { messages: 1, bytes: cost }));
}

/// Else it could never be sent at all.
#[test]
fn one_message_beyond_the_bytes_is_taken_alone() {
    let config = SessionConfig { queue_bytes_max: 10, ..SessionConfig::default() };
    let mut bench = Bench::offline(Version::V5, config);
    bench.publish_with(Q1, "t", Bytes::from(vec![0; 1000]), None).unwrap();
    assert!(bench.publish(Q1, "a").is_err());
    bench.connect(Resume::Present);
    bench.puback(1);
    bench.publish(Q1, "a").unwrap();
}

#[test]
fn the_oldest_qos_0_goes_first() {
    let mut bench = Bench::offline(Version::V311, small(3));
    for (topic, qos) in [("a", Q0), ("b", Q1), ("c", Q0)] {
        bench.publish(qos, topic).unwrap();
    }
    bench.publish(Q0, "d").unwrap();
    bench.publish(Q2, "e").unwrap();
    assert_eq!(bench.session.stats().dropped_full, 2);
    bench.connect(Resume::Present);
    assert_eq!(bench.sent(), ["PUBLISH 1 q1 b", "PUBLISH q0 d", "PUBLISH 2 q2 e"]);
}

/// What cannot be taken pushes nothing out.
#[test]
fn a_refusal_changes_nothing() {
    let config = SessionConfig { queue_bytes_max: 3000, ..small(10) };
    let mut bench = Bench::offline(Version::V5, config);
    bench.publish(Q0, "a").unwrap();
    bench.publish(Q1, "b").unwrap();
    let before = bench.session.stats();
    assert!(bench.publish_with(Q1, "t", Bytes::from(vec![0; 3000]), None).is_err());
    let after = bench.session.stats();
    assert_eq!((after.queued, after.bytes), (before.queued, before.bytes));
    assert_eq!(bench.publish(Q1, "c").unwrap().number, 2);
}

/// v5 [MQTT-3.3.2-5] [MQTT-3.3.2-6]: expired in the queue is gone; what was sent once is not (v5 [MQTT-4.3.3-7]).
#[test]
fn messages_expire_in_the_queue_only() {
    let mut bench = Bench::new(Version::V5);
    let short = |bench: &mut Bench, qos, topic| {
        bench.publish_with(qos, topic, Bytes::new(), Some(10)).unwrap();
    };
    short(&mut bench, Q2, "flying");
    bench.sent();
    bench.cut();
    short(&mut bench, Q1, "short");
    bench.publish_with(Q1, "long", Bytes::new(), Some(11)).unwrap();
    bench.publish(Q1, "forever").unwrap();
    bench.now = bench.now.plus_s(10);
    bench.connect(Resume::Present);
    let expected = ["PUBLISH 1 q2 flying dup", "PUBLISH 2 q1 long", "PUBLISH 3 q1 forever"];
    assert_eq!(bench.sent(), expected);
    assert_eq!(bench.session.stats().dropped_expired, 1);
    assert_eq!(bench.fates(), [(2, Fate::Expired)]);
}

/// Expired messages make room before new ones are refused.
#[test]
fn expired_messages_do_not_fill_the_queue() {
    let mut bench = Bench::offline(Version::V5, small(2));
    bench.publish_with(Q1, "a", Bytes::new(), Some(1)).unwrap();
    bench.publish_with(Q1, "b", Bytes::new(), Some(1)).unwrap();
    assert!(bench.publish(Q1, "c").is_err());
    bench.now = bench.now.plus_s(1);
    bench.publish(Q1, "d").unwrap();
    assert_eq!(bench.session.stats().dropped_expired, 1);
    assert_eq!(bench.session.open_numbers(), [2, 3]);
}
