//! Programs that acknowledge their messages themselves.

use std::{collections::BTreeMap, path::Path, time::Duration};

use postrider::{
    AckError, Builder, Message, Properties, Protocol, QoS, ReasonCode, Session, StoredError,
    Subscription, Text, blocking,
};
use postrider_proto::wire::{Ack, AckKind, ConnAck, Packet, PacketId, Publish};
use postrider_testing::TestBroker;
use tempfile::TempDir;
use tokio::{
    runtime::{Builder as RuntimeBuilder, Runtime},
    time::timeout,
};

use crate::peer::{Desk, PATIENCE, Peer, Success, at_desk, message, until};

const VERSIONS: [Protocol; 2] = [Protocol::V311, Protocol::V5];
const LEVELS: [QoS; 2] = [QoS::AtLeastOnce, QoS::ExactlyOnce];

/// v5 v3.1.1 [MQTT-4.6.0-2, MQTT-4.6.0-3]: any order of the program becomes the order of arrival.
#[tokio::test]
async fn acknowledgements_leave_in_the_order_of_arrival() {
    for (version, qos) in cases() {
        let (session, mut peer, _desk) = open(manual(version)).await;
        let mut stream = subscribed(&session, &mut peer, "in/#", qos).await;
        for id in 1..=3 {
            peer.send(arriving(qos, id, &format!("in/{id}"))).await;
        }
        let messages = [next(&mut stream).await, next(&mut stream).await, next(&mut stream).await];
        assert_eq!(messages.each_ref().map(Message::number), [Some(1), Some(2), Some(3)]);
        assert!(messages.iter().all(|message| !message.is_redelivery()));
        messages[2].ack().await.unwrap();
        messages[1].ack().await.unwrap();
        let again = messages[1].clone().ack().await;
        assert_eq!(again, Err(AckError::Stale { number: 2 }));
        // Pings and the like do not wait; neither does what is published.
        session.publish("out", "x").qos(QoS::AtMostOnce).await.unwrap();
        peer.publish().await;
        messages[0].ack().await.unwrap();
        for id in 1..=3 {
            assert_eq!(answer(&mut peer).await, (kind(qos), id));
        }
    }
}

/// A copy that is dropped unacknowledged comes again, to the same stream, under its number.
#[tokio::test]
async fn a_dropped_message_comes_again() {
    for (version, qos) in cases() {
        let (session, mut peer, _desk) = open(manual(version)).await;
        let mut stream = subscribed(&session, &mut peer, "in/#", qos).await;
        let mut other = subscribed(&session, &mut peer, "other", qos).await;
        peer.send(arriving(qos, 1, "in/1")).await;
        peer.send(arriving(qos, 2, "in/2")).await;
        let first = next(&mut stream).await;
        let clone = first.clone();
        drop(first);
        drop(clone);
        let second = next(&mut stream).await;
        second.ack().await.unwrap();
        for _ in 0..2 {
            let again = next(&mut stream).await;
            assert_eq!((again.number(), again.is_redelivery()), (Some(1), true));
            assert_eq!((again.topic(), again.text()), ("in/1", Ok("x")));
        }
        let last = next(&mut stream).await;
        assert!(other.try_next().is_none());
        last.ack().await.unwrap();
        for id in 1..=2 {
            assert_eq!(answer(&mut peer).await, (kind(qos), id));
        }
    }
}

/// A stream that ends with messages unread does not lose them: they go where new ones would go.
#[tokio::test]
async fn messages_of_an_ended_stream_go_elsewhere() {
    let (session, mut peer, _desk) = open(manual(Protocol::V5)).await;
    let stream = subscribed(&session, &mut peer, "in/#", QoS::AtLeastOnce).await;
    peer.send(arriving(QoS::AtLeastOnce, 1, "in/1")).await;
    until(|| stream.waiting() > 0).await;
    drop(stream);
    peer.release().await;
    let mut unmatched = session.unmatched();
    let message = timeout(PATIENCE, unmatched.next()).await.unwrap().unwrap();
    assert_eq!((message.number(), message.is_redelivery()), (Some(1), true));
    message.ack().await.unwrap();
    assert_eq!(answer(&mut peer).await, (AckKind::PubAck, 1));
}

