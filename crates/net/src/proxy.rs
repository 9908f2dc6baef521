//! Proxies: HTTP CONNECT (RFC 9110 section 9.3.6), also inside of TLS, and SOCKS5 (RFC 1928, 1929). The proxy looks the
//! host's name up.

use std::{fmt, io, net::IpAddr, str::FromStr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::{Host, Url};

use crate::{
    Stream, Tls, TlsError,
    address::{HTTPS_PORT, authority, percent_decoded},
    http::{self, HeadError, Kind},
    tls,
};

/// A proxy, by its URL: `http://user:password@host:port`, `https://..` for HTTP CONNECT inside of TLS, or
/// `socks5h://user:password@host:port`.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: ProxyKind,
    tls: Tls,
    pub(crate) host: String,
    pub(crate) port: u16,
    credentials: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProxyKind {
    Http,
    Https,
    Socks5,
}

/// Why a URL is not one of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the URL of a proxy: {0}; write http://user:password@host:port (or https) or \
     socks5h://user:password@host:port"
)]
pub struct ProxyUrlError(String);

/// Why a proxy did not connect us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// It wants other credentials, or any.
    #[error("the proxy {proxy} does not accept {}", who(*.had_credentials))]
    Credentials {
        /// Which proxy.
        proxy: String,
        /// Whether there were credentials.
        had_credentials: bool,
    },
    /// It does not want to connect us.
    #[error("the proxy {proxy} refused: {why}")]
    Refused {
        /// Which proxy.
        proxy: String,
        /// What it said.
        why: String,
    },
    /// It could not reach the host.
    #[error("the proxy {proxy} cannot reach {target}: {why}")]
    Target {
        /// Which proxy.
        proxy: String,
        /// Where it was to connect to.
        target: String,
        /// What it said.
        why: String,
    },
    /// There is no secure connection to the proxy itself.
    #[error("no secure connection to the proxy {proxy}: {error}")]
    Tls {
        /// Which proxy.
        proxy: String,
        /// Why.
        error: TlsError,
    },
    /// What answers is no such proxy.
    #[error("what answers at {proxy} is not this kind of proxy: {what}")]
    NotAProxy {
        /// Which proxy.
        proxy: String,
        /// What it looks like.
        what: String,
    },
}

impl FromStr for Proxy {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let fault = |what: &str| ProxyUrlError(what.to_owned());
        // No part of a text that may hold a password is told.
        let (scheme, rest) = text.split_once("://").ok_or_else(|| fault("it has no scheme"))?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => ProxyKind::Http,
            "https" => ProxyKind::Https,
            "socks5" | "socks5h" => ProxyKind::Socks5,
            "socks4" | "socks4a" => {
                return Err(fault("SOCKS 4 is not offered; it knows no passwords"));
            }
            _ => return Err(fault("its scheme is not offered")),
        };
        // The same rules for both kinds: those of a scheme without a default port.
        let url =
            Url::parse(&format!("proxy://{rest}")).map_err(|error| fault(&error.to_string()))?;
        let host = match url.host() {
            None | Some(Host::Domain("")) => return Err(fault("it has no host")),
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(fault("nothing may follow host and port"));
        }
        let decoded = |text| percent_decoded(text).ok_or_else(|| fault("a name is not UTF-8"));
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some((decoded(user)?, decoded(password.unwrap_or_default())?)),
        };
        let port = url.port().unwrap_or(match kind {
            ProxyKind::Http => HTTP_PROXY_PORT,
            ProxyKind::Https => HTTPS_PORT,
            ProxyKind::Socks5 => SOCKS_PORT,
        });
        if let Some((user, password)) = &credentials {
            let is_long = user.len() > 255 || password.len() > 255;
            if kind == ProxyKind::Socks5 && (is_long || user.is_empty()) {
                return Err(fault(
                    "SOCKS takes a user name of 1 to 255 bytes, and a password of as many",
                ));
            }
            if user.contains(':') && kind != ProxyKind::Socks5 {
                return Err(fault("HTTP takes no user name with a colon"));
            }
        }
        Ok(Self { kind, tls: Tls::new(), host, port, credentials })
    }
}

