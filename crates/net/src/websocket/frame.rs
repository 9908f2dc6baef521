//! The head of a frame. RFC 6455 section 5.2.

use super::WebSocketError;

/// The head of a frame.
///
/// ```text
/// FIN RSV3 opcode4 | MASK length7 | length 16 or 64, if length7 is 126 or 127 | mask 32, if MASK
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) is_last: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// Longest head in bytes.
pub(super) const HEAD_LEN_MAX: usize = 14;
/// Longest payload of a control frame. RFC 6455 section 5.5.
pub(super) const CONTROL_LEN_MAX: u64 = 125;

impl Head {
    /// Reads a head; `None` if it is not whole.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, WebSocketError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(WebSocketError::Frame("a reserved bit is set"));
        }
        let opcode = Opcode::of(first & 0x0f)?;
        let (len, rest) = match second & 0x7f {
            126 => match rest {
                [high, low, rest @ ..] => (u64::from(u16::from_be_bytes([*high, *low])), rest),
                _ => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(None),
            },
            len => (u64::from(len), rest),
        };
        let mask = match (second & 0x80 != 0, rest.first_chunk()) {
            (false, _) => None,
            (true, Some(mask)) => Some(*mask),
            (true, None) => return Ok(None),
        };
        if len >> 63 != 0 {
            return Err(WebSocketError::Frame("a length has more than 63 bits"));
        }
        let is_last = first & 0x80 != 0;
        if opcode.is_control() && (!is_last || len > CONTROL_LEN_MAX) {
            return Err(WebSocketError::Frame("a control frame is long or in pieces"));
        }
        Ok(Some(Self { is_last, opcode, mask, len }))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(if self.is_last { 0x80 } else { 0 } | self.opcode.bits());
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        match (u8::try_from(self.len), u16::try_from(self.len)) {
            (Ok(len @ 0..=125), _) => out.push(masked | len),
            (_, Ok(len)) => {
                out.push(masked | 126);
                out.extend_from_slice(&len.to_be_bytes());
            }
            _ => {
                out.push(masked | 127);
                out.extend_from_slice(&self.len.to_be_bytes());
            }
        }
        out.extend_from_slice(self.mask.as_ref().map_or(&[], |mask| mask.as_slice()));
    }
}

impl Opcode {
    fn of(bits: u8) -> Result<Self, WebSocketError> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(WebSocketError::Frame("an opcode is reserved")),
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Masks or unmasks bytes that stand at `offset` in their frame.
pub(super) fn mask(bytes: &mut [u8], key: [u8; 4], offset: u64) {
    let turn = usize::try_from(offset % 4).unwrap_or_default();
    let mut key = key;
    key.rotate_left(turn);
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        for len in [0, 1, 125, 126, 65_535, 65_536, u64::MAX >> 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let head = Head { is_last: true, opcode: Opcode::Binary, mask, len };
                let mut bytes = Vec::new();
                head.write(&mut bytes);
                assert!(bytes.len() <= HEAD_LEN_MAX);
                for short in 0..bytes.len() {
                    assert_eq!(Head::read(&bytes[..short]), Ok(None), "{short} of {bytes:?}");
                }
                assert_eq!(Head::read(&bytes), Ok(Some(head)));
            }
        }
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        for bytes in [
            [0xc2, 0x00].as_slice(),
            &[0x83, 0x00],
            &[0x09, 0x00],
            &[0x89, 0x7e, 0x00, 0x7e],
            &[0x82, 0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(Head::read(bytes).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn masking_in_pieces_is_masking_the_whole() {
        let whole: Vec<u8> = (0..100).collect();
        let mut expected = whole.clone();
        for (at, byte) in expected.iter_mut().enumerate() {
            *byte ^= [7, 11, 13, 17][at % 4];
        }
        for cut in 0..100 {
            let mut bytes = whole.clone();
            let (left, right) = bytes.split_at_mut(cut);
            mask(left, [7, 11, 13, 17], 0);
            mask(right, [7, 11, 13, 17], cut as u64);
            assert_eq!(bytes, expected, "{cut}");
        }
    }
}
