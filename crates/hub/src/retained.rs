//! Finds the topics that match a filter.

use core::{
    fmt,
    ops::Bound::{Excluded, Included, Unbounded},
};
use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use hashbrown::HashTable;
use memchr::memchr2;
use slab::Slab;

use crate::{hash::KeyedHash, router::split_level};

/// Topics with a value each; finds those that match a filter.
///
/// A hash table answers for one topic, which is what a publisher asks; an ordered map answers for
/// filters with wildcards, which is what a subscriber asks. A match reads the topics in order and,
/// where one does not match, jumps to the first that could. So the work follows the topics that
/// agree with the filter up to some wildcard, not all. A topic costs its own bytes and about a
/// hundred more, however many levels it has.
///
/// Spec: v5 section 4.7, v3.1.1 section 4.7; no difference.
pub(crate) struct Retained<V> {
    hash: KeyedHash,
    slots: Slab<Slot<V>>,
    /// Every slot.
    table: HashTable<Place>,
    /// Every slot, in the byte order of topics.
    order: BTreeMap<Arc<[u8]>, u32>,
}

struct Slot<V> {
    /// Shared with the key in `order`.
    topic: Arc<[u8]>,
    value: V,
}

/// Leads to a slot.
struct Place {
    /// Half of that of the topic. Kept, so that growing the table does not visit every slot.
    hash: u32,
    slot: u32,
}

/// What a topic says about itself and those behind it.
enum Verdict {
    Match,
    /// Not this one; maybe the next.
    Next,
    /// Nothing before the target.
    Seek,
    /// Nothing from here on.
    End,
}

impl<V> Retained<V> {
    /// No topics. The seed keeps strangers from choosing names that collide.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            hash: KeyedHash::new(seed),
            slots: Slab::new(),
            table: HashTable::new(),
            order: BTreeMap::new(),
        }
    }

    /// Adds or replaces; returns the old value.
    pub(crate) fn insert(&mut self, topic: &[u8], value: V) -> Option<V> {
        let hash = self.half(topic);
        if let Some(slot) = self.find(topic, hash) {
            return Some(core::mem::replace(&mut self.slots[slot as usize].value, value));
        }
        let topic: Arc<[u8]> = topic.into();
        let slot = self.slots.insert(Slot { topic: Arc::clone(&topic), value });
        assert!(u32::try_from(slot).is_ok(), "memory ends before the numbers of slots do");
        let slot = slot as u32;
        self.table.insert_unique(spread(hash), Place { hash, slot }, |place| spread(place.hash));
        self.order.insert(topic, slot);
        None
    }

    /// Forgets a topic; returns its value.
    pub(crate) fn remove(&mut self, topic: &[u8]) -> Option<V> {
        let slots = &self.slots;
        let is_it = |place: &Place| *slots[place.slot as usize].topic == *topic;
        let entry = self.table.find_entry(spread(self.half(topic)), is_it).ok()?;
        let (place, _) = entry.remove();
        if self.table.len() < self.table.capacity() / 8 {
            self.table.shrink_to(2 * self.table.len(), |place| spread(place.hash));
        }
        self.order.remove(topic);
        Some(self.slots.remove(place.slot as usize).value)
    }

    /// The value of a topic.
    pub(crate) fn get(&self, topic: &[u8]) -> Option<&V> {
        self.find(topic, self.half(topic)).map(|slot| &self.slots[slot as usize].value)
    }

    /// Calls `each` for the topics that match a filter, in the byte order of topics.
    ///
    /// `+` and `#` in the first level never match a topic that starts with `$` [MQTT-4.7.2-1]; `a/#` matches `a`.
    #[cfg(test)]
    pub(crate) fn for_matches(&self, path: &[u8], mut each: impl FnMut(&[u8], &V)) {
        self.for_matches_after(path, None, |topic, value| {
            each(topic, value);
            true
        });
    }

    /// Calls `each` for the topics behind `after` that match a filter, in the byte order of topics, until it says no.
    ///
    /// `+` and `#` in the first level never match a topic that starts with `$` [MQTT-4.7.2-1]; `a/#` matches `a`.
    pub(crate) fn for_matches_after(
        &self,
        path: &[u8],
        after: Option<&[u8]>,
        mut each: impl FnMut(&[u8], &V) -> bool,
    ) {
        let Some(wildcard) = memchr2(b'+', b'#', path) else {
            if after.is_none_or(|after| path > after)
                && let Some(value) = self.get(path)
            {
                each(path, value);
            }
            return;
        };
        // All matches start with what is before the wildcard; `a/#` also matches `a`.
        let mut target = path[..wildcard.saturating_sub(1)].to_vec();
        let mut topics = match after {
            Some(after) if *after >= *target => {
                self.order.range::<[u8], _>((Excluded(after), Unbounded))
            }
            Some(_) | None => self.from(&target),
        };
        let mut at = topics.next();
        while let Some((topic, &slot)) = at {
            match judge(path, topic, &mut target) {
                Verdict::Match => {
                    if !each(topic, &self.slots[slot as usize].value) {
                        return;
                    }
                    at = topics.next();
                }
                Verdict::Next => at = topics.next(),
                Verdict::Seek => {
                    let is_near = |(topic, _): &(&Arc<[u8]>, _)| ***topic >= *target;
                    at = topics.by_ref().take(NEAR).find(is_near);
                    if at.is_none() {
                        topics = self.from(&target);
                        at = topics.next();
                    }
                }
                Verdict::End => return,
            }
        }
    }

    /// How many topics there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// All topics, in byte order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        self.order.iter().map(|(topic, &slot)| (&**topic, &self.slots[slot as usize].value))
    }

    fn from(&self, target: &[u8]) -> btree_map::Range<'_, Arc<[u8]>, u32> {
        self.order.range::<[u8], _>((Included(target), Unbounded))
    }

    #[inline]
    fn find(&self, topic: &[u8], hash: u32) -> Option<u32> {
        let is_it =
            |place: &Place| place.hash == hash && *self.slots[place.slot as usize].topic == *topic;
        self.table.find(spread(hash), is_it).map(|place| place.slot)
    }

    fn half(&self, topic: &[u8]) -> u32 {
        self.hash.bytes(topic) as u32
    }
}

