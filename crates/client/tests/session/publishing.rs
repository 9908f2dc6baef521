//! Publishing: completion, refusals, and futures that are dropped.

use std::{
    future::{Future, IntoFuture},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use postrider::{Event, Properties, Property, PublishError, QoS, ReasonCode, TopicError};
use postrider_proto::wire::{AckKind, ConnAck, Packet};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::peer::{PATIENCE, Success, builder, connect, connected, until};

/// Counts do not wait for something else to happen.
#[tokio::test]
async fn what_was_written_last_is_counted() {
    let (session, mut peer, _desk) = connected().await;
    let before = session.stats().bytes_sent;
    session.publish("a", "1").await.unwrap();
    peer.publish().await;
    assert_eq!(session.stats().bytes_sent - before, 7);
}

#[tokio::test]
async fn an_awaited_publish_ends_with_its_exchange() {
    let (session, mut peer, _desk) = connected().await;
    let (published, ()) =
        tokio::join!(async { session.publish("a", "1").qos(QoS::AtLeastOnce).await }, async {
            let publish = peer.publish().await;
            let reason = ReasonCode::NoMatchingSubscribers;
            peer.answer(AckKind::PubAck, publish.packet_id, reason).await;
        },);
    let published = published.unwrap();
    assert_eq!((published.number, published.reason), (1, ReasonCode::NoMatchingSubscribers));
    let (published, ()) =
        tokio::join!(async { session.publish("a", "2").qos(QoS::ExactlyOnce).await }, async {
            let id = peer.publish().await.packet_id;
            peer.ack(AckKind::PubRec, id).await;
            assert!(matches!(peer.next().await, Packet::PubRel(_)));
            peer.ack(AckKind::PubComp, id).await;
        },);
    assert_eq!(published.unwrap().number, 2);
    assert_eq!(session.publish("a", "3").await.unwrap().number, 0);
    assert_eq!(peer.publish().await.payload, "3");
    assert_eq!(session.stats().published, 3);
}

#[tokio::test]
async fn a_refused_message_is_an_error_with_its_reason() {
    let (session, mut peer, _desk) = connected().await;
    for (qos, kind) in [(QoS::AtLeastOnce, AckKind::PubAck), (QoS::ExactlyOnce, AckKind::PubRec)] {
        let (published, ()) =
            tokio::join!(async { session.publish("a", "1").qos(qos).await }, async {
                let id = peer.publish().await.packet_id;
                peer.answer(kind, id, ReasonCode::NotAuthorized).await;
            });
        let error = published.unwrap_err();
        let reason = ReasonCode::NotAuthorized;
        assert_eq!(
            error,
            PublishError::Refused { reason, explanation: None, properties: Properties::new() }
        );
        assert!(error.to_string().contains("not authorized (0x87)"), "{error}");
    }
}

#[tokio::test]
async fn a_downgraded_message_says_so() {
    let (session, mut peer, _desk) = connected().await;
    let (published, ()) =
        tokio::join!(async { session.publish("a", "1").qos(QoS::ExactlyOnce).await }, async {
            let id = peer.publish().await.packet_id;
            peer.ack(AckKind::PubAck, id).await;
        });
    assert!(published.unwrap().is_downgraded);
}

/// v5 [MQTT-4.3.3-8]: a session that is told to be strict takes no PUBACK for QoS 2.
#[tokio::test]
async fn a_downgrade_ends_a_strict_session() {
    let (builder, desk) = builder();
    let builder = builder.strict_qos2(true);
    let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let _receipt = session.publish("a", "1").qos(QoS::ExactlyOnce).receipt().await.unwrap();
    let id = peer.publish().await.packet_id;
    peer.ack(AckKind::PubAck, id).await;
    let packet = peer.next().await;
    assert!(matches!(packet, Packet::Disconnect(ref it) if it.reason == ReasonCode::ProtocolError));
}

#[tokio::test]
async fn receipts_let_many_messages_be_on_their_way() {
    let (session, mut peer, _desk) = connected().await;
    let mut receipts = Vec::new();
    for number in 1..=5 {
        let receipt = session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
        assert_eq!(receipt.message_number(), number);
        receipts.push(receipt);
    }
    assert_eq!(session.publish("a", "x").receipt().await.unwrap().message_number(), 0);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(peer.publish().await.packet_id);
    }
    for id in ids {
        peer.ack(AckKind::PubAck, id).await;
    }
    for (receipt, number) in receipts.into_iter().zip(1..) {
        assert_eq!(receipt.await.unwrap().number, number);
    }
}

