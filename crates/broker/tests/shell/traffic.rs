//! What comes in goes out.

use bytes::Bytes;
use postrider_broker::{
    Broker,
    wire::{Disconnect, Packet, Properties, QoS, ReasonCode, Version, encode},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    VERSIONS,
    peer::{Peer, ack, connect, endpoint, publish},
    start,
};

/// v5 [MQTT-4.3.1-1], [MQTT-4.3.2-2], [MQTT-4.3.3-2]; v3.1.1 [MQTT-4.3.1-1], [MQTT-4.3.2-2], [MQTT-4.3.3-2]
#[tokio::test]
async fn a_message_reaches_its_subscriber_at_each_qos_and_version() {
    let broker = start(Broker::builder());
    for version in VERSIONS {
        let mut peer = Peer::connect(&broker, version, "c").await;
        peer.subscribe("a/+", QoS::ExactlyOnce).await;
        peer.publish("a/0", "zero", QoS::AtMostOnce).await;
        check(&peer.next().await, "PUBLISH \"a/0\" qos=0 4B \"zero\"");
        peer.publish("a/1", "one", QoS::AtLeastOnce).await;
        let (mut seen, mut answers) = (Vec::new(), 0);
        for _ in 0..2 {
            let packet = peer.packet().await.unwrap();
            if let Packet::Publish(publish) = packet {
                seen.push(publish.payload.clone());
                peer.send(&Packet::PubAck(ack(publish.packet_id.unwrap().get()))).await;
            } else {
                assert!(packet.to_string().starts_with("PUBACK id=7"), "{packet}");
                answers += 1;
            }
        }
        assert_eq!((seen, answers), (vec![Bytes::from("one")], 1));
        exactly_once(&mut peer).await;
        let (reason, properties) = (ReasonCode::Success, Properties::new());
        peer.send(&Packet::Disconnect(Disconnect { reason, properties })).await;
        assert_eq!(peer.next().await, "the end", "{version:?}");
    }
    broker.shut_down();
}

/// Plays both sides of a QoS 2 exchange with the broker.
async fn exactly_once(peer: &mut Peer) {
    peer.publish("a/2", "two", QoS::ExactlyOnce).await;
    let (mut payloads, mut kinds) = (Vec::new(), Vec::new());
    while kinds.len() < 3 {
        let packet = peer.packet().await.unwrap();
        if let Packet::Publish(publish) = &packet {
            payloads.push(publish.payload.clone());
            let id = publish.packet_id.unwrap().get();
            peer.send(&Packet::PubRec(ack(id))).await;
            continue;
        }
        if let Packet::PubRec(answer) = &packet {
            peer.send(&Packet::PubRel(ack(answer.packet_id.get()))).await;
        }
        if let Packet::PubRel(answer) = &packet {
            peer.send(&Packet::PubComp(ack(answer.packet_id.get()))).await;
        }
        kinds.push(packet.packet_type().name());
    }
    kinds.sort_unstable();
    assert_eq!(kinds, ["PUBCOMP", "PUBREC", "PUBREL"]);
    assert_eq!(payloads, ["two"]);
}

#[tokio::test]
async fn a_connection_within_the_process_needs_no_listener() {
    let broker = Broker::builder().start().unwrap();
    assert!(broker.endpoints().is_empty());
    let connector = broker.connector();
    let mut one = Peer::new(broker.connect(), Version::V5).shake_hands("one").await;
    let mut two = Peer::new(connector.connect(), Version::V311).shake_hands("two").await;
    one.subscribe("t", QoS::AtMostOnce).await;
    two.publish("t", "hello", QoS::AtMostOnce).await;
    check(&one.next().await, "PUBLISH \"t\" qos=0 5B \"hello\"");
    assert_eq!(broker.stats().links, 2);
    broker.shut_down();
    assert_eq!(two.next().await, "the end");
    assert_eq!(Peer::new(connector.connect(), Version::V5).next().await, "the end");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_and_a_tcp_port_serve_the_same_broker() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("unix:{}", folder.path().join("mqtt.sock").display());
    let broker = start(Broker::builder().listen(&url));
    assert_eq!(broker.endpoints()[0], endpoint(&url));
    let mut near = Peer::connect(&broker, Version::V5, "near").await;
    let tcp = Peer::open(&broker.endpoints()[1], Version::V5).await;
    let mut far = tcp.shake_hands("far").await;
    near.subscribe("t", QoS::AtMostOnce).await;
    far.publish("t", "over", QoS::AtMostOnce).await;
    check(&near.next().await, "PUBLISH \"t\" qos=0 4B \"over\"");
    broker.shut_down();
    assert!(!folder.path().join("mqtt.sock").exists());
}

