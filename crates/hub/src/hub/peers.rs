//! What the other hubs say.

use postrider_proto::{Durability, Envelope};

use super::{
    Hub,
    publish::{Origin, Routed},
};
use crate::{
    peer::{Debt, Item, Kind, Leaf, Note, Parcel},
    route::{Route, Target},
};

impl Hub {
    /// Opens what a peer sent in one batch.
    pub(super) fn handle_parcel(&mut self, from: u16, parcel: Parcel) {
        self.turn = 0;
        self.peers.handle_done(&parcel);
        if self.peers.advance() {
            // A SUBACK that waited for this goes before the messages that come with it.
            self.open_gates();
        }
        if let Some((round, leaves)) = parcel.leaves {
            let (mut stored, mut durability) = (0, Durability::Memory);
            for leaf in leaves {
                durability = durability.max(leaf.durability());
                stored = stored.max(self.handle_leaf(from, leaf));
            }
            let (hub, kind, leaf) = (from, Kind::Leaves, 0);
            self.peers.owe(Debt { hub, kind, round, stored, durability, leaf });
        }
        if let Some((round, items)) = parcel.items {
            let (mut all, mut durability) = (Routed::default(), Durability::Memory);
            for item in items {
                durability = durability.max(item.durability());
                let done = self.handle_item(item);
                all.gate.stored = all.gate.stored.max(done.gate.stored);
                all.leaf = all.leaf.max(done.leaf);
            }
            let (hub, kind, stored, leaf) = (from, Kind::Items, all.gate.stored, all.leaf);
            self.peers.owe(Debt { hub, kind, round, stored, durability, leaf });
        }
        for note in parcel.notes {
            self.handle_note(note);
        }
    }

    fn handle_item(&mut self, item: Item) -> Routed {
        match item {
            Item::Publish { message, publisher, stamp, durability } => {
                let overtaken = stamp
                    .zip(message.head.topic.as_ref())
                    .and_then(|(stamp, topic)| self.keeper.overtaken(topic, stamp));
                let session = None;
                let origin =
                    Origin { session, publisher, durability, is_from_peer: true, overtaken };
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
            Item::Returned(filter, message) => {
                let mut routed = Routed::default();
                if let Some(share) = self.shares.find(&filter) {
                    let origin = Origin { is_from_peer: true, ..Origin::default() };
                    let mut envelope = Envelope::from_shared(message);
                    self.deliver_shared(share, &mut envelope, &origin, &mut routed);
                }
                routed
            }
        }
    }

    /// Returns the record that the answer waits for.
    fn handle_leaf(&mut self, from: u16, leaf: Leaf) -> u64 {
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
            Leaf::Deliver { filter, slot, owner, message, delivery, publisher, .. } => {
                let entry = self.registry.owned(slot, owner);
                if entry.is_none_or(|entry| !entry.subscriptions.contains_key(&filter)) {
                    self.peers.tell(from, Item::Returned(filter, message));
                    return 0;
                }
                let mut envelope = Envelope::from_shared(message);
                self.deliver(slot, &mut envelope, delivery, publisher)
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
            Note::Hello => {
                if self.peers.greet() {
                    self.begin_work();
                }
            }
        }
    }

    /// All peers are known: what waited for them goes on.
    fn begin_work(&mut self) {
        self.expire();
        for id in self.links.ids() {
            self.go_on(id.slot as usize);
        }
    }
}
