//! A store on the disk: one folder, one commit thread, any number of owners.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use redb::{StorageBackend, backends::FileBackend};

use crate::{
    DiskStore, Mode, SideDoor, StoreError,
    block::Salt,
    commit,
    folder::{self, Folder},
    layer::Layer,
    log::{self, Log, Sheets},
    rows::Rows,
    settle::{self, Limits},
    sheet::{self, Sheet},
    spools::Spools,
    tail,
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
    /// Memory for changes that are in the log and not in the database yet, in bytes. While the database takes them, up to
    /// twice as much comes in beside them, and then writers wait for it. Default: 16 MiB.
    pub layer_bytes: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            is_checked: true,
            spool_bytes_max: 16 << 30,
            layer_bytes: 16 << 20,
        }
    }
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Writes taken from owners.
    pub writes: u64,
    /// Times that writes were handed to the operating system without a sync.
    pub handed: u64,
    /// Times that the log was synced to the disk.
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
    threads: Mutex<Vec<JoinHandle<()>>>,
    folder: Mutex<Option<Folder>>,
    aside: Option<PathBuf>,
}

/// What owners and the threads of the store share. Locks are taken in this order: log, layers, state.
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) spools: Spools,
    /// For the commit thread: there is work.
    pub(crate) work: Condvar,
    /// For the settling thread: there is work.
    pub(crate) settling: Condvar,
    /// For owners: something was stored, there is room, or the store failed.
    progress: Condvar,
    log: Mutex<Log>,
    layers: Mutex<Layers>,
    state: Mutex<State>,
    /// Held while a sheet is synced.
    syncing: Mutex<()>,
}

/// What is in the log and not in the rows yet, from young to old.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) young: Arc<Layer>,
    /// What is on its way into the rows.
    pub(crate) frozen: Arc<Layer>,
}

/// What owners know of the store, and what it knows of them.
#[derive(Default)]
pub(crate) struct State {
    /// Batches that are in no block yet.
    pub(crate) pending: Vec<Bytes>,
    pub(crate) pending_bytes: usize,
    /// Batches that are in a block, but not in the young layer yet. They are older than those that are pending.
    pub(crate) unfolded: Vec<Bytes>,
    pub(crate) unfolded_bytes: usize,
    /// Bytes of the log, and of the young layer.
    pub(crate) log_bytes: usize,
    pub(crate) layer_bytes: usize,
    /// `None` once the store is closed.
    pub(crate) rows: Option<Arc<Rows>>,
    /// Spools whose files go once a block is on the disk.
    pub(crate) drops: Vec<(u64, u64)>,
    /// The last block that was begun, and the last one that is on the disk, as a block or in the rows.
    pub(crate) taken: u64,
    pub(crate) synced: u64,
    /// Someone needs a sync of all that was written.
    pub(crate) needs_sync: bool,
    pub(crate) is_closing: bool,
    /// The commit thread has ended.
    pub(crate) is_ending: bool,
    pub(crate) is_commit_idle: bool,
    pub(crate) is_settler_idle: bool,
    /// Threads that wait for progress.
    waiting: usize,
    /// Set once, for good.
    pub(crate) failed: Option<StoreError>,
    pub(crate) owners: BTreeMap<u64, Owner>,
    pub(crate) owners_made: u64,
    /// Calls of [`Disk::flush`], and how many of them are answered.
    pub(crate) flushes_asked: u64,
    pub(crate) flushes_done: u64,
    pub(crate) counts: Counts,
}

/// How far the writes of an owner are: its own sequence numbers.
pub(crate) struct Owner {
    pub(crate) mode: Mode,
    pub(crate) notify: Arc<dyn Fn() + Send + Sync>,
    pub(crate) written: u64,
    pub(crate) taken: u64,
    pub(crate) handed: u64,
    /// What is being synced in the log, and what goes into the rows.
    pub(crate) syncing: u64,
    pub(crate) settling: u64,
    pub(crate) synced: u64,
    /// Something changed since `notify` was called.
    pub(crate) has_news: bool,
}

