//! Opens the byte stream: the sockets of `net`, or whatever the program gives.

use std::{fmt, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use postrider_net::{Address, Dial, DialError, Stream, TlsError, WebSocketError, dial_with};

use crate::LinkReason;

/// One attempt to open a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The URL as it was given to the builder; its host and port are others where a server has sent us on.
    pub server: String,
    /// Number of the attempt since the last success, from 1.
    pub number: u32,
    /// How long it may take: what is left of the builder's connect timeout, or of this server's share of it when the first
    /// connection is made. Then it is given up.
    pub timeout: Duration,
    /// What the builder says of TLS, WebSocket and proxy.
    pub(crate) how: Arc<Dial>,
}

type Opening = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

/// A function that opens a byte stream.
#[derive(Clone)]
pub(crate) struct Connector(Arc<dyn Fn(Attempt) -> Opening + Send + Sync>);

/// What a dial gives: a stream, or why not.
pub(crate) type Dialed = Result<Stream, Fault>;

/// Why there is no stream.
#[derive(Debug)]
pub(crate) struct Fault {
    /// For people.
    pub(crate) what: String,
    /// What is known about it.
    pub(crate) reason: Option<LinkReason>,
}

/// An attempt under way.
pub(crate) type Dialing = Pin<Box<dyn Future<Output = Dialed> + Send>>;

impl Attempt {
    /// Opens what the URL says, as it is done without a connector: for one that only adds to it.
    ///
    /// # Errors
    /// The URL cannot be used, or nobody answered there in time.
    pub async fn open(&self) -> io::Result<Stream> {
        let address = Address::parse(&self.server).map_err(io::Error::other)?;
        let how = Dial { timeout: self.timeout, ..Dial::clone(&self.how) };
        dial_with(&address.endpoint, &how).await.map_err(io::Error::other)
    }
}

impl Connector {
    pub(crate) fn new<F, Opened>(open: F) -> Self
    where
        F: Fn(Attempt) -> Opened + Send + Sync + 'static,
        Opened: Future<Output = io::Result<Stream>> + Send + 'static,
    {
        Self(Arc::new(move |attempt| Box::pin(open(attempt))))
    }
}

/// Begins an attempt.
pub(crate) fn open(connector: Option<&Connector>, attempt: Attempt) -> Dialing {
    let opening = match connector {
        Some(connector) => (connector.0)(attempt),
        None => Box::pin(async move { attempt.open().await }),
    };
    Box::pin(async move {
        opening.await.map_err(|error| Fault { what: error.to_string(), reason: reason_of(&error) })
    })
}

/// An attempt that has failed already.
pub(crate) fn refused(what: String) -> Dialing {
    Box::pin(std::future::ready(Err(Fault { what, reason: None })))
}

/// What an error of a stream, or of opening one, says besides its words.
pub(crate) fn reason_of(error: &io::Error) -> Option<LinkReason> {
    if let Some(error) = TlsError::find(error) {
        return Some(LinkReason::Tls(error.clone()));
    }
    if let Some(error) = WebSocketError::find(error) {
        return Some(LinkReason::WebSocket(error.clone()));
    }
    match error.get_ref()?.downcast_ref::<DialError>()? {
        DialError::Proxy(error) => Some(LinkReason::Proxy(error.clone())),
        DialError::Tls { source, .. } => Some(LinkReason::Tls(source.clone())),
        DialError::WebSocket { source, .. } => Some(LinkReason::WebSocket(source.clone())),
        DialError::Resolve { .. } | DialError::Connect { .. } | DialError::TimedOut { .. } | _ => {
            None
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
