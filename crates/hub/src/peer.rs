//! The other hubs of the broker: what they are told, and what waits for their answers.
//!
//! A peer is one more subscriber. Messages to a peer are gathered during a batch and leave as one [`Parcel`].
//!
//! Two kinds of parts want an answer. *Items* (a publish, a change of a shared group) may make the peer tell a third
//! hub something before it can answer; *leaves* (a needed filter, a delivery to one session) never do. An answer to
//! items waits for leaves only, and an answer to leaves waits for the store only, so answers never wait in a circle.

use std::{collections::VecDeque, sync::Arc};

use hashbrown::HashTable;
use postrider_proto::{
    Delivery, Durability, Journal, Message,
    wire::{Bytes, Filter},
};

use crate::{
    LinkId, Output, PeerMessage, hash::KeyedHash, keep::Stamp, share::Member, stall::Publisher,
};

/// All that one hub tells another in one batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parcel {
    /// Rounds of items that are done, by the number the receiver gave them.
    pub(crate) items_done: Vec<u64>,
    /// Rounds of leaves that are done.
    pub(crate) leaves_done: Vec<u64>,
    /// No answer is wanted for these.
    pub(crate) notes: Vec<Note>,
    /// With the number of their round.
    pub(crate) leaves: Option<(u64, Vec<Leaf>)>,
    /// With the number of their round.
    pub(crate) items: Option<(u64, Vec<Item>)>,
}

/// Something to answer once it is done and stored, here and where it is passed on to.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A message for whoever matches.
    Publish {
        message: Arc<Message>,
        /// The link it came from, to be paused if a subscriber is slow.
        publisher: Option<Publisher>,
        /// With RETAIN=1: its place among the writers of its topic.
        stamp: Option<Stamp>,
        durability: Durability,
    },
    /// A session joins a group whose home is the receiver, or changes what it wants.
    Join(Filter, Member),
    /// A session leaves a group.
    Leave(Filter, u64),
    /// A message of a group could not be delivered, since the session is gone: choose another one.
    Returned(Filter, Arc<Message>),
}

/// Something that can be answered without asking anybody else.
#[derive(Clone, Debug)]
pub(crate) enum Leaf {
    /// The sender has its first subscriber of this path.
    Need(Bytes),
    /// The sender lost its last subscriber of this path.
    NeedNot(Bytes),
    /// A message of a shared group for one session of the receiver.
    Deliver {
        filter: Filter,
        slot: usize,
        owner: u64,
        message: Arc<Message>,
        delivery: Delivery,
        publisher: Option<Publisher>,
        durability: Durability,
    },
}

impl Item {
    /// In which sense it must be stored before it is answered.
    pub(crate) fn durability(&self) -> Durability {
        match self {
            Self::Publish { durability, .. } => *durability,
            Self::Join(..) | Self::Leave(..) => Durability::Memory,
            // Its publisher is not known any more.
            Self::Returned(..) => Durability::Durable,
        }
    }
}

impl Leaf {
    /// In which sense it must be stored before it is answered.
    pub(crate) fn durability(&self) -> Durability {
        match self {
            Self::Need(_) | Self::NeedNot(_) => Durability::Memory,
            Self::Deliver { durability, .. } => *durability,
        }
    }
}

/// Something that wants no answer.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// A subscriber of the sender is slow: pause this link of the receiver.
    Pause(LinkId),
    /// Let it go on.
    Resume(LinkId),
    /// A member of a group got a link or lost it.
    Presence(Filter, u64, bool),
    /// All that the sender recovered is known to every hub that must know it.
    Hello,
}

/// Numbers what was sent, and knows how far it is done.
#[derive(Debug)]
struct Rounds {
    /// The number of the round that is being filled, from 1.
    open: u64,
    /// Every round up to this one is done.
    done: u64,
    /// The rounds behind `done` that were sent.
    sent: VecDeque<Round>,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    /// Peers that have not answered.
    waiting: u16,
    /// The round of leaves that must be done too.
    leaf: u64,
}

/// An answer that we owe.
#[derive(Debug)]
pub(crate) struct Debt {
    pub(crate) hub: u16,
    pub(crate) kind: Kind,
    pub(crate) round: u64,
    /// Sequence number that must be stored, and in which sense.
    pub(crate) stored: u64,
    pub(crate) durability: Durability,
    /// Round of our leaves that must be done.
    pub(crate) leaf: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Items,
    Leaves,
}

/// A path that subscribers here want, told to all peers.
#[derive(Debug)]
struct Need {
    path: Bytes,
    count: u64,
    told: Told,
}

/// When the peers were told of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The fence behind which all of them know it.
    pub(crate) fence: u64,
    /// The round of leaves behind which all of them know it.
    pub(crate) leaf: u64,
}

