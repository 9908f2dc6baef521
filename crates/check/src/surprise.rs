//! What a broker did otherwise.

use postrider_net::DialError;
use postrider_wire::DecodeError;

/// The broker did something else than it must.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Surprise {
    /// No connection at all.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Another packet came.
    #[error("expected {expected}, got {got}")]
    Packet {
        /// One-line form of what was expected.
        expected: String,
        /// One-line form of what came.
        got: String,
    },
    /// A packet that no broker may send, or not then.
    #[error("{what} [{statement}]: {got}")]
    Law {
        /// The statement that was broken.
        statement: &'static str,
        /// How.
        what: &'static str,
        /// One-line form of what came.
        got: String,
    },
    /// Neither one copy of a message for all its subscriptions nor one for each.
    #[error("wrong copies: {0}")]
    Copies(String),
    /// The connection ended.
    #[error("expected {0}, but the connection was closed")]
    Closed(String),
    /// The connection did not end.
    #[error("expected the connection to be closed, but it stayed open for {0} s")]
    Open(u64),
    /// Nothing came.
    #[error("expected {expected}, but nothing came for {seconds} s")]
    Silence {
        /// One-line form of what was expected.
        expected: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Bytes that are no packet came.
    #[error("what came is no packet: {0}")]
    Decode(#[from] DecodeError),
    /// The play cannot be played as it is written.
    #[error("the play is wrong: {0}")]
    Play(String),
}
