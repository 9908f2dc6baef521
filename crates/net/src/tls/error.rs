//! What can go wrong with TLS, and whose fault it is.

use std::{fmt, io, path::PathBuf};

/// Why there is no secure connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The server's certificate is too old.
    #[error("the server's certificate expired {0}; have it renewed, or set this machine's clock")]
    Expired(Moment),
    /// The server's certificate is not valid yet.
    #[error(
        "the server's certificate becomes valid {0}, not before; is this machine's clock right?"
    )]
    NotYetValid(Moment),
    /// The server's certificate is for another host.
    #[error("the server's certificate is not for '{wanted}': {}", has(.names, .common_name.as_deref()))]
    WrongHost {
        /// The name that it should have.
        wanted: String,
        /// The names that it has.
        names: Vec<String>,
        /// Its common name, which TLS no longer looks at.
        common_name: Option<String>,
    },
    /// Nobody trusted has signed the server's certificate.
    #[error(
        "the server's certificate was signed by '{issuer}', which is not trusted; give the file of \
         that authority's certificate, or pin the server's: {pin}"
    )]
    UnknownCa {
        /// Who signed it.
        issuer: String,
        /// The pin that would fit.
        pin: String,
    },
    /// The authority has revoked the server's certificate, or that of an authority below it.
    #[error(
        "the server's certificate was revoked by its authority; do not trust it before it is replaced"
    )]
    Revoked,
    /// No list says whether a certificate of the server's chain was revoked.
    #[error(
        "none of the revocation lists is from the authority '{issuer}', or from one above it; give theirs too, or no \
         list"
    )]
    RevocationUnknown {
        /// Who signed the server's certificate.
        issuer: String,
    },
    /// A revocation list is too old.
    #[error("a newer revocation list was due {0}; get it from the authority")]
    RevocationListExpired(Moment),
    /// The server's certificate cannot be judged.
    #[error(
        "the server's certificate cannot be verified: {what}; if it is the right one, pin it: {pin}"
    )]
    Unverifiable {
        /// What is wrong with it.
        what: String,
        /// The pin that would fit.
        pin: String,
    },
    /// No pin fits.
    #[error(
        "the server's certificate is not the pinned one; its pins are {public_key} and {certificate}"
    )]
    NotPinned {
        /// The pin of its public key.
        public_key: String,
        /// The pin of its certificate.
        certificate: String,
    },
    /// The server wants to know who we are.
    #[error("the server wants a client certificate, and none was given")]
    ClientCertificateRequired,
    /// The server does not accept who we are.
    #[error("the server does not accept our client certificate: {0}")]
    ClientCertificateRefused(String),
    /// The server ended the handshake.
    #[error("the server ended the TLS handshake: {0}")]
    Refused(String),
    /// The server speaks no TLS.
    #[error("what answers there speaks no TLS: {0}; is it a port for mqtt:// or ws://?")]
    NotTls(String),
    /// The server closed the connection in the handshake.
    #[error("the server closed the connection in the TLS handshake; its log may say why")]
    Closed,
    /// Both sides have no version in common.
    #[error("the server does not speak the versions of TLS that are allowed here: {0}")]
    Version(String),
    /// Both sides have no application protocol in common.
    #[error("the server speaks none of the application protocols (ALPN) that were offered")]
    Alpn,
    /// A version that is not offered.
    #[error("TLS version '{0}' is not offered: it is broken; write 1.2 or 1.3")]
    OldVersion(String),
    /// Not a version.
    #[error("'{0}' is not a version of TLS; write 1.2 or 1.3")]
    NotAVersion(String),
    /// A file cannot be used.
    #[error("'{}' {what}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The key is encrypted, and there is no password.
    #[error("'{}' is encrypted, and no password was given", .0.display())]
    KeyPasswordMissing(PathBuf),
    /// The password does not open the key.
    #[error("'{}' cannot be opened with this password", .0.display())]
    KeyPassword(PathBuf),
    /// The key is encrypted in an old way.
    #[error(
        "'{path}' is encrypted in the old PEM form, whose key derivation is broken; convert it: openssl pkcs8 -topk8 \
         -in '{path}' -out NEW.key", path = .0.display()
    )]
    KeyLegacy(PathBuf),
    /// The key is not the certificate's.
    #[error("the key '{}' does not match the certificate '{}'", .key.display(), .certificate.display())]
    KeyMismatch {
        /// File of the key.
        key: PathBuf,
        /// File of the certificate.
        certificate: PathBuf,
    },
    /// There is nobody to trust.
    #[error(
        "the system trusts no authority; give the file of one, or pin the server's certificate"
    )]
    NoRoots,
    /// A name that cannot be sent.
    #[error("'{0}' is not a host name or address that TLS can check")]
    Name(String),
    /// This program was compiled without TLS.
    #[error(
        "this program has no TLS: compile it with the feature ring or aws-lc-rs of the crate postrider"
    )]
    Absent,
    /// A listener has no certificate.
    #[error("a listener with TLS needs a certificate and its key")]
    NoServerCertificate,
    /// Something else.
    #[error("TLS: {0}")]
    Other(String),
}

