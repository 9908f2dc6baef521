//! The younger part of a queue, which only the store holds.

use alloc::collections::BTreeMap;

use crate::{Message, Payload, SpoolId, Spools};

/// Counts of the messages that wait in the store and not in memory. All of them are younger than those in memory, so
/// that the queue is read back in its order: whatever message of this session stands in the store behind the number
/// `after`, and is no flight, belongs here.
#[derive(Debug, Default)]
pub(super) struct Tail {
    messages: u32,
    /// May be too high after a message was given up unread; right again once the tail is empty.
    bytes: u64,
    /// The number of the youngest message that is not in the tail, but older than all that are.
    after: u64,
    /// The number of the youngest message.
    last: u64,
    /// The place of its messages among those of QoS 0: where the tail began.
    pub(super) place: u64,
    /// Spools of large payloads. A message that is not in memory would let go of its spool.
    spools: BTreeMap<u64, (SpoolId, u32)>,
    /// While a page is on its way: the youngest message at the time of asking.
    asked: Option<u64>,
}

impl Tail {
    /// Begins behind the message `after`.
    pub(super) fn begin(&mut self, after: u64, place: u64) {
        debug_assert!(self.is_empty(), "a tail begins once");
        self.after = after;
        self.last = after;
        self.place = place;
    }

    /// Adds a message that is in the store, or on its way there. One that is here already changes nothing.
    pub(super) fn push(&mut self, number: u64, message: &Message, cost: u64) {
        if number <= self.last {
            return;
        }
        self.last = number;
        self.messages = self.messages.saturating_add(1);
        self.bytes += cost;
        if let Payload::Spooled { id, len } = &message.payload {
            self.spools.insert(number, (id.clone(), *len));
        }
    }

    /// A message left the tail from its front, with what it was counted for, or from anywhere, unread. Returns its
    /// spool.
    pub(super) fn leave(&mut self, number: u64, cost: u64) -> Option<SpoolId> {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = if self.is_empty() { 0 } else { self.bytes.saturating_sub(cost) };
        self.spools.remove(&number).map(|(id, _)| id)
    }

    /// All up to this number have left.
    pub(super) fn pass(&mut self, number: u64) {
        self.after = self.after.max(number);
    }

    /// A page is asked for.
    pub(super) fn ask(&mut self) {
        self.asked = Some(self.last);
    }

    /// The page came. Returns the youngest message at the time of asking; `None` if no page was asked for.
    pub(super) fn answer(&mut self) -> Option<u64> {
        self.asked.take()
    }

    /// The store holds nothing up to `asked` that was not handed over. Returns how many are missing: those that were
    /// counted, if none was added since.
    pub(super) fn end(&mut self, asked: u64) -> u32 {
        self.pass(asked);
        if asked < self.last {
            return 0;
        }
        self.bytes = 0;
        self.spools.clear();
        core::mem::take(&mut self.messages)
    }

    /// As [`Spools::adopt`], for all that it holds.
    pub(super) fn adopt_spools(&mut self, spools: &mut Spools) {
        for (id, len) in self.spools.values_mut() {
            *id = spools.adopt(id, *len);
        }
    }

    /// Whether a page is on its way.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// The number behind which its messages stand.
    pub(super) fn after(&self) -> u64 {
        self.after
    }

    /// Whether a message with this number would stand here.
    pub(super) fn covers(&self, number: u64) -> bool {
        !self.is_empty() && number > self.after
    }

    /// Whether a message with this number is here, as far as is known.
    pub(super) fn has(&self, number: u64) -> bool {
        self.covers(number) && number <= self.last
    }

    /// Whether it holds the spool of this message.
    pub(super) fn has_spool(&self, number: u64) -> bool {
        self.spools.contains_key(&number)
    }

    pub(super) fn len(&self) -> u32 {
        self.messages
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }
}
