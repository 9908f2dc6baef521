//! What a certificate says, also one that rustls does not take.

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate,
    der::{Decode, Encode, asn1::AnyRef},
    name::Name,
};

use super::Pin;

/// What we want to know of a certificate.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) issuer: String,
    pub(super) common_name: Option<String>,
    /// The public key with its algorithm (SPKI), in DER.
    pub(super) public_key: Vec<u8>,
    /// The algorithm of the key, as webpki wants it: without the head of the sequence.
    pub(super) algorithm: Vec<u8>,
    /// The bits of the key.
    pub(super) key_bits: Vec<u8>,
}

impl Facts {
    /// `None` if it is not a certificate.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let told = certificate.tbs_certificate();
        let key = told.subject_public_key_info();
        let algorithm = key.algorithm.to_der().ok()?;
        Some(Self {
            issuer: shown(told.issuer()),
            common_name: told
                .subject()
                .common_name()
                .ok()
                .flatten()
                .map(|name| name.value().into_owned()),
            public_key: key.to_der().ok()?,
            algorithm: AnyRef::from_der(&algorithm).ok()?.value().to_vec(),
            key_bits: key.subject_public_key.as_bytes()?.to_vec(),
        })
    }

    /// The pin that a renewed certificate of the same key has too.
    pub(super) fn pin(&self) -> Pin {
        Pin::of_public_key(&self.public_key)
    }
}

/// The common name, or all of the name.
fn shown(name: &Name) -> String {
    match name.common_name() {
        Ok(Some(common_name)) => common_name.value().into_owned(),
        Ok(None) | Err(_) => name.to_string(),
    }
}
