//! Acknowledgements that wait until what they confirm is stored.

use alloc::{collections::VecDeque, vec::Vec};

use crate::{Gate, Outbox};

/// Encoded packets behind closed gates, in the order in which they must leave.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// How far gates are open.
    opened: Gate,
    /// One entry per run of packets with the same gate; empty if and only if `bytes` is.
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// First byte of `bytes` that has not left.
    start: usize,
    /// Sums of all entries.
    tally: Tally,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    gate: Gate,
    len: usize,
    tally: Tally,
}

/// What packets mean for the peer's PUBLISHes once they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// PUBLISHes whose exchange they finish, so that the peer may begin another one (5.0).
    pub(crate) finished: u32,
    /// PUBLISHes that they answer by PUBACK or PUBREC.
    pub(crate) answered: u32,
}

impl Held {
    /// Whether a packet with this gate cannot leave at once, because of its gate or of those in front of it.
    pub(crate) fn must_wait(&self, gate: Gate) -> bool {
        !self.entries.is_empty() || !self.is_open(gate)
    }

    /// Whether nothing stands in the way of `gate` itself.
    pub(crate) fn is_open(&self, gate: Gate) -> bool {
        gate.is_within(self.opened)
    }

    /// Where packets are encoded to before [`Held::push`]: append only.
    pub(crate) fn buffer_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Takes the last `len` bytes of the buffer as one packet.
    pub(crate) fn push(&mut self, gate: Gate, len: usize, tally: Tally) {
        self.tally.add(tally);
        match self.entries.back_mut() {
            // It waits for the one in front anyway.
            Some(last) if gate.is_within(last.gate) => {
                last.len += len;
                last.tally.add(tally);
            }
            _ => self.entries.push_back(Entry { gate, len, tally }),
        }
    }

    /// Moves on to `gate` and writes what it lets through.
    pub(crate) fn open(&mut self, gate: Gate, outbox: &mut Outbox) -> Tally {
        self.opened.stored = self.opened.stored.max(gate.stored);
        self.opened.fence = self.opened.fence.max(gate.fence);
        let mut released = Tally::default();
        let mut end = self.start;
        while let Some(entry) = self.entries.front().filter(|entry| self.is_open(entry.gate)) {
            end += entry.len;
            released.add(entry.tally);
            self.entries.pop_front();
        }
        outbox.buffer_mut().extend_from_slice(self.bytes.get(self.start..end).unwrap_or_default());
        self.start = end;
        self.tally.finished -= released.finished;
        self.tally.answered -= released.answered;
        self.tidy();
        released
    }

    /// Forgets how far gates are open. Nothing must wait.
    pub(crate) fn close(&mut self) {
        debug_assert!(self.entries.is_empty(), "what waits belongs to the old count");
        self.opened = Gate::default();
    }

    /// Forgets everything that waits: the link ends before it could be said.
    pub(crate) fn clear(&mut self) {
        *self = Self { opened: self.opened, ..Self::default() };
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn tidy(&mut self) {
        if self.entries.is_empty() {
            self.bytes.clear();
            self.start = 0;
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.finished += other.finished;
        self.answered += other.answered;
    }
}

impl Gate {
    /// Whether this gate is open when everything up to `opened` is.
    fn is_within(self, opened: Self) -> bool {
        self.stored <= opened.stored && self.fence <= opened.fence
    }
}
