//! The fifteen control packets, one model for all versions.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use bytes::Bytes;

use crate::{ClientId, Filter, PacketId, Properties, QoS, ReasonCode, Text, Topic, Version};

/// The type nibble of a control packet. Spec: v5 section 2.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum PacketType {
    /// 1, client to server.
    Connect = 1,
    /// 2, server to client.
    ConnAck,
    /// 3, both ways.
    Publish,
    /// 4, both ways.
    PubAck,
    /// 5, both ways.
    PubRec,
    /// 6, both ways.
    PubRel,
    /// 7, both ways.
    PubComp,
    /// 8, client to server.
    Subscribe,
    /// 9, server to client.
    SubAck,
    /// 10, client to server.
    Unsubscribe,
    /// 11, server to client.
    UnsubAck,
    /// 12, client to server.
    PingReq,
    /// 13, server to client.
    PingResp,
    /// 14, client to server; in 5.0 both ways.
    Disconnect,
    /// 15, 5.0 only, both ways.
    Auth,
}

/// One whole control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Asks for a connection.
    Connect(Box<Connect>),
    /// Answers a CONNECT.
    ConnAck(ConnAck),
    /// Carries an application message.
    Publish(Publish),
    /// Acknowledges a QoS 1 PUBLISH.
    PubAck(Ack),
    /// QoS 2, first answer.
    PubRec(Ack),
    /// QoS 2, release.
    PubRel(Ack),
    /// QoS 2, end.
    PubComp(Ack),
    /// Asks for subscriptions.
    Subscribe(Subscribe),
    /// Answers a SUBSCRIBE.
    SubAck(SubAck),
    /// Ends subscriptions.
    Unsubscribe(Unsubscribe),
    /// Answers an UNSUBSCRIBE.
    UnsubAck(UnsubAck),
    /// Is anybody there?
    PingReq,
    /// Yes.
    PingResp,
    /// Last packet of a connection.
    Disconnect(Disconnect),
    /// Enhanced authentication, 5.0 only.
    Auth(Auth),
}

/// CONNECT. Spec: v5 section 3.1, v3.1.1 section 3.1.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// Protocol version that the client speaks.
    pub version: Version,
    /// Clean Start (5.0) or Clean Session (3.1, 3.1.1).
    pub clean_start: bool,
    /// Keep Alive in seconds, 0 to 65,535; 0 turns it off.
    pub keep_alive: u16,
    /// Client identifier; may be empty.
    pub client_id: ClientId,
    /// User name, if any.
    pub user_name: Option<Text>,
    /// Password, if any; 0 to 65,535 bytes.
    pub password: Option<Bytes>,
    /// Will message, if any.
    pub will: Option<Will>,
    /// Properties (5.0).
    pub properties: Properties,
}

/// The will message inside CONNECT. Spec: v5 section 3.1.2.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where it is published.
    pub topic: Topic,
    /// What is published; 0 to 65,535 bytes.
    pub payload: Bytes,
    /// Quality of service it is published with.
    pub qos: QoS,
    /// Whether it is published as a retained message.
    pub retain: bool,
    /// Will properties (5.0).
    pub properties: Properties,
}

/// CONNACK. In 3.x the return codes 0 to 5 appear as the 5.0 reason codes they became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server went on with a stored session.
    pub session_present: bool,
    /// The verdict.
    pub reason: ReasonCode,
    /// Properties (5.0).
    pub properties: Properties,
}

/// PUBLISH. Spec: v5 section 3.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Whether this may be a re-delivery.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// RETAIN bit.
    pub retain: bool,
    /// Topic name; `None` if it has length zero and a Topic Alias stands in (5.0).
    pub topic: Option<Topic>,
    /// Packet identifier, exactly when `qos` is above 0.
    pub packet_id: Option<PacketId>,
    /// Properties (5.0).
    pub properties: Properties,
    /// Payload; empty in a streamed PUBLISH, whose payload follows in chunks.
    pub payload: Bytes,
}

/// What stands before the payload of a PUBLISH, borrowed: one message has a head for each receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishHead<'a> {
    /// See [`Publish::dup`].
    pub dup: bool,
    /// See [`Publish::qos`].
    pub qos: QoS,
    /// See [`Publish::retain`].
    pub retain: bool,
    /// See [`Publish::topic`].
    pub topic: Option<&'a Topic>,
    /// See [`Publish::packet_id`].
    pub packet_id: Option<PacketId>,
    /// See [`Publish::properties`].
    pub properties: &'a Properties,
}

/// Which of the four acknowledgements of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckKind {
    /// PUBACK.
    PubAck,
    /// PUBREC.
    PubRec,
    /// PUBREL.
    PubRel,
    /// PUBCOMP.
    PubComp,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP. Spec: v5 sections 3.4 to 3.7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The identifier of the PUBLISH.
    pub packet_id: PacketId,
    /// Reason code; always `Success` in 3.x.
    pub reason: ReasonCode,
    /// Properties (5.0).
    pub properties: Properties,
}

/// SUBSCRIBE. Spec: v5 section 3.8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Packet identifier.
    pub packet_id: PacketId,
    /// Properties (5.0).
    pub properties: Properties,
    /// At least one filter with its options.
    pub filters: Vec<SubscribeFilter>,
}

/// One line of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeFilter {
    /// Topic filter, possibly shared.
    pub filter: Filter,
    /// Subscription options.
    pub options: SubscribeOptions,
}

