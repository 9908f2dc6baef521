//! Which stream gets a message.

mod audience;
mod identifiers;

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
};

use foldhash::fast::RandomState;
use postrider_proto::{
    Time,
    wire::{Filter, SubscribeFilter, SubscribeOptions, Topic},
};
use slab::Slab;
use smallvec::SmallVec;

use self::identifiers::Company;
use crate::{
    Message, SessionEnd, StreamEnd,
    mailbox::Room,
    outlet::{Offered, Outlet},
    queue::{GaveWay, StreamQueue},
    trie::Trie,
};

/// Subscriptions of this session by filter, and their streams.
///
/// Filters that overlap are given subscription identifiers where the server has them, and a message that names
/// identifiers goes to exactly those subscriptions: brokers that send one copy per filter and brokers that send one for all
/// come out the same. A filter that overlaps no other needs none, which keeps messages small and servers fast. Without
/// identifiers a message goes to every filter that matches.
///
/// A second stream on a filter subscribes again, with a new identifier: so the retained messages that the server sends for
/// it are told from those that the first one has had.
#[derive(Debug)]
pub(crate) struct Dispatch {
    entries: Slab<Entry>,
    by_filter: HashMap<Filter, usize, RandomState>,
    by_identifier: HashMap<u32, SmallVec<[usize; 1]>, RandomState>,
    by_stream: HashMap<u64, usize, RandomState>,
    /// Filters without wildcards, by the topic they match; several with shared ones.
    by_topic: HashMap<Vec<u8>, SmallVec<[usize; 1]>, RandomState>,
    wildcards: Trie,
    /// The filters without wildcards once more, to find those that one with wildcards overlaps.
    plain: Trie,
    /// The last topic and what matches it: most programs receive runs of one topic. No topic is empty.
    last: (Vec<u8>, Vec<usize>),
    identifier_next: u32,
    /// Entries with something staged.
    dirty: Vec<usize>,
    /// Entries with a full stream.
    full: Vec<usize>,
    unmatched: Option<Outlet>,
    kept: VecDeque<Message>,
    kept_bytes: usize,
    /// Bounds `kept`.
    room: Room,
    stall_ms: u64,
    found: Vec<usize>,
    counts: Counts,
    /// Streams ended by a message that they could not take; the driver unsubscribes what is left without any.
    orphans: Vec<Filter>,
}

/// One filter.
#[derive(Debug)]
struct Entry {
    filter: Filter,
    options: SubscribeOptions,
    identifier: Option<u32>,
    /// Identifiers of before, the oldest first: messages that name them may still be on their way.
    former: SmallVec<[u32; 1]>,
    /// The program chose the identifier.
    is_identifier_given: bool,
    outlets: SmallVec<[Outlet; 1]>,
    is_dirty: bool,
}

/// Counts of what was not delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) dropped_slow: u64,
    pub(crate) dropped_outdated: u64,
    pub(crate) dropped_unmatched: u64,
    pub(crate) slow_streams: u64,
}

/// What a SUBSCRIBE must say for a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) filter: Filter,
    pub(crate) options: SubscribeOptions,
    pub(crate) identifier: Option<u32>,
}

/// What streams that were added want of the server.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// One for each of them, in their order. Those with one identifier go into one SUBSCRIBE.
    pub(crate) own: Vec<Wanted>,
    /// Filters that they overlap, to be subscribed again with an identifier of their own before them.
    pub(crate) others: Vec<Wanted>,
}

impl Dispatch {
    /// `room` is for the messages kept for a subscription that is still to come: as many as its stream will hold.
    pub(crate) fn new(stall_ms: u64, room: Room) -> Self {
        Self {
            entries: Slab::new(),
            by_filter: HashMap::default(),
            by_identifier: HashMap::default(),
            by_stream: HashMap::default(),
            by_topic: HashMap::default(),
            wildcards: Trie::new(),
            plain: Trie::new(),
            last: (Vec::new(), Vec::new()),
            identifier_next: 1,
            dirty: Vec::new(),
            full: Vec::new(),
            unmatched: None,
            kept: VecDeque::new(),
            kept_bytes: 0,
            room,
            stall_ms,
            found: Vec::new(),
            counts: Counts::default(),
            orphans: Vec::new(),
        }
    }

