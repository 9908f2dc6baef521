//! Spools where there is no store: files that go with the process.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tempfile::TempDir;

use crate::{SpoolFile, StoreError, spools::Spools};

/// Spools in a private folder among the system's temporary files (`TMPDIR`), made when the first is needed and removed
/// with this. What a killed process leaves there is the system's to clean up.
#[derive(Debug)]
pub struct Scratch {
    bytes_max: u64,
    made: Mutex<Option<Arc<Made>>>,
}

#[derive(Debug)]
struct Made {
    spools: Spools,
    /// Removes the folder when it goes.
    _folder: TempDir,
}

impl Scratch {
    /// No spools yet; at most `bytes_max` bytes in all.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, made: Mutex::new(None) }
    }

    /// Appends to a spool; the first append creates it.
    ///
    /// # Errors
    /// [`StoreError::SpoolLimit`], [`StoreError::Full`], [`StoreError::Io`]; nothing was appended then.
    pub fn append(&self, spool: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.make()?.spools.append(spool, bytes)
    }

    /// Reads at least one and at most `len` bytes of a spool at `offset`.
    ///
    /// # Errors
    /// [`StoreError::NoSpool`], [`StoreError::SpoolRange`], [`StoreError::Corrupt`], [`StoreError::Io`].
    pub fn read(&self, spool: u64, offset: u64, len: usize) -> Result<Bytes, StoreError> {
        let made = self.lock().clone();
        made.ok_or(StoreError::NoSpool(spool))?.spools.read(spool, offset, len)
    }

    pub(crate) fn open_file(&self, spool: u64) -> Result<SpoolFile, StoreError> {
        let made = self.lock().clone();
        made.ok_or(StoreError::NoSpool(spool))?.spools.open_file(spool)
    }

    /// Drops a spool; harmless if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn drop_spool(&self, spool: u64) -> Result<(), StoreError> {
        let made = self.lock().clone();
        match made {
            Some(made) if made.spools.forget(spool) => made.spools.unlink(spool),
            Some(_) | None => Ok(()),
        }
    }

    fn make(&self) -> Result<Arc<Made>, StoreError> {
        let mut made = self.lock();
        if let Some(made) = &*made {
            return Ok(Arc::clone(made));
        }
        let folder = tempfile::Builder::new().prefix("postrider-spools-").tempdir();
        let folder = folder.map_err(|error| StoreError::io(&std::env::temp_dir(), &error))?;
        let path = folder.path().to_owned();
        let spools = Spools::open(&path, path.clone(), self.bytes_max)?;
        Ok(Arc::clone(made.insert(Arc::new(Made { spools, _folder: folder }))))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Made>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spools_are_files_that_go_with_their_owner() {
        let scratch = Scratch::new(8);
        assert_eq!(scratch.read(3, 0, 9), Err(StoreError::NoSpool(3)));
        assert_eq!(scratch.drop_spool(3), Ok(()));
        scratch.append(3, b"hello").unwrap();
        let folder = scratch.lock().as_ref().unwrap()._folder.path().to_owned();
        assert_eq!(scratch.read(3, 1, 3).unwrap(), "ell");
        assert_eq!(scratch.append(4, b"four"), Err(StoreError::SpoolLimit(8)));
        scratch.drop_spool(3).unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        scratch.append(4, b"four").unwrap();
        drop(scratch);
        assert!(!folder.exists());
    }
}
