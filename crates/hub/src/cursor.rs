//! Retained messages on their way to a new subscription.

use std::collections::BTreeSet;

use postrider_proto::{
    Gate,
    wire::{Bytes, Filter, QoS},
};

/// How far the retained messages for one subscription were sent.
///
/// They go out in the byte order of topics, a budget at a time, and only while the link has room, so that a filter
/// with a million of them holds up nobody and fills no queue. A live message must not be overtaken by the older
/// retained one of its topic: that one is sent first then, out of turn, and its topic is noted in `done`.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// The filter that was subscribed to.
    pub(crate) filter: Filter,
    /// QoS that was granted.
    pub(crate) qos: QoS,
    /// Subscription identifier, which goes along.
    pub(crate) identifier: Option<u32>,
    /// What the SUBACK waits for; it goes first.
    pub(crate) gate: Gate,
    /// The last topic that was sent; `None` before the first.
    after: Option<Bytes>,
    /// Topics behind `after` that were sent out of turn. At most as many as there are retained messages.
    done: BTreeSet<Bytes>,
}

impl Cursor {
    /// Stands before the first topic.
    pub(crate) fn new(filter: Filter, qos: QoS, identifier: Option<u32>, gate: Gate) -> Self {
        Self { filter, qos, identifier, gate, after: None, done: BTreeSet::new() }
    }

    /// The last topic that was sent in turn.
    pub(crate) fn after(&self) -> Option<&[u8]> {
        self.after.as_deref()
    }

    /// Whether the retained message of `topic`, which matches the filter, is still to be sent.
    pub(crate) fn is_ahead(&self, topic: &[u8]) -> bool {
        self.after().is_none_or(|after| topic > after) && !self.done.contains(topic)
    }

    /// Notes that `topic` was sent out of turn.
    pub(crate) fn skip(&mut self, topic: Bytes) {
        self.done.insert(topic);
    }

    /// Moves behind `topic`. Returns whether its message is to be sent.
    pub(crate) fn pass(&mut self, topic: Bytes) -> bool {
        let is_due = !self.done.remove(&topic);
        self.after = Some(topic);
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_sent_out_of_turn_is_not_sent_again() {
        let filter = Filter::new("#").expect("a filter");
        let mut cursor = Cursor::new(filter, QoS::AtMostOnce, None, Gate::default());
        assert!(cursor.is_ahead(b"a"));
        assert!(cursor.pass(Bytes::from_static(b"a")));
        assert!(!cursor.is_ahead(b"a"));
        cursor.skip(Bytes::from_static(b"c"));
        assert!(cursor.is_ahead(b"b"));
        assert!(!cursor.is_ahead(b"c"));
        assert!(cursor.pass(Bytes::from_static(b"b")));
        assert!(!cursor.pass(Bytes::from_static(b"c")));
        assert_eq!(cursor.after(), Some(&b"c"[..]));
    }
}
