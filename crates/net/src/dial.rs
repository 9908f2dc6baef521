//! Opens a stream: socket, proxy, TLS, WebSocket, one inside of the other.

use std::{io, time::Duration};

use tokio::time::{Instant, timeout_at};

#[cfg(unix)]
use crate::unix;
use crate::{
    Endpoint, LayerError, Proxy, ProxyError, ProxyRules, Stream, Tls, TlsError, WebSocket,
    WebSocketError,
    address::{HTTP_PORT, HTTPS_PORT, authority},
    socket, tls, websocket,
};

/// How to open a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Bounds the whole of it: names, addresses, proxy, handshakes.
    pub timeout: Duration,
    /// For endpoints with TLS.
    pub tls: Tls,
    /// For WebSocket endpoints.
    pub websocket: WebSocket,
    /// What to go through; not for Unix sockets.
    pub proxy: Option<Proxy>,
    /// Which one to go through for which endpoint, where `proxy` is none.
    pub proxies: Option<ProxyRules>,
    /// Address or host name of ours to connect from.
    pub bind: Option<String>,
    /// Takes the host for a domain, whose servers are looked up; its port counts for nothing then.
    #[cfg(feature = "srv")]
    pub srv: Option<crate::Srv>,
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
        endpoint: String,
        /// What the system said of the last address tried.
        source: io::Error,
    },
    /// Nothing happened in time.
    #[error("{endpoint} did not answer within {}{stage}", humane(*.after))]
    TimedOut {
        /// Where to.
        endpoint: String,
        /// The time allowed.
        after: Duration,
        /// What was being done, if it was not the first step.
        stage: &'static str,
    },
    /// The proxy did not connect us.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// No secure connection.
    #[error("{endpoint}: {source}")]
    Tls {
        /// Where to.
        endpoint: String,
        /// Why.
        source: TlsError,
    },
    /// No WebSocket.
    #[error("{endpoint}: {source}")]
    WebSocket {
        /// Where to.
        endpoint: String,
        /// Why.
        source: WebSocketError,
    },
}

impl Default for Dial {
    fn default() -> Self {
        Self {
            timeout: TIMEOUT,
            tls: Tls::new(),
            websocket: WebSocket::new(),
            proxy: None,
            proxies: None,
            bind: None,
            #[cfg(feature = "srv")]
            srv: None,
        }
    }
}

/// Opens a stream with nothing said but how long it may take.
///
/// # Errors
/// [`DialError`].
pub async fn dial(endpoint: &Endpoint, timeout: Duration) -> Result<Stream, DialError> {
    dial_with(endpoint, &Dial { timeout, ..Dial::default() }).await
}

