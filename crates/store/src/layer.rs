//! Changes that lie above what is older: what was written but is not in the rows yet.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    ops::Bound,
};

use bytes::Bytes;

use crate::Change;

/// The sum of changes: everything under `cuts` that is older is gone, then `puts` are there.
///
/// What was put and deleted in one layer leaves nothing of its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layer {
    puts: BTreeMap<Bytes, Entry>,
    /// No cut begins with another, so the greatest one up to a key is the only one that can cover it.
    cuts: BTreeSet<Bytes>,
    /// Bytes of all keys and values, and of what keeps them.
    bytes: usize,
}

/// A value, and what is known of what is older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: Bytes,
    /// Nothing older is visible under its key, nor under any that begins with it.
    is_first: bool,
}

/// Bytes of memory that an entry takes beyond its key and value, about.
const ENTRY_BYTES: usize = 64;

/// What a layer says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The value.
    Put(Bytes),
    /// It is gone.
    Cut,
    /// Nothing: an older layer knows.
    Unknown,
}

impl Layer {
    pub(crate) fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.cuts.is_empty()
    }

    /// Bytes of memory it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn puts(&self) -> &BTreeMap<Bytes, Entry> {
        &self.puts
    }

    pub(crate) fn cuts(&self) -> &BTreeSet<Bytes> {
        &self.cuts
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Put(key, value) => self.put(key, value),
            Change::Insert(key, value) => {
                self.put_entry(key, Entry { value, is_first: true });
            }
            Change::Delete(prefix) => self.cut(prefix),
        }
    }

    pub(crate) fn put(&mut self, key: Bytes, value: Bytes) {
        self.put_entry(key, Entry { value, is_first: false });
    }

    fn put_entry(&mut self, key: Bytes, entry: Entry) {
        self.bytes += ENTRY_BYTES + key.len() + entry.value.len();
        match self.puts.entry(key) {
            btree_map::Entry::Vacant(place) => {
                place.insert(entry);
            }
            btree_map::Entry::Occupied(mut place) => {
                self.bytes -= ENTRY_BYTES + place.key().len() + place.get().value.len();
                let is_first = place.get().is_first;
                place.insert(Entry { is_first, ..entry });
            }
        }
    }

    pub(crate) fn cut(&mut self, prefix: Bytes) {
        let mut was_first = false;
        while let Some(key) = first_under(&self.puts, &prefix) {
            if let Some(entry) = self.puts.remove(&key) {
                self.bytes -= ENTRY_BYTES + key.len() + entry.value.len();
                was_first |= entry.is_first && key == prefix;
            }
        }
        if self.covers(&prefix) {
            return;
        }
        while let Some(narrower) = self.cuts.range(prefix.clone()..).next()
            && narrower.starts_with(&prefix)
        {
            let narrower = narrower.clone();
            self.bytes -= ENTRY_BYTES + narrower.len();
            self.cuts.remove(&narrower);
        }
        // There is nothing older that would have to go.
        if !was_first {
            self.bytes += ENTRY_BYTES + prefix.len();
            self.cuts.insert(prefix);
        }
    }

    /// Puts a younger layer over this one.
    pub(crate) fn merge(&mut self, younger: Self) {
        for prefix in younger.cuts {
            self.cut(prefix);
        }
        for (key, entry) in younger.puts {
            self.put_entry(key, entry);
        }
    }

    pub(crate) fn find(&self, key: &[u8]) -> Found {
        match self.puts.get(key) {
            Some(entry) => Found::Put(entry.value.clone()),
            None if self.covers(key) => Found::Cut,
            None => Found::Unknown,
        }
    }

    /// Whether what is older under this key is gone.
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        let up_to_key = (Bound::Unbounded, Bound::Included(key));
        self.cuts.range::<[u8], _>(up_to_key).next_back().is_some_and(|cut| key.starts_with(cut))
    }

    /// Puts greater than `after` (or from `prefix` on if that is greater), in order, past the end of the prefix.
    pub(crate) fn puts_after(
        &self,
        prefix: &[u8],
        after: &[u8],
    ) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.entries_after(prefix, after).map(|(key, entry)| (key, &entry.value))
    }

    fn entries_after(&self, prefix: &[u8], after: &[u8]) -> btree_map::Range<'_, Bytes, Entry> {
        self.puts.range::<[u8], _>((start(prefix, after), Bound::Unbounded))
    }

    /// The part of this layer that says anything about keys under `prefix` that are greater than `after`.
    pub(crate) fn part(&self, prefix: &[u8], after: &[u8]) -> Self {
        let mut part = Self::default();
        for (key, entry) in self.entries_after(prefix, after) {
            if !key.starts_with(prefix) {
                break;
            }
            part.puts.insert(key.clone(), entry.clone());
        }
        let from = prefix.max(after);
        let up_to = (Bound::Unbounded, Bound::Included(from));
        if let Some(cut) = self.cuts.range::<[u8], _>(up_to).next_back()
            && from.starts_with(cut)
        {
            part.cuts.insert(cut.clone());
        }
        for cut in self.cuts.range::<[u8], _>((Bound::Excluded(from), Bound::Unbounded)) {
            if !cut.starts_with(prefix) {
                break;
            }
            part.cuts.insert(cut.clone());
        }
        part
    }
}