/// v5 [MQTT-3.1.4-2], v3.1.1 [MQTT-3.2.2-4]
#[tokio::test]
async fn wrong_credentials_are_refused_with_a_reason_and_right_ones_are_not() {
    let broker = start(Broker::builder().user("ann", "hush"));
    for (user, expected) in [
        (Some(("ann", "hush")), "CONNACK Success"),
        (Some(("ann", "hash")), "CONNACK BadUserNameOrPassword"),
        (Some(("eve", "hush")), "CONNACK BadUserNameOrPassword"),
        (None, "CONNACK NotAuthorized"),
    ] {
        for version in [Version::V311, Version::V5] {
            let mut peer = Peer::open(&broker.endpoints()[0], version).await;
            peer.send(&connect(version, "c", user)).await;
            // Bytes that nobody reads must not cost the peer its answer.
            peer.publish("t", vec![0; 20_000], QoS::AtMostOnce).await;
            check(&peer.next().await, expected);
            if expected != "CONNACK Success" {
                assert_eq!(peer.next().await, "the end");
            }
        }
    }
    broker.shut_down();
}

#[tokio::test]
async fn a_peer_that_ended_its_side_still_gets_its_answers() {
    let broker = start(Broker::builder());
    let mut peer = Peer::connect(&broker, Version::V311, "c").await;
    let mut bytes = Vec::new();
    let packet = publish("t", "last", QoS::AtLeastOnce);
    encode(&packet, Version::V311, 1000, &mut bytes).unwrap();
    peer.stream.write_all(&bytes).await.unwrap();
    peer.stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    peer.stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [0x40, 2, 0, 7]);
    broker.shut_down();
}

/// v5 [MQTT-4.13.1-1]
#[tokio::test]
async fn a_malformed_packet_ends_its_connection_and_no_other() {
    let broker = start(Broker::builder());
    let mut good = Peer::connect(&broker, Version::V5, "good").await;
    let mut bad = Peer::connect(&broker, Version::V5, "bad").await;
    bad.stream.write_all(&[0x00, 0x00]).await.unwrap();
    check(&bad.next().await, "DISCONNECT MalformedPacket");
    assert_eq!(bad.next().await, "the end");
    good.send(&Packet::PingReq).await;
    assert_eq!(good.next().await, "PINGRESP");
    broker.shut_down();
}

#[tokio::test]
async fn a_message_crosses_from_any_hub_to_any_other() {
    const CLIENTS: usize = 16;
    let broker = start(Broker::builder().hubs(3).spool_above(100_000));
    let mut peers = Vec::new();
    for number in 0..CLIENTS {
        let mut peer = Peer::connect(&broker, Version::V5, &format!("c{number}")).await;
        peer.subscribe("all", QoS::AtMostOnce).await;
        peers.push(peer);
    }
    for number in 0..CLIENTS {
        let payload = Bytes::from(vec![number as u8; if number % 2 == 0 { 10 } else { 150_000 }]);
        peers[number].publish("all", payload.clone(), QoS::AtMostOnce).await;
        for peer in &mut peers {
            assert!(peer.message().await == ("all".to_owned(), payload.clone()), "{number}");
        }
    }
    assert_eq!(broker.stats().sessions, CLIENTS as u64);
    broker.shut_down();
}

fn check(line: &str, expected: &str) {
    assert!(line.starts_with(expected), "expected {expected}, got {line}");
}