/// A runtime of one thread: the driver does not run until the test waits, so that the mailbox fills up.
#[tokio::test]
async fn a_future_once_polled_loses_nothing_when_it_is_dropped() {
    const COUNT: usize = 3000;
    let (session, mut peer, _desk) = connected().await;
    let mut cx = Context::from_waker(Waker::noop());
    let mut pending = 0;
    for turn in 0..COUNT {
        let qos = if turn % 2 == 0 { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let mut future = Box::pin(session.publish("a", turn.to_string()).qos(qos).into_future());
        pending += usize::from(future.as_mut().poll(&mut cx).is_pending());
    }
    assert!(pending > COUNT / 2, "the mailbox was full: {pending}");
    drop(session.publish("a", "never polled"));
    for turn in 0..COUNT {
        let publish = peer.publish().await;
        assert_eq!(publish.payload, turn.to_string());
        if publish.qos == QoS::AtLeastOnce {
            peer.ack(AckKind::PubAck, publish.packet_id).await;
        }
    }
}

#[tokio::test]
async fn a_publish_dropped_at_any_poll_arrives_once() {
    let (session, mut peer, _desk) = connected().await;
    let mut cx = Context::from_waker(Waker::noop());
    for polls in 1..4 {
        let request = session.publish("a", polls.to_string()).qos(QoS::ExactlyOnce);
        let mut future = Box::pin(request.into_future());
        for _ in 0..polls {
            assert!(future.as_mut().poll(&mut cx).is_pending());
            tokio::task::yield_now().await;
        }
        drop(future);
        let publish = peer.publish().await;
        assert_eq!(publish.payload, polls.to_string());
        peer.ack(AckKind::PubRec, publish.packet_id).await;
        assert!(matches!(peer.next().await, Packet::PubRel(_)));
        peer.ack(AckKind::PubComp, publish.packet_id).await;
    }
    session.publish("fence", "").await.unwrap();
    assert_eq!(peer.publish().await.topic.unwrap(), "fence");
}

/// v5 [MQTT-3.2.2-15].
#[tokio::test]
async fn a_payload_above_the_servers_limit_is_refused_with_the_largest_that_fits() {
    let (builder, desk) = builder();
    let connack = ConnAck::default_success().with(Property::MaximumPacketSize(100));
    let (session, mut peer, _desk) = connect(builder, desk, connack).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let error = session.publish("topic", vec![0; 20_000]).qos(qos).await.unwrap_err();
        let PublishError::TooLarge { topic, payload, payload_max } = error else {
            panic!("{error:?}")
        };
        assert_eq!((topic.as_str(), payload), ("topic", 20_000));
        let largest = usize::try_from(payload_max).unwrap();
        let error = session.publish("topic", vec![0; largest + 1]).qos(qos).await.unwrap_err();
        let payload = u64::try_from(largest + 1).unwrap();
        assert_eq!(error, PublishError::TooLarge { topic, payload, payload_max });
        let receipt = session.publish("topic", vec![0; largest]).qos(qos).receipt().await.unwrap();
        let publish = peer.publish().await;
        assert_eq!(publish.payload.len(), largest);
        if qos != QoS::AtMostOnce {
            peer.ack(AckKind::PubAck, publish.packet_id).await;
        }
        receipt.await.unwrap();
    }
}

#[tokio::test]
async fn what_the_server_does_not_offer_is_refused_at_once() {
    let (builder, desk) = builder();
    let connack = ConnAck::default_success()
        .with(Property::RetainAvailable(false))
        .with(Property::MaximumQoS(1));
    let (session, _peer, _desk) = connect(builder, desk, connack).await;
    let error = session.publish("a", "").retain(true).await.unwrap_err();
    assert_eq!(error, PublishError::NotOffered("retain"));
    let error = session.publish("a", "").qos(QoS::ExactlyOnce).await.unwrap_err();
    assert_eq!(error, PublishError::NotOffered("QoS 2"));
}

#[tokio::test]
async fn a_wrong_topic_is_named_with_its_byte() {
    let (session, _peer, _desk) = connected().await;
    let error = session.publish("plant/+/temp", "").await.unwrap_err();
    assert_eq!(error.wildcard_at(), Some(6));
    assert!(error.to_string().contains("'plant/+/temp'"), "{error}");
    assert!(error.to_string().contains("byte 6"), "{error}");
    let error = session.publish("", "").qos(QoS::AtLeastOnce).receipt().await.unwrap_err();
    let PublishError::Topic(wrong) = error else { panic!("{error:?}") };
    assert_eq!(wrong.error, TopicError::Empty);
}

#[tokio::test]
async fn properties_travel() {
    let (session, mut peer, _desk) = connected().await;
    session
        .publish("a", "{}")
        .content_type("application/json")
        .response_topic("re/a")
        .correlation_data("7")
        .expiry(std::time::Duration::from_secs(9))
        .mark_text()
        .user_property("k", "v")
        .await
        .unwrap();
    let properties = peer.publish().await.properties;
    assert_eq!(properties.content_type().unwrap(), "application/json");
    assert_eq!(properties.response_topic().unwrap(), "re/a");
    assert_eq!(properties.correlation_data().unwrap(), "7");
    assert_eq!(properties.message_expiry_interval(), Some(&9));
    assert_eq!(properties.payload_format_indicator(), Some(&1));
    assert_eq!(properties.user_properties().count(), 1);
    let error = session.publish("a", "").content_type("\0").await.unwrap_err();
    assert!(error.to_string().contains("content type"), "{error}");
}

