//! Why a store fails.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a store failed. Unless said otherwise it is final: stop acknowledging, say so, hang up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store was closed while this handle was in use.
    #[error("the store {} was closed", .0.display())]
    Closed(PathBuf),
    /// What is on the disk is not what was written. Nothing was thrown away; [`crate::Disk::quarantine`] sets it aside.
    #[error("the store {} is corrupt: {what}", .path.display())]
    Corrupt {
        /// The store.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// There is no room. The store is whole and can be opened again when there is.
    #[error("no room on the disk for the store {}: {what}", .path.display())]
    Full {
        /// The store.
        path: PathBuf,
        /// What the operating system says.
        what: String,
    },
    /// The operating system could not read, write or sync.
    #[error("the store {} failed: {what}", .path.display())]
    Io {
        /// The store.
        path: PathBuf,
        /// What the operating system says.
        what: String,
    },
    /// Another process, or another part of this one, has it open.
    #[error("the store {} is open already, here or in another process", .0.display())]
    Locked(PathBuf),
    /// A newer Postrider wrote it.
    #[error("the store {} has format {found}; this program knows formats up to {known}", .path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// The format it has.
        found: u64,
        /// The newest format this program knows.
        known: u64,
    },
    /// A spool that was never begun, or dropped already. The store remains usable.
    #[error("spool {0} does not exist")]
    NoSpool(u64),
    /// The folder holds something else; it is not touched.
    #[error("{} is not a store, and not an empty folder", .0.display())]
    NotAStore(PathBuf),
    /// All spools together would grow past their limit. The store remains usable.
    #[error("the spools of the store would grow past {0} bytes")]
    SpoolLimit(u64),
    /// A range past the end of a spool. The store remains usable.
    #[error("spool {spool} has {len} bytes; byte {wanted} was asked for")]
    SpoolRange {
        /// Number of the spool.
        spool: u64,
        /// Its length in bytes.
        len: u64,
        /// The first byte that is missing.
        wanted: u64,
    },
}

impl StoreError {
    /// What the operating system said about a store.
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        let (path, what) = (path.to_owned(), error.to_string());
        let is_full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        if is_full { Self::Full { path, what } } else { Self::Io { path, what } }
    }

    /// As [`StoreError::io`]; `deed` says what was not possible, and with which file of the store.
    pub(crate) fn io_at(path: &Path, deed: &str, error: &io::Error) -> Self {
        Self::io(path, &io::Error::new(error.kind(), format!("{deed}: {error}")))
    }

    /// Bytes that are not what was written.
    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), what: what.into() }
    }
}
