//! Certificates and keys from files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use p12_keystore::{KeyStore, Pkcs12ImportPolicy, error::Error as Pkcs12Error};
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument, der::pem::PemLabel};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject,
};
use zeroize::Zeroizing;

use super::{Secret, TlsError};

/// A certificate chain and its key.
pub(super) type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Largest file that is read: a bundle of every authority there is has a quarter of a megabyte.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let fault = |what: String| TlsError::File { path: path.to_owned(), what };
    let len = fs::metadata(path).map_err(|error| fault(format!("cannot be read: {error}")))?.len();
    if len > FILE_BYTES_MAX {
        return Err(fault(format!("has {len} bytes; that is no certificate and no key")));
    }
    fs::read(path).map_err(|error| fault(format!("cannot be read: {error}")))
}

/// The certificates in a file, in their order.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = certificates_in(&read(path)?);
    let found = found.map_err(|what| TlsError::File { path: path.to_owned(), what })?;
    if found.is_empty() {
        let what = "holds no certificate (BEGIN CERTIFICATE)".to_owned();
        return Err(TlsError::File { path: path.to_owned(), what });
    }
    Ok(found)
}

/// The certificates in a text, or the one in DER.
pub(super) fn certificates_in(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    // What DER begins with: a sequence with its length in two bytes.
    if bytes.starts_with(&[0x30, 0x82]) {
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("is not PEM: {error}"))
}

/// The certificates in the files of a folder.
pub(super) fn certificates_of(folder: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |what: String| TlsError::File { path: folder.to_owned(), what };
    let unreadable = |error: std::io::Error| fault(format!("cannot be read: {error}"));
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<_, _>>().map_err(unreadable)?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| path.is_file()) {
        // Keys and notes may lie beside them.
        found.extend(certificates_in(&read(path)?).unwrap_or_default());
    }
    if found.is_empty() {
        return Err(fault("has no file with a certificate".to_owned()));
    }
    Ok(found)
}

/// The revocation lists in a file, in PEM or DER.
pub(super) fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let fault = |what: String| TlsError::File { path: path.to_owned(), what };
    let bytes = read(path)?;
    // As ASN.1 begins, and no text does.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![CertificateRevocationListDer::from(bytes)]);
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let lists = lists.map_err(|error| fault(format!("cannot be read as PEM: {error}")))?;
    if lists.is_empty() {
        return Err(fault("holds no revocation list (BEGIN X509 CRL)".to_owned()));
    }
    Ok(lists)
}

/// A key in PEM or DER.
pub(super) fn key(
    path: &Path,
    password: Option<&Secret>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = Zeroizing::new(read(path)?);
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let fault = |what: String| TlsError::File { path: path.to_owned(), what };
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::KeyLegacy(path.to_owned()));
    }
    if let Some(pem) = block(text, EncryptedPrivateKeyInfoRef::PEM_LABEL) {
        let (_, sealed) = SecretDocument::from_pem(pem)
            .map_err(|error| fault(format!("is not a key: {error}")))?;
        return opened(path, sealed.as_bytes(), password);
    }
    if text.contains("-----BEGIN ") {
        return PrivateKeyDer::from_pem_slice(&bytes)
            .map_err(|error| fault(format!("holds no private key: {error}")));
    }
    if let Ok(key) = PrivateKeyDer::try_from(bytes.as_slice()) {
        return Ok(key.clone_key());
    }
    if EncryptedPrivateKeyInfoRef::try_from(bytes.as_slice()).is_ok() {
        return opened(path, &bytes, password);
    }
    Err(fault("holds no private key".to_owned()))
}

/// A key in PKCS#8 that a password protects (PBES2).
fn opened(
    path: &Path,
    sealed: &[u8],
    password: Option<&Secret>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let fault = |what: String| TlsError::File { path: path.to_owned(), what };
    let sealed = EncryptedPrivateKeyInfoRef::try_from(sealed)
        .map_err(|error| fault(format!("is not a key that can be opened: {error}")))?;
    let password = password.ok_or_else(|| TlsError::KeyPasswordMissing(path.to_owned()))?;
    let key = sealed.decrypt(password.as_str()).map_err(|error| {
        if let pkcs8::Error::EncryptedPrivateKey(
            what @ (pkcs5::Error::NoPbes1CryptSupport
            | pkcs5::Error::UnsupportedAlgorithm { .. }),
        ) = error
        {
            return fault(format!(
                "is encrypted in a way that is not offered ({what}); convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc"
            ));
        }
        TlsError::KeyPassword(path.to_owned())
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// The PEM block with this label.
fn block<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let from = text.find(&begin)?;
    let to = text.get(from..)?.find(&end)? + from + end.len();
    text.get(from..to)
}

/// Certificate chain and key in a PKCS#12 file.
pub(super) fn pkcs12(path: &Path, password: Option<&Secret>) -> Result<Own, TlsError> {
    let fault = |what: String| TlsError::File { path: path.to_owned(), what };
    let bytes = Zeroizing::new(read(path)?);
    let text = password.map_or("", Secret::as_str);
    let store = KeyStore::from_pkcs12(&bytes, text, Pkcs12ImportPolicy::Strict);
    let store = store.map_err(|error| {
        let is_locked = matches!(
            error,
            Pkcs12Error::MacError(_) | Pkcs12Error::Pkcs5Error(_) | Pkcs12Error::UnpadError
        );
        match (is_locked, password) {
            (true, None) => TlsError::KeyPasswordMissing(path.to_owned()),
            (true, Some(_)) => TlsError::KeyPassword(path.to_owned()),
            (false, _) => fault(format!("is not a PKCS#12 file that can be used: {error}")),
        }
    })?;
    let (_, chain) = store
        .private_key_chain()
        .ok_or_else(|| fault("holds no key with its certificate".to_owned()))?;
    let certificates =
        chain.certs().iter().map(|it| CertificateDer::from(it.as_der().to_vec())).collect();
    let key = PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec());
    Ok((certificates, key.into()))
}
