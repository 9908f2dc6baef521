//! The one place where state that must survive changes.

use alloc::vec::Vec;

use postrider_wire::{PacketId, QoS};
use smallvec::SmallVec;

use crate::{
    Delivery, Fact, FlightState, Journal, Record, Session, Spools,
    mutation::{Mutation, planted},
    session::{
        Fate,
        arrivals::Arrived,
        flights::{Chain, Flight, chain_of},
    },
};

impl Session {
    /// Applies one fact that the store held: recovery. Facts may come twice, and in any order but for messages: those
    /// come in ascending order of their numbers, each with its flight behind it, as a scan of the store finds them.
    /// Messages above [`crate::SessionConfig::queue_resident_bytes_max`] are only counted.
    ///
    /// Live changes go through the same code. The session counts as persistent from then on. Facts that are not about
    /// messages and ids (subscriptions, will, ...) are their owner's business and change nothing here.
    pub fn apply(&mut self, fact: &Fact) {
        self.is_persistent = true;
        let is_received = matches!(fact, Fact::Received(_) | Fact::ReceivedFirst(_));
        if planted(Mutation::IdSetNotRecovered) && is_received {
            return;
        }
        if let Fact::Numbers { reserved } = fact {
            // Some of the block may have been given out before the crash.
            self.number_next = self.number_next.max(*reserved);
            self.arrival_next = self.arrival_next.max(*reserved);
        }
        self.take(fact.clone(), None, true);
    }

    /// Takes in the spools of all messages, after [`Session::apply`] of what a store held.
    pub fn adopt_spools(&mut self, spools: &mut Spools) {
        self.queue.adopt_spools(spools);
        self.flights.adopt_spools(spools);
    }

    /// Changes the state by a fact and records it if the session is persistent. Returns the sequence number, or 0.
    ///
    /// `slot` is the flight that the fact is about, if the caller knows it.
    pub(super) fn change(&mut self, fact: Fact, slot: Option<u32>, journal: &mut Journal) -> u64 {
        if self.is_recording(journal) {
            self.take(fact.clone(), slot, true);
            journal.write(Record { owner: self.owner, fact })
        } else {
            self.take(fact, slot, false);
            0
        }
    }

    /// [`Session::change`] by several facts, of which the store takes all or none.
    pub(super) fn change_together(&mut self, facts: Vec<Fact>, journal: &mut Journal) -> u64 {
        let is_recording = self.is_recording(journal);
        for fact in &facts {
            self.take(fact.clone(), None, is_recording);
        }
        if !is_recording {
            return 0;
        }
        let owner = self.owner;
        journal.write_batch(facts.into_iter().map(|fact| Record { owner, fact }))
    }

    /// The number for a new message. Numbers are reserved in blocks, so that none is given out twice even if all
    /// messages of a block are finished and forgotten when the process ends.
    pub(super) fn new_number(&mut self, journal: &mut Journal) -> u64 {
        self.reserve(self.number_next, journal)
    }

    /// The number of the next message.
    #[must_use]
    pub fn number_next(&self) -> u64 {
        self.number_next
    }

    /// Leaves out the numbers below this one.
    pub fn number_from(&mut self, number: u64) {
        self.number_next = self.number_next.max(number);
    }

    /// The number for a message that the program is entrusted with, reserved in the same blocks.
    pub(super) fn new_arrival(&mut self, journal: &mut Journal) -> u64 {
        self.reserve(self.arrival_next, journal)
    }

    fn reserve(&mut self, number: u64, journal: &mut Journal) -> u64 {
        let is_planted = planted(Mutation::NumbersNotReserved);
        let is_due = number + NUMBERS_AHEAD >= self.number_reserved;
        if is_due && self.is_recording(journal) && !is_planted {
            let from = self.number_reserved.max(number);
            let reserved = from + NUMBERS_PER_RECORD;
            self.number_seq_before = self.number_seq.0;
            self.number_seq = (self.change(Fact::Numbers { reserved }, None, journal), from);
        }
        number
    }

    /// The record without which a restart may give this number to another message; 0 if nobody would notice.
    pub(super) fn reserving(&self, number: u64) -> u64 {
        match self.number_seq {
            _ if !self.config.is_reporting || planted(Mutation::NumbersEarly) => 0,
            (seq, from) if number >= from => seq,
            _ => self.number_seq_before,
        }
    }

