//! A store on the disk: one folder, one commit thread, any number of owners.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::OpenOptions,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use redb::{StorageBackend, backends::FileBackend};

use crate::{
    DiskStore, Mode, SideDoor, StoreError, commit,
    folder::{self, Folder},
    layer::Layer,
    rows::Rows,
    spools::Spools,
    tail::Tail,
};

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// Memory for pages of the database, in bytes. Default: 16 MiB.
    pub cache_bytes: usize,
    /// Whether every page is read and verified when the store is opened, which takes about a second per GiB. Without
    /// it damage may be found late, when it is read, or never if it hides a record. After a crash the database
    /// verifies itself in any case. Default: true.
    pub is_checked: bool,
    /// Bytes of all spools together; a message too many does not fill the disk. Default: 16 GiB.
    pub spool_bytes_max: u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { cache_bytes: 16 << 20, is_checked: true, spool_bytes_max: 16 << 30 }
    }
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Writes taken from owners.
    pub writes: u64,
    /// Batches handed to the operating system without a sync.
    pub handed: u64,
    /// Batches synced to the disk, one sync each.
    pub synced: u64,
}

/// A store in a folder. A cheap handle; the store is closed when the last one and all [`DiskStore`]s are gone.
///
/// While it is closed the folder may be copied, moved and deleted as a whole.
#[derive(Clone, Debug)]
pub struct Disk {
    pub(crate) core: Arc<Core>,
}

/// Closes the store when nobody has it any more.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    folder: Mutex<Option<Folder>>,
    aside: Option<PathBuf>,
}

/// What owners and the commit thread share.
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) spools: Spools,
    /// For the commit thread: there is work.
    pub(crate) work: Condvar,
    /// For owners: something was stored, there is room, or the store failed.
    pub(crate) progress: Condvar,
    state: Mutex<State>,
}

/// Layers from young to old, and what owners know of them.
#[derive(Default)]
pub(crate) struct State {
    /// Written since the commit thread last looked.
    pub(crate) pending: Layer,
    /// What the commit thread is about to store.
    pub(crate) taken: Arc<Layer>,
    /// In the tail, not in the rows yet.
    pub(crate) tailed: Arc<Layer>,
    /// `None` once the store is closed.
    pub(crate) rows: Option<Arc<Rows>>,
    /// Spools whose files go once the rows are synced.
    pub(crate) drops: Vec<u64>,
    /// Those of them whose turn comes with the batch that was taken.
    pub(crate) drops_taken: Vec<u64>,
    /// Someone needs a sync of all that was written.
    pub(crate) needs_sync: bool,
    pub(crate) is_closing: bool,
    /// Set once, for good.
    pub(crate) failed: Option<StoreError>,
    pub(crate) owners: BTreeMap<u64, Owner>,
    pub(crate) owners_made: u64,
    /// Batches taken by the commit thread, and the last of them that is synced with all before.
    pub(crate) batch: u64,
    pub(crate) batch_synced: u64,
    pub(crate) counts: Counts,
}

/// How far the writes of an owner are: its own sequence numbers.
pub(crate) struct Owner {
    pub(crate) mode: Mode,
    pub(crate) notify: Arc<dyn Fn() + Send + Sync>,
    pub(crate) written: u64,
    pub(crate) taken: u64,
    pub(crate) handed: u64,
    pub(crate) synced: u64,
    /// Something changed since `notify` was called.
    pub(crate) has_news: bool,
}

