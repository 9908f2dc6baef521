//! Which streams of one filter a message is for: a retained one is for those that have not had it.

use super::Dispatch;
use crate::{Message, outlet::Outlet};

/// The streams of one filter that a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    Everybody,
    /// Those for which it was subscribed with this identifier.
    Subscribed(Option<u32>),
}

impl Audience {
    pub(super) fn has(self, outlet: &Outlet) -> bool {
        match self {
            Self::Everybody => true,
            Self::Subscribed(identifier) => outlet.identifier == identifier,
        }
    }
}

impl Dispatch {
    /// The server has forgotten the session, and every filter is subscribed again for all of its streams.
    pub(crate) fn restart(&mut self) {
        for (_, entry) in &mut self.entries {
            entry.outlets.iter_mut().for_each(|outlet| outlet.identifier = entry.identifier);
        }
    }

    /// Whether one more stream of this filter needs an identifier that tells its retained messages from those of the
    /// streams before it.
    pub(super) fn needs_another(&self, key: usize) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| !entry.outlets.is_empty() && !entry.is_identifier_given)
    }

    /// The streams of an entry that a message is for. A retained one is the answer to one SUBSCRIBE, and is for the stream
    /// that asked: others have had it. Spec: v5 section 3.3.1.3 [MQTT-3.3.1-12].
    pub(super) fn audience(&self, key: usize, message: &Message) -> Audience {
        let Some(entry) = self.entries.get(key) else { return Audience::Everybody };
        // Published as retained does not mean kept for a new subscription.
        if !message.is_retained() || entry.options.retain_as_published {
            return Audience::Everybody;
        }
        let is_ours = |id: &u32| self.by_identifier.get(id).is_some_and(|keys| keys.contains(&key));
        let named = message.properties().subscription_identifiers().find(is_ours);
        if named.is_some() || entry.outlets.iter().any(|outlet| outlet.identifier.is_none()) {
            Audience::Subscribed(named)
        } else {
            // The server names none.
            Audience::Everybody
        }
    }
}
