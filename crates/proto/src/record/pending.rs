//! Records that wait to be fetched, and those that need not go any more.

use alloc::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    Fact, Record,
    mutation::{Mutation, planted},
};

/// Records in the order of their numbers. Where it is lazy, a message that is finished before its records were fetched
/// takes them with it.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) is_lazy: bool,
    /// The first is never empty. Where it is lazy, numbers rise by one, so that each is found at once.
    slots: VecDeque<(u64, Option<Record>)>,
    /// Where the records of messages are, by owner and message number: our own numbers, so that no seed is needed.
    messages: HashMap<(u64, u64), Places, FixedState>,
}

/// Numbers of the records of one message that were not fetched.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    queued: Option<u64>,
    flight: Option<u64>,
}

impl Default for Pending {
    fn default() -> Self {
        let messages = HashMap::with_hasher(FixedState::default());
        Self { is_lazy: false, slots: VecDeque::new(), messages }
    }
}

impl Pending {
    /// Adds a record, or takes those away that it makes needless.
    pub(super) fn push(&mut self, seq: u64, record: Record) {
        let is_needed = !self.is_lazy || self.settle(seq, &record);
        if is_needed {
            self.slots.push_back((seq, Some(record)));
        } else if !self.slots.is_empty() {
            self.slots.push_back((seq, None));
        }
        self.trim();
    }

    /// Takes the first record out.
    pub(super) fn pop(&mut self) -> Option<(u64, Record)> {
        let (seq, record) = self.slots.pop_front()?;
        self.trim();
        let record = record?;
        if self.is_lazy
            && let Some(number) = message_of(&record.fact)
        {
            self.forget((record.owner, number), seq);
        }
        Some((seq, record))
    }

    /// The number of the first record.
    pub(super) fn first(&self) -> Option<u64> {
        self.slots.front().map(|(seq, _)| *seq)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Notes where the record of a message will stand. Returns whether it must go to the store.
    fn settle(&mut self, seq: u64, record: &Record) -> bool {
        let owner = record.owner;
        if let Fact::Queued { number, .. } = record.fact {
            self.messages.entry((owner, number)).or_default().queued = Some(seq);
        } else if let Fact::Flight { number, .. } = record.fact {
            let places = self.messages.entry((owner, number)).or_default();
            let old = places.flight.replace(seq);
            self.clear(old);
        } else if let Fact::Requeued { number } = record.fact
            && let Some(places) = self.messages.get_mut(&(owner, number))
        {
            let is_known = places.queued.is_none();
            let old = places.flight.take();
            self.clear(old);
            return is_known;
        } else if let Fact::Finished { number } = record.fact
            && let Some(places) = self.messages.remove(&(owner, number))
        {
            self.clear(places.queued);
            self.clear(places.flight);
            return places.queued.is_none() && !planted(Mutation::HeldEndLost);
        }
        true
    }

    fn clear(&mut self, seq: Option<u64>) {
        let at = seq.zip(self.first()).and_then(|(seq, first)| seq.checked_sub(first));
        let slot = at.and_then(|at| self.slots.get_mut(usize::try_from(at).ok()?));
        if let Some((found, record)) = slot {
            debug_assert_eq!(Some(*found), seq, "numbers rise by one");
            *record = None;
        }
    }

    fn forget(&mut self, message: (u64, u64), seq: u64) {
        let Some(places) = self.messages.get_mut(&message) else { return };
        places.queued.take_if(|place| *place == seq);
        places.flight.take_if(|place| *place == seq);
        if places.queued.is_none() && places.flight.is_none() {
            self.messages.remove(&message);
        }
    }

    /// Lets go of what is empty at the front.
    fn trim(&mut self) {
        while self.slots.front().is_some_and(|(_, record)| record.is_none()) {
            self.slots.pop_front();
        }
    }
}

/// The message whose put this is.
fn message_of(fact: &Fact) -> Option<u64> {
    let (Fact::Queued { number, .. } | Fact::Flight { number, .. }) = fact else { return None };
    Some(*number)
}

#[cfg(test)]
mod tests {
    use alloc::{sync::Arc, vec::Vec};

    use bytes::Bytes;
    use postrider_wire::{PacketId, Properties, Publish, QoS, Topic};
    use smallvec::SmallVec;

    use super::*;
    use crate::{Delivery, FlightState, Message, Payload, Time};

    #[test]
    fn a_finished_message_takes_its_records_with_it() {
        let mut pending = lazy(&[queued(1), flight(1, FlightState::AwaitRec), queued(2)]);
        push(
            &mut pending,
            &[flight(1, FlightState::AwaitComp), gone(1), flight(2, FlightState::AwaitAck)],
        );
        assert_eq!(numbers(&mut pending), [3, 6]);
    }

    #[test]
    fn a_message_whose_first_record_is_fetched_must_be_deleted() {
        let mut pending = lazy(&[queued(1), flight(1, FlightState::AwaitAck)]);
        assert_eq!(pending.pop().map(|(seq, _)| seq), Some(1));
        push(&mut pending, &[gone(1)]);
        assert_eq!(numbers(&mut pending), [3]);
        let mut pending =
            lazy(&[queued(1), flight(1, FlightState::AwaitAck), Fact::Requeued { number: 1 }]);
        assert_eq!(numbers(&mut pending), [1]);
        push(&mut pending, &[]);
        assert!(pending.messages.is_empty());
    }

    #[test]
    fn one_that_is_not_lazy_hands_out_all() {
        let mut pending = Pending::default();
        push(&mut pending, &[queued(1), gone(1)]);
        assert_eq!(numbers(&mut pending), [1, 2]);
    }

    fn lazy(facts: &[Fact]) -> Pending {
        let mut pending = Pending { is_lazy: true, ..Pending::default() };
        push(&mut pending, facts);
        pending
    }

    /// Numbered on from what was pushed last.
    fn push(pending: &mut Pending, facts: &[Fact]) {
        let last = pending.slots.back().map_or(0, |(seq, _)| *seq);
        for (seq, fact) in (last + 1..).zip(facts) {
            pending.push(seq, Record { owner: 9, fact: fact.clone() });
        }
    }

    fn numbers(pending: &mut Pending) -> Vec<u64> {
        core::iter::from_fn(|| pending.pop().map(|(seq, _)| seq)).collect()
    }

    fn queued(number: u64) -> Fact {
        let publish = Publish {
            dup: false,
            qos: QoS::ExactlyOnce,
            retain: false,
            topic: Some(Topic::new("a").expect("a topic")),
            packet_id: None,
            properties: Properties::new(),
            payload: Bytes::new(),
        };
        let message = Message::from_publish(publish, Payload::Bytes(Bytes::new()), Time(0));
        let (qos, subscription_ids) = (QoS::ExactlyOnce, SmallVec::new());
        let delivery = Delivery { qos, retain: false, subscription_ids };
        Fact::Queued { number, message: Arc::new(message), delivery }
    }

    fn flight(number: u64, state: FlightState) -> Fact {
        let packet_id = PacketId::new(number as u16).expect("not 0");
        Fact::Flight { number, packet_id, state }
    }

    fn gone(number: u64) -> Fact {
        Fact::Finished { number }
    }
}
