//! Several streams on one filter, and streams of filters that overlap.

use postrider::{Protocol, QoS, Session, Subscription};
use postrider_proto::wire::{ConnAck, Packet, Publish};
use postrider_testing::TestBroker;
use tokio::time::timeout;

use crate::peer::{PATIENCE, Peer, Success, connected, message};

async fn subscribe(session: &Session, peer: &mut Peer, filter: &str) -> (Subscription, u32) {
    let (stream, asked) =
        tokio::join!(async { session.subscribe(filter, QoS::AtLeastOnce).await }, peer.grant());
    (stream.unwrap(), asked.properties.subscription_identifier().copied().unwrap_or(0))
}

async fn retained(peer: &mut Peer, text: &str, ids: &[u32]) {
    let publish = Publish { retain: true, ..message("a", text, QoS::AtMostOnce, ids) };
    peer.send(Packet::Publish(publish)).await;
}

async fn text(stream: &mut Subscription) -> String {
    let message = timeout(PATIENCE, stream.next()).await.expect("a message in time").unwrap();
    message.text().unwrap().to_owned()
}

/// v5 [MQTT-3.3.1-12] [MQTT-3.3.4-3]: a retained message is the answer to one SUBSCRIBE.
#[tokio::test]
async fn a_stream_per_filter_and_several_on_one_filter_get_retained_messages_once() {
    let (session, mut peer, mut desk) = connected().await;
    let (mut first, id) = subscribe(&session, &mut peer, "a").await;
    assert_eq!(id, 0, "nothing needs to be told apart");
    retained(&mut peer, "first", &[]).await;
    let (mut second, second_id) = subscribe(&session, &mut peer, "a").await;
    let (third, third_id) = subscribe(&session, &mut peer, "a").await;
    assert!(second_id != 0 && third_id != 0 && second_id != third_id);
    // The server is late with what the first one asked for.
    retained(&mut peer, "first, late", &[]).await;
    retained(&mut peer, "second", &[second_id]).await;
    // For a stream that is gone meanwhile.
    drop(third);
    retained(&mut peer, "third", &[third_id]).await;
    peer.deliver("a", "live", QoS::AtMostOnce, &[third_id]).await;
    assert_eq!(
        [text(&mut first).await, text(&mut first).await, text(&mut first).await],
        ["first", "first, late", "live"]
    );
    assert_eq!([text(&mut second).await, text(&mut second).await], ["second", "live"]);

    // After the server lost the session, what it retains may be new to all of them.
    drop(peer);
    let mut peer = desk.accept(ConnAck::default_success()).await;
    let again = peer.grant().await;
    assert_eq!(again.properties.subscription_identifier(), Some(&third_id));
    retained(&mut peer, "again", &[third_id]).await;
    assert_eq!([text(&mut first).await, text(&mut second).await], ["again", "again"]);
}

/// An identifier that the program chose is what its messages have.
#[tokio::test]
async fn an_identifier_of_the_program_stays_when_a_second_stream_comes() {
    let (session, mut peer, _desk) = connected().await;
    let (first, _) = tokio::join!(
        async { session.subscribe("a", QoS::AtLeastOnce).identifier(77).await },
        peer.grant()
    );
    let (mut first, (mut second, id)) = (first.unwrap(), subscribe(&session, &mut peer, "a").await);
    assert_eq!(id, 77);
    retained(&mut peer, "both", &[77]).await;
    assert_eq!([text(&mut first).await, text(&mut second).await], ["both", "both"]);
}

/// Whoever acknowledges by hand must not be asked about a copy that nobody gets.
#[tokio::test]
async fn a_retained_message_for_a_stream_that_is_gone_is_acknowledged() {
    let (builder, desk) = crate::peer::builder();
    let builder = builder.manual_acknowledgement();
    let (session, mut peer, _desk) =
        crate::peer::connect(builder, desk, ConnAck::default_success()).await;
    let (_first, _) = subscribe(&session, &mut peer, "a").await;
    let (second, id) = subscribe(&session, &mut peer, "a").await;
    drop(second);
    let publish = Publish { retain: true, ..message("a", "late", QoS::AtLeastOnce, &[id]) };
    peer.send(Packet::Publish(publish)).await;
    assert!(matches!(peer.next().await, Packet::PubAck(_)));
}

/// Against a broker, in both versions: each stream has each message once, the retained one too where 5.0 tells whose it is.
#[tokio::test]
async fn overlapping_filters_are_delivered_to_each_subscription() {
    for protocol in [Protocol::V5, Protocol::V311] {
        let broker = TestBroker::start().unwrap();
        let builder = Session::builder(broker.url(), "me").version(protocol);
        let session = builder.connect().await.unwrap();
        session.publish("a/b", "kept").qos(QoS::AtLeastOnce).retain(true).await.unwrap();
        let mut streams = Vec::new();
        for filter in ["a/b", "a/+", "a/#", "#", "a/b", "a/+"] {
            streams.push(session.subscribe(filter, QoS::AtLeastOnce).await.unwrap());
        }
        for turn in 0..10 {
            session.publish("a/b", turn.to_string()).qos(QoS::AtLeastOnce).await.unwrap();
        }
        session.publish("a/b", "fence").qos(QoS::AtLeastOnce).await.unwrap();
        let wanted: Vec<String> = (0..10).map(|turn: i32| turn.to_string()).collect();
        for stream in &mut streams {
            let (mut live, mut kept) = (Vec::new(), 0);
            loop {
                let message = timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
                match (message.text().unwrap(), message.is_retained()) {
                    ("kept", true) => kept += 1,
                    ("fence", false) => break,
                    (text, false) => live.push(text.to_owned()),
                    (text, true) => panic!("'{text}' was not retained"),
                }
            }
            if protocol == Protocol::V5 {
                assert_eq!(live, wanted, "{}", stream.filter());
                assert_eq!(kept, 1, "{}", stream.filter());
            } else {
                // The server may send a copy for each of the four filters, and says not which is whose.
                live.dedup();
                assert_eq!(live, wanted, "{}", stream.filter());
                assert!(kept >= 1);
            }
        }
        session.disconnect().await.unwrap();
    }
}
