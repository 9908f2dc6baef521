//! What the other hubs say.

use std::collections::VecDeque;

use postrider_proto::{Durability, Envelope, Message, Stamp, wire::QoS};

use super::{
    Hub,
    publish::{Origin, Routed},
};
use crate::{
    crossing::Crossing,
    peer::{Debt, Handout, Item, Kind, Leaf, Note, Parcel, Wait},
    route::{Route, Target},
};

/// What is left of a parcel behind its leaves, and what came of it up to now.
#[derive(Debug)]
pub(super) struct Batch {
    from: u16,
    round: u64,
    items: VecDeque<Item>,
    notes: Vec<Note>,
    all: Routed,
    durability: Durability,
}

impl Hub {
    /// Opens what a peer sent in one batch.
    pub(super) fn handle_parcel(&mut self, from: u16, parcel: Parcel) {
        let Some(parcel) = self.stuck.put_behind(from, parcel) else { return };
        self.turn = 0;
        for (round, handout) in parcel.returned {
            self.hand_out_again(round, handout);
        }
        self.peers.handle_done(&parcel.items_done, &parcel.leaves_done);
        if self.peers.advance(&self.journal) {
            // A SUBACK that waited for this goes before the messages that come with it.
            self.open_gates();
        }
        if let Some((round, leaves)) = parcel.leaves {
            let (mut stored, mut durability) = (0, Durability::Memory);
            for leaf in leaves {
                durability = durability.max(leaf.durability());
                stored = stored.max(self.handle_leaf(from, round, leaf));
            }
            let wait = Wait { stored, durability, leaf: 0 };
            self.peers.owe(Debt { hub: from, kind: Kind::Leaves, round, wait });
        }
        let notes = parcel.notes;
        let Some((round, items)) = parcel.items else { return self.handle_notes(notes) };
        let (all, durability) = (Routed::default(), Durability::Memory);
        self.handle_items(Batch { from, round, items: items.into(), notes, all, durability });
    }

    /// Handles items until one must wait; behind the last, the notes.
    pub(super) fn handle_items(&mut self, mut batch: Batch) {
        while let Some(item) = batch.items.pop_front() {
            if self.must_park(&item) {
                batch.items.push_front(item);
                return self.stuck.stop(batch);
            }
            batch.durability = batch.durability.max(item.durability());
            let done = self.handle_item(item);
            batch.all.gate.stored = batch.all.gate.stored.max(done.gate.stored);
            batch.all.leaf = batch.all.leaf.max(done.leaf);
        }
        let Batch { from, round, notes, all, durability, .. } = batch;
        let wait = Wait { stored: all.gate.stored, durability, leaf: all.leaf };
        self.peers.owe(Debt { hub: from, kind: Kind::Items, round, wait });
        self.handle_notes(notes);
    }

    fn handle_notes(&mut self, notes: Vec<Note>) {
        for note in notes {
            self.handle_note(note);
        }
    }

    /// Whether an item waits for a retained message that goes first.
    fn must_park(&mut self, item: &Item) -> bool {
        let Item::Publish { message, stamp, crossing, .. } = item else { return false };
        let origin = self.peer_origin(message, *stamp, crossing.clone());
        self.park_peer(message, &origin)
    }

    /// Where a message comes from that a peer sends.
    fn peer_origin(
        &self,
        message: &Message,
        stamp: Option<Stamp>,
        crossing: Option<Crossing>,
    ) -> Origin {
        let topic = message.head.topic.as_ref();
        let overtaken =
            stamp.zip(topic).and_then(|(stamp, topic)| self.keeper.overtaken(topic, stamp));
        Origin { is_from_peer: true, overtaken, crossing, ..Origin::default() }
    }

    fn handle_item(&mut self, item: Item) -> Routed {
        match item {
            Item::Publish { message, publisher, stamp, durability, crossing } => {
                let mut origin = self.peer_origin(&message, stamp, crossing);
                (origin.publisher, origin.durability) = (publisher, durability);
                let mut envelope = Envelope::from_shared(message);
                let mut routed = self.route(&mut envelope, &origin, stamp);
                if let Some(stamp) = stamp {
                    routed.gate.stored = routed.gate.stored.max(self.keep(&mut envelope, stamp));
                }
                routed
            }
            Item::Join(filter, member) => {
                let told = self.join(&filter, member);
                Routed { leaf: told.leaf, ..Routed::default() }
            }
            Item::Leave(filter, owner) => {
                self.leave(&filter, owner);
                Routed { leaf: self.peers.leaf_if_any(), ..Routed::default() }
            }
        }
    }

    /// The session that a message of a group was for is gone: chooses another one. Spec: v5 section 4.8.2.
    fn hand_out_again(&mut self, round: u64, handout: Handout) {
        let Handout { filter, message, publisher, durability, crossing, .. } = handout;
        let Some(share) = self.shares.find(&filter) else { return };
        let origin =
            Origin { publisher, durability, is_from_peer: true, crossing, ..Origin::default() };
        let mut routed = Routed::default();
        self.deliver_shared(share, &mut Envelope::from_shared(message), &origin, &mut routed);
        self.record_takers(&origin, None, &mut routed);
        let wait = Wait { stored: routed.gate.stored, durability, leaf: routed.leaf };
        self.peers.prolong(round, wait);
    }

    /// Returns the record that the answer waits for.
    fn handle_leaf(&mut self, from: u16, round: u64, leaf: Leaf) -> u64 {
        let key = Target::Peer(from).key();
        match leaf {
            Leaf::Need(path) => {
                self.router.insert(&path, key, Route::any());
                0
            }
            Leaf::NeedNot(path) => {
                self.router.remove(&path, key);
                0
            }
            Leaf::Deliver(handout) => {
                let entry = self.registry.owned(handout.slot, handout.owner);
                if entry.is_none_or(|entry| !entry.subscriptions.contains_key(&handout.filter)) {
                    self.peers.give_back(from, round, handout);
                    return 0;
                }
                let Handout { filter, slot, owner, message, delivery, publisher, .. } = handout;
                let qos = delivery.qos;
                let mut envelope = Envelope::from_shared(message);
                let stored = self.deliver(slot, &mut envelope, delivery, publisher);
                match handout.crossing.filter(|_| qos == QoS::ExactlyOnce) {
                    Some(crossing) => self.journal.write(crossing.taken_by_group(filter, owner)),
                    None => stored,
                }
            }
        }
    }

    fn handle_note(&mut self, note: Note) {
        match note {
            Note::Pause(link) => self.pause_publisher(link),
            Note::Resume(link) => self.resume_publisher(link),
            Note::Presence(filter, owner, is_online) => {
                self.shares.set_online(&filter, owner, is_online);
            }
            Note::Hello => self.peers.greet(),
        }
    }

    /// All peers are known: what waited for them goes on.
    pub(super) fn begin_work(&mut self) {
        // A will that is due, above all, before its client comes back.
        self.expire();
        for (id, connect) in core::mem::take(&mut self.early) {
            if let Some(at) = self.links.find(id) {
                self.handle_connect(at, connect);
            }
        }
        for id in self.links.ids() {
            self.go_on(id.slot as usize);
        }
    }
}
