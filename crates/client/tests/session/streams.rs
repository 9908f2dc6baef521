//! Subscriptions: which stream gets what, and what ends one.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Waker},
};

use postrider::{
    Properties, Property, Protocol, QoS, ReasonCode, RetainHandling, Session, StreamEnd,
    SubscribeError, Subscription, Version,
};
use postrider_proto::wire::{ConnAck, Packet, SubAck, Subscribe};

use crate::peer::{Peer, Success, builder, connect, connected, until};

/// Subscribes, and gives the identifier that the session has chosen.
async fn subscribe(session: &Session, peer: &mut Peer, filter: &str) -> (Subscription, u32) {
    let (stream, asked) =
        tokio::join!(async { session.subscribe(filter, QoS::AtLeastOnce).await }, peer.grant(),);
    let identifier = asked.properties.subscription_identifier().copied();
    (stream.unwrap(), identifier.unwrap_or(0))
}

async fn texts(stream: &mut Subscription, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(stream.next().await.unwrap().text().unwrap().to_owned());
    }
    texts
}

/// v5 [MQTT-3.3.4-3] [MQTT-3.3.4-4]: a copy for each filter, and one copy for all of them, come out the same.
#[tokio::test]
async fn identifiers_route_whatever_copies_the_server_sends() {
    let (session, mut peer, _desk) = connected().await;
    let (mut all, none) = subscribe(&session, &mut peer, "a/#").await;
    assert_eq!(none, 0, "a filter that overlaps no other needs no identifier");
    let (mut beside, none) = subscribe(&session, &mut peer, "b").await;
    assert_eq!(none, 0);
    let (level, (again, asked)) =
        tokio::join!(async { session.subscribe("a/+", QoS::AtLeastOnce).await }, async {
            (peer.grant().await, peer.grant().await)
        },);
    let mut level = level.unwrap();
    let id = |asked: &Subscribe| asked.properties.subscription_identifier().copied().unwrap();
    let (all_id, level_id) = (id(&again), id(&asked));
    assert_ne!(all_id, level_id);
    assert_eq!(again.filters[0].filter, "a/#");
    assert_eq!(again.filters[0].options.retain_handling, RetainHandling::SendIfNew);
    assert_eq!(asked.filters[0].options.retain_handling, RetainHandling::Send);
    peer.deliver("a/b", "one copy", QoS::AtMostOnce, &[level_id, all_id]).await;
    peer.deliver("a/b", "copies", QoS::AtMostOnce, &[level_id]).await;
    peer.deliver("a/b", "copies", QoS::AtMostOnce, &[all_id]).await;
    peer.deliver("a/b", "no identifier", QoS::AtMostOnce, &[]).await;
    // Of a process before us: the identifier means nothing, the topic does.
    peer.deliver("a/b/c", "old identifier", QoS::AtMostOnce, &[level_id]).await;
    peer.deliver("a/b", "fence", QoS::AtMostOnce, &[all_id, level_id]).await;
    peer.deliver("b", "beside", QoS::AtMostOnce, &[]).await;
    assert_eq!(texts(&mut beside, 1).await, ["beside"]);
    let wanted = ["one copy", "copies", "no identifier", "old identifier", "fence"];
    assert_eq!(texts(&mut all, 5).await, wanted);
    assert_eq!(texts(&mut level, 4).await, ["one copy", "copies", "no identifier", "fence"]);
}

