//! What a driver keeps outside of its machine: records that outlive the process, and payloads too large for memory.
//!
//! Records of one drain go to the store in one write. The store's commit thread says when they are stored by waking the
//! driver; nothing is polled.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use postrider_proto::{
    Fact, FlightState, OpenMessage, PageRequest, PageRows, Payload, Record, SpoolOutput,
};
use postrider_store::{
    Batch, Disk, DiskOptions, DiskStore, Mode, Scratch, SideDoor, SpoolFile, Store, StoreError,
};

use crate::{ConnectError, shared::Shared};

/// Where a session is kept, and how.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) mode: Mode,
}

/// Keeps records and spools.
pub(crate) struct Vault {
    keep: Keep,
    /// Changes of the drain under way, and the number of the last one.
    changes: Batch,
    seq: u64,
    /// Spools to drop once the changes are written.
    drops: Vec<u64>,
    /// Writes that are not stored yet: the last number of each, and its bytes.
    open: VecDeque<(u64, usize)>,
    open_bytes: usize,
    has_failed: bool,
}

enum Keep {
    /// Without a store there are no records, and spools go with the process.
    Scratch(Arc<Scratch>),
    Disk {
        disk: Disk,
        store: DiskStore,
        /// The store may have stored more.
        has_news: Arc<AtomicBool>,
    },
}

/// Bytes not stored yet above which nothing more is published: below the bound at which a write would block.
const OPEN_BYTES_MAX: usize = 2 << 20;

/// Memory for changes that are not in the database yet: a program may have many sessions.
const LAYER_BYTES: usize = 1 << 20;

impl Vault {
    /// Without a store; at most `bytes_max` in spools.
    pub(crate) fn scratch(bytes_max: u64) -> Self {
        Self::new(Keep::Scratch(Arc::new(Scratch::new(bytes_max))))
    }

    /// Opens a store; blocks.
    pub(crate) fn open(place: &Place, shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let options = DiskOptions { layer_bytes: LAYER_BYTES, ..DiskOptions::default() };
        let disk = Disk::open(&place.path, options)?;
        let has_news = Arc::new(AtomicBool::new(false));
        let (news, owner) = (Arc::clone(&has_news), Arc::clone(shared));
        let store = disk.handle(place.mode, move || {
            if !news.swap(true, Ordering::AcqRel) {
                owner.mailbox.nudge();
            }
        });
        Ok(Self::new(Keep::Disk { disk, store, has_news }))
    }

    fn new(keep: Keep) -> Self {
        Self {
            keep,
            changes: Batch::default(),
            seq: 0,
            drops: Vec::new(),
            open: VecDeque::new(),
            open_bytes: 0,
            has_failed: false,
        }
    }

