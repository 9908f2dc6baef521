//! Why a connection or a whole session ended, in words that say what to do.

use std::fmt;

use postrider_net::{ProxyError, TlsError, WebSocketError};
use postrider_proto::wire::{Properties, ReasonCode, Text};
use postrider_store::StoreError;

use crate::AuthenticationError;

/// Why a connection ended or could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkReason {
    /// The server broke the protocol; we hung up.
    PeerFault {
        /// What it did.
        what: String,
        /// The statement of the standard that it broke, such as `MQTT-3.3.1-4`.
        statement: &'static str,
    },
    /// The server refused the connection.
    Refused {
        /// Its reason code.
        reason: ReasonCode,
        /// Its explanation, if it gave one (5.0).
        explanation: Option<String>,
        /// All properties of its CONNACK (5.0).
        properties: Properties,
    },
    /// The server ended the connection and said why (5.0).
    Disconnected {
        /// Its reason code.
        reason: ReasonCode,
        /// Its explanation, if it gave one.
        explanation: Option<String>,
        /// All properties of its DISCONNECT.
        properties: Properties,
    },
    /// We ended it.
    Ours,
    /// The stream closed, or the server was silent for too long.
    Lost,
    /// No stream could be opened.
    Unreachable {
        /// What the system said, with host and port.
        what: String,
    },
    /// The attempt took longer than the connect timeout.
    TimedOut,
    /// Enhanced authentication failed on our side (5.0).
    Authentication(AuthenticationError),
    /// The proxy did not connect us.
    Proxy(ProxyError),
    /// There is no secure connection, or no longer.
    Tls(TlsError),
    /// There is no WebSocket, or no longer.
    WebSocket(WebSocketError),
}

/// Why a session is over for good. Verbs called afterwards fail with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// `disconnect` was called, or the last handle was dropped.
    Disconnected,
    /// The connection ended and is not made again: the reason is final, or reconnecting is off or was given up.
    Link(LinkReason),
    /// The store failed. Nothing that was not stored has been acknowledged; a new session with the same store goes on.
    Store(StoreError),
    /// The tokio runtime that drove the session was shut down.
    Stopped,
}

/// What to do about a reason code, as a part of a sentence.
pub(crate) fn advice(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::BadUserNameOrPassword => "check user name and password",
        ReasonCode::NotAuthorized => {
            "the server's access rules do not allow it for this user and client id"
        }
        ReasonCode::ClientIdentifierNotValid => "choose another client id",
        ReasonCode::UnsupportedProtocolVersion => "choose another version, or Protocol::Auto",
        ReasonCode::ServerUnavailable
        | ReasonCode::ServerBusy
        | ReasonCode::ServerShuttingDown
        | ReasonCode::ConnectionRateExceeded => "try again later",
        ReasonCode::Banned => "the server bans this client; ask its administrator",
        ReasonCode::BadAuthenticationMethod => "the server wants another way to authenticate",
        ReasonCode::SessionTakenOver => "another connection uses the same client id",
        ReasonCode::KeepAliveTimeout => "nothing reached the server in time",
        ReasonCode::TopicFilterInvalid => "the server does not accept this filter",
        ReasonCode::TopicNameInvalid => "the server does not accept this topic",
        ReasonCode::PacketTooLarge => "the server takes no packets of this size",
        ReasonCode::MessageRateTooHigh => "publish less often",
        ReasonCode::QuotaExceeded => "a quota of the server is used up",
        ReasonCode::RetainNotSupported => "publish without retain",
        ReasonCode::QoSNotSupported => "use a lower QoS",
        ReasonCode::UseAnotherServer | ReasonCode::ServerMoved => "connect to another server",
        ReasonCode::SharedSubscriptionsNotSupported => "subscribe without $share",
        ReasonCode::SubscriptionIdentifiersNotSupported => {
            "subscribe without a subscription identifier"
        }
        ReasonCode::WildcardSubscriptionsNotSupported => "subscribe without wildcards",
        ReasonCode::PayloadFormatInvalid => "the payload is not what its format property says",
        ReasonCode::Success
        | ReasonCode::GrantedQoS1
        | ReasonCode::GrantedQoS2
        | ReasonCode::DisconnectWithWill
        | ReasonCode::NoMatchingSubscribers
        | ReasonCode::NoSubscriptionExisted
        | ReasonCode::ContinueAuthentication
        | ReasonCode::ReAuthenticate
        | ReasonCode::UnspecifiedError
        | ReasonCode::MalformedPacket
        | ReasonCode::ProtocolError
        | ReasonCode::ImplementationSpecificError
        | ReasonCode::PacketIdentifierInUse
        | ReasonCode::PacketIdentifierNotFound
        | ReasonCode::ReceiveMaximumExceeded
        | ReasonCode::TopicAliasInvalid
        | ReasonCode::AdministrativeAction
        | ReasonCode::MaximumConnectTime => "the server gave no hint; its log may",
    }
}

/// What to do about a store that failed, as a part of a sentence.
pub(crate) fn way_out(error: &StoreError) -> &'static str {
    match error {
        StoreError::Corrupt { .. } => {
            "nothing was thrown away: look for a copy, or set the folder aside by renaming it and \
             begin with a new store"
        }
        StoreError::Full { .. } => "make room, then open it again: what was stored is whole",
        StoreError::Io { .. } => "look at the disk and its permissions, then open it again",
        StoreError::Locked(_) => "end that session first, or use another path",
        StoreError::Newer { .. } => "use the newer program, or another path",
        StoreError::NotAStore(_) => "use another path",
        StoreError::Closed(_)
        | StoreError::NoSpool(_)
        | StoreError::SpoolLimit(_)
        | StoreError::SpoolRange { .. }
        | _ => "open it again",
    }
}

/// Writes a reason code with the server's explanation and our advice.
pub(crate) fn explain(
    f: &mut fmt::Formatter<'_>,
    reason: ReasonCode,
    explanation: Option<&str>,
) -> fmt::Result {
    write!(f, "{reason}")?;
    match explanation {
        Some(explanation) => write!(f, ": \"{explanation}\""),
        None => write!(f, "; {}", advice(reason)),
    }
}

/// The server's Reason String, if any.
pub(crate) fn explanation(properties: &Properties) -> Option<String> {
    properties.reason_string().map(Text::as_str).map(str::to_owned)
}

impl fmt::Display for LinkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerFault { what, statement: "" } => {
                write!(f, "the server broke the protocol: {what}")
            }
            Self::PeerFault { what, statement } => {
                write!(f, "the server broke the protocol: {what} [{statement}]")
            }
            Self::Refused { reason, explanation, .. } => {
                f.write_str("the server refused the connection: ")?;
                explain(f, *reason, explanation.as_deref())
            }
            Self::Disconnected { reason, explanation, .. } => {
                f.write_str("the server ended the connection: ")?;
                explain(f, *reason, explanation.as_deref())
            }
            Self::Ours => f.write_str("we ended the connection"),
            Self::Lost => f.write_str("the connection was lost"),
            Self::Unreachable { what } => f.write_str(what),
            Self::Authentication(error) => write!(f, "authentication failed: {error}"),
            Self::TimedOut => f.write_str("the connect timeout passed"),
            Self::Proxy(error) => write!(f, "{error}"),
            Self::Tls(error) => write!(f, "{error}"),
            Self::WebSocket(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for SessionEnd {}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("the session was disconnected"),
            Self::Link(reason) => write!(f, "{reason}, and no further attempt is made"),
            Self::Store(error) => write!(f, "{error}; {}", way_out(error)),
            Self::Stopped => f.write_str("the runtime that drove the session was shut down"),
        }
    }
}
