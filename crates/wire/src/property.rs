//! The twenty-seven properties, from one table.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::{
    DecodeError, PacketType, ReasonCode, Text,
    decode::Reader,
    encode::Sink,
    packet::{Place, Places},
    statement::{self, Statement},
};

/// Reads a value of one form off a reader and makes the property of it.
macro_rules! read {
    (bool, $reader:ident, $id:literal, $make:path) => {
        $make($reader.flag($id)?)
    };
    (pair, $reader:ident, $id:literal, $make:path) => {
        $make($reader.text()?, $reader.text()?)
    };
    ($form:ident, $reader:ident, $id:literal, $make:path) => {
        $make($reader.$form()?)
    };
}

/// Writes a value of one form into a sink.
macro_rules! put {
    (bool, $sink:ident, $value:ident) => {
        $sink.byte(u8::from(*$value))
    };
    (text, $sink:ident, $value:ident) => {
        $sink.short($value.as_bytes())
    };
    (binary, $sink:ident, $value:ident) => {
        $sink.short($value)
    };
    (pair, $sink:ident, $name:ident, $value:ident) => {{
        $sink.short($name.as_bytes());
        $sink.short($value.as_bytes());
    }};
    ($form:ident, $sink:ident, $value:ident) => {
        $sink.$form(*$value)
    };
}

/// Checks a value against one rule.
macro_rules! check {
    (any, $($value:ident),+) => {{
        $(let _ = $value;)+
        Ok(())
    }};
    ($rule:ident, $value:ident) => {
        rule::$rule($value)
    };
}

/// Shows a value of one form; binary data as its length only.
macro_rules! show {
    (text, $f:ident, $value:ident) => {
        write!($f, "={:?}", $value)
    };
    (binary, $f:ident, $value:ident) => {
        write!($f, "={}B", $value.len())
    };
    (pair, $f:ident, $name:ident, $value:ident) => {
        write!($f, "={:?}:{:?}", $name, $value)
    };
    ($form:ident, $f:ident, $value:ident) => {
        write!($f, "={}", $value)
    };
}

/// The table: number, name, fields, form on the wire, rule on the value, where it may stand and
/// where it may repeat.
macro_rules! properties {
    ($(
        $(#[$doc:meta])*
        $id:literal $name:ident($($field:ident: $ty:ty),+): $form:ident, $rule:ident,
        in [$($place:ident)*], repeats in [$($repeat:ident)*];
    )*) => {
        /// One property of a packet. Spec: v5 section 2.2.2.2.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Property { $($(#[$doc])* $name($($ty),+),)* }

        /// All kinds, in the order of their numbers.
        const KINDS: &[PropertyKind] = &[$(PropertyKind($id)),*];

        impl PropertyKind {
            fn row(self) -> Option<&'static Row> {
                match self.0 {
                    $($id => Some(const { &Row {
                        name: stringify!($name),
                        places: Places::from_bits(0 $(| place::$place)*),
                        repeats: Places::from_bits(0 $(| place::$repeat)*),
                    } }),)*
                    _ => None,
                }
            }
        }

        impl Property {
            /// Its identifier.
            #[must_use]
            pub const fn kind(&self) -> PropertyKind {
                PropertyKind(match self { $(Self::$name(..) => $id,)* })
            }

            /// Reads the value that stands behind the identifier.
            pub(crate) fn read(
                kind: PropertyKind,
                reader: &mut Reader,
            ) -> Result<Self, DecodeError> {
                Ok(match kind.0 {
                    $($id => read!($form, reader, $id, Self::$name),)*
                    other => return Err(reader.unknown_property(u32::from(other))),
                })
            }

            /// Writes identifier and value. All identifiers are below 128: one byte.
            pub(crate) fn write<S: Sink>(&self, sink: &mut S) {
                sink.byte(self.kind().0);
                match self { $(Self::$name($($field),+) => put!($form, sink, $($field),+),)* }
            }

            /// Checks the value. The error is the reason code to answer with, and the rule.
            pub(crate) fn check(&self) -> Result<(), (ReasonCode, Statement)> {
                match self { $(Self::$name($($field),+) => check!($rule, $($field),+),)* }
            }
        }

        /// One short form for traces: name and value; binary data as its length only.
        impl core::fmt::Display for Property {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.kind().name())?;
                match self { $(Self::$name($($field),+) => show!($form, f, $($field),+),)* }
            }
        }
    };
}