    /// Adds streams, each to its filter. Says what to subscribe with: the options of the newest, the highest QoS of all.
    ///
    /// Overlapping filters are told apart by identifiers only if `can_identify`.
    pub(crate) fn attach(
        &mut self,
        streams: Vec<(SubscribeFilter, Arc<StreamQueue>)>,
        identifier: Option<u32>,
        can_identify: bool,
    ) -> Attached {
        // All of them are there before one is compared with the others.
        let keys: Vec<usize> = streams.iter().map(|(line, _)| self.key_of(line)).collect();
        let mut company = Company::new(&keys);
        let mut attached = Attached::default();
        for (key, (line, queue)) in keys.into_iter().zip(streams) {
            if let Some(identifier) = identifier {
                self.identify(key, identifier);
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.is_identifier_given = true;
                }
            }
            if can_identify {
                attached.others.extend(self.tell_apart(key, &mut company));
            }
            attached.own.extend(self.open(key, line.options, queue));
        }
        attached
    }

    /// Takes one stream away and ends it. Gives the filter back if it has no stream left.
    pub(crate) fn detach(&mut self, stream: u64, end: StreamEnd) -> Option<Filter> {
        if self.unmatched.as_ref().is_some_and(|outlet| outlet.id() == stream) {
            if let Some(mut outlet) = self.unmatched.take() {
                outlet.end(end);
            }
            return None;
        }
        let key = self.by_stream.remove(&stream)?;
        let entry = self.entries.get_mut(key)?;
        let at = entry.outlets.iter().position(|outlet| outlet.id() == stream)?;
        entry.outlets.remove(at).end(end);
        entry.outlets.is_empty().then(|| entry.filter.clone())
    }

    /// The streams of a filter.
    pub(crate) fn streams(&self, filter: &Filter) -> Vec<u64> {
        let entry = self.by_filter.get(filter).and_then(|key| self.entries.get(*key));
        entry.map_or_else(Vec::new, |entry| entry.outlets.iter().map(Outlet::id).collect())
    }

    /// Filters that have an entry, in no order that means anything.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.entries.iter().map(|(_, entry)| &entry.filter)
    }

    /// Forgets a filter if no stream is left on it.
    pub(crate) fn forget(&mut self, filter: &Filter) {
        let Some(&key) = self.by_filter.get(filter) else { return };
        if self.entries.get(key).is_some_and(|entry| entry.outlets.is_empty()) {
            self.remove(key);
        }
    }

    /// Opens the stream for what matches nothing; the one before ends.
    pub(crate) fn open_unmatched(&mut self, queue: Arc<StreamQueue>) {
        let mut outlet = Outlet::new(queue, None);
        for message in self.kept.drain(..) {
            outlet.stage(message);
        }
        self.kept_bytes = 0;
        outlet.flush();
        if let Some(mut before) = self.unmatched.replace(outlet) {
            before.end(StreamEnd::Unsubscribed);
        }
    }

    /// Stages a message for every stream that gets it.
    pub(crate) fn deliver(&mut self, message: Message, now: Time) {
        let mut found = mem::take(&mut self.found);
        found.clear();
        self.find(&message, &mut found);
        if found.is_empty() {
            self.deliver_unmatched(message, now);
        } else {
            let charge = message.is_retained().then(|| message.charge.clone()).flatten();
            let mut is_meant = false;
            if let Some((last, others)) = found.split_last() {
                for key in others {
                    is_meant |= self.stage(*key, message.clone(), now);
                }
                is_meant |= self.stage(*last, message, now);
            }
            if let Some(charge) = charge.filter(|_| !is_meant) {
                charge.give_up();
            }
        }
        self.found = found;
    }

    /// Stages a message once more for the stream that had it; gives it back if that stream is no more.
    pub(crate) fn restage(&mut self, stream: u64, message: Message) -> Option<Message> {
        if let Some(outlet) = self.unmatched.as_mut().filter(|outlet| outlet.id() == stream) {
            outlet.stage(message);
            return None;
        }
        let key = self.by_stream.get(&stream).copied();
        let Some((key, entry)) = key.and_then(|key| Some((key, self.entries.get_mut(key)?))) else {
            return Some(message);
        };
        let Some(outlet) = entry.outlets.iter_mut().find(|outlet| outlet.id() == stream) else {
            return Some(message);
        };
        outlet.stage(message);
        if !entry.is_dirty {
            entry.is_dirty = true;
            self.dirty.push(key);
        }
        None
    }

    /// Hands over what was staged; once per turn.
    pub(crate) fn flush(&mut self) {
        for key in self.dirty.drain(..) {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.is_dirty = false;
                for outlet in &mut entry.outlets {
                    outlet.flush();
                    self.counts.add(outlet);
                }
            }
        }
        if let Some(unmatched) = &mut self.unmatched {
            unmatched.flush();
        }
    }

    /// Whether reading must stop for a full stream, and until when at most.
    pub(crate) fn stall(&mut self, now: Time, has_waiting_verb: bool) -> Option<Time> {
        let stall_ms = self.stall_ms;
        let mut until = None;
        let mut see = |outlet: &mut Outlet| {
            if outlet.stalls(now, stall_ms, has_waiting_verb) {
                until = until.max(outlet.deadline(stall_ms));
            }
        };
        let entries = &mut self.entries;
        self.full.retain(|key| {
            let Some(entry) = entries.get_mut(*key) else { return false };
            entry.outlets.iter_mut().for_each(&mut see);
            entry.outlets.iter().any(Outlet::is_full)
        });
        if let Some(unmatched) = &mut self.unmatched {
            see(unmatched);
        }
        until
    }

    /// Sets the longest time for which a full stream may stop reading.
    pub(crate) fn set_stall_ms(&mut self, stall_ms: u64) {
        self.stall_ms = stall_ms;
    }

    /// Filters whose last stream was ended for being too slow.
    pub(crate) fn take_orphans(&mut self) -> Vec<Filter> {
        mem::take(&mut self.orphans)
    }

    /// Ends every stream.
    pub(crate) fn end_all(&mut self, end: &SessionEnd) {
        let outlets = self.entries.iter_mut().flat_map(|(_, entry)| entry.outlets.iter_mut());
        for outlet in outlets.chain(self.unmatched.as_mut()) {
            outlet.end(StreamEnd::Over(end.clone()));
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn kept(&self) -> usize {
        self.kept.len()
    }

    fn key_of(&mut self, line: &SubscribeFilter) -> usize {
        let key = self.by_filter.get(&line.filter).copied();
        key.unwrap_or_else(|| self.insert(line.filter.clone(), line.options))
    }

    /// Adds a stream to an entry.
    fn open(
        &mut self,
        key: usize,
        options: SubscribeOptions,
        queue: Arc<StreamQueue>,
    ) -> Option<Wanted> {
        self.by_stream.insert(queue.id, key);
        let entry = self.entries.get_mut(key)?;
        let qos =
            if entry.outlets.is_empty() { options.qos } else { options.qos.max(entry.options.qos) };
        entry.options = SubscribeOptions { qos, ..options };
        let wanted = entry.wanted();
        entry.outlets.push(Outlet::new(queue, entry.identifier));
        self.adopt_kept(key);
        Some(wanted)
    }

    fn insert(&mut self, filter: Filter, options: SubscribeOptions) -> usize {
        let key = self.entries.insert(Entry {
            filter: filter.clone(),
            options,
            identifier: None,
            former: SmallVec::new(),
            is_identifier_given: false,
            outlets: SmallVec::new(),
            is_dirty: false,
        });
        if filter.has_wildcard() {
            self.wildcards.insert(&filter, key);
        } else {
            self.by_topic.entry(filter.path_bytes().to_vec()).or_default().push(key);
            self.plain.insert(&filter, key);
        }
        self.by_filter.insert(filter, key);
        self.last.0.clear();
        key
    }

    fn remove(&mut self, key: usize) {
        let Some(entry) = self.entries.try_remove(key) else { return };
        self.last.0.clear();
        self.by_filter.remove(&entry.filter);
        if entry.filter.has_wildcard() {
            self.wildcards.remove(&entry.filter, key);
        } else {
            forget_key(&mut self.by_topic, entry.filter.path_bytes(), key);
            self.plain.remove(&entry.filter, key);
        }
        for identifier in entry.identifier.iter().chain(&entry.former) {
            forget_key(&mut self.by_identifier, identifier, key);
        }
        self.dirty.retain(|other| *other != key);
        self.full.retain(|other| *other != key);
    }

    fn find(&mut self, message: &Message, found: &mut Vec<usize>) {
        let Some(topic) = message.topic_name() else { return };
        for identifier in message.properties().subscription_identifiers() {
            let count = self.by_identifier.get(&identifier).map_or(0, SmallVec::len);
            if count > NAMED_FEW {
                self.find_by_topic(topic);
                for key in &self.last.1 {
                    let mut named = self.entries.get(*key).into_iter().flat_map(Entry::identifiers);
                    if named.any(|other| other == identifier) && !found.contains(key) {
                        found.push(*key);
                    }
                }
                continue;
            }
            for key in self.by_identifier.get(&identifier).into_iter().flatten() {
                // An identifier of a process before us may stand for another filter today.
                let entry = self.entries.get(*key);
                if entry.is_some_and(|entry| entry.filter.matches(topic)) && !found.contains(key) {
                    found.push(*key);
                }
            }
        }
        if found.is_empty() {
            self.find_by_topic(topic);
            found.extend_from_slice(&self.last.1);
        }
    }

    /// Notes the entries whose filters match a topic.
    fn find_by_topic(&mut self, topic: &Topic) {
        let (last, keys) = &mut self.last;
        if last == topic.as_bytes() {
            return;
        }
        keys.clear();
        if let Some(plain) = self.by_topic.get(topic.as_bytes()) {
            keys.extend_from_slice(plain);
        }
        self.wildcards.find(topic.as_bytes(), keys);
        last.clear();
        last.extend_from_slice(topic.as_bytes());
    }

    /// Says whether any stream was meant to have it.
    fn stage(&mut self, key: usize, message: Message, now: Time) -> bool {
        let audience = self.audience(key, &message);
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let is_meant = |outlet: &Outlet| audience.has(outlet);
        let mut slow = SmallVec::<[u64; 1]>::new();
        let Some(last) = entry.outlets.iter().rposition(is_meant) else { return false };
        let mut offer = |outlet: &mut Outlet, message: Message| {
            let was_full = outlet.is_full();
            match outlet.offer(message, now, self.stall_ms) {
                Offered::Taken => {}
                Offered::Dropped => self.counts.dropped_slow += 1,
                Offered::TooSlow => slow.push(outlet.id()),
            }
            if outlet.is_full() && !was_full && !self.full.contains(&key) {
                self.full.push(key);
            }
        };
        let (others, rest) = entry.outlets.split_at_mut(last);
        for outlet in others.iter_mut().filter(|outlet| is_meant(outlet)) {
            offer(outlet, message.clone());
        }
        if let Some(outlet) = rest.first_mut() {
            offer(outlet, message);
        }
        if !entry.is_dirty {
            entry.is_dirty = true;
            self.dirty.push(key);
        }
        for stream in slow {
            self.counts.slow_streams += 1;
            if let Some(filter) = self.detach(stream, StreamEnd::TooSlow) {
                self.orphans.push(filter);
            }
        }
        true
    }

    fn deliver_unmatched(&mut self, message: Message, now: Time) {
        if let Some(outlet) = &mut self.unmatched {
            match outlet.offer(message, now, self.stall_ms) {
                Offered::Taken => {}
                Offered::Dropped => self.counts.dropped_slow += 1,
                Offered::TooSlow => {
                    self.counts.slow_streams += 1;
                    outlet.end(StreamEnd::TooSlow);
                    self.unmatched = None;
                }
            }
            return;
        }
        self.kept_bytes = self.kept_bytes.saturating_add(message.cost());
        self.kept.push_back(message);
        while self.kept.len() > self.room.count
            || (self.kept_bytes > self.room.bytes && self.kept.len() > 1)
        {
            if let Some(oldest) = self.kept.pop_front() {
                self.kept_bytes -= oldest.cost();
                self.counts.dropped_unmatched += 1;
            }
        }
    }

    /// Gives a new stream what was kept for its filter.
    fn adopt_kept(&mut self, key: usize) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Some(outlet) = entry.outlets.last_mut().filter(|_| !self.kept.is_empty()) else {
            return;
        };
        for message in mem::take(&mut self.kept) {
            if message.topic_name().is_some_and(|topic| entry.filter.matches(topic)) {
                self.kept_bytes -= message.cost();
                outlet.stage(message);
            } else {
                self.kept.push_back(message);
            }
        }
        outlet.flush();
        self.counts.add(outlet);
    }
}

impl Counts {
    /// Counts what gave way in a stream.
    fn add(&mut self, outlet: &mut Outlet) {
        let GaveWay { oldest, outdated } = outlet.take_gave_way();
        self.dropped_slow += oldest;
        self.dropped_outdated += outdated;
    }
}

impl Entry {
    fn wanted(&self) -> Wanted {
        let (filter, options) = (self.filter.clone(), self.options);
        Wanted { filter, options, identifier: self.identifier }
    }
}

/// Filters with one identifier above which they are looked up by topic.
const NAMED_FEW: usize = 4;

fn forget_key<K, Q>(map: &mut HashMap<K, SmallVec<[usize; 1]>, RandomState>, name: &Q, key: usize)
where
    K: std::hash::Hash + Eq + std::borrow::Borrow<Q>,
    Q: std::hash::Hash + Eq + ?Sized,
{
    if let Some(keys) = map.get_mut(name) {
        keys.retain(|other| *other != key);
        if keys.is_empty() {
            map.remove(name);
        }
    }
}