/// Where keys begin that start with `prefix` and are greater than `after`; an empty `after` is before all keys.
pub(crate) fn start<'a>(prefix: &'a [u8], after: &'a [u8]) -> Bound<&'a [u8]> {
    let is_open = after.is_empty() || after < prefix;
    if is_open { Bound::Included(prefix) } else { Bound::Excluded(after) }
}

/// The first key that begins with `prefix`.
fn first_under(puts: &BTreeMap<Bytes, Entry>, prefix: &[u8]) -> Option<Bytes> {
    let (key, _) = puts.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded)).next()?;
    key.starts_with(prefix).then(|| key.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_put_and_its_delete_leave_only_the_cut() {
        let mut layer = Layer::default();
        layer.apply(Change::Put("m1".into(), vec![7; 100].into()));
        layer.apply(Change::Put("m1F".into(), vec![1].into()));
        layer.apply(Change::Delete("m1".into()));
        assert_eq!(layer.find(b"m1F"), Found::Cut);
        assert_eq!(layer.find(b"m2"), Found::Unknown);
        assert_eq!(layer.bytes(), ENTRY_BYTES + 2);
        layer.apply(Change::Delete("m".into()));
        assert_eq!(layer.find(b"m2"), Found::Cut);
        assert_eq!(layer.bytes(), ENTRY_BYTES + 1);
    }

    #[test]
    fn an_insert_and_its_delete_leave_nothing() {
        let mut layer = Layer::default();
        layer.apply(Change::Insert("m1".into(), vec![7; 100].into()));
        layer.apply(Change::Put("m1F".into(), vec![1].into()));
        layer.apply(Change::Delete("m1F".into()));
        layer.apply(Change::Put("m1F".into(), vec![2].into()));
        let older = layer.clone();
        layer.apply(Change::Delete("m1".into()));
        assert_eq!(layer, Layer::default());
        let mut younger = Layer::default();
        younger.apply(Change::Delete("m1".into()));
        assert_eq!(younger.find(b"m1F"), Found::Cut, "an older layer may have it");
        let mut merged = older;
        merged.merge(younger);
        assert_eq!(merged, Layer::default());
    }

    proptest! {
        /// Layers over each other, merged or not, say what a map says to which the changes were applied one by one.
        #[test]
        fn layers_are_the_sum_of_their_changes(
            older in prop::collection::vec(change(), 0..40),
            younger in prop::collection::vec(change(), 0..40),
            prefix in key(),
            after in key(),
        ) {
            let mut map = BTreeMap::new();
            let (mut first, mut second) = (Layer::default(), Layer::default());
            for change in older {
                first.apply(naive(&mut map, change));
            }
            for change in younger {
                second.apply(naive(&mut map, change));
            }
            let mut merged = first.clone();
            merged.merge(second.clone());
            for a in 0..3_u8 {
                for key in [vec![a], vec![a, 0], vec![a, 1], vec![a, 1, 2]] {
                    let stacked = match second.find(&key) {
                        Found::Unknown => first.find(&key),
                        found @ (Found::Put(_) | Found::Cut) => found,
                    };
                    let at_once = merged.find(&key);
                    prop_assert_eq!(map.get(&key[..]), value(&stacked));
                    prop_assert_eq!(map.get(&key[..]), value(&at_once));
                    if key.starts_with(&prefix) && key > after {
                        prop_assert_eq!(merged.part(&prefix, &after).find(&key), at_once);
                    }
                }
            }
            let puts: usize = merged.puts().iter().map(|(key, entry)| key.len() + entry.value.len()).sum();
            let cuts: usize = merged.cuts().iter().map(Bytes::len).sum();
            let entries = merged.puts().len() + merged.cuts().len();
            prop_assert_eq!(merged.bytes(), puts + cuts + ENTRY_BYTES * entries);
        }
    }

    fn value(found: &Found) -> Option<&Bytes> {
        match found {
            Found::Put(value) => Some(value),
            Found::Cut | Found::Unknown => None,
        }
    }

    /// Applies a change to a map. Returns it, as an insert where that is right.
    fn naive(map: &mut BTreeMap<Bytes, Bytes>, change: Change) -> Change {
        match change {
            Change::Put(key, value) | Change::Insert(key, value) => {
                let is_first = !map.keys().any(|other| other.starts_with(&key));
                map.insert(key.clone(), value.clone());
                if is_first { Change::Insert(key, value) } else { Change::Put(key, value) }
            }
            Change::Delete(prefix) => {
                map.retain(|key, _| !key.starts_with(&prefix));
                Change::Delete(prefix)
            }
        }
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0..3_u8, 0..4)
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            3 => (key(), prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(key, value)| Change::Put(key.into(), value.into())),
            1 => key().prop_map(|key| Change::Delete(key.into())),
        ]
    }
}