impl Disk {
    /// Opens the store in the folder `path`, or makes one if the folder is empty or not there.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if it is open already, [`StoreError::Corrupt`], [`StoreError::Newer`],
    /// [`StoreError::NotAStore`], [`StoreError::Full`], [`StoreError::Io`]. Nothing is repaired by throwing something away.
    pub fn open(path: impl AsRef<Path>, options: DiskOptions) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let folder = Folder::open(path)?;
        let io = |error| StoreError::io(path, &error);
        let mut file = OpenOptions::new();
        let file = file.read(true).write(true).create(true).truncate(false).open(folder.rows());
        let file = file.map_err(io)?;
        folder.forget_unmade(&file).map_err(io)?;
        let backend =
            FileBackend::new(file).map_err(|error| StoreError::corrupt(path, error.to_string()))?;
        Self::open_with(path, folder, backend, &options)
    }

    pub(crate) fn open_with(
        path: &Path,
        mut folder: Folder,
        backend: impl StorageBackend,
        options: &DiskOptions,
    ) -> Result<Self, StoreError> {
        let rows = Rows::open(path, backend, options.cache_bytes, options.is_checked)?;
        let spools = Spools::open(path, folder.spools(), options.spool_bytes_max)?;
        let (mut tail, recovered) =
            Tail::open(path, folder.tail(), rows.applied()?, folder::boot())?;
        if !recovered.layer.is_empty() {
            spools.sync()?;
            rows.commit(&recovered.layer, tail.number())?;
        }
        tail.clear()?;
        folder.finish()?;
        let rows = Arc::new(rows);
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            spools,
            work: Condvar::new(),
            progress: Condvar::new(),
            state: Mutex::new(State { rows: Some(rows.clone()), ..State::default() }),
        });
        let for_thread = shared.clone();
        let thread = thread::Builder::new()
            .name("postrider-store".to_owned())
            .spawn(move || commit::run(&for_thread, &rows, tail))
            .map_err(|error| StoreError::io(path, &error))?;
        let core = Core {
            shared,
            thread: Mutex::new(Some(thread)),
            folder: Mutex::new(Some(folder)),
            aside: recovered.aside,
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// Sets a store aside that cannot be opened: its folder gets the name `PATH.corrupt-N`, which is returned.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if it is open, [`StoreError::NotAStore`], [`StoreError::Io`].
    pub fn quarantine(path: impl AsRef<Path>) -> Result<PathBuf, StoreError> {
        folder::quarantine(path.as_ref())
    }

    /// A handle for one owner, which counts its writes for itself.
    ///
    /// `notify` is called on the commit thread when more of this owner's writes is stored in some sense, and when the
    /// store has failed; the owner then asks [`crate::Store::stored`]. It must not block, and must not use the store.
    pub fn handle(&self, mode: Mode, notify: impl Fn() + Send + Sync + 'static) -> DiskStore {
        let owner = {
            let state = &mut *self.core.shared.lock();
            state.owners_made += 1;
            let owner = Owner {
                mode,
                notify: Arc::new(notify),
                written: 0,
                taken: 0,
                handed: 0,
                synced: 0,
                has_news: false,
            };
            state.owners.insert(state.owners_made, owner);
            state.owners_made
        };
        DiskStore::new(self.core.clone(), owner)
    }

    /// Syncs all that was written, in whatever mode, and waits for it.
    ///
    /// # Errors
    /// [`StoreError`], with which the store has failed.
    pub fn flush(&self) -> Result<(), StoreError> {
        let shared = &self.core.shared;
        let mut state = shared.lock();
        state.needs_sync = true;
        let batch = state.batch + 1;
        shared.work.notify_one();
        loop {
            state.check(&shared.path)?;
            if state.batch_synced >= batch {
                return Ok(());
            }
            state = shared.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Syncs all that was written, closes the store and unlocks its folder. All its handles fail from then on.
    ///
    /// # Errors
    /// [`StoreError`] if the store has failed before, or fails now.
    pub fn close(self) -> Result<(), StoreError> {
        self.core.close()
    }

    /// The spools that are there, with their lengths in bytes.
    #[must_use]
    pub fn spools(&self) -> BTreeMap<u64, u64> {
        self.core.shared.spools.list()
    }

    /// Removes all spools but those that records name: what a crash left of payloads that never became a message. To be
    /// called before the first append. Returns how many it removed.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn keep_spools(&self, referenced: &BTreeSet<u64>) -> Result<usize, StoreError> {
        self.core.shared.spools.keep(referenced)
    }

    /// A way to the spools for other threads than their owner's.
    #[must_use]
    pub fn side_door(&self) -> SideDoor {
        SideDoor::disk(Arc::clone(&self.core.shared))
    }

    /// Where a copy is of what a power cut left damaged of the last writes in [`Mode::Process`], if it did.
    #[must_use]
    pub fn set_aside(&self) -> Option<&Path> {
        self.core.aside.as_deref()
    }

    /// What the store has done since it was opened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.core.shared.lock().counts
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.core.shared.path
    }
}

