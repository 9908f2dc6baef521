//! Certificates that their authority has revoked.

use postrider_net::{ServerTls, Tls, TlsError};
use rcgen::SerialNumber;

use crate::{
    authority::{Authority, pin_of},
    peers::{Echo, check_echo, dial_tls, tls_error},
};

/// A list in PEM and one in DER, read at each attempt; a pin goes before it.
#[tokio::test]
async fn a_revoked_server_is_refused() {
    let authority = Authority::new();
    let (certificate, key) = issue(&authority, "server", 7);
    let pin = pin_of(&certificate);
    let echo = Echo::secure((certificate, key)).await;
    for name in ["list.pem", "list.der"] {
        let tls = authority.trusted().crl_file(authority.revoke(name, &[6, 8], 2090));
        check_echo(dial_tls(&echo.endpoint, tls.clone()).await.unwrap()).await;
        authority.revoke(name, &[6, 7, 8], 2090);
        let error = tls_error(&echo.endpoint, tls.clone()).await;
        assert_eq!(error, TlsError::Revoked);
        assert!(error.is_about_certificates());
        check_echo(dial_tls(&echo.endpoint, tls.pin(pin)).await.unwrap()).await;
    }
}

/// What cannot be told is refused, and says what to do.
#[tokio::test]
async fn a_list_that_says_nothing_is_told() {
    let authority = Authority::new();
    let echo = Echo::secure(issue(&authority, "server", 7)).await;
    let old = authority.trusted().crl_file(authority.revoke("old.pem", &[], 2025));
    let error = tls_error(&echo.endpoint, old).await;
    assert!(error.to_string().contains("was due on 2025-01-02"), "{error}");
    assert!(!error.is_about_certificates());
    for (text, said) in [
        (&b"nothing"[..], "holds no revocation list"),
        (b"0nothing", "other.pem' has a revocation list that cannot be used"),
    ] {
        let path = authority.path("other.pem");
        std::fs::write(&path, text).unwrap();
        let error = tls_error(&echo.endpoint, authority.trusted().crl_file(path)).await;
        assert!(error.to_string().contains(said), "{error}");
    }
    let missing = tls_error(&echo.endpoint, authority.trusted().crl_file("no.pem")).await;
    assert!(matches!(&missing, TlsError::File { .. }), "{missing}");
}

/// The list of another authority does not say whether the certificate was revoked.
#[tokio::test]
async fn a_list_of_another_authority_is_not_enough() {
    let (authority, other) = (Authority::named("Plant CA"), Authority::named("Other CA"));
    let echo = Echo::secure(issue(&authority, "server", 7)).await;
    let foreign = other.revoke("list.pem", &[], 2090);
    let tls = authority.trusted().crl_file(&foreign);
    let error = tls_error(&echo.endpoint, tls.clone()).await;
    assert_eq!(error, TlsError::RevocationUnknown { issuer: "Plant CA".to_owned() });
    let both = tls.crl_file(authority.revoke("list.pem", &[], 2090));
    check_echo(dial_tls(&echo.endpoint, both).await.unwrap()).await;
}

#[tokio::test]
async fn a_revoked_client_is_refused() {
    let authority = Authority::new();
    let (certificate, key) = authority.server();
    let server = ServerTls::new(certificate, key)
        .client_ca_file(authority.ca())
        .client_crl_file(authority.revoke("list.pem", &[7], 2090));
    let echo = Echo::start("mqtts://127.0.0.1:0", server).await;
    let tls = |serial| -> Tls {
        let (certificate, key) = issue(&authority, &format!("client-{serial}"), serial);
        authority.trusted().client_certificate(certificate, key)
    };
    check_echo(dial_tls(&echo.endpoint, tls(8)).await.unwrap()).await;
    let error = tls_error(&echo.endpoint, tls(7)).await;
    let refused = TlsError::ClientCertificateRefused("certificate revoked".to_owned());
    assert_eq!(error, refused);
}

/// A certificate with this serial number.
fn issue(
    authority: &Authority,
    name: &str,
    serial: u64,
) -> (std::path::PathBuf, std::path::PathBuf) {
    authority.issue(name, &["localhost", "127.0.0.1"], |params| {
        params.serial_number = Some(SerialNumber::from(serial));
    })
}
