//! What can go wrong with each verb: what happened, and what to do.

use std::{fmt, path::PathBuf, time::Duration};

use postrider_net::{ProxyError, TlsError, UrlError, WebSocketError};
use postrider_proto::{
    client::{AcknowledgeError, BATCH_BYTES_MAX, OWN_KEY_BYTES_MAX},
    wire::{FilterError, Properties, ReasonCode, TextError, TopicError},
};
use postrider_store::StoreError;

use crate::{
    AuthenticationError, SessionEnd,
    reason::{LinkReason, explain, way_out},
    shared::Shared,
    topic::{NotFilter, NotTopic},
};

/// Why no session could be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL cannot be used.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// An option cannot be sent.
    #[error("{what} cannot be used: {error}")]
    Text {
        /// Which option.
        what: &'static str,
        /// What is wrong with it.
        error: TextError,
    },
    /// An option is longer than a packet can hold.
    #[error("{what} has {len} bytes; at most {len_max} fit")]
    TooLong {
        /// Which option.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The longest that fits, in bytes.
        len_max: usize,
    },
    /// The will's topic cannot be used.
    #[error("will: {0}")]
    WillTopic(NotTopic),
    /// There is no tokio runtime to drive the session.
    #[error("no tokio runtime here: call connect() inside one, or use postrider::blocking")]
    NoRuntime,
    /// The system gave no thread (blocking face).
    #[error("no thread for the session: {0}")]
    Thread(String),
    /// No stream could be opened.
    #[error("{what}; {}", whether_right(.what))]
    Unreachable {
        /// What the system said, with host and port.
        what: String,
    },
    /// The proxy did not connect us.
    #[error("no connection to {server}: {error}")]
    Proxy {
        /// The URL, without credentials.
        server: String,
        /// Why.
        error: ProxyError,
    },
    /// There is no secure connection.
    #[error("no secure connection to {server}: {error}")]
    Tls {
        /// The URL, without credentials.
        server: String,
        /// Why.
        error: TlsError,
    },
    /// There is no WebSocket.
    #[error("no WebSocket to {server}: {error}")]
    WebSocket {
        /// The URL, without credentials.
        server: String,
        /// Why.
        error: WebSocketError,
    },
    /// The whole attempt took too long.
    #[error("no connection to {server} within {} s: {stage}", after.as_secs_f64())]
    TimedOut {
        /// The URL, without credentials.
        server: String,
        /// The connect timeout.
        after: Duration,
        /// How far the attempt came.
        stage: &'static str,
    },
    /// The server does not know this user or this password, or does not let it in.
    #[error("{server} refused {who}: {}", Explained(*.reason, .explanation.as_deref()))]
    Credentials {
        /// The URL, without credentials.
        server: String,
        /// Which user, in words.
        who: String,
        /// The server's reason code.
        reason: ReasonCode,
        /// The server's explanation, if it gave one (5.0).
        explanation: Option<String>,
        /// All properties of its packet (5.0).
        properties: Properties,
    },
    /// Enhanced authentication failed, and the server gave no reason code (5.0).
    #[error("authentication at {server} failed: {error}")]
    Authentication {
        /// The URL, without credentials.
        server: String,
        /// What is wrong.
        error: AuthenticationError,
    },
    /// Enhanced authentication needs 5.0.
    #[error("an authenticator needs MQTT 5.0: choose Protocol::V5 or Protocol::Auto")]
    AuthenticatorVersion,
    /// The server refused for another reason.
    #[error("{server} refused the connection: {}", Explained(*.reason, .explanation.as_deref()))]
    Refused {
        /// The URL, without credentials.
        server: String,
        /// The server's reason code.
        reason: ReasonCode,
        /// The server's explanation, if it gave one (5.0).
        explanation: Option<String>,
        /// All properties of its packet (5.0).
        properties: Properties,
    },
    /// What answers there does not speak MQTT.
    #[error("what answers at {server} is not MQTT: {what}")]
    NotMqtt {
        /// The URL, without credentials.
        server: String,
        /// What it looks like.
        what: String,
    },
    /// The connection was closed without a word.
    #[error(
        "{server} closed the connection without an answer; it may want TLS, not speak MQTT, \
         or not offer this version"
    )]
    Closed {
        /// The URL, without credentials.
        server: String,
    },
    /// The store cannot be opened, or failed.
    #[error("{0}; {way_out}", way_out = way_out(.0))]
    Store(StoreError),
    /// The store holds the session of another client id.
    #[error(
        "the store {} holds the session of client id '{stored}', not of '{wanted}': use that \
         client id, or another path", .path.display()
    )]
    StoreOfOther {
        /// The store.
        path: PathBuf,
        /// Whose session it holds.
        stored: String,
        /// The client id of the builder.
        wanted: String,
    },
    /// The store is a broker's.
    #[error("the store {} is a broker's: use another path", .0.display())]
    StoreOfBroker(PathBuf),
    /// Something else ended the attempt.
    #[error("{0}")]
    Ended(SessionEnd),
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Not a topic.
    #[error(transparent)]
    Topic(#[from] NotTopic),
    /// A property has a text that cannot be sent.
    #[error("{what} cannot be used: {error}")]
    Text {
        /// Which property.
        what: &'static str,
        /// What is wrong with it.
        error: TextError,
    },
    /// The payload is too large, for MQTT or for the server.
    #[error("payload of {payload} bytes is too large: at most {payload_max} fit for '{topic}'")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Length of the payload in bytes.
        payload: u64,
        /// The largest payload for this topic and these properties, in bytes.
        payload_max: u64,
    },
    /// It was queued, and turned out to be too large for the server that was reached.
    #[error("message is larger than the server accepts")]
    TooLargeForServer,
    /// The queue of the session is full.
    #[error(
        "queue is full with {messages} messages of {bytes} bytes: wait for publications to \
         complete, or raise queue_messages and queue_bytes"
    )]
    QueueFull {
        /// Messages in it.
        messages: u32,
        /// Bytes in it.
        bytes: u64,
    },
    /// No open message has this number.
    #[error("message {0} is not open: it is complete, or was never published by this session")]
    NotOpen(u64),
    /// Nothing can be stored.
    #[error("nothing is stored at QoS 0 or without a store: use QoS 1 or 2, and Builder::store")]
    NotStored,
    /// QoS 0 without a connection.
    #[error(
        "not connected: a message at QoS 0 would be lost; use QoS 1 or 2, or queue_qos0_offline"
    )]
    NotConnected,
    /// The server does not offer it.
    #[error("the server does not offer {0}")]
    NotOffered(&'static str),
    /// A property that a PUBLISH of this version cannot carry, or not with this value: a response topic with wildcards,
    /// correlation data of more than 65,535 bytes.
    #[error(
        "{0} cannot be sent: not in this version of MQTT, not in a publication, or not with this \
         value"
    )]
    Property(&'static str),
    /// The server refused the message.
    #[error("the server refused the message: {}", Explained(*.reason, .explanation.as_deref()))]
    Refused {
        /// Its reason code, 0x80 or above.
        reason: ReasonCode,
        /// Its explanation, if it gave one (5.0).
        explanation: Option<String>,
        /// All properties of its PUBACK or PUBREC (5.0).
        properties: Properties,
    },
    /// No answer in time.
    #[error("no answer from the server within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// Its Message Expiry Interval passed before it could be sent.
    #[error("message expired before it could be sent")]
    Expired,
    /// A full queue gave it up, see [`crate::WhenFull`]; or it was at QoS 0.
    #[error("message was dropped from a full queue")]
    Dropped,
    /// The server closed the connection right after it was sent, each time, see [`crate::Builder::park_after`].
    #[error("the server closed the connection {closes} times right after the message was sent")]
    Parked {
        /// How often.
        closes: u32,
    },
    /// A later message to its topic took its place, see [`crate::WhenFull::KeepLatest`].
    #[error("a later message to the same topic took its place before it could be sent")]
    Superseded,
    /// The server lost the session with the exchange open, see [`crate::Builder::fail_doubtful`].
    #[error("the server lost the session: it is not known whether the message was delivered")]
    SessionLost,
    /// The store gave something else back; what is there stays there.
    #[error("message cannot be read back from the store")]
    Unreadable,
    /// What was to be published from a file or a reader.
    #[error("payload: {0}")]
    Source(#[from] SourceError),
    /// There is no room for a large payload, or it could not be written.
    #[error("a large payload cannot be kept: {0}")]
    Spool(StoreError),
    /// The session is over.
    #[error("{0}")]
    Over(SessionEnd),
}

/// What is wrong with a [`crate::Source`]. Nothing was published then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It ended early.
    #[error("it ended after {had} bytes of {said}")]
    Short {
        /// Bytes that it was said to have.
        said: u64,
        /// Bytes that it had.
        had: u64,
    },
    /// It goes on.
    #[error("it goes on after the {said} bytes that it should have")]
    Long {
        /// Bytes that it was said to have.
        said: u64,
    },
    /// It cannot be opened or read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// The file of a large payload that arrived cannot be read, or is not what was written there. The message was
/// acknowledged like any other, unless the program does that itself ([`crate::Builder::manual_acknowledgement`]): one
/// that it does not acknowledge comes again in full with the next session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload of the message cannot be read: {0}")]
pub struct PayloadError(pub StoreError);

/// Why the payload of a message is no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotText {
    /// It is not UTF-8.
    #[error("payload is not UTF-8 text from byte {at} on; read it with Message::payload")]
    Utf8 {
        /// The first byte that is not text, from 0.
        at: usize,
    },
    /// It cannot be read.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// Why a subscription was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Not a topic filter.
    #[error(transparent)]
    Filter(#[from] NotFilter),
    /// A property has a text that cannot be sent.
    #[error("{what} cannot be used: {error}")]
    Text {
        /// Which property.
        what: &'static str,
        /// What is wrong with it.
        error: TextError,
    },
    /// A request for several filters has none. Spec: v5 [MQTT-3.8.3-2].
    #[error("nothing to subscribe to: a request needs a filter at least")]
    Empty,
    /// A subscription identifier out of range.
    #[error("subscription identifier {0} is not in 1 to 268435455")]
    Identifier(u32),
    /// The server does not offer it.
    #[error("the server does not offer {what}, which '{filter}' needs")]
    NotOffered {
        /// What it does not offer.
        what: &'static str,
        /// The filter.
        filter: String,
    },
    /// The server refused the subscription.
    #[error(
        "the server refused '{filter}': {}", Explained(*.reason, .explanation.as_deref())
    )]
    Refused {
        /// The filter.
        filter: String,
        /// Its reason code, 0x80 or above.
        reason: ReasonCode,
        /// Its explanation, if it gave one (5.0).
        explanation: Option<String>,
        /// All properties of its SUBACK (5.0).
        properties: Properties,
    },
    /// No answer in time.
    #[error("no answer from the server within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// Too many subscribes and unsubscribes wait for an answer.
    #[error("{0} subscribes and unsubscribes wait for an answer already")]
    TooMany(u32),
    /// The system gave no thread for callbacks (blocking face).
    #[error("no thread for callbacks: {0}")]
    Thread(String),
    /// The session is over.
    #[error("{0}")]
    Over(SessionEnd),
}

