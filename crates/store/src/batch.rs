//! Changes gathered for one write, in the form in which the log has them.

use std::mem;

use bytes::Bytes;

use crate::Change;

/// Changes gathered for one write. They lie in one buffer as the log will have them, so that a change costs no
/// allocation, and the buffer goes to the disk as it is.
#[derive(Debug, Default)]
pub struct Batch {
    buffer: Vec<u8>,
    len: usize,
}

/// A change as it lies in the bytes of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: &'a [u8],
    /// Where the value begins and ends.
    pub(crate) value: (usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Delete,
    Put,
    Insert,
}

/// Bytes before the key of a change: its kind, and the lengths of key and value.
const HEAD_LEN: usize = 9;

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
        self.buffer.extend([0; HEAD_LEN]);
        key(&mut self.buffer);
        let value_at = self.buffer.len();
        let kind = match (value(&mut self.buffer), is_first) {
            (false, _) => Kind::Delete,
            (true, false) => Kind::Put,
            (true, true) => Kind::Insert,
        };
        let lens = [value_at - at - HEAD_LEN, self.buffer.len() - value_at];
        let [key_len, value_len] = lens.map(|len| u32::try_from(len).unwrap_or(u32::MAX));
        debug_assert!(lens.map(|len| len as u64) == [key_len.into(), value_len.into()], "4 GiB");
        let [k1, k2, k3, k4] = key_len.to_be_bytes();
        let [v1, v2, v3, v4] = value_len.to_be_bytes();
        let head = [kind as u8, k1, k2, k3, k4, v1, v2, v3, v4];
        if let Some(place) = self.buffer.get_mut(at..at + HEAD_LEN) {
            place.copy_from_slice(&head);
        }
        self.len += 1;
    }

    pub(crate) fn push_change(&mut self, change: &Change) {
        let (is_first, key, value) = match change {
            Change::Put(key, value) => (false, key, Some(value)),
            Change::Insert(key, value) => (true, key, Some(value)),
            Change::Delete(key) => (false, key, None),
        };
        let put = |out: &mut Vec<u8>| {
            out.extend_from_slice(value.map_or(&[], |value| &value[..]));
            value.is_some()
        };
        self.push(is_first, |out| out.extend_from_slice(key), put);
    }

    /// Whether there is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all changes, as the log has them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// How many changes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Takes all changes out, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Change> {
        let all = self.take();
        let mut at = 0;
        std::iter::from_fn(move || {
            let raw = next(&all, &mut at)?.ok()?;
            let (key, value) = (all.slice_ref(raw.key), all.slice(raw.value.0..raw.value.1));
            Some(match raw.kind {
                Kind::Delete => Change::Delete(key),
                Kind::Put => Change::Put(key, value),
                Kind::Insert => Change::Insert(key, value),
            })
        })
    }

    /// Takes the bytes of all changes out.
    pub(crate) fn take(&mut self) -> Bytes {
        self.len = 0;
        let room = self.buffer.len();
        // The next batch is about as large.
        Bytes::from(mem::replace(&mut self.buffer, Vec::with_capacity(room)))
    }
}

/// Bytes that nobody wrote.
#[derive(Debug)]
pub(crate) struct Damaged;

/// The change at `at`, which moves behind it; `None` at the end.
pub(crate) fn next<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Result<Raw<'a>, Damaged>> {
    let rest = bytes.get(*at..).filter(|rest| !rest.is_empty())?;
    let found = split(rest, *at);
    *at = found.as_ref().map_or(bytes.len(), |raw| raw.value.1);
    Some(found.ok_or(Damaged))
}

fn split(rest: &[u8], at: usize) -> Option<Raw<'_>> {
    let ([kind, lens @ ..], rest) = rest.split_first_chunk::<HEAD_LEN>()?;
    let kind = match kind {
        0 => Kind::Delete,
        1 => Kind::Put,
        2 => Kind::Insert,
        _ => return None,
    };
    let (key_len, value_len) = lens.split_at(4);
    let len = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize);
    let (key, rest) = rest.split_at_checked(len(key_len)?)?;
    let value_at = at + HEAD_LEN + key.len();
    let value = rest.get(..len(value_len)?)?;
    Some(Raw { kind, key, value: (value_at, value_at + value.len()) })
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
        assert_eq!((batch.len(), batch.bytes(), batch.is_empty()), (3, 12 + 3 * HEAD_LEN, false));
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

    #[test]
    fn what_ends_too_early_is_damaged() {
        let mut batch = Batch::default();
        batch.push_change(&Change::Put("key".into(), "value".into()));
        let bytes = batch.take();
        for len in 1..bytes.len() {
            assert!(matches!(next(&bytes[..len], &mut 0), Some(Err(Damaged))));
        }
        let mut unknown = bytes.to_vec();
        unknown[0] = 3;
        assert!(matches!(next(&unknown, &mut 0), Some(Err(Damaged))));
        assert!(matches!(next(&bytes, &mut 0), Some(Ok(raw)) if raw.key == b"key"));
    }
}
