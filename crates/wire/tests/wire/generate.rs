//! Generated packets of all versions, as good ones as the standard allows.

use bytes::Bytes;
use postrider_wire::{
    Ack, AckKind, Auth, ClientId, ConnAck, Connect, Disconnect, Filter, Packet, PacketId,
    PacketType, Properties, Property, PropertyKind, Publish, QoS, ReasonCode, RetainHandling,
    SubAck, Subscribe, SubscribeFilter, SubscribeOptions, Text, Topic, UnsubAck, Unsubscribe,
    Version, Will,
};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any},
    prop_oneof,
    sample::select,
    strategy::{BoxedStrategy, Union},
};

use crate::script::ALL;

pub(crate) fn version() -> impl Strategy<Value = Version> {
    select(ALL.to_vec())
}

/// Any packet that `version` has, and that carries nothing it would lose on the way.
pub(crate) fn packet(version: Version) -> BoxedStrategy<Packet> {
    let acks = [AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp];
    let mut all = vec![
        connect(version).boxed(),
        conn_ack(version).boxed(),
        publish(version).prop_map(Packet::Publish).boxed(),
        subscribe(version).boxed(),
        sub_ack(version).boxed(),
        unsubscribe(version).boxed(),
        unsub_ack(version).boxed(),
        Just(Packet::PingReq).boxed(),
        Just(Packet::PingResp).boxed(),
        disconnect(version).boxed(),
    ];
    all.extend(acks.map(|kind| ack(kind, version).boxed()));
    if version.has_properties() {
        all.push(auth().boxed());
    }
    Union::new(all).boxed()
}

pub(crate) fn publish(version: Version) -> impl Strategy<Value = Publish> {
    let fields = (qos(), any::<bool>(), any::<bool>(), topic(), packet_id());
    let rest = (properties(Place::In(PacketType::Publish), version), bytes(200), any::<bool>());
    (fields, rest).prop_map(|((qos, dup, retain, topic, id), (properties, payload, is_short))| {
        let has_id = qos != QoS::AtMostOnce;
        let is_short = is_short && properties.topic_alias().is_some();
        Publish {
            dup: dup && has_id,
            qos,
            retain,
            topic: (!is_short).then_some(topic),
            packet_id: has_id.then_some(id),
            properties,
            payload,
        }
    })
}

fn connect(version: Version) -> impl Strategy<Value = Packet> {
    let names = (text(), option::of(text()), option::of(bytes(20)));
    let will =
        option::of((topic(), bytes(40), qos(), any::<bool>(), properties(Place::Will, version)));
    let rest = (any::<bool>(), any::<u16>(), properties(Place::In(PacketType::Connect), version));
    (names, will, rest).prop_map(move |((id, user_name, password), will, rest)| {
        let (clean_start, keep_alive, properties) = rest;
        let may_have_password = user_name.is_some() || version.has_properties();
        let will = will.map(|(topic, payload, qos, retain, properties)| Will {
            topic,
            payload,
            qos,
            retain,
            properties,
        });
        Packet::Connect(Box::new(Connect {
            version,
            clean_start,
            keep_alive,
            client_id: ClientId::from_text(id),
            user_name,
            password: password.filter(|_| may_have_password),
            will,
            properties,
        }))
    })
}

fn conn_ack(version: Version) -> impl Strategy<Value = Packet> {
    let reasons: Vec<ReasonCode> = reasons(PacketType::ConnAck)
        .into_iter()
        .filter(|reason| version.has_properties() || reason.return_code().is_some())
        .collect();
    let properties = properties(Place::In(PacketType::ConnAck), version);
    (any::<bool>(), select(reasons), properties).prop_map(move |(present, reason, properties)| {
        let may_be_present = reason == ReasonCode::Success && version != Version::V31;
        Packet::ConnAck(ConnAck { session_present: present && may_be_present, reason, properties })
    })
}

fn ack(kind: AckKind, version: Version) -> impl Strategy<Value = Packet> {
    let reasons = verdicts(kind.packet_type(), version);
    (packet_id(), select(reasons), properties(Place::In(kind.packet_type()), version)).prop_map(
        move |(packet_id, reason, properties)| kind.packet(Ack { packet_id, reason, properties }),
    )
}

