//! Enhanced authentication (5.0): a method of its own in place of, or besides, user name and password.
//!
//! ```text
//! Authenticator --begin, for each connection--> AuthenticationExchange
//!     first()   --> CONNECT, or AUTH to re-authenticate
//!     respond() --> AUTH, for each AUTH of the server
//!     finish()      judges what comes with the server's success
//! ```
//!
//! Spec: v5 section 4.12.

mod again;
mod error;
#[cfg(feature = "scram")]
mod scram;

use std::sync::Arc;

use bytes::Bytes;
use postrider_proto::wire::Properties;

use crate::Builder;

pub use self::error::{AuthenticationError, ReauthenticateError};
#[cfg(feature = "scram")]
pub use self::scram::Scram;

/// A method of authentication. One value serves all connections of a session.
///
/// Methods are called on the thread that drives the session, so they must not wait for anything, but for
/// [`AuthenticationExchange::respond`], which has a thread where it may. What else takes time, such as fetching a token,
/// belongs into [`Builder::before_connect`], which may set another authenticator.
///
/// A method that sends a token and is sent nothing:
///
/// ```
/// use postrider::{AuthenticationError, AuthenticationExchange, Authenticator, Bytes};
///
/// struct Token(String);
///
/// impl Authenticator for Token {
///     fn method(&self) -> &str {
///         "K8S-SAT"
///     }
///
///     fn begin(&self) -> Result<Box<dyn AuthenticationExchange>, AuthenticationError> {
///         Ok(Box::new(Sent(self.0.clone())))
///     }
/// }
///
/// struct Sent(String);
///
/// impl AuthenticationExchange for Sent {
///     fn first(&mut self) -> Result<Option<Bytes>, AuthenticationError> {
///         Ok(Some(self.0.clone().into()))
///     }
///
///     fn respond(&mut self, _challenge: &[u8]) -> Result<Option<Bytes>, AuthenticationError> {
///         Err(AuthenticationError::Malformed("this method has no challenges"))
///     }
///
///     fn finish(&mut self, _data: &[u8]) -> Result<(), AuthenticationError> {
///         Ok(())
///     }
/// }
///
/// let builder = postrider::Session::builder("mqtt://127.0.0.1", "press-7")
///     .authenticator(Token("secret".to_owned()));
/// # let _ = builder;
/// ```
pub trait Authenticator: Send + Sync {
    /// The Authentication Method of CONNECT, such as `SCRAM-SHA-256`.
    fn method(&self) -> &str;

    /// Begins an exchange: for each connection, and for each re-authentication.
    ///
    /// # Errors
    /// [`AuthenticationError`]; the session is over then.
    fn begin(&self) -> Result<Box<dyn AuthenticationExchange>, AuthenticationError>;
}

/// One exchange of an [`Authenticator`].
pub trait AuthenticationExchange: Send {
    /// The data of CONNECT, or of the AUTH that begins a re-authentication; `None` for none.
    ///
    /// # Errors
    /// [`AuthenticationError`]; the session is over then.
    fn first(&mut self) -> Result<Option<Bytes>, AuthenticationError>;

    /// Answers a challenge of the server, whose data is empty if it has none. Called on a thread where it may take its
    /// time: nothing is received before it has returned, but pings and messages to the server go on. With it
    /// [`AuthenticationExchange::handle_properties`] and [`AuthenticationExchange::properties`].
    ///
    /// # Errors
    /// [`AuthenticationError`]; the connection is ended then, and the session over.
    fn respond(&mut self, challenge: &[u8]) -> Result<Option<Bytes>, AuthenticationError>;

    /// The server says that it is satisfied; its data, empty if it has none, may prove who it is. Nothing is sent and
    /// nothing is received before this has returned.
    ///
    /// # Errors
    /// [`AuthenticationError`]; the connection is ended then, and the session over.
    fn finish(&mut self, data: &[u8]) -> Result<(), AuthenticationError>;

    /// All properties of the server's AUTH or CONNACK, reason string and user properties among them; called before
    /// [`AuthenticationExchange::respond`] or [`AuthenticationExchange::finish`] gets its data. Does nothing by default.
    fn handle_properties(&mut self, properties: &Properties) {
        let _ = properties;
    }

    /// What AUTH says besides the data that was just given for it: reason string and user properties; others are left
    /// out. Nothing by default. CONNECT has those of [`Builder::property`].
    fn properties(&mut self) -> Properties {
        Properties::new()
    }
}

impl<S> Builder<S> {
    /// Authenticates by a method of its own (5.0). Then no other version is spoken, whatever [`Builder::version`] says,
    /// so that a server cannot talk the session out of it.
    ///
    #[cfg_attr(feature = "scram", doc = "[`Scram`] is built in.")]
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator + 'static) -> Self {
        self.extras.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Lets the server begin a re-authentication with an AUTH of code 0x19, which we answer. The standard leaves this to
    /// clients; some servers do it nevertheless. Without this it ends the connection as a fault of the server.
    #[must_use]
    pub fn allow_server_reauthentication(mut self) -> Self {
        self.extras.is_server_reauthentication_allowed = true;
        self
    }
}
