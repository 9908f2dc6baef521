//! Topic aliases of one connection, each direction with a table of its own. Spec: v5 section 3.3.2.3.4.

use alloc::vec::Vec;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use postrider_wire::Topic;

/// Aliases that the peer gave to topics; gone with the link. Spec: v5 [MQTT-3.3.2-7].
#[derive(Debug, Default)]
pub(crate) struct AliasesIn {
    /// The topic of alias `n` at `n - 1`. As long as the highest alias used, so at most as long as we announced.
    topics: Vec<Option<Topic>>,
}

/// Aliases that we gave to topics, 1, 2, 3 and so on until the peer's maximum is reached.
#[derive(Debug, Default)]
pub(crate) struct AliasesOut {
    /// Never larger than the limit, so that the fixed seed gives an attacker nothing.
    aliases: HashMap<Topic, u16, FixedState>,
}

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
    /// How `topic` is written to a peer that allows aliases up to `alias_max`.
    pub(crate) fn choose(&self, topic: &Topic, alias_max: u16) -> Alias {
        if alias_max == 0 {
            return Alias::None;
        }
        if let Some(alias) = self.aliases.get(topic) {
            return Alias::Known(*alias);
        }
        let next = u16::try_from(self.aliases.len() + 1).unwrap_or(u16::MAX);
        if self.aliases.len() < usize::from(alias_max) { Alias::New(next) } else { Alias::None }
    }

    /// Remembers an [`Alias::New`] that was written.
    pub(crate) fn set(&mut self, topic: &Topic, alias: u16) {
        let replaced = self.aliases.insert(topic.detached(), alias);
        debug_assert!(replaced.is_none(), "a topic has one alias");
    }
}
