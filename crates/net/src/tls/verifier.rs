//! Judges the server's certificate.

use std::sync::Arc;

use tokio_rustls::rustls::{
    self, CertificateError, DigitallySignedStruct, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{Pin, TlsError, certificate::Facts, error::Moment};

/// Judges by authorities, by pins, or not at all.
#[derive(Debug)]
pub(super) enum Verifier {
    Authorities(Arc<WebPkiServerVerifier>),
    Pins(Vec<Pin>, WebPkiSupportedAlgorithms),
    Anyone(WebPkiSupportedAlgorithms),
}

impl Verifier {
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        match self {
            Self::Authorities(authorities) => authorities
                .verify_server_cert(certificate, intermediates, name, stapled, now)
                .map(|_| ())
                .map_err(|error| explain(&error, certificate, name)),
            Self::Pins(pins, _) => fits(pins, certificate),
            Self::Anyone(_) => Ok(()),
        }
    }

    /// Whether the server has the key of a certificate that webpki may not be able to read.
    fn check_signature(
        algorithms: &WebPkiSupportedAlgorithms,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let facts = Facts::read(certificate)
            .ok_or(rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let of_scheme = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        let fitting = of_scheme
            .flat_map(|(_, algorithms)| algorithms.iter())
            .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == facts.algorithm);
        for algorithm in fitting {
            if algorithm.verify_signature(&facts.key_bits, message, signed.signature()).is_ok() {
                return Ok(HandshakeSignatureValid::assertion());
            }
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

fn fits(pins: &[Pin], certificate: &CertificateDer<'_>) -> Result<(), TlsError> {
    let own = Pin::of_certificate(certificate);
    let public_key = Facts::read(certificate).map(|facts| facts.pin());
    if pins.iter().any(|pin| *pin == own || Some(*pin) == public_key) {
        return Ok(());
    }
    Err(TlsError::NotPinned {
        public_key: public_key.map_or_else(|| "unreadable".to_owned(), |pin| pin.to_string()),
        certificate: own.to_string(),
    })
}

/// Why the authorities do not vouch for a certificate.
fn explain(
    error: &rustls::Error,
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
) -> TlsError {
    let rustls::Error::InvalidCertificate(error) = error else { return TlsError::of(error) };
    let facts = Facts::read(certificate);
    let pin = facts.as_ref().map_or_else(|| Pin::of_certificate(certificate), Facts::pin);
    let pin = pin.to_string();
    #[allow(clippy::wildcard_enum_match_arm, reason = "all else cannot be told apart by a user")]
    match error {
        CertificateError::Expired => TlsError::Expired(Moment::UNKNOWN),
        CertificateError::ExpiredContext { not_after, .. } => {
            TlsError::Expired(Moment::from(*not_after))
        }
        CertificateError::NotValidYet => TlsError::NotYetValid(Moment::UNKNOWN),
        CertificateError::NotValidYetContext { not_before, .. } => {
            TlsError::NotYetValid(Moment::from(*not_before))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = match error {
                CertificateError::NotValidForNameContext { presented, .. } => {
                    presented.iter().map(|name| plain(name)).collect()
                }
                _ => Vec::new(),
            };
            let common_name = facts.and_then(|facts| facts.common_name);
            TlsError::WrongHost { wanted: name.to_str().into_owned(), names, common_name }
        }
        // Signed by another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let issuer = facts.map_or_else(|| "somebody".to_owned(), |facts| facts.issuer);
            TlsError::UnknownCa { issuer, pin }
        }
        CertificateError::Revoked => TlsError::Revoked,
        CertificateError::UnknownRevocationStatus => {
            let issuer = facts.map_or_else(|| "somebody".to_owned(), |facts| facts.issuer);
            TlsError::RevocationUnknown { issuer }
        }
        CertificateError::ExpiredRevocationList => TlsError::RevocationListExpired(Moment::UNKNOWN),
        CertificateError::ExpiredRevocationListContext { next_update, .. } => {
            TlsError::RevocationListExpired(Moment::from(*next_update))
        }
        CertificateError::Other(OtherError(inner)) => {
            TlsError::Unverifiable { what: inner.to_string(), pin }
        }
        other => TlsError::Unverifiable { what: other.to_string(), pin },
    }
}

/// `DnsName("a.example")` as `a.example`.
fn plain(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.judge(certificate, intermediates, name, stapled, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(CertificateError::Other(OtherError(Arc::new(error))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self {
            Self::Authorities(authorities) => {
                authorities.verify_tls12_signature(message, certificate, signed)
            }
            Self::Pins(_, algorithms) | Self::Anyone(algorithms) => {
                Self::check_signature(algorithms, message, certificate, signed)
            }
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self {
            Self::Authorities(authorities) => {
                authorities.verify_tls13_signature(message, certificate, signed)
            }
            Self::Pins(_, algorithms) | Self::Anyone(algorithms) => {
                Self::check_signature(algorithms, message, certificate, signed)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Self::Authorities(authorities) => authorities.supported_verify_schemes(),
            Self::Pins(_, algorithms) | Self::Anyone(algorithms) => algorithms.supported_schemes(),
        }
    }
}
