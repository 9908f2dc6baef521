//! The receiver: acknowledgements and known ids.

use postrider_proto::{
    Arrival, Gate, Resume,
    wire::{ReasonCode, Version},
};

use crate::bench::{Bench, Q0, Q1, Q2, VERSIONS, packet_id};

const OK: ReasonCode = ReasonCode::Success;

/// v5 [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-4.3.2-5], v3.1.1 [MQTT-3.3.4-1] [MQTT-4.3.2-2]: PUBACK, and nothing is kept.
#[test]
fn qos_1_is_acknowledged_and_always_new() {
    for version in VERSIONS {
        let mut bench = Bench::new(version);
        for _ in 0..2 {
            assert_eq!(bench.session.arrival(Q1, Some(packet_id(5))), Arrival::New);
            bench.acknowledge(Q1, 5, OK, Gate::default());
            assert_eq!(bench.sent(), ["PUBACK 5"]);
        }
        assert_eq!(bench.session.arrival(Q0, None), Arrival::New);
    }
}

/// v5 [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12], v3.1.1 [MQTT-4.3.3-2].
#[test]
fn qos_2_is_delivered_once_until_pubrel() {
    for version in VERSIONS {
        let mut bench = Bench::new(version);
        for arrival in [Arrival::New, Arrival::Duplicate] {
            assert_eq!(bench.session.arrival(Q2, Some(packet_id(5))), arrival);
            bench.acknowledge(Q2, 5, OK, Gate::default());
            assert_eq!(bench.sent(), ["PUBREC 5"]);
        }
        bench.pubrel(5);
        assert_eq!(bench.sent(), ["PUBCOMP 5"]);
        assert_eq!(bench.session.arrival(Q2, Some(packet_id(5))), Arrival::New);
    }
}

/// v5 [MQTT-4.3.3-11]: PUBCOMP 0x92 for an unknown id; in 3.1.1 just PUBCOMP.
#[test]
fn an_unknown_pubrel_gets_pubcomp() {
    for (version, answer) in [(Version::V311, "PUBCOMP 5"), (Version::V5, "PUBCOMP 5 92")] {
        let mut bench = Bench::new(version);
        bench.pubrel(5);
        assert_eq!(bench.sent(), [answer]);
    }
}

/// v5 [MQTT-4.3.3-9]: after a refusal the id is new again. v3.1.1 [MQTT-3.3.5-2]: there is no way to say no.
#[test]
fn a_refusal_keeps_no_id() {
    for (version, answers) in
        [(Version::V311, ["PUBREC 5", "PUBACK 6"]), (Version::V5, ["PUBREC 5 87", "PUBACK 6 87"])]
    {
        let mut bench = Bench::new(version);
        bench.acknowledge(Q2, 5, ReasonCode::NotAuthorized, Gate::default());
        bench.acknowledge(Q1, 6, ReasonCode::NotAuthorized, Gate::default());
        assert_eq!(bench.sent(), answers);
        assert_eq!(bench.session.arrival(Q2, Some(packet_id(5))), Arrival::New);
    }
}

/// v5 [MQTT-3.1.2-23], v3.1.1 [MQTT-3.1.2-4]: received ids live with the session. v5 [MQTT-3.2.2-5]: and go with it.
#[test]
fn received_ids_survive_the_link_but_not_the_session() {
    for version in VERSIONS {
        let mut bench = Bench::new(version);
        bench.acknowledge(Q2, 5, OK, Gate::default());
        bench.cut();
        bench.connect(Resume::Present);
        assert_eq!(bench.session.arrival(Q2, Some(packet_id(5))), Arrival::Duplicate);
        bench.cut();
        bench.connect(Resume::Lost);
        assert_eq!(bench.session.arrival(Q2, Some(packet_id(5))), Arrival::New);
    }
}

/// v5 [MQTT-4.6.0-2] [MQTT-4.6.0-3], v3.1.1 [MQTT-4.6.0-2] [MQTT-4.6.0-3]: an acknowledgement whose message is not
/// stored holds the later ones back.
#[test]
fn acknowledgements_wait_for_their_gate_in_order() {
    for version in VERSIONS {
        let mut bench = Bench::durable(version);
        bench.acknowledge(Q1, 1, OK, Gate { stored: 0, fence: 1 });
        bench.acknowledge(Q1, 2, OK, Gate::default());
        assert_eq!(bench.sent(), [""; 0]);
        bench.link.as_mut().unwrap().open_gates(Gate { stored: 0, fence: 1 });
        assert_eq!(bench.sent(), ["PUBACK 1", "PUBACK 2"]);
    }
}