impl Core {
    fn close(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        shared.lock().is_closing = true;
        shared.spools.close();
        shared.work.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last handle may go in a call of `notify`, on the commit thread itself.
        if let Some(thread) = thread.filter(|it| it.thread().id() != thread::current().id()) {
            // A panic over there has left its mark in `failed`.
            drop(thread.join());
        }
        let (rows, failed) = {
            let state = &mut *shared.lock();
            let failed = state.failed.clone();
            state.failed.get_or_insert_with(|| StoreError::Closed(shared.path.clone()));
            (state.rows.take(), failed)
        };
        shared.progress.notify_all();
        // Someone may be in the middle of a scan; then the database is closed when that ends.
        let closed = match rows.map(Arc::try_unwrap) {
            Some(Ok(rows)) if failed.is_none() => rows.close(),
            Some(_) | None => Ok(()),
        };
        drop(self.folder.lock().unwrap_or_else(PoisonError::into_inner).take());
        match failed {
            Some(error) => Err(error),
            None => closed,
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // Who wants to know closes the store in so many words.
        drop(self.close());
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the store can be used.
    pub(crate) fn check(&self, path: &Path) -> Result<(), StoreError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.is_closing => Err(StoreError::Closed(path.to_owned())),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc};

    use super::*;
    use crate::{
        Change, Store,
        platter::{Platter, Random},
    };

    #[test]
    fn one_sync_answers_for_all_that_came_while_the_last_one_ran() {
        let folder = tempfile::tempdir().unwrap();
        let platter = Platter::default();
        let disk = open(folder.path(), &platter).unwrap();
        platter.hold();
        let mut first = disk.handle(Mode::Durable, || ());
        first.write(1, put(0, 1)).unwrap();
        platter.wait_for_sync();
        let mut owners: Vec<_> = (1..=50).map(|_| disk.handle(Mode::Durable, || ())).collect();
        for (at, owner) in owners.iter_mut().enumerate() {
            for seq in 1..=20 {
                owner.write(seq, put(at as u64 + 1, seq)).unwrap();
                assert_eq!(owner.stored().unwrap(), 0);
                assert_eq!(owner.stored_in(Mode::Memory).unwrap(), seq);
            }
        }
        platter.release();
        for owner in &mut owners {
            owner.wait(20).unwrap();
            assert_eq!(owner.stored().unwrap(), 20);
        }
        assert_eq!(disk.counts(), Counts { writes: 1001, handed: 0, synced: 2 });
    }

    #[test]
    fn owners_are_told_when_their_writes_are_stored() {
        let folder = tempfile::tempdir().unwrap();
        let disk = open(folder.path(), &Platter::default()).unwrap();
        for mode in [Mode::Process, Mode::Durable] {
            let (sender, told) = mpsc::channel();
            let mut store = disk.handle(mode, move || sender.send(()).unwrap());
            let _silent = disk.handle(mode, || panic!("nothing was written here"));
            for seq in 1..=100 {
                store.write(seq, put(1, seq)).unwrap();
                while store.stored().unwrap() < seq {
                    told.recv().unwrap();
                }
            }
        }
        let counts = disk.counts();
        assert_eq!(counts.writes, 200);
        assert!(counts.handed <= 100, "{counts:?}");
        assert!(counts.synced <= 101, "{counts:?}");
        disk.close().unwrap();
    }

    #[test]
    fn a_failed_sync_is_final() {
        let folder = tempfile::tempdir().unwrap();
        let platter = Platter::default();
        let disk = open(folder.path(), &platter).unwrap();
        let (sender, told) = mpsc::channel();
        let mut store = disk.handle(Mode::Durable, move || sender.send(()).unwrap());
        store.write(1, put(1, 1)).unwrap();
        store.wait(1).unwrap();
        told.recv().unwrap();
        platter.break_sync();
        store.write(2, put(1, 2)).unwrap();
        told.recv().unwrap();
        let error = store.stored().unwrap_err();
        assert!(error.to_string().contains("the cable came off"), "{error}");
        assert_eq!(store.write(3, put(1, 3)), Err(error.clone()));
        assert_eq!(store.wait(1), Err(error.clone()));
        assert_eq!(store.read(b"k"), Err(error.clone()));
        assert_eq!(disk.flush(), Err(error.clone()));
        assert_eq!(disk.close(), Err(error));
        // What was reported stored is there; what was not may be.
        let left = platter.after_power_cut(&mut Random(1));
        let disk = open(folder.path(), &Platter::of(left)).unwrap();
        let store = disk.handle(Mode::Durable, || ());
        assert_eq!(numbers(&store, 1).first(), Some(&1));
    }

    #[test]
    fn a_full_disk_is_said_and_harms_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let platter = Platter::default();
        let disk = open(folder.path(), &platter).unwrap();
        let mut store = disk.handle(Mode::Durable, || ());
        store.write(1, put(1, 1)).unwrap();
        store.wait(1).unwrap();
        platter.limit(platter.bytes().len());
        let error = (2..5000)
            .find_map(|seq| {
                let big = Change::Put(key(1, seq).into(), vec![seq as u8; 4000].into());
                store.write(seq, big).and_then(|()| store.wait(seq)).err()
            })
            .unwrap();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert!(error.to_string().starts_with("no room on the disk for the store "), "{error}");
        drop((store, disk));
        // Room again, and a restart.
        let disk = open(folder.path(), &Platter::of(platter.bytes())).unwrap();
        let mut store = disk.handle(Mode::Durable, || ());
        let count = numbers(&store, 1).len() as u64;
        assert!(count >= 1);
        assert_eq!(numbers(&store, 1), (1..=count).collect::<Vec<_>>());
        store.write(1, put(2, 1)).unwrap();
        store.wait(1).unwrap();
    }

