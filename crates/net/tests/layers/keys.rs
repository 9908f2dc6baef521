//! Keys and certificates as the world writes them, made by openssl.

use std::path::{Path, PathBuf};

use postrider_net::{ServerTls, Tls, TlsError, TlsVersion};

use crate::{
    authority::Authority,
    peers::{Echo, check_echo, dial_tls, tls_error},
};

/// PKCS#8, PKCS#1 and SEC1, in PEM and DER.
#[tokio::test]
async fn keys_of_every_form() {
    let world = World::new().await;
    let authority = &world.authority;
    authority.openssl("genrsa -traditional -out pkcs1.key 2048");
    authority.openssl("ecparam -name prime256v1 -genkey -noout -out sec1.key");
    authority.openssl("genpkey -algorithm ed25519 -out pkcs8.key");
    for (name, label) in [("pkcs1", "RSA PRIVATE"), ("sec1", "EC PRIVATE"), ("pkcs8", "PRIVATE")] {
        let key = authority.path(&format!("{name}.key"));
        let text = std::fs::read_to_string(&key).unwrap();
        assert!(text.contains(&format!("BEGIN {label} KEY")), "{text}");
        let certificate = world.certificate(name);
        world.check(Tls::client_certificate(world.tls(), &certificate, &key)).await;
    }
    authority.openssl("rsa -in pkcs1.key -traditional -outform DER -out der.key");
    authority.openssl("x509 -in pkcs1.pem -outform DER -out der.pem");
    let tls = world.tls().client_certificate(authority.path("der.pem"), authority.path("der.key"));
    world.check(tls).await;
}

#[tokio::test]
async fn a_key_that_does_not_match_its_certificate_is_told() {
    let world = World::new().await;
    let (certificate, _) = world.authority.issue("one", &[], |_| {});
    let (_, key) = world.authority.issue("two", &[], |_| {});
    let tls = world.tls().client_certificate(&certificate, &key);
    let error = tls_error(&world.echo.endpoint, tls).await;
    assert_eq!(error, TlsError::KeyMismatch { key, certificate });
}

#[tokio::test]
async fn encrypted_keys_in_pkcs8() {
    let world = World::new().await;
    world.authority.openssl("genrsa -out plain.key 2048");
    let certificate = world.certificate("plain");
    for (name, options) in [
        ("aes", "-v2 aes-256-cbc -v2prf hmacWithSHA256"),
        ("old", "-v2 des3 -v2prf hmacWithSHA1"),
        ("scrypt", "-scrypt"),
        ("der", "-outform DER"),
    ] {
        let line = "pkcs8 -topk8 -in plain.key -passout pass:secret";
        world.authority.openssl(&format!("{line} {options} -out {name}.key"));
        let key = world.authority.path(&format!("{name}.key"));
        let tls = world.tls().client_certificate(&certificate, &key);
        world.check(tls.clone().key_password("secret")).await;
        let error = world.error(tls.clone().key_password("wrong")).await;
        assert_eq!(error, TlsError::KeyPassword(key.clone()), "{name}");
        let error = world.error(tls).await;
        assert_eq!(error, TlsError::KeyPasswordMissing(key), "{name}");
    }
}

#[tokio::test]
async fn old_encrypted_pem_is_refused_with_the_command_that_converts_it() {
    let world = World::new().await;
    world.authority.openssl("genrsa -out plain.key 2048");
    let certificate = world.certificate("plain");
    world
        .authority
        .openssl("rsa -in plain.key -traditional -aes128 -passout pass:secret -out old.key");
    let key = world.authority.path("old.key");
    let tls = world.tls().client_certificate(&certificate, &key).key_password("secret");
    let error = world.error(tls).await;
    assert_eq!(error, TlsError::KeyLegacy(key.clone()));
    // The command that it names does convert it.
    assert!(error.to_string().contains("openssl pkcs8 -topk8 -in"), "{error}");
    world
        .authority
        .openssl("pkcs8 -topk8 -in old.key -passin pass:secret -passout pass:secret -out new.key");
    let new = world.authority.path("new.key");
    let tls = world.tls().client_certificate(&certificate, &new).key_password("secret");
    world.check(tls).await;
}

