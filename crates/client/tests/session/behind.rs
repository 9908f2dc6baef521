//! A connection that takes less than is published: QoS 0 waits, and holds up nothing else.

use std::{
    future::{Future, IntoFuture},
    task::{Context, Waker},
    time::Duration,
};

use postrider::{Bytes, DisconnectError, QoS, Session};
use postrider_proto::wire::{AckKind, ConnAck, Packet, PacketId};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::peer::{PATIENCE, Peer, Success, builder, connect, message, until};

/// Payload of which few fill whatever a session has room for.
const LARGE_LEN: usize = 64 * 1024;

/// How often a session is woken for nothing, at most.
const WAKES: u16 = 1000;

/// Publishes at QoS 0 until one more would wait; returns how many are on their way.
async fn flood(session: &Session) -> usize {
    let payload = Bytes::from(vec![0; LARGE_LEN]);
    let mut count = 0;
    loop {
        count += 1;
        let mut publishing = Box::pin(session.publish("flood", &payload).into_future());
        let mut turns = 0;
        while publishing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            turns += 1;
            if turns > 100 {
                // Dropped, it goes in all the same.
                return count;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Reads what was published before; nothing is lost, and all has its order.
async fn read_flood(peer: &mut Peer, count: usize) {
    for _ in 0..count {
        let publish = peer.publish().await;
        assert_eq!(publish.topic.unwrap(), "flood");
        assert_eq!(publish.payload.len(), LARGE_LEN);
    }
}

/// While the server reads nothing: what must not be lost is stored at once, behind whatever waits.
#[tokio::test]
async fn what_is_to_be_stored_does_not_wait_for_a_connection_that_is_behind() {
    let folder = TempDir::new().unwrap();
    let (builder, desk) = builder();
    let (session, mut peer, _desk) =
        connect(builder.store(folder.path()), desk, ConnAck::default_success()).await;
    let count = flood(&session).await;
    assert_eq!(session.stats().queued, 0, "QoS 0 waits before the session");
    let stored = session.publish("kept", "").qos(QoS::AtLeastOnce).stored();
    let receipt = timeout(PATIENCE, stored).await.unwrap().unwrap();
    session.publish("last", "").await.unwrap();
    read_flood(&mut peer, count).await;
    let kept = peer.publish().await;
    assert_eq!(kept.topic.unwrap(), "kept");
    peer.ack(AckKind::PubAck, kept.packet_id).await;
    receipt.await.unwrap();
    assert_eq!(peer.publish().await.topic.unwrap(), "last");
}

/// Nor does a verb.
#[tokio::test]
async fn verbs_do_not_wait_for_a_connection_that_is_behind() {
    let (builder, desk) = builder();
    let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let count = flood(&session).await;
    let serving = async {
        for left in (0..count).rev() {
            let packet = peer.next().await;
            if let Packet::Subscribe(subscribe) = &packet {
                peer.agree(subscribe).await;
                return left + 1;
            }
            assert!(matches!(packet, Packet::Publish(_)), "{packet:?}");
        }
        0
    };
    let (stream, left) =
        tokio::join!(async { session.subscribe("a", QoS::AtMostOnce).await }, serving);
    let _stream = stream.unwrap();
    assert!(left > 0, "it did not wait for all of the {count} before it");
    read_flood(&mut peer, left).await;
}

/// Whoever leaves is not held up for longer than was said; and with a server that reads on, nothing is lost.
#[tokio::test]
async fn leaving_takes_along_what_waits() {
    for is_read in [true, false] {
        let (builder, desk) = builder();
        let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
        let count = flood(&session).await;
        if is_read {
            let (left, ()) = tokio::join!(session.disconnect(), async {
                read_flood(&mut peer, count).await;
                assert!(matches!(peer.next().await, Packet::Disconnect(_)));
            });
            left.unwrap();
        } else {
            let leaving = session.disconnect_with().flush(Duration::from_millis(10));
            let left = timeout(PATIENCE, leaving.into_future()).await.unwrap();
            assert!(matches!(left, Err(DisconnectError::Unfinished { messages: 1.. })), "{left:?}");
        }
    }
}

/// So does the last handle.
#[tokio::test]
async fn the_last_handle_takes_along_what_waits() {
    let (builder, desk) = builder();
    let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let count = flood(&session).await;
    drop(session);
    read_flood(&mut peer, count).await;
    assert!(matches!(peer.next().await, Packet::Disconnect(_)));
}

/// What waits for a connection that is lost is dropped and counted, as all of QoS 0 without one.
#[tokio::test]
async fn what_waits_is_lost_with_the_connection_and_counted() {
    let (builder, desk) = builder();
    let (session, peer, mut desk) = connect(builder, desk, ConnAck::default_success()).await;
    let count = flood(&session).await;
    drop(peer);
    let mut peer = desk.accept(ConnAck::default_success().resumed()).await;
    until(|| session.connected().is_some()).await;
    session.publish("fence", "").await.unwrap();
    assert_eq!(peer.publish().await.topic.unwrap(), "fence");
    let dropped = session.stats().dropped_offline;
    assert!(dropped > 0 && dropped < u64::try_from(count).unwrap(), "{dropped} of {count}");
}

/// Nor behind the session's own bounds, for longer than until these have room for what is before it.
#[tokio::test]
async fn a_verb_takes_along_what_waits_whatever_else_wakes_the_session() {
    let (builder, desk) = builder();
    let builder = builder.manual_acknowledgement().queue_bytes(4 * LARGE_LEN as u64);
    let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let (stream, _) =
        tokio::join!(async { session.subscribe("a", QoS::AtLeastOnce).await }, peer.grant());
    let mut stream = stream.unwrap();
    let mut entrusted = Vec::new();
    for id in 1..=WAKES {
        let mut publish = message("a", "", QoS::AtLeastOnce, &[]);
        publish.packet_id = PacketId::new(id);
        peer.send(Packet::Publish(publish)).await;
        entrusted.push(stream.next().await.unwrap());
    }
    let (count, payload) = (40_usize, Bytes::from(vec![0; LARGE_LEN]));
    for _ in 0..count {
        session.publish("flood", &payload).await.unwrap();
    }
    let serving = async {
        let mut left = count;
        for message in entrusted {
            // Wakes the session, and asks nothing of it.
            drop(message.ack());
            let packet = peer.next().await;
            if let Packet::Subscribe(subscribe) = &packet {
                peer.agree(subscribe).await;
                break;
            }
            left -= usize::from(matches!(packet, Packet::Publish(_)));
        }
        left
    };
    let (stream, left) =
        tokio::join!(async { session.subscribe("b", QoS::AtMostOnce).await }, serving);
    let _stream = stream.unwrap();
    assert!(left > 0, "it did not wait for all of the {count} before it");
}

/// Publications given up while the session is full do not fill the memory: beyond a bound of messages and one of bytes the
/// session refuses them.
#[tokio::test]
async fn publications_that_are_dropped_while_there_is_no_room_are_bounded() {
    for (count, len) in [(3000, 1), (60, 1024 * 1024)] {
        let (builder, desk) = builder();
        let (session, _peer, _desk) =
            connect(builder.queue_messages(1), desk, ConnAck::default_success()).await;
        let payload = Bytes::from(vec![0; len]);
        for _ in 0..count {
            let publish = session.publish("a", &payload).qos(QoS::AtLeastOnce);
            let mut publishing = Box::pin(publish.into_future());
            assert!(publishing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(publishing);
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        let refused = session.stats().refused;
        assert!(refused > count / 4, "{refused} of {count} times {len} bytes");
    }
}