fn subscribe(version: Version) -> impl Strategy<Value = Packet> {
    let lines = vec((filter(), options(version)), 1..5);
    let properties = properties(Place::In(PacketType::Subscribe), version);
    (packet_id(), properties, lines).prop_map(|(packet_id, properties, lines)| {
        let filters = lines.into_iter().map(|(filter, mut options)| {
            options.no_local &= !filter.is_shared();
            SubscribeFilter { filter, options }
        });
        Packet::Subscribe(Subscribe { packet_id, properties, filters: filters.collect() })
    })
}

fn sub_ack(version: Version) -> impl Strategy<Value = Packet> {
    let mut codes = reasons(PacketType::SubAck);
    if !version.has_properties() {
        codes.retain(|code| !code.is_error() || *code == ReasonCode::UnspecifiedError);
    }
    let properties = properties(Place::In(PacketType::SubAck), version);
    (packet_id(), properties, vec(select(codes), 1..6)).prop_map(
        |(packet_id, properties, reasons)| {
            Packet::SubAck(SubAck { packet_id, properties, reasons })
        },
    )
}

fn unsubscribe(version: Version) -> impl Strategy<Value = Packet> {
    let properties = properties(Place::In(PacketType::Unsubscribe), version);
    (packet_id(), properties, vec(filter(), 1..5)).prop_map(|(packet_id, properties, filters)| {
        Packet::Unsubscribe(Unsubscribe { packet_id, properties, filters })
    })
}

fn unsub_ack(version: Version) -> impl Strategy<Value = Packet> {
    let count = if version.has_properties() { 1..6 } else { 0..1 };
    let properties = properties(Place::In(PacketType::UnsubAck), version);
    let codes = vec(select(reasons(PacketType::UnsubAck)), count);
    (packet_id(), properties, codes).prop_map(|(packet_id, properties, reasons)| {
        Packet::UnsubAck(UnsubAck { packet_id, properties, reasons })
    })
}

fn disconnect(version: Version) -> impl Strategy<Value = Packet> {
    let reasons = verdicts(PacketType::Disconnect, version);
    (select(reasons), properties(Place::In(PacketType::Disconnect), version))
        .prop_map(|(reason, properties)| Packet::Disconnect(Disconnect { reason, properties }))
}

fn auth() -> impl Strategy<Value = Packet> {
    let properties = properties(Place::In(PacketType::Auth), Version::V5);
    (select(reasons(PacketType::Auth)), properties, text()).prop_map(
        |(reason, mut properties, method)| {
            properties.set(Property::AuthenticationMethod(method));
            Packet::Auth(Auth { reason, properties })
        },
    )
}

/// Where properties stand.
#[derive(Clone, Copy)]
enum Place {
    In(PacketType),
    Will,
}

/// Properties that may stand at a place: each at most once, but for those that repeat.
fn properties(place: Place, version: Version) -> BoxedStrategy<Properties> {
    if !version.has_properties() {
        return Just(Properties::new()).boxed();
    }
    let kinds: Vec<PropertyKind> = PropertyKind::all()
        .filter(|kind| match place {
            Place::In(packet) => kind.may_stand_in(packet),
            Place::Will => kind.may_stand_in_will(),
        })
        .collect();
    if kinds.is_empty() {
        return Just(Properties::new()).boxed();
    }
    let one = select(kinds).prop_flat_map(property);
    vec(one, 0..8)
        .prop_map(move |list| {
            let mut properties = Properties::new();
            for property in list {
                let is_publish = matches!(place, Place::In(PacketType::Publish));
                let may_repeat = matches!(property, Property::UserProperty(..))
                    || (is_publish && matches!(property, Property::SubscriptionIdentifier(_)));
                if may_repeat {
                    properties.push(property);
                } else {
                    properties.set(property);
                }
            }
            if properties.authentication_method().is_none() {
                properties.retain(|one| !matches!(one, Property::AuthenticationData(_)));
            }
            properties
        })
        .boxed()
}

