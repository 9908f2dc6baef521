//! Keys in memory: small ones in place, so that comparing them touches no other memory.

use std::{cmp::Ordering, fmt};

/// A key, in the order of its bytes.
#[derive(Clone)]
pub(crate) enum Key {
    /// Padded with zeros; the last byte is the length, so that what looks alike is ordered by it.
    Short([u8; SHORT_LEN]),
    Long(Box<[u8]>),
}

const SHORT_LEN: usize = 24;

impl Key {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => {
                let [.., len] = bytes;
                bytes.get(..usize::from(*len)).unwrap_or_default()
            }
            Self::Long(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }

    pub(crate) fn starts_with(&self, prefix: &[u8]) -> bool {
        self.bytes().starts_with(prefix)
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        let mut short = [0; SHORT_LEN];
        let [place @ .., len] = &mut short;
        match (place.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(found)) => {
                place.copy_from_slice(bytes);
                *len = found;
                Self::Short(short)
            }
            _ => Self::Long(bytes.into()),
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Short(a), Self::Short(b)) => {
                let ([a1, a2, a3], [b1, b2, b3]) = (words(a), words(b));
                (a1, a2, a3).cmp(&(b1, b2, b3))
            }
            _ => self.bytes().cmp(other.bytes()),
        }
    }
}

impl Eq for Key {}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}

fn words(bytes: &[u8; SHORT_LEN]) -> [u64; 3] {
    let (words, _) = bytes.as_chunks::<8>();
    let word = |at: usize| words.get(at).map_or(0, |word| u64::from_be_bytes(*word));
    [word(0), word(1), word(2)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_ordered_as_their_bytes(a in bytes(), b in bytes()) {
            let keys = [Key::from(&a[..]), Key::from(&b[..])];
            prop_assert_eq!(keys[0].cmp(&keys[1]), a.cmp(&b));
            prop_assert_eq!(keys[0] == keys[1], a == b);
            prop_assert_eq!(keys[0].bytes(), &a[..]);
            prop_assert_eq!(keys[0].starts_with(&b), a.starts_with(&b));
        }
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        (0..4_usize, prop::collection::vec(0..2_u8, 0..3))
            .prop_map(|(zeros, end)| [vec![0; [0, 21, 22, 23][zeros]], end].concat())
    }
}
