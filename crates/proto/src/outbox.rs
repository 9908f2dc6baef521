//! Bytes that wait to be written to one link.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::{Buf, Bytes};

use crate::SpoolId;

/// A payload up to this many bytes is copied behind its head: a copy is cheaper than one more piece of a vectored write.
pub(crate) const INLINE_BYTES_MAX: usize = 4096;
/// An empty outbox keeps a buffer up to this many bytes, enough for the packets of one wake-up of a busy link.
const BUFFER_BYTES_KEPT: usize = 64 * 1024;

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
/// ```text
/// buffer   [written|head payload head|head|head payload ...]     everything small, in order
/// parts            [Inline           |Shared|Inline|Spool|       only if something is not in the buffer;
///                                                                what follows the last part is the rest of the buffer
/// ```
///
/// Small payloads are copied behind their head, since a copy is cheaper than a vector entry. What is large of an empty
/// buffer is given back, and all of it when the link is quiet, so that ten thousand idle links cost nothing.
#[derive(Debug, Default)]
pub struct Outbox {
    buffer: Vec<u8>,
    /// First byte of `buffer` that is not written yet.
    read: usize,
    /// Where the parts end in `buffer`; meaningless while there are none.
    covered: usize,
    parts: VecDeque<Part>,
    /// Bytes of the parts that are not in `buffer`.
    apart: u64,
    /// Output from this position of `buffer` on is not shown yet. Set only while there are no parts.
    hold: Option<usize>,
    /// Bytes consumed since the link began.
    written: u64,
}

#[derive(Debug)]
enum Part {
    /// This many bytes of the buffer, at least one.
    Inline(usize),
    Shared(Bytes),
    Spool {
        id: SpoolId,
        offset: u32,
        len: u32,
    },
}