    /// What was reported stored survives, in order and without a gap, however the cut leaves what was not synced.
    #[test]
    fn power_cuts_take_nothing_that_was_stored() {
        let mut random = Random(7);
        let mut cuts_in_a_sync = 0;
        for round in 0..60 {
            let folder = tempfile::tempdir().unwrap();
            let platter = Platter::default();
            let disk = open(folder.path(), &platter).unwrap();
            let mut store = disk.handle(Mode::Durable, || ());
            let count = 1 + random.below(200);
            for seq in 1..=count {
                let number =
                    |number| Change::Put(key(1, number).into(), vec![number as u8; 50].into());
                let gone = (seq > 20).then(|| Change::Delete(key(1, seq - 20).into()));
                store.write_batch(seq, &mut [number(seq)].into_iter().chain(gone)).unwrap();
                if random.below(4) == 0 {
                    store.wait(seq).unwrap();
                }
            }
            let is_in_sync = round % 2 == 0;
            if is_in_sync {
                platter.hold();
                store.write(count + 1, put(2, 1)).unwrap();
                platter.wait_for_sync();
                cuts_in_a_sync += 1;
            }
            let stored = store.stored().unwrap();
            let left = platter.after_power_cut(&mut random);
            platter.release();
            drop((store, disk));
            let disk = open(folder.path(), &Platter::of(left)).unwrap();
            let found = numbers(&disk.handle(Mode::Durable, || ()), 1);
            let last = found.last().copied().unwrap_or(0);
            assert!(last >= stored, "{stored} were stored, {last} are there");
            assert_eq!(found, (last.saturating_sub(19).max(1)..=last).collect::<Vec<_>>());
        }
        assert_eq!(cuts_in_a_sync, 30);
    }

    #[test]
    fn a_store_of_unknown_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let platter = Platter::default();
        open(folder.path(), &platter).unwrap().close().unwrap();
        let format = folder.path().join("format");
        let text = fs::read(&format).unwrap();
        for at in 0..text.len() {
            let mut bad = text.clone();
            bad[at] ^= 0x41;
            fs::write(&format, bad).unwrap();
            let error = open(folder.path(), &platter).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        }
        fs::write(&format, "postrider store, format 2\n").unwrap();
        let error = open(folder.path(), &platter).unwrap_err();
        let path = folder.path().to_owned();
        assert_eq!(error, StoreError::Newer { path, found: 2, known: 1 });
        fs::write(&format, text).unwrap();
        open(folder.path(), &platter).unwrap();
    }

    fn open(path: &Path, platter: &Platter) -> Result<Disk, StoreError> {
        let folder = Folder::open(path)?;
        // The rows are in memory, but a store without this file has lost them.
        fs::write(folder.rows(), b"").unwrap();
        Disk::open_with(path, folder, platter.clone(), &DiskOptions::default())
    }

    fn key(owner: u64, number: u64) -> Vec<u8> {
        [owner.to_be_bytes(), number.to_be_bytes()].concat()
    }

    fn put(owner: u64, number: u64) -> Change {
        Change::Put(key(owner, number).into(), vec![number as u8; 50].into())
    }

    /// The numbers of an owner's records, all of which are as they were written.
    fn numbers(store: &DiskStore, owner: u64) -> Vec<u64> {
        let mut found = Vec::new();
        store
            .scan(&owner.to_be_bytes(), &mut |key, value| found.push(number(key, &value)))
            .unwrap();
        found
    }

    fn number(key: &[u8], value: &[u8]) -> u64 {
        let number = u64::from_be_bytes(key[8..].try_into().unwrap());
        assert!(value.iter().all(|byte| *byte == number as u8));
        number
    }
}
