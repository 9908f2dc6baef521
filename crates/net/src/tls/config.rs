//! Makes what rustls wants of what was asked.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    client::{ResolvesClientCert, WebPkiServerVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::{
    Identity, Roots, Secret, Tls, TlsError, TlsVersion,
    certificate::Facts,
    material::{self, Own},
    verifier::Verifier,
};

/// We have no certificate; notes whether the server has asked for one.
#[derive(Debug, Default)]
pub(super) struct Nobody {
    pub(super) was_asked: AtomicBool,
}

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// What does the cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(provider)
}

/// The versions from this one on.
pub(super) fn versions(version_min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match version_min {
        TlsVersion::V1_2 => &BOTH,
        TlsVersion::V1_3 => BOTH.split_at(1).0,
    }
}

impl Tls {
    /// Reads the files. Blocks. `nobody` is asked where we have no certificate.
    pub(super) fn config(&self, nobody: Arc<Nobody>) -> Result<ClientConfig, TlsError> {
        let provider = provider();
        let verifier = Arc::new(self.verifier(&provider)?);
        let own = self.own(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(self.version_min))
            .map_err(|error| TlsError::of(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match own {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
            None => builder.with_client_cert_resolver(nobody),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(config)
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Verifier, TlsError> {
        let algorithms = provider.signature_verification_algorithms;
        if !self.pins.is_empty() {
            return Ok(Verifier::Pins(self.pins.clone(), algorithms));
        }
        if self.is_anyone_accepted {
            return Ok(Verifier::Anyone(algorithms));
        }
        let roots = Arc::new(trusted(&self.roots)?);
        let lists = revoked(&self.revoked, &roots, provider)?;
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
            .with_crls(lists)
            .enforce_revocation_expiration()
            .build()
            .map(Verifier::Authorities)
            .map_err(|error| TlsError::Other(error.to_string()))
    }

    /// Our own certificate and key.
    fn own(&self, provider: &CryptoProvider) -> Result<Option<CertifiedKey>, TlsError> {
        let Some(identity) = &self.identity else { return Ok(None) };
        identity.load(self.password.as_ref(), provider).map(Some)
    }
}

impl Identity {
    pub(super) fn load(
        &self,
        password: Option<&Secret>,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let (certificate, key) = match self {
            Self::Pem { certificate, key } => (certificate, key),
            Self::Pkcs12(path) => (path, path),
        };
        let (chain, secret): Own = match self {
            Self::Pem { .. } => {
                (material::certificates(certificate)?, material::key(key, password)?)
            }
            Self::Pkcs12(path) => material::pkcs12(path, password)?,
        };
        let fault = |what: String| TlsError::File {
            path: key.clone(),
            what: format!("cannot be used: {what}"),
        };
        let certified = certified(chain, secret, provider).map_err(fault)?;
        certified.ok_or_else(|| TlsError::KeyMismatch {
            key: key.clone(),
            certificate: certificate.clone(),
        })
    }
}

/// A certificate with its key, `None` if they do not belong together. Compared here, because rustls reads no
/// certificates of version 1, which many a small authority hands out to its clients.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Option<CertifiedKey>, String> {
    let key = provider.key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    let first = chain.first().and_then(Facts::read).ok_or("its certificate cannot be read")?;
    let is_pair = key.public_key().is_none_or(|public| public.as_ref() == first.public_key);
    Ok(is_pair.then(|| CertifiedKey::new(chain, key)))
}

/// The revocation lists in these files; one that cannot be used is told with its file.
pub(super) fn revoked(
    paths: &[PathBuf],
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let mut lists = Vec::new();
    for path in paths {
        let found = material::revocation_lists(path)?;
        WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
            .with_crls(found.iter().cloned())
            .build()
            .map_err(|error| TlsError::File {
                path: path.clone(),
                what: format!("has a revocation list that cannot be used: {error}"),
            })?;
        lists.extend(found);
    }
    Ok(lists)
}

/// The authorities that are trusted.
pub(super) fn trusted(wanted: &[Roots]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let wanted = if wanted.is_empty() { &[Roots::System] } else { wanted };
    for roots in wanted {
        match roots {
            Roots::System => {
                // What cannot be read of so many is no reason to trust none.
                store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Roots::File(path) => {
                for certificate in material::certificates(path)? {
                    store.add(certificate).map_err(|error| {
                        let what = format!("has an authority that cannot be used: {error}");
                        TlsError::File { path: path.clone(), what }
                    })?;
                }
            }
            Roots::Folder(path) => {
                store.add_parsable_certificates(material::certificates_of(path)?);
            }
            Roots::Pem(pem) => {
                let found = material::certificates_in(pem).map_err(|what| {
                    TlsError::Other(format!("the text of the authorities {what}"))
                })?;
                store.add_parsable_certificates(found);
            }
        }
    }
    if store.is_empty() { Err(TlsError::NoRoots) } else { Ok(store) }
}
