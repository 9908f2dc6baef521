//! What can go wrong with authentication.

use std::time::Duration;

use crate::{LinkReason, SessionEnd};

/// Why an exchange failed. That the server refused is told by its reason code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// User name or password cannot be used with this method.
    #[error("{0} cannot be used with this authentication method")]
    Credentials(&'static str),
    /// The server does not go on with what we sent: somebody is in between, or it is broken.
    #[error("the server's nonce does not begin with ours: somebody may be in between")]
    Nonce,
    /// The server wants the password to be hashed too few times to be safe, or too many to be sensible.
    #[error("the server wants {iterations} iterations, which is not in {min} to {max}")]
    Iterations {
        /// What it wants.
        iterations: u32,
        /// The fewest that are accepted.
        min: u32,
        /// The most that are accepted.
        max: u32,
    },
    /// The server accepted us and could not prove that it knows the password.
    #[error("the server did not prove that it knows the password: it may not be the one you mean")]
    Signature,
    /// The server reports an error in the words of the method.
    #[error("the server reports '{0}'")]
    Server(String),
    /// What the server sent is not what the method says.
    #[error("the server's data is not what the authentication method says: {0}")]
    Malformed(&'static str),
    /// The server closed the connection in the middle of it, and did not say why.
    #[error("the server closed the connection before it was over")]
    Closed,
    /// The connection does not speak 5.0.
    #[error("an authenticator needs MQTT 5.0: choose Protocol::V5")]
    Version,
    /// Whatever else a method wants to say.
    #[error("{0}")]
    Other(String),
}

/// Why a session was not authenticated again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReauthenticateError {
    /// The session was built without [`crate::Builder::authenticator`].
    #[error("the session has no authenticator: give it one with Builder::authenticator")]
    NoAuthenticator,
    /// There is no connection; the next one authenticates by itself.
    #[error("not connected: the next connection authenticates by itself")]
    NotConnected,
    /// Another re-authentication is under way.
    #[error("another re-authentication is under way")]
    Busy,
    /// No answer in time; the connection was ended.
    #[error("no answer from the server within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// It failed on our side; the connection was ended.
    #[error("{0}")]
    Failed(AuthenticationError),
    /// The connection ended first: so a server refuses.
    #[error("{0}")]
    Disconnected(LinkReason),
    /// The session is over.
    #[error("{0}")]
    Over(SessionEnd),
}
