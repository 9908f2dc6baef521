//! Where durable facts and large payloads live.
//!
//! The store knows no MQTT: records are opaque keys and values, spools are opaque bytes. This crate holds the trait and
//! the memory adapter.
#![forbid(unsafe_code)]

mod memory;

use bytes::Bytes;

pub use crate::memory::MemoryStore;

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets the key to the value.
    Put(Vec<u8>, Vec<u8>),
    /// Removes the key, if it is there.
    Delete(Vec<u8>),
}

/// Why a store failed. Final: stop acknowledging, say so, hang up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A spool that was never begun, or dropped already.
    #[error("spool {0} does not exist")]
    NoSpool(u64),
    /// A range past the end of a spool.
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

/// A place for durable facts and spools.
pub trait Store: Send {
    /// Takes one change under a sequence number greater than all before.
    ///
    /// # Errors
    /// [`StoreError`]; the store must not be used again then.
    fn write(&mut self, seq: u64, change: Change) -> Result<(), StoreError>;

    /// Highest sequence number up to which all is durable. May lag behind [`Store::write`].
    fn stored(&mut self) -> Result<u64, StoreError>;

    /// Reads the value of a key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Calls `each` for every key that begins with `prefix`, in the order of keys.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], Bytes)) -> Result<(), StoreError>;

    /// Appends to a spool; the first append creates it.
    ///
    /// # Errors
    /// [`StoreError`].
    fn spool_append(&mut self, spool: u64, bytes: Bytes) -> Result<(), StoreError>;

    /// Reads at least one and at most `len` bytes of a spool at `offset`, without copying where it can.
    ///
    /// # Errors
    /// [`StoreError::NoSpool`], [`StoreError::SpoolRange`].
    fn spool_read(&self, spool: u64, offset: u64, len: usize) -> Result<Bytes, StoreError>;

    /// Drops a spool; harmless if it is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    fn spool_drop(&mut self, spool: u64) -> Result<(), StoreError>;
}
