//! Numbers records and remembers how far the store is.

use alloc::collections::VecDeque;

use crate::{
    Record,
    mutation::{Mutation, planted},
};

/// What an output waits for: a record to be stored, and a fence of the peer hubs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Sequence number that must be stored; 0 waits for nothing.
    pub stored: u64,
    /// Fence that all peers must have answered; 0 waits for nothing.
    pub fence: u64,
}

/// Numbers records and remembers how far the store is.
///
/// With durability off nothing is handed out and everything counts as stored.
#[derive(Debug)]
pub struct Journal {
    is_on: bool,
    /// Records that the driver has not fetched, in the order of their numbers.
    pending: VecDeque<(u64, Record)>,
    /// The last number given.
    last: u64,
    stored: u64,
}

impl Journal {
    /// A journal; `is_on` says whether there is a store behind it.
    #[must_use]
    pub fn new(is_on: bool) -> Self {
        Self { is_on, pending: VecDeque::new(), last: 0, stored: 0 }
    }

    /// Takes a record; returns its sequence number (from 1), or 0 if nothing must be waited for.
    pub fn write(&mut self, record: Record) -> u64 {
        if !self.is_on {
            return 0;
        }
        self.last += 1;
        self.pending.push_back((self.last, record));
        self.last
    }

    /// Everything up to `seq` is durable.
    pub fn handle_stored(&mut self, seq: u64) {
        debug_assert!(seq <= self.last, "stored {seq}, but only {} were given", self.last);
        self.stored = self.stored.max(seq);
    }

    /// The next record for the store, in order.
    pub fn poll_record(&mut self) -> Option<(u64, Record)> {
        self.pending.pop_front()
    }

    /// Whether `seq` is durable.
    #[must_use]
    pub fn is_stored(&self, seq: u64) -> bool {
        seq <= self.stored()
    }

    /// Highest durable number; the highest of all numbers when nothing needs to be stored.
    #[must_use]
    pub fn stored(&self) -> u64 {
        if self.is_on && !planted(Mutation::StoredAtOnce) { self.stored } else { u64::MAX }
    }

    /// Whether there is a store, so that records are worth making.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fact;

    #[test]
    fn records_are_numbered_and_come_out_in_order() {
        let mut journal = Journal::new(true);
        let record = |owner| Record { owner, fact: Fact::WillGone };
        assert_eq!([journal.write(record(7)), journal.write(record(8))], [1, 2]);
        assert_eq!(journal.poll_record(), Some((1, record(7))));
        assert!(journal.is_stored(0));
        assert!(!journal.is_stored(1));
        journal.handle_stored(1);
        assert!(journal.is_stored(1));
        assert!(!journal.is_stored(2));
        assert_eq!(journal.stored(), 1);
        assert_eq!(journal.poll_record(), Some((2, record(8))));
        assert_eq!(journal.poll_record(), None);
    }

    #[test]
    fn without_a_store_nothing_waits() {
        let mut journal = Journal::new(false);
        assert_eq!(journal.write(Record { owner: 0, fact: Fact::SessionGone }), 0);
        assert_eq!(journal.poll_record(), None);
        assert!(journal.is_stored(u64::MAX));
    }
}
