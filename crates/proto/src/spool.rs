//! Payloads too large for memory: named here, kept by the driver.

use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::{Message, Payload};

/// Names a spool. Cloned with every reference to the payload; when the last clone is gone, the spool is dropped at the
/// next drain of its [`Spools`].
#[derive(Clone, Debug)]
pub struct SpoolId(Arc<Handle>);

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
pub struct Spools {
    /// Announced bytes of all live spools together stay at or below this; stops peers from filling the disk.
    bytes_max: u64,
    bytes: u64,
    number_next: u64,
    /// From one number to the next.
    number_step: u64,
    live: BTreeMap<u64, Live>,
    outputs: VecDeque<SpoolOutput>,
    /// Counts handles that were dropped, wherever that happened; `swept` is its value at the last sweep.
    released: Arc<AtomicU64>,
    swept: u64,
}

/// What all clones of one [`SpoolId`] share.
#[derive(Debug)]
struct Handle {
    number: u64,
    released: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Live {
    handle: Weak<Handle>,
    len: u32,
    /// Whether the driver was told of it.
    is_created: bool,
    /// Whether the driver had no room for some of it.
    has_failed: bool,
    /// Whether records name it from the beginning.
    is_kept: bool,
}

impl SpoolId {
    /// The id of a spool as read back from a store, before [`Spools::adopt`]. Nothing is dropped with it.
    #[must_use]
    pub fn stored(number: u64) -> Self {
        Self(Arc::new(Handle { number, released: Arc::default() }))
    }

    /// The number of the spool, never reused in one run.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }
}

impl PartialEq for SpoolId {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}
impl Eq for SpoolId {}

impl Drop for Handle {
    fn drop(&mut self) {
        self.released.fetch_add(1, Ordering::Release);
    }
}

impl Spools {
    /// No spools yet; at most `bytes_max` in all.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self::numbered(bytes_max, 1, 1)
    }

