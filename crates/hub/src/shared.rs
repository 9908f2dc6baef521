//! Whose turn it is in a shared subscription.

use core::{
    fmt,
    ops::Bound::{Excluded, Unbounded},
};
use std::collections::BTreeMap;

/// The members of one shared subscription group and whose turn it is.
///
/// Members take turns in the order they joined. Who leaves takes nobody's turn away. Each operation
/// costs O(log n), and a pick one more question for each member that is not fit.
///
/// Spec: v5 section 4.8.2, which leaves the choice of the member to the server. v3.1.1 has no
/// shared subscriptions.
pub(crate) struct Group<V> {
    /// By ticket; tickets count up.
    members: BTreeMap<u64, (u64, V)>,
    /// The ticket of each key.
    tickets: BTreeMap<u64, u64>,
    /// The ticket picked last; of a member that may have left.
    last: u64,
    /// For who joins next; the first is 1.
    next: u64,
}

impl<V> Group<V> {
    /// A group without members.
    pub(crate) const fn new() -> Self {
        Self { members: BTreeMap::new(), tickets: BTreeMap::new(), last: 0, next: 1 }
    }

    /// Adds a member behind the others, or replaces a member's value where it stands; returns the
    /// old value.
    pub(crate) fn insert(&mut self, key: u64, value: V) -> Option<V> {
        let ticket = self.tickets.get(&key).copied().unwrap_or(self.next);
        if let Some((_, old)) = self.members.insert(ticket, (key, value)) {
            return Some(old);
        }
        self.tickets.insert(key, ticket);
        self.next += 1;
        None
    }

    /// Takes a member out; returns its value.
    pub(crate) fn remove(&mut self, key: u64) -> Option<V> {
        let ticket = self.tickets.remove(&key)?;
        self.members.remove(&ticket).map(|(_, value)| value)
    }

    /// The next member in turn for which `is_fit` says yes; if none is fit, the next in turn of
    /// all.
    ///
    /// Asks each member at most once. `None` only if there is no member.
    pub(crate) fn pick(&mut self, mut is_fit: impl FnMut(u64, &V) -> bool) -> Option<(u64, &V)> {
        let behind = self.members.range((Excluded(self.last), Unbounded));
        let mut turns = behind.chain(self.members.range(..=self.last));
        let first = turns.clone().next()?;
        let (&ticket, (key, value)) =
            turns.find(|(_, (key, value))| is_fit(*key, value)).unwrap_or(first);
        self.last = ticket;
        Some((*key, value))
    }

    /// The value of a member.
    pub(crate) fn get(&self, key: u64) -> Option<&V> {
        self.members.get(self.tickets.get(&key)?).map(|(_, value)| value)
    }

    /// Whether nobody is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// All members, in the order they joined.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.members.values().map(|(key, value)| (*key, value))
    }
}

impl<V> Default for Group<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> fmt::Debug for Group<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Group").field("len", &self.members.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(keys: &[u64]) -> Group<u64> {
        let mut group = Group::new();
        for &key in keys {
            assert_eq!(group.insert(key, key * 10), None);
        }
        group
    }

    /// The next `count` picks.
    fn picks(group: &mut Group<u64>, count: usize, is_fit: impl Fn(u64) -> bool) -> Vec<u64> {
        (0..count)
            .filter_map(|_| {
                let (key, &value) = group.pick(|key, _| is_fit(key))?;
                assert_eq!(value, key * 10);
                Some(key)
            })
            .collect()
    }

    #[test]
    fn members_take_turns_in_the_order_they_joined() {
        let mut group = with(&[3, 1, 2]);
        assert_eq!(picks(&mut group, 7, |_| true), [3, 1, 2, 3, 1, 2, 3]);
        assert_eq!(group.iter().collect::<Vec<_>>(), [(3, &30), (1, &10), (2, &20)]);
        assert_eq!(format!("{group:?}"), "Group { len: 3, .. }");
    }

    #[test]
    fn members_that_are_not_fit_are_passed_over() {
        let mut group = with(&[1, 2, 3, 4]);
        assert_eq!(picks(&mut group, 4, |key| key % 2 == 0), [2, 4, 2, 4]);
        assert_eq!(picks(&mut group, 2, |_| true), [1, 2]);
    }

    #[test]
    fn without_a_fit_member_the_turns_go_on() {
        let mut group = with(&[1, 2, 3]);
        assert_eq!(picks(&mut group, 5, |_| false), [1, 2, 3, 1, 2]);
        assert_eq!(picks(&mut Group::new(), 1, |_| false), [0; 0]);
    }

    #[test]
    fn leaving_takes_nobody_elses_turn() {
        let mut group = with(&[1, 2, 3, 4]);
        assert_eq!(picks(&mut group, 2, |_| true), [1, 2]);
        assert_eq!(group.remove(2), Some(20));
        assert_eq!(group.remove(2), None);
        assert_eq!(group.remove(1), Some(10));
        assert_eq!(picks(&mut group, 3, |_| true), [3, 4, 3]);
        assert_eq!(group.remove(4), Some(40));
        assert_eq!(group.insert(1, 10), None);
        assert_eq!(picks(&mut group, 3, |_| true), [1, 3, 1]);
        assert_eq!((group.remove(1), group.remove(3)), (Some(10), Some(30)));
        assert!(group.is_empty());
        assert_eq!(group.pick(|_, _| true), None);
    }

    #[test]
    fn joining_again_keeps_the_place() {
        let mut group = with(&[1, 2]);
        assert_eq!(group.insert(1, 11), Some(10));
        assert_eq!((group.get(1), group.get(3)), (Some(&11), None));
        assert_eq!(group.iter().collect::<Vec<_>>(), [(1, &11), (2, &20)]);
    }

    proptest! {
        /// Over any joins, leaves and picks: as a queue whose picked member goes behind the others
        /// would do.
        #[test]
        fn agrees_with_a_queue(
            operations in prop::collection::vec((0..3_u8, 0..6_u64, any::<u8>()), 0..100)
        ) {
            let mut group = Group::default();
            let mut joined: Vec<u64> = Vec::new();
            let mut turn = 0; // In `joined`: whose turn it is.
            for (operation, key, fit) in operations {
                let place = joined.iter().position(|&other| other == key);
                match operation {
                    0 => {
                        prop_assert_eq!(group.insert(key, key).is_some(), place.is_some());
                        if place.is_none() {
                            joined.push(key);
                        }
                    }
                    1 => {
                        prop_assert_eq!(group.remove(key), place.map(|_| key));
                        if let Some(place) = place {
                            joined.remove(place);
                            turn -= usize::from(place < turn);
                        }
                    }
                    _ => {
                        let is_fit = |key: u64| fit & (1 << key) != 0;
                        let order: Vec<usize> =
                            (0..joined.len()).map(|n| (turn + n) % joined.len()).collect();
                        let picked = order.iter().find(|&&place| is_fit(joined[place]));
                        let picked = picked.or_else(|| order.first()).copied();
                        let found = group.pick(|key, _| is_fit(key)).map(|(key, _)| key);
                        prop_assert_eq!(found, picked.map(|place| joined[place]));
                        turn = picked.map_or(turn, |place| place + 1);
                    }
                }
                let order: Vec<u64> = group.iter().map(|(key, _)| key).collect();
                prop_assert_eq!(&order, &joined);
            }
        }
    }
}