    /// The peer lost the session: what it had taken over is done, the rest waits again as new messages, in order.
    ///
    /// Spec: v5 [MQTT-3.2.2-5], section 4.1.
    pub(super) fn start_again(&mut self, journal: &mut Journal) {
        let releases: Vec<_> = self.flights.walk(Chain::Releases).map(summary).collect();
        for (slot, number, packet_id, _) in releases {
            if !self.tell_failure(slot) {
                self.report(number, Fate::Completed(packet_id));
            }
            self.change(Fact::Finished { number }, Some(slot), journal);
        }
        let publishes: Vec<_> = self.flights.walk(Chain::Publishes).map(summary).collect();
        let fails = self.config.is_doubtful_failed;
        for &(slot, number, _, is_doubtful) in &publishes {
            if is_doubtful && fails {
                self.change(Fact::Finished { number }, Some(slot), journal);
                self.report(number, Fate::Lost);
            } else if is_doubtful {
                self.report(number, Fate::MayBeDouble);
            }
        }
        // Last first: each is then put at the very front of the queue, which is cheap.
        for &(slot, number, _, is_doubtful) in publishes.iter().rev() {
            if !(is_doubtful && fails) {
                self.change(Fact::Requeued { number }, Some(slot), journal);
            }
        }
        self.discard_received(journal);
    }

    /// Records all there is: the session becomes persistent while it has state.
    pub(super) fn record_all(&mut self, journal: &mut Journal) {
        if !journal.is_on() {
            return;
        }
        let mut facts = Vec::new();
        let number = self.number_next.max(self.arrival_next);
        if number > 1 {
            self.number_reserved = number + NUMBERS_PER_RECORD;
            facts.push(Fact::Numbers { reserved: self.number_reserved });
        }
        facts.extend(self.queue.iter().map(|waiting| Fact::Queued {
            number: waiting.number,
            message: waiting.message.clone(),
            delivery: waiting.delivery.clone(),
        }));
        for chain in [Chain::Publishes, Chain::Releases] {
            for (_, flight) in self.flights.walk(chain) {
                if let Some(message) = &flight.message {
                    facts.push(Fact::Queued {
                        number: flight.number,
                        message: message.clone(),
                        delivery: flight.delivery.clone(),
                    });
                }
                let Flight { number, packet_id, state, .. } = *flight;
                facts.push(Fact::Flight { number, packet_id, state });
            }
        }
        facts.extend(self.received.iter().map(Fact::Received));
        facts.extend(self.arrivals.facts().map(|(_, fact)| fact));
        let mut seq = 0;
        for fact in facts {
            seq = self.record(fact, journal);
        }
        self.inbound_seq = seq;
        self.number_seq = (seq, 0);
        self.flights.wait_for(seq);
    }

    /// `is_stored` says whether the store holds the fact, or is about to.
    fn take(&mut self, fact: Fact, slot: Option<u32>, is_stored: bool) {
        match fact {
            Fact::Queued { number, message, delivery } => {
                if self.flights.number_max() >= number
                    && let Some(slot) = self.flights.find(number)
                {
                    self.flights.fill(slot, message, delivery);
                } else {
                    let budget = is_stored.then_some(self.config.queue_resident_bytes_max);
                    self.queue.put(number, message, delivery, budget);
                }
                self.number_next = self.number_next.max(number.saturating_add(1));
            }
            Fact::Flight { number, packet_id, state } => self.take_off(number, packet_id, state),
            Fact::Requeued { number } => {
                if let Some(flight) = self.land(number, slot)
                    && let Some(message) = flight.message
                {
                    self.queue.put(number, message, flight.delivery, None);
                }
            }
            Fact::Finished { number } => {
                if self.land(number, slot).is_none() {
                    self.queue.take(number);
                }
            }
            Fact::Numbers { reserved } => self.number_reserved = self.number_reserved.max(reserved),
            Fact::Received(id) | Fact::ReceivedFirst(id) => self.received.insert(id),
            Fact::Released(id) => {
                self.received.remove(id);
                self.unfinished.remove(&id);
            }
            Fact::Taken { packet_id, stamp, until, sessions, .. } => {
                self.unfinished.entry(packet_id).or_default().add(stamp, until, sessions);
            }
            Fact::TakenByGroup { packet_id, filter, .. } => {
                self.unfinished.entry(packet_id).or_default().groups.push(filter);
            }
            Fact::Arrived { packet_id, qos, number, digest, is_acknowledged } => {
                self.arrivals.put(packet_id, Arrived { qos, number, digest, is_acknowledged });
                self.arrival_next = self.arrival_next.max(number.saturating_add(1));
            }
            Fact::ArrivedGone(packet_id) => self.arrivals.remove(packet_id),
            Fact::Own { .. }
            | Fact::OwnGone(_)
            | Fact::Session { .. }
            | Fact::SessionGone
            | Fact::Subscription { .. }
            | Fact::SubscriptionGone(_)
            | Fact::Retained { .. }
            | Fact::RetainedGone(_)
            | Fact::Will { .. }
            | Fact::WillGone => {}
        }
    }