properties! {
    /// 0x01 Payload Format Indicator: 0 bytes, 1 UTF-8 text.
    0x01 PayloadFormatIndicator(value: u8): byte, zero_or_one, in [Publish Will], repeats in [];
    /// 0x02 Message Expiry Interval: seconds.
    0x02 MessageExpiryInterval(seconds: u32): u32, any, in [Publish Will], repeats in [];
    /// 0x03 Content Type.
    0x03 ContentType(text: Text): text, any, in [Publish Will], repeats in [];
    /// 0x08 Response Topic: a topic name, so neither empty nor with wildcards.
    0x08 ResponseTopic(topic: Text): text, topic, in [Publish Will], repeats in [];
    /// 0x09 Correlation Data.
    0x09 CorrelationData(data: Bytes): binary, short, in [Publish Will], repeats in [];
    /// 0x0B Subscription Identifier: 1 to 268,435,455.
    0x0B SubscriptionIdentifier(id: u32): var_int, identifier,
        in [Publish Subscribe],
        repeats in [Publish];
    /// 0x11 Session Expiry Interval: seconds; 0xFFFFFFFF means never.
    0x11 SessionExpiryInterval(seconds: u32): u32, any,
        in [Connect ConnAck Disconnect],
        repeats in [];
    /// 0x12 Assigned Client Identifier.
    0x12 AssignedClientIdentifier(id: Text): text, any, in [ConnAck], repeats in [];
    /// 0x13 Server Keep Alive: seconds.
    0x13 ServerKeepAlive(seconds: u16): u16, any, in [ConnAck], repeats in [];
    /// 0x15 Authentication Method.
    0x15 AuthenticationMethod(method: Text): text, any, in [Connect ConnAck Auth], repeats in [];
    /// 0x16 Authentication Data.
    0x16 AuthenticationData(data: Bytes): binary, short, in [Connect ConnAck Auth], repeats in [];
    /// 0x17 Request Problem Information.
    0x17 RequestProblemInformation(is_wanted: bool): bool, any, in [Connect], repeats in [];
    /// 0x18 Will Delay Interval: seconds.
    0x18 WillDelayInterval(seconds: u32): u32, any, in [Will], repeats in [];
    /// 0x19 Request Response Information.
    0x19 RequestResponseInformation(is_wanted: bool): bool, any, in [Connect], repeats in [];
    /// 0x1A Response Information.
    0x1A ResponseInformation(text: Text): text, any, in [ConnAck], repeats in [];
    /// 0x1C Server Reference.
    0x1C ServerReference(text: Text): text, any, in [ConnAck Disconnect], repeats in [];
    /// 0x1F Reason String: for people, never parsed.
    0x1F ReasonString(text: Text): text, any,
        in [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth],
        repeats in [];
    /// 0x21 Receive Maximum: 1 to 65,535.
    0x21 ReceiveMaximum(count: u16): u16, not_zero, in [Connect ConnAck], repeats in [];
    /// 0x22 Topic Alias Maximum.
    0x22 TopicAliasMaximum(count: u16): u16, any, in [Connect ConnAck], repeats in [];
    /// 0x23 Topic Alias: 1 to 65,535; whether it is within the maximum is checked by the link.
    0x23 TopicAlias(alias: u16): u16, alias, in [Publish], repeats in [];
    /// 0x24 Maximum QoS: only 0 and 1 can be announced.
    0x24 MaximumQoS(level: u8): byte, maximum_qos, in [ConnAck], repeats in [];
    /// 0x25 Retain Available.
    0x25 RetainAvailable(is_available: bool): bool, any, in [ConnAck], repeats in [];
    /// 0x26 User Property: name and value; may repeat, order matters.
    0x26 UserProperty(name: Text, value: Text): pair, any,
        in [Connect ConnAck Publish PubAck PubRec PubRel PubComp Subscribe SubAck
            Unsubscribe UnsubAck Disconnect Auth Will],
        repeats in [Connect ConnAck Publish PubAck PubRec PubRel PubComp Subscribe SubAck
            Unsubscribe UnsubAck Disconnect Auth Will];
    /// 0x27 Maximum Packet Size: bytes of a whole packet, at least 1.
    0x27 MaximumPacketSize(bytes: u32): u32, not_zero, in [Connect ConnAck], repeats in [];
    /// 0x28 Wildcard Subscription Available.
    0x28 WildcardSubscriptionAvailable(is_available: bool): bool, any, in [ConnAck], repeats in [];
    /// 0x29 Subscription Identifier Available.
    0x29 SubscriptionIdentifierAvailable(is_available: bool): bool, any,
        in [ConnAck],
        repeats in [];
    /// 0x2A Shared Subscription Available.
    0x2A SharedSubscriptionAvailable(is_available: bool): bool, any, in [ConnAck], repeats in [];
}

/// What the table says about a property besides its value.
struct Row {
    name: &'static str,
    places: Places,
    repeats: Places,
}

/// The places of the table as bits of [`Places`].
#[allow(
    non_upper_case_globals,
    reason = "named like the packet types, so that the table reads well"
)]
mod place {
    use crate::{PacketType, packet::Place};

