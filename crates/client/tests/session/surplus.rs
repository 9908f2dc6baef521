//! A server that sends more messages than we let be open, as Mosquitto 2.0.11 does after it was killed.

use std::time::Duration;

use bytes::Bytes;
use postrider::{Message, Protocol, QoS, Session};
use postrider_proto::wire::{
    Ack, AckKind, ConnAck, PACKET_SIZE_MAX, Packet, PacketId, Properties, Publish, ReasonCode,
    Version, encode,
};
use postrider_testing::{Script, ScriptedBroker, wire::PacketType};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::peer::{PATIENCE, Success, at_desk, connect, message, until};

/// Messages that come at once, and how many of them the server should have held back.
const MESSAGES: u16 = 3000;
const RECEIVE_MAXIMUM: u16 = 1024;
const SURPLUS: u64 = (MESSAGES - RECEIVE_MAXIMUM) as u64;

/// v5 [MQTT-3.3.4-9]: the messages of a session are taken once, on the same connection, with a store and without.
#[tokio::test]
async fn a_surplus_is_taken_and_counted() {
    let folder = TempDir::new().unwrap();
    for has_store in [false, true] {
        let begins = Script::new().accept().grant().wait("subscribed").close();
        let script = Script::new().resume().wait("read");
        let script = script.send_bytes(publishes()).send_bytes(releases()).serve();
        let broker = ScriptedBroker::start([begins, script]).unwrap();
        let mut builder = Session::builder(broker.url(), "me").receive_maximum(RECEIVE_MAXIMUM);
        if has_store {
            builder = builder.store(folder.path());
        }
        let session = builder.version(Protocol::V5).connect().await.unwrap();
        let mut stream = session.subscribe("in", QoS::ExactlyOnce).await.unwrap();
        broker.release("subscribed");
        broker.release("read");
        for number in 1..=MESSAGES {
            let message = timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
            assert_eq!(message.text(), Ok(number.to_string().as_str()));
        }
        until(|| received(&broker, PacketType::PubComp) >= usize::from(MESSAGES)).await;
        let stats = session.stats();
        assert_eq!((stats.surplus, stats.received), (SURPLUS, MESSAGES.into()));
        assert_eq!((stats.connections, stats.disconnections), (2, 1));
        assert_eq!(received(&broker, PacketType::PubRec), usize::from(MESSAGES));
        session.disconnect().await.unwrap();
        broker.finish().await.unwrap();
    }
}

/// A program that acknowledges by itself holds one message more than it allowed, and the connection stays.
#[tokio::test]
async fn a_surplus_waits_for_the_program() {
    let (builder, desk) =
        at_desk(Session::builder("mqtt://peer", "me").version(Protocol::V5).receive_maximum(2));
    let builder = builder.keep_alive(Duration::from_secs(1)).manual_acknowledgement();
    let (session, mut peer, mut desk) = connect(builder, desk, ConnAck::default_success()).await;
    let (stream, _) = tokio::join!(session.subscribe("in", QoS::AtLeastOnce), peer.grant());
    let mut stream = stream.unwrap();
    drop(peer);
    let mut peer = desk.next().await;
    assert!(!peer.connect().await.clean_start);
    peer.send(Packet::ConnAck(ConnAck::default_success().resumed())).await;
    for id in 1..=6 {
        peer.send(arriving(QoS::AtLeastOnce, id)).await;
    }
    let mut held: Vec<Message> = Vec::new();
    for _ in 0..3 {
        held.push(timeout(PATIENCE, stream.next()).await.unwrap().unwrap());
    }
    assert!(matches!(peer.next().await, Packet::PingReq));
    assert_eq!((stream.waiting(), session.stats().received), (0, 3));
    for id in 1..=6 {
        held.remove(0).ack().await.unwrap();
        let mut packet = peer.next().await;
        while matches!(packet, Packet::PingReq) {
            packet = peer.next().await;
        }
        let Packet::PubAck(ack) = packet else { panic!("{packet}") };
        assert_eq!(ack.packet_id.get(), id);
        if id <= 3 {
            held.push(timeout(PATIENCE, stream.next()).await.unwrap().unwrap());
        }
    }
    assert_eq!((session.stats().surplus, session.stats().disconnections), (4, 1));
}

fn received(broker: &ScriptedBroker, kind: PacketType) -> usize {
    broker.received().iter().filter(|it| it.packet.packet_type() == kind).count()
}

fn publishes() -> Bytes {
    joined((1..=MESSAGES).map(|id| arriving(QoS::ExactlyOnce, id)))
}

fn releases() -> Bytes {
    let ids = (1..=MESSAGES).filter_map(PacketId::new);
    let (reason, properties) = (ReasonCode::Success, Properties::new());
    joined(ids.map(|packet_id| {
        AckKind::PubRel.packet(Ack { packet_id, reason, properties: properties.clone() })
    }))
}

fn joined(packets: impl Iterator<Item = Packet>) -> Bytes {
    let mut bytes = Vec::new();
    for packet in packets {
        encode(&packet, Version::V5, PACKET_SIZE_MAX, &mut bytes).unwrap();
    }
    bytes.into()
}

/// Its payload is its id.
fn arriving(qos: QoS, id: u16) -> Packet {
    let packet_id = PacketId::new(id);
    Packet::Publish(Publish { packet_id, ..message("in", &id.to_string(), qos, &[]) })
}