    /// A message gets its id, or a flight its next state.
    fn take_off(&mut self, number: u64, packet_id: PacketId, state: FlightState) {
        let slot = self
            .ids
            .slot(packet_id)
            .filter(|slot| self.flights.get(*slot).is_some_and(|flight| flight.number == number));
        if let Some(slot) = slot {
            if chain_of(state) == Chain::Releases {
                self.flights.release(slot, state);
            }
            return;
        }
        // A flight is older than whatever waits, so no store of ours holds this. The message is not in memory; it is
        // read back as one that waits, and sent again as new.
        if self.queue.tail().has(number) {
            return;
        }
        // Only out of order recovery finds a flight here, under another id.
        let is_known = self.flights.number_max() >= number;
        let old = if is_known { self.land(number, None) } else { None };
        let waiting = self
            .queue
            .take(number)
            .map(|waiting| (waiting.delivery, (waiting.message, waiting.cost)));
        let known = waiting
            .or_else(|| old.and_then(|old| old.message.map(|m| (old.delivery, (m, old.cost)))));
        let (delivery, message) =
            known.map_or_else(|| (unknown_delivery(state), None), |(d, m)| (d, Some(m)));
        let message = message.filter(|_| chain_of(state) == Chain::Publishes);
        let slot = self.flights.insert(Flight::new(number, packet_id, state, message, delivery));
        self.ids.occupy(packet_id, slot);
        if number == self.flights.number_max() {
            // Recovery goes on behind the youngest flight, whatever the order of facts.
            self.ids.go_on_behind(packet_id);
        }
        self.number_next = self.number_next.max(number.saturating_add(1));
    }

    /// Takes a flight out of the table and frees its id.
    fn land(&mut self, number: u64, slot: Option<u32>) -> Option<Flight> {
        let slot = slot.or_else(|| self.flights.find(number))?;
        let flight = self.flights.remove(slot)?;
        debug_assert_eq!(flight.number, number);
        if self.ids.slot(flight.packet_id) == Some(slot) {
            self.ids.free(flight.packet_id);
        }
        if flight.is_counted {
            self.used -= 1;
        }
        Some(flight)
    }
}

/// Slot, number, id, and whether the message may have been delivered already although it must not be twice.
fn summary((slot, flight): (u32, &Flight)) -> (u32, u64, PacketId, bool) {
    let is_doubtful = flight.state == FlightState::AwaitRec && flight.was_sent;
    (slot, flight.number, flight.packet_id, is_doubtful)
}

/// Stands in until recovery finds the message of a flight.
fn unknown_delivery(state: FlightState) -> Delivery {
    let qos = match state {
        FlightState::AwaitAck => QoS::AtLeastOnce,
        FlightState::AwaitRec | FlightState::AwaitComp | FlightState::GivenUp => QoS::ExactlyOnce,
    };
    Delivery { qos, retain: false, subscription_ids: SmallVec::new() }
}

/// Message numbers reserved by one record: few records, and few numbers skipped by a restart.
const NUMBERS_PER_RECORD: u64 = 1000;
/// How many are left when the next are reserved, so that nobody waits for that.
const NUMBERS_AHEAD: u64 = 500;
