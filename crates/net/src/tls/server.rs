//! The server's end: for listeners.

use std::path::PathBuf;

use super::{Identity, Roots, Secret, TlsVersion};

/// The certificate of a listener, and whom it lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    pub(super) identity: Option<Identity>,
    pub(super) password: Option<Secret>,
    pub(super) client_roots: Vec<Roots>,
    /// Files of revocation lists.
    pub(super) client_revoked: Vec<PathBuf>,
    pub(super) version_min: TlsVersion,
}

impl ServerTls {
    /// With the certificate chain in this file (PEM, ours first) and its key, as in [`super::Tls::client_certificate`].
    #[must_use]
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let (certificate, key) = (certificate.into(), key.into());
        Self { identity: Some(Identity::Pem { certificate, key }), ..Self::default() }
    }

    /// Password of the key.
    #[must_use]
    pub fn key_password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Secret(zeroize::Zeroizing::new(password.into())));
        self
    }

    /// Lets only those in whose certificate an authority in this file has signed.
    #[must_use]
    pub fn client_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_roots.push(Roots::File(path.into()));
        self
    }

    /// Refuses clients whose certificate was revoked, as [`super::Tls::crl_file`] does servers.
    #[must_use]
    pub fn client_crl_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_revoked.push(path.into());
        self
    }

    /// Refuses older versions. Default: 1.2.
    #[must_use]
    pub fn version_min(mut self, version: TlsVersion) -> Self {
        self.version_min = version;
        self
    }
}
