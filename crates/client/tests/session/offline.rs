//! Publishing while there is no broker: bounds, policies, stages, and what is told afterwards.

use std::{future::Future, task::Poll, time::Duration};

use postrider::{
    Builder, Event, Protocol, PublishError, Published, QoS, Receipt, Session, Stage, WhenFull,
};
use postrider_proto::wire::{AckKind, ConnAck, Packet, ReasonCode};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::peer::{Desk, PATIENCE, Success, builder, connect, until};

/// At, under and over the bound in messages.
#[tokio::test]
async fn a_full_queue_refuses_unless_told_otherwise() {
    let (session, desk) = start(|builder| builder.queue_messages(3)).await;
    for (at, topic) in ["a", "b", "c"].into_iter().enumerate() {
        assert_eq!(queue(&session, topic, "x").await.unwrap().message_number(), at as u64 + 1);
    }
    let full = PublishError::QueueFull { messages: 3, bytes: 6 };
    assert_eq!(queue(&session, "d", "x").await.unwrap_err(), full);
    expect(&session, desk, &["a x", "b x", "c x"]).await;
    assert_eq!(session.stats().dropped_full, 1);
}

/// At, under and over the bound in bytes.
#[tokio::test]
async fn bytes_count_as_well_as_messages() {
    let (session, desk) = start(|builder| builder.queue_bytes(10)).await;
    queue(&session, "a", "1234").await.unwrap();
    queue(&session, "b", "123").await.unwrap();
    let full = PublishError::QueueFull { messages: 2, bytes: 9 };
    assert_eq!(queue(&session, "c", "1").await.unwrap_err(), full);
    queue(&session, "d", "").await.unwrap();
    expect(&session, desk, &["a 1234", "b 123", "d "]).await;
}

