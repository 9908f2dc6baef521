//! Wills: when they are published, and what is kept of them while several hubs store them.
//!
//! ```text
//! hub of the session   Queued.., Will(own), Taken(own, its sessions), WillGone     one batch, before peers hear of it
//! each peer            Queued.., Taken(own, its sessions)                          one batch, before it answers
//! hub of the session   SessionGone(own), once all have answered
//! ```
//!
//! A published will has an owner number of its own, since its session may end meanwhile, or get the next will. A process
//! that finds such a will at its start publishes it again, to every session and group that has not got it
//! (`crossing.rs`); at QoS 1 to all. One that ends before the first batch is stored leaves the will as it was.

use postrider_proto::{
    Envelope, Fact, Record, Session, Time,
    mutation::{Mutation, planted},
    wire::PacketId,
};

use super::{
    Hub,
    publish::{Origin, Routed},
    receive::Last,
    time::Timer,
};
use crate::{crossing::Crossing, will::Will};

/// Published wills that are not yet stored everywhere.
#[derive(Debug, Default)]
pub(super) struct Departures {
    /// Owner number, and the fence behind which all hubs have it.
    sent: Vec<(u64, u64)>,
    /// What a process before this one left.
    found: Vec<Found>,
}

/// A will of which a restart found that it may not be everywhere.
#[derive(Debug)]
struct Found {
    owner: u64,
    will: Will,
    /// Knows who has it.
    state: Session,
}

impl Hub {
    /// Publishes the will now, or sets when it will be.
    pub(super) fn set_will_due(&mut self, session: usize, last: Last) {
        let now = self.now;
        let Some(entry) = self.registry.get_mut(session) else { return };
        let (owner, is_recorded, expiry_s) = (entry.owner, entry.is_recorded, entry.expiry_s);
        let Some(will) = &mut entry.will else { return };
        let due = will.due_at(expiry_s, now);
        if due <= now && last != Last::Pending {
            return self.publish_will(session);
        }
        will.due = Some(due);
        let fact = will.fact();
        if is_recorded {
            self.journal.write(Record { owner, fact });
        }
        self.wheel.set(due, Timer::Will { session, owner });
    }

    /// Publishes the will of a session, if it has one that is due. Spec: v5 [MQTT-3.1.2-8] [MQTT-3.1.3-9].
    pub(super) fn publish_due_will(&mut self, session: usize) {
        let will = self.registry.get(session).and_then(|entry| entry.will.as_ref());
        if will.and_then(|will| will.due).is_some_and(|due| due <= self.now) {
            self.publish_will(session);
        }
    }

    /// Publishes the will of a session, if it has one. Spec: v5 [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.1.2-14]
    /// [MQTT-3.1.2-15], v3.1.1 [MQTT-3.1.2-10] [MQTT-3.1.2-16] [MQTT-3.1.2-17].
    pub(super) fn publish_will(&mut self, session: usize) {
        let now = self.now;
        let Some(entry) = self.registry.get_mut(session) else { return };
        let (owner, is_recorded) = (entry.owner, entry.is_recorded);
        let Some(mut will) = entry.will.take() else { return };
        let mut origin = Origin::will(session);
        will.due = Some(now);
        if is_recorded && self.may_depart(&will) {
            let own = self.registry.take_number();
            origin.crossing = Some(Crossing::new(own, WILL, None));
            // Its own session has it with this batch, or does not want it (No Local).
            self.takers.push(owner);
            let fact = will.fact();
            let routed = self.send_will(will, now, &origin);
            if routed.gate.fence > 0 {
                self.journal.write(Record { owner: own, fact });
                self.departures.sent.push((own, routed.gate.fence));
            }
        } else {
            self.send_will(will, now, &origin);
        }
        if is_recorded {
            self.journal.write(Record { owner, fact: Fact::WillGone });
        }
    }

    /// Forgets published wills that are stored everywhere.
    pub(super) fn end_departures(&mut self) {
        let fenced = self.peers.fenced();
        let Self { departures, journal, .. } = self;
        departures.sent.retain(|&(owner, fence)| {
            let is_under_way = fence > fenced;
            if !is_under_way {
                journal.write(Record { owner, fact: Fact::SessionGone });
            }
            is_under_way
        });
    }

    /// A restart found a will that had been published; `state` has what is recorded besides.
    pub(super) fn find_departed(&mut self, owner: u64, will: Will, state: Session) {
        self.departures.found.push(Found { owner, will, state });
    }

    /// Sessions that begin from now on, above `last`, are not among those that such wills are for.
    pub(super) fn bound_departed(&mut self, last: u64) {
        for found in &mut self.departures.found {
            found.state.bound_unfinished(self.config.index, last, &mut self.journal);
        }
    }

    /// Publishes again what a restart found, once all peers are known.
    pub(super) fn resume_departed(&mut self) {
        for Found { owner, will, mut state } in core::mem::take(&mut self.departures.found) {
            let before = state.take_unfinished(WILL).unwrap_or_default();
            let crossing = Some(Crossing::new(owner, WILL, Some(before)));
            let published = will.due.unwrap_or(self.now);
            let origin = Origin { crossing, ..Origin::default() };
            let routed = self.send_will(will, published, &origin);
            // At once, if this batch has all of it.
            self.departures.sent.push((owner, routed.gate.fence));
        }
    }

    fn send_will(&mut self, will: Will, published: Time, origin: &Origin) -> Routed {
        let mut envelope = Envelope::new(will.message(published));
        let routed = self.publish_allowed(&mut envelope, origin);
        // Of a topic that nobody may publish to.
        self.takers.clear();
        routed
    }

    /// Whether a will must survive a crash while peers store it.
    fn may_depart(&self, will: &Will) -> bool {
        let is_planted = planted(Mutation::WillForgottenEarly);
        self.journal.is_on() && self.peers.are_there() && will.is_kept() && !is_planted
    }
}

/// Under this id stands who has a published will.
const WILL: PacketId = PacketId::MIN;
