//! One open connection.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

#[cfg(target_os = "linux")]
use crate::low_water;

/// What a layer of a connection must be able to do.
pub trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A layer of ours on another stream: TLS, WebSocket.
pub(crate) trait Layer: Bytes {
    /// What it lies on. It may be taken away for a moment, in which the layer is not polled.
    fn below(&mut self) -> &mut Stream;

    /// Its name, for the log.
    fn kind(&self) -> &'static str;
}

/// A byte stream in both directions, whatever it runs on.
pub struct Stream {
    inner: Inner,
}

/// Sockets are called directly: one virtual call less for each read and write.
enum Inner {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    Layered(Box<dyn Layer>),
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
    /// A layer, and what it lies on.
    Layered(Box<dyn Layer>, Box<Detached>),
    Boxed(Box<dyn Bytes>),
}

impl Stream {
    /// Wraps any byte stream, such as one end of `tokio::io::duplex`.
    #[must_use]
    pub fn new(inner: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { inner: Inner::Boxed(Box::new(inner)) }
    }

    pub(crate) fn tcp(tcp: TcpStream) -> Self {
        Self { inner: Inner::Tcp(tcp) }
    }

    #[cfg(unix)]
    pub(crate) fn unix(unix: tokio::net::UnixStream) -> Self {
        Self { inner: Inner::Unix(unix) }
    }

    pub(crate) fn layered(layer: impl Layer + 'static) -> Self {
        Self { inner: Inner::Layered(Box::new(layer)) }
    }

    /// Says how many bytes must have come before the stream is readable, 1 at first; its end always makes it so. Lowered, it
    /// is readable at once if there is enough. Only TCP on Linux knows this, and takes the bytes below TLS and WebSocket for
    /// it; elsewhere each byte makes a stream readable.
    ///
    /// # Errors
    /// What the system said.
    pub fn set_low_water(&mut self, bytes: usize) -> io::Result<()> {
        match &mut self.inner {
            #[cfg(target_os = "linux")]
            Inner::Tcp(tcp) => low_water::set(tcp, bytes),
            #[cfg(not(target_os = "linux"))]
            Inner::Tcp(_) => Ok(()),
            #[cfg(unix)]
            Inner::Unix(_) => Ok(()),
            Inner::Layered(layer) => layer.below().set_low_water(bytes),
            Inner::Boxed(_) => Ok(()),
        }
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
            Inner::Layered(mut layer) => {
                let below = mem::replace(layer.below(), Self::new(tokio::io::empty()));
                Idle::Layered(layer, Box::new(below.detach()?))
            }
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
            Idle::Layered(mut layer, below) => {
                *layer.below() = below.attach()?;
                Inner::Layered(layer)
            }
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
            Inner::Layered(layer) => layer.kind(),
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
            Inner::Layered(layer) => Pin::new(layer).poll_read(cx, buffer),
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
            Inner::Layered(layer) => Pin::new(layer).poll_write(cx, bytes),
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
            Inner::Layered(layer) => Pin::new(layer).poll_write_vectored(cx, slices),
            Inner::Boxed(boxed) => Pin::new(boxed).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.inner {
            Inner::Tcp(tcp) => tcp.is_write_vectored(),
            #[cfg(unix)]
            Inner::Unix(unix) => unix.is_write_vectored(),
            Inner::Layered(layer) => layer.is_write_vectored(),
            Inner::Boxed(boxed) => boxed.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            #[cfg(unix)]
            Inner::Unix(unix) => Pin::new(unix).poll_flush(cx),
            Inner::Layered(layer) => Pin::new(layer).poll_flush(cx),
            Inner::Boxed(boxed) => Pin::new(boxed).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            #[cfg(unix)]
            Inner::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Inner::Layered(layer) => Pin::new(layer).poll_shutdown(cx),
            Inner::Boxed(boxed) => Pin::new(boxed).poll_shutdown(cx),
        }
    }
}