/// Why a subscription was not ended at the server. Its streams have ended all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsubscribeError {
    /// Not a topic filter.
    #[error(transparent)]
    Filter(#[from] NotFilter),
    /// The server refused.
    #[error(
        "the server refused to unsubscribe '{filter}': {}",
        Explained(*.reason, .explanation.as_deref())
    )]
    Refused {
        /// The filter, the first refused one if there are several.
        filter: String,
        /// Its reason code, 0x80 or above.
        reason: ReasonCode,
        /// Its explanation, if it gave one (5.0).
        explanation: Option<String>,
        /// All properties of its UNSUBACK (5.0).
        properties: Properties,
    },
    /// No answer in time.
    #[error("no answer from the server within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// Too many subscribes and unsubscribes wait for an answer.
    #[error("{0} subscribes and unsubscribes wait for an answer already")]
    TooMany(u32),
    /// The session is over.
    #[error("{0}")]
    Over(SessionEnd),
}

/// What was left undone by a disconnect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectError {
    /// Publications were not complete when the time for flushing was over, or there was no connection.
    #[error("disconnected with {messages} publications that the server has not confirmed")]
    Unfinished {
        /// How many.
        messages: u64,
    },
    /// A text that cannot be sent. The session goes on.
    #[error("{what} cannot be used: {error}")]
    Text {
        /// Which property.
        what: &'static str,
        /// What is wrong with it.
        error: TextError,
    },
    /// A property that a DISCONNECT cannot carry. The session goes on.
    #[error("{0} cannot be sent: it has no place in a DISCONNECT")]
    Property(&'static str),
    /// A code that a DISCONNECT does not have. The session goes on.
    #[error("{0} is no reason to disconnect; choose one that DISCONNECT may have")]
    Reason(ReasonCode),
    /// The session had ended before, for this reason.
    #[error("{0}")]
    Over(SessionEnd),
}