/// A moment of which rustls may not have told us the date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub(super) Option<u64>);

impl TlsError {
    /// The TLS error in an error of a stream, if it is one.
    #[must_use]
    pub fn find(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Whether it is about a certificate or the key of one, the server's or ours: it stays as it is until somebody has
    /// another certificate made, or trusts another one. Not so a file that cannot be read, or a list that is too old: they may
    /// just be being replaced.
    #[must_use]
    pub fn is_about_certificates(&self) -> bool {
        match self {
            Self::Expired(_)
            | Self::NotYetValid(_)
            | Self::WrongHost { .. }
            | Self::UnknownCa { .. }
            | Self::Revoked
            | Self::Unverifiable { .. }
            | Self::NotPinned { .. }
            | Self::ClientCertificateRequired
            | Self::ClientCertificateRefused(_)
            | Self::KeyPasswordMissing(_)
            | Self::KeyPassword(_)
            | Self::KeyLegacy(_)
            | Self::KeyMismatch { .. }
            | Self::NoRoots => true,
            Self::Refused(_)
            | Self::NotTls(_)
            | Self::Closed
            | Self::Version(_)
            | Self::Alpn
            | Self::OldVersion(_)
            | Self::NotAVersion(_)
            | Self::File { .. }
            | Self::RevocationUnknown { .. }
            | Self::RevocationListExpired(_)
            | Self::Name(_)
            | Self::Absent
            | Self::NoServerCertificate
            | Self::Other(_) => false,
        }
    }
}

/// What names a certificate has, and what to do.
fn has(names: &[String], common_name: Option<&str>) -> String {
    match (names, common_name) {
        ([], None) => "it names no host; have it made with a subjectAltName, or pin it".to_owned(),
        ([], Some(name)) => format!(
            "it has only the common name '{name}', which TLS no longer looks at; have it made \
             with a subjectAltName, or pin it"
        ),
        (names, _) => format!(
            "it is for {}; connect to one of these, or name one as the server name",
            names.join(", ")
        ),
    }
}

/// `on 2026-11-30`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(seconds) = self.0 else { return f.write_str("at a time that was not told") };
        // Years begin with March, so that the leap day is the last of its year; 146,097 days are 400 years.
        let days = seconds / 86_400 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        write!(f, "on {:04}-{month:02}-{day:02}", era * 400 + year + next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "on 1970-01-01"),
            (951_782_399, "on 2000-02-28"),
            (951_782_400, "on 2000-02-29"),
            (951_868_800, "on 2000-03-01"),
            (1_798_761_599, "on 2026-12-31"),
            (4_107_542_400, "on 2100-03-01"),
        ] {
            assert_eq!(Moment(Some(seconds)).to_string(), expected);
        }
    }
}
