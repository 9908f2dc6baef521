//! TLS: whom a client trusts, whom a server lets in, and what is told when it fails.

use postrider_net::{
    Dial, DialError, LayerError, Layers, ServerTls, Tls, TlsError, TlsVersion, dial_with,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls;

use crate::{
    authority::{Authority, alpn_server, expired, future, impostor, pin_of},
    peers::{Echo, LONG, check_echo, dial_tls, tls_error},
};

#[tokio::test]
async fn ca_file() {
    let authority = Authority::new();
    let echo = Echo::secure(authority.server()).await;
    check_echo(dial_tls(&echo.at("localhost"), authority.trusted()).await.unwrap()).await;
    check_echo(dial_tls(&echo.at("127.0.0.1"), authority.trusted()).await.unwrap()).await;
    let pem = std::fs::read(authority.ca()).unwrap();
    check_echo(dial_tls(&echo.endpoint, Tls::new().ca_pem(pem)).await.unwrap()).await;
}

#[tokio::test]
async fn ca_folder() {
    let authority = Authority::new();
    let echo = Echo::secure(authority.server()).await;
    let folder = authority.path("trusted");
    std::fs::create_dir(&folder).unwrap();
    let empty = tls_error(&echo.endpoint, Tls::new().ca_folder(&folder)).await;
    assert!(matches!(&empty, TlsError::File { what, .. } if what.contains("no file")), "{empty}");
    // Others come before it and behind it.
    for (authority, name) in
        [(&Authority::new(), "0.pem"), (&authority, "1234abcd.0"), (&Authority::new(), "2.pem")]
    {
        std::fs::copy(authority.ca(), folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("notes.txt"), "nothing").unwrap();
    check_echo(dial_tls(&echo.endpoint, Tls::new().ca_folder(&folder)).await.unwrap()).await;
}

#[tokio::test]
async fn system_roots() {
    let authority = Authority::new();
    let echo = Echo::secure(authority.server()).await;
    // Whatever this machine trusts, it is not an authority that was made a moment ago.
    let error = tls_error(&echo.endpoint, Tls::new()).await;
    assert!(matches!(error, TlsError::UnknownCa { .. } | TlsError::NoRoots), "{error}");
    check_echo(dial_tls(&echo.endpoint, authority.trusted().system_roots()).await.unwrap()).await;
}

#[tokio::test]
async fn files_are_read_again_at_each_attempt() {
    let (first, second) = (Authority::new(), Authority::new());
    let echo = Echo::secure(second.server()).await;
    let tls = first.trusted();
    let error = tls_error(&echo.endpoint, tls.clone()).await;
    assert!(matches!(error, TlsError::UnknownCa { .. }), "{error}");
    std::fs::copy(second.ca(), first.ca()).unwrap();
    check_echo(dial_tls(&echo.endpoint, tls).await.unwrap()).await;
}

/// A wrong file of one listener leaves those before it as they were too.
#[tokio::test]
async fn listeners_read_their_files_again_together() {
    let (old, new) = (Authority::new(), Authority::new());
    let own = old.server();
    let first = Echo::secure(own.clone()).await;
    let (certificate, key) = old.issue("second", &["127.0.0.1"], |_| {});
    let second = Echo::secure((certificate, key.clone())).await;
    let renewed = new.server();
    std::fs::copy(renewed.0, own.0).unwrap();
    std::fs::copy(renewed.1, own.1).unwrap();
    let kept = std::fs::read(&key).unwrap();
    std::fs::write(&key, "no key").unwrap();
    let listeners = [("first", &first.layers), ("second", &second.layers)];
    let (name, _) = Layers::reload(listeners).unwrap_err();
    assert_eq!(name, "second");
    for echo in [&first, &second] {
        check_echo(dial_tls(&echo.endpoint, old.trusted()).await.unwrap()).await;
    }
    std::fs::write(&key, kept).unwrap();
    Layers::reload(listeners).unwrap();
    check_echo(dial_tls(&first.endpoint, new.trusted()).await.unwrap()).await;
    check_echo(dial_tls(&second.endpoint, old.trusted()).await.unwrap()).await;
}

#[tokio::test]
async fn server_name() {
    let authority = Authority::new();
    let echo = Echo::secure(authority.issue("server", &["broker.example"], |_| {})).await;
    let tls = authority.trusted().server_name("broker.example");
    check_echo(dial_tls(&echo.endpoint, tls).await.unwrap()).await;
    let error = tls_error(&echo.endpoint, authority.trusted().server_name("a b")).await;
    assert_eq!(error, TlsError::Name("a b".to_owned()));
}

/// What AWS wants at port 443: its own protocol, and always the name of the host (SNI).
#[tokio::test]
async fn alpn() {
    let authority = Authority::new();
    let (certificate, key) = authority.server();
    let server = alpn_server(&certificate, &key, &["x-amzn-mqtt-ca"]);
    let (endpoint, chosen) = server.await;
    let tls = authority.trusted().alpn(["x-amzn-mqtt-ca"]);
    dial_tls(&endpoint, tls).await.unwrap();
    let agreed = ("x-amzn-mqtt-ca".to_owned(), "localhost".to_owned());
    assert_eq!(chosen.await.unwrap(), Some(agreed));
    let server = alpn_server(&certificate, &key, &["other"]);
    let (endpoint, _) = server.await;
    let error = tls_error(&endpoint, authority.trusted().alpn(["mqtt"])).await;
    assert_eq!(error, TlsError::Alpn);
}

#[tokio::test]
async fn minimum_version() {
    let authority = Authority::new();
    let (certificate, key) = authority.server();
    let tls = ServerTls::new(certificate, key);
    let strict =
        Echo::start("mqtts://127.0.0.1:0", tls.clone().version_min(TlsVersion::V1_3)).await;
    let tls = authority.trusted().version_min(TlsVersion::V1_3);
    check_echo(dial_tls(&strict.endpoint, tls).await.unwrap()).await;
}

#[test]
fn old_versions_are_refused_by_name() {
    for text in ["tlsv1", "tlsv1.0", "tlsv1.1", "1.1", "TLSv1", "sslv3"] {
        let error = text.parse::<TlsVersion>().unwrap_err();
        assert!(error.to_string().contains(&format!("'{text}' is not offered")), "{error}");
    }
    assert_eq!("tlsv1.3".parse(), Ok(TlsVersion::V1_3));
    assert_eq!("1.2".parse(), Ok(TlsVersion::V1_2));
    assert!(matches!("4".parse::<TlsVersion>(), Err(TlsError::NotAVersion(_))));
}

#[tokio::test]
async fn an_expired_certificate_is_told_with_its_date() {
    let authority = Authority::new();
    let echo = Echo::secure(authority.issue("server", &["127.0.0.1"], expired)).await;
    let error = tls_error(&echo.endpoint, authority.trusted()).await;
    assert!(matches!(error, TlsError::Expired(_)), "{error:?}");
    assert!(error.to_string().contains("expired on 2002-03-04"), "{error}");
}

#[tokio::test]
async fn a_certificate_of_the_future_is_told_with_its_date() {
    let authority = Authority::new();
    let echo = Echo::secure(authority.issue("server", &["127.0.0.1"], future)).await;
    let error = tls_error(&echo.endpoint, authority.trusted()).await;
    assert!(error.to_string().contains("becomes valid on 2090-05-06, not before"), "{error}");
}

#[tokio::test]
async fn a_wrong_host_is_told_with_the_names_of_the_certificate() {
    let authority = Authority::new();
    let echo = Echo::secure(authority.issue("server", &["a.example", "b.example"], |_| {})).await;
    let error = tls_error(&echo.at("localhost"), authority.trusted()).await;
    let TlsError::WrongHost { wanted, names, .. } = &error else { panic!("{error:?}") };
    assert_eq!(wanted, "localhost");
    assert_eq!(names, &["a.example", "b.example"]);
    assert!(error.to_string().contains("it is for a.example, b.example"), "{error}");
}

#[tokio::test]
async fn a_name_only_in_the_common_name_is_told() {
    let authority = Authority::new();
    let echo = Echo::secure(authority.issue("localhost", &[], |_| {})).await;
    let error = tls_error(&echo.at("localhost"), authority.trusted()).await;
    assert!(error.to_string().contains("only the common name 'localhost'"), "{error}");
}

#[tokio::test]
async fn an_unknown_authority_is_named_and_a_pin_offered() {
    let (theirs, ours) = (Authority::new(), Authority::new());
    let echo = Echo::secure(theirs.server()).await;
    let error = tls_error(&echo.endpoint, ours.trusted()).await;
    let TlsError::UnknownCa { issuer, pin } = &error else { panic!("{error:?}") };
    assert_eq!(issuer, "Plant CA");
    let tls = Tls::new().pin(pin.parse().unwrap());
    check_echo(dial_tls(&echo.endpoint, tls).await.unwrap()).await;
}

#[tokio::test]
async fn client_certificate() {
    let authority = Authority::new();
    let (certificate, key) = authority.server();
    let server = ServerTls::new(certificate, key).client_ca_file(authority.ca());
    let echo = Echo::start("mqtts://127.0.0.1:0", server).await;
    let (certificate, key) = authority.issue("press-7", &[], |_| {});
    let tls = authority.trusted().client_certificate(certificate, key);
    check_echo(dial_tls(&echo.endpoint, tls).await.unwrap()).await;
}

#[tokio::test]
async fn a_missing_client_certificate_is_told() {
    let authority = Authority::new();
    let (certificate, key) = authority.server();
    let server = ServerTls::new(certificate, key).client_ca_file(authority.ca());
    let echo = Echo::start("mqtts://127.0.0.1:0", server).await;
    let error = tls_error(&echo.endpoint, authority.trusted()).await;
    assert_eq!(error, TlsError::ClientCertificateRequired);
    let told = echo.first.await.unwrap().unwrap_err();
    assert!(matches!(told, LayerError::Tls(TlsError::ClientCertificateRequired)), "{told:?}");
}

#[tokio::test]
async fn a_client_certificate_that_the_server_does_not_accept_is_told() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.server();
    let server = ServerTls::new(certificate, key).client_ca_file(authority.ca());
    let echo = Echo::start("mqtts://127.0.0.1:0", server).await;
    let (certificate, key) = other.issue("stranger", &[], |_| {});
    let tls = authority.trusted().client_certificate(certificate, key);
    let error = tls_error(&echo.endpoint, tls).await;
    assert!(matches!(error, TlsError::ClientCertificateRefused(_)), "{error:?}");
}

#[tokio::test]
async fn a_pin_goes_before_all_else() {
    let authority = Authority::new();
    for (name, hosts, change) in [
        ("expired", "127.0.0.1", expired as fn(&mut rcgen::CertificateParams)),
        ("other-host", "a.example", |_| {}),
        ("no-name", "", |params| params.subject_alt_names.clear()),
        ("an-authority", "127.0.0.1", |params| {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }),
    ] {
        let (certificate, key) = authority.issue(name, &[hosts], change);
        let pin = pin_of(&certificate);
        let echo = Echo::secure((certificate, key)).await;
        let error = tls_error(&echo.endpoint, authority.trusted()).await;
        check_echo(dial_tls(&echo.endpoint, Tls::new().pin(pin)).await.unwrap()).await;
        println!("{name}: {error}");
    }
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused_and_its_pins_told() {
    let authority = Authority::new();
    let (other, _) = authority.issue("other", &["127.0.0.1"], |_| {});
    let (certificate, key) = authority.server();
    let right = pin_of(&certificate);
    let echo = Echo::secure((certificate, key)).await;
    // A trusted authority does not help.
    let error = tls_error(&echo.endpoint, authority.trusted().pin(pin_of(&other))).await;
    let TlsError::NotPinned { public_key, certificate } = error else { panic!("{error:?}") };
    assert_eq!(certificate, right.to_string());
    let tls = Tls::new().pin(public_key.parse().unwrap()).pin(pin_of(&other));
    check_echo(dial_tls(&echo.endpoint, tls).await.unwrap()).await;
}

/// Everybody has the certificate of a server; who does not have its key is somebody else.
#[tokio::test]
async fn the_pinned_certificate_without_its_key_is_refused() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("server", &["localhost"], |_| {});
    let (_, other) = authority.issue("other", &["localhost"], |_| {});
    let pinned = || Tls::new().pin(pin_of(&certificate));
    for version in rustls::ALL_VERSIONS {
        let right = impostor(&certificate, &key, version).await;
        drop(dial_tls(&right, pinned()).await.unwrap());
        let wrong = impostor(&certificate, &other, version).await;
        let error = dial_tls(&wrong, pinned()).await.unwrap_err().to_string();
        assert!(error.contains("BadSignature"), "{version:?}: {error}");
    }
}

#[tokio::test]
async fn verification_can_be_switched_off_loudly() {
    let authority = Authority::new();
    let echo = Echo::secure(authority.issue("server", &["a.example"], expired)).await;
    let tls = Tls::new().danger_accept_any_certificate();
    check_echo(dial_tls(&echo.endpoint, tls).await.unwrap()).await;
}

#[tokio::test]
async fn a_plain_port_is_told() {
    let authority = Authority::new();
    // One that closes, as brokers do, and one that answers in its own language.
    for answer in ["", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 4096];
            assert_ne!(stream.read(&mut bytes).await.unwrap(), 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let endpoint = format!("mqtts://127.0.0.1:{port}");
        let endpoint = postrider_net::Address::parse(&endpoint).unwrap().endpoint;
        let error = tls_error(&endpoint, authority.trusted()).await;
        assert!(matches!(error, TlsError::NotTls(_)), "{error:?}");
        assert!(error.to_string().contains("is it a port for mqtt://"), "{error}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_detached_stream_keeps_its_tls() {
    let authority = Authority::new();
    let echo = Echo::secure(authority.server()).await;
    let mut stream = dial_tls(&echo.endpoint, authority.trusted()).await.unwrap();
    stream.write_all(b"before").await.unwrap();
    stream.flush().await.unwrap();
    let detached = stream.detach().unwrap();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut stream = detached.attach().unwrap();
            let mut bytes = [0; 6];
            stream.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"before");
            check_echo(stream).await;
        });
    });
    // The echo server runs in this thread's runtime.
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
}

/// The timeout bounds the handshake too.
#[tokio::test]
async fn a_server_that_does_not_go_on_with_tls_times_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let endpoint = postrider_net::Address::parse(&format!("tls://127.0.0.1:{port}")).unwrap();
    let how = Dial { timeout: LONG / 100, ..Dial::default() };
    let error = dial_with(&endpoint.endpoint, &how).await.unwrap_err();
    assert!(matches!(error, DialError::TimedOut { .. }), "{error:?}");
    assert!(error.to_string().contains("TLS was not agreed on"), "{error}");
}
