//! Packets written as words, for the tests of the accounts.
//!
//! ```text
//! c: from the client, b: from the broker, lost: from the broker and not passed on
//! pub1(ID,NUMBER) dup2(ID,NUMBER)   PUBLISH at QoS 1, at QoS 2 with DUP
//! ack(ID) rec(ID) rel(ID) comp(ID)  and refuse(ID), a PUBREC with an error
//! sub                               SUBSCRIBE to one filter
//! new, old                          CONNACK without and with a session
//! cut                               the next connection begins
//! ```

use postrider_wire::{
    Ack, ConnAck, Filter, Packet, PacketId, Properties, Publish, QoS, ReasonCode, Subscribe,
    SubscribeFilter, SubscribeOptions, Topic,
};

use super::message::Name;
use crate::flight::End;

/// Plays a script; `None` is a cut.
pub(crate) fn play(script: &str, mut step: impl FnMut(Option<(End, Packet, bool)>)) {
    for word in script.split_whitespace() {
        let Some((who, what)) = word.split_once(':') else {
            assert_eq!(word, "cut", "in {script}");
            step(None);
            continue;
        };
        let writer = if who == "c" { End::Client } else { End::Broker };
        step(Some((writer, packet(what), who != "lost")));
    }
}

fn packet(word: &str) -> Packet {
    let (kind, numbers) = word.trim_end_matches(')').split_once('(').unwrap_or((word, ""));
    let numbers: Vec<u16> = numbers.split(',').filter_map(|it| it.parse().ok()).collect();
    let ack = |reason| Ack {
        packet_id: PacketId::new(numbers[0]).unwrap(),
        reason,
        properties: Properties::new(),
    };
    match kind {
        "pub1" => publish(1, numbers[0], numbers[1].into(), false),
        "dup1" => publish(1, numbers[0], numbers[1].into(), true),
        "pub2" => publish(2, numbers[0], numbers[1].into(), false),
        "dup2" => publish(2, numbers[0], numbers[1].into(), true),
        "ack" => Packet::PubAck(ack(ReasonCode::Success)),
        "rec" => Packet::PubRec(ack(ReasonCode::Success)),
        "refuse" => Packet::PubRec(ack(ReasonCode::QuotaExceeded)),
        "rel" => Packet::PubRel(ack(ReasonCode::Success)),
        "comp" => Packet::PubComp(ack(ReasonCode::Success)),
        "sub" => Packet::Subscribe(Subscribe {
            packet_id: PacketId::new(1).unwrap(),
            properties: Properties::new(),
            filters: vec![SubscribeFilter {
                filter: Filter::new("a").unwrap(),
                options: SubscribeOptions::default(),
            }],
        }),
        "new" => connack(false),
        "old" => connack(true),
        other => panic!("{other} is no packet"),
    }
}

pub(crate) fn publish(qos: u8, id: u16, number: u32, dup: bool) -> Packet {
    Packet::Publish(Publish {
        dup,
        qos: if qos == 1 { QoS::AtLeastOnce } else { QoS::ExactlyOnce },
        retain: false,
        topic: Topic::new("a").ok(),
        packet_id: PacketId::new(id),
        properties: Properties::new(),
        payload: Name { publisher: 0, qos, number }.payload(0).into(),
    })
}

pub(crate) fn connack(session_present: bool) -> Packet {
    let reason = ReasonCode::Success;
    Packet::ConnAck(ConnAck { session_present, reason, properties: Properties::new() })
}
