//! Leaving.

use std::{
    future::{Future, IntoFuture},
    task::{Context, Waker},
    time::Duration,
};

use postrider::{
    DisconnectError, Property, PublishError, QoS, ReasonCode, Session, SessionEnd, Stream,
    StreamEnd,
};
use postrider_proto::wire::{AckKind, ConnAck, Disconnect, Packet};
use tokio::{io::BufWriter, time::timeout};

use crate::peer::{PATIENCE, Peer, Success, at_desk_with, builder, connect, connected};

/// What is said when a session leaves; then the peer closes.
async fn goodbye(
    leaving: impl Future<Output = Result<(), DisconnectError>>,
    mut peer: Peer,
) -> Disconnect {
    let (left, packet) = tokio::join!(leaving, async {
        let packet = peer.next().await;
        drop(peer);
        packet
    });
    left.unwrap();
    let Packet::Disconnect(disconnect) = packet else { panic!("no DISCONNECT: {packet:?}") };
    disconnect
}

/// v5 [MQTT-3.14.4-1].
#[tokio::test]
async fn a_disconnect_waits_for_what_is_open() {
    let (session, mut peer, _desk) = connected().await;
    let (stream, _) =
        tokio::join!(async { session.subscribe("a", QoS::AtMostOnce).await }, peer.grant(),);
    let stream = stream.unwrap();
    let receipt = session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let (left, ()) = tokio::join!(session.disconnect(), async {
        let id = peer.publish().await.packet_id;
        peer.ack(AckKind::PubAck, id).await;
        let Packet::Disconnect(disconnect) = peer.next().await else { panic!("DISCONNECT") };
        assert_eq!(disconnect.reason, ReasonCode::Success);
        // The session began clean, so nobody will ask for it.
        assert_eq!(disconnect.properties.session_expiry_interval(), Some(&0));
        assert_eq!(peer.try_next().await, None);
        drop(peer);
    });
    left.unwrap();
    receipt.await.unwrap();
    assert_eq!(stream.ended(), Some(StreamEnd::Over(SessionEnd::Disconnected)));
    assert_eq!(session.ended(), Some(SessionEnd::Disconnected));
    session.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_disconnect_that_does_not_wait_says_what_is_open() {
    let (session, mut peer, _desk) = connected().await;
    session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let (left, ()) =
        tokio::join!(async { session.disconnect_with().flush(Duration::ZERO).await }, async {
            peer.publish().await;
            assert!(matches!(peer.next().await, Packet::Disconnect(_)));
            drop(peer);
        });
    assert_eq!(left, Err(DisconnectError::Unfinished { messages: 1 }));
}

#[tokio::test]
async fn a_disconnect_can_say_more() {
    let (builder, desk) = builder();
    let builder = builder.clean_start(false).session_expiry(Duration::from_secs(60));
    let (session, peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let request = session
        .disconnect_with()
        .reason(ReasonCode::DisconnectWithWill)
        .session_expiry(Duration::from_secs(7))
        .explanation("lunch");
    let disconnect = goodbye(request.into_future(), peer).await;
    assert_eq!(disconnect.reason, ReasonCode::DisconnectWithWill);
    assert_eq!(disconnect.properties.session_expiry_interval(), Some(&7));
    assert_eq!(disconnect.properties.reason_string().unwrap(), "lunch");
}

/// What the server knows already is not said again.
#[tokio::test]
async fn a_disconnect_does_not_repeat_the_session_expiry() {
    let (builder, desk) = builder();
    let builder = builder.clean_start(false).session_expiry(Duration::from_secs(60));
    let (session, peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let request = session.disconnect_with().session_expiry(Duration::from_secs(60));
    let disconnect = goodbye(request.into_future(), peer).await;
    assert_eq!(disconnect.properties.session_expiry_interval(), None);
}

/// Without a DISCONNECT the server would publish the will.
#[tokio::test]
async fn what_a_disconnect_cannot_say_is_refused_before_anything_ends() {
    let (session, peer, _desk) = connected().await;
    let wrong = session.disconnect_with().property(Property::ServerKeepAlive(7)).await;
    assert_eq!(wrong, Err(DisconnectError::Property("ServerKeepAlive")));
    let wrong = session.disconnect_with().reason(ReasonCode::GrantedQoS1).await;
    assert_eq!(wrong, Err(DisconnectError::Reason(ReasonCode::GrantedQoS1)));
    assert_eq!(session.ended(), None);
    let request = session.disconnect_with().property(Property::SessionExpiryInterval(7));
    let disconnect = goodbye(request.into_future(), peer).await;
    assert_eq!(disconnect.properties.session_expiry_interval(), Some(&7));
}

#[tokio::test]
async fn a_session_to_be_resumed_keeps_its_expiry() {
    let (builder, desk) = builder();
    let builder = builder.clean_start(false);
    let (session, peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let disconnect = goodbye(session.disconnect(), peer).await;
    assert!(disconnect.properties.is_empty());
}

#[tokio::test]
async fn the_last_handle_flushes_and_says_goodbye() {
    let (session, mut peer, _desk) = connected().await;
    let copy = session.clone();
    drop(session);
    drop(copy.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap());
    copy.publish("a", "y").await.unwrap();
    drop(copy);
    let id = peer.publish().await.packet_id;
    assert_eq!(peer.publish().await.payload, "y");
    peer.ack(AckKind::PubAck, id).await;
    assert!(matches!(peer.next().await, Packet::Disconnect(_)));
    assert_eq!(peer.try_next().await, None);
}

#[tokio::test]
async fn a_stream_keeps_the_session_alive() {
    let (session, mut peer, _desk) = connected().await;
    let (stream, _) =
        tokio::join!(async { session.subscribe("a", QoS::AtMostOnce).await }, peer.grant(),);
    let mut stream = stream.unwrap();
    drop(session);
    peer.deliver("a", "x", QoS::AtMostOnce, &[]).await;
    assert_eq!(stream.next().await.unwrap().text(), Ok("x"));
    drop(stream);
    peer.release().await;
    assert!(matches!(peer.next().await, Packet::Disconnect(_)));
}

/// Whoever leaves waits no longer than was said behind publishers that find no room, with a server that acknowledges nothing.
#[tokio::test]
async fn a_disconnect_does_not_wait_for_room_for_what_was_published_before() {
    let (builder, desk) = builder();
    let (session, mut peer, _desk) =
        connect(builder.queue_messages(2), desk, ConnAck::default_success()).await;
    let publish = || async { session.publish("a", "x").qos(QoS::AtLeastOnce).await };
    let leave = async {
        let leaving = session.disconnect_with().flush(Duration::from_millis(10));
        timeout(PATIENCE, leaving.into_future()).await.expect("an end in time")
    };
    let (first, second, third, left, ()) =
        tokio::join!(publish(), publish(), publish(), leave, async {
            peer.publish().await;
            peer.publish().await;
            assert!(matches!(peer.next().await, Packet::Disconnect(_)));
            drop(peer);
        });
    assert_eq!(left, Err(DisconnectError::Unfinished { messages: 2 }));
    for open in [first, second] {
        assert!(matches!(open, Err(PublishError::Over(_))), "{open:?}");
    }
    assert!(matches!(third, Err(PublishError::QueueFull { messages: 2, .. })), "{third:?}");
}

/// Nor is a slow connection closed before it has taken what was published at QoS 0.
#[tokio::test]
async fn a_disconnect_waits_until_everything_is_written() {
    let (session, peer, _desk) = connected().await;
    leaves_behind_what_is_written(session, peer).await;
}

/// What TLS or a WebSocket has taken, and not given to a slow connection yet, is not written.
#[tokio::test]
async fn a_disconnect_waits_until_everything_is_flushed() {
    let builder = Session::builder("mqtt://peer", "me").keep_alive(Duration::ZERO);
    let layer = |ours| Stream::new(BufWriter::with_capacity(64 * 1024, ours));
    let (builder, desk) = at_desk_with(builder, layer);
    let (session, peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    leaves_behind_what_is_written(session, peer).await;
}

async fn leaves_behind_what_is_written(session: Session, mut peer: Peer) {
    let payload = vec![0; 10_000];
    for _ in 0..4 {
        session.publish("a", payload.as_slice()).await.unwrap();
    }
    let mut leaving = session.disconnect_with().into_future();
    for _ in 0..100 {
        assert!(leaving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(session.ended(), None, "it has not said that it leaves");
    let (left, ()) = tokio::join!(leaving, async {
        for _ in 0..4 {
            peer.publish().await;
        }
        assert!(matches!(peer.next().await, Packet::Disconnect(_)));
        drop(peer);
    });
    left.unwrap();
}

/// Of two who leave, the one with less patience decides.
#[tokio::test]
async fn a_disconnect_need_not_wait_as_long_as_another_one() {
    let (session, mut peer, _desk) = connected().await;
    session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let leave = |flush| session.disconnect_with().flush(flush).into_future();
    let (patient, hasty, ()) = timeout(PATIENCE, async {
        tokio::join!(leave(Duration::MAX), leave(Duration::ZERO), async {
            peer.publish().await;
            assert!(matches!(peer.next().await, Packet::Disconnect(_)));
            drop(peer);
        })
    })
    .await
    .expect("an end in time");
    assert_eq!(patient, Err(DisconnectError::Unfinished { messages: 1 }));
    assert_eq!(hasty, Err(DisconnectError::Unfinished { messages: 1 }));
}

/// Also where both wait behind publishers that find no room.
#[tokio::test]
async fn nor_behind_publishers_who_wait_for_room() {
    let (builder, desk) = builder();
    let (session, mut peer, _desk) =
        connect(builder.queue_messages(1), desk, ConnAck::default_success()).await;
    let publish = || async { session.publish("a", "x").qos(QoS::AtLeastOnce).await };
    let leave = |flush| session.disconnect_with().flush(flush).into_future();
    let (_, refused, patient, hasty, ()) = timeout(PATIENCE, async {
        tokio::join!(publish(), publish(), leave(Duration::MAX), leave(Duration::ZERO), async {
            peer.publish().await;
            assert!(matches!(peer.next().await, Packet::Disconnect(_)));
            drop(peer);
        })
    })
    .await
    .expect("an end in time");
    assert!(matches!(refused, Err(PublishError::QueueFull { messages: 1, .. })), "{refused:?}");
    assert_eq!(patient, Err(DisconnectError::Unfinished { messages: 1 }));
    assert_eq!(hasty, Err(DisconnectError::Unfinished { messages: 1 }));
}
