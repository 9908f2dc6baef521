//! Recovery: a session rebuilt from its records behaves like the one that wrote them.

use postrider_proto::{
    Arrival, Fact, Gate, Record, Resume, Session, SessionConfig,
    wire::{AckKind, ReasonCode, Version},
};
use proptest::prelude::*;

use crate::{
    bench::{Bench, Q1, Q2, packet_id},
    disk::Disk,
};

/// The same bench with a session rebuilt from `records`, its store as far as before, and no link.
fn recovered(mut bench: Bench, records: &[Record]) -> Bench {
    bench.store_all();
    bench.cut();
    bench.session = Session::new(7, SessionConfig::default());
    for record in records {
        assert_eq!(record.owner, 7);
        bench.session.apply(&record.fact);
    }
    bench
}

fn script(bench: &mut Bench) {
    for (topic, qos) in [("a", Q2), ("b", Q1), ("c", Q2), ("d", Q1)] {
        bench.publish(qos, topic).unwrap();
    }
    bench.store_all();
    bench.pubrec(3);
    bench.pubrec(1);
    bench.puback(2);
    bench.pubcomp(3);
    bench.acknowledge(Q2, 9, ReasonCode::Success, Gate::default());
    bench.acknowledge(Q2, 8, ReasonCode::Success, Gate::default());
    bench.pubrel(8);
    bench.publish(Q2, "e").unwrap();
    bench.cut();
    bench.publish(Q1, "f").unwrap();
}

const AFTER: [&str; 4] = ["PUBREL 1", "PUBLISH 4 q1 d dup", "PUBLISH 5 q2 e dup", "PUBLISH 6 q1 f"];

/// v5 [MQTT-4.1.0-1] [MQTT-4.4.0-1], v3.1.1 [MQTT-4.1.0-1]: state survives the process, in any order and twice.
#[test]
fn a_recovered_session_goes_on() {
    let mut bench = Bench::durable(Version::V5);
    script(&mut bench);
    bench.fetch();
    let mut disk = Disk::default();
    bench.records.iter().for_each(|record| disk.write(record));
    let sorted = disk.read();
    let reversed: Vec<_> = sorted.iter().rev().cloned().collect();
    let twice: Vec<_> = sorted.iter().chain(&sorted).cloned().collect();
    for records in [sorted, reversed, twice] {
        let mut again = Bench::durable(Version::V5);
        script(&mut again);
        let mut again = recovered(again, &records);
        again.connect(Resume::Present);
        again.store_all();
        assert_eq!(again.sent(), AFTER);
        assert_eq!(again.session.arrival(Q2, Some(packet_id(9))), Arrival::Duplicate);
        assert_eq!(again.session.arrival(Q2, Some(packet_id(8))), Arrival::New);
        assert_eq!(again.ack(AckKind::PubComp, 3), Ok(postrider_proto::AckOutcome::Unknown));
        assert_eq!(again.session.open_numbers(), [1, 4, 5, 6]);
        assert!(again.publish(Q1, "g").unwrap().number > 6);
    }
}

/// A number is never given out twice, even if nothing of its message is left.
#[test]
fn numbers_are_not_reused_after_a_restart() {
    let mut bench = Bench::durable(Version::V311);
    for id in 1..=1500 {
        bench.publish(Q1, "a").unwrap();
        bench.store_all();
        bench.puback(id);
    }
    let mut disk = Disk::default();
    bench.fetch();
    bench.records.iter().for_each(|record| disk.write(record));
    assert_eq!(disk.0.len(), 1);
    let mut bench = recovered(bench, &disk.read());
    bench.connect(Resume::Present);
    assert!(bench.publish(Q1, "a").unwrap().number > 1500);
}

/// v5 [MQTT-4.3.3-1]: a lost session of which only a part was recorded before a crash leaves no id behind.
#[test]
fn requeued_messages_are_new_after_a_restart() {
    let mut bench = Bench::durable(Version::V5);
    bench.publish(Q1, "a").unwrap();
    bench.publish(Q2, "b").unwrap();
    bench.store_all();
    bench.cut();
    bench.peer.receive_maximum = 1;
    bench.connect(Resume::Lost);
    let mut disk = Disk::default();
    bench.fetch();
    bench.records.iter().for_each(|record| disk.write(record));
    let mut bench = recovered(bench, &disk.read());
    bench.connect(Resume::Present);
    bench.store_all();
    assert_eq!(bench.sent(), ["PUBLISH 3 q1 a dup"]);
    bench.puback(3);
    bench.store_all();
    assert_eq!(bench.sent(), ["PUBLISH 4 q2 b"]);
}

#[derive(Clone, Debug)]
enum Act {
    Publish(bool),
    Ack(u8, u8),
    Receive(u8),
    Release(u8),
    Store,
    Cut(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => any::<bool>().prop_map(Act::Publish),
        4 => (0..3_u8, 1..12_u8).prop_map(|(kind, id)| Act::Ack(kind, id)),
        1 => (1..5_u8).prop_map(Act::Receive),
        1 => (1..5_u8).prop_map(Act::Release),
        2 => Just(Act::Store),
        1 => any::<bool>().prop_map(Act::Cut),
    ];
    prop::collection::vec(act, 0..60)
}