    /// Hands every record to `take`, for a session of `client_id`; with `None` for whatever client id there is. Removes
    /// spools that no record names. Blocks.
    pub(crate) fn recover(
        &self,
        client_id: Option<&str>,
        mut take: impl FnMut(Record),
    ) -> Result<(), ConnectError> {
        let Keep::Disk { disk, store, .. } = &self.keep else { return Ok(()) };
        let path = disk.path();
        self.check_owner(store, path, client_id)?;
        let there = disk.spools();
        let mut spooled = Spooled { path, there: &there, named: BTreeSet::new(), lost: None };
        let mut fault = None;
        let scanned = store.scan_after(b"", b"", &mut |key, value| {
            let read = Record::decode(key, &value)
                .map_err(|error| corrupt(path, error.what))
                .and_then(|record| spooled.check(record));
            match read {
                Ok(None) => {}
                Ok(Some(record)) if record.owner == 0 => take(record),
                Ok(Some(_)) => fault = Some(ConnectError::StoreOfBroker(path.to_owned())),
                Err(error) => fault = Some(ConnectError::Store(error)),
            }
            if fault.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        scanned.map_err(ConnectError::Store)?;
        let Spooled { named, lost, .. } = spooled;
        match fault.or_else(|| lost.map(|(_, error)| ConnectError::Store(error))) {
            Some(fault) => Err(fault),
            None => {
                disk.keep_spools(&named).map_err(ConnectError::Store)?;
                Ok(())
            }
        }
    }

    /// Takes a record; it is written by [`Vault::commit`].
    pub(crate) fn record(&mut self, seq: u64, record: &Record) {
        self.seq = seq;
        let (key, value) = (|out: &mut _| record.put_key(out), |out: &mut _| record.put_value(out));
        self.changes.push(record.is_first(), key, value);
    }

    /// Writes what a drain gave, as one.
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        if self.has_failed {
            // What was recorded with what failed may promise too much.
            return Ok(());
        }
        if !self.changes.is_empty()
            && let Keep::Disk { store, .. } = &mut self.keep
        {
            let bytes = cost(&self.changes);
            let written = store.write_gathered(self.seq, &mut self.changes);
            self.has_failed |= written.is_err();
            written?;
            self.open.push_back((self.seq, bytes));
            self.open_bytes += bytes;
        }
        let dropped = self.drops.drain(..).try_for_each(|spool| match &mut self.keep {
            Keep::Scratch(scratch) => scratch.drop_spool(spool),
            Keep::Disk { store, .. } => store.spool_drop(spool),
        });
        self.has_failed |= dropped.is_err();
        dropped
    }

    /// The last record that is stored, if there is news and something waits for it.
    pub(crate) fn take_stored(&mut self) -> Result<Option<u64>, StoreError> {
        let Keep::Disk { store, has_news, .. } = &mut self.keep else { return Ok(None) };
        if self.has_failed || !has_news.swap(false, Ordering::AcqRel) {
            return Ok(None);
        }
        let stored = store.stored().inspect_err(|_| self.has_failed = true)?;
        let mut last = None;
        while let Some((seq, bytes)) = self.open.front().copied().filter(|(seq, _)| *seq <= stored)
        {
            self.open.pop_front();
            self.open_bytes -= bytes;
            last = Some(seq);
        }
        Ok(last)
    }

    /// Whether so much is not stored yet that publishers must wait.
    pub(crate) fn is_behind(&self) -> bool {
        self.open_bytes.saturating_add(cost(&self.changes)) >= OPEN_BYTES_MAX
    }

    /// The last record that was given, if it is not stored yet.
    pub(crate) fn last_open(&self) -> Option<u64> {
        let is_open = !self.changes.is_empty() || !self.open.is_empty();
        is_open.then_some(self.seq)
    }

    /// Whether there is a store.
    pub(crate) fn is_durable(&self) -> bool {
        matches!(self.keep, Keep::Disk { .. })
    }

    /// Whether the store has failed: nothing may be sent any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    pub(crate) fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match &self.keep {
            Keep::Scratch(_) => Ok(None),
            Keep::Disk { store, .. } => store.read(key),
        }
    }

    /// Reads a page, with all that was recorded up to now. On the driver's thread: a page is small, and asked for early.
    pub(crate) fn page(&mut self, request: &PageRequest) -> Result<PageRows, StoreError> {
        self.commit()?;
        let mut page = PageRows::new(request);
        if let Keep::Disk { store, .. } = &self.keep {
            let PageRequest { prefix, after, .. } = request;
            store.scan_after(prefix, after, &mut |key, value| page.push(key, value))?;
        }
        Ok(page)
    }

    /// Calls `each` for every message that is in the store, in order; what cannot be read is left out.
    pub(crate) fn waiting(
        &mut self,
        mut each: impl FnMut(OpenMessage<'_>),
    ) -> Result<(), StoreError> {
        self.commit()?;
        let Keep::Disk { store, .. } = &self.keep else { return Ok(()) };
        store.scan(&OWNER.to_be_bytes(), &mut |key, value| {
            if let Ok(Record { fact: Fact::Queued { number, message, delivery }, .. }) =
                Record::decode(key, &value)
            {
                let qos = delivery.qos;
                each(OpenMessage { number, qos, flight: None, message: Some(&*message) });
            }
        })
    }

    /// Appends to a spool now, and drops one with the next commit: the record that names it goes first.
    pub(crate) fn spool(&mut self, output: SpoolOutput) -> Result<(), StoreError> {
        match output {
            SpoolOutput::Append(spool, bytes) => {
                let appended = match &mut self.keep {
                    Keep::Scratch(scratch) => scratch.append(spool, &bytes),
                    Keep::Disk { store, .. } => store.spool_append(spool, bytes),
                };
                appended.inspect_err(|_| self.has_failed = true)
            }
            SpoolOutput::Drop(spool) => {
                self.drops.push(spool);
                Ok(())
            }
        }
    }

    pub(crate) fn spool_read(
        &self,
        spool: u64,
        offset: u64,
        len: usize,
    ) -> Result<Bytes, StoreError> {
        match &self.keep {
            Keep::Scratch(scratch) => scratch.read(spool, offset, len),
            Keep::Disk { store, .. } => store.spool_read(spool, offset, len),
        }
    }

    /// Opens a spool for whoever reads the message; without it the store is of no more use.
    pub(crate) fn spool_open(&mut self, spool: u64) -> Result<SpoolFile, StoreError> {
        self.side_door().open(spool).inspect_err(|_| self.has_failed = true)
    }

    /// The way of other threads to the spools.
    pub(crate) fn side_door(&self) -> SideDoor {
        match &self.keep {
            Keep::Scratch(scratch) => SideDoor::scratch(Arc::clone(scratch)),
            Keep::Disk { disk, .. } => disk.side_door(),
        }
    }

    /// Takes the store out, to be closed where blocking does no harm.
    pub(crate) fn take_disk(&mut self) -> Option<Disk> {
        let scratch = Keep::Scratch(Arc::new(Scratch::new(0)));
        match std::mem::replace(&mut self.keep, scratch) {
            Keep::Disk { disk, .. } => Some(disk),
            Keep::Scratch(_) => None,
        }
    }

    /// Whether the store is this client's.
    fn check_owner(
        &self,
        store: &DiskStore,
        path: &Path,
        wanted: Option<&str>,
    ) -> Result<(), ConnectError> {
        let Some(value) = store.read(&Record::session_key(0)).map_err(ConnectError::Store)? else {
            return Ok(());
        };
        let record = Record::decode(&Record::session_key(0), &value)
            .map_err(|error| ConnectError::Store(corrupt(path, error.what)))?;
        let Fact::Session { client_id, .. } = record.fact else { return Ok(()) };
        match wanted {
            Some(wanted) if wanted != client_id.as_str() => {
                let (path, wanted) = (path.to_owned(), wanted.to_owned());
                let stored = client_id.as_str().to_owned();
                Err(ConnectError::StoreOfOther { path, stored, wanted })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Bytes that changes take while they wait.
fn cost(changes: &Batch) -> usize {
    changes.bytes() + changes.len() * CHANGE_BYTES
}

/// A record that names a spool names one that is there, whole, while the message is needed.
struct Spooled<'a> {
    path: &'a Path,
    there: &'a BTreeMap<u64, u64>,
    /// Spools that records name.
    named: BTreeSet<u64>,
    /// The last message, if its spool is not whole: the next record says whether it is over but for PUBCOMP.
    lost: Option<(u64, StoreError)>,
}

impl Spooled<'_> {
    /// To be called in the order of keys. Keeps back a message that has no spool.
    fn check(&mut self, record: Record) -> Result<Option<Record>, StoreError> {
        if let Some((lost, error)) = self.lost.take()
            && !matches!(record.fact, Fact::Flight {
                number,
                state: FlightState::AwaitComp | FlightState::GivenUp,
                ..
            } if number == lost)
        {
            return Err(error);
        }
        if let Fact::Queued { number, message, .. } = &record.fact
            && let Payload::Spooled { id, len } = &message.payload
        {
            if self.there.get(&id.number()) != Some(&u64::from(*len)) {
                let what = format!("spool {:016x} is not whole", id.number());
                self.lost = Some((*number, corrupt(self.path, &what)));
                return Ok(None);
            }
            self.named.insert(id.number());
        }
        Ok(Some(record))
    }
}

fn corrupt(path: &Path, what: &str) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), what: what.to_owned() }
}

/// Bytes of a change besides key and value, roughly.
const CHANGE_BYTES: usize = 64;
/// Whose number a client's records have: it has one session.
const OWNER: u64 = 0;
