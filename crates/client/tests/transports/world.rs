//! A broker that listens in every way, with certificates made for it.

use std::path::PathBuf;

use postrider::Tls;
use postrider_broker::{Broker, Endpoint, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

pub(crate) struct World {
    folder: TempDir,
    pub(crate) broker: Broker,
}

impl World {
    /// A broker with TLS, WebSocket and both, in this order.
    pub(crate) fn start() -> Self {
        Self::start_with(|_, _, tls| tls)
    }

    /// The same; `change` has the last word about its TLS.
    pub(crate) fn start_with(
        change: impl FnOnce(&TempDir, &Issuer<'static, KeyPair>, ServerTls) -> ServerTls,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issuer = authority(&folder);
        issue(&folder, &issuer, "server", |_| {});
        let path = |name: &str| folder.path().join(name);
        let tls = ServerTls::new(path("server.pem"), path("server.key"));
        let tls = change(&folder, &issuer, tls);
        let broker = Broker::builder()
            .listen("mqtts://127.0.0.1:0")
            .listen("ws://127.0.0.1:0/mqtt")
            .listen("wss://127.0.0.1:0/mqtt")
            .hubs(2)
            .tls(tls);
        Self { broker: broker.start().unwrap(), folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Trusts the authority of the broker.
    pub(crate) fn tls(&self) -> Tls {
        Tls::new().ca_file(self.path("ca.pem"))
    }

    /// The URLs of all listeners.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.broker.endpoints().iter().map(Endpoint::to_string).collect()
    }

    /// The URL of the listener with TLS.
    pub(crate) fn url(&self) -> String {
        self.urls().swap_remove(0)
    }

    /// The same port under another scheme.
    pub(crate) fn url_as(&self, scheme: &str) -> String {
        self.url().replace("mqtts", scheme)
    }
}

/// Makes `ca.pem`.
pub(crate) fn authority(folder: &TempDir) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
    Issuer::new(params, key)
}

/// Makes `NAME.pem` and `NAME.key` for this machine.
pub(crate) fn issue(
    folder: &TempDir,
    issuer: &Issuer<'static, KeyPair>,
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    std::fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
}