impl Outbox {
    /// Says that the first `bytes` were written.
    pub fn consume(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.len(), "more consumed than there was");
        let mut left = bytes.min(self.len());
        self.written += left;
        while left > 0 {
            left -= self.consume_part(left);
        }
        self.tidy();
    }

    /// Bytes not yet written. Output behind a CONNACK that waits for its gate does not count yet.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self.hold {
            Some(end) => (end - self.read) as u64,
            None => self.total(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes written since the link began. What is put in now is out once this has reached `written() + len()`.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The pieces in order, for one vectored write.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        let mut at = self.read;
        let mut slice = move |len: usize| {
            let bytes = self.buffer.get(at..at + len).unwrap_or_default();
            at += len;
            Chunk::Bytes(bytes)
        };
        let (shown, rest) = match self.hold {
            Some(end) => (0, end - self.read),
            None => (self.parts.len(), self.buffer.len() - self.parts_end()),
        };
        let last = (rest > 0).then_some(Piece::Inline(rest));
        let pieces = self.parts.iter().take(shown).map(Piece::of).chain(last);
        pieces.map(move |piece| match piece {
            Piece::Inline(len) => slice(len),
            Piece::Shared(bytes) => Chunk::Bytes(bytes),
            Piece::Spool { id, offset, len } => Chunk::Spool { id: id.clone(), offset, len },
        })
    }

    /// Where packets are encoded to: append only.
    pub(crate) fn buffer_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Adds a payload behind its head.
    pub(crate) fn push_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() <= INLINE_BYTES_MAX {
            self.buffer.extend_from_slice(bytes);
        } else {
            self.apart += bytes.len() as u64;
            self.push_part(Part::Shared(bytes.clone()));
        }
    }

    /// Adds a payload that is in a spool.
    pub(crate) fn push_spool(&mut self, id: &SpoolId, len: u32) {
        if len > 0 {
            self.apart += u64::from(len);
            self.push_part(Part::Spool { id: id.clone(), offset: 0, len });
        }
    }

    /// Does not show what is put in from now on, until [`Outbox::release`].
    pub(crate) fn hold(&mut self) {
        debug_assert!(self.parts.is_empty(), "only small packets may come before a hold");
        self.hold = Some(self.buffer.len());
    }

    /// Shows everything.
    pub(crate) fn release(&mut self) {
        self.hold = None;
    }

    /// Drops what is not shown.
    pub(crate) fn discard_held(&mut self) {
        if let Some(end) = self.hold.take() {
            self.parts.clear();
            self.apart = 0;
            self.buffer.truncate(end);
            self.tidy();
        }
    }

    /// Gives the buffer back if there is nothing in it, whatever its size: for a link that has been quiet.
    pub(crate) fn shrink(&mut self) {
        if self.total() == 0 {
            self.buffer = Vec::new();
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Bytes not yet written, held ones included.
    pub(crate) fn total(&self) -> u64 {
        self.in_memory() + self.apart
    }

    /// Bytes not yet written that only this outbox keeps in memory.
    pub(crate) fn in_memory(&self) -> u64 {
        (self.buffer.len() - self.read) as u64
    }

    /// Bytes of the buffer, by a position that [`Outbox::buffer_mut`] had in this same call.
    pub(crate) fn inline(&self, start: usize, len: usize) -> &[u8] {
        self.buffer.get(start..start + len).unwrap_or_default()
    }

    fn push_part(&mut self, part: Part) {
        let inline = self.buffer.len() - self.parts_end();
        if inline > 0 {
            self.parts.push_back(Part::Inline(inline));
        }
        self.covered = self.buffer.len();
        self.parts.push_back(part);
    }

    /// Consumes from the first piece at most `bytes`; returns how many, at least one.
    fn consume_part(&mut self, bytes: u64) -> u64 {
        let at_most = |len: usize| usize::try_from(bytes).map_or(len, |bytes| bytes.min(len));
        let (step, is_done) = match self.parts.front_mut() {
            None => {
                let step = at_most(self.buffer.len() - self.read);
                self.read += step;
                return step as u64;
            }
            Some(Part::Inline(len)) => {
                let step = at_most(*len);
                self.read += step;
                *len -= step;
                (step as u64, *len == 0)
            }
            Some(Part::Shared(bytes)) => {
                let step = at_most(bytes.len());
                bytes.advance(step);
                self.apart -= step as u64;
                (step as u64, bytes.is_empty())
            }
            Some(Part::Spool { offset, len, .. }) => {
                let step = u32::try_from(bytes).map_or(*len, |bytes| bytes.min(*len));
                *offset += step;
                *len -= step;
                self.apart -= u64::from(step);
                (u64::from(step), *len == 0)
            }
        };
        if is_done {
            self.parts.pop_front();
        }
        step
    }

    /// Frees what was written: at once if nothing is left, else when it is at least half of a large buffer, so that each
    /// byte is moved once at most on average.
    fn tidy(&mut self) {
        if self.total() == 0 {
            self.buffer.clear();
            if self.buffer.capacity() > BUFFER_BYTES_KEPT {
                // Not all of it: a link that is busy will have to grow it again.
                self.buffer.shrink_to(BUFFER_BYTES_KEPT);
            }
            (self.read, self.covered) = (0, 0);
            self.hold = self.hold.map(|_| 0);
        } else if self.read >= BUFFER_BYTES_KEPT && self.read >= self.buffer.len() - self.read {
            self.buffer.drain(..self.read);
            self.covered = self.covered.saturating_sub(self.read);
            self.hold = self.hold.map(|end| end - self.read);
            self.read = 0;
        }
    }

    fn parts_end(&self) -> usize {
        if self.parts.is_empty() { self.read } else { self.covered }
    }
}

/// A part, borrowed.
enum Piece<'a> {
    Inline(usize),
    Shared(&'a [u8]),
    Spool { id: &'a SpoolId, offset: u32, len: u32 },
}

impl<'a> Piece<'a> {
    fn of(part: &'a Part) -> Self {
        match part {
            Part::Inline(len) => Self::Inline(*len),
            Part::Shared(bytes) => Self::Shared(bytes),
            Part::Spool { id, offset, len } => Self::Spool { id, offset: *offset, len: *len },
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::Spools;

    /// What is put in.
    #[derive(Clone, Debug)]
    enum Put {
        Head(Vec<u8>),
        Payload(Vec<u8>),
        Spool(u32),
        /// Not a put: so many bytes (modulo what there is) are written.
        Consume(u64),
    }

    fn put() -> impl Strategy<Value = Put> {
        let bytes = |len| proptest::collection::vec(any::<u8>(), len);
        let around = INLINE_BYTES_MAX - 1..INLINE_BYTES_MAX + 2;
        prop_oneof![
            4 => bytes(1..60).prop_map(Put::Head),
            1 => bytes(20_000..40_000).prop_map(Put::Head),
            3 => bytes(0..60).prop_map(Put::Payload),
            2 => bytes(around).prop_map(Put::Payload),
            1 => (0..9000u32).prop_map(Put::Spool),
            5 => (1..200u64).prop_map(Put::Consume),
            5 => any::<u64>().prop_map(Put::Consume),
        ]
    }

    /// The bytes of all chunks; spool ranges as their offsets, low byte.
    fn flat(outbox: &Outbox) -> Vec<u8> {
        let mut flat = Vec::new();
        for chunk in outbox.chunks() {
            match chunk {
                Chunk::Bytes(bytes) => {
                    assert!(!bytes.is_empty(), "no empty pieces");
                    flat.extend_from_slice(bytes);
                }
                Chunk::Spool { offset, len, .. } => {
                    assert!(len > 0, "no empty pieces");
                    flat.extend((offset..offset + len).map(|at| at as u8));
                }
            }
        }
        flat
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However it is consumed, the same bytes come out in the same order.
        #[test]
        fn any_consumption_gives_the_same_bytes(puts in proptest::collection::vec(put(), 0..60)) {
            let mut outbox = Outbox::default();
            let mut spools = Spools::new(u64::MAX);
            let mut model: Vec<u8> = vec![];
            let mut consumed = 0;
            for put in puts {
                match put {
                    Put::Head(bytes) => {
                        outbox.buffer_mut().extend_from_slice(&bytes);
                        model.extend_from_slice(&bytes);
                    }
                    Put::Payload(bytes) => {
                        outbox.push_bytes(&Bytes::from(bytes.clone()));
                        model.extend_from_slice(&bytes);
                    }
                    Put::Spool(len) => {
                        let id = spools.begin(len).expect("no limit");
                        outbox.push_spool(&id, len);
                        model.extend((0..len).map(|at| at as u8));
                    }
                    Put::Consume(bytes) => {
                        let bytes = bytes % (outbox.len() + 1);
                        outbox.consume(bytes);
                        consumed += bytes;
                        model.drain(..bytes as usize);
                    }
                }
                prop_assert_eq!(outbox.len(), model.len() as u64);
                prop_assert_eq!(outbox.written(), consumed);
                prop_assert!(flat(&outbox) == model);
                // Written bytes do not pile up.
                prop_assert!(outbox.read <= BUFFER_BYTES_KEPT.max(outbox.buffer.len() / 2));
            }
        }

        /// What is held is not seen, cannot be consumed, and is all there when it is released, or gone.
        #[test]
        fn held_output_is_not_shown(
            puts in proptest::collection::vec(put(), 0..20),
            front in proptest::collection::vec(any::<u8>(), 0..9),
            is_discarded in any::<bool>(),
        ) {
            let mut outbox = Outbox::default();
            let mut spools = Spools::new(u64::MAX);
            outbox.buffer_mut().extend_from_slice(&front);
            outbox.hold();
            let mut model = front;
            let mut shown = model.len();
            for put in puts {
                match put {
                    Put::Head(bytes) => {
                        outbox.buffer_mut().extend_from_slice(&bytes);
                        model.extend_from_slice(&bytes);
                    }
                    Put::Payload(bytes) => {
                        outbox.push_bytes(&Bytes::from(bytes.clone()));
                        model.extend_from_slice(&bytes);
                    }
                    Put::Spool(len) => {
                        let id = spools.begin(len).expect("no limit");
                        outbox.push_spool(&id, len);
                        model.extend((0..len).map(|at| at as u8));
                    }
                    Put::Consume(bytes) => {
                        let bytes = bytes % (outbox.len() + 1);
                        outbox.consume(bytes);
                        shown -= bytes as usize;
                        model.drain(..bytes as usize);
                    }
                }
                prop_assert_eq!(outbox.len(), shown as u64);
                prop_assert!(flat(&outbox) == model[..shown]);
                prop_assert_eq!(outbox.total(), model.len() as u64);
            }
            if is_discarded {
                outbox.discard_held();
                model.truncate(shown);
            } else {
                outbox.release();
            }
            prop_assert!(flat(&outbox) == model);
            prop_assert_eq!(outbox.len(), model.len() as u64);
        }
    }

    #[test]
    fn small_payloads_share_the_buffer_and_large_ones_do_not() {
        let mut outbox = Outbox::default();
        outbox.buffer_mut().push(1);
        outbox.push_bytes(&Bytes::from(vec![2; INLINE_BYTES_MAX]));
        assert_eq!(outbox.chunks().count(), 1);
        let large = Bytes::from(vec![3; INLINE_BYTES_MAX + 1]);
        outbox.push_bytes(&large);
        let chunks: Vec<Chunk<'_>> = outbox.chunks().collect();
        let [Chunk::Bytes(_), Chunk::Bytes(shared)] = chunks[..] else { panic!("{chunks:?}") };
        assert_eq!(shared.as_ptr(), large.as_ptr(), "not copied");
        assert_eq!(outbox.in_memory(), 1 + INLINE_BYTES_MAX as u64);
    }

    #[test]
    fn an_empty_outbox_keeps_a_small_buffer_only() {
        let mut outbox = Outbox::default();
        outbox.buffer_mut().extend_from_slice(&[0; 1000]);
        outbox.consume(1000);
        assert!(outbox.buffer.capacity() >= 1000);
        outbox.shrink();
        assert_eq!(outbox.buffer.capacity(), 0);
        outbox.buffer_mut().extend_from_slice(&[0; BUFFER_BYTES_KEPT + 1]);
        outbox.consume(outbox.len());
        assert_eq!(outbox.buffer.capacity(), BUFFER_BYTES_KEPT);
        assert!(outbox.is_empty());
    }
}
