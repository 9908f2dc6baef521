//! Numbers records and remembers how far the store is.

use alloc::{collections::VecDeque, vec::Vec};

use crate::{
    Record,
    mutation::{Mutation, planted},
};

/// What "stored" must mean before a link hears of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Nothing waits; lost with the process.
    Memory,
    /// Handed to the operating system: survives the death of the process, but not a power cut.
    Process,
    /// Synced to the disk: survives a power cut.
    #[default]
    Durable,
}

/// How far a store is in each sense, in sequence numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    handed: u64,
    synced: u64,
}

impl Progress {
    /// The highest number that is stored in this sense.
    #[must_use]
    pub fn stored(self, durability: Durability) -> u64 {
        match durability {
            Durability::Memory => u64::MAX,
            Durability::Process => self.handed,
            Durability::Durable if planted(Mutation::HandedIsSynced) => self.handed,
            Durability::Durable => self.synced,
        }
    }
}

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
    progress: Progress,
}

impl Journal {
    /// A journal; `is_on` says whether there is a store behind it.
    #[must_use]
    pub fn new(is_on: bool) -> Self {
        Self { is_on, pending: VecDeque::new(), last: 0, progress: Progress::default() }
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

    /// Takes records that survive together or not at all, under one sequence number; returns it, or 0.
    pub fn write_batch(&mut self, records: impl IntoIterator<Item = Record>) -> u64 {
        if !self.is_on {
            return 0;
        }
        self.last += 1;
        for record in records {
            self.pending.push_back((self.last, record));
        }
        self.last
    }

    /// Everything up to `seq` is durable.
    pub fn handle_stored(&mut self, seq: u64) {
        debug_assert!(seq <= self.last, "stored {seq}, but only {} were given", self.last);
        self.progress.synced = self.progress.synced.max(seq);
        self.handle_handed(seq);
    }

    /// Everything up to `seq` survives the process, but not a power cut.
    pub fn handle_handed(&mut self, seq: u64) {
        debug_assert!(seq <= self.last, "handed over {seq}, but only {} were given", self.last);
        self.progress.handed = self.progress.handed.max(seq);
    }

    /// The next record for the store, in order. Of a batch, the first; [`Journal::poll_rest`] must follow.
    pub fn poll_record(&mut self) -> Option<(u64, Record)> {
        self.pending.pop_front()
    }

    /// The rest of the batch with this number; nothing where there was no batch.
    pub fn poll_rest(&mut self, seq: u64) -> Vec<Record> {
        let mut rest = Vec::new();
        while let Some((_, record)) = self.pending.pop_front_if(|(found, _)| *found == seq) {
            rest.push(record);
        }
        rest
    }

    /// The last number given; 0 if none was.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether `seq` is stored in this sense.
    #[must_use]
    pub fn is_stored(&self, seq: u64, durability: Durability) -> bool {
        seq <= self.progress().stored(durability)
    }

    /// How far the store is; at the highest of all numbers when nothing needs to be stored.
    #[must_use]
    pub fn progress(&self) -> Progress {
        if !self.is_on {
            return Progress { handed: u64::MAX, synced: u64::MAX };
        }
        self.progress
    }

    /// Highest durable number, as [`Journal::progress`].
    #[must_use]
    pub fn stored(&self) -> u64 {
        if planted(Mutation::StoredAtOnce) {
            u64::MAX
        } else {
            self.progress().stored(Durability::Durable)
        }
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
        let is_stored = |journal: &Journal, seq| {
            [Durability::Memory, Durability::Process, Durability::Durable]
                .map(|durability| journal.is_stored(seq, durability))
        };
        assert_eq!(is_stored(&journal, 0), [true; 3]);
        assert_eq!(is_stored(&journal, 1), [true, false, false]);
        journal.handle_handed(1);
        assert_eq!(is_stored(&journal, 1), [true, true, false]);
        journal.handle_stored(1);
        assert_eq!(is_stored(&journal, 1), [true; 3]);
        assert_eq!(is_stored(&journal, 2), [true, false, false]);
        assert_eq!(journal.stored(), 1);
        assert_eq!(journal.poll_record(), Some((2, record(8))));
        assert_eq!(journal.poll_record(), None);
    }

    #[test]
    fn a_batch_has_one_number() {
        let mut journal = Journal::new(true);
        let record = |owner| Record { owner, fact: Fact::WillGone };
        assert_eq!(journal.write_batch([record(1), record(2), record(3)]), 1);
        assert_eq!(journal.write(record(4)), 2);
        assert_eq!(journal.poll_record(), Some((1, record(1))));
        assert_eq!(journal.poll_rest(1), [record(2), record(3)]);
        assert_eq!(journal.poll_record(), Some((2, record(4))));
        assert_eq!(journal.poll_rest(2), []);
    }

    #[test]
    fn without_a_store_nothing_waits() {
        let mut journal = Journal::new(false);
        assert_eq!(journal.write(Record { owner: 0, fact: Fact::SessionGone }), 0);
        assert_eq!(journal.poll_record(), None);
        assert!(journal.is_stored(u64::MAX, Durability::Durable));
    }
}
