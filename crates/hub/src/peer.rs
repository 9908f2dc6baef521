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
    Delivery, Durability, Journal, Message, Stamp,
    wire::{Bytes, Filter},
};

use crate::{
    LinkId, Output, PeerMessage, crossing::Crossing, hash::KeyedHash, share::Member,
    stall::Publisher,
};

/// All that one hub tells another in one batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parcel {
    /// Rounds of items that are done, by the number the receiver gave them.
    pub(crate) items_done: Vec<u64>,
    /// Rounds of leaves that are done.
    pub(crate) leaves_done: Vec<u64>,
    /// What of these rounds of leaves could not be delivered. It comes no later than that they are done.
    pub(crate) returned: Vec<(u64, Handout)>,
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
        /// What is known of a QoS 2 message that several hubs store.
        crossing: Option<Crossing>,
    },
    /// A session joins a group whose home is the receiver, or changes what it wants.
    Join(Filter, Member),
    /// A session leaves a group.
    Leave(Filter, u64),
}

/// Something that can be answered without asking anybody else.
#[derive(Clone, Debug)]
pub(crate) enum Leaf {
    /// The sender has its first subscriber of this path.
    Need(Bytes),
    /// The sender lost its last subscriber of this path.
    NeedNot(Bytes),
    /// A message of a shared group for one session of the receiver.
    Deliver(Handout),
}

/// A message of a shared group for one session on another hub. It comes back if the session is gone: then another one
/// is chosen.
#[derive(Clone, Debug)]
pub(crate) struct Handout {
    pub(crate) filter: Filter,
    pub(crate) slot: usize,
    pub(crate) owner: u64,
    pub(crate) message: Arc<Message>,
    pub(crate) delivery: Delivery,
    pub(crate) publisher: Option<Publisher>,
    pub(crate) durability: Durability,
    pub(crate) crossing: Option<Crossing>,
}

impl Item {
    /// In which sense it must be stored before it is answered.
    pub(crate) fn durability(&self) -> Durability {
        match self {
            Self::Publish { durability, .. } => *durability,
            Self::Join(..) | Self::Leave(..) => Durability::Memory,
        }
    }
}

impl Leaf {
    /// In which sense it must be stored before it is answered.
    pub(crate) fn durability(&self) -> Durability {
        match self {
            Self::Need(_) | Self::NeedNot(_) => Durability::Memory,
            Self::Deliver(handout) => handout.durability,
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
    wait: Wait,
}

/// What must be reached besides the answers of peers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wait {
    /// Sequence number that must be stored, and in which sense.
    pub(crate) stored: u64,
    pub(crate) durability: Durability,
    /// Round of our leaves that must be done.
    pub(crate) leaf: u64,
}

/// An answer that we owe.
#[derive(Debug)]
pub(crate) struct Debt {
    pub(crate) hub: u16,
    pub(crate) kind: Kind,
    pub(crate) round: u64,
    pub(crate) wait: Wait,
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
    /// Whether work has begun.
    is_working: bool,
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
            is_working: false,
        }
    }

    /// Whether every peer has said what it recovered, and answered what we did. Until then a message could miss a
    /// subscriber there, or a member of ours in a group whose home is there.
    pub(crate) fn are_known(&self) -> bool {
        self.strangers == 0 && (self.has_said_hello || !self.are_there())
    }

    /// A peer said all.
    pub(crate) fn greet(&mut self) {
        self.strangers = self.strangers.saturating_sub(1);
    }

    /// Whether all are known and work has not begun.
    pub(crate) fn is_work_due(&self) -> bool {
        self.are_known() && self.are_there() && !self.is_working
    }

    /// As [`Peers::is_work_due`], once.
    pub(crate) fn begin(&mut self) -> bool {
        let is_due = self.is_work_due();
        self.is_working |= is_due;
        is_due
    }

    /// Whether links are listened to: what was due when the peers became known, a will above all, goes first.
    pub(crate) fn is_working(&self) -> bool {
        self.is_working || !self.are_there()
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

    /// Gives back what a peer wanted to be delivered in this round of its leaves.
    pub(crate) fn give_back(&mut self, hub: u16, round: u64, handout: Handout) {
        if let Some(parcel) = self.parcels.get_mut(usize::from(hub)) {
            parcel.returned.push((round, handout));
        }
    }

    /// What waits for this round of leaves waits for this too: something of the round came back and went elsewhere.
    pub(crate) fn prolong(&mut self, leaf: u64, more: Wait) {
        let debts = self.debts.iter_mut().map(|debt| &mut debt.wait);
        let rounds = self.items.sent.iter_mut().map(|round| &mut round.wait);
        for wait in debts.chain(rounds).filter(|wait| wait.leaf >= leaf) {
            wait.add(more);
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
    pub(crate) fn handle_done(&mut self, items: &[u64], leaves: &[u64]) {
        for &round in leaves {
            self.leaves.answer(round);
        }
        for &round in items {
            self.items.answer(round);
        }
    }

    /// Moves on as far as answers and the store allow. Returns whether fences opened.
    pub(crate) fn advance(&mut self, journal: &Journal) -> bool {
        self.leaves.advance(journal, u64::MAX);
        self.items.advance(journal, self.leaves.done)
    }

    /// Closes the rounds and hands out what was gathered, with the answers that are due. Returns whether an answer waits
    /// for a sync.
    pub(crate) fn flush(&mut self, journal: &Journal, outputs: &mut VecDeque<Output>) -> bool {
        if !self.are_there() {
            return false;
        }
        let mut awaits_sync = self.items.sent.iter().any(|round| round.wait.awaits_sync(journal));
        let Self { debts, parcels, leaves, .. } = self;
        debts.retain(|debt| {
            awaits_sync |= debt.wait.awaits_sync(journal);
            let is_due = debt.wait.is_over(journal, leaves.done);
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
            self.leaves.close(Round { waiting: leaves_to, wait: Wait::default() });
        }
        if items_to > 0 || leaves_to > 0 {
            let wait = Wait { leaf: self.leaves.open - 1, ..Wait::default() };
            self.items.close(Round { waiting: items_to, wait });
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
            && self.returned.is_empty()
            && self.notes.is_empty()
            && self.leaves.is_none()
            && self.items.is_none()
    }
}

impl Wait {
    fn add(&mut self, more: Self) {
        self.stored = self.stored.max(more.stored);
        self.durability = self.durability.max(more.durability);
        self.leaf = self.leaf.max(more.leaf);
    }

    fn is_over(self, journal: &Journal, leaves_done: u64) -> bool {
        journal.is_stored(self.stored, self.durability) && self.leaf <= leaves_done
    }

    fn awaits_sync(self, journal: &Journal) -> bool {
        let is_durable = self.durability == Durability::Durable;
        is_durable && !journal.is_stored(self.stored, self.durability)
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

    fn advance(&mut self, journal: &Journal, leaves_done: u64) -> bool {
        let before = self.done;
        while self
            .sent
            .pop_front_if(|round| round.waiting == 0 && round.wait.is_over(journal, leaves_done))
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
