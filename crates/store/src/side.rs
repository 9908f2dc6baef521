//! Spools from other threads than their owner's.

use std::sync::Arc;

use crate::{Scratch, SpoolFile, StoreError, disk::Shared};

/// Fills and reads spools on any thread, so that their owner need not wait for the disk. Cheap to clone; it keeps no
/// store open.
///
/// Who owns a spool says which number it has and when it is dropped, and appends to it nothing of its own meanwhile.
#[derive(Clone, Debug)]
pub struct SideDoor(Place);

#[derive(Clone, Debug)]
enum Place {
    Disk(Arc<Shared>),
    Scratch(Arc<Scratch>),
}

impl SideDoor {
    /// To spools without a store.
    #[must_use]
    pub fn scratch(scratch: Arc<Scratch>) -> Self {
        Self(Place::Scratch(scratch))
    }

    pub(crate) fn disk(shared: Arc<Shared>) -> Self {
        Self(Place::Disk(shared))
    }

    /// Appends to a spool; the first append creates it. What was appended before a write of the owner is stored when
    /// that write is.
    ///
    /// # Errors
    /// [`StoreError::SpoolLimit`], [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Closed`]; nothing was
    /// appended then.
    pub fn append(&self, spool: u64, bytes: &[u8]) -> Result<(), StoreError> {
        match &self.0 {
            Place::Disk(shared) => shared.spools.append(spool, bytes),
            Place::Scratch(scratch) => scratch.append(spool, bytes),
        }
    }

    /// Opens a spool for reading. Its bytes can be read from this file even when the spool was dropped and the store
    /// was closed meanwhile.
    ///
    /// # Errors
    /// [`StoreError::NoSpool`], [`StoreError::Io`], [`StoreError::Closed`].
    pub fn open(&self, spool: u64) -> Result<SpoolFile, StoreError> {
        match &self.0 {
            Place::Disk(shared) => shared.spools.open_file(spool),
            Place::Scratch(scratch) => scratch.open_file(spool),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Disk, DiskOptions, Mode, Store};

    #[test]
    fn a_closed_store_takes_nothing_and_what_was_opened_stays_readable() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
        let (door, mut store) = (disk.side_door(), disk.handle(Mode::Durable, || {}));
        door.append(4, b"hel").unwrap();
        door.append(4, b"lo").unwrap();
        assert_eq!(store.spool_read(4, 1, 9).unwrap(), "ello");
        let mut file = door.open(4).unwrap();
        store.spool_drop(4).unwrap();
        assert_eq!(door.open(4).unwrap_err(), StoreError::NoSpool(4));
        disk.close().unwrap();
        let closed = StoreError::Closed(folder.path().to_owned());
        assert_eq!(door.append(5, b"late"), Err(closed.clone()));
        assert_eq!(door.open(4).unwrap_err(), closed);
        let again = Disk::open(folder.path(), DiskOptions::default()).unwrap();
        assert_eq!(again.keep_spools(&BTreeSet::new()), Ok(0));
        let mut room = [0; 9];
        assert_eq!(file.read_at(1, &mut room), Ok(4));
        assert_eq!(&room[..4], b"ello");
        let past = StoreError::SpoolRange { spool: 4, len: 5, wanted: 5 };
        assert_eq!(file.read_at(5, &mut room), Err(past));
    }

    #[test]
    fn scratch_spools_have_one_too() {
        let scratch = Arc::new(Scratch::new(4));
        let door = SideDoor::scratch(Arc::clone(&scratch));
        assert_eq!(door.open(1).unwrap_err(), StoreError::NoSpool(1));
        door.append(1, b"four").unwrap();
        assert_eq!(door.append(1, b"!"), Err(StoreError::SpoolLimit(4)));
        assert_eq!(scratch.read(1, 0, 9).unwrap(), "four");
        assert_eq!(door.open(1).unwrap().len(), 4);
    }
}
