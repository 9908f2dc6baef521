//! Certificates for tests: an authority, and whom it vouches for.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use postrider_net::{Endpoint, Pin, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        sign::{CertifiedKey, SingleCertAndKey},
    },
};

/// An authority with a folder for its files.
pub(crate) struct Authority {
    pub(crate) folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Its certificate is `ca.pem`.
    pub(crate) fn new() -> Self {
        Self::named("Plant CA")
    }

    pub(crate) fn named(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("ca.key"), key.serialize_pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Who trusts it.
    pub(crate) fn trusted(&self) -> Tls {
        Tls::new().ca_file(self.ca())
    }

    /// Makes `NAME.pem` and `NAME.key` for a host; `change` has the last word.
    pub(crate) fn issue(
        &self,
        name: &str,
        hosts: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> (PathBuf, PathBuf) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    /// Makes `server.pem` and `server.key` for this machine.
    pub(crate) fn server(&self) -> (PathBuf, PathBuf) {
        self.issue("server", &["localhost", "127.0.0.1"], |_| {})
    }

    /// Makes the list `NAME` of revoked certificates, by their serial numbers; it is good until the year `until`.
    pub(crate) fn revoke(&self, name: &str, serials: &[u64], until: i32) -> PathBuf {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 2),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 2),
            next_update: date_time_ymd(until, 1, 2),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.path(name);
        let list = list.signed_by(&self.issuer).unwrap();
        let bytes =
            if name.ends_with(".der") { list.der().to_vec() } else { list.pem().unwrap().into() };
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs `openssl` in the folder.
    pub(crate) fn openssl(&self, line: &str) {
        openssl(self.folder.path(), line);
    }
}

/// A server that knows these application protocols only; also what its first client and it agreed on, and the name that the
/// client sent.
pub(crate) async fn alpn_server(
    certificate: &Path,
    key: &Path,
    protocols: &[&str],
) -> (Endpoint, JoinHandle<Option<(String, String)>>) {
    let mut config = config(certificate, key, rustls::ALL_VERSIONS);
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let chosen = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let stream = TlsAcceptor::from(Arc::new(config)).accept(tcp).await.ok()?;
        let told = stream.get_ref().1;
        let chosen = String::from_utf8(told.alpn_protocol()?.to_vec()).unwrap();
        Some((chosen, told.server_name().unwrap_or_default().to_owned()))
    });
    (Endpoint::Tls { host: "localhost".to_owned(), port }, chosen)
}

/// A server of one version of TLS, whose key need not be that of its certificate.
pub(crate) async fn impostor(
    certificate: &Path,
    key: &Path,
    version: &'static rustls::SupportedProtocolVersion,
) -> Endpoint {
    let config = Arc::new(config(certificate, key, &[version]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        // A client that is taken in stays connected.
        TlsAcceptor::from(config).accept(tcp).await.map(std::mem::forget)
    });
    Endpoint::Tls { host: "localhost".to_owned(), port }
}

fn config(
    certificate: &Path,
    key: &Path,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ServerConfig {
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // Whether they fit is not looked at.
    let key = provider.key_provider.load_private_key(key).unwrap();
    let own = SingleCertAndKey::from(CertifiedKey::new(certificates, key));
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(versions).unwrap().with_no_client_auth();
    builder.with_cert_resolver(Arc::new(own))
}

/// Long over.
pub(crate) fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 3, 4);
}

/// Far away.
pub(crate) fn future(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2090, 5, 6);
    params.not_after = date_time_ymd(2091, 1, 1);
}

/// Runs `openssl` in a folder, as its word says how certificates and keys look in the world.
pub(crate) fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(folder).output();
    let output = output.expect("these tests need the program openssl");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {line}: {text}");
}

/// The pin of the certificate in a file.
pub(crate) fn pin_of(certificate: &Path) -> Pin {
    let folder = certificate.parent().unwrap();
    let name = certificate.file_name().unwrap().to_str().unwrap();
    openssl(folder, &format!("x509 -in {name} -outform DER -out {name}.der"));
    Pin::of_certificate(&std::fs::read(folder.join(format!("{name}.der"))).unwrap())
}
