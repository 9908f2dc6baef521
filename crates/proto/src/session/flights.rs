//! The table of flights: found by slot in O(1), walked in the order in which they were first sent.

use alloc::sync::Arc;
use core::iter;

use postrider_wire::PacketId;
use slab::Slab;

use crate::{
    Delivery, FlightState, Message, Spools,
    mutation::{Mutation, planted},
};

/// One outgoing message that is not finished, seen from the sender.
///
/// ```text
/// QoS 1:  AwaitAck --PUBACK--> done
/// QoS 2:  AwaitRec --PUBREC--> AwaitComp --PUBCOMP--> done
///                 |--PUBREC, reason >= 0x80--> done
///                 `--payload lost--> GivenUp --PUBCOMP--> failed
/// ```
///
/// Resent only when a session resumes. Spec: v5 sections 4.3.2, 4.3.3, 4.4 [MQTT-4.4.0-1].
#[derive(Debug)]
pub(super) struct Flight {
    // Session: recorded.
    pub(super) number: u64,
    pub(super) packet_id: PacketId,
    pub(super) state: FlightState,
    /// Gone in `AwaitComp`, as the peer has it, and in `GivenUp`.
    pub(super) message: Option<Arc<Message>>,
    pub(super) delivery: Delivery,
    /// Bytes it counts for; 0 without a message.
    pub(super) cost: u64,
    // Session: not recorded; recovery assumes that the PUBLISH was sent.
    /// Whether the PUBLISH was written to any link.
    pub(super) was_sent: bool,
    /// Whether this process has said that it was given up.
    pub(super) is_failure_told: bool,
    /// The record that its next packet waits for; 0 for none.
    pub(super) seq: u64,
    // Link: reset by detach.
    /// Whether it takes one of the peer's receive maximum on this link.
    pub(super) is_counted: bool,
    prev: u32,
    next: u32,
}

/// All flights. A slot number is valid until its flight is removed.
#[derive(Debug)]
pub(super) struct Flights {
    slab: Slab<Flight>,
    /// `AwaitAck` and `AwaitRec`, in ascending order of message numbers, which is the order of first sending.
    publishes: Ends,
    /// `AwaitComp`, in the order in which PUBREC came. Spec: v5 [MQTT-4.6.0-4].
    releases: Ends,
    /// The first of `publishes` whose PUBLISH was not written to this link; all behind it were not either.
    unsent: u32,
    bytes: u64,
    /// The highest message number that was ever a flight.
    number_max: u64,
}

/// The ends of one chain through the slab.
#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
}

/// Which chain of flights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    /// Those that wait for PUBACK or PUBREC.
    Publishes,
    /// Those that wait for PUBCOMP.
    Releases,
}

impl Flight {
    /// A flight that was sent, as recovery sees it.
    pub(super) fn new(
        number: u64,
        packet_id: PacketId,
        state: FlightState,
        message: Option<(Arc<Message>, u64)>,
        delivery: Delivery,
    ) -> Self {
        let (message, cost) = message.map_or((None, 0), |(message, cost)| (Some(message), cost));
        Self {
            number,
            packet_id,
            state,
            message,
            delivery,
            cost,
            was_sent: true,
            is_failure_told: false,
            seq: 0,
            is_counted: false,
            prev: NONE,
            next: NONE,
        }
    }
}

impl Flights {
    pub(super) fn new() -> Self {
        let none = Ends { first: NONE, last: NONE };
        Self {
            slab: Slab::new(),
            publishes: none,
            releases: none,
            unsent: NONE,
            bytes: 0,
            number_max: 0,
        }
    }

    /// As [`Spools::adopt`], for all that they hold.
    pub(super) fn adopt_spools(&mut self, spools: &mut Spools) {
        for (_, flight) in &mut self.slab {
            if let Some(message) = &mut flight.message {
                spools.adopt_in(message);
            }
        }
    }

    /// Adds a flight in the order of numbers, which is at the end but for recovery. Returns its slot.
    pub(super) fn insert(&mut self, flight: Flight) -> u32 {
        let (number, chain) = (flight.number, chain_of(flight.state));
        self.bytes += flight.cost;
        self.number_max = self.number_max.max(number);
        let slot = u32::try_from(self.slab.insert(flight)).unwrap_or(NONE);
        let mut before = self.ends(chain).last;
        while before != NONE && self.slab[before as usize].number > number {
            before = self.slab[before as usize].prev;
        }
        self.link_behind(slot, before, chain);
        if chain == Chain::Publishes {
            let next = self.slab[slot as usize].next;
            if self.unsent == next {
                self.unsent = slot;
            }
        }
        slot
    }

