//! The table of MQTT 5's properties, walked packet by packet: what may stand in one can be sent, or is shown. Issue 5,
//! section 4. Spec: v5 section 2.2.2.2.

use std::{
    collections::BTreeSet,
    future::IntoFuture,
    sync::{Arc, Mutex},
    time::Duration,
};

use postrider::{
    AuthenticationError, AuthenticationExchange, Authenticator, Bytes, Event, LinkReason,
    Properties, Property, PublishError, QoS, ReasonCode, Session, Subscription, Text, Will,
};
use postrider_proto::wire::{
    Ack, AckKind, Auth, ConnAck, Disconnect, Packet, PacketId, PacketType, PropertyKind, SubAck,
    UnsubAck,
};
use tokio::time::timeout;

use crate::peer::{Desk, PATIENCE, Peer, Success, builder, connected, message};

/// What was seen: a packet, `None` for a will, and the property in it.
type Seen = BTreeSet<(Option<PacketType>, &'static str)>;

/// Packets of a client.
const SENT: [PacketType; 10] = [
    PacketType::Connect,
    PacketType::Publish,
    PacketType::PubAck,
    PacketType::PubRec,
    PacketType::PubRel,
    PacketType::PubComp,
    PacketType::Subscribe,
    PacketType::Unsubscribe,
    PacketType::Disconnect,
    PacketType::Auth,
];
/// Packets of a server.
const SHOWN: [PacketType; 10] = [
    PacketType::ConnAck,
    PacketType::Publish,
    PacketType::PubAck,
    PacketType::PubRec,
    PacketType::PubRel,
    PacketType::PubComp,
    PacketType::SubAck,
    PacketType::UnsubAck,
    PacketType::Disconnect,
    PacketType::Auth,
];
/// What a client must not send. Aliases are sent, but the session chooses them.
const UNSENT: [(PacketType, &str); 2] =
    [(PacketType::Publish, "SubscriptionIdentifier"), (PacketType::Disconnect, "ServerReference")];
/// What a program does not see: aliases. A server must not send the other.
const UNSHOWN: [(PacketType, &str); 2] =
    [(PacketType::Publish, "TopicAlias"), (PacketType::Disconnect, "SessionExpiryInterval")];

#[tokio::test]
async fn every_property_of_every_packet_can_be_sent_or_is_shown() {
    let (mut sent, mut shown) = (Seen::new(), Seen::new());
    everything_but_the_end(&mut sent, &mut shown).await;
    exactly_once(&mut sent, &mut shown).await;
    for (packets, seen, exceptions) in [(SENT, &sent, &UNSENT[..]), (SHOWN, &shown, &UNSHOWN[..])] {
        for packet in packets {
            for kind in PropertyKind::all().filter(|kind| kind.may_stand_in(packet)) {
                let is_expected = !exceptions.contains(&(packet, kind.name()));
                let is_seen = seen.contains(&(Some(packet), kind.name()));
                assert_eq!(is_seen, is_expected, "{} in {packet:?}", kind.name());
            }
        }
    }
    for kind in PropertyKind::all().filter(|kind| kind.may_stand_in_will()) {
        assert!(sent.contains(&(None, kind.name())), "{} of a will", kind.name());
    }
}

/// One connection with everything but QoS 2, of which this server has none, until the server ends it.
async fn everything_but_the_end(sent: &mut Seen, shown: &mut Seen) {
    let heard = Arc::new(Mutex::new(Properties::new()));
    let (builder, mut desk) = builder();
    let builder = builder
        .manual_acknowledgement()
        .reconnect(false)
        .session_expiry(Duration::from_secs(7))
        .receive_maximum(8)
        .packet_size_max(100_000)
        .property(Property::TopicAliasMaximum(9))
        .property(Property::RequestResponseInformation(true))
        .property(Property::RequestProblemInformation(true))
        .property(sample("UserProperty"))
        .authenticator(Talk(Arc::clone(&heard)))
        .will(of_will());
    let (session, mut peer) = tokio::join!(builder.connect(), authenticated(&mut desk, sent));
    let session = session.unwrap();
    note(shown, Some(PacketType::Auth), &heard.lock().unwrap());
    note(shown, Some(PacketType::ConnAck), &session.connected().unwrap().properties);
    let _stream = receive(&session, &mut peer, sent, shown).await;
    send(&session, &mut peer, sent, shown).await;
    leave(&session, &mut peer, shown).await;
}

/// A subscription, and messages that are refused with an explanation.
async fn receive(
    session: &Session,
    peer: &mut Peer,
    sent: &mut Seen,
    shown: &mut Seen,
) -> Subscription {
    let request = session.subscribe("in", QoS::ExactlyOnce).identifier(7).user_property("k", "v");
    let (stream, ()) = tokio::join!(request.into_future(), async {
        let subscribe = peer.subscribe().await;
        note(sent, Some(PacketType::Subscribe), &subscribe.properties);
        let (packet_id, reasons) = (subscribe.packet_id, vec![ReasonCode::GrantedQoS2]);
        let properties = full(PacketType::SubAck);
        peer.send(Packet::SubAck(SubAck { packet_id, properties, reasons })).await;
    });
    let mut stream = stream.unwrap();
    note(shown, Some(PacketType::SubAck), stream.properties());

    for (id, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
        let mut arriving = message("in", "x", qos, &[]);
        arriving.packet_id = PacketId::new(id);
        arriving.properties = full(PacketType::Publish);
        arriving.properties.retain(|it| !matches!(it, Property::TopicAlias(_)));
        peer.send(Packet::Publish(arriving)).await;
        let arrived = timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
        note(shown, Some(PacketType::Publish), arrived.properties());
        let acknowledging = arrived.ack_with(|batch| {
            batch.reason(ReasonCode::QuotaExceeded);
            batch.explanation("because");
            batch.user_property("k", "v");
        });
        let (acknowledged, packet) = tokio::join!(acknowledging, peer.next());
        acknowledged.unwrap();
        let (Packet::PubAck(ack) | Packet::PubRec(ack)) = &packet else { panic!("{packet}") };
        assert_eq!(ack.reason, ReasonCode::QuotaExceeded);
        note(sent, Some(packet.packet_type()), &ack.properties);
    }
    released(session, peer, &mut stream, sent, shown).await;
    stream
}

/// A message at QoS 2 that is taken, up to its PUBCOMP.
async fn released(
    session: &Session,
    peer: &mut Peer,
    stream: &mut Subscription,
    sent: &mut Seen,
    shown: &mut Seen,
) {
    let mut events = session.events();
    let packet_id = PacketId::new(3);
    let arriving = message("in", "x", QoS::ExactlyOnce, &[]);
    peer.send(Packet::Publish(postrider_proto::wire::Publish { packet_id, ..arriving })).await;
    let arrived = timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
    let acknowledging = arrived.ack_with(|batch| {
        batch.pubcomp_explanation("because");
        batch.pubcomp_user_property("k", "v");
    });
    let (acknowledged, packet) = tokio::join!(acknowledging, peer.next());
    acknowledged.unwrap();
    let Packet::PubRec(ack) = packet else { panic!("{packet}") };
    assert!(ack.properties.is_empty());
    answer(peer, AckKind::PubRel, packet_id, ReasonCode::Success).await;
    let packet = peer.next().await;
    let Packet::PubComp(ack) = packet else { panic!("{packet}") };
    note(sent, Some(PacketType::PubComp), &ack.properties);
    // Said once.
    answer(peer, AckKind::PubRel, packet_id, ReasonCode::Success).await;
    let packet = peer.next().await;
    let Packet::PubComp(ack) = packet else { panic!("{packet}") };
    assert!(ack.properties.is_empty());
    loop {
        let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
        if let Event::Released { packet_id, number, reason: ReasonCode::Success, properties } =
            event
        {
            assert_eq!((Some(packet_id), number), (arrived.packet_id(), arrived.number()));
            break note(shown, Some(PacketType::PubRel), &properties);
        }
    }
}

/// A message to the server, and an UNSUBSCRIBE.
async fn send(session: &Session, peer: &mut Peer, sent: &mut Seen, shown: &mut Seen) {
    let mut request = session.publish("out", "x").qos(QoS::AtLeastOnce);
    for property in full(PacketType::Publish).iter() {
        if !["SubscriptionIdentifier", "TopicAlias"].contains(&property.kind().name()) {
            request = request.property(property.clone());
        }
    }
    let (published, ()) = tokio::join!(request.into_future(), async {
        let publish = peer.publish().await;
        note(sent, Some(PacketType::Publish), &publish.properties);
        answer(peer, AckKind::PubAck, publish.packet_id, ReasonCode::Success).await;
    });
    note(shown, Some(PacketType::PubAck), &published.unwrap().properties);

    let leaving = session.unsubscribe_with("in", full(PacketType::Unsubscribe));
    let (answered, ()) = tokio::join!(leaving, async {
        let unsubscribe = peer.unsubscribe().await;
        note(sent, Some(PacketType::Unsubscribe), &unsubscribe.properties);
        let (packet_id, reasons) = (unsubscribe.packet_id, vec![ReasonCode::Success]);
        let properties = full(PacketType::UnsubAck);
        peer.send(Packet::UnsubAck(UnsubAck { packet_id, properties, reasons })).await;
    });
    note(shown, Some(PacketType::UnsubAck), &answered.unwrap());
}

/// The server ends the connection.
async fn leave(session: &Session, peer: &mut Peer, shown: &mut Seen) {
    let mut properties = full(PacketType::Disconnect);
    properties.retain(|it| !matches!(it, Property::SessionExpiryInterval(_)));
    let reason = ReasonCode::ServerShuttingDown;
    peer.send(Packet::Disconnect(Disconnect { reason, properties })).await;
    let mut events = session.events();
    while let Some(event) = timeout(PATIENCE, events.next()).await.unwrap() {
        if let Event::Disconnected { reason: LinkReason::Disconnected { properties, .. }, .. } =
            event
        {
            note(shown, Some(PacketType::Disconnect), &properties);
        }
    }
}

/// QoS 2 to the server, and how the program ends a connection.
async fn exactly_once(sent: &mut Seen, shown: &mut Seen) {
    let (session, mut peer, _desk) = connected().await;
    let publishing = session.publish("out", "x").qos(QoS::ExactlyOnce).into_future();
    let (refused, ()) = tokio::join!(publishing, async {
        let id = peer.publish().await.packet_id;
        answer(&mut peer, AckKind::PubRec, id, ReasonCode::QuotaExceeded).await;
    });
    let Err(PublishError::Refused { properties, .. }) = refused else { panic!("{refused:?}") };
    note(shown, Some(PacketType::PubRec), &properties);
    let mut publishing = session.publish("out", "x").qos(QoS::ExactlyOnce);
    for property in full(PacketType::PubRel).iter() {
        publishing = publishing.pubrel_property(property.clone());
    }
    let (published, release) = tokio::join!(publishing.into_future(), async {
        let id = peer.publish().await.packet_id;
        answer(&mut peer, AckKind::PubRec, id, ReasonCode::Success).await;
        let packet = peer.next().await;
        let Packet::PubRel(release) = packet else { panic!("{packet}") };
        answer(&mut peer, AckKind::PubComp, id, ReasonCode::Success).await;
        release
    });
    note(sent, Some(PacketType::PubRel), &release.properties);
    let published = published.unwrap();
    note(shown, Some(PacketType::PubComp), &published.properties);
    assert_eq!(published.pubrec_properties, full(PacketType::PubRec));

    let request = session
        .disconnect_with()
        .session_expiry(Duration::from_secs(9))
        .explanation("because")
        .property(sample("UserProperty"));
    let (left, packet) = tokio::join!(request.into_future(), peer.next());
    left.unwrap();
    let Packet::Disconnect(disconnect) = packet else { panic!("{packet}") };
    note(sent, Some(PacketType::Disconnect), &disconnect.properties);
}

/// Plays a server that authenticates, up to its CONNACK.
async fn authenticated(desk: &mut Desk, sent: &mut Seen) -> Peer {
    let mut peer = desk.next().await;
    let connect = peer.connect().await;
    note(sent, Some(PacketType::Connect), &connect.properties);
    note(sent, None, &connect.will.unwrap().properties);
    let (reason, properties) = (ReasonCode::ContinueAuthentication, full(PacketType::Auth));
    peer.send(Packet::Auth(Auth { reason, properties })).await;
    note(sent, Some(PacketType::Auth), &peer.auth().await.properties);
    let properties = full(PacketType::ConnAck);
    peer.send(Packet::ConnAck(ConnAck { properties, ..ConnAck::default_success() })).await;
    peer
}

async fn answer(peer: &mut Peer, kind: AckKind, packet_id: Option<PacketId>, reason: ReasonCode) {
    let (packet_id, properties) = (packet_id.unwrap(), full(kind.packet_type()));
    peer.send(kind.packet(Ack { packet_id, reason, properties })).await;
}

fn of_will() -> Will {
    let kinds = PropertyKind::all().filter(|kind| kind.may_stand_in_will());
    kinds.fold(Will::new("will", "gone"), |will, kind| match kind.name() {
        "WillDelayInterval" => will.delay(Duration::from_secs(3)),
        name => will.property(sample(name)),
    })
}

fn note(seen: &mut Seen, packet: Option<PacketType>, properties: &Properties) {
    seen.extend(properties.iter().map(|it| (packet, it.kind().name())));
}

/// One of each kind that a packet may have.
fn full(packet: PacketType) -> Properties {
    let kinds = PropertyKind::all().filter(|kind| kind.may_stand_in(packet));
    kinds.map(|kind| sample(kind.name())).collect()
}

/// A property of a kind.
fn sample(name: &str) -> Property {
    let text = |text| Text::new(text).unwrap();
    let samples = [
        Property::PayloadFormatIndicator(1),
        Property::MessageExpiryInterval(100),
        Property::ContentType(text("text/plain")),
        Property::ResponseTopic(text("r/t")),
        Property::CorrelationData(Bytes::from_static(b"\0c")),
        Property::SubscriptionIdentifier(7),
        Property::SessionExpiryInterval(7),
        Property::AssignedClientIdentifier(text("assigned")),
        Property::ServerKeepAlive(60),
        Property::AuthenticationMethod(text("TALK")),
        Property::AuthenticationData(Bytes::from_static(b"data")),
        Property::RequestProblemInformation(true),
        Property::WillDelayInterval(3),
        Property::RequestResponseInformation(true),
        Property::ResponseInformation(text("info")),
        Property::ServerReference(text("other")),
        Property::ReasonString(text("because")),
        Property::ReceiveMaximum(8),
        Property::TopicAliasMaximum(9),
        Property::TopicAlias(3),
        Property::MaximumQoS(1),
        Property::RetainAvailable(true),
        Property::UserProperty(text("k"), text("v")),
        Property::MaximumPacketSize(100_000),
        Property::WildcardSubscriptionAvailable(true),
        Property::SubscriptionIdentifierAvailable(true),
        Property::SharedSubscriptionAvailable(true),
    ];
    assert_eq!(PropertyKind::all().count(), samples.len(), "one of each");
    samples.into_iter().find(|it| it.kind().name() == name).unwrap()
}

/// Says something in each AUTH, and notes what the server says in its first packet.
struct Talk(Arc<Mutex<Properties>>);

impl Authenticator for Talk {
    fn method(&self) -> &str {
        "TALK"
    }

    fn begin(&self) -> Result<Box<dyn AuthenticationExchange>, AuthenticationError> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

impl AuthenticationExchange for Talk {
    fn first(&mut self) -> Result<Option<Bytes>, AuthenticationError> {
        Ok(Some("first".into()))
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Option<Bytes>, AuthenticationError> {
        Ok(Some(Bytes::copy_from_slice(challenge)))
    }

    fn finish(&mut self, _data: &[u8]) -> Result<(), AuthenticationError> {
        Ok(())
    }

    fn handle_properties(&mut self, properties: &Properties) {
        let mut heard = self.0.lock().unwrap();
        if heard.iter().next().is_none() {
            *heard = properties.clone();
        }
    }

    fn properties(&mut self) -> Properties {
        // What AUTH may not have besides its data is left out.
        full(PacketType::ConnAck)
    }
}
