//! The last message of each topic, in the order in which they arrived.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use postrider_proto::wire::Topic;

use crate::Message;

/// Messages of which a later one to the same topic takes the place.
#[derive(Debug, Default)]
pub(crate) struct Latest {
    /// `None` where a later message came.
    slots: VecDeque<Option<Message>>,
    /// Number of the first slot.
    first: u64,
    /// Number of the slot of each topic.
    by_topic: HashMap<Topic, u64, RandomState>,
}

impl Latest {
    /// Adds a message; returns the one whose place it takes.
    pub(crate) fn put(&mut self, message: Message) -> Option<Message> {
        let before = message.topic_name().and_then(|topic| self.take(topic));
        if let Some(topic) = message.topic_name() {
            self.by_topic.insert(topic.clone(), self.first + self.slots.len() as u64);
        }
        self.slots.push_back(Some(message));
        // A topic that comes again and again behind one that nobody reads must not fill memory with empty slots.
        if self.slots.len() > 2 * self.by_topic.len() + SLACK {
            self.compact();
        }
        before
    }

    /// The oldest message.
    pub(crate) fn pop(&mut self) -> Option<Message> {
        while let Some(slot) = self.slots.pop_front() {
            self.first += 1;
            if let Some(message) = slot {
                if let Some(topic) = message.topic_name() {
                    self.by_topic.remove(topic);
                }
                return Some(message);
            }
        }
        None
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    fn take(&mut self, topic: &Topic) -> Option<Message> {
        // With its key, which may hold the buffer of the old message.
        let at = self.by_topic.remove(topic)?;
        let index = usize::try_from(at - self.first).ok()?;
        self.slots.get_mut(index)?.take()
    }

    fn compact(&mut self) {
        self.slots.retain(Option::is_some);
        for (index, message) in self.slots.iter().flatten().enumerate() {
            let at = message.topic_name().and_then(|topic| self.by_topic.get_mut(topic));
            if let Some(at) = at {
                *at = self.first + index as u64;
            }
        }
    }
}

/// Empty slots that are put up with before they are swept away.
const SLACK: usize = 16;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postrider_proto::wire::{Properties, Publish, QoS};

    use super::*;
    use crate::body::Body;

    fn message(topic: &str, text: &str) -> Message {
        let head = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: Some(Topic::new(topic).unwrap()),
            packet_id: None,
            properties: Properties::new(),
            payload: Bytes::new(),
        };
        Message::new(head, Body::Whole(Bytes::copy_from_slice(text.as_bytes())), 1)
    }

    #[test]
    fn a_later_message_takes_the_place_of_the_one_before_and_goes_to_the_end() {
        let mut latest = Latest::default();
        for (topic, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
            let before = latest.put(message(topic, text));
            assert_eq!(before.is_some(), text == "3");
        }
        let read: Vec<_> = std::iter::from_fn(|| latest.pop())
            .map(|it| it.text_lossy().unwrap().into_owned())
            .collect();
        assert_eq!(read, ["2", "3", "4"]);
        assert!(latest.is_empty());
    }

    #[test]
    fn memory_is_bounded_by_topics_not_by_messages() {
        let mut latest = Latest::default();
        latest.put(message("first", "0"));
        for turn in 0..1000 {
            latest.put(message(["a", "b", "c"][turn % 3], &turn.to_string()));
            assert!(latest.slots.len() <= 8 + SLACK);
        }
        let read: Vec<_> = std::iter::from_fn(|| latest.pop())
            .map(|it| it.text_lossy().unwrap().into_owned())
            .collect();
        assert_eq!(read, ["0", "997", "998", "999"]);
    }
}
