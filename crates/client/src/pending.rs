//! Publications that are not complete, by message number.

use std::collections::VecDeque;

use crate::publish::PublishAnswer;

/// Answers by message number. Numbers rise and end nearly in order, so a ring with an offset finds each at once.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Number of the first place.
    first: u64,
    places: VecDeque<Option<PublishAnswer>>,
    count: usize,
}

impl Pending {
    /// Adds the answer of a number; numbers come in rising order.
    pub(crate) fn insert(&mut self, number: u64, answer: PublishAnswer) {
        if self.places.is_empty() {
            self.first = number;
        }
        debug_assert!(number >= self.first, "numbers rise");
        while self.first.saturating_add(self.places.len() as u64) < number {
            self.places.push_back(None);
        }
        self.places.push_back(Some(answer));
        self.count += 1;
    }

    /// Takes the answer of a number out.
    pub(crate) fn take(&mut self, number: u64) -> Option<PublishAnswer> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let answer = self.places.get_mut(at)?.take()?;
        self.count -= 1;
        while matches!(self.places.front(), Some(None)) {
            self.places.pop_front();
            self.first += 1;
        }
        Some(answer)
    }

    /// Takes all out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = PublishAnswer> {
        self.count = 0;
        std::mem::take(&mut self.places).into_iter().flatten()
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }
}