#[tokio::test]
async fn pkcs12() {
    let world = World::new().await;
    world.authority.openssl("genrsa -out plain.key 2048");
    world.certificate("plain");
    for (name, options) in
        [("modern", ""), ("old", " -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1")]
    {
        let line = "pkcs12 -export -in plain.pem -inkey plain.key -certfile ca.pem";
        world.authority.openssl(&format!("{line} -passout pass:secret{options} -out {name}.p12"));
        let path = world.authority.path(&format!("{name}.p12"));
        let tls = world.tls().client_pkcs12(&path);
        world.check(tls.clone().key_password("secret")).await;
        let error = world.error(tls.clone().key_password("wrong")).await;
        assert_eq!(error, TlsError::KeyPassword(path.clone()), "{name}");
        let error = world.error(tls).await;
        assert_eq!(error, TlsError::KeyPasswordMissing(path), "{name}");
    }
    let error = world.error(world.tls().client_pkcs12(world.authority.ca())).await;
    assert!(error.to_string().contains("is not a PKCS#12 file"), "{error}");
}

/// The server knows the root only: what lies between is sent along.
#[tokio::test]
async fn a_chain_goes_whole() {
    let world = World::new().await;
    let authority = &world.authority;
    authority.openssl("genrsa -out between.key 2048");
    authority.openssl("req -new -key between.key -subj /CN=between -out between.csr");
    std::fs::write(authority.path("ca.txt"), "basicConstraints=critical,CA:TRUE\n").unwrap();
    authority.openssl(
        "x509 -req -in between.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ca.txt -out between.pem",
    );
    authority.openssl("genrsa -out leaf.key 2048");
    let (leaf, key) = (world.certificate_by("between", "leaf"), authority.path("leaf.key"));
    // A certificate alone leads nowhere.
    world.error(world.tls().client_certificate(&leaf, &key)).await;
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let chain = authority.path("chain.pem");
    std::fs::write(&chain, read(&leaf) + &read(&authority.path("between.pem"))).unwrap();
    world.check(world.tls().client_certificate(chain, key)).await;
    let line = "pkcs12 -export -in leaf.pem -inkey leaf.key -certfile between.pem";
    authority.openssl(&format!("{line} -passout pass:secret -out chain.p12"));
    let tls = world.tls().client_pkcs12(authority.path("chain.p12"));
    world.check(tls.key_password("secret")).await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let world = World::new().await;
    let (certificate, key) = world.authority.issue("own", &[], |_| {});
    let missing = world.authority.path("missing");
    for (tls, path, what) in [
        (Tls::new().ca_file(&missing), &missing, "cannot be read"),
        (Tls::new().ca_folder(&missing), &missing, "cannot be read"),
        (Tls::new().ca_file(&key), &key, "holds no certificate"),
        (world.tls().client_certificate(&key, &key), &key, "holds no certificate"),
        (
            world.tls().client_certificate(&certificate, &certificate),
            &certificate,
            "no private key",
        ),
    ] {
        let error = world.error(tls).await;
        let TlsError::File { path: told, .. } = &error else { panic!("{error:?}") };
        assert_eq!(told, path);
        assert!(error.to_string().contains(what), "{error}");
    }
}

/// rustls reads no certificates of version 1; a pin accepts the server's, and a client may have one.
#[tokio::test]
async fn certificates_of_version_1() {
    let world = World::new().await;
    world.authority.openssl("genrsa -out first.key 2048");
    world.authority.openssl("req -new -x509 -key first.key -subj /CN=first -days 2 -out third.pem");
    world.authority.openssl("req -new -key first.key -subj /CN=127.0.0.1 -out first.csr");
    world.authority.openssl(
        "x509 -req -in first.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out first.pem",
    );
    let (certificate, key) = (world.authority.path("first.pem"), world.authority.path("first.key"));
    let echo = Echo::secure((certificate.clone(), key.clone())).await;
    let error = tls_error(&echo.endpoint, world.tls()).await;
    let TlsError::Unverifiable { pin, .. } = &error else { panic!("{error:?}") };
    let tls = Tls::new().pin(pin.parse().unwrap());
    check_echo(dial_tls(&echo.endpoint, tls).await.unwrap()).await;
    // In TLS 1.2 signatures are made in another way.
    let tls12 = OpensslServer::start(&certificate, &key, "-tls1_2").await;
    let endpoint = tls12.endpoint();
    drop(dial_tls(&endpoint, Tls::new().pin(pin.parse().unwrap())).await.unwrap());
}

