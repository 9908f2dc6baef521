//! Spools: payloads too large for a record, a file each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use crc32fast::Hasher;

use crate::{
    SpoolFile, StoreError,
    folder::sync_folder,
    spool::{Form, Place},
};

/// Files that are kept open between two calls; more would eat the process's descriptors.
const OPEN_FILES_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Spools {
    store: PathBuf,
    folder: PathBuf,
    bytes_max: u64,
    state: Mutex<State>,
    /// Held while files are synced: who comes second must find all that was appended before synced.
    syncing: Mutex<()>,
    /// Appends begun, and how many of them are synced.
    appended: AtomicU64,
    synced: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    spools: BTreeMap<u64, Spool>,
    /// Of all spools.
    bytes: u64,
    open_files: usize,
    /// A file was created since the folder was synced.
    is_folder_dirty: bool,
    /// The folder may be somebody else's by now.
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Spool {
    len: u64,
    form: Form,
    /// Of its last chunk, if that is not full and was begun by this process.
    sum: Option<Hasher>,
    file: Option<File>,
    /// Appended to since it was synced.
    is_dirty: bool,
}

impl Spools {
    /// Finds the spools of the store at `store`.
    pub(crate) fn open(store: &Path, folder: PathBuf, bytes_max: u64) -> Result<Self, StoreError> {
        let mut state = State::default();
        let mut find = || -> io::Result<()> {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name();
                let Some((number, form)) = Form::of_name(&name.to_string_lossy()) else {
                    continue;
                };
                let len = form.len(entry.metadata()?.len());
                state.bytes += len;
                state.spools.insert(number, Spool { len, form, ..Spool::default() });
            }
            Ok(())
        };
        find().map_err(|error| StoreError::io(store, &error))?;
        Ok(Self {
            store: store.to_owned(),
            folder,
            bytes_max,
            state: Mutex::new(state),
            syncing: Mutex::default(),
            appended: AtomicU64::new(0),
            synced: AtomicU64::new(0),
        })
    }

    /// The spools that are there, with their lengths.
    pub(crate) fn list(&self) -> BTreeMap<u64, u64> {
        self.lock().spools.iter().map(|(number, spool)| (*number, spool.len)).collect()
    }

    pub(crate) fn append(&self, number: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let added = bytes.len() as u64;
        let state = &mut *self.lock();
        if state.is_closed {
            return Err(StoreError::Closed(self.store.clone()));
        }
        if state.bytes.saturating_add(added) > self.bytes_max {
            return Err(StoreError::SpoolLimit(self.bytes_max));
        }
        let (len, form) =
            state.spools.get(&number).map_or_else(Default::default, |it| (it.len, it.form));
        let is_new = len == 0;
        let place = self.place(number, form);
        let spool = state.open(place, || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(is_new).truncate(false);
            options.open(self.path(number, form))
        })?;
        let Some(file) = &spool.file else { return Err(StoreError::NoSpool(number)) };
        place.append(file, len, &mut spool.sum, bytes)?;
        self.appended.fetch_add(1, Ordering::AcqRel);
        spool.len += added;
        spool.is_dirty = true;
        state.is_folder_dirty |= is_new;
        state.bytes += added;
        Ok(())
    }

    pub(crate) fn read(&self, number: u64, offset: u64, len: usize) -> Result<Bytes, StoreError> {
        let state = &mut *self.lock();
        let Some(spool) = state.spools.get(&number) else {
            return Err(StoreError::NoSpool(number));
        };
        if spool.len <= offset {
            let (spool, len) = (number, spool.len);
            return Err(StoreError::SpoolRange { spool, len, wanted: offset });
        }
        let (total, place) = (spool.len, self.place(number, spool.form));
        let spool = state.open(place, || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).open(self.path(number, place.form))
        })?;
        let Some(file) = &spool.file else { return Err(StoreError::NoSpool(number)) };
        place.read(file, total, offset, len)
    }

    /// Opens a spool's file for reading apart from everything else: it can still be read when the spool is dropped and
    /// the store is closed.
    pub(crate) fn open_file(&self, number: u64) -> Result<SpoolFile, StoreError> {
        let state = self.lock();
        if state.is_closed {
            return Err(StoreError::Closed(self.store.clone()));
        }
        let Some(spool) = state.spools.get(&number) else {
            return Err(StoreError::NoSpool(number));
        };
        let place = self.place(number, spool.form);
        let file = File::open(self.path(number, spool.form));
        let file = file.map_err(|error| StoreError::io(&self.store, &error))?;
        Ok(SpoolFile::new(file, place, spool.len))
    }

    /// Refuses appends from now on, wherever they come from.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Forgets a spool; its file remains until [`Spools::unlink`]. Returns whether it was there.
    pub(crate) fn forget(&self, number: u64) -> bool {
        let state = &mut *self.lock();
        let Some(spool) = state.spools.remove(&number) else { return false };
        state.bytes -= spool.len;
        state.open_files -= usize::from(spool.file.is_some());
        true
    }

    /// Removes the file of a spool that was forgotten.
    pub(crate) fn unlink(&self, number: u64) -> Result<(), StoreError> {
        for form in [Form::Summed, Form::Plain] {
            match fs::remove_file(self.path(number, form)) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io(&self.store, &error)),
            }
        }
        Ok(())
    }

    /// Removes all spools but these. Returns how many.
    pub(crate) fn keep(&self, referenced: &BTreeSet<u64>) -> Result<usize, StoreError> {
        let orphans: Vec<u64> =
            self.list().into_keys().filter(|number| !referenced.contains(number)).collect();
        for number in &orphans {
            self.forget(*number);
            self.unlink(*number)?;
        }
        Ok(orphans.len())
    }

    /// Whether something was appended that is not synced.
    pub(crate) fn is_dirty(&self) -> bool {
        self.synced.load(Ordering::Acquire) < self.appended.load(Ordering::Acquire)
    }

    /// Syncs what was appended, and the names of new files.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let _syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_dirty() {
            return Ok(());
        }
        let appended = self.appended.load(Ordering::Acquire);
        self.sync_files()?;
        self.synced.store(appended, Ordering::Release);
        Ok(())
    }

    fn sync_files(&self) -> Result<(), StoreError> {
        let unsynced = |path: &Path, error: &io::Error| {
            let file = path.file_name().unwrap_or_default().display();
            StoreError::io_at(&self.store, &format!("{file} cannot be synced"), error)
        };
        let (dirty, is_folder_dirty) = {
            let state = &mut *self.lock();
            let mut dirty = Vec::new();
            for (number, spool) in &mut state.spools {
                if std::mem::take(&mut spool.is_dirty) {
                    let path = self.path(*number, spool.form);
                    let copy = spool.file.as_ref().map(File::try_clone).transpose();
                    dirty.push((copy.map_err(|error| unsynced(&path, &error))?, path));
                }
            }
            (dirty, std::mem::take(&mut state.is_folder_dirty))
        };
        // Without the lock: appending and reading go on meanwhile.
        for (file, path) in dirty {
            let file = file.map_or_else(|| OpenOptions::new().append(true).open(&path), Ok);
            let synced = file.and_then(|file| file.sync_data());
            synced.map_err(|error| unsynced(&path, &error))?;
        }
        let synced = if is_folder_dirty { sync_folder(&self.folder) } else { Ok(()) };
        synced.map_err(|error| unsynced(&self.folder, &error))
    }

    fn path(&self, number: u64, form: Form) -> PathBuf {
        self.folder.join(form.name(number))
    }

    fn place(&self, number: u64, form: Form) -> Place<'_> {
        Place { store: &self.store, number, form }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A spool with its file open; it is entered if it is new.
    fn open(
        &mut self,
        place: Place<'_>,
        open: impl FnOnce() -> io::Result<File>,
    ) -> Result<&mut Spool, StoreError> {
        let number = place.number;
        if self.open_files >= OPEN_FILES_MAX {
            for (other, spool) in &mut self.spools {
                if *other != number {
                    spool.file = None;
                }
            }
            self.open_files = self.spools.values().filter(|spool| spool.file.is_some()).count();
        }
        let is_open = self.spools.get(&number).is_some_and(|spool| spool.file.is_some());
        let opened = if is_open {
            None
        } else {
            Some(open().map_err(|error| StoreError::io(place.store, &error))?)
        };
        self.open_files += usize::from(!is_open);
        let spool = self.spools.entry(number).or_default();
        if opened.is_some() {
            spool.file = opened;
        }
        Ok(spool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_spools_than_open_files() {
        let folder = tempfile::tempdir().unwrap();
        let spools = open(folder.path(), u64::MAX);
        let count = OPEN_FILES_MAX as u64 + 40;
        for round in 0..3_u8 {
            for number in 0..count {
                spools.append(number, &[round, number as u8]).unwrap();
            }
            spools.sync().unwrap();
        }
        for spools in [spools, open(folder.path(), u64::MAX)] {
            for number in 0..count {
                let n = number as u8;
                assert_eq!(spools.read(number, 0, 9).unwrap(), [0, n, 1, n, 2, n][..]);
                assert_eq!(spools.read(number, 3, 2).unwrap(), [n, 2][..]);
            }
        }
    }

    #[test]
    fn spools_stay_within_their_limit() {
        let folder = tempfile::tempdir().unwrap();
        let spools = open(folder.path(), 10);
        spools.append(1, &[1; 6]).unwrap();
        spools.append(2, &[2; 4]).unwrap();
        assert_eq!(spools.append(3, &[3]), Err(StoreError::SpoolLimit(10)));
        assert!(spools.forget(2));
        assert!(!spools.forget(2));
        assert_eq!(spools.read(2, 0, 1), Err(StoreError::NoSpool(2)));
        spools.unlink(2).unwrap();
        spools.append(3, &[3; 4]).unwrap();
        let past = StoreError::SpoolRange { spool: 3, len: 4, wanted: 4 };
        assert_eq!(spools.read(3, 4, 1), Err(past));
        assert_eq!(spools.keep(&BTreeSet::from([3, 9])), Ok(1));
        assert_eq!(open(folder.path(), 10).list(), BTreeMap::from([(3, 4)]));
    }

    fn open(folder: &Path, bytes_max: u64) -> Spools {
        Spools::open(folder, folder.to_owned(), bytes_max).unwrap()
    }
}
