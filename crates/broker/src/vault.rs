//! What a hub keeps outside of memory: its records in the store, its large payloads in files.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use postrider_proto::{PageRequest, PageRows, Record, SpoolOutput};
use postrider_store::{Batch, Disk, DiskStore, Mode, Scratch, Store, StoreError};

use crate::ready::Ready;

/// One hub's door to the store of all hubs. Nothing is taken for records but the records themselves, and no lock but
/// once a drain.
pub(crate) struct Vault {
    place: Place,
    /// Records of this drain.
    changes: Batch,
    /// Spools that go with this drain.
    drops: Vec<u64>,
    /// The hub's number of the last record.
    last: u64,
    /// The last record that is handed to the operating system, that is synced, and whose sync was asked for.
    handed: u64,
    synced: u64,
    asked: u64,
}

enum Place {
    Disk(OnDisk),
    /// No records; spools that go with the process.
    Scratch(Arc<Scratch>),
}

struct OnDisk {
    store: DiskStore,
    /// The store has something to say since it was last asked.
    has_news: Arc<AtomicBool>,
    /// Some listener needs no sync, so that each is asked for.
    is_asking: bool,
    sharers: Sharers,
}

/// How far the store is, in a hub's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) handed: u64,
    pub(crate) synced: u64,
}

/// Which hubs need a spool. The last one drops the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sharers(Arc<Mutex<Sharing>>);

#[derive(Debug, Default)]
struct Sharing {
    /// Spools of an earlier run, with the number of hubs that have messages with them. One of this run has one owner.
    counts: BTreeMap<u64, u16>,
    /// A hub has ended: what it had let go of with that is still in its records.
    is_over: bool,
}

impl Vault {
    /// For a hub without a store.
    pub(crate) fn scratch(scratch: Arc<Scratch>) -> Self {
        Self::new(Place::Scratch(scratch))
    }

    /// For a hub whose driver is woken by `ready` when something was stored. `mode` is the weakest of all listeners.
    pub(crate) fn disk(disk: &Disk, mode: Mode, sharers: Sharers, ready: &Arc<Ready>) -> Self {
        let has_news = Arc::new(AtomicBool::new(false));
        let (news, ready) = (Arc::clone(&has_news), Arc::clone(ready));
        let store = disk.handle(mode, move || {
            news.store(true, Ordering::Release);
            ready.nudge();
        });
        let is_asking = mode != Mode::Durable;
        Self::new(Place::Disk(OnDisk { store, has_news, is_asking, sharers }))
    }

    fn new(place: Place) -> Self {
        let (changes, drops) = (Batch::default(), Vec::new());
        Self { place, changes, drops, last: 0, handed: 0, synced: 0, asked: 0 }
    }

    /// The store, if there is one.
    pub(crate) fn store(&self) -> Option<&DiskStore> {
        match &self.place {
            Place::Disk(disk) => Some(&disk.store),
            Place::Scratch(_) => None,
        }
    }

    /// Takes a record which the hub numbered `seq`; it is written with the others of this drain.
    pub(crate) fn take(&mut self, seq: u64, record: &Record) {
        self.last = seq;
        if matches!(self.place, Place::Disk(_)) {
            let (key, value) =
                (|out: &mut _| record.put_key(out), |out: &mut _| record.put_value(out));
            self.changes.push(record.is_first(), key, value);
        }
    }

