//! Counts what one subscriber got: once, twice, late, never.

use hdrhistogram::{CreationError, Histogram};

/// What one subscriber has seen of one publisher.
#[derive(Debug)]
pub(crate) struct Tally {
    /// One bit per sequence number.
    seen: Vec<u64>,
    /// Different messages seen.
    pub(crate) distinct: u32,
    /// Messages seen again.
    pub(crate) doubled: u64,
    /// Messages that came after a later one.
    pub(crate) reordered: u64,
    /// Microseconds from sending to receiving.
    pub(crate) latency: Histogram<u64>,
    next: u32,
}

impl Tally {
    /// Nothing seen yet of this many messages. Latencies are kept to three digits, up to ten minutes.
    pub(crate) fn new(messages: u32) -> Result<Self, CreationError> {
        let words = messages as usize / 64 + 1;
        let latency = Histogram::new_with_bounds(1, 600_000_000, 3)?;
        Ok(Self { seen: vec![0; words], distinct: 0, doubled: 0, reordered: 0, latency, next: 0 })
    }

    /// Counts message `sequence`; false if no such message was ever sent.
    pub(crate) fn count(&mut self, sequence: u32, latency_us: u64) -> bool {
        let Some(word) = self.seen.get_mut(sequence as usize / 64) else { return false };
        let bit = 1 << (sequence % 64);
        if *word & bit != 0 {
            self.doubled += 1;
            return true;
        }
        *word |= bit;
        self.distinct += 1;
        if sequence < self.next {
            self.reordered += 1;
        } else {
            self.next = sequence + 1;
        }
        self.latency.saturating_record(latency_us);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_gaps_and_late_ones_are_told_apart() {
        let mut tally = Tally::new(10).unwrap();
        for sequence in [0, 1, 3, 2, 3, 5] {
            assert!(tally.count(sequence, 7));
        }
        assert_eq!((tally.distinct, tally.doubled, tally.reordered), (5, 1, 1));
        assert_eq!(tally.latency.len(), 5);
        assert!(!tally.count(1_000, 1), "never sent");
    }
}
