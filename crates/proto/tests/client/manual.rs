//! Messages that the program acknowledges itself.

use bytes::{Bytes, BytesMut};
use postrider_proto::{
    AckReason, Fact, Record,
    client::{
        AcknowledgeError, BATCH_BYTES_MAX, ClientConfig, OWN_KEY_BYTES_MAX, OwnChange, own_key,
    },
    wire::{
        Ack, AckKind, PACKET_SIZE_MAX, Packet, PacketId, Publish, QoS, ReasonCode, Version, encode,
    },
};

use crate::desk::{Desk, Q0, Q1, Q2, VERSIONS, config, delivery, pid, publish};

const OK: ReasonCode = ReasonCode::Success;

fn manual(version: Version, is_durable: bool) -> ClientConfig {
    ClientConfig { is_manual: true, is_durable, ..config(version) }
}

/// Connected, with nothing in the log.
fn connected(config: ClientConfig) -> Desk {
    let mut desk = Desk::new(config);
    desk.client.connect(desk.now);
    desk.open();
    desk.accept(false);
    desk.log();
    desk
}

/// The next process, with what the store held when the last one died after `kept` records.
fn next_process(old: &Desk, config: ClientConfig, kept: usize) -> Desk {
    let mut new = Desk::new(config);
    let mut rows = std::collections::BTreeMap::new();
    for record in &old.records[..kept] {
        let key = record.key();
        match record.value() {
            Some(value) => drop(rows.insert(key, value)),
            None => rows.retain(|other, _| !other.starts_with(&key)),
        }
    }
    let read = |(key, value): (Vec<u8>, Vec<u8>)| Record::decode(&key, &value.into()).unwrap();
    new.client.recover(rows.into_iter().map(read));
    new.client.connect(new.now);
    new.open();
    new.accept(true);
    new.log();
    new
}

fn ack(desk: &mut Desk, number: u64) {
    desk.client.acknowledge(number, Vec::new()).unwrap();
    desk.drain();
}

fn put(key: &str, value: &str) -> OwnChange {
    let copy = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    OwnChange::Put(copy(key), copy(value))
}

/// Another message than the one of [`delivery`] with the same topic.
fn other(qos: QoS, id: u16, topic: &str, dup: bool) -> Packet {
    let payload = Bytes::from_static(b"other");
    let packet_id = PacketId::new(id);
    Packet::Publish(Publish { dup, packet_id, payload, ..publish(qos, topic) })
}

/// v5 [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.6.0-2] [MQTT-4.6.0-3], v3.1.1 [MQTT-4.6.0-2] [MQTT-4.6.0-3]: whatever the
/// order in which the program acknowledges, PUBACKs leave in that of the PUBLISHes, and PUBRECs in theirs.
#[test]
fn acknowledgements_leave_in_the_order_of_the_messages() {
    for (version, is_durable) in VERSIONS.into_iter().flat_map(|v| [(v, false), (v, true)]) {
        let mut desk = connected(manual(version, is_durable));
        for (id, qos) in [(1, Q1), (2, Q2), (3, Q1), (4, Q2), (5, Q1)] {
            desk.reply(&delivery(qos, id, "t", false));
        }
        desk.reply(&delivery(Q0, 0, "zero", false));
        let told = ["1 t", "2 t", "3 t", "4 t", "5 t"].map(|what| format!("Entrusted {what}"));
        assert_eq!(desk.log(), [&told[..], &["Message zero".to_owned()]].concat());
        assert_eq!(desk.client.entrusted_len(), 5);
        ack(&mut desk, 3);
        ack(&mut desk, 4);
        assert_eq!(desk.log(), ["Acknowledged 3", "Acknowledged 4"]);
        ack(&mut desk, 2);
        assert_eq!(desk.log(), ["Acknowledged 2", "> PUBREC 2", "> PUBREC 4"]);
        desk.ack(AckKind::PubRel, 2, OK);
        assert_eq!(desk.log(), ["> PUBCOMP 2"]);
        ack(&mut desk, 1);
        assert_eq!(desk.log(), ["Acknowledged 1", "> PUBACK 1", "> PUBACK 3"]);
        ack(&mut desk, 5);
        assert_eq!(desk.log(), ["Acknowledged 5", "> PUBACK 5"]);
        assert_eq!(desk.client.entrusted_len(), 0);
        assert_eq!(
            desk.client.acknowledge(5, Vec::new()),
            Err(AcknowledgeError::Stale(5)),
            "a second time"
        );
    }
}