/// The other hubs, seen from one.
pub(crate) struct Peers {
    index: u16,
    hash: KeyedHash,
    /// What leaves with the next drain, by hub; empty if there is one hub only.
    parcels: Vec<Parcel>,
    items: Rounds,
    leaves: Rounds,
    debts: Vec<Debt>,
    needs: HashTable<Need>,
    /// Whether the peers were told that they know all.
    has_said_hello: bool,
    /// Peers that have not said so.
    strangers: u16,
}

impl Peers {
    /// The peers of hub `index` among `hubs`.
    pub(crate) fn new(seed: u64, index: u16, hubs: u16) -> Self {
        let count = if hubs > 1 { usize::from(hubs) } else { 0 };
        Self {
            index,
            hash: KeyedHash::new(seed),
            parcels: vec![Parcel::default(); count],
            items: Rounds::new(),
            leaves: Rounds::new(),
            debts: Vec::new(),
            needs: HashTable::new(),
            has_said_hello: false,
            strangers: hubs.max(1) - 1,
        }
    }

    /// Whether every peer has said what it recovered. Until then a message could miss a subscriber there.
    pub(crate) fn are_known(&self) -> bool {
        self.strangers == 0
    }

    /// A peer said all. Returns whether that was the last one.
    pub(crate) fn greet(&mut self) -> bool {
        self.strangers = self.strangers.saturating_sub(1);
        self.strangers == 0
    }

    /// Whether there are other hubs.
    pub(crate) fn are_there(&self) -> bool {
        !self.parcels.is_empty()
    }

    /// The other hubs' indices.
    pub(crate) fn others(&self) -> impl Iterator<Item = u16> + use<> {
        let own = self.index;
        (0..self.parcels.len() as u16).filter(move |&hub| hub != own)
    }

    /// The fence for what is put into parcels now: it opens when every peer has answered.
    pub(crate) fn fence(&self) -> u64 {
        self.items.open
    }

    /// Every fence up to this one is open.
    pub(crate) fn fenced(&self) -> u64 {
        self.items.done
    }

    /// The number of the round of leaves that is being filled.
    pub(crate) fn leaf(&self) -> u64 {
        self.leaves.open
    }

    /// As [`Peers::leaf`] if any leaf is in it, else the round before.
    pub(crate) fn leaf_if_any(&self) -> u64 {
        let is_any = self.parcels.iter().any(|parcel| parcel.leaves.is_some());
        self.leaves.open - u64::from(!is_any)
    }

    /// Tells a peer something.
    pub(crate) fn tell(&mut self, hub: u16, item: Item) {
        if let Some(parcel) = self.parcels.get_mut(usize::from(hub)) {
            parcel.items.get_or_insert_default().1.push(item);
        }
    }

    /// As [`Peers::tell`], for a leaf.
    pub(crate) fn tell_leaf(&mut self, hub: u16, leaf: Leaf) {
        if let Some(parcel) = self.parcels.get_mut(usize::from(hub)) {
            parcel.leaves.get_or_insert_default().1.push(leaf);
        }
    }

    /// As [`Peers::tell`], for a note.
    pub(crate) fn note(&mut self, hub: u16, note: Note) {
        if let Some(parcel) = self.parcels.get_mut(usize::from(hub)) {
            parcel.notes.push(note);
        }
    }

    /// One more subscriber here wants `path`. Returns when every peer knows of it.
    pub(crate) fn need(&mut self, path: &[u8]) -> Told {
        if !self.are_there() {
            return Told::default();
        }
        let hash = self.hash.bytes(path);
        if let Some(need) = self.needs.find_mut(hash, |need| need.path == path) {
            need.count += 1;
            return need.told;
        }
        let path = Bytes::copy_from_slice(path);
        for hub in self.others() {
            self.tell_leaf(hub, Leaf::Need(path.clone()));
        }
        let told = Told { fence: self.fence(), leaf: self.leaf() };
        let Self { needs, hash: keyed, .. } = self;
        needs.insert_unique(hash, Need { path, count: 1, told }, |need| keyed.bytes(&need.path));
        told
    }

    /// When every peer knows of a path that is wanted already.
    pub(crate) fn told(&self, path: &[u8]) -> Told {
        let found = self.needs.find(self.hash.bytes(path), |need| need.path == path);
        found.map_or_else(Told::default, |need| need.told)
    }

    /// One subscriber less here wants `path`.
    pub(crate) fn need_not(&mut self, path: &[u8]) {
        let hash = self.hash.bytes(path);
        let Ok(mut found) = self.needs.find_entry(hash, |need| need.path == path) else { return };
        let need = found.get_mut();
        need.count -= 1;
        if need.count == 0 {
            let (need, _) = found.remove();
            for hub in self.others() {
                self.tell_leaf(hub, Leaf::NeedNot(need.path.clone()));
            }
        }
    }