    pub(super) const Will: u16 = Place::Will.bit();
    pub(super) const Connect: u16 = Place::Packet(PacketType::Connect).bit();
    pub(super) const ConnAck: u16 = Place::Packet(PacketType::ConnAck).bit();
    pub(super) const Publish: u16 = Place::Packet(PacketType::Publish).bit();
    pub(super) const PubAck: u16 = Place::Packet(PacketType::PubAck).bit();
    pub(super) const PubRec: u16 = Place::Packet(PacketType::PubRec).bit();
    pub(super) const PubRel: u16 = Place::Packet(PacketType::PubRel).bit();
    pub(super) const PubComp: u16 = Place::Packet(PacketType::PubComp).bit();
    pub(super) const Subscribe: u16 = Place::Packet(PacketType::Subscribe).bit();
    pub(super) const SubAck: u16 = Place::Packet(PacketType::SubAck).bit();
    pub(super) const Unsubscribe: u16 = Place::Packet(PacketType::Unsubscribe).bit();
    pub(super) const UnsubAck: u16 = Place::Packet(PacketType::UnsubAck).bit();
    pub(super) const Disconnect: u16 = Place::Packet(PacketType::Disconnect).bit();
    pub(super) const Auth: u16 = Place::Packet(PacketType::Auth).bit();
}

/// The rules on values. Each gives the reason code to answer with, and the statement.
mod rule {
    use bytes::Bytes;

    use super::{ReasonCode, Statement, Text, statement};
    use crate::REMAINING_LENGTH_MAX;

    type Verdict = Result<(), (ReasonCode, Statement)>;

    const PROTOCOL_ERROR: Verdict = Err((ReasonCode::ProtocolError, statement::GENERAL));

    pub(super) fn zero_or_one(value: &u8) -> Verdict {
        if *value > 1 { Err((ReasonCode::MalformedPacket, statement::GENERAL)) } else { Ok(()) }
    }

    /// Only the lower two levels can be announced: the absence of the property means QoS 2.
    pub(super) fn maximum_qos(value: &u8) -> Verdict {
        if *value > 1 { PROTOCOL_ERROR } else { Ok(()) }
    }

    pub(super) fn not_zero<T: Copy + Into<u32>>(value: &T) -> Verdict {
        if (*value).into() == 0 { PROTOCOL_ERROR } else { Ok(()) }
    }

    pub(super) fn identifier(value: &u32) -> Verdict {
        if (1..=REMAINING_LENGTH_MAX).contains(value) { Ok(()) } else { PROTOCOL_ERROR }
    }

    pub(super) fn alias(value: &u16) -> Verdict {
        if *value == 0 {
            Err((ReasonCode::TopicAliasInvalid, statement::TOPIC_ALIAS))
        } else {
            Ok(())
        }
    }

    /// A Response Topic is a topic name, with a statement of its own for wildcards.
    pub(super) fn topic(value: &Text) -> Verdict {
        if value.as_str().is_empty() {
            Err((ReasonCode::MalformedPacket, statement::NOT_EMPTY))
        } else if value.has_wildcard() {
            Err((ReasonCode::ProtocolError, statement::RESPONSE_TOPIC))
        } else {
            Ok(())
        }
    }

    /// Binary data has a length of two bytes; only an encoder can find it too long.
    pub(super) fn short(value: &Bytes) -> Verdict {
        if value.len() > usize::from(u16::MAX) { PROTOCOL_ERROR } else { Ok(()) }
    }
}

/// The properties of one packet, in the order they were read or added. Empty costs no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub(crate) Vec<Property>);

/// The identifier byte of a property, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PropertyKind(pub(crate) u8);

impl Properties {
    /// No properties.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> core::slice::Iter<'_, Property> {
        self.0.iter()
    }

    /// Adds one at the end; whether it may stand in a packet is checked when that is encoded.
    pub fn push(&mut self, property: Property) {
        self.0.push(property);
    }

    /// Replaces the first property of the same kind, or adds it.
    pub fn set(&mut self, property: Property) {
        let kind = property.kind();
        match self.0.iter_mut().find(|other| other.kind() == kind) {
            Some(other) => *other = property,
            None => self.0.push(property),
        }
    }

    /// Keeps those for which `keep` says yes.
    pub fn retain(&mut self, keep: impl FnMut(&Property) -> bool) {
        self.0.retain(keep);
    }
}

impl PropertyKind {
    /// The kind of a property.
    #[must_use]
    pub const fn of(property: &Property) -> Self {
        property.kind()
    }

    /// The kind with this identifier, if the standard knows one.
    #[must_use]
    pub fn from_byte(id: u8) -> Option<Self> {
        Self(id).row().map(|_| Self(id))
    }

