//! Topic aliases of one connection, each direction with a table of its own. Spec: v5 section 3.3.2.3.4.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use postrider_wire::Topic;

/// Aliases that the peer gave to topics; gone with the link. Spec: v5 [MQTT-3.3.2-7].
#[derive(Debug, Default)]
pub(crate) struct AliasesIn {
    /// The topic of alias `n` at `n - 1`. As long as the highest alias used, so at most as long as we announced.
    topics: Vec<Option<Topic>>,
}

/// Aliases that we gave to topics: 1, 2, 3 and so on until the peer's maximum is reached.
///
/// Then either the rest goes without, or ([`AliasesOut::reusing`]) the topic that was used longest ago makes room for one
/// that comes the second time: a topic that comes once is not worth an alias.
#[derive(Debug, Default)]
pub(crate) struct AliasesOut {
    /// Never larger than the limit, so that the fixed seed gives an attacker nothing.
    aliases: HashMap<Topic, u16, FixedState>,
    recent: Option<Recent>,
}

/// Who was used when.
#[derive(Debug, Default)]
struct Recent {
    /// The topic of alias `n` at `n - 1`, with its neighbours in the order of use.
    slots: Vec<Slot>,
    /// Indices of the ends; the slots make a ring without gaps, from the latest to the oldest.
    latest: u16,
    /// Hashes of topics that came without an alias lately, each at its own place.
    seen: Vec<u64>,
}

#[derive(Debug)]
struct Slot {
    topic: Topic,
    newer: u16,
    older: u16,
}

/// Topics without an alias that are remembered; more would give aliases to topics that come too seldom.
const SEEN: usize = 64;

/// How a topic is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alias {
    /// The topic alone.
    None,
    /// The topic with an alias that it gets by this packet.
    New(u16),
    /// The alias alone.
    Known(u16),
}

impl AliasesIn {
    /// Gives `alias` (1 or above) to `topic`, as a copy of its own.
    pub(crate) fn set(&mut self, alias: u16, topic: &Topic) {
        let index = usize::from(alias).saturating_sub(1);
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        if let Some(slot) = self.topics.get_mut(index) {
            // Some senders give topic and alias each time.
            if slot.as_ref() != Some(topic) {
                *slot = Some(topic.detached());
            }
        }
    }

    /// The topic of `alias`.
    pub(crate) fn topic(&self, alias: u16) -> Option<&Topic> {
        self.topics.get(usize::from(alias).checked_sub(1)?)?.as_ref()
    }
}

impl AliasesOut {
    /// Aliases that move on to other topics.
    pub(crate) fn reusing() -> Self {
        Self { recent: Some(Recent::default()), ..Self::default() }
    }

    /// How `topic` is written to a peer that allows aliases up to `alias_max`.
    pub(crate) fn choose(&mut self, topic: &Topic, alias_max: u16) -> Alias {
        if alias_max == 0 {
            return Alias::None;
        }
        if let Some(&alias) = self.aliases.get(topic) {
            if let Some(recent) = &mut self.recent {
                recent.touch(alias - 1);
            }
            return Alias::Known(alias);
        }
        if self.aliases.len() < usize::from(alias_max) {
            return Alias::New(u16::try_from(self.aliases.len() + 1).unwrap_or(u16::MAX));
        }
        let Some(recent) = &mut self.recent else { return Alias::None };
        let hash = self.aliases.hasher().hash_one(topic);
        if recent.comes_again(hash) { Alias::New(recent.oldest() + 1) } else { Alias::None }
    }

    /// Remembers an [`Alias::New`] that was written.
    pub(crate) fn set(&mut self, topic: &Topic, alias: u16) {
        let topic = topic.detached();
        if let Some(recent) = &mut self.recent
            && let Some(before) = recent.put(alias - 1, &topic)
        {
            self.aliases.remove(&before);
        }
        let replaced = self.aliases.insert(topic, alias);
        debug_assert!(replaced.is_none(), "a topic has one alias");
    }
}

impl Recent {
    /// The slot that was used longest ago.
    fn oldest(&self) -> u16 {
        self.slots.get(usize::from(self.latest)).map_or(0, |slot| slot.newer)
    }

