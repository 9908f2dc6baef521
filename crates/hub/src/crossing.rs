//! QoS 2 messages that several hubs store, each in a batch of its own, and a crash in between.
//!
//! ```text
//! hub of the publisher      Queued.., Received(id), Taken(id, its sessions)      one batch, before peers hear of it
//! each peer                 Queued.., Taken(id, its sessions)                    one batch, before it answers
//! hub of the publisher      PUBREC once all have answered; at PUBREL Released(id), which deletes all Taken
//! ```
//!
//! If the process ends in between, the publisher sends the message again under its id. The id is known, so it would be a
//! repeat; but `Taken` says that it may not have reached all. So it is routed again, to every session and group that has
//! not got it. `Taken` stands under the publisher's session, so the hub that recovers that session knows all of it, however
//! many hubs there are now and wherever sessions live, and tells the others with the message. Owner numbers name the
//! sessions, since these outlive every change of homes.
//!
//! Only sessions get such a message that were there before the restart: one that began later subscribed later than the
//! message was published, and its client may have got it in the session before. Owner numbers rise from one process to the
//! next, so the first restart records the greatest there is. Numbers that were in use at a restart are never given again.
//!
//! A will that several hubs store is its own publisher, with an owner number and an id: `hub/will.rs`.

use std::sync::Arc;

use postrider_proto::{
    Fact, Record, Stamp, Takers,
    mutation::{Mutation, planted},
    wire::{Filter, PacketId},
};

use crate::registry::Entry;

/// A QoS 2 message of a recorded session, where there is more than one hub, or was before the restart.
#[derive(Clone, Debug)]
pub(crate) struct Crossing {
    /// Owner number of the publisher's session, or of a will.
    owner: u64,
    /// The publisher's packet id.
    packet_id: PacketId,
    /// Who had it before the restart, if it is a repeat from then.
    before: Option<Arc<Takers>>,
}

impl Crossing {
    pub(crate) fn new(owner: u64, packet_id: PacketId, before: Option<Takers>) -> Self {
        Self { owner, packet_id, before: before.map(Arc::new) }
    }

    /// Whether it was routed before, by a process that did not see its end.
    pub(crate) fn is_repeat(&self) -> bool {
        self.before.is_some()
    }

    /// The stamp that a retained message got then.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.before.as_ref()?.stamp
    }

    /// Whether this session must not get it (again).
    pub(crate) fn passes_over(&self, entry: &Entry) -> bool {
        let is_planted = planted(Mutation::TakersIgnored);
        self.before.as_ref().filter(|_| !is_planted).is_some_and(|before| {
            entry.owner > before.until || before.sessions.binary_search(&entry.owner).is_ok()
        })
    }

    /// Whether a member of this group got it then.
    pub(crate) fn passes_over_group(&self, filter: &Filter) -> bool {
        self.before.as_ref().is_some_and(|before| before.groups.contains(filter))
    }

    /// What hub `hub` records when these sessions have taken it too. It takes the place of what a hub of this number
    /// recorded before the restart, so it says that as well.
    pub(crate) fn taken(&self, hub: u16, stamp: Option<Stamp>, mut sessions: Vec<u64>) -> Record {
        sessions.extend(self.before.iter().flat_map(|before| &before.sessions));
        let until = self.before.as_ref().map_or(u64::MAX, |before| before.until);
        let fact = Fact::Taken { packet_id: self.packet_id, hub, stamp, until, sessions };
        Record { owner: self.owner, fact }
    }

    /// What is recorded when a member of a group has taken it.
    pub(crate) fn taken_by_group(&self, filter: Filter, session: u64) -> Record {
        let fact = Fact::TakenByGroup { packet_id: self.packet_id, filter, session };
        Record { owner: self.owner, fact }
    }
}