/// What several streams have is acknowledged when all of them have done so, or have ended.
#[tokio::test]
async fn every_stream_must_acknowledge() {
    for (version, qos) in cases() {
        let (session, mut peer, _desk) = open(manual(version)).await;
        // The same filter, so that no identifiers are needed.
        let mut one = subscribed(&session, &mut peer, "in", qos).await;
        let mut two = subscribed(&session, &mut peer, "in", qos).await;
        peer.send(arriving(qos, 1, "in")).await;
        let (first, second) = (next(&mut one).await, next(&mut two).await);
        assert_eq!(first.number(), second.number());
        let waiting = first.ack();
        session.publish("out", "x").qos(QoS::AtMostOnce).await.unwrap();
        peer.publish().await;
        let (waited, acked) = tokio::join!(waiting, second.ack());
        assert_eq!((waited, acked), (Ok(()), Ok(())));
        assert_eq!(answer(&mut peer).await, (kind(qos), 1));
        if qos == QoS::ExactlyOnce {
            peer.ack(AckKind::PubRel, PacketId::new(1)).await;
            assert_eq!(answer(&mut peer).await, (AckKind::PubComp, 1));
        }
        peer.send(arriving(qos, 1, "in")).await;
        let first = next(&mut one).await;
        next(&mut two).await.ack();
        drop(two);
        first.ack().await.unwrap();
        assert_eq!(answer(&mut peer).await, (kind(qos), 1));
        peer.send(arriving(qos, 2, "in")).await;
        let again = next(&mut one).await;
        again.ack().await.unwrap();
        assert_eq!(answer(&mut peer).await, (kind(qos), 2));
    }
}

/// v5 section 3.4.2.1, 3.5.2.1: PUBACK and PUBREC can refuse, and explain it. 3.1.1 cannot.
#[tokio::test]
async fn a_message_can_be_refused() {
    for (version, qos) in cases() {
        let (session, mut peer, _desk) = open(manual(version)).await;
        let mut one = subscribed(&session, &mut peer, "in", qos).await;
        peer.send(arriving(qos, 1, "in")).await;
        next(&mut one).await.refuse(ReasonCode::NotAuthorized).await.unwrap();
        let refused = acked(&mut peer).await;
        peer.send(arriving(qos, 2, "in")).await;
        let message = next(&mut one).await;
        let wrong = message.refuse(ReasonCode::NoMatchingSubscribers).await.unwrap_err();
        assert_eq!(wrong, AckError::Reason(ReasonCode::NoMatchingSubscribers));
        let wrong = message.refuse(ReasonCode::ServerBusy).await.unwrap_err();
        assert!(wrong.to_string().contains("no answer to a message"), "{wrong}");
        let wrong = message.ack_with(|batch| batch.explanation("a\0")).await.unwrap_err();
        assert!(matches!(wrong, AckError::Text { what: "the explanation", .. }), "{wrong:?}");
        // Nothing of that has acknowledged it.
        let explained = message.ack_with(|batch| {
            batch.reason(ReasonCode::QuotaExceeded);
            batch.explanation("full");
            batch.user_property("k", "v");
        });
        explained.await.unwrap();
        let explained = acked(&mut peer).await;
        if version == Protocol::V311 {
            assert!([&refused, &explained].iter().all(|ack| ack.reason == ReasonCode::Success));
            continue;
        }
        assert_eq!(refused.reason, ReasonCode::NotAuthorized);
        assert_eq!(refused.properties, Properties::new());
        assert_eq!(explained.reason, ReasonCode::QuotaExceeded);
        assert_eq!(explained.properties.reason_string().map(Text::as_str), Some("full"));
        assert_eq!(explained.properties.user_properties().count(), 1);
    }
}