    /// Makes a slot the latest.
    fn touch(&mut self, at: u16) {
        if at == self.latest {
            return;
        }
        let Some((newer, older)) = self.slots.get(usize::from(at)).map(|it| (it.newer, it.older))
        else {
            return;
        };
        self.join(newer, older);
        self.insert_latest(at);
    }

    /// Gives a slot to a topic; returns the topic that had it.
    fn put(&mut self, at: u16, topic: &Topic) -> Option<Topic> {
        if let Some(slot) = self.slots.get_mut(usize::from(at)) {
            let before = core::mem::replace(&mut slot.topic, topic.clone());
            self.touch(at);
            return Some(before);
        }
        debug_assert_eq!(self.slots.len(), usize::from(at), "aliases are given in their order");
        self.slots.push(Slot { topic: topic.clone(), newer: at, older: at });
        if at > 0 {
            self.insert_latest(at);
        }
        None
    }

    /// Whether a topic without an alias was here lately; remembers it.
    fn comes_again(&mut self, hash: u64) -> bool {
        self.seen.resize(SEEN, 0);
        let place = usize::try_from(hash % SEEN as u64).unwrap_or(0);
        // A place that nobody took holds 0, which one topic in 2^64 would find at once.
        self.seen.get_mut(place).is_some_and(|seen| core::mem::replace(seen, hash) == hash)
    }

    /// Puts a slot that is in no ring before the latest.
    fn insert_latest(&mut self, at: u16) {
        let oldest = self.oldest();
        let latest = core::mem::replace(&mut self.latest, at);
        self.join(at, latest);
        self.join(oldest, at);
    }

    /// Makes two slots neighbours in the ring.
    fn join(&mut self, newer: u16, older: u16) {
        if let Some(slot) = self.slots.get_mut(usize::from(newer)) {
            slot.older = older;
        }
        if let Some(slot) = self.slots.get_mut(usize::from(older)) {
            slot.newer = newer;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{
        borrow::ToOwned,
        format,
        string::{String, ToString},
    };

    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    /// Writes each topic; says which alias it has, and `+` where it is a new one.
    fn written(aliases: &mut AliasesOut, topics: &str, alias_max: u16) -> String {
        let mut script = String::new();
        for name in topics.split(' ') {
            match aliases.choose(&topic(name), alias_max) {
                Alias::None => script.push('-'),
                Alias::Known(alias) => script.push_str(&alias.to_string()),
                Alias::New(alias) => {
                    aliases.set(&topic(name), alias);
                    script.push_str(&format!("+{alias}"));
                }
            }
            script.push(' ');
        }
        script.trim_end().to_owned()
    }

    #[test]
    fn first_topics_keep_their_aliases() {
        let mut aliases = AliasesOut::default();
        assert_eq!(written(&mut aliases, "a b a c c c b", 2), "+1 +2 1 - - - 2");
    }

    /// Issue 5, section 4: topic aliases automatic, LRU within the maximum.
    #[test]
    fn least_recently_used_alias_moves_on() {
        let mut aliases = AliasesOut::reusing();
        // `b` was used longest ago when `d` comes the second time.
        assert_eq!(written(&mut aliases, "a b c a c d d", 3), "+1 +2 +3 1 3 - +2");
        assert_eq!(written(&mut aliases, "b a d c b", 3), "- 1 2 3 +1");
        // Again the oldest of all: `d`, then `c`.
        assert_eq!(written(&mut aliases, "e e f f", 3), "- +2 - +3");
        assert_eq!(written(&mut aliases, "b e f", 3), "1 2 3");
    }

    #[test]
    fn one_alias_can_move_too() {
        let mut aliases = AliasesOut::reusing();
        assert_eq!(written(&mut aliases, "a a b b b a a", 1), "+1 1 - +1 1 - +1");
    }

    /// Topics that come once do not push out those that come often.
    #[test]
    fn passing_topics_get_none() {
        let mut aliases = AliasesOut::reusing();
        written(&mut aliases, "a b", 2);
        for at in 0..1000 {
            let name = format!("once/{at}");
            assert_eq!(written(&mut aliases, &name, 2), "-");
        }
        assert_eq!(written(&mut aliases, "a b", 2), "1 2");
    }
}
