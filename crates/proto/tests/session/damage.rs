//! Large payloads that the store does not give back.

use bytes::Bytes;
use postrider_proto::{
    AckOutcome, Delivery, Envelope, Fate, Payload, Resume, Session, SessionConfig, SpoolId,
    wire::{AckKind, QoS},
};

use crate::bench::{Bench, Q1, Q2, VERSIONS, message};

/// v5 [MQTT-4.4.0-1] [MQTT-2.2.1-3] v3.1.1 [MQTT-4.4.0-1] [MQTT-2.3.1-2]: what cannot be sent again is given up. An
/// identifier of QoS 2 is in use until PUBCOMP, since the peer may know it from before.
#[test]
fn a_lost_spool_ends_its_exchanges() {
    for version in VERSIONS {
        let mut bench = Bench::durable(version);
        large(&mut bench, Q1, "a", 1);
        bench.publish(Q1, "b").unwrap();
        large(&mut bench, Q2, "c", 2);
        bench.publish(Q2, "d").unwrap();
        bench.store_all();
        let sent = ["PUBLISH 1 q1 a", "PUBLISH 2 q1 b", "PUBLISH 3 q2 c", "PUBLISH 4 q2 d"];
        assert_eq!(bench.sent(), sent);
        bench.cut();
        for (spool, count) in [(9, 0), (1, 1), (2, 1), (1, 0), (2, 0)] {
            assert_eq!(bench.session.lose_spool(spool, &mut bench.journal), count, "{spool}");
        }
        assert_eq!(bench.fates(), [(1, Fate::Unreadable), (3, Fate::Unreadable)]);
        assert_eq!(bench.session.stats().dropped_unreadable, 2);

        bench.store_all();
        let mut recovered = Session::new(7, SessionConfig::default());
        bench.records.iter().for_each(|record| recovered.apply(&record.fact));
        assert_eq!(recovered.open_numbers(), [2, 3, 4], "the third waits for PUBCOMP");
        let given_up = [2, 3, 4].map(|number| recovered.is_given_up(number));
        assert_eq!(given_up, [false, true, false]);

        bench.connect(Resume::Present);
        bench.store_all();
        assert_eq!(bench.sent(), ["PUBREL 3", "PUBLISH 2 q1 b dup", "PUBLISH 4 q2 d dup"]);
        bench.puback(2);
        bench.pubrec(4);
        assert_eq!(bench.session.open_numbers(), [3, 4]);
        assert_eq!(bench.ack(AckKind::PubComp, 3), Ok(AckOutcome::Failed));
        bench.pubcomp(4);
        assert_eq!(bench.fates(), [], "it was said before");
        assert!(bench.session.is_idle());
    }
}

/// The peer took it over before: its PUBREC that comes late changes nothing.
#[test]
fn a_lost_spool_that_the_peer_has_is_released_once() {
    for version in VERSIONS {
        let mut bench = Bench::durable(version);
        large(&mut bench, Q2, "a", 1);
        bench.store_all();
        bench.sent();
        bench.cut();
        assert_eq!(bench.session.lose_spool(1, &mut bench.journal), 1);
        bench.connect(Resume::Present);
        bench.store_all();
        assert_eq!(bench.sent(), ["PUBREL 1"]);
        assert!(bench.ack(AckKind::PubRec, 1).is_ok());
        bench.store_all();
        assert_eq!(bench.sent(), ["PUBREL 1"]);
        assert_eq!(bench.ack(AckKind::PubComp, 1), Ok(AckOutcome::Failed));
        assert!(bench.session.is_idle());
    }
}

/// Publishes a message whose payload is in this spool.
fn large(bench: &mut Bench, qos: QoS, topic: &str, spool: u64) {
    let mut large = message(qos, topic, Bytes::new(), None, bench.now);
    large.payload = Payload::Spooled { id: SpoolId::stored(spool), len: 3 };
    let delivery = Delivery { qos, retain: false, subscription_ids: Default::default() };
    let (mut envelope, link) = (Envelope::new(large), bench.link.as_mut());
    let sent = bench.session.send(&mut envelope, delivery, link, &mut bench.journal, bench.now);
    sent.unwrap();
}
