//! Makes connections that come in secure.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, server::WebPkiClientVerifier, sign::SingleCertAndKey},
};

use super::{
    ServerTls, TlsError,
    config::{provider, revoked, trusted, versions},
    stream::{Heard, Secure},
};
use crate::Stream;

/// What a listener does with each connection. Clones have the same certificate at any time.
#[derive(Clone)]
pub(crate) struct Acceptor {
    tls: Arc<ServerTls>,
    current: Arc<Mutex<TlsAcceptor>>,
}

/// What was read again, and is not in use.
pub(crate) struct Renewal {
    current: Arc<Mutex<TlsAcceptor>>,
    read: TlsAcceptor,
}

impl ServerTls {
    /// Reads the files. Blocks.
    pub(crate) fn acceptor(&self) -> Result<Acceptor, TlsError> {
        let current = Arc::new(Mutex::new(self.read()?));
        Ok(Acceptor { tls: Arc::new(self.clone()), current })
    }

    fn read(&self) -> Result<TlsAcceptor, TlsError> {
        let other = |error: tokio_rustls::rustls::Error| TlsError::of(&error);
        let provider = provider();
        let identity = self.identity.as_ref().ok_or(TlsError::NoServerCertificate)?;
        let own = identity.load(self.password.as_ref(), &provider)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(self.version_min))
            .map_err(other)?;
        let builder = if self.client_roots.is_empty() {
            builder.with_no_client_auth()
        } else {
            let roots = Arc::new(trusted(&self.client_roots)?);
            let lists = revoked(&self.client_revoked, &roots, &provider)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .with_crls(lists)
                .enforce_revocation_expiration()
                .build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| TlsError::Other(error.to_string()))?,
            )
        };
        // Without application protocols of its own a server takes whatever clients offer.
        let config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Acceptor {
    /// Reads the files again. Blocks.
    pub(crate) fn renewal(&self) -> Result<Renewal, TlsError> {
        Ok(Renewal { current: Arc::clone(&self.current), read: self.tls.read()? })
    }

    fn current(&self) -> TlsAcceptor {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Renewal {
    /// Takes it into use, for connections that come from now on.
    pub(crate) fn apply(self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = self.read;
    }
}

/// Makes a connection that came in secure.
pub(crate) async fn accept(acceptor: &Acceptor, below: Stream) -> Result<Stream, TlsError> {
    let accepting = acceptor.current().accept(Heard { below, has_heard: false });
    match accepting.into_fallible().await {
        Ok(stream) => Ok(Stream::layered(Secure(stream.into()))),
        Err((error, heard)) => Err(TlsError::in_handshake(&error, heard.has_heard)),
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}
