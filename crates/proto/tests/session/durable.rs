//! With a store behind the journal: nothing leaves before what it depends on is stored.

use postrider_proto::{
    Fact, FlightState, Gate, Resume, SessionConfig,
    wire::{ReasonCode, Version},
};

use crate::bench::{Bench, Q0, Q1, Q2, VERSIONS, packet_id};

const OK: ReasonCode = ReasonCode::Success;

/// Names of facts, without those that only reserve numbers.
fn names(bench: &mut Bench) -> Vec<String> {
    let facts = bench.facts().into_iter();
    facts
        .filter_map(|fact| match fact {
            Fact::Queued { number, .. } => Some(format!("queued {number}")),
            Fact::Flight { number, packet_id, state } => {
                Some(format!("flight {number} {packet_id} {state:?}"))
            }
            Fact::Requeued { number } => Some(format!("requeued {number}")),
            Fact::Finished { number } => Some(format!("finished {number}")),
            Fact::ReceivedFirst(id) => Some(format!("received {id}")),
            Fact::Released(id) => Some(format!("released {id}")),
            Fact::Numbers { .. } => None,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// A QoS 2 PUBLISH waits for the record of its id, PUBREL for that of PUBREC.
#[test]
fn qos_2_waits_for_its_records() {
    for version in VERSIONS {
        let mut bench = Bench::durable(version);
        let sent = bench.publish(Q2, "a").unwrap();
        let last = bench.fetch();
        assert!(sent.seq < last, "the id is recorded after the message");
        bench.stored(sent.seq);
        bench.pump();
        assert_eq!(bench.sent(), [""; 0]);
        bench.stored(last);
        assert_eq!(bench.sent(), ["PUBLISH 1 q2 a"]);
        bench.pubrec(1);
        let last = bench.fetch();
        bench.stored(last - 1);
        assert_eq!(bench.sent(), [""; 0]);
        bench.stored(last);
        assert_eq!(bench.sent(), ["PUBREL 1"]);
        bench.pubcomp(1);
        let expected = ["queued 1", "flight 1 1 AwaitRec", "flight 1 1 AwaitComp", "finished 1"];
        assert_eq!(names(&mut bench), expected);
    }
}

/// QoS 1 may leave at once, but not before an older message that waits; QoS 0 waits for nothing.
#[test]
fn order_holds_while_the_store_is_late() {
    for version in VERSIONS {
        let mut bench = Bench::durable(version);
        bench.publish(Q1, "first").unwrap();
        bench.store_all();
        assert_eq!(bench.sent(), ["PUBLISH 1 q1 first"]);
        bench.publish(Q1, "a").unwrap();
        bench.publish(Q2, "b").unwrap();
        bench.publish(Q1, "c").unwrap();
        bench.publish(Q0, "d").unwrap();
        assert_eq!(bench.sent(), ["PUBLISH 2 q1 a", "PUBLISH q0 d"]);
        bench.store_all();
        assert_eq!(bench.sent(), ["PUBLISH 3 q2 b", "PUBLISH 4 q1 c"]);
    }
}

/// A program that knows messages by their numbers never sees one twice: a message leaves once its number is reserved.
/// Numbers are reserved early, so that only the first waits for that.
#[test]
fn a_number_is_reserved_before_its_message_leaves() {
    for version in VERSIONS {
        let mut bench = Bench::durable(version);
        bench.publish(Q1, "a").unwrap();
        assert_eq!(bench.sent(), [""; 0]);
        bench.store_all();
        assert_eq!(bench.sent(), ["PUBLISH 1 q1 a"]);
        for id in 2..=1000 {
            bench.publish(Q1, "a").unwrap();
            assert_eq!(bench.sent(), [format!("PUBLISH {id} q1 a")]);
        }
        bench.publish(Q1, "a").unwrap();
        assert_eq!(bench.sent(), [""; 0], "the record made at 501 is not stored");
        bench.store_all();
        assert_eq!(bench.sent(), ["PUBLISH 1001 q1 a"]);
    }
}

/// PUBREC and PUBCOMP wait for the record of the id; a repeat does not overtake it.
#[test]
fn the_receiver_answers_what_is_stored() {
    for version in VERSIONS {
        let mut bench = Bench::durable(version);
        bench.acknowledge(Q2, 5, OK, Gate::default());
        bench.acknowledge(Q2, 5, OK, Gate::default());
        assert_eq!(bench.sent(), [""; 0]);
        bench.cut();
        bench.connect(Resume::Present);
        bench.acknowledge(Q2, 5, OK, Gate::default());
        assert_eq!(bench.sent(), [""; 0]);
        bench.store_all();
        assert_eq!(bench.sent(), ["PUBREC 5"]);
        bench.pubrel(5);
        assert_eq!(bench.sent(), [""; 0]);
        bench.cut();
        bench.connect(Resume::Present);
        bench.pubrel(5);
        assert_eq!(bench.sent(), [""; 0]);
        bench.store_all();
        assert_eq!(bench.sent().len(), 1);
        assert_eq!(names(&mut bench), ["received 5", "released 5"]);
    }
}

/// PUBREL that is sent again still waits for its record.
#[test]
fn a_resumed_pubrel_waits_too() {
    let mut bench = Bench::durable(Version::V5);
    bench.publish(Q2, "a").unwrap();
    bench.store_all();
    bench.pubrec(1);
    assert_eq!(bench.sent(), ["PUBLISH 1 q2 a"]);
    bench.cut();
    bench.connect(Resume::Present);
    assert_eq!(bench.sent(), [""; 0]);
    bench.store_all();
    assert_eq!(bench.sent(), ["PUBREL 1"]);
}

#[test]
fn a_lost_session_is_recorded() {
    let mut bench = Bench::durable(Version::V5);
    bench.publish(Q2, "a").unwrap();
    bench.publish(Q1, "b").unwrap();
    bench.publish(Q2, "c").unwrap();
    bench.acknowledge(Q2, 9, OK, Gate::default());
    bench.store_all();
    bench.pubrec(1);
    bench.cut();
    let before = names(&mut bench).len();
    bench.connect(Resume::Lost);
    let expected = [
        "finished 1",
        "requeued 3",
        "requeued 2",
        "released 9",
        "flight 2 4 AwaitAck",
        "flight 3 5 AwaitRec",
    ];
    assert_eq!(names(&mut bench)[before..], expected);
}

/// A session that becomes persistent while it has state records all of it, and what was not stored waits.
#[test]
fn becoming_persistent_records_what_is_there() {
    let mut bench = Bench::durable(Version::V5);
    bench.cut();
    bench.session = postrider_proto::Session::new(7, SessionConfig::default());
    bench.is_persistent = false;
    bench.connect(Resume::Present);
    bench.publish(Q2, "a").unwrap();
    bench.publish(Q2, "b").unwrap();
    bench.pubrec(1);
    bench.acknowledge(Q2, 3, OK, Gate::default());
    assert_eq!(bench.fetch(), 0);
    bench.cut();
    bench.publish(Q1, "c").unwrap();
    bench.is_persistent = true;
    bench.connect(Resume::Present);
    assert_eq!(bench.sent(), [""; 0]);
    let facts = bench.facts();
    assert!(facts.contains(&Fact::Received(packet_id(3))));
    let state = FlightState::AwaitComp;
    assert!(facts.contains(&Fact::Flight { number: 1, packet_id: packet_id(1), state }));
    bench.store_all();
    assert_eq!(bench.sent(), ["PUBREL 1", "PUBLISH 2 q2 b dup", "PUBLISH 3 q1 c"]);
}

/// Without persistence, or with durability off, nothing is recorded and nothing waits.
#[test]
fn what_no_persistent_session_needs_is_not_recorded() {
    let mut bench = Bench::durable(Version::V5);
    bench.cut();
    bench.is_persistent = false;
    bench.session = postrider_proto::Session::new(7, SessionConfig::default());
    bench.connect(Resume::Present);
    let sent = bench.publish(Q2, "a").unwrap();
    assert_eq!(sent.seq, 0);
    bench.acknowledge(Q2, 5, OK, Gate::default());
    assert_eq!(bench.sent(), ["PUBLISH 1 q2 a", "PUBREC 5"]);
    assert_eq!(bench.fetch(), 0);
}
