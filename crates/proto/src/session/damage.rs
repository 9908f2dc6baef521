//! Large payloads that the store does not give back.

use alloc::vec::Vec;

use crate::{
    Fact, FlightState, Journal, Payload, Session,
    session::{
        Fate,
        flights::{Chain, Flight},
    },
};

impl Session {
    /// The payload in this spool cannot be read: the flights that need it end as [`Fate::Unreadable`]. Returns how many.
    /// To be called when the link has ended over it, since half a PUBLISH cannot be taken back.
    ///
    /// A QoS 2 message is released as if its PUBREC had come: the peer may have taken it over a link before, and an
    /// identifier that it still knows must not be given to another message. PUBREL frees it at both ends.
    pub fn lose_spool(&mut self, spool: u64, journal: &mut Journal) -> u32 {
        debug_assert!(self.link.is_none(), "nothing of it is on its way");
        let lost: Vec<_> = self
            .flights
            .walk(Chain::Publishes)
            .filter(|(_, flight)| is_in(flight, spool))
            .map(|(slot, flight)| (slot, flight.number, flight.packet_id, flight.state))
            .collect();
        for &(slot, number, packet_id, state) in &lost {
            if state == FlightState::AwaitRec {
                let state = FlightState::GivenUp;
                let fact = Fact::Flight { number, packet_id, state };
                let seq = self.change(fact, Some(slot), journal);
                if let Some(flight) = self.flights.get_mut(slot) {
                    flight.was_sent = true;
                    flight.seq = seq;
                }
                self.tell_failure(slot);
            } else {
                self.change(Fact::Finished { number }, Some(slot), journal);
                self.give_up(number, Fate::Unreadable);
            }
        }
        u32::try_from(lost.len()).unwrap_or(u32::MAX)
    }

    /// Whether a message was given up, by this process or one before it, and only its identifier is not free yet.
    #[must_use]
    pub fn is_given_up(&self, number: u64) -> bool {
        let flight = self.flights.find(number).and_then(|slot| self.flights.get(slot));
        flight.is_some_and(|flight| flight.state == FlightState::GivenUp)
    }

    /// Says of a flight that was given up that it has failed, once in each process. Returns whether it was.
    pub(super) fn tell_failure(&mut self, slot: u32) -> bool {
        let flight = self.flights.get_mut(slot);
        let Some(flight) = flight.filter(|flight| flight.state == FlightState::GivenUp) else {
            return false;
        };
        let number = flight.number;
        if !core::mem::replace(&mut flight.is_failure_told, true) {
            self.give_up(number, Fate::Unreadable);
        }
        true
    }
}

fn is_in(flight: &Flight, spool: u64) -> bool {
    flight.message.as_ref().is_some_and(
        |message| matches!(&message.payload, Payload::Spooled { id, .. } if id.number() == spool),
    )
}