    /// Takes a flight out.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Flight> {
        self.get(slot)?;
        self.unlink(slot);
        let flight = self.slab.remove(slot as usize);
        self.bytes -= flight.cost;
        Some(flight)
    }

    /// PUBREC came, or the message is given up: it goes, and the flight moves to the end of those that wait for PUBCOMP.
    pub(super) fn release(&mut self, slot: u32, state: FlightState) {
        if self.get(slot).is_none_or(|flight| chain_of(flight.state) == Chain::Releases) {
            return;
        }
        self.unlink(slot);
        let flight = &mut self.slab[slot as usize];
        flight.state = state;
        flight.message = None;
        self.bytes -= core::mem::take(&mut flight.cost);
        self.link_behind(slot, self.releases.last, Chain::Releases);
    }

    /// Gives a flight its message (recovery, when the flight came first).
    pub(super) fn fill(&mut self, slot: u32, message: Arc<Message>, delivery: Delivery) {
        let Some(flight) = self.slab.get_mut(slot as usize) else { return };
        if flight.message.is_none() && chain_of(flight.state) == Chain::Publishes {
            flight.cost = message.cost_bytes();
            flight.message = Some(message);
            flight.delivery = delivery;
            self.bytes += flight.cost;
        }
    }

    /// The PUBLISH of the first unsent flight is being written.
    pub(super) fn mark_sent(&mut self) {
        if let Some(flight) = self.slab.get_mut(self.unsent as usize) {
            flight.was_sent = true;
            flight.is_counted = true;
            self.unsent = flight.next;
        }
    }

    /// Calls `send` with id and record for each flight that waits for PUBCOMP, and counts it. Returns how many.
    pub(super) fn release_again(&mut self, mut send: impl FnMut(PacketId, u64)) -> u32 {
        let (mut at, mut count) = (self.releases.first, 0);
        while let Some(flight) = self.slab.get_mut(at as usize) {
            send(flight.packet_id, flight.seq);
            count += u32::from(!flight.is_counted);
            flight.is_counted = true;
            at = flight.next;
        }
        count
    }

    /// All flights were recorded anew: none sends its next packet before `seq` is stored.
    pub(super) fn wait_for(&mut self, seq: u64) {
        for (_, flight) in &mut self.slab {
            flight.seq = seq;
        }
    }

    /// The link ended: nothing was sent on the next one.
    pub(super) fn reset_link(&mut self) {
        for (_, flight) in &mut self.slab {
            flight.is_counted = false;
        }
        self.unsent = if planted(Mutation::NotSentAgain) { NONE } else { self.publishes.first };
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Flight> {
        self.slab.get(slot as usize)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Flight> {
        self.slab.get_mut(slot as usize)
    }

    /// Finds a flight by its number, oldest first.
    pub(super) fn find(&self, number: u64) -> Option<u32> {
        [Chain::Publishes, Chain::Releases].into_iter().find_map(|chain| {
            self.walk(chain).find(|(_, flight)| flight.number == number).map(|(slot, _)| slot)
        })
    }

    /// Slot and flight of each in a chain, in order.
    pub(super) fn walk(&self, chain: Chain) -> impl Iterator<Item = (u32, &Flight)> {
        let mut at = self.ends(chain).first;
        iter::from_fn(move || {
            let flight = self.get(at)?;
            let slot = at;
            at = flight.next;
            Some((slot, flight))
        })
    }

    /// The first flight whose PUBLISH must be written to this link.
    pub(super) fn first_unsent(&self) -> Option<(u32, &Flight)> {
        self.get(self.unsent).map(|flight| (self.unsent, flight))
    }

    /// Whether one waits for PUBCOMP.
    pub(super) fn has_releases(&self) -> bool {
        self.releases.first != NONE
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.slab.len()).unwrap_or(u32::MAX)
    }

    /// The highest message number that was ever a flight; 0 if none was.
    pub(super) fn number_max(&self) -> u64 {
        self.number_max
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Bytes that the flights count for.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn ends(&self, chain: Chain) -> &Ends {
        match chain {
            Chain::Publishes => &self.publishes,
            Chain::Releases => &self.releases,
        }
    }

    fn ends_mut(&mut self, chain: Chain) -> &mut Ends {
        match chain {
            Chain::Publishes => &mut self.publishes,
            Chain::Releases => &mut self.releases,
        }
    }

    /// Puts a flight behind `before`, or first if that is `NONE`.
    fn link_behind(&mut self, slot: u32, before: u32, chain: Chain) {
        let after = self.get(before).map_or_else(|| self.ends(chain).first, |flight| flight.next);
        let flight = &mut self.slab[slot as usize];
        flight.prev = before;
        flight.next = after;
        match self.get_mut(before) {
            Some(flight) => flight.next = slot,
            None => self.ends_mut(chain).first = slot,
        }
        match self.get_mut(after) {
            Some(flight) => flight.prev = slot,
            None => self.ends_mut(chain).last = slot,
        }
    }

    /// Takes a flight out of its chain.
    fn unlink(&mut self, slot: u32) {
        let flight = &self.slab[slot as usize];
        let (before, after, chain) = (flight.prev, flight.next, chain_of(flight.state));
        match self.get_mut(before) {
            Some(flight) => flight.next = after,
            None => self.ends_mut(chain).first = after,
        }
        match self.get_mut(after) {
            Some(flight) => flight.prev = before,
            None => self.ends_mut(chain).last = before,
        }
        if self.unsent == slot {
            self.unsent = after;
        }
    }
}

pub(super) fn chain_of(state: FlightState) -> Chain {
    match state {
        FlightState::AwaitAck | FlightState::AwaitRec => Chain::Publishes,
        FlightState::AwaitComp | FlightState::GivenUp => Chain::Releases,
    }
}

/// No slot.
const NONE: u32 = u32::MAX;
