//! A stream inside TLS.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::spawn_blocking,
};
use tokio_rustls::{TlsConnector, TlsStream, rustls::pki_types::ServerName};

use super::{Tls, TlsError, config::Nobody};
use crate::{Stream, stream::Layer};

/// A stream inside TLS, whose errors are ours.
pub(super) struct Secure(pub(super) TlsStream<Heard>);

/// The stream below, which knows whether the other side has sent anything.
pub(super) struct Heard {
    pub(super) below: Stream,
    pub(super) has_heard: bool,
}

/// Makes a stream to `host` secure.
pub(crate) async fn connect(below: Stream, host: &str, tls: &Tls) -> Result<Stream, TlsError> {
    let name = tls.server_name.as_deref().unwrap_or(host);
    let name =
        ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?;
    let (tls, nobody) = (tls.clone(), Arc::new(Nobody::default()));
    let asked = Arc::clone(&nobody);
    // Files are read, and a password may take some work to try.
    let config = spawn_blocking(move || tls.config(nobody)).await;
    let config = config.map_err(|error| TlsError::Other(error.to_string()))??;
    let connecting =
        TlsConnector::from(Arc::new(config)).connect(name, Heard { below, has_heard: false });
    match connecting.into_fallible().await {
        Ok(stream) => Ok(Stream::layered(Secure(stream.into()))),
        Err((error, heard)) => {
            let error = TlsError::in_handshake(&error, heard.has_heard);
            // In TLS 1.2 there is no word for it.
            let is_refusal = matches!(
                error,
                TlsError::Refused(_) | TlsError::ClientCertificateRefused(_) | TlsError::Closed
            );
            if is_refusal && asked.was_asked.load(Ordering::Relaxed) {
                return Err(TlsError::ClientCertificateRequired);
            }
            Err(error)
        }
    }
}

impl Layer for Secure {
    fn below(&mut self) -> &mut Stream {
        &mut self.0.get_mut().0.below
    }

    fn kind(&self) -> &'static str {
        "tls"
    }
}

impl AsyncRead for Secure {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, buffer));
        Poll::Ready(read.map_err(TlsError::in_stream))
    }
}

impl AsyncWrite for Secure {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, bytes));
        Poll::Ready(written.map_err(TlsError::in_stream))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0).poll_write_vectored(cx, slices));
        Poll::Ready(written.map_err(TlsError::in_stream))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.0).poll_flush(cx));
        Poll::Ready(flushed.map_err(TlsError::in_stream))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = ready!(Pin::new(&mut self.0).poll_shutdown(cx));
        Poll::Ready(shut.map_err(TlsError::in_stream))
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.below).poll_read(cx, buffer);
        self.has_heard |= buffer.filled().len() > before;
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.below).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.below).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.below.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_shutdown(cx)
    }
}
