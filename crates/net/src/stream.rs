//! One open connection.

use std::{io, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::Endpoint;

/// What a layer of a connection must be able to do.
pub trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A byte stream in both directions, whatever it runs on.
#[allow(missing_debug_implementations)]
pub struct Stream {
    pub(crate) inner: Box<dyn Bytes>,
}

/// Why no stream could be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The name has no address.
    #[error("host '{host}' cannot be resolved: {source}")]
    Resolve {
        /// Host name.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// No address answered.
    #[error("{endpoint} cannot be reached: {source}")]
    Connect {
        /// Where to.
        endpoint: Endpoint,
        /// What the system said of the last address tried.
        source: io::Error,
    },
    /// Nothing happened in time.
    #[error("{endpoint} did not answer within {}", humane(*.after))]
    TimedOut {
        /// Where to.
        endpoint: Endpoint,
        /// The time allowed.
        after: Duration,
    },
}

fn humane(after: Duration) -> String {
    format!("{} s", after.as_secs_f64())
}

impl Stream {
    /// Wraps any byte stream, such as one end of `tokio::io::duplex`.
    #[must_use]
    pub fn new(inner: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { inner: Box::new(inner) }
    }
}

/// Opens a stream; TCP sockets get `TCP_NODELAY`. All addresses of a name are tried in turn.
///
/// # Errors
/// [`DialError`].
pub async fn dial(_endpoint: &Endpoint, _timeout: Duration) -> Result<Stream, DialError> {
    todo!()
}