    /// Sees to it that what was taken up to now is synced soon: somebody waits for that.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        match &self.place {
            Place::Disk(disk) if disk.is_asking && self.asked < self.last => {
                self.asked = self.last;
                disk.store.sync_soon()
            }
            Place::Disk(_) | Place::Scratch(_) => Ok(()),
        }
    }

    /// Writes what was taken since the last call, as one.
    pub(crate) fn write(&mut self) -> Result<(), StoreError> {
        if let Place::Disk(disk) = &mut self.place
            && !self.changes.is_empty()
        {
            disk.store.write_gathered(self.last, &mut self.changes)?;
        }
        // What deletes the last record that names a spool is written by now.
        for spool in mem::take(&mut self.drops) {
            match &mut self.place {
                Place::Disk(disk) if disk.sharers.leave(spool) => disk.store.spool_drop(spool)?,
                Place::Disk(_) => {}
                Place::Scratch(scratch) => scratch.drop_spool(spool)?,
            }
        }
        Ok(())
    }

    /// The hub's highest numbers that are handed to the operating system and synced, if that is news. Asks the store only
    /// if it has any.
    pub(crate) fn stored(&mut self) -> Result<Option<Stored>, StoreError> {
        let before = (self.handed, self.synced);
        match &mut self.place {
            Place::Disk(disk) if disk.has_news.swap(false, Ordering::AcqRel) => {
                self.synced = disk.store.stored_in(Mode::Durable)?;
                self.handed = disk.store.stored_in(Mode::Process)?;
            }
            Place::Disk(_) | Place::Scratch(_) => {}
        }
        let is_news = before != (self.handed, self.synced);
        Ok(is_news.then_some(Stored { handed: self.handed, synced: self.synced }))
    }

    /// Reads a page, of what was taken up to now too. On the thread of the hub: a page is small, and asked for early.
    pub(crate) fn page(&mut self, request: &PageRequest) -> Result<PageRows, StoreError> {
        self.write()?;
        let mut page = PageRows::new(request);
        if let Some(store) = self.store() {
            let PageRequest { prefix, after, .. } = request;
            store.scan_after(prefix, after, &mut |key, value| page.push(key, value))?;
        }
        Ok(page)
    }

    /// Appends to a spool at once, so that its bytes come before the records of this drain that name it; or drops it
    /// with this drain.
    pub(crate) fn spool(&mut self, output: SpoolOutput) -> Result<(), StoreError> {
        match (output, &mut self.place) {
            (SpoolOutput::Append(spool, bytes), Place::Disk(disk)) => {
                disk.store.spool_append(spool, bytes)
            }
            (SpoolOutput::Append(spool, bytes), Place::Scratch(scratch)) => {
                scratch.append(spool, &bytes)
            }
            (SpoolOutput::Drop(spool), _) => {
                self.drops.push(spool);
                Ok(())
            }
        }
    }

    /// The hub ends, and lets go of the spools of other hubs that its records name: no file is dropped any more. What
    /// nobody needs goes at the next start. To be called while the hub is still there.
    pub(crate) fn end(&self) {
        if let Place::Disk(disk) = &self.place {
            disk.sharers.lock().is_over = true;
        }
    }

    /// Reads at least one and at most `len` bytes of a spool.
    pub(crate) fn spool_read(
        &self,
        spool: u64,
        offset: u64,
        len: usize,
    ) -> Result<Bytes, StoreError> {
        match &self.place {
            Place::Disk(disk) => disk.store.spool_read(spool, offset, len),
            Place::Scratch(scratch) => scratch.read(spool, offset, len),
        }
    }
}

impl Sharers {
    /// One more hub has messages with this spool.
    pub(crate) fn join(&self, spool: u64) {
        *self.lock().counts.entry(spool).or_default() += 1;
    }

    /// A hub has no more messages with this spool. Returns whether nobody has, as far as can be known.
    fn leave(&self, spool: u64) -> bool {
        let Sharing { counts, is_over } = &mut *self.lock();
        match counts.get_mut(&spool) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            Some(_) | None => {
                counts.remove(&spool);
                !*is_over
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sharing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use postrider_proto::Fact;
    use postrider_store::DiskOptions;

    use super::*;

    #[test]
    fn a_drain_is_one_write_and_each_hub_counts_for_itself() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
        let ready = Arc::new(Ready::default());
        let vault = || Vault::disk(&disk, Mode::Durable, Sharers::default(), &ready);
        let (mut one, mut two) = (vault(), vault());
        assert_eq!(one.stored().unwrap(), None);
        one.take(1, &gone(7));
        one.take(2, &gone(9));
        two.take(1, &gone(8));
        one.write().unwrap();
        two.write().unwrap();
        assert_eq!(disk.counts().writes, 2);
        disk.flush().unwrap();
        // The hooks are called a moment after that.
        for (vault, last) in [(&mut one, 2), (&mut two, 1)] {
            let stored = loop {
                if let Some(stored) = vault.stored().unwrap() {
                    break stored;
                }
                std::thread::yield_now();
            };
            assert_eq!(stored, Stored { handed: last, synced: last });
            assert_eq!(vault.stored().unwrap(), None);
        }
    }

    #[test]
    fn without_a_store_spools_are_appended_read_and_dropped() {
        let mut vault = Vault::scratch(Arc::new(Scratch::new(100)));
        vault.spool(SpoolOutput::Append(3, Bytes::from_static(b"hello"))).unwrap();
        assert_eq!(vault.spool_read(3, 1, 3).unwrap(), "ell");
        vault.spool(SpoolOutput::Drop(3)).unwrap();
        vault.write().unwrap();
        assert_eq!(vault.spool_read(3, 1, 3), Err(StoreError::NoSpool(3)));
    }

    #[test]
    fn the_last_hub_drops_a_spool_of_an_earlier_run() {
        let sharers = Sharers::default();
        sharers.join(5);
        sharers.join(5);
        assert!(!sharers.leave(5));
        assert!(sharers.leave(5));
        assert!(sharers.leave(6), "a spool of this run has one owner");
        sharers.lock().is_over = true;
        assert!(!sharers.leave(7));
    }

    fn gone(owner: u64) -> Record {
        Record { owner, fact: Fact::SessionGone }
    }
}
