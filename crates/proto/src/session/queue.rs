//! Messages that wait for their turn.

use alloc::{collections::VecDeque, sync::Arc};

use postrider_wire::QoS;

use crate::{Delivery, Message};

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
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// QoS 1 and 2, in ascending order of their numbers.
    kept: VecDeque<Waiting>,
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
    pub(super) fn put(&mut self, number: u64, message: Arc<Message>, delivery: Delivery) {
        let cost = message.cost_bytes();
        self.place += 1;
        let mut waiting = Waiting { number, place: self.place, message, delivery, cost };
        self.kept_bytes += cost;
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

    /// Takes the message with this number out.
    pub(super) fn take(&mut self, number: u64) -> Option<Waiting> {
        let is_first = self.kept.front().is_some_and(|first| first.number == number);
        let at = if is_first {
            0
        } else {
            self.kept.binary_search_by_key(&number, |other| other.number).ok()?
        };
        let waiting = self.kept.remove(at)?;
        self.kept_bytes -= waiting.cost;
        Some(waiting)
    }

    /// Whether the message with this number waits here.
    pub(super) fn has(&self, number: u64) -> bool {
        self.kept.binary_search_by_key(&number, |other| other.number).is_ok()
    }

    /// Takes the oldest message of QoS 0.
    pub(super) fn take_loose(&mut self) -> Option<Waiting> {
        let waiting = self.loose.pop_front()?;
        self.loose_bytes -= waiting.cost;
        Some(waiting)
    }

    /// The oldest message of QoS 1 or 2.
    pub(super) fn first(&self) -> Option<&Waiting> {
        self.kept.front()
    }

    /// The oldest message of QoS 0.
    pub(super) fn first_loose(&self) -> Option<&Waiting> {
        self.loose.front()
    }

    /// Those of QoS 1 and 2, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.kept.iter()
    }

    /// Messages of QoS 1 and 2.
    pub(super) fn kept_len(&self) -> u32 {
        len(&self.kept)
    }

    /// Messages of QoS 0.
    pub(super) fn loose_len(&self) -> u32 {
        len(&self.loose)
    }

    /// Bytes of those of QoS 1 and 2.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// Bytes of all.
    pub(super) fn bytes(&self) -> u64 {
        self.kept_bytes + self.loose_bytes
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.loose.is_empty()
    }
}

fn len(queue: &VecDeque<Waiting>) -> u32 {
    u32::try_from(queue.len()).unwrap_or(u32::MAX)
}