/// TLS 1.2 has no word for it; what the server asked for tells.
#[tokio::test]
async fn a_missing_client_certificate_is_told_in_tls_1_2_too() {
    let world = World::new().await;
    let ca = world.authority.ca();
    let options = format!("-tls1_2 -Verify 1 -CAfile {}", ca.display());
    let server = world.openssl_server(&options).await;
    let error = tls_error(&server.endpoint(), world.tls()).await;
    assert_eq!(error, TlsError::ClientCertificateRequired);
}

#[tokio::test]
async fn a_server_that_is_too_old_is_told() {
    let world = World::new().await;
    let server = world.openssl_server("-tls1_2").await;
    let tls = world.tls().version_min(TlsVersion::V1_3);
    let error = tls_error(&server.endpoint(), tls).await;
    assert!(matches!(error, TlsError::Version(_)), "{error:?}");
    let server = world.openssl_server("-tls1_1 -cipher DEFAULT:@SECLEVEL=0").await;
    let error = tls_error(&server.endpoint(), world.tls()).await;
    assert!(matches!(error, TlsError::Version(_)), "{error:?}");
}

/// A server that wants a client certificate, and one who trusts it.
struct World {
    authority: Authority,
    echo: Echo,
}

impl World {
    async fn new() -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.server();
        let server = ServerTls::new(certificate, key).client_ca_file(authority.ca());
        let echo = Echo::start("mqtts://127.0.0.1:0", server).await;
        Self { authority, echo }
    }

    fn tls(&self) -> Tls {
        self.authority.trusted()
    }

    async fn openssl_server(&self, options: &str) -> OpensslServer {
        let path = |name: &str| self.authority.path(name);
        OpensslServer::start(&path("server.pem"), &path("server.key"), options).await
    }

    /// Makes `NAME.pem` for `NAME.key`.
    fn certificate(&self, name: &str) -> PathBuf {
        self.certificate_by("ca", name)
    }

    /// [`World::certificate`] by another authority.
    fn certificate_by(&self, authority: &str, name: &str) -> PathBuf {
        self.authority
            .openssl(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"));
        std::fs::write(self.authority.path("v3.txt"), "basicConstraints=CA:FALSE\n").unwrap();
        self.authority.openssl(&format!(
            "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days 2 -extfile v3.txt -out {name}.pem"
        ));
        self.authority.path(&format!("{name}.pem"))
    }

    async fn check(&self, tls: Tls) {
        check_echo(dial_tls(&self.echo.endpoint, tls).await.unwrap()).await;
    }

    async fn error(&self, tls: Tls) -> TlsError {
        tls_error(&self.echo.endpoint, tls).await
    }
}

/// `openssl s_server`, which is ended when it is dropped.
struct OpensslServer {
    process: std::process::Child,
    port: u16,
}

impl OpensslServer {
    async fn start(certificate: &Path, key: &Path, options: &str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = std::process::Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")])
            .args(options.split(' '))
            .arg("-cert")
            .arg(certificate)
            .arg("-key")
            .arg(key)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { process, port };
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert_eq!(server.process.try_wait().unwrap(), None);
            tokio::task::yield_now().await;
        }
        server
    }

    fn endpoint(&self) -> postrider_net::Endpoint {
        let url = format!("mqtts://127.0.0.1:{}", self.port);
        postrider_net::Address::parse(&url).unwrap().endpoint
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