#[tokio::test]
async fn without_identifiers_the_topic_routes() {
    let (builder, desk) = builder();
    let connack = ConnAck::default_success().with(Property::SubscriptionIdentifierAvailable(false));
    let (session, mut peer, _desk) = connect(builder, desk, connack).await;
    let (mut exact, _) = subscribe(&session, &mut peer, "a/b").await;
    let (mut level, id) = subscribe(&session, &mut peer, "a/+").await;
    assert_eq!(id, 0, "the server has none");
    let (mut shared, _) = subscribe(&session, &mut peer, "$share/g/a/#").await;
    for (topic, text) in [("a/b", "1"), ("a/c", "2"), ("a/c", "3"), ("a", "4"), ("a/b", "5")] {
        peer.deliver(topic, text, QoS::AtMostOnce, &[]).await;
    }
    assert_eq!(texts(&mut exact, 2).await, ["1", "5"]);
    assert_eq!(texts(&mut level, 4).await, ["1", "2", "3", "5"]);
    assert_eq!(texts(&mut shared, 5).await, ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn options_travel() {
    let (session, mut peer, _desk) = connected().await;
    let request = session
        .subscribe("a", QoS::ExactlyOnce)
        .no_local(true)
        .retain_as_published(true)
        .retain_handling(RetainHandling::DoNotSend)
        .identifier(77)
        .user_property("k", "v");
    let (stream, asked) = tokio::join!(request.into_future(), peer.grant());
    assert_eq!(stream.unwrap().granted(), QoS::ExactlyOnce);
    let options = asked.filters[0].options;
    assert!(options.no_local);
    assert!(options.retain_as_published);
    assert_eq!(options.retain_handling, RetainHandling::DoNotSend);
    assert_eq!(asked.properties.subscription_identifier(), Some(&77));
    assert_eq!(asked.properties.user_properties().count(), 1);
    let error = session.subscribe("a", QoS::AtMostOnce).identifier(0).await.unwrap_err();
    assert_eq!(error, SubscribeError::Identifier(0));
}

#[tokio::test]
async fn a_refused_filter_is_an_error_with_its_reason() {
    let (session, mut peer, _desk) = connected().await;
    let (stream, ()) =
        tokio::join!(async { session.subscribe("a", QoS::AtMostOnce).await }, async {
            let packet_id = peer.subscribe().await.packet_id;
            let reasons = vec![ReasonCode::NotAuthorized];
            let properties = Properties::new();
            peer.send(Packet::SubAck(SubAck { packet_id, properties, reasons })).await;
        });
    let error = stream.unwrap_err();
    let reason = ReasonCode::NotAuthorized;
    let filter = "a".to_owned();
    assert_eq!(
        error,
        SubscribeError::Refused {
            filter,
            reason,
            explanation: None,
            properties: Properties::new()
        }
    );
    // Nothing is unsubscribed that was never there.
    session.publish("fence", "").await.unwrap();
    assert_eq!(peer.publish().await.topic.unwrap(), "fence");
}

#[tokio::test]
async fn a_wrong_filter_is_named_with_its_byte() {
    let (session, _peer, _desk) = connected().await;
    let error = session.subscribe("a/b#/c", QoS::AtMostOnce).await.unwrap_err();
    assert_eq!(error.wildcard_at(), Some(3));
    assert!(error.to_string().contains("'a/b#/c'"), "{error}");
    assert!(session.unsubscribe("").await.is_err());
}

#[tokio::test]
async fn a_dropped_stream_is_unsubscribed_with_the_last_of_its_filter() {
    let (session, mut peer, _desk) = connected().await;
    let (first, _) = subscribe(&session, &mut peer, "a").await;
    let (mut second, _) = subscribe(&session, &mut peer, "a").await;
    drop(first);
    peer.deliver("a", "still there", QoS::AtMostOnce, &[]).await;
    assert_eq!(texts(&mut second, 1).await, ["still there"]);
    drop(second);
    let unsubscribe = peer.release().await;
    assert_eq!(unsubscribe.filters[0], "a");
}

#[tokio::test]
async fn an_unsubscribed_stream_gives_what_came_before() {
    let (session, mut peer, _desk) = connected().await;
    let (mut stream, _) = subscribe(&session, &mut peer, "a").await;
    peer.deliver("a", "before", QoS::AtMostOnce, &[]).await;
    let (unsubscribed, ()) = tokio::join!(session.unsubscribe("a"), async {
        peer.deliver("a", "while", QoS::AtMostOnce, &[]).await;
        peer.release().await;
    });
    unsubscribed.unwrap();
    assert_eq!(texts(&mut stream, 2).await, ["before", "while"]);
    assert!(stream.next().await.is_none());
    assert_eq!(stream.ended(), Some(StreamEnd::Unsubscribed));
}

#[tokio::test]
async fn a_stream_can_be_unsubscribed_by_itself() {
    let (session, mut peer, _desk) = connected().await;
    let (stream, _) = subscribe(&session, &mut peer, "a").await;
    let (unsubscribed, asked) = tokio::join!(stream.unsubscribe(), peer.release());
    unsubscribed.unwrap();
    assert_eq!(asked.filters[0], "a");
    session.unsubscribe_all().await.unwrap();
}

#[tokio::test]
async fn a_subscribe_that_is_given_up_is_taken_back() {
    let (session, mut peer, _desk) = connected().await;
    let mut future = session.subscribe("a", QoS::AtMostOnce).into_future();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    peer.grant().await;
    drop(future);
    assert_eq!(peer.release().await.filters[0], "a");
}

#[tokio::test]
async fn messages_that_nobody_asked_for_wait_for_a_subscription() {
    let (session, mut peer, _desk) = connected().await;
    for (topic, text) in [("a/1", "one"), ("b", "two"), ("a/2", "three")] {
        peer.deliver(topic, text, QoS::AtLeastOnce, &[]).await;
        assert!(matches!(peer.next().await, Packet::PubAck(_)));
    }
    let (mut stream, _) = subscribe(&session, &mut peer, "a/+").await;
    peer.deliver("a/3", "four", QoS::AtMostOnce, &[]).await;
    assert_eq!(texts(&mut stream, 3).await, ["one", "three", "four"]);
    let mut unmatched = session.unmatched();
    assert_eq!(unmatched.next().await.unwrap().text(), Ok("two"));
    peer.deliver("c", "five", QoS::AtMostOnce, &[]).await;
    assert_eq!(unmatched.next().await.unwrap().text(), Ok("five"));
}

#[tokio::test]
async fn messages_that_nobody_asks_for_are_kept_up_to_a_bound_and_counted() {
    let (session, mut peer, _desk) = connected().await;
    for turn in 0..1004 {
        peer.deliver("a", &turn.to_string(), QoS::AtMostOnce, &[]).await;
    }
    peer.deliver("a", "1004", QoS::AtLeastOnce, &[]).await;
    assert!(matches!(peer.next().await, Packet::PubAck(_)));
    let (mut stream, _) = subscribe(&session, &mut peer, "a").await;
    peer.deliver("a", "fence", QoS::AtMostOnce, &[]).await;
    let first = texts(&mut stream, 1000).await;
    assert_eq!((first[0].as_str(), first[999].as_str()), ("5", "1004"));
    assert_eq!(texts(&mut stream, 1).await, ["fence"]);
    assert_eq!(session.stats().dropped_unmatched, 5);
}

/// Whoever prints a session into a log prints no messages.
#[tokio::test]
async fn a_session_shows_none_of_its_messages() {
    let (session, mut peer, _desk) = connected().await;
    let (stream, _) = subscribe(&session, &mut peer, "a").await;
    peer.deliver("a", "hush", QoS::AtMostOnce, &[]).await;
    until(|| stream.waiting() > 0).await;
    let mut publishing = session.publish("a", "hush").qos(QoS::AtLeastOnce).into_future();
    // It is in the mailbox then: the driver has had no turn.
    let _ = Pin::new(&mut publishing).poll(&mut Context::from_waker(Waker::noop()));
    for shown in [format!("{session:?}"), format!("{stream:?}")] {
        assert!(!shown.contains("hush"), "{shown}");
    }
}

/// Grants `a/+` and `a/b`, for which no identifier is asked.
async fn grant_unidentified(peer: &mut Peer) {
    let mut granted = Vec::new();
    while granted.len() < 2 {
        let subscribe = peer.grant().await;
        assert!(subscribe.properties.is_empty(), "{subscribe:?}");
        granted.extend(subscribe.filters.iter().map(|line| line.filter.to_string()));
    }
    assert_eq!(granted, ["a/+", "a/b"]);
}

/// What only we wanted of the server is given up where another one does not offer it: identifiers, and the options with
/// which filters are subscribed again.
#[tokio::test]
async fn overlapping_filters_outlive_a_server_without_identifiers() {
    for version in [Version::V5, Version::V311] {
        let (builder, desk) = builder();
        let builder = builder.version(Protocol::Auto).clean_start(false);
        let (session, mut peer, mut desk) =
            connect(builder, desk, ConnAck::default_success()).await;
        let filters = ["a/+", "a/b"].map(|filter| (filter, QoS::AtMostOnce));
        let (streams, ..) = tokio::join!(session.subscribe_many(filters).into_future(), async {
            peer.grant().await;
            peer.grant().await;
        });
        let mut streams: Vec<_> = streams.unwrap().into_iter().map(Result::unwrap).collect();
        drop(peer);
        let mut peer = desk.next().await;
        peer.connect().await;
        if version == Version::V311 {
            // No answer that 5.0 knows.
            drop(peer);
            peer = desk.next().await;
            peer.connect().await;
            assert!(peer.is_v311());
        }
        let lacking = Property::SubscriptionIdentifierAvailable(false);
        let connack = match version {
            Version::V5 => ConnAck::default_success().with(lacking),
            Version::V311 | Version::V31 => ConnAck::default_success(),
        };
        peer.send(Packet::ConnAck(connack)).await;
        grant_unidentified(&mut peer).await;
        peer.deliver("a/b", "both", QoS::AtMostOnce, &[]).await;
        for stream in &mut streams {
            assert_eq!(stream.next().await.unwrap().text(), Ok("both"));
        }
    }
}

/// The same for what is asked for between two connections, when nobody knows what the next server offers.
#[tokio::test]
async fn overlapping_filters_may_be_subscribed_before_a_server_without_identifiers() {
    let (session, mut peer, mut desk) = connected().await;
    let (mut first, _) = subscribe(&session, &mut peer, "a/+").await;
    drop(peer);
    let mut peer = desk.next().await;
    peer.connect().await;
    until(|| session.connected().is_none()).await;
    let mut asking = session.subscribe("a/b", QoS::AtMostOnce).into_future();
    assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let lacking = Property::SubscriptionIdentifierAvailable(false);
    peer.send(Packet::ConnAck(ConnAck::default_success().with(lacking))).await;
    let (second, ()) = tokio::join!(asking, grant_unidentified(&mut peer));
    peer.deliver("a/b", "both", QoS::AtMostOnce, &[]).await;
    for stream in [&mut first, &mut second.unwrap()] {
        assert_eq!(texts(stream, 1).await, ["both"]);
    }
}
