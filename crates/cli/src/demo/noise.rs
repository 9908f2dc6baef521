//! Bytes without a pattern, the same each time.

use std::{
    fmt::Write,
    io::{self, Read},
};

use sha2::{Digest, Sha256};

/// The SHA-256 of some bytes, taken in pieces.
#[derive(Debug, Default)]
pub(super) struct Sum(Sha256);

impl Sum {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn add_all(&mut self, mut reader: impl Read) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match reader.read(&mut chunk)? {
                0 => return Ok(()),
                count => self.add(chunk.get(..count).unwrap_or_default()),
            }
        }
    }

    /// The sum in hexadecimal digits.
    pub(super) fn finish(self) -> String {
        self.0.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing into a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// `len` bytes from a generator of pseudo-random numbers (SplitMix64), and their sum.
pub(super) fn noise(len: usize) -> (Vec<u8>, String) {
    let (mut bytes, mut sum) = (Vec::with_capacity(len), Sum::default());
    let mut state = 0_u64;
    while bytes.len() < len {
        let begin = bytes.len();
        let end = (begin + CHUNK).min(len);
        while bytes.len() < end {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
        }
        bytes.truncate(end);
        // The chunk is still in the cache.
        sum.add(bytes.get(begin..).unwrap_or_default());
    }
    (bytes, sum.finish())
}

/// Bytes made and summed at a time; a multiple of eight.
const CHUNK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_bytes() {
        for len in [0, 1, 7, 8, CHUNK - 1, CHUNK, CHUNK + 9] {
            let (bytes, text) = noise(len);
            assert_eq!(bytes.len(), len);
            let mut sum = Sum::default();
            sum.add(&bytes);
            assert_eq!(sum.finish(), text, "{len}");
        }
    }

    #[test]
    fn the_sum_is_sha_256() {
        let mut sum = Sum::default();
        sum.add(b"a");
        sum.add(b"bc");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sum.finish(), expected);
    }

    #[test]
    fn a_longer_noise_begins_as_a_shorter_one() {
        let ((short, _), (long, _)) = (noise(CHUNK + 3), noise(2 * CHUNK));
        assert!(long.starts_with(&short));
        // The first numbers of SplitMix64 with seed 0.
        assert_eq!(long[..8], 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    }
}
