//! Payloads too large for memory: named here, kept by the driver.

use alloc::sync::Arc;

use bytes::Bytes;

/// Names a spool. Cloned with every reference to the payload; when only the [`Spools`] own copy is left, the spool is
/// dropped at the next drain.
#[derive(Clone, Debug)]
pub struct SpoolId(pub(crate) Arc<u64>);

impl SpoolId {
    /// The number of the spool, never reused in one run.
    #[must_use]
    pub fn number(&self) -> u64 {
        *self.0
    }
}

impl PartialEq for SpoolId {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}
impl Eq for SpoolId {}

/// What the driver must do with spools, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolOutput {
    /// Append these bytes to the spool with this number; the first chunk creates it.
    Append(u64, Bytes),
    /// Drop the spool with this number.
    Drop(u64),
}

/// The spools of one machine: numbers, the total of bytes against its limit, and outputs for the driver.
#[derive(Debug)]
pub struct Spools {}

impl Spools {
    /// No spools yet; at most `bytes_max` in all.
    #[must_use]
    pub fn new(_bytes_max: u64) -> Self {
        todo!()
    }

    /// Begins a spool of `len` bytes; `None` if the total would pass the limit.
    pub fn begin(&mut self, _len: u32) -> Option<SpoolId> {
        todo!()
    }

    /// Appends to a spool.
    pub fn append(&mut self, _id: &SpoolId, _bytes: Bytes) {
        todo!()
    }

    /// The next thing to do; also drops spools that nobody refers to.
    pub fn poll_output(&mut self) -> Option<SpoolOutput> {
        todo!()
    }
}