/// Opens a stream; TCP sockets get `TCP_NODELAY`. Addresses of a name are tried side by side, each 250 ms after the one
/// before (RFC 8305). Files that TLS needs are read each time.
///
/// # Errors
/// [`DialError`].
pub async fn dial_with(endpoint: &Endpoint, how: &Dial) -> Result<Stream, DialError> {
    let start = Instant::now();
    let deadline = start.checked_add(how.timeout).unwrap_or_else(|| start + FOREVER);
    let place = endpoint.to_string();
    let late = |stage| DialError::TimedOut { endpoint: place.clone(), after: how.timeout, stage };
    let (host, port) = match endpoint {
        Endpoint::Tcp { host, port }
        | Endpoint::Tls { host, port }
        | Endpoint::WebSocket { host, port, .. } => (host.as_str(), *port),
        Endpoint::Unix(path) => {
            let connected = timeout_at(deadline, dial_unix(path)).await;
            let failed = |source| DialError::Connect { endpoint: place.clone(), source };
            return connected.map_err(|_| late(""))?.map_err(failed);
        }
    };
    #[cfg(feature = "srv")]
    if let Some(srv) = &how.srv {
        let servers = timeout_at(deadline, srv.servers(endpoint, host)).await;
        let servers = servers.map_err(|_| late(": its servers were not found"))??;
        let mut last = None;
        for (index, (target, port)) in servers.iter().enumerate() {
            let now = Instant::now();
            let left = u32::try_from(servers.len() - index).unwrap_or(u32::MAX);
            let until = now + deadline.saturating_duration_since(now) / left;
            match layered(endpoint, host, (target, *port), how, until).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        return Err(last.unwrap_or_else(|| late("")));
    }
    layered(endpoint, host, (host, port), how, deadline).await
}

/// A stream to a target, with the layers of the endpoint; `host` is the name that its certificate must have.
async fn layered(
    endpoint: &Endpoint,
    host: &str,
    (target, port): (&str, u16),
    how: &Dial,
    deadline: Instant,
) -> Result<Stream, DialError> {
    let mut found = endpoint.clone();
    if let Endpoint::Tcp { host, port: named } | Endpoint::Tls { host, port: named } = &mut found {
        target.clone_into(host);
        *named = port;
    }
    let place = found.to_string();
    let late = |stage| DialError::TimedOut { endpoint: place.clone(), after: how.timeout, stage };
    // Where a domain has servers, it is these that rules are about.
    let rules = || how.proxies.as_ref()?.proxy(&found);
    let proxy = how.proxy.as_ref().or_else(rules);
    let mut stream = open(target, port, proxy, how, &place, deadline).await?;
    if let Endpoint::Tls { .. } | Endpoint::WebSocket { is_tls: true, .. } = endpoint {
        let secure = timeout_at(deadline, tls::connect(stream, host, &how.tls)).await;
        let failed = |source| DialError::Tls { endpoint: place.clone(), source };
        stream = secure.map_err(|_| late(": TLS was not agreed on"))?.map_err(failed)?;
    }
    if let Endpoint::WebSocket { path, is_tls, .. } = endpoint {
        let host = host_field(host, port, *is_tls);
        let opening = websocket::connect(stream, &host, path, &how.websocket);
        let opened = timeout_at(deadline, opening).await;
        let failed = |error| match error {
            // In TLS 1.3 a server judges our certificate when the handshake is over.
            LayerError::Tls(source) => DialError::Tls { endpoint: place.clone(), source },
            LayerError::WebSocket(source) => {
                DialError::WebSocket { endpoint: place.clone(), source }
            }
        };
        stream = opened.map_err(|_| late(": no WebSocket was opened"))?.map_err(failed)?;
    }
    Ok(stream)
}

/// A socket to a host, or through the proxy.
async fn open(
    host: &str,
    port: u16,
    proxy: Option<&Proxy>,
    how: &Dial,
    place: &str,
    deadline: Instant,
) -> Result<Stream, DialError> {
    let late =
        |endpoint: String, stage| DialError::TimedOut { endpoint, after: how.timeout, stage };
    let bind = how.bind.as_deref();
    let Some(proxy) = proxy else {
        let connecting = socket::connect(host, port, bind, place);
        let tcp = timeout_at(deadline, connecting).await;
        return Ok(Stream::tcp(tcp.map_err(|_| late(place.to_owned(), ""))??));
    };
    let name = format!("the proxy {proxy}");
    let connecting = socket::connect(&proxy.host, proxy.port, bind, &name);
    let tcp = timeout_at(deadline, connecting).await.map_err(|_| late(name.clone(), ""))?;
    let stream = Stream::tcp(tcp.map_err(|error| of_proxy(error, &name))?);
    let secure = timeout_at(deadline, proxy.secure(stream)).await;
    let stream = secure.map_err(|_| late(name.clone(), ": TLS was not agreed on"))??;
    let tunnel = timeout_at(deadline, proxy.tunnel(stream, host, port)).await;
    Ok(tunnel.map_err(|_| late(name, ": it has not connected us"))??)
}

/// A name that has no address, said of the proxy: nobody is to look for it in the URL of the server.
fn of_proxy(error: DialError, name: &str) -> DialError {
    let DialError::Resolve { source, .. } = error else { return error };
    let source = io::Error::other(format!("its host cannot be resolved: {source}"));
    DialError::Connect { endpoint: name.to_owned(), source }
}

/// The `Host` of a request, which leaves a scheme's own port out.
fn host_field(host: &str, port: u16, is_tls: bool) -> String {
    let text = authority(host, port);
    let own = if is_tls { HTTPS_PORT } else { HTTP_PORT };
    match text.strip_suffix(&format!(":{own}")) {
        Some(short) if port == own => short.to_owned(),
        _ => text,
    }
}

fn humane(after: Duration) -> String {
    format!("{} s", after.as_secs_f64())
}

#[cfg(unix)]
async fn dial_unix(path: &std::path::Path) -> io::Result<Stream> {
    unix::dial(path).await
}

#[cfg(not(unix))]
async fn dial_unix(_path: &std::path::Path) -> io::Result<Stream> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
}

/// Default of [`Dial::timeout`].
const TIMEOUT: Duration = Duration::from_secs(30);
/// Stands for a timeout that is too long for the clock.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
