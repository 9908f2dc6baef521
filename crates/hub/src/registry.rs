//! Sessions: by client identifier, by slot, and in the order in which they expire.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use indexmap::IndexMap;
use postrider_proto::{
    Gate, Session, SessionConfig, Time,
    mutation::{Mutation, planted},
    wire::{ClientId, Filter, SubscribeOptions},
};
use slab::Slab;

use crate::{cursor::Replay, hash::KeyedHash, stall::Stall, will::Will};

/// One session and all that belongs to it.
#[derive(Debug)]
pub(crate) struct Entry {
    // Session: recorded.
    /// Number in records, never reused, unique over all hubs of a broker.
    pub(crate) owner: u64,
    pub(crate) client_id: ClientId,
    pub(crate) session: Session,
    pub(crate) subscriptions: Subscriptions,
    /// Seconds that it lives without a link; `u32::MAX` is for ever.
    pub(crate) expiry_s: u32,
    /// Whether a record of it is in the store, so that its end must be recorded too.
    pub(crate) is_recorded: bool,
    pub(crate) will: Option<Will>,
    // Link: reset when it ends.
    /// Slot of its link.
    pub(crate) link: Option<usize>,
    /// Key in the registry's list of sessions without a link.
    offline: Option<(Time, u64)>,
    /// Publishers that wait because its link reads slowly.
    pub(crate) stall: Option<Box<Stall>>,
    /// Retained messages on their way to it.
    pub(crate) replay: Replay,
    // Batch: scratch.
    /// The publish that matched it last, and where its delivery stands in the list of hits.
    pub(crate) mark: u64,
    pub(crate) hit: usize,
    /// Whether it stands in the list of sessions to pump.
    pub(crate) is_pump_due: bool,
    /// Whether it stands in the list of sessions that want a part of their queue back.
    pub(crate) is_paging_due: bool,
    /// Whether it stands in the list of sessions with retained messages to send.
    pub(crate) is_replay_due: bool,
    /// What the last accepted publish of its client waits for; a repeated one waits for it too.
    pub(crate) accepted: Gate,
    /// How many of its filters are shared.
    pub(crate) shared: u32,
}

/// Filters of one session in the order in which they were added.
pub(crate) type Subscriptions = IndexMap<Filter, Subscription, foldhash::fast::FixedState>;

/// What a session wants of a filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscription {
    pub(crate) options: SubscribeOptions,
    pub(crate) identifier: Option<u32>,
    /// Serial of the cursor that sends it retained messages; 0 if none was begun.
    pub(crate) cursor: u64,
}

impl Subscription {
    /// As a client asked for it.
    pub(crate) fn new(options: SubscribeOptions, identifier: Option<u32>) -> Self {
        Self { options, identifier, cursor: 0 }
    }
}

/// All sessions of a hub.
pub(crate) struct Registry {
    hash: KeyedHash,
    seed: u64,
    entries: Slab<Entry>,
    by_client: HashTable<usize>,
    /// Sessions without a link by the time at which they expire.
    offline: BTreeMap<(Time, u64), usize>,
    offline_count: u64,
    owner_next: u64,
    owner_step: u64,
    /// The greatest number that is kept from being used.
    owner_reserved: u64,
}

impl Registry {
    /// No sessions. The hub's `index` and the number of `hubs` keep owner numbers apart.
    pub(crate) fn new(seed: u64, index: u16, hubs: u16) -> Self {
        Self {
            hash: KeyedHash::new(seed),
            seed,
            entries: Slab::new(),
            by_client: HashTable::new(),
            offline: BTreeMap::new(),
            offline_count: 0,
            owner_next: 1 + u64::from(index),
            owner_step: u64::from(hubs.max(1)),
            owner_reserved: 0,
        }
    }

    /// Adds a session for a client identifier that has none. Returns its slot.
    pub(crate) fn create(&mut self, client_id: ClientId, config: SessionConfig) -> usize {
        let owner = self.take_number();
        self.create_owned(client_id, owner, config)
    }

    /// A number of its own for something that is no session.
    pub(crate) fn take_number(&mut self) -> u64 {
        let owner = self.owner_next;
        self.owner_next += self.owner_step;
        owner
    }

    /// As [`Registry::create`], with the owner number of a stored session.
    pub(crate) fn create_owned(
        &mut self,
        client_id: ClientId,
        owner: u64,
        config: SessionConfig,
    ) -> usize {
        debug_assert!(self.find(&client_id).is_none(), "a client has one session");
        let hash = self.hash.bytes(client_id.text().as_bytes());
        // Filters are chosen by strangers: each session hashes them differently.
        let keys = self.hash.pair(self.seed, owner);
        let slot = self.entries.insert(Entry {
            owner,
            client_id,
            session: Session::new(owner, config),
            subscriptions: IndexMap::with_hasher(foldhash::fast::FixedState::with_seed(keys)),
            expiry_s: 0,
            is_recorded: false,
            will: None,
            link: None,
            offline: None,
            stall: None,
            replay: Replay::default(),
            mark: 0,
            hit: 0,
            is_pump_due: false,
            is_paging_due: false,
            is_replay_due: false,
            accepted: Gate::default(),
            shared: 0,
        });
        let Self { by_client, entries, hash: keyed, .. } = self;
        by_client.insert_unique(hash, slot, |&slot| rehash(keyed, entries, slot));
        slot
    }

