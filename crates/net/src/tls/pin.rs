//! A certificate or key that is known beforehand.

use std::{fmt, str::FromStr};

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

/// A certificate or public key that is known beforehand, by its SHA-256.
///
/// As text: `sha256//` and base64 for a public key, as curl writes it; or 64 hexadecimal digits, with or without colons,
/// for a certificate, as `openssl x509 -noout -fingerprint -sha256` writes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pin {
    /// SHA-256 of the whole certificate (DER). Changes with each renewal.
    Certificate([u8; 32]),
    /// SHA-256 of the public key with its algorithm (SPKI). Stays when a certificate is renewed for the same key.
    PublicKey([u8; 32]),
}

/// Why a text is not a pin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a pin: write sha256//BASE64 for a public key, or the 64 hexadecimal digits of a certificate's SHA-256"
)]
pub struct NotAPin(String);

impl Pin {
    /// The pin of a certificate.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Self {
        Self::Certificate(Sha256::digest(der).into())
    }

    /// The pin of a public key with its algorithm (SPKI).
    #[must_use]
    pub fn of_public_key(spki: &[u8]) -> Self {
        Self::PublicKey(Sha256::digest(spki).into())
    }
}

impl FromStr for Pin {
    type Err = NotAPin;

    fn from_str(text: &str) -> Result<Self, NotAPin> {
        let fault = || NotAPin(text.to_owned());
        if let Some(base64) = text.strip_prefix("sha256//") {
            let mut hash = [0; 32];
            let decoded = Base64::decode(base64, &mut hash).map_err(|_| fault())?;
            return if decoded.len() == 32 { Ok(Self::PublicKey(hash)) } else { Err(fault()) };
        }
        // As openssl prints it, with its first word or without.
        let digits = text.rsplit_once('=').map_or(text, |(_, digits)| digits);
        let digits: Vec<u32> = digits
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16))
            .collect::<Option<_>>()
            .ok_or_else(fault)?;
        if digits.len() != 64 {
            return Err(fault());
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let value = pair.iter().fold(0, |value, digit| value * 16 + digit);
            *byte = u8::try_from(value).map_err(|_| fault())?;
        }
        Ok(Self::Certificate(hash))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(hash) => hash.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::PublicKey(hash) => write!(f, "sha256//{}", Base64::encode_string(hash)),
        }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_written_as_they_are_read() {
        for pin in [Pin::of_certificate(b"a"), Pin::of_public_key(b"a")] {
            assert_eq!(pin.to_string().parse(), Ok(pin));
        }
        let hex = Pin::of_certificate(b"a").to_string();
        let colons: Vec<&str> = (0..32).map(|at| &hex[2 * at..2 * at + 2]).collect();
        let openssl = format!("sha256 Fingerprint={}", colons.join(":").to_uppercase());
        assert_eq!(openssl.parse(), Ok(Pin::of_certificate(b"a")));
    }

    #[test]
    fn what_is_no_pin_is_told_with_the_way_out() {
        for text in ["", "abc", "sha256//", "sha256//YWJj", "zz", &"0".repeat(63)] {
            let error = text.parse::<Pin>().unwrap_err().to_string();
            assert!(error.contains("sha256//BASE64"), "{error}");
        }
    }
}
