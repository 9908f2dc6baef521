//! Messages that wait for their turn.

use alloc::{collections::VecDeque, sync::Arc};

use postrider_wire::QoS;

use crate::{Delivery, Message, Payload, Spools, session::tail::Tail};

/// A message that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Message number; 0 at QoS 0.
    pub(super) number: u64,
    /// Its place among all messages of this process, so that those of QoS 0 keep theirs among the others.
    pub(super) place: u64,
    pub(super) message: Arc<Message>,
    pub(super) delivery: Delivery,
    /// Bytes it counts for.
    pub(super) cost: u64,
}

/// The messages that wait, in order: those of QoS 0 apart, because they may be dropped, and pass others that wait for
/// quota.
///
/// ```text
/// next --> kept (in memory, up to a budget) --> tail (in the store only) --> last
/// ```
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// QoS 1 and 2, in ascending order of their numbers.
    kept: VecDeque<Waiting>,
    /// QoS 1 and 2, younger than all of `kept`.
    tail: Tail,
    /// QoS 0.
    loose: VecDeque<Waiting>,
    kept_bytes: u64,
    loose_bytes: u64,
    /// The place of the next message.
    place: u64,
}

impl Queue {
    /// Adds a message of QoS 0 at the end.
    pub(super) fn push_loose(&mut self, message: Arc<Message>, delivery: Delivery, cost: u64) {
        debug_assert!(delivery.qos == QoS::AtMostOnce);
        self.place += 1;
        self.loose_bytes += cost;
        self.loose.push_back(Waiting { number: 0, place: self.place, message, delivery, cost });
    }

    /// Adds a message of QoS 1 or 2 in the order of numbers, which is at the end but for recovery and lost sessions.
    /// A message with this number that waits already is replaced.
    ///
    /// `budget` is there if the store holds the message, or is about to: the bytes up to which the queue is kept in
    /// memory too. What does not fit, and what comes behind that, is only counted.
    pub(super) fn put(
        &mut self,
        number: u64,
        message: Arc<Message>,
        delivery: Delivery,
        budget: Option<u64>,
    ) {
        let cost = message.cost_bytes();
        self.place += 1;
        if let Some(budget) = budget {
            if self.tail.covers(number) {
                return self.tail.push(number, &message, cost);
            }
            let is_over = self.resident_bytes().saturating_add(cost + OVERHEAD) > budget;
            if let Some(last) = self.kept.back().filter(|last| is_over && last.number < number) {
                self.tail.begin(last.number, self.place);
                return self.tail.push(number, &message, cost);
            }
        }
        debug_assert!(!self.tail.covers(number), "the queue has an order");
        let waiting = Waiting { number, place: self.place, message, delivery, cost };
        self.insert(waiting);
    }

    /// Takes back a message that was in the tail.
    pub(super) fn put_back(&mut self, number: u64, mut message: Message, delivery: Delivery) {
        let cost = message.cost_bytes();
        let place = self.tail.place;
        let spool = self.tail.leave(number, cost);
        if let (Payload::Spooled { id, .. }, Some(kept)) = (&mut message.payload, spool) {
            *id = kept;
        }
        self.insert(Waiting { number, place, message: Arc::new(message), delivery, cost });
    }

    /// Moves what is over the budget from memory to the tail; the store holds all of it.
    pub(super) fn spill(&mut self, budget: u64) {
        if !self.tail.is_empty() {
            return;
        }
        let mut spilled = VecDeque::new();
        while self.resident_bytes() > budget && self.kept.len() > 1 {
            let Some(waiting) = self.kept.pop_back() else { break };
            self.kept_bytes -= waiting.cost;
            spilled.push_front(waiting);
        }
        if let Some(last) = self.kept.back() {
            self.tail.begin(last.number, last.place);
        }
        for waiting in spilled {
            self.tail.push(waiting.number, &waiting.message, waiting.cost);
        }
    }

