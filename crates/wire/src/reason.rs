//! Reason codes of 5.0, which also stand for the return codes of 3.x.

use crate::{
    PacketType,
    packet::{Place, Places},
};

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, [$($packet:ident)*];)*) => {
        /// Why something was done or refused. Below 0x80 is success. Spec: v5 section 2.4.
        ///
        /// `Success` (0x00) also stands for Normal disconnection and Granted QoS 0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum ReasonCode { $($(#[$doc])* $name = $code,)* }

        impl ReasonCode {
            /// The code that a byte stands for; `None` if the standard assigns none.
            #[must_use]
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($code => Some(Self::$name),)* _ => None }
            }

            /// A sentence part for people, such as `not authorized`.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The packet types that may carry it.
            const fn places(self) -> Places {
                match self {
                    $(Self::$name => Places::from_bits(
                        0 $(| Place::Packet(PacketType::$packet).bit())*
                    ),)*
                }
            }

            /// All codes, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

reason_codes! {
    /// 0x00 Success, Normal disconnection, Granted QoS 0.
    Success = 0x00, "success",
        [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth];
    /// 0x01 Granted QoS 1.
    GrantedQoS1 = 0x01, "granted QoS 1", [SubAck];
    /// 0x02 Granted QoS 2.
    GrantedQoS2 = 0x02, "granted QoS 2", [SubAck];
    /// 0x04 Disconnect with will message.
    DisconnectWithWill = 0x04, "disconnect with will message", [Disconnect];
    /// 0x10 No matching subscribers.
    NoMatchingSubscribers = 0x10, "no matching subscribers", [PubAck PubRec];
    /// 0x11 No subscription existed.
    NoSubscriptionExisted = 0x11, "no subscription existed", [UnsubAck];
    /// 0x18 Continue authentication.
    ContinueAuthentication = 0x18, "continue authentication", [Auth];
    /// 0x19 Re-authenticate.
    ReAuthenticate = 0x19, "re-authenticate", [Auth];
    /// 0x80 Unspecified error.
    UnspecifiedError = 0x80, "unspecified error",
        [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// 0x81 Malformed Packet.
    MalformedPacket = 0x81, "malformed packet", [ConnAck Disconnect];
    /// 0x82 Protocol Error.
    ProtocolError = 0x82, "protocol error", [ConnAck Disconnect];
    /// 0x83 Implementation specific error.
    ImplementationSpecificError = 0x83, "implementation specific error",
        [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// 0x84 Unsupported Protocol Version. 3.x: return code 1.
    UnsupportedProtocolVersion = 0x84, "unsupported protocol version", [ConnAck];
    /// 0x85 Client Identifier not valid. 3.x: return code 2.
    ClientIdentifierNotValid = 0x85, "client identifier not valid", [ConnAck];
    /// 0x86 Bad User Name or Password. 3.x: return code 4.
    BadUserNameOrPassword = 0x86, "bad user name or password", [ConnAck];
    /// 0x87 Not authorized. 3.x: return code 5.
    NotAuthorized = 0x87, "not authorized", [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// 0x88 Server unavailable. 3.x: return code 3.
    ServerUnavailable = 0x88, "server unavailable", [ConnAck];
    /// 0x89 Server busy.
    ServerBusy = 0x89, "server busy", [ConnAck Disconnect];
    /// 0x8A Banned.
    Banned = 0x8A, "banned", [ConnAck];
    /// 0x8B Server shutting down.
    ServerShuttingDown = 0x8B, "server shutting down", [Disconnect];
    /// 0x8C Bad authentication method.
    BadAuthenticationMethod = 0x8C, "bad authentication method", [ConnAck Disconnect];
    /// 0x8D Keep Alive timeout.
    KeepAliveTimeout = 0x8D, "keep alive timeout", [Disconnect];
    /// 0x8E Session taken over.
    SessionTakenOver = 0x8E, "session taken over", [Disconnect];
    /// 0x8F Topic Filter invalid.
    TopicFilterInvalid = 0x8F, "topic filter invalid", [SubAck UnsubAck Disconnect];
    /// 0x90 Topic Name invalid.
    TopicNameInvalid = 0x90, "topic name invalid", [ConnAck PubAck PubRec Disconnect];
    /// 0x91 Packet Identifier in use.
    PacketIdentifierInUse = 0x91, "packet identifier in use", [PubAck PubRec SubAck UnsubAck];
    /// 0x92 Packet Identifier not found.
    PacketIdentifierNotFound = 0x92, "packet identifier not found", [PubRel PubComp];
    /// 0x93 Receive Maximum exceeded.
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded", [Disconnect];
    /// 0x94 Topic Alias invalid.
    TopicAliasInvalid = 0x94, "topic alias invalid", [Disconnect];
    /// 0x95 Packet too large.
    PacketTooLarge = 0x95, "packet too large", [ConnAck Disconnect];
    /// 0x96 Message rate too high.
    MessageRateTooHigh = 0x96, "message rate too high", [Disconnect];
    /// 0x97 Quota exceeded.
    QuotaExceeded = 0x97, "quota exceeded", [ConnAck PubAck PubRec SubAck Disconnect];
    /// 0x98 Administrative action.
    AdministrativeAction = 0x98, "administrative action", [Disconnect];
    /// 0x99 Payload format invalid.
    PayloadFormatInvalid = 0x99, "payload format invalid", [ConnAck PubAck PubRec Disconnect];
    /// 0x9A Retain not supported.
    RetainNotSupported = 0x9A, "retain not supported", [ConnAck Disconnect];
    /// 0x9B QoS not supported.
    QoSNotSupported = 0x9B, "QoS not supported", [ConnAck Disconnect];
    /// 0x9C Use another server.
    UseAnotherServer = 0x9C, "use another server", [ConnAck Disconnect];
    /// 0x9D Server moved.
    ServerMoved = 0x9D, "server moved", [ConnAck Disconnect];
    /// 0x9E Shared Subscriptions not supported.
    SharedSubscriptionsNotSupported = 0x9E, "shared subscriptions not supported",
        [SubAck Disconnect];
    /// 0x9F Connection rate exceeded.
    ConnectionRateExceeded = 0x9F, "connection rate exceeded", [ConnAck Disconnect];
    /// 0xA0 Maximum connect time.
    MaximumConnectTime = 0xA0, "maximum connect time", [Disconnect];
    /// 0xA1 Subscription Identifiers not supported.
    SubscriptionIdentifiersNotSupported = 0xA1, "subscription identifiers not supported",
        [SubAck Disconnect];
    /// 0xA2 Wildcard Subscriptions not supported.
    WildcardSubscriptionsNotSupported = 0xA2, "wildcard subscriptions not supported",
        [SubAck Disconnect];
}

impl ReasonCode {
    /// The code as a byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Whether the code reports a failure (0x80 and above).
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.byte() >= 0x80
    }

    /// Whether a packet of this type may carry the code, sent by at least one of the peers. Spec:
    /// v5 section 2.4.
    #[must_use]
    pub const fn may_stand_in(self, packet: PacketType) -> bool {
        self.places().has(Place::Packet(packet))
    }

    /// The return code of a 3.x CONNACK: 0 to 5, `None` if 3.x has none for this reason.
    /// Spec: v3.1.1 section 3.2.2.3.
    #[must_use]
    pub fn return_code(self) -> Option<u8> {
        (0..=5).find(|&code| Self::from_return_code(code) == Some(self))
    }

    /// The reason that a return code of a 3.x CONNACK became in 5.0; `None` above 5.
    #[must_use]
    pub const fn from_return_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// The SUBACK code that grants `qos`.
    #[must_use]
    pub const fn granted(qos: crate::QoS) -> Self {
        match qos {
            crate::QoS::AtMostOnce => Self::Success,
            crate::QoS::AtLeastOnce => Self::GrantedQoS1,
            crate::QoS::ExactlyOnce => Self::GrantedQoS2,
        }
    }
}

impl core::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} (0x{:02X})", self.text(), self.byte())
    }
}