fn play(bench: &mut Bench, acts: &[Act]) {
    for act in acts {
        match *act {
            Act::Publish(is_two) => {
                bench.publish(if is_two { Q2 } else { Q1 }, "t").unwrap();
            }
            Act::Ack(kind, id) => {
                let kind = [AckKind::PubAck, AckKind::PubRec, AckKind::PubComp][usize::from(kind)];
                // Acks that do not fit are faults, which end the link.
                if bench.ack(kind, u16::from(id)).is_err() {
                    bench.cut();
                    bench.connect(Resume::Present);
                }
            }
            Act::Receive(id) => {
                bench.acknowledge(Q2, u16::from(id), ReasonCode::Success, Gate::default());
            }
            Act::Release(id) => bench.pubrel(u16::from(id)),
            Act::Store => bench.store_all(),
            Act::Cut(is_lost) => {
                bench.cut();
                bench.connect(if is_lost { Resume::Lost } else { Resume::Present });
            }
        }
    }
    bench.store_all();
    bench.store_all();
}

/// What can be seen of a session from outside, after everything was stored and a link came. PUBRELs are sorted: the
/// order of their PUBRECs is not recorded.
fn seen(bench: &mut Bench) -> (Vec<String>, Vec<u64>, Vec<bool>) {
    bench.sent();
    bench.connect(Resume::Present);
    bench.store_all();
    let mut sent = bench.sent();
    let releases = sent.iter().filter(|line| line.starts_with("PUBREL")).count();
    sent[..releases].sort();
    let received =
        (1..5).map(|id| bench.session.arrival(Q2, Some(packet_id(id))) == Arrival::Duplicate);
    (sent, bench.session.open_numbers(), received.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened: the store's content, and the plain sequence of records, rebuild the same session.
    #[test]
    fn recovery_equals_the_live_session(acts in acts(), window in 1..4_u16) {
        let mut live = Bench::durable(Version::V5);
        live.peer.receive_maximum = window;
        play(&mut live, &acts);
        live.cut();
        live.fetch();
        let mut disk = Disk::default();
        live.records.iter().for_each(|record| disk.write(record));
        let records = live.records.clone();
        for records in [disk.read(), records] {
            let mut live = Bench::durable(Version::V5);
            live.peer.receive_maximum = window;
            play(&mut live, &acts);
            let mut other = Bench::durable(Version::V5);
            other.peer.receive_maximum = window;
            play(&mut other, &acts);
            let mut other = recovered(other, &records);
            live.cut();
            prop_assert_eq!(seen(&mut other), seen(&mut live));
        }
    }
}

/// A flight whose message the store has lost does not block the others.
#[test]
fn a_flight_without_its_message_is_given_up() {
    let mut bench = Bench::durable(Version::V5);
    script(&mut bench);
    let facts = bench.facts();
    let records: Vec<Record> = facts
        .into_iter()
        .filter(|fact| !matches!(fact, Fact::Queued { number: 4, .. }))
        .map(|fact| Record { owner: 7, fact })
        .collect();
    let mut bench = recovered(bench, &records);
    bench.connect(Resume::Present);
    bench.store_all();
    assert_eq!(bench.sent(), ["PUBREL 1", "PUBLISH 5 q2 e dup", "PUBLISH 6 q1 f"]);
}

/// A QoS 2 message that goes to several hubs: after a restart the repeat says once who has it, and PUBREL ends that.
#[test]
fn who_has_a_received_message_is_known_until_its_release() {
    let facts = |id| {
        let stamp = Some((7, 1, 2));
        [
            Fact::Received(packet_id(id)),
            Fact::Taken {
                packet_id: packet_id(id),
                hub: 0,
                stamp,
                until: u64::MAX,
                sessions: vec![9, 4],
            },
            Fact::Taken {
                packet_id: packet_id(id),
                hub: 1,
                stamp,
                until: 20,
                sessions: vec![5, 9],
            },
        ]
    };
    let mut session = Session::new(1, SessionConfig::default());
    for fact in facts(3).iter().chain(&facts(4)) {
        session.apply(fact);
    }
    let takers = session.take_unfinished(packet_id(3)).expect("it may be unfinished");
    assert_eq!((takers.stamp, takers.until), (Some((7, 1, 2)), 20));
    assert_eq!(takers.sessions, [4, 5, 9]);
    assert_eq!(session.take_unfinished(packet_id(3)), None);
    assert_eq!(session.arrival(Q2, Some(packet_id(3))), Arrival::Duplicate);
    session.apply(&Fact::Released(packet_id(4)));
    assert_eq!(session.take_unfinished(packet_id(4)), None);
    assert_eq!(session.arrival(Q2, Some(packet_id(4))), Arrival::New);
}
