//! Streams whose reader is too slow.

use std::time::Duration;

use postrider::{QoS, Session, StreamEnd, Subscription};
use postrider_proto::wire::{AckKind, ConnAck, Packet};
use tokio::task::JoinSet;

use crate::peer::{Peer, Success, builder, connect};

const ROOM: usize = 10;

async fn subscribed(stall_budget: Duration) -> (Session, Peer, Subscription) {
    let (builder, desk) = builder();
    let builder = builder.stream_messages(ROOM).stall_budget(stall_budget);
    let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let (stream, _) =
        tokio::join!(async { session.subscribe("a", QoS::AtLeastOnce).await }, peer.grant(),);
    (session, peer, stream.unwrap())
}

#[tokio::test]
async fn a_full_stream_stops_reading_and_nothing_is_lost() {
    const COUNT: usize = 2000;
    let (session, mut peer, mut stream) = subscribed(Duration::from_secs(3600)).await;
    let sender = tokio::spawn(async move {
        for turn in 0..COUNT {
            peer.deliver("a", &turn.to_string(), QoS::AtMostOnce, &[]).await;
        }
        peer
    });
    for turn in 0..COUNT {
        let message = stream.next().await.unwrap();
        assert_eq!(message.text().unwrap(), turn.to_string());
        // One read of the pipe between us holds at most 128 messages of 8 bytes or more.
        assert!(stream.waiting() <= ROOM + 128, "{} are waiting", stream.waiting());
        tokio::task::yield_now().await;
    }
    drop(sender.await.unwrap());
    assert_eq!(session.stats().dropped_slow, 0);
}

/// The keep alive passes several times; the server hears pings, and is not blamed for answers that nobody reads.
#[tokio::test]
async fn a_stall_longer_than_the_keep_alive_ends_nothing() {
    let (builder, desk) = builder();
    let builder = builder.stream_messages(ROOM).stall_budget(Duration::MAX);
    let builder = builder.keep_alive(Duration::from_secs(1));
    let (session, mut peer, _desk) = connect(builder, desk, ConnAck::default_success()).await;
    let (stream, _) =
        tokio::join!(async { session.subscribe("a", QoS::AtLeastOnce).await }, peer.grant());
    let mut stream = stream.unwrap();
    for turn in 0..5 * ROOM {
        peer.deliver("a", &turn.to_string(), QoS::AtMostOnce, &[]).await;
    }
    for _ in 0..4 {
        assert!(matches!(peer.next().await, Packet::PingReq));
        // It stays in the pipe.
        peer.send(Packet::PingResp).await;
    }
    for turn in 0..5 * ROOM {
        assert_eq!(stream.next().await.unwrap().text().unwrap(), turn.to_string());
    }
    assert_eq!((session.stats().connections, session.stats().dropped_slow), (1, 0));
}

#[tokio::test]
async fn past_its_budget_a_stream_drops_the_oldest_of_qos_0() {
    let (session, mut peer, mut stream) = subscribed(Duration::ZERO).await;
    for turn in 0..100 {
        peer.deliver("a", &turn.to_string(), QoS::AtMostOnce, &[]).await;
    }
    let (published, ()) =
        tokio::join!(async { session.publish("fence", "").qos(QoS::AtLeastOnce).await }, async {
            let id = peer.publish().await.packet_id;
            peer.ack(AckKind::PubAck, id).await;
        });
    published.unwrap();
    for turn in 90..100 {
        assert_eq!(stream.next().await.unwrap().text().unwrap(), turn.to_string());
    }
    assert_eq!(session.stats().dropped_slow, 90);
    assert_eq!(stream.ended(), None);
}

#[tokio::test]
async fn past_its_budget_a_stream_ends_at_qos_1() {
    let (session, mut peer, mut stream) = subscribed(Duration::ZERO).await;
    for turn in 0..=ROOM {
        peer.deliver("a", &turn.to_string(), QoS::AtLeastOnce, &[]).await;
        assert!(matches!(peer.next().await, Packet::PubAck(_)));
    }
    assert_eq!(peer.release().await.filters[0], "a");
    for turn in 0..ROOM {
        assert_eq!(stream.next().await.unwrap().text().unwrap(), turn.to_string());
    }
    assert!(stream.next().await.is_none());
    assert_eq!(stream.ended(), Some(StreamEnd::TooSlow));
    assert_eq!(session.stats().slow_streams, 1);
}

/// Too much waits for an answer: the filter of a slow stream is unsubscribed once there is room for that.
#[tokio::test]
async fn past_its_budget_a_stream_is_unsubscribed_when_it_can_be() {
    let (session, mut peer, stream) = subscribed(Duration::ZERO).await;
    let mut leaving = JoinSet::new();
    for at in 0..1000 {
        let session = session.clone();
        leaving.spawn(async move { session.unsubscribe(&format!("b/{at}")).await });
    }
    let mut asked = Vec::new();
    for _ in 0..1000 {
        asked.push(peer.unsubscribe().await);
    }
    for turn in 0..=ROOM {
        peer.deliver("a", &turn.to_string(), QoS::AtLeastOnce, &[]).await;
        assert!(matches!(peer.next().await, Packet::PubAck(_)));
    }
    assert_eq!(stream.ended(), Some(StreamEnd::TooSlow));
    for unsubscribe in &asked {
        peer.agree_to_leave(unsubscribe).await;
    }
    assert_eq!(peer.release().await.filters, ["a"]);
    leaving.join_all().await.into_iter().for_each(|left| left.unwrap());
}

/// Otherwise a program that publishes while it handles a message would wait for itself.
#[tokio::test]
async fn a_full_stream_does_not_hold_up_the_answer_to_a_verb() {
    let (session, mut peer, mut stream) = subscribed(Duration::from_secs(3600)).await;
    let (published, ()) =
        tokio::join!(async { session.publish("b", "").qos(QoS::AtLeastOnce).await }, async {
            let id = peer.publish().await.packet_id;
            for turn in 0..5 * ROOM {
                peer.deliver("a", &turn.to_string(), QoS::AtMostOnce, &[]).await;
            }
            peer.ack(AckKind::PubAck, id).await;
        });
    published.unwrap();
    for turn in 0..5 * ROOM {
        assert_eq!(stream.next().await.unwrap().text().unwrap(), turn.to_string());
    }
}

#[tokio::test]
async fn the_budget_ends_by_itself() {
    let (session, mut peer, mut stream) = subscribed(Duration::from_millis(30)).await;
    let sender = tokio::spawn(async move {
        for turn in 0..2000 {
            peer.deliver("a", &turn.to_string(), QoS::AtMostOnce, &[]).await;
        }
        peer
    });
    // All of it is read although nobody takes anything.
    drop(sender.await.unwrap());
    let mut events = session.events();
    while !matches!(events.next().await, Some(postrider::Event::Disconnected { .. })) {}
    let mut last = None;
    while let Some(message) = stream.try_next() {
        last = Some(message);
    }
    assert_eq!(last.unwrap().text(), Ok("1999"));
    assert!(session.stats().dropped_slow > 0);
}
