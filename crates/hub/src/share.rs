//! Shared subscriptions: groups whose members take turns.

use hashbrown::HashTable;
use postrider_proto::wire::Filter;
use slab::Slab;

use crate::{hash::KeyedHash, shared::Group};

/// One session in a group; it may live on another hub.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Index of the hub where its session lives.
    pub(crate) hub: u16,
    /// Slot of the session there.
    pub(crate) slot: usize,
    /// Number of the session; also the member's key in the group.
    pub(crate) owner: u64,
    /// What it subscribed to.
    pub(crate) route: crate::route::Route,
    /// Whether it has a link, as far as this hub was told; only used for members on other hubs.
    pub(crate) is_online: bool,
}

/// A share name with a filter. Spec: v5 section 4.8.2.
pub(crate) struct Share {
    /// The whole `$share/{name}/{filter}`.
    pub(crate) filter: Filter,
    pub(crate) members: Group<Member>,
}

/// The groups whose home is this hub.
pub(crate) struct Shares {
    hash: KeyedHash,
    shares: Slab<Share>,
    by_filter: HashTable<usize>,
}

impl Shares {
    /// No groups.
    pub(crate) fn new(seed: u64) -> Self {
        Self { hash: KeyedHash::new(seed), shares: Slab::new(), by_filter: HashTable::new() }
    }

    /// The slot of a group.
    pub(crate) fn find(&self, filter: &Filter) -> Option<usize> {
        let hash = self.hash.bytes(filter.text().as_bytes());
        let is_it = |&slot: &usize| self.shares.get(slot).is_some_and(|s| s.filter == *filter);
        self.by_filter.find(hash, is_it).copied()
    }

    /// Adds a member, or changes what it wants. Returns the group's slot, and whether the group is new.
    pub(crate) fn join(&mut self, filter: &Filter, member: Member) -> (usize, bool) {
        let found = self.find(filter);
        let slot = found.unwrap_or_else(|| self.add(filter));
        if let Some(share) = self.shares.get_mut(slot) {
            share.members.insert(member.owner, member);
        }
        (slot, found.is_none())
    }

    /// Removes a member. Returns the group's slot if the group ended with it.
    pub(crate) fn leave(&mut self, filter: &Filter, owner: u64) -> Option<usize> {
        let slot = self.find(filter)?;
        let share = self.shares.get_mut(slot)?;
        share.members.remove(owner);
        if !share.members.is_empty() {
            return None;
        }
        let hash = self.hash.bytes(filter.text().as_bytes());
        if let Ok(found) = self.by_filter.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        self.shares.try_remove(slot).map(|_| slot)
    }

    /// Notes whether a member has a link.
    pub(crate) fn set_online(&mut self, filter: &Filter, owner: u64, is_online: bool) {
        let Some(share) = self.find(filter).and_then(|slot| self.shares.get_mut(slot)) else {
            return;
        };
        let Some(member) = share.members.get(owner).cloned() else { return };
        share.members.insert(owner, Member { is_online, ..member });
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Share> {
        self.shares.get_mut(slot)
    }

    fn add(&mut self, filter: &Filter) -> usize {
        let share = Share { filter: filter.clone(), members: Group::new() };
        let slot = self.shares.insert(share);
        let Self { by_filter, shares, hash } = self;
        let rehash = |&slot: &usize| {
            shares.get(slot).map_or(0, |share| hash.bytes(share.filter.text().as_bytes()))
        };
        by_filter.insert_unique(hash.bytes(filter.text().as_bytes()), slot, rehash);
        slot
    }
}

impl core::fmt::Debug for Shares {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shares").field("groups", &self.shares.len()).finish_non_exhaustive()
    }
}