/// The program hears of a message when its number is stored, and its acknowledgement leaves when that is stored.
#[test]
fn everything_waits_for_the_store() {
    for version in VERSIONS {
        let mut desk = connected(manual(version, true));
        desk.is_store_prompt = false;
        desk.reply(&delivery(Q1, 1, "a", false));
        desk.reply(&delivery(Q2, 2, "b", false));
        assert_eq!(desk.log(), [""; 0]);
        desk.store_all();
        assert_eq!(desk.log(), ["Entrusted 1 a", "Entrusted 2 b"]);
        desk.client.acknowledge(2, vec![put("k", "v")]).unwrap();
        desk.client.acknowledge(1, Vec::new()).unwrap();
        assert_eq!(desk.log(), [""; 0]);
        assert!(!desk.client.is_idle());
        desk.store_all();
        let log = desk.log();
        assert_eq!(log[..2], ["Acknowledged 2", "Acknowledged 1"]);
        assert_eq!(log[2..], ["> PUBREC 2", "> PUBACK 1"]);
        assert!(desk.client.is_idle());
    }
}

/// What belongs together is one batch: the effect of the program, the end of the arrival, and at QoS 2 the received id.
#[test]
fn an_acknowledgement_is_one_batch() {
    let mut desk = connected(manual(Version::V5, true));
    desk.reply(&delivery(Q2, 7, "a", false));
    desk.log();
    let before = (desk.records.len(), desk.seq_last);
    let gone = OwnChange::Delete(Bytes::from_static(b"old"));
    desk.client.acknowledge(1, vec![put("k", "v"), gone]).unwrap();
    desk.log();
    assert_eq!(desk.seq_last, before.1 + 1);
    let facts: Vec<_> = desk.records[before.0..].iter().map(|record| &record.fact).collect();
    let id = PacketId::new(7).unwrap();
    let own = |text: &'static str| Bytes::from_static(text.as_bytes());
    let expected = [
        &Fact::Own { key: own("k"), value: own("v") },
        &Fact::OwnGone(own("old")),
        &Fact::ArrivedGone(id),
        &Fact::ReceivedFirst(id),
    ];
    assert_eq!(facts, expected);
    assert_eq!(own_key(b"k"), desk.records[before.0].key());
}

/// v5 [MQTT-4.4.0-1]: after a reconnect in one process the program still has the message; the copy is not handed out
/// unless its own is gone, and then under the same number. At QoS 2 also from a server that does not mark repeats.
#[test]
fn a_copy_is_handed_out_only_if_the_first_is_gone() {
    for (version, qos) in VERSIONS.into_iter().flat_map(|v| [(v, Q1), (v, Q2)]) {
        for dup in [true, false].into_iter().filter(|dup| *dup || qos == Q2) {
            let mut desk = connected(manual(version, false));
            desk.reply(&delivery(qos, 1, "a", false));
            desk.reply(&delivery(qos, 2, "b", false));
            assert_eq!(desk.log(), ["Entrusted 1 a", "Entrusted 2 b"]);
            desk.cut_and_open();
            desk.accept(true);
            desk.client.take_back(2);
            desk.log();
            desk.reply(&delivery(qos, 1, "a", dup));
            desk.reply(&delivery(qos, 2, "b", dup));
            assert_eq!(desk.log(), ["Entrusted 2 b again"]);
            ack(&mut desk, 2);
            ack(&mut desk, 1);
            let name = if qos == Q1 { "PUBACK" } else { "PUBREC" };
            let sent = [format!("> {name} 1"), format!("> {name} 2")];
            assert_eq!(desk.log()[2..], sent);
        }
    }
}