impl<V> fmt::Debug for Retained<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Retained").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A hash for the table, which looks at both ends of it.
fn spread(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}

/// Compares a topic with a filter; for [`Verdict::Seek`] writes the target, which is greater than
/// the topic.
fn judge(path: &[u8], topic: &[u8], target: &mut Vec<u8>) -> Verdict {
    if topic.first() == Some(&b'$') && matches!(path.first(), Some(b'+' | b'#')) {
        target.clear();
        target.push(b'$' + 1);
        return Verdict::Seek;
    }
    let mut wanted = Some(path);
    let mut start = 0;
    loop {
        let (prefix, rest) = topic.split_at(start);
        let Some((want, more)) = wanted.map(split_level) else {
            // All that start so have too many levels.
            return seek_past(prefix, target);
        };
        if want == b"#" {
            return Verdict::Match;
        }
        let (level, after) = split_level(rest);
        if want != b"+" && want != level {
            return seek_level(prefix, rest, want, more, target);
        }
        if after.is_none() {
            // Those with more levels may follow at once, or behind names that only start like this
            // one.
            return if matches!(more, None | Some(b"#")) { Verdict::Match } else { Verdict::Next };
        }
        start += level.len() + 1;
        wanted = more;
    }
}

/// Seeks the level that is wanted below `prefix`, where the topic has another: `rest` is what it
/// has there.
fn seek_level(
    prefix: &[u8],
    rest: &[u8],
    want: &[u8],
    more: Option<&[u8]>,
    target: &mut Vec<u8>,
) -> Verdict {
    target.clear();
    target.extend_from_slice(prefix);
    target.extend_from_slice(want);
    // The topic may end with this level.
    if matches!(more, None | Some(b"#")) && *want > *rest {
        return Verdict::Seek;
    }
    // Or go on. Between the two are names that start with `want` and have a byte below `/` next.
    target.push(b'/');
    if more.is_some() && target[prefix.len()..] > *rest {
        return Verdict::Seek;
    }
    seek_past(prefix, target)
}

