//! MQTT 5 whole: all properties in and out, on every packet. Issue 5, section 4.

use std::time::Duration;

use postrider::{
    Bytes, Event, LinkReason, Properties, Property, QoS, ReasonCode, SubscribeError, Text, Will,
};
use postrider_proto::wire::{
    Ack, AckKind, ConnAck, Disconnect, Packet, PacketType, PropertyKind, SubAck, UnsubAck,
};
use tokio::time::timeout;

use crate::peer::{PATIENCE, Peer, Success, builder, connect, connected, message};

fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

fn pair(name: &str, value: &str) -> Property {
    Property::UserProperty(text(name), text(value))
}

/// Reason string and a name that stands twice.
fn reasons() -> Properties {
    [Property::ReasonString(text("because")), pair("k", "1"), pair("k", "2")].into_iter().collect()
}

/// The kinds of properties that a packet has, in the order of their numbers.
fn kinds(properties: &Properties) -> Vec<&'static str> {
    let mut names: Vec<_> = properties.iter().map(|it| it.kind().name()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn connect_carries_every_property() {
    let (builder, mut desk) = builder();
    let builder = builder
        .session_expiry(Duration::from_secs(7))
        .receive_maximum(8)
        .packet_size_max(1000)
        .property(Property::TopicAliasMaximum(9))
        .property(Property::RequestResponseInformation(true))
        .property(Property::RequestProblemInformation(false))
        .property(pair("k", "v"))
        .property(pair("k", "v"))
        .property(Property::AuthenticationMethod(text("PLAIN")))
        .property(Property::AuthenticationData("x".into()))
        .will(
            Will::new("will", "gone")
                .delay(Duration::from_secs(3))
                .property(Property::PayloadFormatIndicator(1))
                .property(Property::MessageExpiryInterval(4))
                .property(Property::ContentType(text("text/plain")))
                .property(Property::ResponseTopic(text("r")))
                .property(Property::CorrelationData("c".into()))
                .property(pair("w", "v")),
        );
    let (result, connect) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        let connect = peer.connect().await;
        let reason = ReasonCode::BadAuthenticationMethod;
        peer.send(Packet::ConnAck(ConnAck { reason, ..ConnAck::default_success() })).await;
        connect
    });
    result.unwrap_err();
    let mut kinds = kinds(&connect.properties);
    kinds.dedup();
    let all = PropertyKind::all().filter(|kind| kind.may_stand_in(PacketType::Connect));
    assert_eq!(kinds.len(), all.count(), "{kinds:?}");
    assert_eq!(connect.properties.user_properties().count(), 2);
    let will = connect.will.unwrap();
    assert_eq!(self::kinds(&will.properties).len(), 7);
}

/// Zero would turn the keep alive off, and have a message expire before it is sent.
#[tokio::test]
async fn a_part_of_a_second_counts_as_one() {
    let part = Duration::from_millis(300);
    let (builder, mut desk) = builder();
    let will = Will::new("will", "gone").delay(part);
    let builder = builder.keep_alive(part).session_expiry(part).will(will);
    let (session, (connect, mut peer)) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        let connect = peer.connect().await;
        peer.send(Packet::ConnAck(ConnAck::default_success())).await;
        (connect, peer)
    });
    let session = session.unwrap();
    assert_eq!(connect.keep_alive, 1);
    assert_eq!(connect.properties.session_expiry_interval(), Some(&1));
    assert_eq!(connect.will.unwrap().properties.will_delay_interval(), Some(&1));
    let _receipt = session.publish("a", "x").qos(QoS::AtLeastOnce).expiry(part).receipt().await;
    assert_eq!(peer.publish().await.properties.message_expiry_interval(), Some(&1));
}

/// An option of a builder that is given twice counts as it was given last.
#[tokio::test]
async fn what_is_said_twice_counts_as_it_was_said_last() {
    let (session, mut peer, _desk) = connected().await;
    let request = session.publish("a", "x").content_type("first").content_type("last");
    let request = request.user_property("k", "1").user_property("k", "2");
    request.qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let properties = peer.publish().await.properties;
    assert_eq!(properties.content_type().map(Text::as_str), Some("last"));
    assert_eq!(properties.user_properties().count(), 2);
}