impl Proxy {
    /// How to make the connection to the proxy itself secure, if its URL begins with `https://`. Default: the system's
    /// authorities, no certificate of ours. What is sent to the host through the proxy has its own TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Makes a stream to the proxy secure if it is to be.
    pub(crate) async fn secure(&self, stream: Stream) -> Result<Stream, ProxyError> {
        if self.kind != ProxyKind::Https {
            return Ok(stream);
        }
        tls::connect(stream, &self.host, &self.tls).await.map_err(|error| self.insecure(error))
    }

    /// Has the proxy connect to a host. `stream` is one to the proxy.
    pub(crate) async fn tunnel(
        &self,
        stream: Stream,
        host: &str,
        port: u16,
    ) -> Result<Stream, ProxyError> {
        match self.kind {
            ProxyKind::Http | ProxyKind::Https => self.http(stream, host, port).await,
            ProxyKind::Socks5 => self.socks(stream, host, port).await,
        }
    }

    async fn http(&self, mut stream: Stream, host: &str, port: u16) -> Result<Stream, ProxyError> {
        let target = authority(host, port);
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some((user, password)) = &self.credentials {
            let value = http::basic(user, password);
            request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
        }
        request.push_str("\r\n");
        http::send(&mut stream, &request).await.map_err(|error| self.lost(&error))?;
        let answer = http::receive(&mut stream, Kind::Response).await;
        let answer = answer.map_err(|error| match error {
            HeadError::Ended => self.not_a_proxy("it closed the connection without an answer"),
            HeadError::NotHttp(_) => self.not_a_proxy("it speaks no HTTP"),
            HeadError::TooLong => self.not_a_proxy("its answer is too long"),
            HeadError::Io(error) => self.lost(&error),
        })?;
        let why = format!("{} {}", answer.status, answer.line);
        match answer.status {
            200..=299 if answer.rest.is_empty() => Ok(stream),
            // In all that we speak, the host waits for us to begin.
            200..=299 => Err(self.not_a_proxy("more follows its answer than a proxy sends")),
            // tinyproxy has the wrong word for wrong ones.
            401 | 407 => Err(self.credentials()),
            502..=504 => Err(self.target(target, why)),
            _ => Err(ProxyError::Refused { proxy: self.to_string(), why }),
        }
    }

