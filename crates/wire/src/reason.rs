//! Reason codes of 5.0, which also stand for the return codes of 3.x.

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
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
        }
    };
}

reason_codes! {
    /// 0x00 Success, Normal disconnection, Granted QoS 0.
    Success = 0x00, "success";
    /// 0x01 Granted QoS 1.
    GrantedQoS1 = 0x01, "granted QoS 1";
    /// 0x02 Granted QoS 2.
    GrantedQoS2 = 0x02, "granted QoS 2";
    /// 0x04 Disconnect with will message.
    DisconnectWithWill = 0x04, "disconnect with will message";
    /// 0x10 No matching subscribers.
    NoMatchingSubscribers = 0x10, "no matching subscribers";
    /// 0x11 No subscription existed.
    NoSubscriptionExisted = 0x11, "no subscription existed";
    /// 0x18 Continue authentication.
    ContinueAuthentication = 0x18, "continue authentication";
    /// 0x19 Re-authenticate.
    ReAuthenticate = 0x19, "re-authenticate";
    /// 0x80 Unspecified error.
    UnspecifiedError = 0x80, "unspecified error";
    /// 0x81 Malformed Packet.
    MalformedPacket = 0x81, "malformed packet";
    /// 0x82 Protocol Error.
    ProtocolError = 0x82, "protocol error";
    /// 0x83 Implementation specific error.
    ImplementationSpecificError = 0x83, "implementation specific error";
    /// 0x84 Unsupported Protocol Version. 3.x: return code 1.
    UnsupportedProtocolVersion = 0x84, "unsupported protocol version";
    /// 0x85 Client Identifier not valid. 3.x: return code 2.
    ClientIdentifierNotValid = 0x85, "client identifier not valid";
    /// 0x86 Bad User Name or Password. 3.x: return code 4.
    BadUserNameOrPassword = 0x86, "bad user name or password";
    /// 0x87 Not authorized. 3.x: return code 5.
    NotAuthorized = 0x87, "not authorized";
    /// 0x88 Server unavailable. 3.x: return code 3.
    ServerUnavailable = 0x88, "server unavailable";
    /// 0x89 Server busy.
    ServerBusy = 0x89, "server busy";
    /// 0x8A Banned.
    Banned = 0x8A, "banned";
    /// 0x8B Server shutting down.
    ServerShuttingDown = 0x8B, "server shutting down";
    /// 0x8C Bad authentication method.
    BadAuthenticationMethod = 0x8C, "bad authentication method";
    /// 0x8D Keep Alive timeout.
    KeepAliveTimeout = 0x8D, "keep alive timeout";
    /// 0x8E Session taken over.
    SessionTakenOver = 0x8E, "session taken over";
    /// 0x8F Topic Filter invalid.
    TopicFilterInvalid = 0x8F, "topic filter invalid";
    /// 0x90 Topic Name invalid.
    TopicNameInvalid = 0x90, "topic name invalid";
    /// 0x91 Packet Identifier in use.
    PacketIdentifierInUse = 0x91, "packet identifier in use";
    /// 0x92 Packet Identifier not found.
    PacketIdentifierNotFound = 0x92, "packet identifier not found";
    /// 0x93 Receive Maximum exceeded.
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded";
    /// 0x94 Topic Alias invalid.
    TopicAliasInvalid = 0x94, "topic alias invalid";
    /// 0x95 Packet too large.
    PacketTooLarge = 0x95, "packet too large";
    /// 0x96 Message rate too high.
    MessageRateTooHigh = 0x96, "message rate too high";
    /// 0x97 Quota exceeded.
    QuotaExceeded = 0x97, "quota exceeded";
    /// 0x98 Administrative action.
    AdministrativeAction = 0x98, "administrative action";
    /// 0x99 Payload format invalid.
    PayloadFormatInvalid = 0x99, "payload format invalid";
    /// 0x9A Retain not supported.
    RetainNotSupported = 0x9A, "retain not supported";
    /// 0x9B QoS not supported.
    QoSNotSupported = 0x9B, "QoS not supported";
    /// 0x9C Use another server.
    UseAnotherServer = 0x9C, "use another server";
    /// 0x9D Server moved.
    ServerMoved = 0x9D, "server moved";
    /// 0x9E Shared Subscriptions not supported.
    SharedSubscriptionsNotSupported = 0x9E, "shared subscriptions not supported";
    /// 0x9F Connection rate exceeded.
    ConnectionRateExceeded = 0x9F, "connection rate exceeded";
    /// 0xA0 Maximum connect time.
    MaximumConnectTime = 0xA0, "maximum connect time";
    /// 0xA1 Subscription Identifiers not supported.
    SubscriptionIdentifiersNotSupported = 0xA1, "subscription identifiers not supported";
    /// 0xA2 Wildcard Subscriptions not supported.
    WildcardSubscriptionsNotSupported = 0xA2, "wildcard subscriptions not supported";
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