/// A message that several streams have is refused if all of them refuse it.
#[tokio::test]
async fn who_takes_a_message_goes_before_who_refuses_it() {
    let (session, mut peer, _desk) = open(manual(Protocol::V5)).await;
    let mut one = subscribed(&session, &mut peer, "in", QoS::AtLeastOnce).await;
    let mut two = subscribed(&session, &mut peer, "in", QoS::AtLeastOnce).await;
    let (no, never) = (ReasonCode::NotAuthorized, ReasonCode::QuotaExceeded);
    for (id, first, second, expected) in [
        (1, no, never, no),
        (2, no, ReasonCode::Success, ReasonCode::Success),
        (3, ReasonCode::Success, no, ReasonCode::Success),
    ] {
        peer.send(arriving(QoS::AtLeastOnce, id, "in")).await;
        let (a, b) = (next(&mut one).await, next(&mut two).await);
        let first = a.ack_with(|batch| batch.reason(first));
        let second = b.ack_with(|batch| batch.reason(second));
        assert_eq!(tokio::join!(first, second), (Ok(()), Ok(())));
        assert_eq!(acked(&mut peer).await.reason, expected);
    }
    drop(session);
}

/// v5 v3.1.1 [MQTT-4.4.0-1]: what is sent again after a reconnect is the message that the program has already.
#[tokio::test]
async fn a_reconnect_hands_nothing_out_twice() {
    for (version, qos) in cases() {
        let (session, mut peer, mut desk) = open(manual(version)).await;
        let mut stream = subscribed(&session, &mut peer, "in", qos).await;
        peer.send(arriving(qos, 1, "in")).await;
        let message = next(&mut stream).await;
        drop(peer);
        let mut peer = desk.accept(ConnAck::default_success().resumed()).await;
        peer.send(again(qos, 1, "in")).await;
        peer.send(arriving(qos, 2, "in")).await;
        let other = next(&mut stream).await;
        assert_eq!(other.number(), Some(2));
        other.ack().await.unwrap();
        message.ack().await.unwrap();
        for id in 1..=2 {
            assert_eq!(answer(&mut peer).await, (kind(qos), id));
        }
    }
}

/// v5 [MQTT-3.2.2-5]: the server's messages are gone with its session.
#[tokio::test]
async fn a_lost_session_makes_messages_stale() {
    for (version, qos) in cases() {
        let (session, mut peer, mut desk) = open(manual(version)).await;
        let mut stream = subscribed(&session, &mut peer, "in", qos).await;
        peer.send(arriving(qos, 1, "in")).await;
        peer.send(arriving(qos, 2, "in")).await;
        let (message, dropped) = (next(&mut stream).await, next(&mut stream).await);
        drop(peer);
        let mut peer = desk.accept(ConnAck::default_success()).await;
        peer.grant().await;
        assert_eq!(message.ack().await, Err(AckError::Stale { number: 1 }));
        drop(dropped);
        peer.send(arriving(qos, 1, "in")).await;
        let new = next(&mut stream).await;
        assert_eq!((new.number(), new.is_redelivery()), (Some(3), false));
        new.ack().await.unwrap();
        assert_eq!(answer(&mut peer).await, (kind(qos), 1));
    }
}