/// Subscription options byte. In 3.x only `qos` exists, the others have their default. Spec: v5
/// section 3.8.3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscribeOptions {
    /// Maximum QoS at which the server may send.
    pub qos: QoS,
    /// Do not send me what I published.
    pub no_local: bool,
    /// Keep the publisher's RETAIN bit.
    pub retain_as_published: bool,
    /// When to send retained messages.
    pub retain_handling: RetainHandling,
}

/// Retain Handling. Spec: v5 section 3.8.3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RetainHandling {
    /// 0: at every subscribe.
    #[default]
    Send,
    /// 1: only if the subscription is new.
    SendIfNew,
    /// 2: never.
    DoNotSend,
}

/// SUBACK. Spec: v5 section 3.9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    /// The identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// Properties (5.0).
    pub properties: Properties,
    /// One code per filter, in order. In 3.x every failure is 0x80.
    pub reasons: Vec<ReasonCode>,
}

/// UNSUBSCRIBE. Spec: v5 section 3.10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Packet identifier.
    pub packet_id: PacketId,
    /// Properties (5.0).
    pub properties: Properties,
    /// At least one filter.
    pub filters: Vec<Filter>,
}

/// UNSUBACK. Spec: v5 section 3.11.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    /// The identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// Properties (5.0).
    pub properties: Properties,
    /// One code per filter, in order; empty in 3.x.
    pub reasons: Vec<ReasonCode>,
}

/// DISCONNECT. Spec: v5 section 3.14. In 3.x always `NormalDisconnection` without properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub reason: ReasonCode,
    /// Properties (5.0).
    pub properties: Properties,
}

/// AUTH, 5.0 only. Spec: v5 section 3.15.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Success, Continue authentication or Re-authenticate.
    pub reason: ReasonCode,
    /// Properties.
    pub properties: Properties,
}

impl PacketType {
    /// All types, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::ConnAck,
        Self::Publish,
        Self::PubAck,
        Self::PubRec,
        Self::PubRel,
        Self::PubComp,
        Self::Subscribe,
        Self::SubAck,
        Self::Unsubscribe,
        Self::UnsubAck,
        Self::PingReq,
        Self::PingResp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// The type of a number, 1 to 15; `None` for 0 and above 15.
    #[must_use]
    pub const fn from_nibble(nibble: u8) -> Option<Self> {
        Some(match nibble {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The number of the type, 1 to 15.
    #[must_use]
    pub const fn nibble(self) -> u8 {
        self as u8
    }

    /// The name that the standard gives it, such as `PUBLISH`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The four low bits of the first byte, but for PUBLISH. Spec: v5 [MQTT-2.1.3-1].
    pub(crate) const fn flags(self) -> u8 {
        match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            Self::Connect
            | Self::ConnAck
            | Self::Publish
            | Self::PubAck
            | Self::PubRec
            | Self::PubComp
            | Self::SubAck
            | Self::UnsubAck
            | Self::PingReq
            | Self::PingResp
            | Self::Disconnect
            | Self::Auth => 0,
        }
    }
}

impl Packet {
    /// The type of the packet.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

impl Publish {
    /// Its head.
    #[must_use]
    pub fn head(&self) -> PublishHead<'_> {
        let Self { dup, qos, retain, ref topic, packet_id, ref properties, payload: _ } = *self;
        PublishHead { dup, qos, retain, topic: topic.as_ref(), packet_id, properties }
    }
}

impl AckKind {
    /// The packet type of the acknowledgement.
    #[must_use]
    pub const fn packet_type(self) -> PacketType {
        match self {
            Self::PubAck => PacketType::PubAck,
            Self::PubRec => PacketType::PubRec,
            Self::PubRel => PacketType::PubRel,
            Self::PubComp => PacketType::PubComp,
        }
    }

    /// A whole packet of this kind.
    #[must_use]
    pub const fn packet(self, ack: Ack) -> Packet {
        match self {
            Self::PubAck => Packet::PubAck(ack),
            Self::PubRec => Packet::PubRec(ack),
            Self::PubRel => Packet::PubRel(ack),
            Self::PubComp => Packet::PubComp(ack),
        }
    }
}

impl RetainHandling {
    /// Reads the two bits; `None` for the illegal value 3.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Send),
            1 => Some(Self::SendIfNew),
            2 => Some(Self::DoNotSend),
            _ => None,
        }
    }

    /// The value as a number: 0, 1 or 2.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Shows the length of the password, never the password.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .field("password_len", &self.password.as_ref().map(Bytes::len))
            .field("will", &self.will)
            .field("properties", &self.properties)
            .finish()
    }
}

/// A set of places where something may stand: packet types, and inside CONNECT the will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places(u16);

/// One place of [`Places`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A packet type.
    Packet(PacketType),
    /// The will inside CONNECT.
    Will,
}

impl Places {
    /// The set of all packet types whose bit (1 shifted by the type) is set; bit 0 is the will.
    pub(crate) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Whether the place is in the set.
    pub(crate) const fn has(self, place: Place) -> bool {
        self.0 & place.bit() != 0
    }
}

impl Place {
    /// The bit of the place in [`Places`].
    pub(crate) const fn bit(self) -> u16 {
        match self {
            Self::Packet(packet) => 1 << packet.nibble(),
            Self::Will => 1,
        }
    }
}