/// While connected, a full session holds publishers up; each acknowledgement lets one in.
#[tokio::test]
async fn a_full_queue_holds_publishers_up_while_connected() {
    let (builder, desk) = builder();
    let builder = builder.queue_messages(2);
    let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let first = session.publish("a", "1").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let _second = session.publish("a", "2").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let third = session.publish("a", "3").qos(QoS::AtLeastOnce).receipt();
    let mut third = Box::pin(third);
    let mut cx = Context::from_waker(Waker::noop());
    let id = peer.publish().await.packet_id;
    assert_eq!(peer.publish().await.payload, "2");
    assert!(third.as_mut().poll(&mut cx).is_pending());
    peer.ack(AckKind::PubAck, id).await;
    assert_eq!(third.await.unwrap().message_number(), 3);
    first.await.unwrap();
    assert_eq!(peer.publish().await.payload, "3");
}

/// Without a connection nobody could wait for room: a full queue refuses.
#[tokio::test]
async fn a_full_queue_refuses_while_not_connected() {
    let (builder, desk) = builder();
    let (session, peer, _desk) =
        connect(builder.queue_messages(2), desk, ConnAck::default_success()).await;
    drop(peer);
    let mut events = session.events();
    while !matches!(events.next().await, Some(Event::Disconnected { .. })) {}
    for _ in 0..2 {
        session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    }
    let error = session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap_err();
    assert!(matches!(error, PublishError::QueueFull { messages: 2, .. }), "{error:?}");
    assert_eq!(session.publish("a", "x").await, Err(PublishError::NotConnected));
}

/// What waits for its turn at QoS 0 goes with the connection, and is counted.
#[tokio::test]
async fn what_a_lost_connection_takes_along_at_qos_0_is_counted() {
    let (session, peer, mut desk) = connected().await;
    for _ in 0..100 {
        session.publish("a", vec![b'x'; 64 * 1024]).await.unwrap();
    }
    drop(peer);
    let _peer = desk.accept(ConnAck::default_success()).await;
    until(|| session.stats().connections >= 2).await;
    let stats = session.stats();
    assert!((1..=100).contains(&stats.dropped_offline), "{stats:?}");
    assert_eq!((stats.queued, stats.refused), (0, 0));
}

/// A message that is refused when nobody waits for it any more is counted, and told by an event.
#[tokio::test]
async fn a_refusal_that_nobody_waits_for_is_counted_and_told() {
    let (builder, desk) = builder();
    let connack = ConnAck::default_success().with(Property::MaximumQoS(0));
    let (session, _peer, _desk) = connect(builder, desk, connack).await;
    let mut events = session.events();
    let mut publishing = Box::pin(session.publish("a", "x").qos(QoS::AtLeastOnce).into_future());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(publishing.as_mut().poll(&mut cx).is_pending());
    drop(publishing);
    let error = loop {
        if let Event::PublishFailed { error, .. } = events.next().await.unwrap() {
            break error;
        }
    };
    assert!(matches!(error, PublishError::NotOffered(_)), "{error:?}");
    until(|| session.stats().refused > 0).await;
    assert_eq!(session.stats().refused, 1);
}

/// It is said at once, not when the exchange is over.
#[tokio::test]
async fn without_a_store_nothing_waits_to_be_stored() {
    let (session, mut peer, _desk) = connected().await;
    let mut receipt = session.publish("a", "").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    // Asked for before the session has looked at the message, and then looked at only when that wakes.
    let (sender, mut woken) = tokio::sync::mpsc::unbounded_channel();
    let waker = Waker::from(Arc::new(Bell(sender)));
    let mut cx = Context::from_waker(&waker);
    let mut stored = Box::pin(receipt.stored());
    assert!(stored.as_mut().poll(&mut cx).is_pending());
    timeout(PATIENCE, woken.recv()).await.expect("an answer in time");
    assert_eq!(stored.as_mut().poll(&mut cx), Poll::Ready(Err(PublishError::NotStored)));
    drop(stored);
    let id = peer.publish().await.packet_id;
    peer.ack(AckKind::PubAck, id).await;
    receipt.await.unwrap();
}

#[tokio::test]
async fn nothing_is_stored_at_qos_0() {
    let folder = TempDir::new().unwrap();
    let (builder, desk) = builder();
    let builder = builder.store(folder.path());
    let (session, _peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let mut receipt = session.publish("a", "").receipt().await.unwrap();
    assert_eq!(receipt.stored().await, Err(PublishError::NotStored));
}

/// Says when it is woken.
struct Bell(tokio::sync::mpsc::UnboundedSender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.send(()).ok();
    }
}