    /// As [`Spools::new`], with the numbers `first`, `first + step` and so on: several machines that share one store
    /// take the same step and different first numbers.
    #[must_use]
    pub fn numbered(bytes_max: u64, first: u64, step: u64) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            number_next: first,
            number_step: step,
            live: BTreeMap::new(),
            outputs: VecDeque::new(),
            released: Arc::default(),
            swept: 0,
        }
    }

    /// Begins a spool of `len` bytes; `None` if the total would pass the limit.
    pub fn begin(&mut self, len: u32) -> Option<SpoolId> {
        self.sweep();
        let bytes = self.bytes.checked_add(u64::from(len)).filter(|sum| *sum <= self.bytes_max)?;
        self.bytes = bytes;
        let number = self.number_next;
        self.number_next += self.number_step;
        let id = SpoolId(Arc::new(Handle { number, released: Arc::clone(&self.released) }));
        let live = Live {
            handle: Arc::downgrade(&id.0),
            len,
            is_created: false,
            has_failed: false,
            is_kept: false,
        };
        self.live.insert(number, live);
        Some(id)
    }

    /// [`Spools::begin`] for a spool that records name in the same drain: without room for it the store has failed.
    pub fn begin_kept(&mut self, len: u32) -> Option<SpoolId> {
        let id = self.begin(len)?;
        if let Some(live) = self.live.get_mut(&id.number()) {
            live.is_kept = true;
        }
        Some(id)
    }

    /// [`Spools::begin`] for a spool to which the driver appends by itself, so that it must be told to drop it.
    pub fn begin_filled(&mut self, len: u32) -> Option<SpoolId> {
        let id = self.begin(len)?;
        if let Some(live) = self.live.get_mut(&id.number()) {
            live.is_created = true;
        }
        Some(id)
    }

    /// Takes in a spool of `len` bytes that a store held: from now on it counts, its number is not given out, and it is
    /// dropped with its last id. May be called again for the same spool.
    pub fn adopt(&mut self, stored: &SpoolId, len: u32) -> SpoolId {
        let number = stored.number();
        self.reserve(number);
        let known = self.live.get(&number).and_then(|live| live.handle.upgrade());
        if let Some(handle) = known {
            return SpoolId(handle);
        }
        let id = SpoolId(Arc::new(Handle { number, released: Arc::clone(&self.released) }));
        let live = Live {
            handle: Arc::downgrade(&id.0),
            len,
            is_created: true,
            has_failed: false,
            is_kept: true,
        };
        self.bytes += u64::from(len);
        if let Some(old) = self.live.insert(number, live) {
            self.bytes -= u64::from(old.len);
        }
        id
    }

    /// As [`Spools::adopt`], for the payload of a message.
    pub fn adopt_in(&mut self, message: &mut Arc<Message>) {
        if let Payload::Spooled { id, len } = &message.payload {
            let payload = Payload::Spooled { id: self.adopt(id, *len), len: *len };
            Arc::make_mut(message).payload = payload;
        }
    }

    /// Keeps `number`, and all below it, from being given out.
    pub fn reserve(&mut self, number: u64) {
        if number >= self.number_next {
            let steps = (number - self.number_next) / self.number_step + 1;
            self.number_next += steps * self.number_step;
        }
    }

    /// Appends to a spool that these spools began; to another one, nothing happens.
    pub fn append(&mut self, id: &SpoolId, bytes: Bytes) {
        if let Some(live) = self.live.get_mut(&id.number())
            && !live.has_failed
        {
            live.is_created = true;
            self.outputs.push_back(SpoolOutput::Append(id.number(), bytes));
        }
    }

    /// The driver had no room for what it was to append. Returns whether the message can be refused: no record names it.
    pub fn fail(&mut self, number: u64) -> bool {
        self.live.get_mut(&number).is_none_or(|live| {
            live.has_failed = true;
            !live.is_kept
        })
    }

    /// Whether a spool lacks bytes for which there was no room.
    #[must_use]
    pub fn has_failed(&self, id: &SpoolId) -> bool {
        self.live.get(&id.number()).is_some_and(|live| live.has_failed)
    }

    /// The next thing to do; also drops spools that nobody refers to.
    pub fn poll_output(&mut self) -> Option<SpoolOutput> {
        if self.outputs.is_empty() {
            self.sweep();
        }
        self.outputs.pop_front()
    }

    /// Whether a spool may have to be dropped.
    #[must_use]
    pub fn has_released(&self) -> bool {
        self.released.load(Ordering::Acquire) != self.swept
    }

    /// Announced bytes of all live spools.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lets go of spools whose last id is gone. Costs nothing while none is.
    fn sweep(&mut self) {
        // Read before looking: a handle that goes meanwhile is counted again and found by the next sweep.
        let released = self.released.load(Ordering::Acquire);
        if released == self.swept {
            return;
        }
        self.swept = released;
        let is_gone = |live: &Live| live.handle.strong_count() == 0;
        let gone: Vec<u64> =
            self.live.iter().filter(|(_, live)| is_gone(live)).map(|(number, _)| *number).collect();
        for number in gone {
            if let Some(live) = self.live.remove(&number) {
                self.bytes -= u64::from(live.len);
                if live.is_created {
                    self.outputs.push_back(SpoolOutput::Drop(number));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_is_created_by_its_first_chunk_and_dropped_with_its_last_id() {
        let mut spools = Spools::new(100);
        let id = spools.begin(10).expect("fits");
        let copy = id.clone();
        spools.append(&id, Bytes::from_static(b"01234"));
        spools.append(&id, Bytes::from_static(b"56789"));
        drop(id);
        let number = copy.number();
        let append = |bytes| Some(SpoolOutput::Append(number, Bytes::from_static(bytes)));
        assert_eq!(spools.poll_output(), append(b"01234"));
        assert_eq!(spools.poll_output(), append(b"56789"));
        assert_eq!(spools.poll_output(), None);
        drop(copy);
        assert_eq!(spools.poll_output(), Some(SpoolOutput::Drop(number)));
        assert_eq!(spools.poll_output(), None);
    }

    #[test]
    fn the_limit_holds_at_under_and_over_it() {
        let mut spools = Spools::new(100);
        let first = spools.begin(99).expect("under");
        assert!(spools.begin(2).is_none());
        let second = spools.begin(1).expect("at");
        assert!(spools.begin(1).is_none());
        assert_eq!(spools.bytes(), 100);
        drop(first);
        assert!(spools.begin(99).is_some());
        drop(second);
    }

    #[test]
    fn a_spool_without_a_chunk_is_nothing_to_the_driver() {
        let mut spools = Spools::new(100);
        drop(spools.begin(100));
        assert_eq!(spools.poll_output(), None);
        assert_eq!(spools.bytes(), 0);
    }

    #[test]
    fn a_spool_that_the_driver_fills_is_dropped_with_its_last_id() {
        let mut spools = Spools::new(100);
        let id = spools.begin_filled(100).expect("fits");
        assert!(spools.begin_filled(1).is_none());
        let number = id.number();
        assert_eq!(spools.poll_output(), None);
        drop(id);
        assert_eq!(spools.poll_output(), Some(SpoolOutput::Drop(number)));
        assert_eq!(spools.bytes(), 0);
    }

    #[test]
    fn numbers_are_not_reused() {
        let mut spools = Spools::new(100);
        let first = spools.begin(1).map(|id| id.number());
        let second = spools.begin(1).map(|id| id.number());
        assert_ne!(first, second);
    }

    #[test]
    fn a_stored_spool_counts_keeps_its_number_and_goes_with_its_last_id() {
        let mut spools = Spools::numbered(100, 2, 2);
        let first = spools.adopt(&SpoolId::stored(5), 60);
        let again = spools.adopt(&SpoolId::stored(5), 60);
        assert_eq!(spools.bytes(), 60);
        assert!(spools.begin(41).is_none());
        assert_eq!(spools.begin(40).map(|id| id.number()), Some(6));
        drop(first);
        assert_eq!(spools.poll_output(), None);
        drop(again);
        let once_more = spools.adopt(&SpoolId::stored(5), 60);
        assert_eq!((spools.poll_output(), spools.bytes()), (None, 60));
        drop(once_more);
        assert_eq!(spools.poll_output(), Some(SpoolOutput::Drop(5)));
        assert_eq!((spools.poll_output(), spools.bytes()), (None, 0));
    }

    #[test]
    fn machines_with_one_store_take_different_numbers() {
        let numbers = |first| {
            let mut spools = Spools::numbered(100, first, 2);
            [1, 2, 3].map(|len| spools.begin(len).map(|id| id.number()))
        };
        assert_eq!(numbers(1), [Some(1), Some(3), Some(5)]);
        assert_eq!(numbers(2), [Some(2), Some(4), Some(6)]);
    }
}
