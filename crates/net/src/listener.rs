//! Waits for connections.

use std::{
    io,
    net::{SocketAddr, TcpListener as IdleListener},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

#[cfg(unix)]
use crate::unix;
use crate::{
    Endpoint, ServerTls, Stream, TlsError, WebSocketError,
    tls::{self, Acceptor, Renewal},
    websocket,
};

/// A bound socket. A Unix socket's file is removed with it.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    inner: Inner,
    layers: Layers,
}

/// What clients of a listener begin with, before the first byte of the protocol.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    tls: Option<Acceptor>,
    /// The path at which there is a WebSocket.
    websocket: Option<String>,
}

/// Why a connection that came in was given up before its first byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// No secure connection.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No WebSocket.
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
}

#[derive(Debug)]
enum Inner {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

impl Listener {
    /// Binds; for a Unix socket a stale file is replaced.
    ///
    /// A host name is bound at the first of its addresses that can be had.
    ///
    /// # Errors
    /// What the system said, with the endpoint in the message; the kind is kept.
    pub async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        Self::bind_with(endpoint, &ServerTls::default()).await
    }

    /// As [`Listener::bind`], with a certificate for an endpoint with TLS.
    ///
    /// # Errors
    /// As there, and if the certificate or its key cannot be used: a [`TlsError`] inside, see [`TlsError::find`].
    pub async fn bind_with(endpoint: &Endpoint, tls: &ServerTls) -> io::Result<Self> {
        let named = |source: io::Error| match TlsError::find(&source) {
            Some(_) => source,
            None => io::Error::new(source.kind(), format!("cannot listen on {endpoint}: {source}")),
        };
        Self::try_bind(endpoint, tls).await.map_err(named)
    }

    /// What [`Layers::open`] has to be done for each connection; `None` if it begins with the first byte.
    #[must_use]
    pub fn layers(&self) -> Option<&Layers> {
        let has_any = self.layers.tls.is_some() || self.layers.websocket.is_some();
        has_any.then_some(&self.layers)
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for the next connection; also says who it is from, for the log. See [`Listener::layers`] for what comes
    /// next.
    ///
    /// # Errors
    /// What the system said; after an error of one connection the listener still works.
    pub async fn accept(&self) -> io::Result<(Stream, String)> {
        match &self.inner {
            Inner::Tcp(listener) => {
                let (tcp, peer) = listener.accept().await?;
                tcp.set_nodelay(true)?;
                Ok((Stream::tcp(tcp), peer.to_string()))
            }
            #[cfg(unix)]
            Inner::Unix(listener) => {
                let (unix, _) = listener.accept().await?;
                Ok((Stream::unix(unix), self.endpoint.to_string()))
            }
        }
    }

    async fn try_bind(endpoint: &Endpoint, tls: &ServerTls) -> io::Result<Self> {
        let (host, port) = match endpoint {
            Endpoint::Tcp { host, port }
            | Endpoint::Tls { host, port }
            | Endpoint::WebSocket { host, port, .. } => (host, *port),
            #[cfg(unix)]
            Endpoint::Unix(path) => {
                return Ok(Self {
                    endpoint: endpoint.clone(),
                    inner: Inner::Unix(unix::bind(path, BACKLOG).await?),
                    layers: Layers::default(),
                });
            }
            #[cfg(not(unix))]
            Endpoint::Unix(_) => {
                let what = "this system has no Unix sockets";
                return Err(io::Error::new(io::ErrorKind::Unsupported, what));
            }
        };
        let layers = Layers::of(endpoint, tls).map_err(io::Error::other)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in tokio::net::lookup_host((host.as_str(), port)).await? {
            match bind_tcp(address) {
                Ok(listener) => return Self::tcp(listener, endpoint, layers),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn tcp(listener: IdleListener, endpoint: &Endpoint, layers: Layers) -> io::Result<Self> {
        let chosen = listener.local_addr()?.port();
        let mut endpoint = endpoint.clone();
        if let Endpoint::Tcp { port, .. }
        | Endpoint::Tls { port, .. }
        | Endpoint::WebSocket { port, .. } = &mut endpoint
        {
            *port = chosen;
        }
        Ok(Self { endpoint, inner: Inner::Tcp(TcpListener::from_std(listener)?), layers })
    }
}

impl Layers {
    /// Reads the certificate's files.
    fn of(endpoint: &Endpoint, tls: &ServerTls) -> Result<Self, TlsError> {
        let (is_tls, websocket) = match endpoint {
            Endpoint::Tcp { .. } | Endpoint::Unix(_) => (false, None),
            Endpoint::Tls { .. } => (true, None),
            Endpoint::WebSocket { path, is_tls, .. } => (*is_tls, Some(path.clone())),
        };
        let tls = if is_tls { Some(tls.acceptor()?) } else { None };
        Ok(Self { tls, websocket })
    }

    /// Reads certificate, key and whom to let in from their files again, for all connections that come from now on to the
    /// listeners that these layers are from: for all of them, or for none. Each has a name for the error. Blocks. Those
    /// without TLS have nothing to read.
    ///
    /// # Errors
    /// [`TlsError`] and whose it is: its files cannot be used, and all listeners stay as they were.
    pub fn reload<'a, N>(
        listeners: impl IntoIterator<Item = (N, &'a Self)>,
    ) -> Result<(), (N, TlsError)> {
        let mut renewals = Vec::new();
        for (name, layers) in listeners {
            if let Some(acceptor) = &layers.tls {
                renewals.push(acceptor.renewal().map_err(|error| (name, error))?);
            }
        }
        renewals.into_iter().for_each(Renewal::apply);
        Ok(())
    }

    /// Does the handshakes. They may take as long as the client likes: bound it.
    ///
    /// # Errors
    /// [`LayerError`].
    pub async fn open(&self, mut stream: Stream) -> Result<Stream, LayerError> {
        if let Some(acceptor) = &self.tls {
            stream = tls::accept(acceptor, stream).await?;
        }
        if let Some(path) = &self.websocket {
            stream = websocket::accept(stream, path).await?;
        }
        Ok(stream)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Endpoint::Unix(path) = &self.endpoint {
            // Somebody else may have removed it before; there is nothing to do about that.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<IdleListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On Unix: a broker that restarts need not wait for the old connections' last packets to time out. Elsewhere the
    // option means that two programs may share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connections that wait to be accepted; the system may lower it. Thousands of clients come back at once after an outage.
const BACKLOG: i32 = 4096;