/// v5 [MQTT-4.4.0-1], v3.1.1 [MQTT-4.4.0-1]: a new process gets the message again, under the same number; what was
/// acknowledged out of turn is not delivered again, and its acknowledgement leaves in its turn.
#[test]
fn numbers_and_early_acknowledgements_survive_a_crash() {
    for (version, qos) in VERSIONS.into_iter().flat_map(|v| [(v, Q1), (v, Q2)]) {
        let mut old = connected(manual(version, true));
        old.reply(&delivery(qos, 1, "a", false));
        old.reply(&delivery(qos, 2, "b", false));
        ack(&mut old, 2);
        let mut new = next_process(&old, manual(version, true), old.records.len());
        new.reply(&delivery(qos, 1, "a", true));
        new.reply(&delivery(qos, 2, "b", true));
        assert_eq!(new.log(), ["Entrusted 1 a again"]);
        new.reply(&delivery(qos, 3, "c", false));
        let log = new.log();
        let number = log[0].split(' ').nth(1).unwrap().parse::<u64>().unwrap();
        assert!(number > 2, "{log:?}");
        ack(&mut new, 1);
        let name = if qos == Q1 { "PUBACK" } else { "PUBREC" };
        let sent = [format!("> {name} 1"), format!("> {name} 2")];
        assert_eq!(new.log()[1..], sent);
    }
}

/// v5 [MQTT-4.3.3-10], v3.1.1 [MQTT-4.3.3-2]: QoS 2, acknowledged and sent again: PUBREC again, nothing delivered.
#[test]
fn an_acknowledged_qos_2_message_is_not_delivered_again() {
    for version in VERSIONS {
        let mut old = connected(manual(version, true));
        old.reply(&delivery(Q2, 1, "a", false));
        ack(&mut old, 1);
        old.log();
        old.reply(&delivery(Q2, 1, "a", true));
        assert_eq!(old.log(), ["> PUBREC 1"]);
        let mut new = next_process(&old, manual(version, true), old.records.len());
        new.reply(&delivery(Q2, 1, "a", true));
        new.ack(AckKind::PubRel, 1, OK);
        assert_eq!(new.log(), ["> PUBREC 1", "> PUBCOMP 1"]);
        new.reply(&delivery(Q2, 1, "a", false));
        assert!(new.log()[0].starts_with("Entrusted"), "a new message");
    }
}

/// v5 [MQTT-3.2.2-5]: with the session the server's messages are gone; acknowledging one is an error and changes
/// nothing.
#[test]
fn a_lost_session_makes_numbers_stale() {
    for version in VERSIONS {
        let mut desk = connected(manual(version, true));
        desk.reply(&delivery(Q1, 1, "a", false));
        desk.reply(&delivery(Q2, 2, "b", false));
        ack(&mut desk, 1);
        desk.reply(&delivery(Q1, 3, "c", false));
        desk.cut_and_open();
        desk.accept(false);
        desk.log();
        let records = desk.records.len();
        for number in 1..=3 {
            let refused = desk.client.acknowledge(number, vec![put("k", "v")]);
            assert_eq!(refused, Err(AcknowledgeError::Stale(number)));
        }
        desk.client.take_back(3);
        assert_eq!(desk.log(), [""; 0]);
        assert_eq!(desk.records.len(), records);
        desk.reply(&delivery(Q2, 2, "b", true));
        assert_eq!(desk.log().len(), 1, "delivered as new");
        let new = next_process(&desk, manual(version, true), desk.records.len());
        assert_eq!(new.client.entrusted_len(), 1);
    }
}

