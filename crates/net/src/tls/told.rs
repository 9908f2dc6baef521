//! What rustls and streams say of errors, in our words.

use std::{error::Error, io};

use tokio_rustls::rustls::{
    AlertDescription, CertificateError, Error as RustlsError, InvalidMessage, OtherError,
    PeerIncompatible, pki_types::UnixTime,
};

use super::{TlsError, error::Moment};

impl TlsError {
    /// What a stream's error says, once TLS stands.
    pub(super) fn in_stream(error: io::Error) -> io::Error {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>());
        match inner.map(Self::of) {
            Some(told) => io::Error::new(error.kind(), told),
            None => error,
        }
    }

    /// What an error of the handshake says. `has_heard` tells whether the other side had sent anything.
    pub(super) fn in_handshake(error: &io::Error, has_heard: bool) -> Self {
        if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>()) {
            return Self::of(inner);
        }
        let is_end = [
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::UnexpectedEof,
        ]
        .contains(&error.kind());
        match (is_end, has_heard) {
            (true, false) => Self::NotTls("it closed the connection without an answer".to_owned()),
            (true, true) => Self::Closed,
            (false, _) => Self::Other(error.to_string()),
        }
    }

    pub(super) fn of(error: &RustlsError) -> Self {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "rustls' own words do for all that a user can do nothing about"
        )]
        match error {
            RustlsError::InvalidCertificate(CertificateError::Other(OtherError(inner)))
            | RustlsError::Other(OtherError(inner)) => match told(inner.as_ref()) {
                Some(error) => error.clone(),
                None => Self::Other(inner.to_string()),
            },
            RustlsError::AlertReceived(alert) => Self::of_alert(*alert),
            RustlsError::NoCertificatesPresented => Self::ClientCertificateRequired,
            RustlsError::NoApplicationProtocol => Self::Alpn,
            RustlsError::PeerIncompatible(
                what @ (PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig),
            ) => Self::Version(format!("{what:?}")),
            RustlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
                Self::NotTls("its first bytes are something else".to_owned())
            }
            other => Self::Other(other.to_string()),
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        #[allow(clippy::wildcard_enum_match_arm, reason = "the name of an alert says enough")]
        match alert {
            AlertDescription::CertificateRequired => Self::ClientCertificateRequired,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError => {
                Self::ClientCertificateRefused(words(&format!("{alert:?}")))
            }
            AlertDescription::ProtocolVersion => {
                Self::Version("it answers with 'protocol version'".to_owned())
            }
            AlertDescription::NoApplicationProtocol => Self::Alpn,
            AlertDescription::UnrecognisedName => {
                Self::Refused("it does not know the host name that was sent".to_owned())
            }
            AlertDescription::HandshakeFailure => {
                Self::Refused("it found nothing that both sides offer".to_owned())
            }
            other => Self::Refused(words(&format!("{other:?}"))),
        }
    }
}

/// An error of ours inside one of rustls.
fn told<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    error.downcast_ref()
}

/// `CertificateExpired` as `certificate expired`.
fn words(name: &str) -> String {
    let mut text = String::new();
    let mut was_small = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && was_small {
            text.push(' ');
        }
        was_small = letter.is_ascii_lowercase();
        text.push(letter.to_ascii_lowercase());
    }
    text
}

impl From<UnixTime> for Moment {
    fn from(time: UnixTime) -> Self {
        Self(Some(time.as_secs()))
    }
}

impl Moment {
    pub(super) const UNKNOWN: Self = Self(None);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_told_in_words() {
        assert_eq!(words("CertificateExpired"), "certificate expired");
        assert_eq!(words("UnknownCA"), "unknown ca");
    }
}
