//! Which of the numbered messages have come, and how.

use std::fmt;

/// Counts messages numbered from 0.
#[derive(Debug)]
pub(super) struct Tally {
    seen: Vec<bool>,
    /// The number that comes next if all is in order.
    next: u32,
    arrived: u32,
    doubled: u32,
    reordered: u32,
    foreign: u32,
}

impl Tally {
    pub(super) fn new(count: u32) -> Self {
        let seen = vec![false; usize::try_from(count).unwrap_or_default()];
        Self { seen, next: 0, arrived: 0, doubled: 0, reordered: 0, foreign: 0 }
    }

    /// Counts one message by its number; `None` if it has none.
    pub(super) fn count(&mut self, number: Option<u32>) {
        let index = number.and_then(|number| usize::try_from(number).ok());
        let (Some(number), Some(seen)) = (number, index.and_then(|index| self.seen.get_mut(index)))
        else {
            self.foreign += 1;
            return;
        };
        if *seen {
            self.doubled += 1;
            return;
        }
        *seen = true;
        self.arrived += 1;
        if number < self.next {
            self.reordered += 1;
        } else {
            self.next = number + 1;
        }
    }

    /// Different messages that have come.
    pub(super) fn arrived(&self) -> u32 {
        self.arrived
    }

    /// Whether all have come.
    pub(super) fn is_complete(&self) -> bool {
        self.missing() == 0
    }

    /// Whether all have come, once and in order, and nothing else.
    pub(super) fn is_clean(&self) -> bool {
        self.is_complete() && self.doubled == 0 && self.reordered == 0 && self.foreign == 0
    }

    fn missing(&self) -> usize {
        self.seen.iter().filter(|seen| !**seen).count()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} messages are missing, ", self.missing(), self.seen.len())?;
        write!(f, "{} came twice, {} came out of order, ", self.doubled, self.reordered)?;
        write!(f, "{} were never sent", self.foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_is_counted() {
        check(&[0, 1, 2], true, "0 of 3 messages are missing, 0 came twice, 0 came out of order");
        check(&[0, 2], false, "1 of 3 messages are missing, 0 came twice, 0 came out of order");
        check(&[0, 1, 1, 2], false, "0 of 3 messages are missing, 1 came twice, 0 came out");
        check(&[0, 2, 1], false, "0 of 3 messages are missing, 0 came twice, 1 came out of order");
        check(&[0, 1, 2, 3], false, "1 were never sent");
        check(&[], false, "3 of 3");
    }

    #[test]
    fn a_message_without_a_number_was_never_sent() {
        let mut tally = Tally::new(1);
        tally.count(None);
        tally.count(Some(0));
        assert!(tally.is_complete() && !tally.is_clean());
        assert_eq!(tally.arrived(), 1);
    }

    fn check(numbers: &[u32], is_clean: bool, text: &str) {
        let mut tally = Tally::new(3);
        numbers.iter().for_each(|number| tally.count(Some(*number)));
        assert_eq!(tally.is_clean(), is_clean, "{numbers:?}");
        assert!(tally.to_string().contains(text), "{numbers:?}: {tally}");
    }
}
