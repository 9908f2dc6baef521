//! A broker with TLS that lets nobody in without a certificate, and one whose key has a password.

use std::{path::PathBuf, process::Command};

use postrider::Tls;

use crate::{
    Result,
    world::{World, issue},
};

pub(crate) struct Plant(World);

impl Plant {
    pub(crate) fn start() -> Result<Self> {
        let world = World::start_with(|folder, issuer, tls| {
            issue(folder, issuer, "press-7", |_| {});
            tls.client_ca_file(folder.path().join("ca.pem"))
        });
        let (plain, key) = (world.path("plain.key"), world.path("press-7.key"));
        std::fs::rename(&key, &plain)?;
        let encrypting = Command::new("openssl")
            .args(["pkcs8", "-topk8", "-passout", "pass:secret", "-in"])
            .arg(&plain)
            .arg("-out")
            .arg(&key)
            .output()?;
        assert!(encrypting.status.success(), "{encrypting:?}");
        assert!(std::fs::read_to_string(&key)?.contains("ENCRYPTED"));
        Ok(Self(world))
    }

    pub(crate) fn port(&self) -> u16 {
        let url = self.url();
        url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port in the URL")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// Trusts the broker, and has no certificate.
    pub(crate) fn tls(&self) -> Tls {
        self.0.tls()
    }
}