/// Some servers count packet ids anew when a session resumes, and mark what they send with DUP: another message under
/// a known id is another message.
#[test]
fn another_message_under_a_known_id_is_new() {
    for (version, qos) in VERSIONS.into_iter().flat_map(|v| [(v, Q1), (v, Q2)]) {
        let mut desk = connected(manual(version, false));
        desk.reply(&delivery(qos, 1, "a", false));
        desk.cut_and_open();
        desk.accept(true);
        desk.log();
        desk.reply(&other(qos, 1, "a", true));
        assert_eq!(desk.log(), ["Entrusted 2 a"]);
        assert_eq!(desk.client.acknowledge(1, Vec::new()), Err(AcknowledgeError::Stale(1)));
        ack(&mut desk, 2);
        assert_eq!(desk.log().len(), 2);
    }
}

/// v5 [MQTT-3.3.1-1], v3.1.1 [MQTT-3.3.1-1]: what is not marked is no repeat, whatever it says. A broker that crashed
/// sends a message again under another id, and the same content may mean another message.
#[test]
fn the_same_content_without_dup_is_another_message() {
    for version in VERSIONS {
        let mut desk = connected(manual(version, true));
        desk.reply(&delivery(Q1, 7, "a", false));
        desk.cut();
        ack(&mut desk, 1);
        desk.wake();
        desk.open();
        desk.accept(true);
        desk.log();
        desk.reply(&delivery(Q1, 7, "a", false));
        assert_eq!(desk.log(), ["Entrusted 2 a"]);
        ack(&mut desk, 2);
        assert_eq!(desk.log(), ["Acknowledged 2", "> PUBACK 7"]);
    }
}

/// Without a connection an acknowledgement is stored; the message is known when it comes again.
#[test]
fn an_acknowledgement_works_offline() {
    for (version, qos) in VERSIONS.into_iter().flat_map(|v| [(v, Q1), (v, Q2)]) {
        let mut desk = connected(manual(version, true));
        desk.reply(&delivery(qos, 1, "a", false));
        desk.cut();
        desk.log();
        ack(&mut desk, 1);
        assert_eq!(desk.log(), ["Acknowledged 1"]);
        desk.wake();
        desk.open();
        desk.accept(true);
        desk.log();
        desk.reply(&delivery(qos, 1, "a", true));
        let name = if qos == Q1 { "PUBACK" } else { "PUBREC" };
        assert_eq!(desk.log(), [format!("> {name} 1")]);
    }
}

/// What cannot be stored is refused, and the message stays to be acknowledged.
#[test]
fn bounds_of_a_batch() {
    let mut memory = connected(manual(Version::V5, false));
    memory.reply(&delivery(Q1, 1, "a", false));
    assert_eq!(memory.client.acknowledge(1, vec![put("k", "v")]), Err(AcknowledgeError::NoStore));
    ack(&mut memory, 1);
    let mut desk = connected(manual(Version::V5, true));
    desk.reply(&delivery(Q1, 1, "a", false));
    let put = |key: usize, value: usize| OwnChange::Put(vec![0; key].into(), vec![0; value].into());
    let bytes = OWN_KEY_BYTES_MAX as u64 + 1;
    assert_eq!(
        desk.client.acknowledge(1, vec![put(OWN_KEY_BYTES_MAX + 1, 0)]),
        Err(AcknowledgeError::KeyTooLong { bytes })
    );
    let most = BATCH_BYTES_MAX as usize - 32 - OWN_KEY_BYTES_MAX;
    assert_eq!(
        desk.client.acknowledge(1, vec![put(OWN_KEY_BYTES_MAX, most + 1)]),
        Err(AcknowledgeError::TooLarge { bytes: BATCH_BYTES_MAX + 1 })
    );
    assert_eq!(desk.client.acknowledge(1, vec![put(OWN_KEY_BYTES_MAX, most)]), Ok(()));
    let log = desk.log();
    assert_eq!(log[1..], ["Acknowledged 1", "> PUBACK 1"]);
}

