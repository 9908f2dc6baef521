//! Where durable facts and large payloads live.
//!
//! The store knows no MQTT: records are opaque keys and values, spools are opaque bytes.
//!
//! ```text
//!  hub --write(seq)--> DiskStore --.          .--> layer (memory) --now and then--> rows    synced
//!  hub --write(seq)--> DiskStore --+--block---+
//!                          ^                  '--> log    handed over, or synced: one sync for all that waited
//!                          `------- stored(N), notify --------'
//! ```
//!
//! Read in this order: [`Store`], what every store does; [`MemoryStore`], the simplest; [`Disk`], a folder with a
//! database and a log before it, and [`DiskStore`], the handle of one owner to it; [`Scratch`], spools alone. How bytes lie on the disk is
//! written in `docs/format.md`; why this database, and why a log before it, in `docs/decisions/002-storage-engine.md` and
//! `005-a-log-before-the-rows.md`, and what the rows never see in `006-what-lives-shortly-stays-out-of-the-rows.md`.
//!
//! ```
//! # fn main() -> Result<(), postrider_store::StoreError> {
//! use postrider_store::{Change, Disk, DiskOptions, Mode, Store};
//!
//! # let folder = std::env::temp_dir().join(format!("postrider-store-tour-{}", std::process::id()));
//! let disk = Disk::open(&folder, DiskOptions::default())?;
//! let mut store = disk.handle(Mode::Durable, || { /* wake the owner, who asks `stored` */ });
//! store.write(1, Change::Put("key".into(), "value".into()))?;
//! store.wait(1)?;
//! assert_eq!(store.read(b"key")?.as_deref(), Some(&b"value"[..]));
//! disk.close()?;
//! # std::fs::remove_dir_all(&folder).ok();
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod batch;
mod block;
mod commit;
mod disk;
mod error;
#[cfg(test)]
mod faults;
mod folder;
mod handle;
mod key;
mod layer;
mod log;
mod memory;
#[cfg(test)]
mod platter;
mod rows;
mod scratch;
mod settle;
mod sheet;
mod side;
mod spool;
mod spools;
mod tail;
mod value;

use std::{iter, ops::ControlFlow};

use bytes::Bytes;

pub use crate::{
    batch::Batch,
    disk::{Counts, Disk, DiskOptions},
    error::StoreError,
    handle::DiskStore,
    memory::MemoryStore,
    scratch::Scratch,
    side::SideDoor,
    spool::SpoolFile,
};

/// A change of one key, or of all keys that begin with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets the key to the value.
    Put(Bytes, Bytes),
    /// Sets the key, under which there is nothing: neither the key itself nor any that begins with it. If it is deleted
    /// before it reached the disk, nothing needs to be done there.
    Insert(Bytes, Bytes),
    /// Removes the key and every key that begins with it; harmless if there is none.
    Delete(Bytes),
}

/// What "stored" means to an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Taken into memory: lost with the process.
    Memory,
    /// Handed to the operating system: survives the death of the process, but not a power cut.
    Process,
    /// Synced to the disk: survives a power cut.
    Durable,
}

/// What is called for each key of a scan; it may end the scan.
pub type Each<'a> = dyn FnMut(&[u8], Bytes) -> ControlFlow<()> + 'a;

/// A place for durable facts and spools.
pub trait Store: Send {
    /// Takes changes under one sequence number greater than all before. All of them survive, or none.
    ///
    /// # Errors
    /// [`StoreError`]; the store must not be used again then.
    fn write_batch(
        &mut self,
        seq: u64,
        changes: &mut dyn Iterator<Item = Change>,
    ) -> Result<(), StoreError>;

    /// As [`Store::write_batch`], of changes that were gathered before.
    ///
    /// # Errors
    /// As [`Store::write_batch`].
    fn write_gathered(&mut self, seq: u64, batch: &mut Batch) -> Result<(), StoreError> {
        self.write_batch(seq, &mut batch.drain())
    }

    /// Takes one change under a sequence number greater than all before.
    ///
    /// # Errors
    /// As [`Store::write_batch`].
    fn write(&mut self, seq: u64, change: Change) -> Result<(), StoreError> {
        self.write_batch(seq, &mut iter::once(change))
    }

    /// Highest sequence number up to which all is stored in the sense of the owner's mode. May lag behind
    /// [`Store::write`].
    ///
    /// # Errors
    /// [`StoreError`]; nothing that was not reported stored before may be acknowledged then.
    fn stored(&mut self) -> Result<u64, StoreError>;

    /// As [`Store::stored`] in the sense of a mode. In a stronger one than the owner's it follows within seconds, or when
    /// somebody asks for a sync.
    ///
    /// # Errors
    /// As [`Store::stored`].
    fn stored_in(&mut self, _mode: Mode) -> Result<u64, StoreError> {
        self.stored()
    }

    /// Reads the value of a key, as the last write left it.
    ///
    /// # Errors
    /// [`StoreError`].
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Calls `each` for every key that begins with `prefix` and is greater than `after`, in the order of keys, until it
    /// breaks. An empty `after` is before all keys.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan_after(
        &self,
        prefix: &[u8],
        after: &[u8],
        each: &mut Each<'_>,
    ) -> Result<(), StoreError>;

    /// Calls `each` for every key that begins with `prefix`, in the order of keys.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], Bytes)) -> Result<(), StoreError> {
        self.scan_after(prefix, b"", &mut |key, value| {
            each(key, value);
            ControlFlow::Continue(())
        })
    }

    /// Appends to a spool; the first append creates it. What was appended before a write is stored when that write is.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::SpoolLimit`] leaves the store usable.
    fn spool_append(&mut self, spool: u64, bytes: Bytes) -> Result<(), StoreError>;

    /// Reads at least one and at most `len` bytes of a spool at `offset`, without copying where it can.
    ///
    /// # Errors
    /// [`StoreError::NoSpool`], [`StoreError::SpoolRange`].
    fn spool_read(&self, spool: u64, offset: u64, len: usize) -> Result<Bytes, StoreError>;

    /// Drops a spool; harmless if it is not there. To be called after the write that deletes the record naming it: a
    /// crash brings the spool back as long as it may bring back what was deleted before this call.
    ///
    /// # Errors
    /// [`StoreError`].
    fn spool_drop(&mut self, spool: u64) -> Result<(), StoreError>;
}
