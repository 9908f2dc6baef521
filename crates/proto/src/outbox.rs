//! Bytes that wait to be written to one link.

use crate::SpoolId;

/// A piece of output, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Bytes to write.
    Bytes(&'a [u8]),
    /// A range of a spool: read it (in pieces of any size) and write it.
    Spool {
        /// Which spool.
        id: SpoolId,
        /// First byte.
        offset: u32,
        /// Number of bytes.
        len: u32,
    },
}

/// Output of one link: encoded packets in one growing buffer, large payloads shared.
///
/// Small payloads are copied behind their head, since a copy is cheaper than a vector entry. The buffer is given back
/// when it is empty and large, so that ten thousand idle links cost nothing.
#[derive(Debug, Default)]
pub struct Outbox {}

impl Outbox {
    /// Bytes not yet written.
    #[must_use]
    pub fn len(&self) -> u64 {
        todo!()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces in order, for one vectored write.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        core::iter::empty()
    }

    /// Says that the first `bytes` were written.
    pub fn consume(&mut self, _bytes: u64) {
        todo!()
    }
}
