//! Which message of a topic is the last, where only that one is to wait.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use postrider_proto::{Client, wire::Topic};

/// The number of the last message of each topic. Those of messages that are complete are swept out now and then, so that
/// there are not many more topics than messages.
#[derive(Debug, Default)]
pub(super) struct Newest {
    by_topic: HashMap<Topic, u64, RandomState>,
    /// With so many topics the next sweep is due.
    sweep_at: usize,
}

/// Topics that are put up with in any case.
const SLACK: usize = 64;

impl Newest {
    /// The last message of a topic; it may be complete.
    pub(super) fn get(&self, topic: &Topic) -> Option<u64> {
        self.by_topic.get(topic).copied()
    }

    /// `open` is asked when a sweep is due: it looks at all messages once and then knows of each whether it is open.
    pub(super) fn put<F: Fn(u64) -> bool>(
        &mut self,
        topic: Topic,
        number: u64,
        open: impl FnOnce() -> F,
    ) {
        if self.by_topic.len() >= self.sweep_at {
            let is_open = open();
            self.by_topic.retain(|_, number| is_open(*number));
            self.sweep_at = 2 * self.by_topic.len() + SLACK;
        }
        self.by_topic.insert(topic, number);
    }
}

/// Looks for messages that are not complete.
pub(super) fn open(machine: &Client) -> impl Fn(u64) -> bool {
    let open: HashSet<u64, RandomState> = machine.open().map(|open| open.number).collect();
    // Those that only the store holds are among those that wait.
    move |number| open.contains(&number) || machine.is_waiting(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(number: u64) -> Topic {
        Topic::new(&format!("job/{number}")).unwrap()
    }

    #[test]
    fn memory_is_bounded_by_open_messages_not_by_topics() {
        let mut newest = Newest::default();
        for number in 1..=10_000 {
            newest.put(topic(number), number, || move |other| other == 1 || other + 10 > number);
            assert!(newest.by_topic.len() <= 2 * 11 + SLACK);
        }
        assert_eq!(newest.get(&topic(1)), Some(1));
        assert_eq!(newest.get(&topic(9_999)), Some(9_999));
    }
}