    async fn socks(&self, mut stream: Stream, host: &str, port: u16) -> Result<Stream, ProxyError> {
        self.greet(&mut stream).await?;
        let mut request = vec![5, 1, 0];
        match host.parse() {
            Ok(IpAddr::V4(address)) => {
                request.push(1);
                request.extend_from_slice(&address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                request.push(4);
                request.extend_from_slice(&address.octets());
            }
            Err(_) => {
                let len = u8::try_from(host.len()).map_err(|_| ProxyError::Refused {
                    proxy: self.to_string(),
                    why: "SOCKS takes host names of up to 255 bytes".to_owned(),
                })?;
                request.extend_from_slice(&[3, len]);
                request.extend_from_slice(host.as_bytes());
            }
        }
        request.extend_from_slice(&port.to_be_bytes());
        self.send(&mut stream, &request).await?;
        let [version, reply, _, kind] = self.read(&mut stream).await?;
        if version != 5 {
            return Err(self.not_a_proxy("its answer is not SOCKS 5"));
        }
        if reply != 0 {
            return Err(self.refusal(reply, authority(host, port)));
        }
        let len = match kind {
            1 => 4,
            4 => 16,
            3 => usize::from(self.read::<1>(&mut stream).await?[0]),
            _ => {
                return Err(
                    self.not_a_proxy("its answer has an address of a kind that there is not")
                );
            }
        };
        let mut bound = vec![0; len + 2];
        stream.read_exact(&mut bound).await.map_err(|error| self.lost(&error))?;
        Ok(stream)
    }

    /// Agrees on a method, and says who we are.
    async fn greet(&self, stream: &mut Stream) -> Result<(), ProxyError> {
        let methods: &[u8] = match self.credentials {
            Some(_) => &[5, 2, NO_CREDENTIALS, PASSWORD],
            None => &[5, 1, NO_CREDENTIALS],
        };
        self.send(stream, methods).await?;
        let [version, method] = self.read(stream).await?;
        if version != 5 {
            return Err(self.not_a_proxy("its answer is not SOCKS 5"));
        }
        match (method, &self.credentials) {
            (NO_CREDENTIALS, _) => Ok(()),
            (PASSWORD, Some((user, password))) => {
                let mut request = vec![1];
                for text in [user, password] {
                    // Checked when the URL was read.
                    request.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
                    request.extend_from_slice(text.as_bytes());
                }
                self.send(stream, &request).await?;
                let [_, status] = self.read(stream).await?;
                if status == 0 { Ok(()) } else { Err(self.credentials()) }
            }
            _ => Err(self.credentials()),
        }
    }

    /// What a reply means. RFC 1928 section 6.
    fn refusal(&self, reply: u8, target: String) -> ProxyError {
        let why = match reply {
            1 => "general failure",
            2 => "its rules do not allow it",
            3 => "network unreachable",
            4 => "host unreachable",
            5 => "connection refused",
            6 => "time to live expired",
            7 => "it does not offer CONNECT",
            8 => "it does not know this kind of address",
            _ => "for a reason that SOCKS has no name for",
        };
        match reply {
            3..=6 => self.target(target, why.to_owned()),
            _ => ProxyError::Refused { proxy: self.to_string(), why: why.to_owned() },
        }
    }

    async fn send(&self, stream: &mut Stream, bytes: &[u8]) -> Result<(), ProxyError> {
        stream.write_all(bytes).await.map_err(|error| self.lost(&error))
    }

    async fn read<const N: usize>(&self, stream: &mut Stream) -> Result<[u8; N], ProxyError> {
        let mut bytes = [0; N];
        stream.read_exact(&mut bytes).await.map_err(|error| self.lost(&error))?;
        Ok(bytes)
    }

    fn credentials(&self) -> ProxyError {
        let had_credentials = self.credentials.is_some();
        ProxyError::Credentials { proxy: self.to_string(), had_credentials }
    }

    fn target(&self, target: String, why: String) -> ProxyError {
        ProxyError::Target { proxy: self.to_string(), target, why }
    }

    fn not_a_proxy(&self, what: &str) -> ProxyError {
        ProxyError::NotAProxy { proxy: self.to_string(), what: what.to_owned() }
    }

    fn insecure(&self, error: TlsError) -> ProxyError {
        ProxyError::Tls { proxy: self.to_string(), error }
    }

    fn lost(&self, error: &io::Error) -> ProxyError {
        // In TLS 1.3 a server judges our certificate when the handshake is over.
        if let Some(error) = TlsError::find(error) {
            return self.insecure(error.clone());
        }
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return self.not_a_proxy("it closed the connection");
        }
        self.not_a_proxy(&error.to_string())
    }
}

/// The URL without credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Https => "https",
            ProxyKind::Socks5 => "socks5h",
        };
        write!(f, "{scheme}://{}", authority(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

fn who(had_credentials: bool) -> &'static str {
    if had_credentials {
        "this user name and password"
    } else {
        "us without a user name and password"
    }
}

/// Methods to authenticate. RFC 1928 section 3.
const NO_CREDENTIALS: u8 = 0;
const PASSWORD: u8 = 2;
/// Where proxies of these kinds are found.
const HTTP_PROXY_PORT: u16 = 8080;
const SOCKS_PORT: u16 = 1080;
