//! Connections that end, and what becomes of the session.

use std::time::Duration;

use postrider::{
    Event, LinkReason, Properties, Property, PublishError, QoS, ReasonCode, SessionEnd, StreamEnd,
};
use postrider_proto::wire::{AckKind, ConnAck, Disconnect, Packet, SubAck};

use tokio::time::timeout;

use crate::peer::{PATIENCE, Success, builder, connect, connected};

#[tokio::test]
async fn events_tell_what_happens_to_the_connection() {
    let (session, peer, mut desk) = connected().await;
    let mut events = session.events();
    let Some(Event::Connected(first)) = events.next().await else { panic!("connected") };
    assert!(!first.session_present);
    assert_eq!(first.server, "tcp://peer:1883");
    drop(peer);
    let Some(Event::Disconnected { reason, retry_in }) = events.next().await else {
        panic!("disconnected")
    };
    assert_eq!(reason, LinkReason::Lost);
    assert!(retry_in.is_some());
    let _peer = desk.accept(ConnAck::default_success().resumed()).await;
    let Some(Event::Connected(second)) = events.next().await else { panic!("connected") };
    assert!(second.session_present);
    assert_eq!(session.connected().as_ref(), Some(&*second));
    assert_eq!(session.stats().reconnects(), 1);
    // A late reader begins with the state of now.
    assert!(matches!(session.events().try_next(), Some(Event::Connected(_))));
}

/// v5 [MQTT-4.4.0-1] [MQTT-3.3.1-1], v3.1.1 [MQTT-4.4.0-1] [MQTT-3.3.1-1].
#[tokio::test]
async fn an_open_exchange_goes_on_after_a_resume() {
    let (session, mut peer, mut desk) = connected().await;
    let receipt = session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let first = peer.publish().await;
    drop(peer);
    let mut peer = desk.accept(ConnAck::default_success().resumed()).await;
    let second = peer.publish().await;
    assert!(second.dup);
    assert_eq!(second.packet_id, first.packet_id);
    peer.ack(AckKind::PubAck, second.packet_id).await;
    assert_eq!(receipt.await.unwrap().number, 1);
    assert_eq!(session.stats().resent, 1);
}

#[tokio::test]
async fn a_lost_session_is_subscribed_again_and_doubt_is_told() {
    let (session, mut peer, mut desk) = connected().await;
    let (stream, _) =
        tokio::join!(async { session.subscribe("a/+", QoS::AtLeastOnce).await }, peer.grant(),);
    let mut stream = stream.unwrap();
    let receipt = session.publish("b", "x").qos(QoS::ExactlyOnce).receipt().await.unwrap();
    peer.publish().await;
    let mut events = session.events();
    drop(peer);
    let mut peer = desk.accept(ConnAck::default_success()).await;
    let asked = peer.grant().await;
    assert_eq!(asked.filters[0].filter, "a/+");
    let again = peer.publish().await;
    assert!(!again.dup);
    peer.deliver("a/b", "after", QoS::AtMostOnce, &[]).await;
    assert_eq!(stream.next().await.unwrap().text(), Ok("after"));
    peer.ack(AckKind::PubRec, again.packet_id).await;
    assert!(matches!(peer.next().await, Packet::PubRel(_)));
    peer.ack(AckKind::PubComp, again.packet_id).await;
    receipt.await.unwrap();
    let mut has_doubt = false;
    while let Some(event) = events.try_next() {
        has_doubt |= event == Event::MayBeDouble { number: 1 };
    }
    assert!(has_doubt);
}

/// Issue 5, section 3: after each connection one event tells the truth: resumed or lost, negotiated limits, number resent,
/// per-filter results of resubscription, expired, `may_be_double`, failed.
#[tokio::test]
async fn one_event_tells_the_truth_about_each_connection() {
    let (builder, desk) = builder();
    let builder = builder.in_flight_max(3);
    let (session, mut peer, mut desk) = connect(builder, desk, ConnAck::default_success()).await;
    for filter in ["kept", "refused"] {
        let subscribe = async { session.subscribe(filter, QoS::AtLeastOnce).await.unwrap() };
        let (stream, _) = tokio::join!(subscribe, peer.grant());
        std::mem::forget(stream);
    }
    let mut receipts = Vec::new();
    for (topic, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce), ("3", QoS::ExactlyOnce)]
    {
        receipts.push(session.publish(topic, "x").qos(qos).receipt().await.unwrap());
        let publish = peer.publish().await;
        if topic == "3" {
            peer.ack(AckKind::PubRec, publish.packet_id).await;
            assert!(matches!(peer.next().await, Packet::PubRel(_)));
        }
    }
    // Behind a full window, and worth nothing by the time it could be sent.
    let brief = session.publish("brief", "x").qos(QoS::AtLeastOnce).expiry(Duration::ZERO);
    receipts.push(brief.receipt().await.unwrap());
    let mut events = session.events();
    drop(peer);
    let mut peer = desk.accept(ConnAck::default_success().with(Property::ReceiveMaximum(7))).await;
    let (packet_id, properties) = (peer.subscribe().await.packet_id, Properties::new());
    let reasons = vec![ReasonCode::GrantedQoS1, ReasonCode::NotAuthorized];
    peer.send(Packet::SubAck(SubAck { packet_id, properties, reasons })).await;
    let settled = settled(&mut events).await;
    assert!(!settled.connected.session_present);
    assert_eq!(settled.connected.limits.receive_maximum, 7);
    assert_eq!((settled.connected.resubscribed, settled.connected.resent), (2, 2));
    let restarted = settled.connected.restarted.clone().unwrap();
    assert_eq!(restarted.may_be_double, [2]);
    assert_eq!(restarted.completed, [3]);
    assert_eq!(restarted.failed, [0; 0]);
    let results: Vec<_> =
        settled.resubscriptions.iter().map(|it| (it.filter.as_str(), it.result)).collect();
    let refused = Err(ReasonCode::NotAuthorized);
    assert_eq!(results, [("kept", Ok(QoS::AtLeastOnce)), ("refused", refused)]);
    assert_eq!(settled.expired, 1);
    // The next one is resumed, with two messages still open.
    drop(peer);
    let _peer = desk.accept(ConnAck::default_success().resumed()).await;
    let settled = self::settled(&mut events).await;
    assert!(settled.connected.session_present);
    assert_eq!((settled.connected.resent, settled.expired), (2, 0));
    assert_eq!((settled.connected.restarted.clone(), settled.resubscriptions.len()), (None, 0));
}

