//! Retained messages on their way to new subscriptions of a session.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use postrider_proto::{
    Gate, Message, RecordError, Stamp, Time,
    wire::{Bytes, Filter, QoS, Topic},
};

/// How far the retained messages for one subscription were sent.
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
    /// Tells it from an older one for the same filter; counts up in each session.
    pub(crate) serial: u64,
    /// The last topic that was sent; `None` before the first.
    after: Option<Bytes>,
}

/// All that a session is still to be sent because it subscribed: one cursor after the other.
///
/// Messages go out in the byte order of topics, a budget at a time, and only while the link has room, so that a filter
/// with a million of them holds up nobody and fills no queue. A live message must not be overtaken by the older
/// retained one of its topic: that one is sent first then, out of turn, and its topic is noted.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// At most as many as the session has subscriptions, and those it replaced.
    cursors: VecDeque<Cursor>,
    /// The serial given last.
    serial: u64,
    /// Topics sent out of turn, and the serial of the last cursor that need not send them again. At most as many as
    /// there are retained messages.
    sent: BTreeMap<Bytes, u64>,
    /// What is, or will be, read back from the store for the cursor whose turn it is, by topic: some kilobytes.
    loans: BTreeMap<Bytes, Loan>,
    /// A message was not in the store yet: how often in a row, and when to look again.
    pub(crate) tries: u32,
    pub(crate) retry_at: Option<Time>,
}

/// A retained message that is in the store only, on its way to a session.
#[derive(Clone, Debug)]
pub(crate) struct Loan {
    /// The stamp that it had when it was asked for.
    pub(crate) wanted: Stamp,
    pub(crate) row: Row,
}

/// What the store said.
#[derive(Clone, Debug)]
pub(crate) enum Row {
    /// Nothing yet; it was asked under this ticket.
    Asked(u64),
    /// This message, with its stamp.
    Message(Stamp, Arc<Message>),
    /// It has none for the topic.
    Nothing,
    /// What it has is no message.
    Unreadable(RecordError),
}

impl Cursor {
    /// Stands before the first topic.
    pub(crate) fn new(filter: Filter, qos: QoS, identifier: Option<u32>, gate: Gate) -> Self {
        Self { filter, qos, identifier, gate, serial: 0, after: None }
    }

    /// The last topic that was sent in turn.
    pub(crate) fn after(&self) -> Option<&[u8]> {
        self.after.as_deref()
    }

    /// Whether it has sent the message of a topic.
    fn has_passed(&self, topic: &Topic) -> bool {
        self.after().is_some_and(|after| topic.as_bytes() <= after) && self.filter.matches(topic)
    }
}

impl Replay {
    /// Adds a cursor behind the others; returns its serial, from 1.
    pub(crate) fn begin(&mut self, cursor: Cursor) -> u64 {
        self.serial += 1;
        self.cursors.push_back(Cursor { serial: self.serial, ..cursor });
        self.serial
    }

    /// The cursor whose turn it is.
    pub(crate) fn front(&self) -> Option<&Cursor> {
        self.cursors.front()
    }

    /// Ends the cursor whose turn it is.
    pub(crate) fn end_front(&mut self) -> Option<Cursor> {
        let front = self.cursors.pop_front();
        self.loans.clear();
        if self.cursors.is_empty() {
            self.sent.clear();
        }
        front
    }

    /// Moves the cursor whose turn it is behind `topic`. Returns whether that message is to be sent.
    pub(crate) fn pass(&mut self, topic: Bytes) -> bool {
        let Some(front) = self.cursors.front_mut() else { return false };
        let is_due = self.sent.get(&topic).is_none_or(|&serial| serial < front.serial);
        self.loans.remove(&topic);
        self.tries = 0;
        front.after = Some(topic);
        is_due
    }

    /// Whether the cursor whose turn it is would send the message of a topic.
    pub(crate) fn is_due(&self, topic: &[u8]) -> bool {
        let Some(front) = self.cursors.front() else { return false };
        self.sent.get(topic).is_none_or(|&serial| serial < front.serial)
    }

    /// What was read back for a topic.
    pub(crate) fn loan(&self, topic: &[u8]) -> Option<&Loan> {
        self.loans.get(topic)
    }

