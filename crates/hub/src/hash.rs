//! A hash with a key.

use core::fmt;
use core::hash::Hasher;

use foldhash::{SharedSeed, fast::FoldHasher};

/// Hashes names and numbers under a secret seed, so that a stranger cannot choose names that
/// collide.
///
/// All of the state comes from the seed. The `SeedableRandomState` of the library would need a
/// shared part that lives forever, and the one it offers is a constant that everybody can read:
/// names of 16 bytes that end in its second word would collide under every seed.
pub(crate) struct KeyedHash {
    first: u64,
    shared: SharedSeed,
}

impl KeyedHash {
    /// The same seed gives the same hashes.
    pub(crate) const fn new(seed: u64) -> Self {
        // Without the constants the seed 0 would give a state of zeros.
        Self {
            first: seed ^ 0xd1b5_4a32_d192_ed03,
            shared: SharedSeed::from_u64(seed ^ 0x9e37_79b9_7f4a_7c15),
        }
    }

    /// The hash of a name.
    #[inline]
    pub(crate) fn bytes(&self, bytes: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.first, &self.shared);
        hasher.write(bytes);
        hasher.finish()
    }

    /// The hub, of so many, where something with this name lives.
    pub(crate) fn home(&self, name: &[u8], hubs: u16) -> u16 {
        (self.bytes(name) % u64::from(hubs.max(1))) as u16
    }

    /// The hash of a number, or of a hash and a number.
    #[inline]
    pub(crate) fn pair(&self, number: u64, other: u64) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.first, &self.shared);
        hasher.write_u64(number);
        hasher.write_u64(other);
        hasher.finish()
    }
}

impl fmt::Debug for KeyedHash {
    /// Keeps the seed secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KeyedHash").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_hash() {
        let (one, same, other) = (KeyedHash::new(1), KeyedHash::new(1), KeyedHash::new(2));
        assert_eq!(one.bytes(b"plant/7"), same.bytes(b"plant/7"));
        assert_eq!(one.pair(7, 8), same.pair(7, 8));
        assert_ne!(one.bytes(b"plant/7"), other.bytes(b"plant/7"));
        assert_ne!(one.pair(7, 8), other.pair(7, 8));
    }

    #[test]
    fn seed_zero_is_as_good_as_any() {
        let hash = KeyedHash::new(0);
        let mut seen: Vec<u64> = (0..1000_u64).map(|n| hash.pair(n, 0)).collect();
        seen.extend((0..1000_u64).map(|n| hash.bytes(format!("plant/{n}").as_bytes())));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2000);
    }

    /// The library's fixed shared seed has such names (see [`KeyedHash`]); ours depend on the seed.
    #[test]
    fn no_fixed_word_zeroes_the_product() {
        let ends = [0xc0ac_29b7_c97c_50dd_u64, 0x3f84_d5b5_b547_0917, 0x9216_d5d9_8979_fb1b];
        let names =
            |end: u64| (0..100_u64).map(move |n| [n.to_ne_bytes(), end.to_ne_bytes()].concat());
        let count = |hashes: &mut dyn Iterator<Item = u64>| {
            let mut hashes: Vec<u64> = hashes.collect();
            hashes.sort_unstable();
            hashes.dedup();
            hashes.len()
        };
        let ours = KeyedHash::new(7);
        let theirs = |name: Vec<u8>| {
            let mut hasher = FoldHasher::with_seed(7, SharedSeed::global_fixed());
            hasher.write(&name);
            hasher.finish()
        };
        assert!(ends.iter().any(|&end| count(&mut names(end).map(theirs)) == 1));
        for end in ends {
            assert_eq!(count(&mut names(end).map(|name| ours.bytes(&name))), 100);
        }
    }
}
