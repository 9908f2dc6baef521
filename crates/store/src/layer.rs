//! Changes that lie above what is older: what is in the log but not in the rows yet.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    ops::Bound,
};

use bytes::Bytes;

use crate::{
    batch::{self, Damaged, Kind, Raw},
    key::Key,
    value::Value,
};

/// The sum of changes: everything under `cuts` that is older is gone, then `puts` are there.
///
/// What was put and deleted in one layer leaves nothing of its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layer {
    /// By what keys begin with. Those of one session lie together, so that most trees are small; none is empty.
    puts: BTreeMap<Head, BTreeMap<Key, Entry>>,
    /// No cut begins with another, so the greatest one up to a key is the only one that can cover it.
    cuts: BTreeSet<Key>,
    /// Bytes of all keys and values, and of what keeps them.
    bytes: usize,
}

/// A value, and what is known of what is older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    /// Nothing older is visible under its key, nor under any that begins with it.
    is_first: bool,
}

/// The first eight bytes of a key, as a number that is in the order of keys.
type Head = u64;

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
    /// Bytes of memory it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All puts, in the order of their keys.
    pub(crate) fn puts(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.puts.values().flatten()
    }

    pub(crate) fn cuts(&self) -> &BTreeSet<Key> {
        &self.cuts
    }

    /// Applies the changes of a batch.
    pub(crate) fn apply(&mut self, changes: &Bytes) -> Result<(), Damaged> {
        self.apply_if(changes, |_| true)
    }

    /// Applies those changes of a batch that matter to keys under `prefix`.
    pub(crate) fn apply_under(&mut self, changes: &Bytes, prefix: &[u8]) -> Result<(), Damaged> {
        self.apply_if(changes, |raw| {
            raw.key.starts_with(prefix) || raw.kind == Kind::Delete && prefix.starts_with(raw.key)
        })
    }

    fn apply_if(
        &mut self,
        changes: &Bytes,
        matters: impl Fn(&Raw<'_>) -> bool,
    ) -> Result<(), Damaged> {
        let mut at = 0;
        while let Some(raw) = batch::next(changes, &mut at) {
            let raw = raw?;
            match raw.kind {
                _ if !matters(&raw) => (),
                Kind::Delete => self.cut(raw.key),
                Kind::Put | Kind::Insert => {
                    let value = Value::within(changes, raw.value);
                    self.put(Key::from(raw.key), value, raw.kind == Kind::Insert);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn put(&mut self, key: Key, value: Value, is_first: bool) {
        let key_len = key.len();
        self.bytes += ENTRY_BYTES + key_len + value.len();
        let entry = Entry { value, is_first };
        match self.puts.entry(head(key.bytes(), 0)).or_default().entry(key) {
            btree_map::Entry::Vacant(place) => {
                place.insert(entry);
            }
            btree_map::Entry::Occupied(mut place) => {
                self.bytes -= ENTRY_BYTES + key_len + place.get().value.len();
                let is_first = place.get().is_first;
                place.insert(Entry { is_first, ..entry });
            }
        }
    }

    pub(crate) fn cut(&mut self, prefix: &[u8]) {
        let from = Key::from(prefix);
        let (least, greatest) = (head(prefix, 0), head(prefix, u8::MAX));
        let was_first = if least == greatest {
            self.remove(least, &from)
        } else {
            let heads: Vec<_> = self.puts.range(least..=greatest).map(|(head, _)| *head).collect();
            heads.into_iter().fold(false, |was_first, head| self.remove(head, &from) | was_first)
        };
        // Where there is nothing older nothing would have to go, but for what narrower cuts hide.
        if was_first || self.covers(prefix) {
            return;
        }
        while let Some(narrower) = self.cuts.range(&from..).next()
            && narrower.starts_with(prefix)
        {
            let narrower = narrower.clone();
            self.bytes -= ENTRY_BYTES + narrower.len();
            self.cuts.remove(&narrower);
        }
        self.bytes += ENTRY_BYTES + prefix.len();
        self.cuts.insert(from);
    }

    /// Takes out the puts that the next younger layer hides, and of that one's cuts those that have nothing to hide then.
    pub(crate) fn thin_out(&mut self, younger: &mut Self) {
        let (mut spare, bytes) = (Vec::new(), &mut self.bytes);
        self.puts.retain(|head, puts| {
            let over = younger.puts.get(head);
            puts.retain(|key, entry| {
                let is_cut = younger.covers(key.bytes());
                let is_hidden = is_cut || over.is_some_and(|over| over.contains_key(key));
                if is_hidden {
                    *bytes -= ENTRY_BYTES + key.len() + entry.value.len();
                }
                if is_cut && entry.is_first {
                    spare.push(key.clone());
                }
                !is_hidden
            });
            !puts.is_empty()
        });
        for cut in spare.iter().filter(|cut| younger.cuts.remove(cut)) {
            younger.bytes -= ENTRY_BYTES + cut.len();
        }
    }

    pub(crate) fn find(&self, key: &[u8]) -> Found {
        let puts = self.puts.get(&head(key, 0));
        match puts.and_then(|puts| puts.get(&Key::from(key))) {
            Some(entry) => Found::Put(entry.value.to_bytes()),
            None if self.covers(key) => Found::Cut,
            None => Found::Unknown,
        }
    }

    /// Whether what is older under this key is gone.
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        if self.cuts.is_empty() {
            return false;
        }
        let up_to_key = (Bound::Unbounded, Bound::Included(Key::from(key)));
        self.cuts.range(up_to_key).next_back().is_some_and(|cut| key.starts_with(cut.bytes()))
    }

    /// Puts greater than `after` (or from `prefix` on if that is greater), in order, past the end of the prefix.
    pub(crate) fn puts_after(
        &self,
        prefix: &[u8],
        after: &[u8],
    ) -> impl Iterator<Item = (&[u8], &Value)> {
        let (bytes, from) = match start(prefix, after) {
            Bound::Excluded(after) => (after, Bound::Excluded(Key::from(after))),
            Bound::Included(_) | Bound::Unbounded => (prefix, Bound::Included(Key::from(prefix))),
        };
        let trees = self.puts.range(head(bytes, 0)..);
        let after = trees.flat_map(move |(_, puts)| puts.range((from.clone(), Bound::Unbounded)));
        after.map(|(key, entry)| (key.bytes(), &entry.value))
    }

    /// Removes the puts with this head whose keys begin with `prefix`. Says whether there was one with this very key, and
    /// nothing older.
    fn remove(&mut self, head: Head, prefix: &Key) -> bool {
        let btree_map::Entry::Occupied(mut place) = self.puts.entry(head) else { return false };
        let puts = place.get_mut();
        let entry = puts.remove(prefix);
        let was_first = entry.as_ref().is_some_and(|entry| entry.is_first);
        self.bytes -= entry.map_or(0, |entry| ENTRY_BYTES + prefix.len() + entry.value.len());
        let behind = (Bound::Excluded(prefix), Bound::Unbounded);
        while let Some((key, entry)) = puts.range(behind).next()
            && key.starts_with(prefix.bytes())
        {
            self.bytes -= ENTRY_BYTES + key.len() + entry.value.len();
            let key = key.clone();
            puts.remove(&key);
        }
        if puts.is_empty() {
            place.remove();
        }
        was_first
    }
}

/// The head of a key, with these bytes behind a shorter one.
fn head(key: &[u8], behind: u8) -> Head {
    let head = key.first_chunk().copied().unwrap_or_else(|| {
        let mut head = [behind; 8];
        head.iter_mut().zip(key).for_each(|(place, byte)| *place = *byte);
        head
    });
    u64::from_be_bytes(head)
}

/// Where keys begin that start with `prefix` and are greater than `after`; an empty `after` is before all keys.
pub(crate) fn start<'a>(prefix: &'a [u8], after: &'a [u8]) -> Bound<&'a [u8]> {
    let is_open = after.is_empty() || after < prefix;
    if is_open { Bound::Included(prefix) } else { Bound::Excluded(after) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Batch, Change};

    #[test]
    fn a_put_and_its_delete_leave_only_the_cut() {
        let mut layer = Layer::default();
        add(&mut layer, Change::Put("m1".into(), vec![7; 100].into()));
        add(&mut layer, Change::Put("m1F".into(), vec![1].into()));
        add(&mut layer, Change::Delete("m1".into()));
        assert_eq!(layer.find(b"m1F"), Found::Cut);
        assert_eq!(layer.find(b"m2"), Found::Unknown);
        assert_eq!(layer.bytes(), ENTRY_BYTES + 2);
        add(&mut layer, Change::Delete("m".into()));
        assert_eq!(layer.find(b"m2"), Found::Cut);
        assert_eq!(layer.bytes(), ENTRY_BYTES + 1);
    }

    #[test]
    fn an_insert_and_its_delete_leave_nothing() {
        let mut layer = Layer::default();
        add(&mut layer, Change::Insert("m1".into(), vec![7; 100].into()));
        add(&mut layer, Change::Put("m1F".into(), vec![1].into()));
        add(&mut layer, Change::Put("m1F".into(), vec![2].into()));
        add(&mut layer, Change::Delete("m1".into()));
        assert_eq!(layer, Layer::default());
        let mut younger = Layer::default();
        add(&mut younger, Change::Delete("m1".into()));
        assert_eq!(younger.find(b"m1F"), Found::Cut, "an older layer may have it");
    }

    proptest! {
        /// Layers over each other, and one of all, say what a map says to which the changes were applied one by one.
        #[test]
        fn layers_are_the_sum_of_their_changes(
            older in prop::collection::vec(change(), 0..40),
            younger in prop::collection::vec(change(), 0..40),
            prefix in key(),
        ) {
            let mut map = BTreeMap::new();
            let (mut first, mut second) = (Layer::default(), Layer::default());
            let mut all = Batch::default();
            for change in older {
                let change = naive(&mut map, change);
                all.push_change(&change);
                add(&mut first, change);
            }
            for change in younger {
                let change = naive(&mut map, change);
                all.push_change(&change);
                add(&mut second, change);
            }
            let all = all.take();
            let (mut merged, mut part) = (Layer::default(), Layer::default());
            merged.apply(&all).unwrap();
            part.apply_under(&all, &prefix).unwrap();
            for a in 0..3_u8 {
                for key in [vec![a], vec![a, 0], vec![a, 1], vec![a, 1, 2]].map(lengthened) {
                    let stacked = match second.find(&key) {
                        Found::Unknown => first.find(&key),
                        found @ (Found::Put(_) | Found::Cut) => found,
                    };
                    let at_once = merged.find(&key);
                    prop_assert_eq!(map.get(&key[..]), value(&stacked));
                    prop_assert_eq!(map.get(&key[..]), value(&at_once));
                    if key.starts_with(&prefix) {
                        let in_part = part.find(&key);
                        prop_assert_eq!(value(&in_part), value(&at_once));
                    }
                }
            }
            prop_assert_eq!(merged.bytes(), size(&merged));
        }

        /// A layer from which was taken what the next one hides says the same beneath it, and once it is in the rows and
        /// the changes of the next one are applied again.
        #[test]
        fn what_is_hidden_is_taken_out(
            changes in prop::collection::vec((0..3_usize, change()), 0..80),
        ) {
            let (mut map, mut changes) = (BTreeMap::new(), changes);
            changes.sort_by_key(|(age, _)| *age);
            let mut layers = <[Layer; 3]>::default();
            let mut again = Vec::new();
            for (age, change) in changes {
                let change = naive(&mut map, change);
                add(&mut layers[age], change.clone());
                again.extend((age == 2).then_some(change));
            }
            let [rows, mut older, mut younger] = layers;
            older.thin_out(&mut younger);
            for layer in [&older, &younger] {
                prop_assert_eq!(layer.bytes(), size(layer));
            }
            for (key, _) in older.puts() {
                prop_assert_eq!(younger.find(key.bytes()), Found::Unknown);
            }
            let mut stored: BTreeMap<Bytes, Bytes> = content(&rows);
            stored.retain(|key, _| !older.covers(key));
            stored.extend(content(&older));
            let mut seen = stored.clone();
            seen.retain(|key, _| !younger.covers(key));
            seen.extend(content(&younger));
            prop_assert_eq!(&seen, &map);
            again.into_iter().for_each(|change| drop(naive(&mut stored, change)));
            prop_assert_eq!(&stored, &map);
        }
    }

    fn content(layer: &Layer) -> BTreeMap<Bytes, Bytes> {
        let puts = layer.puts();
        puts.map(|(key, entry)| (Bytes::copy_from_slice(key.bytes()), entry.value.to_bytes()))
            .collect()
    }

    fn size(layer: &Layer) -> usize {
        let puts = layer.puts().map(|(key, entry)| ENTRY_BYTES + key.len() + entry.value.len());
        puts.sum::<usize>() + layer.cuts().iter().map(|cut| ENTRY_BYTES + cut.len()).sum::<usize>()
    }

    fn add(layer: &mut Layer, change: Change) {
        let mut batch = Batch::default();
        batch.push_change(&change);
        layer.apply(&batch.take()).unwrap();
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

    /// Some keys are shorter than what the trees of a layer have in common, some end behind it.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0..3_u8, 0..4).prop_map(lengthened)
    }

    /// With six more bytes behind a first one of 2.
    fn lengthened(mut key: Vec<u8>) -> Vec<u8> {
        if key.first() == Some(&2) {
            key.splice(1..1, [0, 1, 0xff, 0xff, 0xff, 0xff]);
        }
        key
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            3 => (key(), prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(key, value)| Change::Put(key.into(), value.into())),
            1 => key().prop_map(|key| Change::Delete(key.into())),
        ]
    }
}