/// A property of a kind with any legal value.
fn property(kind: PropertyKind) -> BoxedStrategy<Property> {
    match kind.byte() {
        0x01 => (0..2_u8).prop_map(Property::PayloadFormatIndicator).boxed(),
        0x02 => any::<u32>().prop_map(Property::MessageExpiryInterval).boxed(),
        0x03 => text().prop_map(Property::ContentType).boxed(),
        0x08 => topic().prop_map(|topic| Property::ResponseTopic(topic.text().clone())).boxed(),
        0x09 => bytes(30).prop_map(Property::CorrelationData).boxed(),
        0x0b => (1..=268_435_455_u32).prop_map(Property::SubscriptionIdentifier).boxed(),
        0x11 => any::<u32>().prop_map(Property::SessionExpiryInterval).boxed(),
        0x12 => text().prop_map(Property::AssignedClientIdentifier).boxed(),
        0x13 => any::<u16>().prop_map(Property::ServerKeepAlive).boxed(),
        0x15 => text().prop_map(Property::AuthenticationMethod).boxed(),
        0x16 => bytes(30).prop_map(Property::AuthenticationData).boxed(),
        0x17 => any::<bool>().prop_map(Property::RequestProblemInformation).boxed(),
        0x18 => any::<u32>().prop_map(Property::WillDelayInterval).boxed(),
        0x19 => any::<bool>().prop_map(Property::RequestResponseInformation).boxed(),
        0x1a => text().prop_map(Property::ResponseInformation).boxed(),
        0x1c => text().prop_map(Property::ServerReference).boxed(),
        0x1f => text().prop_map(Property::ReasonString).boxed(),
        0x21 => (1..=u16::MAX).prop_map(Property::ReceiveMaximum).boxed(),
        0x22 => any::<u16>().prop_map(Property::TopicAliasMaximum).boxed(),
        0x23 => (1..=u16::MAX).prop_map(Property::TopicAlias).boxed(),
        0x24 => (0..2_u8).prop_map(Property::MaximumQoS).boxed(),
        0x25 => any::<bool>().prop_map(Property::RetainAvailable).boxed(),
        0x26 => {
            (text(), text()).prop_map(|(name, value)| Property::UserProperty(name, value)).boxed()
        }
        0x27 => (1..=u32::MAX).prop_map(Property::MaximumPacketSize).boxed(),
        0x28 => any::<bool>().prop_map(Property::WildcardSubscriptionAvailable).boxed(),
        0x29 => any::<bool>().prop_map(Property::SubscriptionIdentifierAvailable).boxed(),
        0x2a => any::<bool>().prop_map(Property::SharedSubscriptionAvailable).boxed(),
        other => panic!("property 0x{other:02x} has no generator"),
    }
}

pub(crate) fn filter() -> impl Strategy<Value = Filter> {
    let level = prop_oneof![3 => "[a-z\u{e9}]{0,3}", 1 => Just(String::from("+"))];
    let path = (vec(level, 1..5), any::<bool>()).prop_map(|(levels, is_open)| {
        let path = levels.join("/");
        if is_open { format!("{path}/#") } else { path }
    });
    let path = path.prop_filter("a filter is not empty", |path| !path.is_empty());
    (path, option::weighted(0.2, "[a-z]{1,4}")).prop_map(|(path, group)| {
        let filter = match group {
            Some(group) => format!("$share/{group}/{path}"),
            None => path,
        };
        Filter::new(&filter).expect("a filter")
    })
}

pub(crate) fn topic() -> impl Strategy<Value = Topic> {
    let name = prop_oneof![
        4 => "[a-z\u{e9}/$]{1,12}",
        1 => "[^\u{0}+#]{1,20}",
    ];
    name.prop_map(|name| Topic::new(&name).expect("a topic"))
}

fn text() -> impl Strategy<Value = Text> {
    let text = prop_oneof![4 => "[ -~]{0,12}", 1 => "[^\u{0}]{0,20}"];
    text.prop_map(|text| Text::new(&text).expect("a text"))
}

fn options(version: Version) -> impl Strategy<Value = SubscribeOptions> {
    let handling =
        select(vec![RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]);
    (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(qos, no_local, retain_as_published, retain_handling)| {
            if version.has_properties() {
                SubscribeOptions { qos, no_local, retain_as_published, retain_handling }
            } else {
                SubscribeOptions { qos, ..SubscribeOptions::default() }
            }
        },
    )
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).expect("not 0"))
}

fn bytes(len_max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..len_max).prop_map(Bytes::from)
}

fn reasons(packet: PacketType) -> Vec<ReasonCode> {
    ReasonCode::ALL.iter().copied().filter(|code| code.may_stand_in(packet)).collect()
}

/// The codes of packets that lose them in 3.x.
fn verdicts(packet: PacketType, version: Version) -> Vec<ReasonCode> {
    if version.has_properties() { reasons(packet) } else { vec![ReasonCode::Success] }
}