    /// Keeps `owner` from being used for a new session.
    pub(crate) fn reserve(&mut self, owner: u64) {
        self.owner_reserved = self.owner_reserved.max(owner);
        if owner >= self.owner_next {
            let steps = (owner - self.owner_next) / self.owner_step + 1;
            self.owner_next += steps * self.owner_step;
        }
    }

    /// The greatest number of [`Registry::reserve`].
    pub(crate) fn reserved(&self) -> u64 {
        self.owner_reserved
    }

    /// Removes a session; returns it.
    pub(crate) fn remove(&mut self, slot: usize) -> Option<Entry> {
        self.set_online(slot);
        let entry = self.entries.try_remove(slot)?;
        let hash = self.hash.bytes(entry.client_id.text().as_bytes());
        if let Ok(found) = self.by_client.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        Some(entry)
    }

    /// Puts a session into the list of those without a link, or moves it there.
    pub(crate) fn set_offline(&mut self, slot: usize, since: Time) {
        self.set_online(slot);
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let expires = match entry.expiry_s {
            u32::MAX => Time(u64::MAX),
            _ if planted(Mutation::SessionExpiresEarly) => since,
            seconds => since.plus_s(u64::from(seconds)),
        };
        self.offline_count += 1;
        let key = (expires, self.offline_count);
        entry.offline = Some(key);
        self.offline.insert(key, slot);
    }

    /// Takes a session off the list of those without a link.
    pub(crate) fn set_online(&mut self, slot: usize) {
        if let Some(key) = self.entries.get_mut(slot).and_then(|entry| entry.offline.take()) {
            self.offline.remove(&key);
        }
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Entry> {
        self.entries.get_mut(slot)
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&Entry> {
        self.entries.get(slot)
    }

    /// The session in a slot, if it is still the one with this number.
    pub(crate) fn owned(&mut self, slot: usize, owner: u64) -> Option<&mut Entry> {
        self.entries.get_mut(slot).filter(|entry| entry.owner == owner)
    }

    /// The slot of a client's session.
    pub(crate) fn find(&self, client_id: &ClientId) -> Option<usize> {
        let hash = self.hash.bytes(client_id.text().as_bytes());
        let is_it =
            |&slot: &usize| self.entries.get(slot).is_some_and(|e| e.client_id == *client_id);
        self.by_client.find(hash, is_it).copied()
    }

    /// The session without a link that expires first, and when.
    pub(crate) fn first_offline(&self) -> Option<(Time, usize)> {
        self.offline.first_key_value().map(|(&(expires, _), &slot)| (expires, slot))
    }

    /// How many sessions have no link.
    pub(crate) fn offline_len(&self) -> usize {
        self.offline.len()
    }

    /// All sessions, in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter()
    }

    /// As [`Registry::iter`].
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Entry)> {
        self.entries.iter_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn rehash(hash: &KeyedHash, entries: &Slab<Entry>, slot: usize) -> u64 {
    entries.get(slot).map_or(0, |entry| hash.bytes(entry.client_id.text().as_bytes()))
}

impl core::fmt::Debug for Registry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Registry")
            .field("sessions", &self.entries.len())
            .field("offline", &self.offline.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(index: u16, hubs: u16) -> Registry {
        Registry::new(7, index, hubs)
    }

    fn id(text: &str) -> ClientId {
        ClientId::new(text).expect("a client id")
    }

    #[test]
    fn owner_numbers_of_two_hubs_differ() {
        let (mut one, mut two) = (registry(0, 2), registry(1, 2));
        let mut owners = Vec::new();
        for name in ["a", "b", "c"] {
            for registry in [&mut one, &mut two] {
                let slot = registry.create(id(name), SessionConfig::default());
                owners.push(registry.get(slot).expect("there").owner);
            }
        }
        assert_eq!(owners, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_stored_owner_number_is_not_given_again() {
        let mut registry = registry(1, 3);
        registry.reserve(2);
        registry.reserve(100);
        let slot = registry.create(id("a"), SessionConfig::default());
        let owner = registry.get(slot).expect("there").owner;
        assert_eq!((owner, owner % 3), (101, 2));
    }

    #[test]
    fn sessions_without_a_link_expire_in_order() {
        let mut registry = registry(0, 1);
        for (name, expiry_s) in [("a", 50), ("b", u32::MAX), ("c", 10)] {
            let slot = registry.create(id(name), SessionConfig::default());
            registry.get_mut(slot).expect("there").expiry_s = expiry_s;
            registry.set_offline(slot, Time(1000));
        }
        let mut order = Vec::new();
        while let Some((expires, slot)) = registry.first_offline() {
            order.push((registry.remove(slot).expect("there").client_id, expires));
        }
        let times = [("c", Time(11_000)), ("a", Time(51_000)), ("b", Time(u64::MAX))];
        assert_eq!(order, times.map(|(name, time)| (id(name), time)));
        assert!(registry.find(&id("a")).is_none());
        assert_eq!((registry.len(), registry.offline_len()), (0, 0));
    }
}
