//! Where to connect or listen: a URL taken apart.

use url::{Host, Url};

/// A place to connect to or listen at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `mqtt://host:port` or `tcp://host:port`.
    Tcp {
        /// Host name or address, without brackets.
        host: String,
        /// Port; 0 lets the system choose when listening.
        port: u16,
    },
    /// `mqtts://host:port`, `ssl://` or `tls://`: TLS.
    Tls {
        /// Host name or address, without brackets.
        host: String,
        /// Port; 0 lets the system choose when listening.
        port: u16,
    },
    /// `unix:/path/of/socket`.
    Unix(std::path::PathBuf),
    /// `ws://host:port/path`, or with TLS `wss://`.
    WebSocket {
        /// Host name or address, without brackets.
        host: String,
        /// Port; 0 lets the system choose when listening.
        port: u16,
        /// Path and query.
        path: String,
        /// Whether there is TLS below.
        is_tls: bool,
    },
}

/// User name and password from a URL, percent-decoded.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: Option<String>,
    /// Password.
    pub password: Option<String>,
}

/// A URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where.
    pub endpoint: Endpoint,
    /// Who.
    pub credentials: Credentials,
}

/// Why a URL cannot be used; the message names the part and the way out, and never holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// A scheme that is not offered.
    #[error(
        "scheme '{0}' is not offered; use mqtt://host:port, mqtts://host:port for TLS, ws://host/path, wss://host/path, \
         or unix:/path"
    )]
    Scheme(String),
    /// Not a URL.
    #[error("'{url}' is not a URL: {what}")]
    Malformed {
        /// The URL, without credentials.
        url: String,
        /// What is wrong.
        what: String,
    },
}

impl Address {
    /// Reads `mqtt://user:pass@host:1883` (or `tcp://`), `mqtts://host` (or `ssl://`, `tls://`), `ws://host/path`,
    /// `wss://host/path`, or `unix:/path`. Without a port it is 1883, with TLS 8883, and 80 or 443 for WebSocket, whose path
    /// is `/mqtt` if none is given.
    ///
    /// User name and password are percent-decoded; the path of a Unix socket is taken as it stands.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let malformed = |what: &str| UrlError::Malformed {
            url: without_credentials(url).to_owned(),
            what: what.to_owned(),
        };
        let Some((scheme, rest)) = scheme(url) else {
            return Err(malformed("it has no scheme; write mqtt://host:port or unix:/path"));
        };
        match scheme.as_str() {
            "unix" => unix(rest).map_err(malformed),
            "mqtt" | "mqtts" | "ssl" | "tcp" | "tls" | "ws" | "wss" => {
                if !rest.starts_with("//") {
                    return Err(malformed("two slashes must follow the scheme"));
                }
                let parsed = Url::parse(url).map_err(|error| malformed(&error.to_string()))?;
                network(&parsed, &scheme).map_err(malformed)
            }
            _ => Err(UrlError::Scheme(scheme)),
        }
    }
}

/// A URL with another host and port, as a server names them: `other.example`, `other.example:1884`, `[::1]:1884`. Without a
/// port it is the scheme's own. User name and password are left out: who sends us on is not who chose them.
///
/// # Errors
/// [`UrlError`] if that is no URL of the network.
pub fn elsewhere(url: &str, reference: &str) -> Result<String, UrlError> {
    let malformed =
        |what: &str| UrlError::Malformed { url: reference.to_owned(), what: what.to_owned() };
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| *scheme != "unix") else {
        return Err(malformed("only a server of the network can send us on"));
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    if reference.is_empty() || !reference.chars().all(is_plain) {
        return Err(malformed("it names no host"));
    }
    let path = rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or_default();
    let url = format!("{scheme}://{reference}{path}");
    Address::parse(&url)?;
    Ok(url)
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "tcp://{}", authority(host, *port)),
            Self::Tls { host, port } => write!(f, "mqtts://{}", authority(host, *port)),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::WebSocket { host, port, path, is_tls } => {
                let scheme = if *is_tls { "wss" } else { "ws" };
                // A query may hold a signature.
                let path = path.split('?').next().unwrap_or_default();
                write!(f, "{scheme}://{}{path}", authority(host, *port))
            }
        }
    }
}