    fn insert(&mut self, mut waiting: Waiting) {
        let number = waiting.number;
        self.kept_bytes += waiting.cost;
        if self.kept.back().is_none_or(|last| last.number < number) {
            self.kept.push_back(waiting);
            return;
        }
        match self.kept.binary_search_by_key(&number, |other| other.number) {
            Ok(at) => {
                if let Some(other) = self.kept.get_mut(at) {
                    self.kept_bytes -= other.cost;
                    *other = waiting;
                }
            }
            Err(at) => {
                // It waits in front of younger ones, so no message of QoS 0 stands before it either.
                waiting.place = 0;
                self.kept.insert(at, waiting);
            }
        }
    }

    /// Takes the message with this number out. One that only the store holds is no longer counted; `None` then.
    pub(super) fn take(&mut self, number: u64) -> Option<Waiting> {
        let is_first = self.kept.front().is_some_and(|first| first.number == number);
        if self.tail.has(number) {
            self.tail.leave(number, 0);
            return None;
        }
        let at = if is_first {
            0
        } else {
            self.kept.binary_search_by_key(&number, |other| other.number).ok()?
        };
        let waiting = self.kept.remove(at)?;
        self.kept_bytes -= waiting.cost;
        Some(waiting)
    }

    /// Whether the message with this number waits, here or in the store alone.
    pub(super) fn has(&self, number: u64) -> bool {
        self.tail.has(number)
            || self.kept.binary_search_by_key(&number, |other| other.number).is_ok()
    }

    /// What the message with this number counts for, if it is in memory.
    pub(super) fn cost(&self, number: u64) -> u64 {
        let at = self.kept.binary_search_by_key(&number, |other| other.number).ok();
        at.and_then(|at| self.kept.get(at)).map_or(0, |waiting| waiting.cost)
    }

    /// Takes the oldest message of QoS 0.
    pub(super) fn take_loose(&mut self) -> Option<Waiting> {
        let waiting = self.loose.pop_front()?;
        self.loose_bytes -= waiting.cost;
        Some(waiting)
    }

    /// As [`Spools::adopt`], for all that it holds.
    pub(super) fn adopt_spools(&mut self, spools: &mut Spools) {
        for waiting in &mut self.kept {
            spools.adopt_in(&mut waiting.message);
        }
        self.tail.adopt_spools(spools);
    }

    /// What only the store holds.
    pub(super) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// What only the store holds.
    pub(super) fn tail_mut(&mut self) -> &mut Tail {
        &mut self.tail
    }

    /// The oldest message of QoS 1 or 2, if it is in memory.
    pub(super) fn first(&self) -> Option<&Waiting> {
        self.kept.front()
    }

    /// The oldest message of QoS 0.
    pub(super) fn first_loose(&self) -> Option<&Waiting> {
        self.loose.front()
    }

    /// Those of QoS 1 and 2 in memory, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.kept.iter()
    }

    /// Messages of QoS 1 and 2.
    pub(super) fn kept_len(&self) -> u32 {
        len(&self.kept).saturating_add(self.tail.len())
    }

    /// Messages of QoS 0.
    pub(super) fn loose_len(&self) -> u32 {
        len(&self.loose)
    }

    /// Bytes of those of QoS 1 and 2.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept_bytes + self.tail.bytes()
    }

    /// Bytes of all.
    pub(super) fn bytes(&self) -> u64 {
        self.kept_bytes() + self.loose_bytes
    }

    /// What those of QoS 1 and 2 take in memory.
    pub(super) fn resident_bytes(&self) -> u64 {
        self.kept_bytes + self.kept.len() as u64 * OVERHEAD
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.loose.is_empty() && self.tail.is_empty()
    }
}

/// What a message takes in memory besides the bytes that it counts for.
const OVERHEAD: u64 = (size_of::<Waiting>() + size_of::<Message>()) as u64;

fn len(queue: &VecDeque<Waiting>) -> u32 {
    u32::try_from(queue.len()).unwrap_or(u32::MAX)
}
