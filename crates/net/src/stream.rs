//! One open connection.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use crate::Endpoint;
#[cfg(unix)]
use crate::unix;

/// What a layer of a connection must be able to do.
pub trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A byte stream in both directions, whatever it runs on.
pub struct Stream {
    inner: Inner,
}

/// Sockets are called directly: one virtual call less for each read and write.
enum Inner {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    Boxed(Box<dyn Bytes>),
}

/// A stream that belongs to no event loop: on its way from one thread's to another's.
pub struct Detached {
    inner: Idle,
}

enum Idle {
    Tcp(std::net::TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
    Boxed(Box<dyn Bytes>),
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
        Self { inner: Inner::Boxed(Box::new(inner)) }
    }

    pub(crate) fn tcp(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        Ok(Self { inner: Inner::Tcp(tcp) })
    }

    #[cfg(unix)]
    pub(crate) fn unix(unix: tokio::net::UnixStream) -> Self {
        Self { inner: Inner::Unix(unix) }
    }

    /// Takes the stream out of this thread's event loop, so that another can go on with it. No byte is lost.
    ///
    /// # Errors
    /// What the system said; the stream is closed then.
    pub fn detach(self) -> io::Result<Detached> {
        let inner = match self.inner {
            Inner::Tcp(tcp) => Idle::Tcp(tcp.into_std()?),
            #[cfg(unix)]
            Inner::Unix(unix) => Idle::Unix(unix.into_std()?),
            Inner::Boxed(boxed) => Idle::Boxed(boxed),
        };
        Ok(Detached { inner })
    }
}

impl Detached {
    /// Puts the stream into the event loop of the current thread's runtime.
    ///
    /// # Errors
    /// What the system said; the stream is closed then.
    pub fn attach(self) -> io::Result<Stream> {
        let inner = match self.inner {
            Idle::Tcp(tcp) => Inner::Tcp(TcpStream::from_std(tcp)?),
            #[cfg(unix)]
            Idle::Unix(unix) => Inner::Unix(tokio::net::UnixStream::from_std(unix)?),
            Idle::Boxed(boxed) => Inner::Boxed(boxed),
        };
        Ok(Stream { inner })
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.inner {
            Inner::Tcp(_) => "tcp",
            #[cfg(unix)]
            Inner::Unix(_) => "unix",
            Inner::Boxed(_) => "other",
        };
        f.debug_tuple("Stream").field(&kind).finish()
    }
}

impl std::fmt::Debug for Detached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detached").finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            #[cfg(unix)]
            Inner::Unix(unix) => Pin::new(unix).poll_read(cx, buffer),
            Inner::Boxed(boxed) => Pin::new(boxed).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            #[cfg(unix)]
            Inner::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
            Inner::Boxed(boxed) => Pin::new(boxed).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            #[cfg(unix)]
            Inner::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, slices),
            Inner::Boxed(boxed) => Pin::new(boxed).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.inner {
            Inner::Tcp(tcp) => tcp.is_write_vectored(),
            #[cfg(unix)]
            Inner::Unix(unix) => unix.is_write_vectored(),
            Inner::Boxed(boxed) => boxed.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            #[cfg(unix)]
            Inner::Unix(unix) => Pin::new(unix).poll_flush(cx),
            Inner::Boxed(boxed) => Pin::new(boxed).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            #[cfg(unix)]
            Inner::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Inner::Boxed(boxed) => Pin::new(boxed).poll_shutdown(cx),
        }
    }
}

/// Opens a stream; TCP sockets get `TCP_NODELAY`. All addresses of a name are tried in turn, each within its share of
/// the time that is left, so that one silent address does not hide the others.
///
/// # Errors
/// [`DialError`].
pub async fn dial(endpoint: &Endpoint, timeout: Duration) -> Result<Stream, DialError> {
    let start = Instant::now();
    let deadline = start.checked_add(timeout).unwrap_or_else(|| start + FOREVER);
    let timed_out = || DialError::TimedOut { endpoint: endpoint.clone(), after: timeout };
    let failed = |source| DialError::Connect { endpoint: endpoint.clone(), source };
    match endpoint {
        Endpoint::Tcp { host, port } => {
            let unresolved = |source| DialError::Resolve { host: host.clone(), source };
            let lookup = tokio::net::lookup_host((host.as_str(), *port));
            let found = timeout_at(deadline, lookup).await.map_err(|_| timed_out())?;
            let addresses: Vec<_> = found.map_err(unresolved)?.collect();
            let mut last = unresolved(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
            for (index, address) in addresses.iter().enumerate() {
                let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
                let now = Instant::now();
                let until = now + deadline.saturating_duration_since(now) / left;
                match timeout_at(until, TcpStream::connect(address)).await {
                    Ok(Ok(tcp)) => return Stream::tcp(tcp).map_err(failed),
                    Ok(Err(source)) => last = failed(source),
                    Err(_) => last = timed_out(),
                }
            }
            Err(last)
        }
        Endpoint::Unix(path) => {
            let connected = timeout_at(deadline, dial_unix(path)).await;
            connected.map_err(|_| timed_out())?.map_err(failed)
        }
    }
}

#[cfg(unix)]
async fn dial_unix(path: &std::path::Path) -> io::Result<Stream> {
    unix::dial(path).await
}

#[cfg(not(unix))]
async fn dial_unix(_path: &std::path::Path) -> io::Result<Stream> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
}

/// Stands for a timeout that is too long for the clock.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