/// Host and port as they stand in a URL.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The scheme in small letters and what follows its colon, if the text begins with one.
fn scheme(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let scheme = scheme.to_ascii_lowercase();
    // "user:password@host" has no scheme, and its user name is none of the log's business.
    let is_plain = scheme != "unix" && !rest.starts_with("//") && rest.contains('@');
    (is_scheme && !is_plain).then_some((scheme, rest))
}

/// What follows the last `@`: a password with unescaped `/` or `@` must not leak either.
fn without_credentials(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest)
}

fn unix(rest: &str) -> Result<Address, &'static str> {
    let path = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_) => return Err("a Unix socket has no host; write unix:/path"),
        None if rest.starts_with('/') => rest,
        None => return Err("the path of a Unix socket must begin with '/'"),
    };
    if path.len() == 1 || path.contains('\0') {
        return Err("it names no file");
    }
    Ok(Address { endpoint: Endpoint::Unix(path.into()), credentials: Credentials::default() })
}

fn network(url: &Url, scheme: &str) -> Result<Address, &'static str> {
    let host = match url.host() {
        None | Some(Host::Domain("")) => return Err("it has no host"),
        Some(Host::Domain(name)) => {
            percent_decoded(name).ok_or("the host name is not valid UTF-8")?
        }
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
    };
    let is_websocket = matches!(scheme, "ws" | "wss");
    let has_path = !matches!(url.path(), "" | "/") || url.query().is_some();
    if url.fragment().is_some() || (has_path && !is_websocket) {
        return Err("nothing may follow host and port");
    }
    let user = Some(url.username()).filter(|user| !user.is_empty());
    let decoded = |text: Option<&str>, what: &'static str| {
        text.map(|text| percent_decoded(text).ok_or(what)).transpose()
    };
    let credentials = Credentials {
        user: decoded(user, "the user name is not valid UTF-8")?,
        password: decoded(url.password(), "the password is not valid UTF-8")?,
    };
    let endpoint = match scheme {
        "ws" | "wss" => {
            let path = match (url.path(), url.query()) {
                ("" | "/", None) => WEBSOCKET_PATH.to_owned(),
                (path, None) => path.to_owned(),
                (path, Some(query)) => format!("{path}?{query}"),
            };
            let is_tls = scheme == "wss";
            let port = url.port().unwrap_or(if is_tls { HTTPS_PORT } else { HTTP_PORT });
            Endpoint::WebSocket { host, port, path, is_tls }
        }
        "mqtts" | "ssl" | "tls" => Endpoint::Tls { host, port: url.port().unwrap_or(TLS_PORT) },
        _ => Endpoint::Tcp { host, port: url.port().unwrap_or(PORT) },
    };
    Ok(Address { endpoint, credentials })
}

/// Replaces `%41` by `A`; a `%` without two hexadecimal digits stays. `None` if the result is not UTF-8.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, hex(tail.first()), hex(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => decoded.push(*first),
        }
    }
    String::from_utf8(decoded).ok()
}

