//! Changes gathered for one write.

use std::mem;

use bytes::Bytes;

use crate::Change;

/// Changes gathered for one write. Their keys and values lie in one buffer, so that a change costs no allocation.
#[derive(Debug, Default)]
pub struct Batch {
    buffer: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    kind: Kind,
    /// Where key and value begin; the value ends where the next key begins.
    key: usize,
    value: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    Insert,
    Delete,
}

impl Batch {
    /// Adds a change: `key` and `value` append their bytes to what they are given. A `value` that returns false makes
    /// it a delete. `is_first` says that a put is a [`Change::Insert`].
    pub fn push(
        &mut self,
        is_first: bool,
        key: impl FnOnce(&mut Vec<u8>),
        value: impl FnOnce(&mut Vec<u8>) -> bool,
    ) {
        let at = self.buffer.len();
        key(&mut self.buffer);
        let value_at = self.buffer.len();
        let kind = match (value(&mut self.buffer), is_first) {
            (false, _) => Kind::Delete,
            (true, false) => Kind::Put,
            (true, true) => Kind::Insert,
        };
        self.places.push(Place { kind, key: at, value: value_at });
    }

    /// Whether there is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// How many changes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Takes all changes out, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Change> {
        let all = Bytes::from(mem::take(&mut self.buffer));
        let mut end = all.len();
        // Backwards, since a change ends where the next one begins.
        let mut changes: Vec<Change> = Vec::with_capacity(self.places.len());
        for Place { kind, key, value } in self.places.drain(..).rev() {
            let (key, value) = (all.slice(key..value), all.slice(value..end));
            end -= key.len() + value.len();
            changes.push(match kind {
                Kind::Put => Change::Put(key, value),
                Kind::Insert => Change::Insert(key, value),
                Kind::Delete => Change::Delete(key),
            });
        }
        changes.into_iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_out_as_they_went_in() {
        let mut batch = Batch::default();
        let put = |text: &'static [u8]| move |out: &mut Vec<u8>| out.extend_from_slice(text);
        let value = |text: &'static [u8]| {
            move |out: &mut Vec<u8>| {
                out.extend_from_slice(text);
                true
            }
        };
        batch.push(true, put(b"a"), value(b"first"));
        batch.push(false, put(b"bc"), value(b""));
        batch.push(true, put(b"gone"), |_| false);
        assert_eq!((batch.len(), batch.bytes(), batch.is_empty()), (3, 12, false));
        let bytes = Bytes::from_static;
        let expected = [
            Change::Insert(bytes(b"a"), bytes(b"first")),
            Change::Put(bytes(b"bc"), bytes(b"")),
            Change::Delete(bytes(b"gone")),
        ];
        assert_eq!(batch.drain().collect::<Vec<_>>(), expected);
        assert!(batch.is_empty());
        assert_eq!(batch.drain().count(), 0);
    }
}
