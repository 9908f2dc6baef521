//! Subscription identifiers: which filters need one, and which may share it.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use postrider_proto::wire::RetainHandling;

use super::{Dispatch, Entry, Wanted, forget_key};

/// What is subscribed by one request.
#[derive(Debug)]
pub(super) struct Company {
    keys: HashSet<usize, RandomState>,
    /// Identifiers that begin with it.
    identifiers: Vec<u32>,
}

impl Company {
    pub(super) fn new(keys: &[usize]) -> Self {
        Self { keys: keys.iter().copied().collect(), identifiers: Vec::new() }
    }
}

impl Dispatch {
    /// Gives identifiers to an entry and to all that it overlaps, if there are any. Says which of the others changed; the
    /// company has its own turn.
    pub(super) fn tell_apart(&mut self, key: usize, company: &mut Company) -> Vec<Wanted> {
        let mut others = self.overlapping(key);
        let lacks_one = !others.is_empty() && !self.has_identifier(key);
        if lacks_one || self.needs_another(key) {
            let identifier = self.identifier_beside(key, &others, company);
            self.identify(key, identifier);
        }
        others.retain(|other| !self.has_identifier(*other) && !company.keys.contains(other));
        let mut changed = Vec::new();
        for other in others {
            let identifier = self.free_identifier();
            self.identify(other, identifier);
            let Some(entry) = self.entries.get_mut(other) else { continue };
            // Its retained messages were sent; they are wanted again only if the server has lost the session.
            if entry.options.retain_handling == RetainHandling::Send {
                entry.options.retain_handling = RetainHandling::SendIfNew;
            }
            changed.push(entry.wanted());
        }
        changed
    }

    /// Gives an entry an identifier, in place of the one it has.
    pub(super) fn identify(&mut self, key: usize, identifier: u32) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.identifier == Some(identifier) {
            return;
        }
        entry.former.extend(entry.identifier.replace(identifier));
        // Messages with an older one go where their topic says.
        let forgotten = (entry.former.len() > FORMER_MAX).then(|| entry.former.remove(0));
        if let Some(forgotten) = forgotten {
            forget_key(&mut self.by_identifier, &forgotten, key);
        }
        let keys = self.by_identifier.entry(identifier).or_default();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }

    /// An identifier for an entry. Filters of one company that no topic matches together share one, so that they need no
    /// SUBSCRIBE each: a SUBSCRIBE has one identifier for all of its filters. Spec: v5 section 3.8.2.1.2.
    fn identifier_beside(&mut self, key: usize, others: &[usize], company: &mut Company) -> u32 {
        let entries = others.iter().chain([&key]).filter_map(|key| self.entries.get(*key));
        let taken: HashSet<u32, RandomState> = entries.flat_map(Entry::identifiers).collect();
        let mut shared = company.identifiers.iter().copied();
        if let Some(identifier) = shared.find(|identifier| !taken.contains(identifier)) {
            return identifier;
        }
        let identifier = self.free_identifier();
        company.identifiers.push(identifier);
        identifier
    }

    fn has_identifier(&self, key: usize) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.identifier.is_some())
    }

    /// Other entries that a topic can match together with this one.
    fn overlapping(&self, key: usize) -> Vec<usize> {
        let Some(entry) = self.entries.get(key) else { return Vec::new() };
        let mut others = Vec::new();
        if entry.filter.has_wildcard() {
            self.plain.find_overlapping(&entry.filter, &mut others);
            self.wildcards.find_overlapping(&entry.filter, &mut others);
        } else {
            let path = entry.filter.path_bytes();
            others.extend(self.by_topic.get(path).into_iter().flatten());
            self.wildcards.find(path, &mut others);
        }
        others.retain(|other| *other != key);
        others.sort_unstable();
        others
    }

    fn free_identifier(&mut self) -> u32 {
        while self.by_identifier.contains_key(&self.identifier_next) {
            self.identifier_next = self.identifier_next % IDENTIFIER_MAX + 1;
        }
        let identifier = self.identifier_next;
        self.identifier_next = self.identifier_next % IDENTIFIER_MAX + 1;
        identifier
    }
}

impl Entry {
    /// The one of now and those of before.
    pub(super) fn identifiers(&self) -> impl Iterator<Item = u32> {
        self.identifier.iter().chain(&self.former).copied()
    }
}

/// Largest subscription identifier. Spec: v5 section 3.8.2.1.2.
const IDENTIFIER_MAX: u32 = 268_435_455;
/// Former identifiers of one filter that are remembered: one for each stream opened beside another in a round trip or so.
const FORMER_MAX: usize = 8;