#[tokio::test]
async fn connack_shows_every_property() {
    let said = [
        Property::SessionExpiryInterval(7),
        Property::ReceiveMaximum(8),
        Property::MaximumQoS(1),
        Property::RetainAvailable(false),
        Property::MaximumPacketSize(1000),
        Property::AssignedClientIdentifier(text("assigned")),
        Property::TopicAliasMaximum(9),
        Property::ReasonString(text("welcome")),
        pair("k", "v"),
        Property::WildcardSubscriptionAvailable(false),
        Property::SubscriptionIdentifierAvailable(false),
        Property::SharedSubscriptionAvailable(false),
        Property::ServerKeepAlive(11),
        Property::ResponseInformation(text("info")),
        Property::ServerReference(text("other")),
    ];
    let properties: Properties = said.into_iter().collect();
    let (builder, desk) = builder();
    let connack = ConnAck { properties: properties.clone(), ..ConnAck::default_success() };
    let (session, _peer, _desk) = connect(builder, desk, connack).await;
    let connected = session.connected().unwrap();
    assert_eq!(connected.properties, properties);
    assert_eq!(connected.client_id, "assigned");
    let limits = connected.limits;
    assert_eq!((limits.session_expiry_s, limits.receive_maximum, limits.keep_alive_s), (7, 8, 11));
    assert_eq!((limits.packet_size_max, limits.qos_max), (1000, QoS::AtLeastOnce));
    assert_eq!(limits.topic_alias_max, 9);
    assert!(!limits.has_retain && !limits.has_wildcards);
    assert!(!limits.has_subscription_ids && !limits.has_shared);
}

fn of_publish() -> Properties {
    [
        Property::PayloadFormatIndicator(1),
        Property::MessageExpiryInterval(100),
        Property::ContentType(text("text/plain")),
        Property::ResponseTopic(text("r/t")),
        Property::CorrelationData(Bytes::from_static(b"\0c")),
        pair("k", "1"),
        pair("k", "2"),
    ]
    .into_iter()
    .collect()
}

#[tokio::test]
async fn publish_carries_and_shows_every_property() {
    let (session, mut peer, _desk) = connected().await;
    let request = session
        .publish("a", "x")
        .mark_text()
        .expiry(Duration::from_secs(100))
        .content_type("text/plain")
        .response_topic("r/t")
        .correlation_data(b"\0c")
        .user_property("k", "1")
        .user_property("k", "2")
        .qos(QoS::AtLeastOnce);
    let (published, sent) = tokio::join!(request.into_future(), async {
        let publish = peer.publish().await;
        let packet_id = publish.packet_id.unwrap();
        let reason = ReasonCode::NoMatchingSubscribers;
        let ack = Ack { packet_id, reason, properties: reasons() };
        peer.send(AckKind::PubAck.packet(ack)).await;
        publish
    });
    assert_eq!(kinds(&sent.properties), kinds(&of_publish()));
    assert_eq!(sent.properties.correlation_data().unwrap().as_ref(), b"\0c");
    // And those of the acknowledgement.
    let published = published.unwrap();
    assert_eq!(published.reason, ReasonCode::NoMatchingSubscribers);
    assert_eq!(published.properties, reasons());
    let mut unmatched = session.unmatched();
    let mut arriving = message("a", "x", QoS::AtMostOnce, &[]);
    arriving.properties = of_publish();
    peer.send(Packet::Publish(arriving)).await;
    let message = timeout(PATIENCE, unmatched.next()).await.unwrap().unwrap();
    assert_eq!(message.properties(), &of_publish());
    assert!(message.is_marked_text());
    assert_eq!((message.message_expiry(), message.content_type()), (Some(100), Some("text/plain")));
    assert_eq!(message.response_topic(), Some("r/t"));
    assert_eq!(message.correlation_data().unwrap().as_ref(), b"\0c");
    let pairs: Vec<_> = message.user_properties().collect();
    assert_eq!(pairs, [("k", "1"), ("k", "2")]);
}

/// The properties of the acknowledgement that ends a QoS 2 exchange, and of one that refuses.
#[tokio::test]
async fn acknowledgements_show_their_properties() {
    let (session, mut peer, _desk) = connected().await;
    let ack = |packet_id: Option<_>, reason| Ack {
        packet_id: packet_id.unwrap(),
        reason,
        properties: reasons(),
    };
    let twice = session.publish("a", "x").qos(QoS::ExactlyOnce).into_future();
    let (published, ()) = tokio::join!(twice, async {
        let id = peer.publish().await.packet_id;
        peer.send(AckKind::PubRec.packet(ack(id, ReasonCode::Success))).await;
        assert!(matches!(peer.next().await, Packet::PubRel(_)));
        peer.send(AckKind::PubComp.packet(ack(id, ReasonCode::Success))).await;
    });
    assert_eq!(published.unwrap().properties, reasons());
    let refused = session.publish("a", "x").qos(QoS::AtLeastOnce).into_future();
    let (refused, ()) = tokio::join!(refused, async {
        let id = peer.publish().await.packet_id;
        peer.send(AckKind::PubAck.packet(ack(id, ReasonCode::QuotaExceeded))).await;
    });
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("because"), "{error}");
}

