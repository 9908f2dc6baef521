//! What becomes of messages when a reader is too slow: a policy for each stream.

use std::time::Duration;

use postrider::{Builder, QoS, Session, StreamEnd, Subscription, WhenSlow};
use postrider_proto::wire::{AckKind, ConnAck, Packet};

use crate::peer::{Peer, Success, builder, connect};

const ROOM: usize = 4;

/// A session whose full streams stop everything for an hour, if they may.
async fn session(with: impl FnOnce(Builder) -> Builder) -> (Session, Peer) {
    let (builder, desk) = builder();
    let builder = builder.stream_messages(ROOM).stall_budget(Duration::from_secs(3600));
    let (session, peer, _desk) = connect(with(builder), desk, ConnAck::default_success()).await;
    (session, peer)
}

async fn subscribe(
    session: &Session,
    peer: &mut Peer,
    filter: &str,
    when_slow: WhenSlow,
) -> Subscription {
    let request = session.subscribe(filter, QoS::AtLeastOnce).when_slow(when_slow);
    let (stream, _) = tokio::join!(async { request.await }, peer.grant());
    stream.unwrap()
}

/// Everything that was sent before has been handed over.
async fn fence(session: &Session, peer: &mut Peer) {
    let (published, ()) =
        tokio::join!(async { session.publish("fence", "").qos(QoS::AtLeastOnce).await }, async {
            let id = peer.publish().await.packet_id;
            peer.ack(AckKind::PubAck, id).await;
        });
    published.unwrap();
}

fn rest(stream: &mut Subscription) -> Vec<String> {
    let messages = std::iter::from_fn(|| stream.try_next());
    messages.map(|message| format!("{} {}", message.topic(), message.text().unwrap())).collect()
}

/// The acknowledgements go out too: nobody reads, and nothing is held up.
#[tokio::test]
async fn drop_oldest_never_holds_up_and_counts() {
    let (session, mut peer) = session(|builder| builder).await;
    let mut stream = subscribe(&session, &mut peer, "a", WhenSlow::DropOldest).await;
    for turn in 0..=ROOM {
        assert_eq!(session.stats().dropped_slow, 0, "at {turn}");
        peer.deliver("a", &turn.to_string(), QoS::AtLeastOnce, &[]).await;
        assert!(matches!(peer.next().await, Packet::PubAck(_)));
    }
    for turn in 5..100 {
        peer.deliver("a", &turn.to_string(), QoS::AtMostOnce, &[]).await;
    }
    fence(&session, &mut peer).await;
    assert_eq!(stream.waiting(), ROOM);
    assert_eq!(rest(&mut stream), ["a 96", "a 97", "a 98", "a 99"]);
    let stats = session.stats();
    assert_eq!((stats.dropped_slow, stats.dropped_outdated, stats.slow_streams), (96, 0, 0));
    peer.deliver("a", "100", QoS::AtMostOnce, &[]).await;
    assert_eq!(stream.next().await.unwrap().text(), Ok("100"));
}

#[tokio::test]
async fn keep_latest_keeps_one_message_of_each_topic() {
    let (session, mut peer) = session(|builder| builder).await;
    let mut stream = subscribe(&session, &mut peer, "+", WhenSlow::KeepLatest).await;
    for turn in 0..50 {
        for topic in ["a", "b", "c"] {
            peer.deliver(topic, &turn.to_string(), QoS::AtMostOnce, &[]).await;
        }
    }
    peer.deliver("a", "last", QoS::AtMostOnce, &[]).await;
    fence(&session, &mut peer).await;
    assert_eq!(rest(&mut stream), ["b 49", "c 49", "a last"]);
    assert_eq!((session.stats().dropped_outdated, session.stats().dropped_slow), (148, 0));
    // At the bound, and one topic over it.
    for topic in ["a", "b", "c", "d", "e"] {
        peer.deliver(topic, "x", QoS::AtMostOnce, &[]).await;
    }
    fence(&session, &mut peer).await;
    assert_eq!(rest(&mut stream), ["b x", "c x", "d x", "e x"]);
    assert_eq!((session.stats().dropped_outdated, session.stats().dropped_slow), (148, 1));
}

#[tokio::test]
async fn fail_ends_the_stream_at_its_bound() {
    let (session, mut peer) = session(|builder| builder).await;
    let mut stream = subscribe(&session, &mut peer, "a", WhenSlow::Fail).await;
    for turn in 0..=ROOM {
        assert_eq!(stream.ended(), None, "at {turn}");
        peer.deliver("a", &turn.to_string(), QoS::AtMostOnce, &[]).await;
        if turn < ROOM {
            fence(&session, &mut peer).await;
        }
    }
    assert_eq!(peer.release().await.filters[0], "a");
    assert_eq!(rest(&mut stream), ["a 0", "a 1", "a 2", "a 3"]);
    assert!(stream.next().await.is_none());
    assert_eq!(stream.ended(), Some(StreamEnd::TooSlow));
    assert_eq!(session.stats().slow_streams, 1);
}

/// Design, section 8: a stream that blocks has its budget, and others their own policies beside it.
#[tokio::test]
async fn each_stream_has_its_own_policy() {
    let (session, mut peer) = session(|builder| builder).await;
    let mut drops = subscribe(&session, &mut peer, "a", WhenSlow::DropOldest).await;
    let mut latest = subscribe(&session, &mut peer, "a", WhenSlow::KeepLatest).await;
    let mut blocks = subscribe(&session, &mut peer, "a", WhenSlow::Block).await;
    for turn in 0..ROOM + 1 {
        peer.deliver("a", &turn.to_string(), QoS::AtMostOnce, &[]).await;
    }
    fence(&session, &mut peer).await;
    assert_eq!(rest(&mut drops), ["a 1", "a 2", "a 3", "a 4"]);
    assert_eq!(rest(&mut latest), ["a 4"]);
    assert_eq!(rest(&mut blocks), ["a 0", "a 1", "a 2", "a 3", "a 4"]);
}

/// What is dropped is dropped for good: it does not come again, and does not hold later acknowledgements back.
#[tokio::test]
async fn what_is_dropped_counts_as_acknowledged_by_hand() {
    for (when_slow, left) in [(WhenSlow::DropOldest, ROOM), (WhenSlow::KeepLatest, 1)] {
        let (session, mut peer) = session(Builder::manual_acknowledgement).await;
        let mut stream = subscribe(&session, &mut peer, "a", when_slow).await;
        for turn in 0..10_u16 {
            let mut message = crate::peer::message("a", &turn.to_string(), QoS::AtLeastOnce, &[]);
            message.packet_id = postrider_proto::wire::PacketId::new(turn + 1);
            peer.send(Packet::Publish(message)).await;
        }
        for turn in 0..10 - u16::try_from(left).unwrap() {
            let Packet::PubAck(ack) = peer.next().await else { panic!("no PUBACK") };
            assert_eq!(ack.packet_id.get(), turn + 1);
        }
        for _ in 0..left {
            stream.next().await.unwrap().ack().await.unwrap();
            assert!(matches!(peer.next().await, Packet::PubAck(_)));
        }
        assert_eq!(
            session.stats().dropped_slow + session.stats().dropped_outdated,
            10 - left as u64
        );
    }
}