/// A store of a process that left acknowledging to its program serves one that does not.
#[test]
fn an_automatic_process_takes_over() {
    for (version, qos) in VERSIONS.into_iter().flat_map(|v| [(v, Q1), (v, Q2)]) {
        let mut old = connected(manual(version, true));
        old.reply(&delivery(qos, 1, "a", false));
        old.reply(&delivery(qos, 2, "b", false));
        ack(&mut old, 2);
        let automatic = ClientConfig { is_manual: false, ..manual(version, true) };
        let mut new = next_process(&old, automatic, old.records.len());
        new.reply(&delivery(qos, 1, "a", true));
        new.reply(&delivery(qos, 2, "b", true));
        let name = if qos == Q1 { "PUBACK" } else { "PUBREC" };
        let sent = ["Message a".to_owned(), format!("> {name} 1"), format!("> {name} 2")];
        assert_eq!(new.log(), sent);
        assert_eq!(new.client.entrusted_len(), 0);
    }
}

/// A program that never acknowledges: the server runs into the announced receive maximum, or is not read on in 3.1.1,
/// and the connection stays, with its pings.
#[test]
fn a_program_that_never_acknowledges_ends_no_connection() {
    for version in VERSIONS {
        let mut config = manual(version, false);
        config.keep_alive_s = 10;
        config.link.receive_maximum = 2;
        config.link.receive_maximum_unannounced = Some(2);
        let mut desk = connected(config);
        let mut input = BytesMut::new();
        // A server of 5.0 may not send a third one.
        let count = if version == Version::V5 { 2 } else { 3 };
        for id in 1..=count {
            let mut bytes = Vec::new();
            encode(&delivery(Q1, id, "a", false), version, PACKET_SIZE_MAX, &mut bytes).unwrap();
            input.extend_from_slice(&bytes);
        }
        desk.client.handle_bytes(&mut input, desk.now);
        assert_eq!(desk.log(), ["Entrusted 1 a", "Entrusted 2 a"]);
        assert_eq!(desk.client.is_receive_paused(), version == Version::V311);
        for _ in 0..20 {
            desk.wake();
            assert_eq!(desk.log(), ["> PINGREQ"]);
            if version == Version::V5 {
                desk.reply_bytes(&[0xD0, 0x00]);
            }
            desk.log();
        }
        ack(&mut desk, 1);
        desk.client.handle_bytes(&mut input, desk.now);
        let log = desk.log();
        assert_eq!(log[..2], ["Acknowledged 1", "> PUBACK 1"]);
        assert_eq!(log.len(), usize::from(count), "{log:?}");
    }
}

/// v5 [MQTT-3.3.4-9]: at the limit nothing but a message holds up the answer to a publication of the program. 5.0: one that
/// the server may not send, and does where a session was resumed. The answer is read once that message has its turn, so a
/// program must not wait for it with all that it may have unacknowledged.
#[test]
fn an_answer_is_held_up_by_messages_alone() {
    for version in VERSIONS {
        let mut config = manual(version, false);
        config.link.receive_maximum = 1;
        config.link.receive_maximum_unannounced = Some(2);
        let mut desk = connected(config);
        desk.cut_and_open();
        desk.accept(true);
        desk.publish(Q1, "mine").unwrap();
        desk.publish(Q1, "mine").unwrap();
        desk.log();
        let mut input = BytesMut::new();
        let puback = |id| {
            AckKind::PubAck.packet(Ack {
                packet_id: pid(id),
                reason: OK,
                properties: <_>::default(),
            })
        };
        let message = |id| delivery(Q1, id, "a", false);
        for packet in [message(1), message(2), puback(1), message(3), puback(2)] {
            let mut bytes = Vec::new();
            encode(&packet, version, PACKET_SIZE_MAX, &mut bytes).unwrap();
            input.extend_from_slice(&bytes);
        }
        desk.client.handle_bytes(&mut input, desk.now);
        assert_eq!(desk.log(), ["Entrusted 1 a", "Entrusted 2 a", "Published 1"]);
        assert!(desk.client.is_receive_paused());
        // Any other of them is not enough: PUBACKs leave in order.
        ack(&mut desk, 2);
        desk.client.handle_bytes(&mut input, desk.now);
        assert_eq!(desk.log(), ["Acknowledged 2"]);
        ack(&mut desk, 1);
        desk.client.handle_bytes(&mut input, desk.now);
        let log = desk.log();
        let rest = ["> PUBACK 1", "> PUBACK 2", "Entrusted 3 a", "Published 2"];
        assert!(rest.iter().all(|line| log.contains(&(*line).to_owned())), "{log:?}");
        assert!(input.is_empty());
    }
}

