//! What many subscribers keep at one filter.

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::hash::KeyedHash;

/// A value for each key, dense, so that a fan-out reads memory in a row.
///
/// The order is that of insertion, except that the last entry takes the place of a removed one. It
/// depends only on the operations, not on the seed.
pub(crate) struct Entries<V> {
    dense: SmallVec<[(u64, V); 1]>,
    /// The place in `dense` of every key, while there are too many to search through.
    places: Option<Box<HashTable<u32>>>,
}

impl<V> Entries<V> {
    pub(crate) fn new() -> Self {
        Self { dense: SmallVec::new(), places: None }
    }

    /// Adds or replaces; returns the old value.
    pub(crate) fn insert(&mut self, key: u64, value: V, hash: &KeyedHash) -> Option<V> {
        if let Some(place) = self.place(key, hash) {
            return Some(core::mem::replace(&mut self.dense[place].1, value));
        }
        let place = self.dense.len();
        self.dense.push((key, value));
        let dense = &self.dense;
        let rehash = |&place: &u32| hash_key(dense[place as usize].0, hash);
        if let Some(places) = &mut self.places {
            places.insert_unique(hash_key(key, hash), place as u32, rehash);
        } else if dense.len() > SEARCH_MAX {
            let mut places = HashTable::with_capacity(2 * dense.len());
            for (place, &(key, _)) in dense.iter().enumerate() {
                places.insert_unique(hash_key(key, hash), place as u32, rehash);
            }
            self.places = Some(Box::new(places));
        }
        None
    }

    pub(crate) fn remove(&mut self, key: u64, hash: &KeyedHash) -> Option<V> {
        let place = self.place(key, hash)?;
        let last = self.dense.len() - 1;
        let last_key = self.dense[last].0;
        if let Some(places) = &mut self.places {
            if let Ok(entry) =
                places.find_entry(hash_key(key, hash), |&other| other as usize == place)
            {
                entry.remove();
            }
            if let Some(moved) =
                places.find_mut(hash_key(last_key, hash), |&other| other as usize == last)
            {
                *moved = place as u32;
            }
        }
        let (_, value) = self.dense.swap_remove(place);
        self.shrink(hash);
        Some(value)
    }

    pub(crate) fn get(&self, key: u64, hash: &KeyedHash) -> Option<&V> {
        self.place(key, hash).map(|place| &self.dense[place].1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.dense.is_empty()
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.dense.iter().map(|(key, value)| (*key, value))
    }

    #[inline]
    fn place(&self, key: u64, hash: &KeyedHash) -> Option<usize> {
        match &self.places {
            Some(places) => places
                .find(hash_key(key, hash), |&place| self.dense[place as usize].0 == key)
                .map(|&place| place as usize),
            None => self.dense.iter().position(|&(other, _)| other == key),
        }
    }

    /// Gives memory back, seldom enough that a removal still costs O(1) on average.
    fn shrink(&mut self, hash: &KeyedHash) {
        if self.dense.len() <= SEARCH_MAX / 2 {
            self.places = None;
        }
        if self.dense.spilled() && self.dense.len() <= self.dense.capacity() / 4 {
            self.dense.shrink_to_fit();
            let dense = &self.dense;
            if let Some(places) = &mut self.places {
                places.shrink_to(2 * dense.len(), |&place| hash_key(dense[place as usize].0, hash));
            }
        }
    }
}

#[inline]
fn hash_key(key: u64, hash: &KeyedHash) -> u64 {
    hash.pair(key, 0)
}

/// Up to here looking at every key is as fast as asking the table of places.
const SEARCH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_takes_the_place_of_the_removed() {
        let hash = KeyedHash::new(1);
        let mut entries = Entries::new();
        for key in 1..=4 {
            assert_eq!(entries.insert(key, key * 10, &hash), None);
        }
        assert_eq!(entries.remove(2, &hash), Some(20));
        assert_eq!(entries.remove(2, &hash), None);
        assert_eq!(entries.insert(3, 31, &hash), Some(30));
        assert_eq!(entries.iter().collect::<Vec<_>>(), [(1, &10), (4, &40), (3, &31)]);
    }

    #[test]
    fn many_keys_are_found_and_forgotten() {
        let hash = KeyedHash::new(1);
        let mut entries = Entries::new();
        for key in 0..100_000_u64 {
            assert_eq!(entries.insert(key, key, &hash), None);
        }
        assert!(entries.places.is_some());
        assert_eq!(entries.get(77_777, &hash), Some(&77_777));
        for key in (0..100_000).filter(|key| key % 50_000 != 3) {
            assert_eq!(entries.remove(key, &hash), Some(key));
            assert_eq!(entries.get(key, &hash), None);
        }
        assert!(entries.places.is_none());
        assert!(entries.dense.capacity() <= 4 * SEARCH_MAX);
        let mut left: Vec<u64> = entries.iter().map(|(key, _)| key).collect();
        left.sort_unstable();
        assert_eq!(left, [3, 50_003]);
    }

    #[test]
    fn order_does_not_depend_on_the_seed() {
        let order = |seed| {
            let hash = KeyedHash::new(seed);
            let mut entries = Entries::new();
            for key in 0..1000_u64 {
                entries.insert(key * 7919 % 1009, (), &hash);
                if key % 3 == 0 {
                    entries.remove(key * 31 % 1009, &hash);
                }
            }
            entries.iter().map(|(key, ())| key).collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(2));
    }
}