    /// All kinds, in the order of their identifiers.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().copied()
    }

    /// The identifier byte, 0x01 to 0x2A.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self.0
    }

    /// The name in one word, such as `ReceiveMaximum`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().map_or("Unknown", |row| row.name)
    }

    /// Whether it may stand in a packet of this type (for CONNECT: outside the will). Spec: v5
    /// section 2.2.2.2.
    #[must_use]
    pub fn may_stand_in(self, packet: PacketType) -> bool {
        self.fits(Place::Packet(packet))
    }

    /// Whether it may stand in a will. Spec: v5 section 3.1.3.2.
    #[must_use]
    pub fn may_stand_in_will(self) -> bool {
        self.fits(Place::Will)
    }

    pub(crate) fn fits(self, place: Place) -> bool {
        self.row().is_some_and(|row| row.places.has(place))
    }

    pub(crate) fn may_repeat(self, place: Place) -> bool {
        self.row().is_some_and(|row| row.repeats.has(place))
    }

    /// The bit of the kind in a set of kinds; all identifiers are below 64.
    pub(crate) const fn bit(self) -> u64 {
        1 << self.0
    }
}

impl core::fmt::Display for PropertyKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl<'a> IntoIterator for &'a Properties {
    type Item = &'a Property;
    type IntoIter = core::slice::Iter<'a, Property>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Property> for Properties {
    fn from_iter<I: IntoIterator<Item = Property>>(properties: I) -> Self {
        Self(properties.into_iter().collect())
    }
}

macro_rules! accessors {
    ($($(#[$doc:meta])* $fn:ident -> $variant:ident: $ty:ty;)*) => {
        impl Properties {$(
            $(#[$doc])*
            #[must_use]
            pub fn $fn(&self) -> Option<&$ty> {
                self.0.iter().find_map(|property| {
                    if let Property::$variant(value) = property { Some(value) } else { None }
                })
            }
        )*}
    };
}

accessors! {
    /// Payload Format Indicator, if present.
    payload_format_indicator -> PayloadFormatIndicator: u8;
    /// Message Expiry Interval in seconds, if present.
    message_expiry_interval -> MessageExpiryInterval: u32;
    /// Content Type, if present.
    content_type -> ContentType: Text;
    /// Response Topic, if present.
    response_topic -> ResponseTopic: Text;
    /// Correlation Data, if present.
    correlation_data -> CorrelationData: Bytes;
    /// First Subscription Identifier, if present; see [`Properties::subscription_identifiers`].
    subscription_identifier -> SubscriptionIdentifier: u32;
    /// Session Expiry Interval in seconds, if present.
    session_expiry_interval -> SessionExpiryInterval: u32;
    /// Assigned Client Identifier, if present.
    assigned_client_identifier -> AssignedClientIdentifier: Text;
    /// Server Keep Alive in seconds, if present.
    server_keep_alive -> ServerKeepAlive: u16;
    /// Authentication Method, if present.
    authentication_method -> AuthenticationMethod: Text;
    /// Authentication Data, if present.
    authentication_data -> AuthenticationData: Bytes;
    /// Request Problem Information, if present.
    request_problem_information -> RequestProblemInformation: bool;
    /// Will Delay Interval in seconds, if present.
    will_delay_interval -> WillDelayInterval: u32;
    /// Request Response Information, if present.
    request_response_information -> RequestResponseInformation: bool;
    /// Response Information, if present.
    response_information -> ResponseInformation: Text;
    /// Server Reference, if present.
    server_reference -> ServerReference: Text;
    /// Reason String, if present.
    reason_string -> ReasonString: Text;
    /// Receive Maximum, if present.
    receive_maximum -> ReceiveMaximum: u16;
    /// Topic Alias Maximum, if present.
    topic_alias_maximum -> TopicAliasMaximum: u16;
    /// Topic Alias, if present.
    topic_alias -> TopicAlias: u16;
    /// Maximum QoS, if present.
    maximum_qos -> MaximumQoS: u8;
    /// Retain Available, if present.
    retain_available -> RetainAvailable: bool;
    /// Maximum Packet Size in bytes, if present.
    maximum_packet_size -> MaximumPacketSize: u32;
    /// Wildcard Subscription Available, if present.
    wildcard_subscription_available -> WildcardSubscriptionAvailable: bool;
    /// Subscription Identifier Available, if present.
    subscription_identifier_available -> SubscriptionIdentifierAvailable: bool;
    /// Shared Subscription Available, if present.
    shared_subscription_available -> SharedSubscriptionAvailable: bool;
}

impl Properties {
    /// All Subscription Identifiers, in order.
    pub fn subscription_identifiers(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().filter_map(|p| {
            if let Property::SubscriptionIdentifier(id) = p { Some(*id) } else { None }
        })
    }

    /// All User Properties, in order.
    pub fn user_properties(&self) -> impl Iterator<Item = (&Text, &Text)> {
        self.0.iter().filter_map(|p| {
            if let Property::UserProperty(name, value) = p { Some((name, value)) } else { None }
        })
    }
}
