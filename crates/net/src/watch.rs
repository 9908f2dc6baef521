//! A byte stream that somebody looks at.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Stream;

/// Sees what goes over a stream, see [`Stream::watched`]. It is called on the way, so it must not wait for anything.
pub trait Watch: Send + Unpin + 'static {
    /// These bytes were written in one go, piece by piece. Some pieces may be empty.
    fn handle_sent(&mut self, pieces: &mut dyn Iterator<Item = &[u8]>);

    /// These bytes were read.
    fn handle_received(&mut self, bytes: &[u8]);
}

/// A stream and who looks at it.
struct Watched<W> {
    inner: Stream,
    watch: W,
}

impl Stream {
    /// The same stream, with `watch` looking on until it is dropped.
    #[must_use]
    pub fn watched(self, watch: impl Watch) -> Self {
        Self::new(Watched { inner: self, watch })
    }
}

impl<W: Watch> AsyncRead for Watched<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.watch.handle_received(buf.filled().get(before..).unwrap_or_default());
        result
    }
}

impl<W: Watch> AsyncWrite for Watched<W> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut left)) = result {
            self.watch.handle_sent(&mut slices.iter().map(|slice| {
                let (written, _) = slice.split_at(left.min(slice.len()));
                left -= written.len();
                written
            }));
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