/// The effect of a program, written with the acknowledgement, across processes that die at each point: exactly once at
/// QoS 2.
#[test]
fn an_effect_is_stored_once_whenever_the_process_dies() {
    for version in VERSIONS {
        let folder = TempDir::new().unwrap();
        let qos = QoS::ExactlyOnce;
        process().block_on(async {
            let (session, mut peer, _desk) = open(stored(version, folder.path())).await;
            let mut stream = subscribed(&session, &mut peer, "in", qos).await;
            assert_eq!(session.stored("count").await, Ok(None));
            peer.send(arriving(qos, 1, "in")).await;
            peer.send(arriving(qos, 2, "in")).await;
            let (first, second) = (next(&mut stream).await, next(&mut stream).await);
            assert_eq!([first.number(), second.number()], [Some(1), Some(2)]);
            // Dies with the first one in its handler, and the PUBREC of the second not sent.
            second.ack_with(|batch| batch.put("count", "1")).await.unwrap();
            std::mem::forget(stream);
        });
        process().block_on(async {
            let (session, mut peer, _desk) = resumed(stored(version, folder.path())).await;
            let mut stream = session.unmatched();
            assert_eq!(session.stored("count").await.unwrap().unwrap(), "1");
            peer.send(again(qos, 1, "in")).await;
            peer.send(again(qos, 2, "in")).await;
            let first = timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
            assert_eq!((first.number(), first.is_redelivery()), (Some(1), true));
            first.ack_with(|batch| batch.put("count", "2")).await.unwrap();
            for id in 1..=2 {
                assert_eq!(answer(&mut peer).await, (AckKind::PubRec, id));
            }
            assert!(stream.try_next().is_none());
        });
        process().block_on(async {
            let (session, mut peer, _desk) = resumed(stored(version, folder.path())).await;
            // The PUBRECs were lost.
            for id in 1..=2 {
                peer.send(again(qos, id, "in")).await;
                assert_eq!(answer(&mut peer).await, (AckKind::PubRec, id));
                peer.ack(AckKind::PubRel, PacketId::new(id)).await;
                assert_eq!(answer(&mut peer).await, (AckKind::PubComp, id));
            }
            assert_eq!(session.stats().received, 0);
            assert_eq!(session.stored("count").await.unwrap().unwrap(), "2");
            peer.send(arriving(qos, 1, "in")).await;
            let mut stream = session.unmatched();
            let new = timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
            assert!(new.number() > Some(2) && !new.is_redelivery());
            new.ack_with(|batch| batch.delete("count")).await.unwrap();
            assert_eq!(session.stored("count").await, Ok(None));
        });
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_the_message_stays() {
    let (session, mut peer, _desk) = open(manual(Protocol::V5)).await;
    let mut stream = subscribed(&session, &mut peer, "in", QoS::AtLeastOnce).await;
    assert_eq!(session.stored("k").await, Err(StoredError::NoStore));
    peer.send(arriving(QoS::AtLeastOnce, 1, "in")).await;
    let message = next(&mut stream).await;
    assert_eq!(message.ack_with(|batch| batch.put("k", "v")).await, Err(AckError::NoStore));
    message.ack().await.unwrap();
    assert_eq!(answer(&mut peer).await, (AckKind::PubAck, 1));
    peer.deliver("in", "x", QoS::AtMostOnce, &[]).await;
    let zero = next(&mut stream).await;
    assert_eq!((zero.number(), zero.ack().await), (None, Ok(())));
    assert_eq!(zero.ack_with(|_| ()).await, Err(AckError::NotManual));
    let folder = TempDir::new().unwrap();
    let (session, mut peer, _desk) = open(stored(Protocol::V5, folder.path())).await;
    let mut stream = subscribed(&session, &mut peer, "in", QoS::AtLeastOnce).await;
    peer.send(arriving(QoS::AtLeastOnce, 1, "in")).await;
    let message = next(&mut stream).await;
    let large = message.ack_with(|batch| batch.put("k", vec![0; 1 << 20])).await;
    let (bytes, bytes_max) = ((1 << 20) + 1 + 32, 1 << 20);
    assert_eq!(large, Err(AckError::TooLarge { bytes, bytes_max }));
    let long = message.ack_with(|batch| batch.put([0; 1025], "")).await;
    assert_eq!(long, Err(AckError::KeyTooLong { bytes: 1025, bytes_max: 1024 }));
    message.ack_with(|batch| batch.put([0; 1024], "v")).await.unwrap();
    assert_eq!(answer(&mut peer).await, (AckKind::PubAck, 1));
    session.disconnect().await.unwrap();
    assert!(matches!(session.stored("k").await, Err(StoredError::Over(_))));
    assert!(matches!(message.ack().await, Err(AckError::Stale { .. })));
}

/// A handler that never acknowledges: no more messages come, and the connection stays.
#[tokio::test]
async fn a_handler_that_never_acknowledges_ends_nothing() {
    for (version, qos) in VERSIONS.into_iter().zip(LEVELS) {
        let builder = manual(version).receive_maximum(2).keep_alive(Duration::from_secs(1));
        let (session, mut peer, _desk) = open(builder).await;
        let mut stream = subscribed(&session, &mut peer, "in", qos).await;
        peer.send(arriving(qos, 1, "in")).await;
        peer.send(arriving(qos, 2, "in")).await;
        let messages = [next(&mut stream).await, next(&mut stream).await];
        if version == Protocol::V311 {
            // No bound was announced, so it stays unread.
            peer.send(arriving(qos, 3, "in")).await;
        }
        for _ in 0..2 {
            assert!(matches!(peer.next().await, Packet::PingReq));
            if version == Protocol::V5 {
                peer.send(Packet::PingResp).await;
            }
        }
        assert!(session.connected().is_some());
        assert_eq!(session.stats().received, 2);
        for message in &messages {
            message.ack().await.unwrap();
        }
        if version == Protocol::V311 {
            next(&mut stream).await;
        }
        let mut answers = Vec::new();
        while answers.len() < 2 {
            let packet = peer.next().await;
            if !matches!(packet, Packet::PingReq) {
                answers.push(read_answer(&packet));
            }
        }
        assert_eq!(answers, [(kind(qos), 1), (kind(qos), 2)]);
    }
}

/// An acknowledgement does not stand in line behind publications that wait for the server, which waits for it.
#[tokio::test]
async fn acknowledgements_pass_waiting_publications() {
    let builder = manual(Protocol::V311).receive_maximum(1).queue_messages(1);
    let (session, mut peer, _desk) = open(builder).await;
    let mut stream = subscribed(&session, &mut peer, "in", QoS::AtLeastOnce).await;
    peer.send(arriving(QoS::AtLeastOnce, 1, "in")).await;
    let message = next(&mut stream).await;
    let first = session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let sent = peer.publish().await;
    let second = tokio::spawn({
        let session = session.clone();
        async move { session.publish("b", "x").qos(QoS::AtLeastOnce).await }
    });
    // Behind what the session does not read on for.
    peer.send(arriving(QoS::AtLeastOnce, 2, "in")).await;
    peer.ack(AckKind::PubAck, sent.packet_id).await;
    message.ack().await.unwrap();
    assert_eq!(answer(&mut peer).await, (AckKind::PubAck, 1));
    next(&mut stream).await.ack().await.unwrap();
    first.await.unwrap();
    let mut second_sent = None;
    for _ in 0..2 {
        let packet = peer.next().await;
        if let Packet::Publish(publish) = packet {
            second_sent = publish.packet_id;
        } else {
            assert_eq!(read_answer(&packet), (AckKind::PubAck, 2));
        }
    }
    peer.ack(AckKind::PubAck, second_sent).await;
    second.await.unwrap().unwrap();
}

/// Everything arrives, whatever the order in which a program acknowledges, and is not sent again.
#[tokio::test]
async fn a_broker_takes_acknowledgements_in_any_order() {
    for (version, qos) in cases() {
        let broker = TestBroker::start().unwrap();
        let builder = Session::builder(broker.url(), "worker").version(version);
        let session = builder.manual_acknowledgement().receive_maximum(8).connect().await.unwrap();
        let mut stream = session.subscribe("work/#", qos).await.unwrap();
        let publisher = Session::builder(broker.url(), "boss").connect().await.unwrap();
        for at in 0..40 {
            publisher.publish(format!("work/{at}"), "x").qos(qos).receipt().await.unwrap();
        }
        let (mut seen, mut held) = (BTreeMap::<String, u32>::new(), Vec::new());
        while seen.len() < 40 {
            let message = next(&mut stream).await;
            // Each fourth is dropped once, the others are acknowledged in pairs, backwards.
            if message.number().unwrap() % 4 == 1 && !message.is_redelivery() {
                continue;
            }
            *seen.entry(message.topic().to_owned()).or_default() += 1;
            held.push(message);
            if held.len() == 2 {
                held.drain(..).rev().for_each(|message| drop(message.ack()));
            }
        }
        for message in held {
            message.ack().await.unwrap();
        }
        assert!(seen.values().all(|count| *count == 1), "{seen:?}");
        publisher.disconnect().await.unwrap();
        session.disconnect().await.unwrap();
    }
}

/// From inside a callback, and with an iterator.
#[test]
fn the_blocking_face_acknowledges_too() {
    let broker = TestBroker::start().unwrap();
    let folder = TempDir::new().unwrap();
    let session = blocking::Session::builder(broker.url(), "worker")
        .store(folder.path())
        .manual_acknowledgement()
        .connect()
        .unwrap();
    let (done, told) = std::sync::mpsc::channel();
    session
        .subscribe("work", QoS::ExactlyOnce, move |session, message| {
            let count = session.stored("count").unwrap().map_or(0, |bytes| bytes[0]) + 1;
            message.ack_with(|batch| batch.put("count", [count])).wait().unwrap();
            done.send(count).unwrap();
        })
        .unwrap();
    for _ in 0..3 {
        session.publish("work", "x").qos(QoS::ExactlyOnce).wait().unwrap();
    }
    let counts: Vec<_> = (0..3).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(counts, [1, 2, 3]);
    session.disconnect().unwrap();
}

fn cases() -> impl Iterator<Item = (Protocol, QoS)> {
    VERSIONS.into_iter().flat_map(|version| LEVELS.map(|qos| (version, qos)))
}

fn process() -> Runtime {
    RuntimeBuilder::new_current_thread().enable_all().build().unwrap()
}

fn manual(version: Protocol) -> Builder {
    let builder = Session::builder("mqtt://peer", "me").version(version);
    builder.keep_alive(Duration::ZERO).manual_acknowledgement()
}

fn stored(version: Protocol, path: &Path) -> Builder {
    manual(version).store(path)
}

/// A session that begins, and its peer.
async fn open(builder: Builder) -> (Session, Peer, Desk) {
    begin(builder, ConnAck::default_success()).await
}

/// A session that goes on.
async fn resumed(builder: Builder) -> (Session, Peer, Desk) {
    begin(builder, ConnAck::default_success().resumed()).await
}

async fn begin(builder: Builder, connack: ConnAck) -> (Session, Peer, Desk) {
    let (builder, mut desk) = at_desk(builder);
    let (session, peer) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        // In 3.1.1 a connection that only wipes an old session may go before.
        if peer.connect().await.clean_start && peer.is_v311() {
            peer.send(Packet::ConnAck(ConnAck::default_success())).await;
            assert!(matches!(peer.next().await, Packet::Disconnect(_)));
            peer = desk.next().await;
            peer.connect().await;
        }
        peer.send(Packet::ConnAck(connack)).await;
        peer
    });
    (session.unwrap(), peer, desk)
}