async fn settled(events: &mut postrider::Events) -> postrider::Settled {
    loop {
        let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
        if let Event::Settled(settled) = event {
            return *settled;
        }
    }
}

#[tokio::test]
async fn a_filter_that_is_refused_the_second_time_ends_its_stream() {
    let (session, mut peer, mut desk) = connected().await;
    let (stream, _) =
        tokio::join!(async { session.subscribe("a", QoS::AtLeastOnce).await }, peer.grant(),);
    let mut stream = stream.unwrap();
    let mut events = session.events();
    drop(peer);
    let mut peer = desk.accept(ConnAck::default_success()).await;
    let packet_id = peer.subscribe().await.packet_id;
    let (properties, reasons) = (Properties::new(), vec![ReasonCode::NotAuthorized]);
    peer.send(Packet::SubAck(SubAck { packet_id, properties, reasons })).await;
    assert!(stream.next().await.is_none());
    assert_eq!(stream.ended(), Some(StreamEnd::Refused));
    let is_lost =
        |event: &Event| matches!(event, Event::SubscriptionLost { filter, .. } if filter == "a");
    while !is_lost(&events.next().await.unwrap()) {}
}

#[tokio::test]
async fn a_subscribe_waits_for_the_next_connection() {
    let (session, peer, mut desk) = connected().await;
    drop(peer);
    let (stream, _peer) =
        tokio::join!(async { session.subscribe("a", QoS::AtMostOnce).await }, async {
            let mut peer = desk.accept(ConnAck::default_success()).await;
            peer.grant().await;
            peer
        },);
    stream.unwrap();
}

#[tokio::test]
async fn messages_of_qos_0_can_wait_for_a_connection() {
    let (builder, desk) = builder();
    let builder = builder.queue_qos0_offline(true);
    let (session, peer, mut desk) = connect(builder, desk, ConnAck::default_success()).await;
    let mut events = session.events();
    drop(peer);
    while !matches!(events.next().await, Some(Event::Disconnected { .. })) {}
    session.publish("a", "x").await.unwrap();
    let mut peer = desk.accept(ConnAck::default_success()).await;
    assert_eq!(peer.publish().await.payload, "x");
}

/// v5 [MQTT-3.1.4-3].
#[tokio::test]
async fn after_a_final_reason_the_session_is_over() {
    let (session, mut peer, mut desk) = connected().await;
    let (stream, _) =
        tokio::join!(async { session.subscribe("a", QoS::AtMostOnce).await }, peer.grant(),);
    let mut stream = stream.unwrap();
    let receipt = session.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let mut events = session.events();
    let reason = ReasonCode::SessionTakenOver;
    let properties = Properties::new();
    let disconnect = Disconnect { reason, properties: properties.clone() };
    peer.send(Packet::Disconnect(disconnect)).await;
    let end = SessionEnd::Link(LinkReason::Disconnected { reason, explanation: None, properties });
    while events.next().await.unwrap() != Event::Over(end.clone()) {}
    assert_eq!(events.next().await, None);
    assert_eq!(session.ended(), Some(end.clone()));
    assert!(stream.next().await.is_none());
    assert_eq!(stream.ended(), Some(StreamEnd::Over(end.clone())));
    assert!(matches!(receipt.await, Err(PublishError::Over(_))));
    let error = session.publish("a", "x").qos(QoS::AtLeastOnce).await.unwrap_err();
    assert_eq!(error, PublishError::Over(end));
    assert!(error.to_string().contains("another connection uses the same client id"), "{error}");
    assert!(session.subscribe("a", QoS::AtMostOnce).await.is_err());
    assert!(session.disconnect().await.is_err());
    // Nobody tries again.
    assert!(desk.try_next().await.is_none());
}

#[test]
fn a_runtime_that_is_shut_down_leaves_nobody_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (session, _peer, _desk) = runtime.block_on(connected());
    let publish = session.publish("a", "x").qos(QoS::AtLeastOnce).receipt();
    let receipt = runtime.block_on(publish).unwrap();
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stopped = PublishError::Over(SessionEnd::Stopped);
    assert_eq!(runtime.block_on(receipt.completed()), Err(stopped.clone()));
    let late = runtime.block_on(async { session.publish("a", "x").qos(QoS::AtLeastOnce).await });
    assert_eq!(late, Err(stopped));
    assert_eq!(session.ended(), Some(SessionEnd::Stopped));
}