/// What one opening of a store gets from outside.
pub(crate) struct Surroundings {
    pub(crate) sheets: Sheets,
    /// Names the run of the operating system; 0 if it has no name.
    pub(crate) run: u128,
    pub(crate) salt: Salt,
    pub(crate) limits: Limits,
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
        let [one, other] = folder.sheets().map(|path| sheet::open(&path).map_err(io));
        let sheets: Sheets = [Arc::new(one?), Arc::new(other?)];
        let synced = folder::sync_folder(path);
        synced.map_err(|error| StoreError::io_at(path, "its folder cannot be synced", &error))?;
        let (run, salt) = (folder::run(&folder::boot()), folder::salt());
        let limits = Limits::of(options.layer_bytes);
        let around = Surroundings { sheets, run, salt, limits };
        Self::open_with(path, folder, backend, around, &options)
    }

    pub(crate) fn open_with(
        path: &Path,
        mut folder: Folder,
        backend: impl StorageBackend,
        around: Surroundings,
        options: &DiskOptions,
    ) -> Result<Self, StoreError> {
        let io = |error| StoreError::io(path, &error);
        let rows = Rows::open(path, backend, options.cache_bytes, options.is_checked)?;
        let spools = Spools::open(path, folder.spools(), options.spool_bytes_max)?;
        let (number, aside) = recover(path, &folder, &rows, &spools, &around)?;
        rows.begin_log(around.salt, around.run)?;
        let log = Log::begin(around.sheets, around.salt, number).map_err(io)?;
        folder.finish()?;
        let rows = Arc::new(rows);
        let (taken, synced) = (number, number);
        let state = State { rows: Some(rows.clone()), taken, synced, ..State::default() };
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            limits: around.limits,
            spools,
            work: Condvar::new(),
            settling: Condvar::new(),
            progress: Condvar::new(),
            log: Mutex::new(log),
            layers: Mutex::default(),
            state: Mutex::new(state),
            syncing: Mutex::default(),
        });
        let core = Core {
            shared: shared.clone(),
            threads: Mutex::default(),
            folder: Mutex::new(Some(folder)),
            aside,
        };
        // If the second cannot be begun, dropping the core ends the first.
        let core = Arc::new(core);
        let for_thread = shared.clone();
        core.begin("postrider-store", move || commit::run(&for_thread))?;
        core.begin("postrider-rows", move || settle::run(&shared, &rows))?;
        Ok(Self { core })
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
    /// `notify` is called when more of this owner's writes is stored in some sense, and when the store has failed; the
    /// owner then asks [`crate::Store::stored`]. It is called on a thread of the store or, in a write, of any owner. It must
    /// not block, and must not use the store.
    pub fn handle(&self, mode: Mode, notify: impl Fn() + Send + Sync + 'static) -> DiskStore {
        let owner = {
            let state = &mut *self.core.shared.lock();
            state.owners_made += 1;
            let notify = Arc::new(notify);
            let owner = Owner {
                mode,
                notify,
                written: 0,
                taken: 0,
                handed: 0,
                syncing: 0,
                settling: 0,
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
        state.flushes_asked += 1;
        let asked = state.flushes_asked;
        shared.wake_commit(&state);
        loop {
            state.check(&shared.path)?;
            if state.flushes_done >= asked {
                return Ok(());
            }
            state = shared.wait(state);
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
    fn begin(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|error| StoreError::io(&self.shared.path, &error))?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    fn close(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        shared.lock().is_closing = true;
        shared.spools.close();
        shared.work.notify_one();
        let threads = mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // The commit thread first: what it writes is the last that goes into the rows.
        for thread in threads {
            // The last handle may go in a call of `notify`, on a thread of the store itself.
            if thread.thread().id() != thread::current().id() {
                // A panic over there has left its mark in `failed`.
                drop(thread.join());
            }
            shared.lock().is_ending = true;
            shared.settling.notify_one();
        }
        let (rows, failed) = {
            let state = &mut *shared.lock();
            let failed = state.failed.clone();
            state.failed.get_or_insert_with(|| StoreError::Closed(shared.path.clone()));
            shared.notify_waiting(state);
            (state.rows.take(), failed)
        };
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner).take();
        if failed.is_none()
            && let Some(folder) = &folder
        {
            // All of it is in the rows; a log that stays does no harm.
            drop(shared.log().end());
            for sheet in folder.sheets() {
                drop(fs::remove_file(sheet));
            }
        }
        // Someone may be in the middle of a scan; then the database is closed when that ends.
        let closed = match rows.map(Arc::try_unwrap) {
            Some(Ok(rows)) if failed.is_none() => rows.close(),
            Some(_) | None => Ok(()),
        };
        drop(folder);
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

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log, if nobody is using it.
    pub(crate) fn try_log(&self) -> Option<MutexGuard<'_, Log>> {
        self.log.try_lock().ok()
    }

    pub(crate) fn layers(&self) -> MutexGuard<'_, Layers> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something was stored, there is room, or the store failed.
    pub(crate) fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        state = self.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    /// Syncs a sheet of the log. The system tells of an error once, so that nobody else may take the next sync for good.
    pub(crate) fn sync(&self, file: &str, sheet: &dyn Sheet) -> Result<(), StoreError> {
        let _turn = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &self.lock().failed {
            return Err(error.clone());
        }
        sheet.sync().map_err(|error| {
            let error = StoreError::io_at(&self.path, &format!("{file} cannot be synced"), &error);
            self.lock().failed.get_or_insert(error).clone()
        })
    }

    // A call to the system for nobody is left out.

    pub(crate) fn notify_waiting(&self, state: &State) {
        if state.waiting > 0 {
            self.progress.notify_all();
        }
    }

    pub(crate) fn wake_commit(&self, state: &State) {
        if state.is_commit_idle {
            self.work.notify_one();
        }
    }

    pub(crate) fn wake_settler(&self, state: &State) {
        if state.is_settler_idle {
            self.settling.notify_one();
        }
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

/// Brings into the rows what a log or a tail holds; the folder still has it after that. Returns the number of the last
/// block, and where a copy is of what was damaged.
fn recover(
    path: &Path,
    folder: &Folder,
    rows: &Rows,
    spools: &Spools,
    around: &Surroundings,
) -> Result<(u64, Option<PathBuf>), StoreError> {
    let io = |error| StoreError::io(path, &error);
    let applied = rows.applied()?;
    let (mut recovered, mut aside) = (log::Recovered::default(), None);
    recovered.number = applied;
    let [one, other] = around.sheets.each_ref().map(|sheet| sheet.read().map(Bytes::from));
    let sheets = [one.map_err(io)?, other.map_err(io)?];
    if let Some(tail) = folder.tail() {
        let tail = tail::read(path, &tail, applied, &folder::boot())?;
        (recovered.layer, recovered.number, aside) = (tail.layer, tail.number, tail.aside);
    } else if let Some((salt, run)) = rows.log()? {
        let is_same_run = run != 0 && run == around.run;
        recovered = log::recover(path, &sheets, salt, applied, is_same_run)?;
        if recovered.has_lost {
            aside = Some(log::set_aside(&folder.log(), &sheets).map_err(io)?);
        }
    } else if sheets.iter().flatten().any(|byte| *byte != 0) {
        return Err(StoreError::corrupt(path, "the rows know of no log, but there is one"));
    }
    if recovered.number > applied {
        spools.sync()?;
        rows.commit(&recovered.layer, recovered.number)?;
    }
    folder.drop_tail()?;
    Ok((recovered.number, aside))
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("path", &self.path).finish_non_exhaustive()
    }
}
