//! Where to connect or listen: a URL taken apart.

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
    /// `unix:/path/of/socket`.
    Unix(std::path::PathBuf),
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

/// Why a URL cannot be used; the message names the part and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// A scheme that is not offered (yet).
    #[error("scheme '{0}' is not offered; use mqtt://host:port, tcp://host:port or unix:/path")]
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
    /// Reads `mqtt://user:pass@host:1883`, `tcp://host`, or `unix:/path`. The port is 1883 if none is given.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(_url: &str) -> Result<Self, UrlError> {
        todo!()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
