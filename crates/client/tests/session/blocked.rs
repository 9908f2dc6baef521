//! A handler that blocks for ever delays nobody beyond what ordered acknowledgements force, and never pings.

use std::{sync::mpsc, time::Duration};

use postrider::{Builder, Event, QoS, Session, blocking};
use postrider_proto::wire::{AckKind, ConnAck, Packet};

use crate::peer::{PATIENCE, Peer, Success, at_desk, builder, connect};

/// As in production: the keep alive bounds what a full stream may hold up.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Reads on, past messages of other tests' concern, until a PINGREQ came, and answers it.
async fn ping(peer: &mut Peer) {
    while peer.next().await != Packet::PingReq {}
    peer.send(Packet::PingResp).await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_up_neither_pings_nor_verbs_nor_others_for_long() {
    let (builder, desk) = builder();
    let builder = builder.keep_alive(KEEP_ALIVE).stream_messages(4).stall_budget(PATIENCE);
    let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let (blocked, _) =
        tokio::join!(async { session.subscribe("a", QoS::AtMostOnce).await }, peer.grant());
    let (other, _) =
        tokio::join!(async { session.subscribe("b", QoS::AtMostOnce).await }, peer.grant());
    let (blocked, mut other) = (blocked.unwrap(), other.unwrap());
    for turn in 0..1000 {
        peer.deliver("a", &turn.to_string(), QoS::AtMostOnce, &[]).await;
    }
    peer.deliver("b", "beside", QoS::AtMostOnce, &[]).await;
    // Held up, but only for the budget.
    assert_eq!(other.next().await.unwrap().text(), Ok("beside"));
    ping(&mut peer).await;
    ping(&mut peer).await;
    let (published, ()) =
        tokio::join!(async { session.publish("c", "").qos(QoS::AtLeastOnce).await }, async {
            let id = peer.publish().await.packet_id;
            peer.ack(AckKind::PubAck, id).await;
        });
    published.unwrap();
    assert!(session.connected().is_some());
    assert_eq!(blocked.ended(), None);
    assert!(session.stats().dropped_slow > 0);
}

/// With a server that waits for acknowledgements in their order, a message that is not acknowledged holds later ones back:
/// that much the standard forces. Messages come, pings go.
#[tokio::test]
async fn a_message_that_is_never_acknowledged_holds_back_later_acknowledgements_only() {
    let (builder, desk) = builder();
    let builder = builder.keep_alive(KEEP_ALIVE).manual_acknowledgement();
    let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let (a, _) =
        tokio::join!(async { session.subscribe("a", QoS::AtLeastOnce).await }, peer.grant());
    let (b, _) =
        tokio::join!(async { session.subscribe("b", QoS::AtLeastOnce).await }, peer.grant());
    let (mut a, mut b) = (a.unwrap(), b.unwrap());
    let mut second = crate::peer::message("b", "2", QoS::AtLeastOnce, &[]);
    second.packet_id = postrider_proto::wire::PacketId::new(2);
    peer.deliver("a", "1", QoS::AtLeastOnce, &[]).await;
    peer.send(Packet::Publish(second)).await;
    let held = a.next().await.unwrap();
    b.next().await.unwrap().ack().await.unwrap();
    peer.deliver("b", "3", QoS::AtMostOnce, &[]).await;
    assert_eq!(b.next().await.unwrap().text(), Ok("3"));
    // Nothing but pings, until the first one is acknowledged.
    for _ in 0..2 {
        assert_eq!(peer.next().await, Packet::PingReq);
        peer.send(Packet::PingResp).await;
    }
    held.ack().await.unwrap();
    for expected in [1, 2] {
        let mut packet = peer.next().await;
        while packet == Packet::PingReq {
            packet = peer.next().await;
        }
        let Packet::PubAck(ack) = packet else { panic!("{packet:?}") };
        assert_eq!(ack.packet_id.get(), expected);
    }
}

/// The blocking face: the callback has a thread of its own, and never gives it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_blocks_for_ever_delays_neither_verbs_nor_iterators_nor_pings() {
    let (builder, mut desk): (Builder<blocking::Session>, _) =
        at_desk(blocking::Session::builder("mqtt://peer", "me"));
    let builder = builder.version(postrider::Protocol::V5).keep_alive(KEEP_ALIVE);
    let connecting = tokio::task::spawn_blocking(|| builder.connect());
    let mut peer = desk.accept(ConnAck::default_success()).await;
    let session = connecting.await.unwrap().unwrap();
    let (end, is_ended) = mpsc::channel::<()>();
    let (called, is_called) = mpsc::channel();
    let subscribing = session.clone();
    let subscribed = tokio::task::spawn_blocking(move || {
        let blocks = move |_: &blocking::Session, _| {
            called.send(()).unwrap();
            // Until the test is over.
            let _ = is_ended.recv();
        };
        subscribing.subscribe("a", QoS::AtMostOnce, blocks).unwrap();
        subscribing.subscribe_with("b", QoS::AtMostOnce).open().unwrap()
    });
    peer.grant().await;
    peer.grant().await;
    let mut other = subscribed.await.unwrap();
    for turn in 0..5000 {
        peer.deliver("a", &turn.to_string(), QoS::AtMostOnce, &[]).await;
    }
    peer.deliver("b", "beside", QoS::AtMostOnce, &[]).await;
    let next = move || (other.next_within(PATIENCE), other);
    let (message, _other) = tokio::task::spawn_blocking(next).await.unwrap();
    assert_eq!(message.unwrap().text(), Ok("beside"));
    is_called.recv_timeout(PATIENCE).unwrap();
    ping(&mut peer).await;
    let publishing = session.clone();
    let published = tokio::task::spawn_blocking(move || {
        publishing.publish("c", "").qos(QoS::AtLeastOnce).wait()
    });
    let id = peer.publish().await.packet_id;
    peer.ack(AckKind::PubAck, id).await;
    published.await.unwrap().unwrap();
    drop(end);
}

/// A reader of events that never reads delays nobody either, and hears what it missed.
#[tokio::test]
async fn a_listener_that_never_listens_delays_nobody() {
    let (session, mut peer, mut desk) = crate::peer::connected().await;
    let mut events = session.events();
    for _ in 0..200 {
        drop(peer);
        peer = desk.accept(ConnAck::default_success()).await;
    }
    let (published, ()) = tokio::join!(publish(&session), async {
        let id = peer.publish().await.packet_id;
        peer.ack(AckKind::PubAck, id).await;
    });
    published.unwrap();
    assert!(matches!(events.next().await, Some(Event::Missed(1..))));
}

async fn publish(session: &Session) -> Result<postrider::Published, postrider::PublishError> {
    session.publish("c", "").qos(QoS::AtLeastOnce).await
}