/// A subscription; the peer grants it.
async fn subscribed(session: &Session, peer: &mut Peer, filter: &str, qos: QoS) -> Subscription {
    let (stream, _) =
        tokio::join!(async { session.subscribe(filter, qos).await.unwrap() }, peer.grant());
    stream
}

async fn next(stream: &mut Subscription) -> Message {
    timeout(PATIENCE, stream.next()).await.unwrap().unwrap()
}

fn arriving(qos: QoS, id: u16, topic: &str) -> Packet {
    let packet_id = PacketId::new(id);
    Packet::Publish(Publish { packet_id, ..message(topic, "x", qos, &[]) })
}

fn again(qos: QoS, id: u16, topic: &str) -> Packet {
    let packet_id = PacketId::new(id);
    Packet::Publish(Publish { dup: true, packet_id, ..message(topic, "x", qos, &[]) })
}

fn kind(qos: QoS) -> AckKind {
    if qos == QoS::ExactlyOnce { AckKind::PubRec } else { AckKind::PubAck }
}

async fn answer(peer: &mut Peer) -> (AckKind, u16) {
    read_answer(&peer.next().await)
}

/// PUBACK or PUBREC.
async fn acked(peer: &mut Peer) -> Ack {
    let packet = peer.next().await;
    let (Packet::PubAck(ack) | Packet::PubRec(ack)) = packet else { panic!("{packet}") };
    ack
}

fn read_answer(packet: &Packet) -> (AckKind, u16) {
    let kinds = [AckKind::PubAck, AckKind::PubRec, AckKind::PubComp];
    let read = |kind: AckKind| Some((kind, packet_id(kind, packet)?));
    kinds.into_iter().find_map(read).unwrap_or_else(|| panic!("not an answer: {packet:?}"))
}

fn packet_id(kind: AckKind, packet: &Packet) -> Option<u16> {
    let (Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack)) = packet else {
        return None;
    };
    (kind.packet(ack.clone()) == *packet).then(|| ack.packet_id.get())
}
