//! Payloads that go to a spool, and come from one.

use bytes::{Bytes, BytesMut};
use postrider_proto::{
    Chunk, Envelope, LinkConfig, Message, Payload, Received, Role, SpoolOutput, Spools,
};
use postrider_wire::{Packet, QoS, ReasonCode, Version};

use crate::end::{ALL, End, PLAIN, START, delivery, encoded, id, message, publish};

const SMALL: LinkConfig = LinkConfig { spool_above: 100, ..PLAIN };

/// All bytes appended so far, by spool; drops are left for later.
fn appended(spools: &mut Spools) -> (Vec<u8>, Vec<u64>) {
    let (mut bytes, mut dropped) = (Vec::new(), Vec::new());
    while let Some(output) = spools.poll_output() {
        match output {
            SpoolOutput::Append(_, chunk) => bytes.extend_from_slice(&chunk),
            SpoolOutput::Drop(number) => dropped.push(number),
        }
    }
    (bytes, dropped)
}

/// A payload at the threshold stays in memory; one byte more goes to a spool, in whatever pieces it comes.
#[test]
fn large_payloads_go_to_a_spool() {
    for version in ALL {
        for piece in [1, 7, 1000] {
            let mut end = End::open(Role::Server, version, SMALL);
            let payload = "0123456789".repeat(11);
            let bytes =
                encoded(&Packet::Publish(publish("topic", QoS::AtLeastOnce, 7, &payload)), version);
            let mut received = Vec::new();
            for piece in bytes.chunks(piece) {
                end.input.extend_from_slice(piece);
                received.extend(end.drain().expect("within the rules"));
            }
            let [Received::Publish(arrived)] = &received[..] else { panic!("{received:?}") };
            assert!(arrived.publish.payload.is_empty());
            assert_eq!(arrived.publish.packet_id, Some(id(7)));
            let Payload::Spooled { id: spool, len: 110 } = &arrived.payload else {
                panic!("{arrived:?}")
            };
            let number = spool.number();
            let (bytes, dropped) = appended(&mut end.spools);
            assert_eq!(bytes, payload.as_bytes());
            assert!(dropped.is_empty());
            drop(received);
            assert_eq!(appended(&mut end.spools), (vec![], vec![number]));

            let packet = Packet::Publish(publish("topic", QoS::AtMostOnce, 0, &payload[..100]));
            let received = end.takes(&packet);
            let [Received::Publish(arrived)] = &received[..] else { panic!("{received:?}") };
            assert_eq!(
                arrived.payload,
                Payload::Bytes(Bytes::copy_from_slice(&payload.as_bytes()[..100]))
            );
        }
    }
}

/// v3.1.1 [MQTT-4.8.0-2]: without room for it the link ends; 5.0 says 0x97.
#[test]
fn spools_have_a_limit() {
    for version in ALL {
        let mut end = End::open(Role::Server, version, SMALL);
        end.spools = Spools::new(109);
        let packet = Packet::Publish(publish("topic", QoS::AtMostOnce, 0, &"x".repeat(110)));
        let (reason, _, said) = end.faults(&packet);
        assert_eq!(reason, ReasonCode::QuotaExceeded);
        let wanted: &[&str] =
            if version == Version::V5 { &["DISCONNECT QuotaExceeded"] } else { &[] };
        assert_eq!(said, wanted);
    }
}

/// A payload that stops half way leaves nothing behind.
#[test]
fn a_lost_link_drops_its_spool() {
    let mut end = End::open(Role::Server, Version::V5, SMALL);
    let packet = Packet::Publish(publish("topic", QoS::AtMostOnce, 0, &"x".repeat(300)));
    let bytes = encoded(&packet, Version::V5);
    end.input.extend_from_slice(&bytes[..200]);
    assert_eq!(end.drain(), Ok(vec![]));
    let (appended_bytes, dropped) = appended(&mut end.spools);
    assert!(!appended_bytes.is_empty());
    assert!(dropped.is_empty());
    let End { link, mut spools, .. } = end;
    drop(link);
    assert_eq!(appended(&mut spools).1.len(), 1);
    assert_eq!(spools.bytes(), 0);
}

/// A streamed PUBLISH is checked like any other, before a byte is spooled.
#[test]
fn streamed_publishes_are_checked_first() {
    let packet = Packet::Publish(publish("topic", QoS::AtLeastOnce, 1, &"x".repeat(300)));
    let mut end = End::open(Role::Server, Version::V5, LinkConfig { receive_maximum: 1, ..SMALL });
    end.takes(&Packet::Publish(publish("topic", QoS::AtLeastOnce, 2, "")));
    assert_eq!(end.faults(&packet).0, ReasonCode::ReceiveMaximumExceeded);
    assert_eq!(appended(&mut end.spools), (vec![], vec![]));
    let mut end = End::client(SMALL, &crate::end::connect(Version::V5));
    end.said();
    assert_eq!(end.faults(&packet).1, "MQTT-3.2.0-1");
}

/// A spooled payload goes out as a range of its spool, behind its head, and can be consumed in pieces.
#[test]
fn spooled_payloads_are_sent_by_range() {
    let mut spools = Spools::new(1 << 20);
    let spool = spools.begin(5000).expect("room");
    let mut large = message("t", b"", &[]);
    large.payload = Payload::Spooled { id: spool.clone(), len: 5000 };
    let mut envelope = Envelope::new(large);
    for _ in 0..4 {
        let mut end = End::open(Role::Client, Version::V311, PLAIN);
        let qos = delivery(QoS::AtLeastOnce);
        assert!(end.link.send_publish(&mut envelope, &qos, Some(id(1)), START));
        end.link.send_ack(postrider_wire::AckKind::PubAck, crate::end::ack(2), crate::end::FREE);
        let head = [0x32, 0x8d, 0x27, 0, 1, b't', 0, 1];
        let range = |offset, len| Chunk::Spool { id: spool.clone(), offset, len };
        let ack = [0x40, 2, 0, 2];
        let chunks: Vec<Chunk<'_>> = end.link.outbox().chunks().collect();
        assert_eq!(chunks, [Chunk::Bytes(&head), range(0, 5000), Chunk::Bytes(&ack)]);
        end.link.outbox_mut().consume(8 + 1000);
        let chunks: Vec<Chunk<'_>> = end.link.outbox().chunks().collect();
        assert_eq!(chunks, [range(1000, 4000), Chunk::Bytes(&ack)]);
        end.link.outbox_mut().consume(4001);
        let chunks: Vec<Chunk<'_>> = end.link.outbox().chunks().collect();
        assert_eq!(chunks, [Chunk::Bytes(&ack[1..])]);
        end.link.outbox_mut().consume(3);
        assert!(end.link.outbox().is_empty());
    }
}

/// A message with a spooled payload keeps the spool alive.
#[test]
fn a_message_holds_its_spool() {
    let mut end = End::open(Role::Server, Version::V5, SMALL);
    let packet = Packet::Publish(publish("topic", QoS::AtMostOnce, 0, &"x".repeat(300)));
    let mut received = end.takes(&packet);
    let Some(Received::Publish(arrived)) = received.pop() else { panic!() };
    let mut envelope =
        Envelope::new(Message::from_publish(arrived.publish, arrived.payload, START));
    let shared = envelope.shared();
    drop(envelope);
    assert!(appended(&mut end.spools).1.is_empty());
    drop(shared);
    assert_eq!(appended(&mut end.spools).1.len(), 1);
    assert_eq!(BytesMut::new(), end.input);
}
