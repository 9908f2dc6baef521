//! Opens the byte stream: the sockets of `net`, or whatever the program gives.

use std::{fmt, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use postrider_net::{Address, Stream, dial};

/// One attempt to open a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The URL as it was given to the builder.
    pub server: String,
    /// Number of the attempt since the last success, from 1.
    pub number: u32,
    /// How long it may take: the builder's connect timeout. A connector keeps to it itself.
    pub timeout: Duration,
}

type Opening = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

/// A function that opens a byte stream.
#[derive(Clone)]
pub(crate) struct Connector(Arc<dyn Fn(Attempt) -> Opening + Send + Sync>);

/// What a dial gives: a stream, or why not, for people.
pub(crate) type Dialed = Result<Stream, String>;

/// An attempt under way.
pub(crate) type Dialing = Pin<Box<dyn Future<Output = Dialed> + Send>>;

impl Attempt {
    /// Opens what the URL says, as it is done without a connector: for one that only adds to it.
    ///
    /// # Errors
    /// The URL cannot be used, or nobody answered there in time.
    pub async fn open(&self) -> io::Result<Stream> {
        let address = Address::parse(&self.server).map_err(io::Error::other)?;
        dial(&address.endpoint, self.timeout).await.map_err(io::Error::other)
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
    Box::pin(async move { opening.await.map_err(|error| error.to_string()) })
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