/// Why a message was not acknowledged; nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// It is acknowledged already, or the server lost the session in which it came.
    #[error(
        "message {number} is not open: it is acknowledged already, or the server has lost the \
         session in which it came"
    )]
    Stale {
        /// Its number.
        number: u64,
    },
    /// The session acknowledges it by itself, or it has QoS 0.
    #[error("nothing is to be acknowledged here; build the session with manual_acknowledgement")]
    NotManual,
    /// A code that PUBACK and PUBREC do not have.
    #[error("{0} is no answer to a message; choose one that PUBACK may have")]
    Reason(ReasonCode),
    /// A text that cannot be sent.
    #[error("{what} cannot be used: {error}")]
    Text {
        /// Which property.
        what: &'static str,
        /// What is wrong with it.
        error: TextError,
    },
    /// Something is to be stored and there is no store.
    #[error("the session has no store; give it one with Builder::store, or acknowledge without")]
    NoStore,
    /// The batch is too large.
    #[error("a batch of {bytes} bytes is more than the {bytes_max} that may be stored at once")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// The most.
        bytes_max: u64,
    },
    /// A key is too long.
    #[error("a key of {bytes} bytes is longer than {bytes_max}")]
    KeyTooLong {
        /// Its bytes.
        bytes: u64,
        /// The most.
        bytes_max: u64,
    },
    /// The session is over. Whether the acknowledgement was stored shows when the next one begins.
    #[error("{0}")]
    Over(SessionEnd),
}