    /// Notes that a round of a peer was handled; it is answered once what it waits for is reached.
    pub(crate) fn owe(&mut self, debt: Debt) {
        self.debts.push(debt);
    }

    /// A peer answered.
    pub(crate) fn handle_done(&mut self, parcel: &Parcel) {
        for &round in &parcel.leaves_done {
            self.leaves.answer(round);
        }
        for &round in &parcel.items_done {
            self.items.answer(round);
        }
    }

    /// Moves on as far as answers allow. Returns whether fences opened.
    pub(crate) fn advance(&mut self) -> bool {
        self.leaves.advance(u64::MAX);
        self.items.advance(self.leaves.done)
    }

    /// Closes the rounds and hands out what was gathered, with the answers that are due. Returns whether an answer waits
    /// for a sync.
    pub(crate) fn flush(&mut self, journal: &Journal, outputs: &mut VecDeque<Output>) -> bool {
        if !self.are_there() {
            return false;
        }
        let mut awaits_sync = false;
        let Self { debts, parcels, leaves, .. } = self;
        debts.retain(|debt| {
            let is_stored = journal.is_stored(debt.stored, debt.durability);
            awaits_sync |= !is_stored && debt.durability == Durability::Durable;
            let is_due = is_stored && debt.leaf <= leaves.done;
            if is_due && let Some(parcel) = parcels.get_mut(usize::from(debt.hub)) {
                match debt.kind {
                    Kind::Items => parcel.items_done.push(debt.round),
                    Kind::Leaves => parcel.leaves_done.push(debt.round),
                }
            }
            !is_due
        });
        self.say_hello();
        let count = |is_in: fn(&Parcel) -> bool| {
            self.parcels.iter().filter(|parcel| is_in(parcel)).count() as u16
        };
        let items_to = count(|parcel| parcel.items.is_some());
        let leaves_to = count(|parcel| parcel.leaves.is_some());
        let leaf_round = self.leaves.open;
        let item_round = self.items.open;
        if leaves_to > 0 {
            self.leaves.close(Round { waiting: leaves_to, leaf: 0 });
        }
        if items_to > 0 || leaves_to > 0 {
            self.items.close(Round { waiting: items_to, leaf: self.leaves.open - 1 });
        }
        for (hub, parcel) in self.parcels.iter_mut().enumerate() {
            if parcel.is_empty() {
                continue;
            }
            let mut parcel = core::mem::take(parcel);
            if let Some((round, _)) = &mut parcel.leaves {
                *round = leaf_round;
            }
            if let Some((round, _)) = &mut parcel.items {
                *round = item_round;
            }
            outputs.push_back(Output::Peer(hub as u16, PeerMessage(Box::new(parcel))));
        }
        awaits_sync
    }
}

impl Peers {
    /// Says hello once all that was said at the beginning was answered.
    fn say_hello(&mut self) {
        let is_answered = self.items.done + 1 == self.items.open;
        let is_quiet = self.parcels.iter().all(|p| p.items.is_none() && p.leaves.is_none());
        if !self.has_said_hello && is_answered && is_quiet {
            self.has_said_hello = true;
            for hub in self.others() {
                self.note(hub, Note::Hello);
            }
        }
    }
}

impl Parcel {
    fn is_empty(&self) -> bool {
        self.items_done.is_empty()
            && self.leaves_done.is_empty()
            && self.notes.is_empty()
            && self.leaves.is_none()
            && self.items.is_none()
    }
}

impl Rounds {
    fn new() -> Self {
        Self { open: 1, done: 0, sent: VecDeque::new() }
    }

    fn close(&mut self, round: Round) {
        self.sent.push_back(round);
        self.open += 1;
    }

    fn answer(&mut self, number: u64) {
        let index = number.checked_sub(self.done + 1).map(|index| index as usize);
        if let Some(round) = index.and_then(|index| self.sent.get_mut(index)) {
            round.waiting = round.waiting.saturating_sub(1);
        }
    }

    fn advance(&mut self, leaves_done: u64) -> bool {
        let before = self.done;
        while self
            .sent
            .pop_front_if(|round| round.waiting == 0 && round.leaf <= leaves_done)
            .is_some()
        {
            self.done += 1;
        }
        self.done > before
    }
}

impl core::fmt::Debug for Peers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Peers")
            .field("index", &self.index)
            .field("items", &self.items)
            .field("leaves", &self.leaves)
            .finish_non_exhaustive()
    }
}
