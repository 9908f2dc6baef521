//! Waits for connections.

use std::{
    io,
    net::{SocketAddr, TcpListener as IdleListener},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

#[cfg(unix)]
use crate::unix;
use crate::{Endpoint, Stream};

/// A bound socket. A Unix socket's file is removed with it.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    inner: Inner,
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
        Self::try_bind(endpoint).await.map_err(|source| {
            io::Error::new(source.kind(), format!("cannot listen on {endpoint}: {source}"))
        })
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for the next connection; also says who it is from, for the log.
    ///
    /// # Errors
    /// What the system said; after an error of one connection the listener still works.
    pub async fn accept(&self) -> io::Result<(Stream, String)> {
        match &self.inner {
            Inner::Tcp(listener) => {
                let (tcp, peer) = listener.accept().await?;
                Ok((Stream::tcp(tcp)?, peer.to_string()))
            }
            #[cfg(unix)]
            Inner::Unix(listener) => {
                let (unix, _) = listener.accept().await?;
                Ok((Stream::unix(unix), self.endpoint.to_string()))
            }
        }
    }

    async fn try_bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp { host, port } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
                for address in tokio::net::lookup_host((host.as_str(), *port)).await? {
                    match bind_tcp(address) {
                        Ok(listener) => return Self::tcp(listener, host),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            #[cfg(unix)]
            Endpoint::Unix(path) => Ok(Self {
                endpoint: endpoint.clone(),
                inner: Inner::Unix(unix::bind(path, BACKLOG).await?),
            }),
            #[cfg(not(unix))]
            Endpoint::Unix(_) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
            }
        }
    }

    fn tcp(listener: IdleListener, host: &str) -> io::Result<Self> {
        let port = listener.local_addr()?.port();
        let endpoint = Endpoint::Tcp { host: host.to_owned(), port };
        Ok(Self { endpoint, inner: Inner::Tcp(TcpListener::from_std(listener)?) })
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