/// Why what the program stored cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// There is no store.
    #[error("the session has no store; give it one with Builder::store")]
    NoStore,
    /// What stands under the key was not written by this program.
    #[error("what is stored under the key cannot be read")]
    Unreadable,
    /// The store failed.
    #[error("{0}; {way_out}", way_out = way_out(.0))]
    Store(StoreError),
    /// The session is over.
    #[error("{0}")]
    Over(SessionEnd),
}

impl AckError {
    pub(crate) fn from_machine(error: AcknowledgeError, shared: &Shared) -> Self {
        match error {
            AcknowledgeError::Stale(number) => Self::Stale { number },
            AcknowledgeError::NoStore => Self::NoStore,
            AcknowledgeError::TooLarge { bytes } => {
                Self::TooLarge { bytes, bytes_max: BATCH_BYTES_MAX }
            }
            AcknowledgeError::KeyTooLong { bytes } => {
                Self::KeyTooLong { bytes, bytes_max: OWN_KEY_BYTES_MAX as u64 }
            }
            AcknowledgeError::Over => Self::Over(shared.end()),
        }
    }
}

/// Shows a reason code with the server's explanation and our advice.
struct Explained<'a>(ReasonCode, Option<&'a str>);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        explain(f, self.0, self.1)
    }
}

/// What to look at where nobody answers.
fn whether_right(what: &str) -> &'static str {
    if what.starts_with("unix:") {
        "is the broker running there, and is the path right?"
    } else if what.starts_with("the proxy ") {
        "is the proxy running there, and are its host and port right?"
    } else {
        "is the broker running there, and are host and port right?"
    }
}

impl ConnectError {
    /// Whether the same attempt may succeed later without any change.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let is_busy = |reason: ReasonCode| {
            [
                ReasonCode::ServerUnavailable,
                ReasonCode::ServerBusy,
                ReasonCode::QuotaExceeded,
                ReasonCode::ConnectionRateExceeded,
            ]
            .contains(&reason)
        };
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Closed { .. })
            || matches!(self, Self::Ended(SessionEnd::Link(LinkReason::Lost)))
            || matches!(self, Self::Refused { reason, .. } if is_busy(*reason))
    }
}

impl PublishError {
    /// The byte at which a wrong topic has its wildcard, if that is what is wrong.
    #[must_use]
    pub fn wildcard_at(&self) -> Option<usize> {
        if let Self::Topic(NotTopic { error: TopicError::Wildcard(at), .. }) = self {
            return Some(*at);
        }
        None
    }
}

impl SubscribeError {
    /// The byte at which a wrong filter has its misplaced wildcard, if that is what is wrong.
    #[must_use]
    pub fn wildcard_at(&self) -> Option<usize> {
        if let Self::Filter(NotFilter {
            error: FilterError::MultiLevel(at) | FilterError::SingleLevel(at),
            ..
        }) = self
        {
            return Some(*at);
        }
        None
    }
}