fn refuse(desk: &mut Desk, number: u64, code: ReasonCode) {
    let reason = AckReason { code, ..AckReason::default() };
    desk.client.acknowledge_with(number, Vec::new(), reason).unwrap();
    desk.drain();
}

/// v5 [MQTT-4.3.3-9]: a refusal leaves in its turn, and ends an exchange at QoS 2, whose id may come again at once. 3.1.1
/// has no codes (v3.1.1 [MQTT-3.3.5-2]): there the exchange goes on.
#[test]
fn refusals_leave_in_the_order_of_the_messages() {
    for (version, is_durable) in VERSIONS.into_iter().flat_map(|v| [(v, false), (v, true)]) {
        let mut desk = connected(manual(version, is_durable));
        for (id, qos) in [(1, Q1), (2, Q2), (3, Q1), (4, Q2)] {
            desk.reply(&delivery(qos, id, "t", false));
        }
        refuse(&mut desk, 4, ReasonCode::QuotaExceeded);
        refuse(&mut desk, 3, ReasonCode::NotAuthorized);
        desk.log();
        ack(&mut desk, 1);
        refuse(&mut desk, 2, ReasonCode::NotAuthorized);
        let has_codes = version == Version::V5;
        let said = |codes, bare| if has_codes { codes } else { bare };
        let log = desk.log();
        let acks: Vec<_> = log.iter().filter(|line| line.starts_with('>')).collect();
        let codes = ["> PUBACK 1", "> PUBACK 3 87", "> PUBREC 2 87", "> PUBREC 4 97"];
        let bare = ["> PUBACK 1", "> PUBACK 3", "> PUBREC 2", "> PUBREC 4"];
        assert_eq!(acks, said(codes, bare), "{log:?}");
        if !has_codes {
            desk.ack(AckKind::PubRel, 2, OK);
            assert_eq!(desk.log(), ["> PUBCOMP 2"]);
        }
        desk.reply(&delivery(Q2, 2, "t", false));
        assert_eq!(desk.log(), ["Entrusted 5 t"], "a new message");
        assert_eq!(desk.client.entrusted_len(), 1);
    }
}

/// A refusal whose turn had not come is said on the next connection, and after a crash with another code: its own is not
/// recorded. One that was lost on its way comes again. v5 [MQTT-4.4.0-1].
#[test]
fn a_refusal_outlives_its_connection() {
    for qos in [Q1, Q2] {
        let name = if qos == Q1 { "PUBACK" } else { "PUBREC" };
        let mut desk = connected(manual(Version::V5, true));
        desk.reply(&delivery(qos, 1, "a", false));
        desk.reply(&delivery(qos, 2, "b", false));
        refuse(&mut desk, 2, ReasonCode::NotAuthorized);
        let mut new = next_process(&desk, manual(Version::V5, true), desk.records.len());
        desk.cut_and_open();
        desk.accept(true);
        desk.log();
        for (desk, code) in [(&mut desk, " 87"), (&mut new, if qos == Q1 { "" } else { " 80" })] {
            desk.reply(&delivery(qos, 1, "a", true));
            desk.reply(&delivery(qos, 2, "b", true));
            desk.log();
            refuse(desk, 1, ReasonCode::QuotaExceeded);
            let sent = [format!("> {name} 1 97"), format!("> {name} 2{code}")];
            assert_eq!(desk.log()[1..], sent);
            // Not received: the server may have lost it, and then it is a new message.
            desk.reply(&delivery(qos, 1, "a", true));
            assert!(desk.log()[0].starts_with("Entrusted"), "{qos:?}");
        }
    }
}
