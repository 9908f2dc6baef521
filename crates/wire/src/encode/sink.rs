//! Where encoded bytes go: counted first, then written, by the same code.

use alloc::vec::Vec;

/// Takes encoded bytes.
pub(crate) trait Sink {
    /// Takes bytes as they are.
    fn put(&mut self, bytes: &[u8]);

    fn byte(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Takes a variable byte integer, at most 268,435,455.
    fn var_int(&mut self, value: u32) {
        let (bytes, len) = var_int(value);
        self.put(bytes.get(..len).unwrap_or_default());
    }

    /// Takes a string or binary data behind its two length bytes. It was checked to be at most
    /// 65,535 bytes long.
    fn short(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= usize::from(u16::MAX), "longer than its length can say");
        self.u16(bytes.len() as u16);
        self.put(bytes);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn byte(&mut self, value: u8) {
        self.push(value);
    }
}

/// A sink that only counts.
#[derive(Default)]
pub(super) struct Count(pub(super) u64);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }
}

/// The bytes of a variable byte integer and how many of the four are used. Spec: v5 section 1.5.5.
pub(super) fn var_int(value: u32) -> ([u8; 4], usize) {
    let mut bytes = [0; 4];
    let mut rest = value;
    let mut len = 0;
    for byte in &mut bytes {
        *byte = (rest & 0x7f) as u8;
        rest >>= 7;
        len += 1;
        if rest == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, len)
}

/// The bytes that a variable byte integer takes, 1 to 4.
pub(super) const fn var_int_len(value: u32) -> u64 {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}