#[tokio::test]
async fn subscribe_and_unsubscribe_carry_and_show_every_property() {
    let (session, mut peer, _desk) = connected().await;
    let request = session
        .subscribe("a", QoS::AtLeastOnce)
        .identifier(77)
        .user_property("k", "1")
        .user_property("k", "2");
    let (subscription, asked) = tokio::join!(request.into_future(), async {
        let subscribe = peer.subscribe().await;
        let (packet_id, reasons) = (subscribe.packet_id, vec![ReasonCode::GrantedQoS1]);
        peer.send(Packet::SubAck(SubAck { packet_id, properties: self::reasons(), reasons })).await;
        subscribe
    });
    assert_eq!(asked.properties.subscription_identifier(), Some(&77));
    assert_eq!(asked.properties.user_properties().count(), 2);
    let subscription = subscription.unwrap();
    assert_eq!(subscription.properties(), &reasons());
    let properties: Properties = [pair("u", "1")].into_iter().collect();
    let (answered, left) = tokio::join!(session.unsubscribe_with("a", properties), async {
        let unsubscribe = peer.unsubscribe().await;
        let (packet_id, reasons) = (unsubscribe.packet_id, vec![ReasonCode::NoSubscriptionExisted]);
        peer.send(Packet::UnsubAck(UnsubAck { packet_id, properties: self::reasons(), reasons }))
            .await;
        unsubscribe
    });
    // 0x11 is a success, too.
    assert_eq!(answered.unwrap(), reasons());
    assert_eq!(left.properties.user_properties().count(), 1);
}

#[tokio::test]
async fn disconnect_carries_and_shows_every_property() {
    let (session, mut peer, _desk) = connected().await;
    let mut events = session.events();
    let mut properties = reasons();
    properties.push(Property::ServerReference(text("other")));
    let disconnect = Disconnect { reason: ReasonCode::ServerMoved, properties: properties.clone() };
    peer.send(Packet::Disconnect(disconnect)).await;
    let shown = loop {
        let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
        if let Event::Disconnected { reason: LinkReason::Disconnected { properties, .. }, .. } =
            event
        {
            break properties;
        }
    };
    assert_eq!(shown, properties);
    drop(session);
    let (session, mut peer, _desk) = connected().await;
    let request = session
        .disconnect_with()
        .session_expiry(Duration::from_secs(9))
        .explanation("because")
        .property(pair("k", "1"))
        .property(pair("k", "2"));
    let (left, said) = tokio::join!(request.into_future(), disconnected(&mut peer));
    left.unwrap();
    assert_eq!(said.properties.session_expiry_interval(), Some(&9));
    assert_eq!(said.properties.reason_string().map(Text::as_str), Some("because"));
    assert_eq!(said.properties.user_properties().count(), 2);
}

async fn disconnected(peer: &mut Peer) -> Disconnect {
    let packet = peer.next().await;
    let Packet::Disconnect(disconnect) = packet else { panic!("no DISCONNECT: {packet:?}") };
    disconnect
}

/// Shared subscriptions are refused locally if the server says that it has none: nothing is sent.
#[tokio::test]
async fn shared_subscriptions_are_refused_locally() {
    let (builder, desk) = builder();
    let connack = ConnAck::default_success().with(Property::SharedSubscriptionAvailable(false));
    let (session, mut peer, _desk) = connect(builder, desk, connack).await;
    let refused = session.subscribe("$share/g/a", QoS::AtLeastOnce).await.unwrap_err();
    let filter = "$share/g/a".to_owned();
    assert_eq!(refused, SubscribeError::NotOffered { what: "shared subscriptions", filter });
    session.publish("next", "x").await.unwrap();
    assert_eq!(peer.publish().await.topic.unwrap().as_str(), "next");
}

/// Topic aliases are the session's own business, both ways: the program sees topics.
#[tokio::test]
async fn topic_aliases_are_automatic_both_ways() {
    let (builder, desk) = builder();
    let connack = ConnAck::default_success().with(Property::TopicAliasMaximum(1));
    let (session, mut peer, _desk) = connect(builder, desk, connack).await;
    let mut sent = Vec::new();
    for topic in ["a", "a", "b", "b", "b", "a"] {
        session.publish(topic, "x").await.unwrap();
        let publish = peer.publish().await;
        let topic = publish.topic.map(|topic| topic.as_str().to_owned()).unwrap_or_default();
        sent.push((topic, publish.properties.topic_alias().copied()));
    }
    // The alias moves on when `b` comes the second time.
    let expected = [("a", Some(1)), ("", Some(1)), ("b", None), ("b", Some(1)), ("", Some(1))];
    let expected = expected.map(|(topic, alias)| (topic.to_owned(), alias));
    assert_eq!(sent[..5], expected);
    assert_eq!(sent[5], ("a".to_owned(), None));
    let mut unmatched = session.unmatched();
    for topic in [Some("in"), None] {
        let mut arriving = message("in", "x", QoS::AtMostOnce, &[]);
        arriving.properties.push(Property::TopicAlias(3));
        arriving.topic = arriving.topic.filter(|_| topic.is_some());
        peer.send(Packet::Publish(arriving)).await;
        let message = timeout(PATIENCE, unmatched.next()).await.unwrap().unwrap();
        assert_eq!((message.topic(), message.properties().topic_alias()), ("in", None));
    }
}
