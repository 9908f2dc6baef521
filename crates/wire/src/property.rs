//! The twenty-seven properties, from one table.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::Text;

/// One property of a packet. Spec: v5 section 2.2.2.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Property {
    /// 0x01: 0 bytes, 1 UTF-8 text.
    PayloadFormatIndicator(u8),
    /// 0x02, seconds.
    MessageExpiryInterval(u32),
    /// 0x03.
    ContentType(Text),
    /// 0x08: a topic name without wildcards.
    ResponseTopic(Text),
    /// 0x09.
    CorrelationData(Bytes),
    /// 0x0B: 1 to 268,435,455.
    SubscriptionIdentifier(u32),
    /// 0x11, seconds; 0xFFFFFFFF means never.
    SessionExpiryInterval(u32),
    /// 0x12.
    AssignedClientIdentifier(Text),
    /// 0x13, seconds.
    ServerKeepAlive(u16),
    /// 0x15.
    AuthenticationMethod(Text),
    /// 0x16.
    AuthenticationData(Bytes),
    /// 0x17.
    RequestProblemInformation(bool),
    /// 0x18, seconds.
    WillDelayInterval(u32),
    /// 0x19.
    RequestResponseInformation(bool),
    /// 0x1A.
    ResponseInformation(Text),
    /// 0x1C.
    ServerReference(Text),
    /// 0x1F: for people, never parsed.
    ReasonString(Text),
    /// 0x21: 1 to 65,535.
    ReceiveMaximum(u16),
    /// 0x22.
    TopicAliasMaximum(u16),
    /// 0x23; whether it is within the maximum is checked by the link.
    TopicAlias(u16),
    /// 0x24: only 0 and 1 can be announced.
    MaximumQoS(u8),
    /// 0x25.
    RetainAvailable(bool),
    /// 0x26: name and value; may repeat, order matters.
    UserProperty(Text, Text),
    /// 0x27, bytes of a whole packet, at least 1.
    MaximumPacketSize(u32),
    /// 0x28.
    WildcardSubscriptionAvailable(bool),
    /// 0x29.
    SubscriptionIdentifierAvailable(bool),
    /// 0x2A.
    SharedSubscriptionAvailable(bool),
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

    /// Replaces the property of the same kind, or adds it.
    pub fn set(&mut self, _property: Property) {
        todo!()
    }

    /// Keeps those for which `keep` says yes.
    pub fn retain(&mut self, keep: impl FnMut(&Property) -> bool) {
        self.0.retain(keep);
    }
}

macro_rules! accessors {
    ($($(#[$doc:meta])* $fn:ident -> $variant:ident: $ty:ty;)*) => {
        impl Properties {$(
            $(#[$doc])*
            #[must_use]
            pub fn $fn(&self) -> Option<&$ty> {
                self.0.iter().find_map(|p| if let Property::$variant(v) = p { Some(v) } else { None })
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