    /// A message is asked for under `ticket`. What was read and not sent, since its topic changed, is forgotten.
    pub(crate) fn ask(&mut self, topic: Bytes, wanted: Stamp, ticket: u64) {
        if let Some(after) = self.cursors.front().and_then(Cursor::after)
            && let Some(passed) = self.loans.first_entry().filter(|loan| **loan.key() <= *after)
        {
            passed.remove();
        }
        self.loans.insert(topic, Loan { wanted, row: Row::Asked(ticket) });
    }

    /// What was read for a topic is of no use; it is asked for again at this time.
    pub(crate) fn try_again(&mut self, topic: &[u8], at: Time) {
        self.loans.remove(topic);
        self.tries += 1;
        self.retry_at = Some(at);
    }

    /// The answer to [`Replay::ask`], unless another one was asked for since.
    pub(crate) fn lend(&mut self, topic: &[u8], ticket: u64, row: Row) {
        if let Some(loan) = self.loans.get_mut(topic)
            && matches!(loan.row, Row::Asked(asked) if asked == ticket)
        {
            loan.row = row;
        }
    }

    /// A live message of `topic` is about to be sent. If the older, retained one must go first, returns the QoS that
    /// was granted for it; it is not sent in turn then.
    pub(crate) fn overtake(&mut self, topic: &Topic) -> Option<QoS> {
        let granted = self.waiting_for(topic).map(|cursor| cursor.qos).max();
        self.sent.insert(Bytes::copy_from_slice(topic.as_bytes()), self.serial);
        granted
    }

    /// Whether the retained message of a topic must go before a live one.
    pub(crate) fn is_overtaken_by(&self, topic: &Topic) -> bool {
        self.waiting_for(topic).next().is_some()
    }

    /// The cursors that are still to send the message of a topic.
    fn waiting_for<'a>(&'a self, topic: &'a Topic) -> impl Iterator<Item = &'a Cursor> {
        let sent = self.sent.get(topic.as_bytes()).copied().unwrap_or_default();
        self.cursors.iter().filter(move |cursor| {
            cursor.serial > sent && cursor.filter.matches(topic) && !cursor.has_passed(topic)
        })
    }

    /// Whether the cursor with this serial is not through.
    pub(crate) fn is_pending(&self, serial: u64) -> bool {
        self.cursors.front().is_some_and(|front| front.serial <= serial)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cursors.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(filter: &str) -> Cursor {
        let filter = Filter::new(filter).expect("a filter");
        Cursor::new(filter, QoS::AtMostOnce, None, Gate::default())
    }

    fn topic(name: &str) -> Topic {
        Topic::new(name).expect("a topic")
    }

    #[test]
    fn a_topic_sent_out_of_turn_is_not_sent_again() {
        let mut replay = Replay::default();
        replay.begin(cursor("#"));
        assert!(replay.pass(Bytes::from_static(b"a")));
        assert_eq!(replay.overtake(&topic("a")), None, "it was sent in turn");
        assert_eq!(replay.overtake(&topic("c")), Some(QoS::AtMostOnce));
        assert_eq!(replay.overtake(&topic("c")), None, "once is enough");
        assert!(replay.pass(Bytes::from_static(b"b")));
        assert!(!replay.pass(Bytes::from_static(b"c")));
        assert_eq!(replay.front().and_then(Cursor::after), Some(&b"c"[..]));
    }

    /// v5 [MQTT-3.3.1-9]: a SUBSCRIBE for something else does not bring it again.
    #[test]
    fn a_subscription_to_other_topics_changes_nothing() {
        let mut replay = Replay::default();
        replay.begin(cursor("a"));
        assert_eq!(replay.overtake(&topic("a")), Some(QoS::AtMostOnce));
        replay.begin(cursor("b"));
        assert_eq!(replay.overtake(&topic("a")), None);
        assert_eq!(replay.overtake(&topic("b")), Some(QoS::AtMostOnce));
        replay.begin(cursor("+"));
        assert_eq!(replay.overtake(&topic("a")), Some(QoS::AtMostOnce));
    }

    #[test]
    fn a_later_subscription_gets_it_all_the_same() {
        let mut replay = Replay::default();
        replay.begin(cursor("a"));
        assert_eq!(replay.overtake(&topic("a")), Some(QoS::AtMostOnce));
        replay.begin(cursor("+"));
        assert!(!replay.pass(Bytes::from_static(b"a")));
        replay.end_front();
        assert!(replay.pass(Bytes::from_static(b"a")));
        replay.end_front();
        assert!(replay.is_empty());
        assert!(replay.sent.is_empty(), "nothing is kept when nothing is on its way");
    }
}