/// The ports that IANA gave to MQTT, and to it inside TLS.
const PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;
/// The ports of HTTP, which WebSocket shares.
pub(crate) const HTTP_PORT: u16 = 80;
pub(crate) const HTTPS_PORT: u16 = 443;
/// Where most brokers have their WebSocket.
const WEBSOCKET_PATH: &str = "/mqtt";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        check("mqtt://localhost", "tcp://localhost:1883 - -");
        check("MQTT://localhost/", "tcp://localhost:1883 - -");
        check("tcp://127.0.0.1:0", "tcp://127.0.0.1:0 - -");
        check("mqtt://[::1]:1884", "tcp://[::1]:1884 - -");
        check("mqtt://ann@h", "tcp://h:1883 ann -");
        check("mqtt://ann:secret@h:9", "tcp://h:9 ann secret");
        check("mqtt://a%40b:p%3A%2f%25%C3%A9@h", "tcp://h:1883 a@b p:/%\u{e9}");
        check("mqtt://my_host.example:1883", "tcp://my_host.example:1883 - -");
        check("mqtts://h", "mqtts://h:8883 - -");
        check("SSL://ann:x@[::1]", "mqtts://[::1]:8883 ann x");
        check("tls://h:1", "mqtts://h:1 - -");
        check("ws://h", "ws://h:80/mqtt - -");
        check("ws://ann@h:8080/", "ws://h:8080/mqtt ann -");
        check("wss://h/$iothub/websocket?X-Signature=hush", "wss://h:443/$iothub/websocket - -");
        check("unix:/run/a.sock", "unix:/run/a.sock - -");
        check("unix:///run/a@b.sock", "unix:/run/a@b.sock - -");
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        for scheme in ["http", "quic", "mqttss"] {
            let error = Address::parse(&format!("{scheme}://ann:hush@h:1")).unwrap_err();
            assert_eq!(error, UrlError::Scheme(scheme.to_owned()));
            assert!(error.to_string().contains("mqtt://host:port"), "{error}");
        }
        assert_eq!(Address::parse("localhost:1883"), Err(UrlError::Scheme("localhost".to_owned())));
    }

    #[test]
    fn faults_are_named_and_passwords_are_not() {
        for (url, what) in [
            ("127.0.0.1:1883", "no scheme"),
            ("ann:hush@host", "no scheme"),
            ("", "no scheme"),
            ("mqtt:host", "two slashes"),
            ("mqtt://", "host"),
            ("mqtt://ann:hush@", "host"),
            ("mqtt://ann:hush@h:99999", "port"),
            ("mqtt://ann:hush@h:1883/topic", "nothing may follow"),
            ("mqtts://ann:hush@h:1883/topic", "nothing may follow"),
            ("ws://ann:hush@h/a#b", "nothing may follow"),
            ("mqtt://ann:hu/sh@h", ""),
            ("mqtt://ann:hush%ff@h", "password"),
            ("mqtt://ann:hush@[::1", ""),
            ("unix:here.sock", "begin with"),
            ("unix://host/a.sock", "no host"),
            ("unix:/", "no file"),
        ] {
            let text = Address::parse(url).unwrap_err().to_string();
            assert!(text.contains(what), "{url}: {text}");
            assert!(!text.contains("hu"), "{url}: {text}");
        }
    }

    #[test]
    fn a_server_names_another_host_and_the_rest_of_the_url_stays() {
        for (url, reference, expected) in [
            ("mqtt://ann:hush@h:1", "other", "mqtt://other"),
            ("mqtts://h", "other.example:8884", "mqtts://other.example:8884"),
            ("wss://ann@h:1/a/b?c=d", "[::1]:7", "wss://[::1]:7/a/b?c=d"),
            ("ws://ann:hush@h/a@b", "other", "ws://other/a@b"),
            ("ws://h?a=b@c/d", "other", "ws://other?a=b@c/d"),
        ] {
            assert_eq!(elsewhere(url, reference).as_deref(), Ok(expected));
        }
        for (url, reference) in [
            ("unix:/a", "other"),
            ("mqtt://h", ""),
            ("mqtt://h", "a/b"),
            ("mqtt://h", "ann@other"),
            ("mqtt://h", "other:99999"),
        ] {
            assert!(elsewhere(url, reference).is_err(), "{reference}");
        }
    }

    #[test]
    fn a_websocket_url_keeps_its_query() {
        let address = Address::parse("ws://h/a?b=c").unwrap();
        let Endpoint::WebSocket { path, .. } = address.endpoint else { panic!("{address:?}") };
        assert_eq!(path, "/a?b=c");
    }

    #[test]
    fn debug_output_hides_the_password() {
        let address = Address::parse("mqtt://ann:hush@h").unwrap();
        let text = format!("{address:?}");
        assert!(text.contains("ann"), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }

    fn check(url: &str, expected: &str) {
        let Address { endpoint, credentials } = Address::parse(url).unwrap();
        let part = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let (user, password) = (part(credentials.user), part(credentials.password));
        assert_eq!(format!("{endpoint} {user} {password}"), expected, "{url}");
    }
}
