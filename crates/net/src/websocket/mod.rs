//! WebSocket (RFC 6455) as a byte stream: binary frames, their borders forgotten.
//!
//! Frames are taken apart while they are read, in the reader's own buffer, and never gathered: a frame of any length costs
//! no memory. `tests/layers/websocket.rs` holds this to another implementation.

mod frame;
mod handshake;
mod stream;

pub(crate) use self::handshake::{accept, connect};

/// What is asked for at the opening of a WebSocket. The default: sub-protocol `mqtt`, the path of the URL, no headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    pub(crate) path: Option<String>,
    pub(crate) protocol: String,
    pub(crate) headers: Vec<(String, Hidden)>,
}

/// A value that may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hidden(pub(crate) String);

/// Why there is no WebSocket, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// The server answered with something else than 101.
    #[error("the server refused the WebSocket: {status} {reason}{}", advice(*.status, .location.as_deref()))]
    Refused {
        /// HTTP status.
        status: u16,
        /// What the server wrote beside it.
        reason: String,
        /// Where it says to go.
        location: Option<String>,
    },
    /// What answers does not speak HTTP.
    #[error("what answers there speaks no HTTP: {0}")]
    NotHttp(String),
    /// The server closed the connection.
    #[error("the server closed the connection without an answer; it may want TLS (wss://)")]
    Closed,
    /// The answer is not one to our request.
    #[error("the server's answer is no WebSocket's: {0}")]
    Answer(&'static str),
    /// The server chose another sub-protocol.
    #[error("the server chose the sub-protocol '{got}', not '{wanted}'")]
    Protocol {
        /// What we asked for.
        wanted: String,
        /// What it answered.
        got: String,
    },
    /// An option cannot be sent.
    #[error("{0} cannot be sent in an HTTP request")]
    Option(String),
    /// The other side broke the rules.
    #[error("the other side broke the rules of WebSocket: {0}")]
    Frame(&'static str),
    /// Something else.
    #[error("WebSocket: {0}")]
    Other(String),
}

impl Default for WebSocket {
    fn default() -> Self {
        Self { path: None, protocol: PROTOCOL.to_owned(), headers: Vec::new() }
    }
}

impl WebSocket {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Path and query in place of the URL's, such as `/mqtt`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Adds a header to the request, such as `Authorization`. May be said again.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), Hidden(value.into())));
        self
    }

    /// Another sub-protocol, such as `mqttv3.1` for very old servers; an empty one asks for none.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = protocol.into();
        self
    }
}

impl WebSocketError {
    /// The WebSocket error in an error of a stream, if it is one.
    #[must_use]
    pub fn find(error: &std::io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden")
    }
}

/// What to do about a status, as the rest of a sentence.
fn advice(status: u16, location: Option<&str>) -> String {
    match (status, location) {
        (300..=399, Some(location)) => format!("; it says to go to {location}"),
        (400, _) => "; sub-protocol or Host may be wrong, or it wants TLS (wss://)".to_owned(),
        (401 | 403, _) => "; it may want a header with credentials".to_owned(),
        (404, _) => "; the path may be wrong, which is often /mqtt, /ws or /".to_owned(),
        (200..=299, _) => "; it serves pages there, and no WebSocket".to_owned(),
        _ => String::new(),
    }
}

/// The sub-protocol's registered name.
const PROTOCOL: &str = "mqtt";