#[tokio::test]
async fn a_full_queue_drops_the_newest() {
    let (session, desk) =
        start(|builder| builder.queue_messages(2).when_full(WhenFull::DropNewest)).await;
    queue(&session, "a", "x").await.unwrap();
    queue(&session, "b", "x").await.unwrap();
    assert_eq!(queue(&session, "c", "x").await.unwrap_err(), PublishError::Dropped);
    expect(&session, desk, &["a x", "b x"]).await;
    assert_eq!(session.stats().dropped_full, 1);
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_says_so() {
    let (session, desk) =
        start(|builder| builder.queue_messages(2).when_full(WhenFull::DropOldest)).await;
    let mut events = session.events();
    let first = queue(&session, "a", "x").await.unwrap();
    queue(&session, "b", "x").await.unwrap();
    assert_eq!(session.pending().await.unwrap().len(), 2);
    queue(&session, "c", "x").await.unwrap();
    queue(&session, "d", "x").await.unwrap();
    assert_eq!(first.await.unwrap_err(), PublishError::Dropped);
    // Nobody waits for the second.
    let told = Event::PublishFailed { number: 2, error: PublishError::Dropped };
    while events.next().await != Some(told.clone()) {}
    expect(&session, desk, &["c x", "d x"]).await;
    assert_eq!(session.stats().dropped_full, 2);
}

#[tokio::test]
async fn only_the_latest_of_a_topic_is_kept() {
    let (session, desk) =
        start(|builder| builder.queue_messages(2).when_full(WhenFull::KeepLatest)).await;
    let first = queue(&session, "a", "1").await.unwrap();
    queue(&session, "b", "2").await.unwrap();
    queue(&session, "a", "3").await.unwrap();
    assert_eq!(first.await.unwrap_err(), PublishError::Superseded);
    // Two topics fit.
    let full = PublishError::QueueFull { messages: 2, bytes: 4 };
    assert_eq!(queue(&session, "c", "4").await.unwrap_err(), full);
    queue(&session, "b", "5").await.unwrap();
    expect(&session, desk, &["a 3", "b 5"]).await;
    let stats = session.stats();
    assert_eq!((stats.dropped_superseded, stats.dropped_full), (2, 1));
}

#[tokio::test]
async fn the_latest_of_a_topic_is_known_to_the_next_process() {
    let folder = TempDir::new().unwrap();
    let with = |builder: Builder| builder.store(folder.path()).when_full(WhenFull::KeepLatest);
    let (session, _desk) = start(with).await;
    queue(&session, "a", "1").await.unwrap();
    queue(&session, "b", "2").await.unwrap();
    session.disconnect().await.unwrap();
    let (session, desk) = start(with).await;
    queue(&session, "a", "3").await.unwrap();
    expect(&session, desk, &["b 2", "a 3"]).await;
}

#[tokio::test]
async fn publishers_wait_for_room_if_they_are_told_to() {
    let (session, desk) =
        start(|builder| builder.queue_messages(2).when_full(WhenFull::Wait)).await;
    queue(&session, "a", "x").await.unwrap();
    queue(&session, "b", "x").await.unwrap();
    let mut third = Box::pin(queue(&session, "c", "x"));
    assert!(is_pending(&mut third).await);
    let (_, third) = tokio::join!(expect(&session, desk, &["a x", "b x", "c x"]), third);
    assert_eq!(third.unwrap().message_number(), 3);
}

/// Nor do they wait for a connection behind what has expired.
#[tokio::test]
async fn publishers_wait_for_room_until_messages_expire() {
    let (session, _desk) =
        start(|builder| builder.queue_messages(1).when_full(WhenFull::Wait)).await;
    for expiry in [Duration::ZERO, Duration::from_secs(1)] {
        let publish = session.publish("a", "x").qos(QoS::AtLeastOnce).expiry(expiry);
        let expired = publish.receipt().await.unwrap();
        let next = session.publish("b", "x").qos(QoS::AtLeastOnce).expiry(Duration::ZERO);
        timeout(PATIENCE, next.receipt()).await.expect("room in time").unwrap();
        assert_eq!(expired.await.unwrap_err(), PublishError::Expired);
    }
}

/// A program that waits for a connection can still leave.
#[tokio::test]
async fn a_disconnect_does_not_wait_behind_publishers() {
    let (session, _desk) =
        start(|builder| builder.queue_messages(1).when_full(WhenFull::Wait)).await;
    queue(&session, "a", "x").await.unwrap();
    let mut second = Box::pin(queue(&session, "b", "x"));
    assert!(is_pending(&mut second).await);
    let (left, second) = tokio::join!(session.disconnect(), second);
    assert!(left.is_err(), "one message is not confirmed");
    assert!(second.is_err());
}

/// v5 [MQTT-3.3.2-5]: what expired in the queue is not sent, and its publisher hears of it.
#[tokio::test]
async fn a_message_expires_in_the_queue() {
    let (session, desk) = start(|builder| builder.queue_messages(2)).await;
    let publish = session.publish("a", "x").qos(QoS::AtLeastOnce).expiry(Duration::ZERO);
    let expired = publish.receipt().await.unwrap();
    queue(&session, "b", "x").await.unwrap();
    // It gives way to another one, too.
    queue(&session, "c", "x").await.unwrap();
    assert_eq!(expired.await.unwrap_err(), PublishError::Expired);
    let publish = session.publish("d", "x").qos(QoS::AtLeastOnce).expiry(Duration::ZERO);
    assert!(publish.receipt().await.is_err(), "full of messages that have not expired");
    expect(&session, desk, &["b x", "c x"]).await;
    assert_eq!(session.stats().dropped_expired, 1);
}

#[tokio::test]
async fn a_publication_can_be_awaited_at_every_stage() {
    let folder = TempDir::new().unwrap();
    let with = |builder: Builder| builder.store(folder.path());
    let (session, _desk) = start(with).await;
    let mut queued = queue(&session, "a", "x").await.unwrap();
    queued.stored().await.unwrap();
    let publish = session.publish("b", "x").qos(QoS::ExactlyOnce);
    let number = publish.stored().await.unwrap().message_number();
    let loose = session.publish("c", "x").stored().await;
    assert_eq!(loose.unwrap_err(), PublishError::NotStored);
    session.disconnect().await.unwrap();
    assert!(matches!(queued.await, Err(PublishError::Over(_))));

    let (session, mut desk) = start(with).await;
    let mut again = session.receipt(number).await.unwrap();
    again.stored().await.unwrap();
    let pending = session.pending().await.unwrap();
    let seen: Vec<_> = pending.iter().map(|it| (it.number, it.topic.as_deref())).collect();
    assert_eq!(seen, [(1, Some("a")), (2, Some("b"))]);
    assert!(pending.iter().all(|it| it.stage == Stage::Queued && it.age.is_some()));
    assert_eq!(session.receipt(3).await.unwrap_err(), PublishError::NotOpen(3));
    let mut peer = desk.accept(ConnAck::default_success()).await;
    let [one, two] = [peer.publish().await, peer.publish().await];
    assert_eq!(stages(&session).await, [Stage::Sent, Stage::Sent]);
    peer.ack(AckKind::PubAck, one.packet_id).await;
    peer.ack(AckKind::PubRec, two.packet_id).await;
    assert!(matches!(peer.next().await, Packet::PubRel(_)));
    assert_eq!(stages(&session).await, [Stage::Received]);
    let other = session.receipt(number).await.unwrap();
    peer.ack(AckKind::PubComp, two.packet_id).await;
    for receipt in [again, other] {
        let published: Published = receipt.await.unwrap();
        assert_eq!((published.number, published.reason), (number, ReasonCode::Success));
    }
    assert_eq!(session.receipt(number).await.unwrap_err(), PublishError::NotOpen(number));
}

#[tokio::test]
async fn nothing_is_stored_without_a_store() {
    let (session, _desk) = start(|builder| builder).await;
    let mut receipt = queue(&session, "a", "x").await.unwrap();
    assert_eq!(receipt.stored().await, Err(PublishError::NotStored));
    let mut again = session.receipt(1).await.unwrap();
    assert_eq!(again.stored().await, Err(PublishError::NotStored));
    let publish = session.publish("b", "x").qos(QoS::AtLeastOnce).stored().await;
    assert_eq!(publish.unwrap_err(), PublishError::NotStored);
    assert_eq!(session.pending().await.unwrap().len(), 1, "the second was not published");
}

/// v5 [MQTT-3.2.2-5]: one report says what became of everything that was open.
#[tokio::test]
async fn a_lost_session_is_reported_in_one_piece() {
    for is_failed in [false, true] {
        let (settings, desk) = builder();
        let settings = settings.fail_doubtful(is_failed);
        let (session, mut peer, mut desk) =
            connect(settings, desk, ConnAck::default_success()).await;
        let mut receipts = Vec::new();
        for (topic, qos) in
            [("a", QoS::AtLeastOnce), ("b", QoS::ExactlyOnce), ("c", QoS::ExactlyOnce)]
        {
            receipts.push(session.publish(topic, "x").qos(qos).receipt().await.unwrap());
        }
        let [_, _, third] = [peer.publish().await, peer.publish().await, peer.publish().await];
        peer.ack(AckKind::PubRec, third.packet_id).await;
        assert!(matches!(peer.next().await, Packet::PubRel(_)));
        drop(peer);
        let mut peer = desk.accept(ConnAck::default_success()).await;
        assert_eq!(peer.publish().await.topic.unwrap().as_str(), "a");
        let restarted = session.connected().unwrap().restarted.expect("three were open");
        assert_eq!(restarted.completed, [3]);
        let doubtful = &[2][..];
        let none = &[][..];
        let (again, failed) = if is_failed { (none, doubtful) } else { (doubtful, none) };
        assert_eq!((&*restarted.may_be_double, &*restarted.failed), (again, failed));
        assert_eq!(restarted.resent, if is_failed { 1 } else { 2 });
        assert_eq!(receipts.pop().unwrap().await.unwrap().number, 3);
        if is_failed {
            let error = receipts.pop().unwrap().await.unwrap_err();
            assert_eq!(error, PublishError::SessionLost);
        } else {
            assert_eq!(peer.publish().await.topic.unwrap().as_str(), "b");
        }
    }
}

/// A session that was started without a broker.
async fn start(with: impl FnOnce(Builder) -> Builder) -> (Session, Desk) {
    let (builder, desk) = builder();
    let session = with(builder.version(Protocol::V5)).start().await.unwrap();
    (session, desk)
}

async fn queue(session: &Session, topic: &str, payload: &str) -> Result<Receipt, PublishError> {
    session.publish(topic, payload).qos(QoS::AtLeastOnce).receipt().await
}

async fn stages(session: &Session) -> Vec<Stage> {
    session.pending().await.unwrap().iter().map(|message| message.stage).collect()
}

/// Whether a future has to wait, once the driver had its turn.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    for _ in 0..8 {
        let polled = std::future::poll_fn(|cx| {
            Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
        });
        if !polled.await {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}

/// Connects, and takes and acknowledges what comes: this and nothing else.
async fn expect(session: &Session, mut desk: Desk, expected: &[&str]) {
    let mut peer = desk.accept(ConnAck::default_success()).await;
    for expected in expected {
        let publish = peer.publish().await;
        let topic = publish.topic.unwrap();
        let payload = String::from_utf8_lossy(&publish.payload);
        assert_eq!(format!("{} {payload}", topic.as_str()), *expected);
        peer.ack(AckKind::PubAck, publish.packet_id).await;
    }
    let done = async {
        until(|| session.stats().pending() == 0).await;
    };
    timeout(PATIENCE, done).await.expect("nothing else is open");
}

/// What does not fit takes nothing's place.
#[tokio::test]
async fn what_is_refused_supersedes_nothing() {
    let with = |builder: Builder| builder.queue_bytes(16).when_full(WhenFull::KeepLatest);
    let (session, desk) = start(with).await;
    queue(&session, "a", "1").await.unwrap();
    queue(&session, "b", "2").await.unwrap();
    for text in ["longer than the queue", "once more, and still longer"] {
        let refused = queue(&session, "a", text).await.unwrap_err();
        assert_eq!(refused, PublishError::QueueFull { messages: 2, bytes: 4 });
    }
    expect(&session, desk, &["a 1", "b 2"]).await;
    assert_eq!(session.stats().dropped_superseded, 0);
}
