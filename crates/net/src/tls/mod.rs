//! TLS by rustls: whom to trust, who we are, and what is refused.
//!
//! ```text
//! Tls (paths, pins) --each attempt: read files--> ClientConfig --handshake--> Stream
//!                                 `-------------------`--> TlsError, which says what to do
//! ```
//!
//! The system's roots come from `rustls-native-certs`: what the operating system trusts, a company's own authorities
//! included, and judged by the same code everywhere, so that the errors are the same everywhere.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod acceptor;
#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "tls")]
mod config;
mod error;
#[cfg(feature = "tls")]
mod material;
mod pin;
mod server;
#[cfg(feature = "tls")]
mod stream;
#[cfg(feature = "tls")]
mod told;
#[cfg(feature = "tls")]
mod verifier;

use std::{fmt, path::PathBuf};

use zeroize::Zeroizing;

#[cfg(not(feature = "tls"))]
pub(crate) use self::absent::{Acceptor, Renewal, accept, connect};
#[cfg(feature = "tls")]
pub(crate) use self::{
    acceptor::{Acceptor, Renewal, accept},
    stream::connect,
};
pub use self::{
    error::TlsError,
    pin::{NotAPin, Pin},
    server::ServerTls,
};

/// How to make a connection secure: whom to trust, who we are. The default trusts the system's roots, and the server's
/// certificate must be for the host that is dialled.
///
/// Files are read at each attempt to connect, so that a renewed certificate is used as soon as it is there.
///
/// ```
/// use postrider_net::{Tls, TlsVersion};
///
/// let tls = Tls::new()
///     .ca_file("plant-ca.pem")
///     .client_certificate("press-7.pem", "press-7.key")
///     .version_min(TlsVersion::V1_3);
/// # let _ = tls;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    roots: Vec<Roots>,
    /// Files of revocation lists.
    revoked: Vec<PathBuf>,
    identity: Option<Identity>,
    password: Option<Secret>,
    alpn: Vec<Vec<u8>>,
    server_name: Option<String>,
    version_min: TlsVersion,
    pins: Vec<Pin>,
    is_anyone_accepted: bool,
}

/// A version of TLS. Older ones are not offered: they are broken, and rustls does not speak them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// 1.2.
    #[default]
    V1_2,
    /// 1.3.
    V1_3,
}

/// Where trusted authorities come from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Roots {
    System,
    File(PathBuf),
    Folder(PathBuf),
    Pem(Vec<u8>),
}

/// What we show when the server asks who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    Pem { certificate: PathBuf, key: PathBuf },
    Pkcs12(PathBuf),
}

/// A password: never shown, and wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Tls {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the authorities in this file: one or more certificates in PEM, or one in DER. May be said again.
    ///
    /// With an authority of one's own the system's are not trusted, unless [`Tls::system_roots`] says so too.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots.push(Roots::File(path.into()));
        self
    }

    /// Trusts the authorities in the files of this folder. Files that hold no certificate are passed over; folders in it
    /// are not searched.
    #[must_use]
    pub fn ca_folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots.push(Roots::Folder(path.into()));
        self
    }

    /// Trusts the authorities in this text, as in a file.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(Roots::Pem(pem.into()));
        self
    }

    /// Trusts what the system trusts. So by default; needed only beside an authority of one's own. The environment
    /// variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name other places.
    #[must_use]
    pub fn system_roots(mut self) -> Self {
        self.roots.push(Roots::System);
        self
    }

    /// Refuses certificates that these lists say were revoked (CRL of version 2, RFC 5280): one or more in PEM, or one in
    /// DER. May be said again.
    ///
    /// Each authority of the server's chain must have a list in one of the files, and no list may be older than it says:
    /// otherwise nobody can tell whether a certificate was revoked, and it is refused. Pins go before lists.
    #[must_use]
    pub fn crl_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.revoked.push(path.into());
        self
    }

    /// Shows this certificate when the server asks for one: a chain in PEM, ours first, and its key, in PEM or DER, as
    /// PKCS#8, PKCS#1 (RSA) or SEC1 (EC). For an encrypted PKCS#8 key see [`Tls::key_password`].
    #[must_use]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        let (certificate, key) = (certificate.into(), key.into());
        self.identity = Some(Identity::Pem { certificate, key });
        self
    }

    /// The same from a PKCS#12 file (`.p12`, `.pfx`); its password by [`Tls::key_password`].
    #[must_use]
    pub fn client_pkcs12(mut self, path: impl Into<PathBuf>) -> Self {
        self.identity = Some(Identity::Pkcs12(path.into()));
        self
    }

    /// Password of the key, or of the PKCS#12 file.
    #[must_use]
    pub fn key_password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Secret(Zeroizing::new(password.into())));
        self
    }

    /// Offers these application protocols, the best first: `mqtt`, or `x-amzn-mqtt-ca` for AWS at port 443. Default: none.
    #[must_use]
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The name that is sent to the server (SNI) and that its certificate must have. Default: the host of the URL.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Refuses older versions. Default: 1.2.
    #[must_use]
    pub fn version_min(mut self, version: TlsVersion) -> Self {
        self.version_min = version;
        self
    }

    /// Accepts only a server that has this certificate or this key. May be said again: one pin must fit.
    ///
    /// A pin replaces all other checks of the certificate: authority, name, dates. So it also fits certificates that could
    /// not be checked: of version 1, with the name only in the common name, or an authority's own.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pins.push(pin);
        self
    }

    /// **Dangerous.** Accepts any server whatever its certificate says: anybody on the way can read and change
    /// everything, passwords included. For a server whose certificate cannot be checked, [`Tls::pin`] is safe.
    #[must_use]
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.is_anyone_accepted = true;
        self
    }
}

#[cfg(feature = "tls")]
impl Secret {
    fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for TlsVersion {
    type Err = TlsError;

    /// Reads `1.2`, `tlsv1.2`, `1.3` or `tlsv1.3`.
    fn from_str(text: &str) -> Result<Self, TlsError> {
        match text.to_ascii_lowercase().trim_start_matches("tlsv") {
            "1.2" => Ok(Self::V1_2),
            "1.3" => Ok(Self::V1_3),
            "1" | "1.0" | "1.1" | "sslv3" | "sslv2" => Err(TlsError::OldVersion(text.to_owned())),
            _ => Err(TlsError::NotAVersion(text.to_owned())),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