/// Seeks behind all topics that start with a prefix, which is empty or ends with `/`.
fn seek_past(prefix: &[u8], target: &mut Vec<u8>) -> Verdict {
    let Some((_, before)) = prefix.split_last() else {
        return Verdict::End;
    };
    target.clear();
    target.extend_from_slice(before);
    target.push(b'/' + 1);
    Verdict::Seek
}

/// How many topics to step over before asking the map for the target: about what asking costs.
const NEAR: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::router::tests::{filter, is_match, topic};

    fn with(topics: &[&str]) -> Retained<usize> {
        let mut retained = Retained::new(1);
        for (value, topic) in topics.iter().enumerate() {
            retained.insert(topic.as_bytes(), value);
        }
        retained
    }

    fn matches<V>(retained: &Retained<V>, filter: &str) -> Vec<String> {
        let mut found = Vec::new();
        retained.for_matches(filter.as_bytes(), |topic, _| {
            found.push(String::from_utf8(topic.to_vec()).unwrap());
        });
        found
    }

    #[test]
    fn one_value_for_each_topic() {
        let mut retained = with(&["a/b", "a"]);
        assert_eq!(retained.insert(b"a", 7), Some(1));
        assert_eq!((retained.get(b"a"), retained.get(b"a/b")), (Some(&7), Some(&0)));
        assert_eq!(retained.get(b"b"), None);
        assert_eq!(retained.remove(b"b"), None);
        assert_eq!(retained.remove(b"a"), Some(7));
        assert_eq!(retained.remove(b"a"), None);
        assert_eq!(retained.iter().collect::<Vec<_>>(), [(&b"a/b"[..], &0)]);
        assert_eq!(format!("{retained:?}"), "Retained { len: 1, .. }");
    }

    #[test]
    fn matches_come_in_byte_order() {
        let retained = with(&["a/b", "ab", "a", "a-b/c", "a/b/c", "a-b", "a//b", "/", "$SYS/a"]);
        assert_eq!(
            matches(&retained, "#"),
            ["/", "a", "a-b", "a-b/c", "a//b", "a/b", "a/b/c", "ab"]
        );
        assert_eq!(matches(&retained, "a/#"), ["a", "a//b", "a/b", "a/b/c"]);
        assert_eq!(matches(&retained, "+/b"), ["a/b"]);
        assert_eq!(matches(&retained, "+/+"), ["/", "a-b/c", "a/b"]);
        assert_eq!(matches(&retained, "a/+/b"), ["a//b"]);
        assert_eq!(matches(&retained, "+/#"), matches(&retained, "#"));
        let all: Vec<&[u8]> = retained.iter().map(|(topic, _)| topic).collect();
        assert!(all.is_sorted());
        assert_eq!(all.len(), retained.len());
    }

    /// v5 [MQTT-4.7.2-1], v3.1.1 [MQTT-4.7.2-1].
    #[test]
    fn wildcards_do_not_match_dollar_topics() {
        let retained = with(&["$SYS/load", "$", "!", "%", "a/$SYS"]);
        assert_eq!(matches(&retained, "#"), ["!", "%", "a/$SYS"]);
        assert_eq!(matches(&retained, "+"), ["!", "%"]);
        assert_eq!(matches(&retained, "+/load"), [""; 0]);
        assert_eq!(matches(&retained, "$SYS/#"), ["$SYS/load"]);
        assert_eq!(matches(&retained, "a/+"), ["a/$SYS"]);
    }

    #[test]
    fn work_follows_what_can_match() {
        let mut retained = Retained::new(1);
        for plant in 0..10 {
            for sensor in 0..1000 {
                retained.insert(format!("{plant}/{sensor:04}/temp").as_bytes(), ());
                retained.insert(format!("{plant}/{sensor:04}/temp/unit/long").as_bytes(), ());
            }
        }
        let judged = |path: &[u8]| {
            let mut judged = 0;
            let mut target = Vec::new();
            let mut at = retained.order.keys().next();
            while let Some(topic) = at {
                judged += 1;
                at = match judge(path, topic, &mut target) {
                    Verdict::Match | Verdict::Next => {
                        let mut behind = retained.from(topic);
                        behind.next();
                        behind.next().map(|(topic, _)| topic)
                    }
                    Verdict::Seek => {
                        assert!(target[..] > **topic);
                        retained.from(&target).next().map(|(topic, _)| topic)
                    }
                    Verdict::End => None,
                };
            }
            judged
        };
        // For each plant: the topic found first, the one wanted, the one below it, the one behind
        // them.
        assert!(judged(b"+/0500/temp") <= 4 * 10 + 1);
        assert!(judged(b"7/#") <= 2 * 1000 + 2);
        assert!(judged(b"7/0500/#") <= 2 + 4);
        assert!(judged(b"+/9999/temp") <= 2 * 10 + 1);
        assert!(judged(b"nothing/+/temp") <= 2);
        assert_eq!(matches(&retained, "+/0500/temp").len(), 10);
        assert_eq!(matches(&retained, "+/+/temp").len(), 10_000);
    }

    /// 32,768 levels are the most a topic of 65,535 bytes has (v5 section 1.5.4).
    #[test]
    fn deepest_topics_do_not_use_the_stack() {
        let topics = ["/".repeat(32_767), "/".repeat(32_766) + "a", "/".repeat(100)];
        let mut retained = with(&topics.each_ref().map(String::as_str));
        // Without assert_eq, which would print them.
        assert!(matches(&retained, &vec!["+"; 32_768].join("/")) == topics[..1]);
        assert!(matches(&retained, &(vec!["+"; 32_767].join("/") + "/#")) == topics[..2]);
        assert_eq!(matches(&retained, "#").len(), 3);
        for topic in &topics {
            assert!(retained.remove(topic.as_bytes()).is_some());
        }
        assert_eq!(retained.len(), 0);
    }

    #[test]
    fn removed_topics_leave_nothing() {
        let mut retained = Retained::new(1);
        for n in 0..1000 {
            retained.insert(format!("plant/{n}").as_bytes(), n);
        }
        for n in 0..1000 {
            assert_eq!(retained.remove(format!("plant/{n}").as_bytes()), Some(n));
        }
        assert_eq!((retained.len(), retained.table.len(), retained.order.len()), (0, 0, 0));
        assert!(retained.table.capacity() < 100);
    }

    proptest! {
        /// v5 [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1] [MQTT-4.7.3-4] and v3.1.1 [MQTT-4.7.1-2]
        /// [MQTT-4.7.1-3] [MQTT-4.7.2-1] [MQTT-4.7.3-4]: as the model says, after any operations.
        #[test]
        fn agrees_with_the_model(
            operations in prop::collection::vec((topic(), prop::bool::weighted(0.8)), 0..80),
            filters in prop::collection::vec(filter(), 1..10),
            seed in any::<u64>(),
        ) {
            let mut retained = Retained::new(seed);
            let mut model = BTreeMap::new();
            for (value, (topic, is_insert)) in operations.iter().enumerate() {
                if *is_insert {
                    let old = model.insert(topic, value);
                    prop_assert_eq!(retained.insert(topic.as_bytes(), value), old);
                } else {
                    prop_assert_eq!(retained.remove(topic.as_bytes()), model.remove(topic));
                }
                prop_assert_eq!(retained.get(topic.as_bytes()), model.get(topic));
            }
            for filter in &filters {
                let mut expected = model.clone();
                expected.retain(|topic, _| is_match(filter, topic));
                let mut found = Vec::new();
                retained.for_matches(filter.as_bytes(), |topic, &value| {
                    found.push((topic.to_vec(), value));
                });
                let expected: Vec<(Vec<u8>, usize)> = expected
                    .iter()
                    .map(|(topic, value)| (topic.as_bytes().to_vec(), *value))
                    .collect();
                prop_assert_eq!(found, expected, "{}", filter);
            }
            let all: Vec<&[u8]> = retained.iter().map(|(topic, _)| topic).collect();
            let expected: Vec<&[u8]> = model.keys().map(|topic| topic.as_bytes()).collect();
            prop_assert_eq!(all, expected);
        }
    }
}
