//! The tail of a store of format 1: what was handed to the operating system since its rows were last synced.
//!
//! Where that format had a tail there is a log now. A tail is only read, when an older store is opened that was killed.
//! `docs/format.md` shows the bytes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::{Buf, Bytes};

use crate::{StoreError, key::Key, layer::Layer};

const MAGIC: &[u8; 8] = b"PRTAIL\x00\x01";
const BLOCK_HEAD_LEN: usize = 20;
const SUM_LEN: usize = 4;
const CUT: u8 = 0;
const PUT: u8 = 1;

/// A tail is emptied long before it grows to this many bytes; a longer one is not ours.
const TAIL_BYTES_MAX: u64 = 1 << 30;

/// What a tail held.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) layer: Layer,
    /// The last block that is in the layer or the rows.
    pub(crate) number: u64,
    /// Where a damaged tail was set aside. Its end was lost in a power cut.
    pub(crate) aside: Option<PathBuf>,
}

/// Reads the tail of a store whose rows hold all up to block `applied`, if there is one.
///
/// `boot` names this run of the operating system, if it has a name: within one run what was handed over is whole.
pub(crate) fn read(
    store: &Path,
    path: &Path,
    applied: u64,
    boot: &[u8],
) -> Result<Tail, StoreError> {
    let mut tail = Tail { number: applied, ..Tail::default() };
    let bytes = match fs::metadata(path) {
        Ok(found) if found.len() > TAIL_BYTES_MAX => {
            return Err(StoreError::corrupt(store, "the tail is too long"));
        }
        Ok(_) => fs::read(path).map_err(|error| StoreError::io(store, &error))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(tail),
        Err(error) => return Err(StoreError::io(store, &error)),
    };
    match tail.read(Bytes::from(bytes), boot) {
        End::Whole => (),
        End::Damaged => return Err(StoreError::corrupt(store, "the tail is damaged")),
        End::PowerCut => {
            let aside = set_aside(path).map_err(|error| StoreError::io(store, &error))?;
            tail.aside = Some(aside);
        }
    }
    Ok(tail)
}

impl Tail {
    /// Applies all blocks that are not in the rows yet.
    fn read(&mut self, mut bytes: Bytes, our_boot: &[u8]) -> End {
        let Some(boot) = take_head(&mut bytes) else {
            let is_cut_short = bytes.len() < MAGIC.len() + 1 + our_boot.len() + SUM_LEN;
            let is_blank = bytes.iter().take(MAGIC.len()).all(|byte| *byte == 0);
            return match (is_cut_short, is_blank) {
                (true, _) => End::Whole,
                (false, true) => End::PowerCut,
                (false, false) => End::Damaged,
            };
        };
        // Within one run of the operating system what was handed over is whole.
        let is_same_boot = !boot.is_empty() && boot[..] == *our_boot;
        let damage = if is_same_boot { End::Damaged } else { End::PowerCut };
        loop {
            match take_block(&mut bytes) {
                Ok(Some((number, _))) if number <= self.number => (),
                Ok(Some((number, body))) => {
                    if number != self.number + 1 || apply(body, &mut self.layer).is_none() {
                        return damage;
                    }
                    self.number = number;
                }
                Ok(None) => return End::Whole,
                Err(Damaged) => return damage,
            }
        }
    }
}

fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut at = 1_u32;
    loop {
        let aside = path.with_extension(format!("damaged-{at}"));
        if !aside.try_exists()? {
            fs::copy(path, &aside)?;
            return Ok(aside);
        }
        at += 1;
    }
}

/// How a tail ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With a block or the beginning of one, as a killed process leaves it.
    Whole,
    /// With bytes that a power cut can leave.
    PowerCut,
    /// With bytes that nothing but damage can explain.
    Damaged,
}

/// Bytes that nobody wrote.
#[derive(Debug)]
struct Damaged;

/// Takes the head off; returns the boot.
fn take_head(bytes: &mut Bytes) -> Option<Bytes> {
    let boot_len = usize::from(*bytes.get(MAGIC.len())?);
    let len = MAGIC.len() + 1 + boot_len;
    let found = bytes.get(len..len + SUM_LEN)?;
    let head = bytes.get(..len)?;
    if !head.starts_with(MAGIC) || found != crc32fast::hash(head).to_be_bytes() {
        return None;
    }
    let head = bytes.split_to(len);
    bytes.advance(SUM_LEN);
    Some(head.slice(MAGIC.len() + 1..))
}

/// Takes a block off; `None` if only the beginning of one is left, or nothing.
fn take_block(bytes: &mut Bytes) -> Result<Option<(u64, Bytes)>, Damaged> {
    let Some(head) = bytes.get(..BLOCK_HEAD_LEN) else { return Ok(None) };
    let (mut head, mut found) = head.split_at(BLOCK_HEAD_LEN - SUM_LEN);
    // The head has a sum of its own, so that a wrong length does not look like the beginning of a block.
    if crc32fast::hash(head) != found.get_u32() {
        return Err(Damaged);
    }
    let (number, len, sum) = (head.get_u64(), head.get_u32(), head.get_u32());
    let Ok(len) = usize::try_from(len) else { return Err(Damaged) };
    if bytes.len() - BLOCK_HEAD_LEN < len {
        return Ok(None);
    }
    bytes.advance(BLOCK_HEAD_LEN);
    let body = bytes.split_to(len);
    if crc32fast::hash(&body) == sum { Ok(Some((number, body))) } else { Err(Damaged) }
}

fn take_bytes(bytes: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    (len <= bytes.len()).then(|| bytes.split_to(len))
}

fn apply(mut body: Bytes, layer: &mut Layer) -> Option<()> {
    while let Ok(kind) = body.try_get_u8() {
        let key = take_bytes(&mut body)?;
        match kind {
            CUT => layer.cut(&key),
            PUT => {
                let value = take_bytes(&mut body)?;
                layer.put(Key::from(&key[..]), value.into(), false);
            }
            _ => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    #[test]
    fn a_tail_is_read_from_the_block_that_the_rows_lack() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = three_blocks();
        for applied in 0..=4 {
            let tail = open(folder.path(), &bytes, applied, b"boot").unwrap();
            assert_eq!(tail.number, applied.max(3));
            let puts: Vec<_> = tail.layer.puts().map(|(key, _)| key.bytes()[0]).collect();
            let expected: Vec<u8> = (1..=3).filter(|number| u64::from(*number) > applied).collect();
            assert_eq!(puts, expected);
            assert_eq!(tail.aside, None);
        }
    }

    #[test]
    fn a_tail_cut_anywhere_gives_the_blocks_before_the_cut() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = three_blocks();
        let mut last = 0;
        for len in 0..bytes.len() {
            let tail = open(folder.path(), &bytes[..len], 0, b"boot").unwrap();
            assert_eq!(tail.layer.puts().count() as u64, tail.number);
            assert!(tail.number >= last);
            assert!(tail.number < 3);
            last = tail.number;
        }
        assert_eq!(last, 2);
    }

    #[test]
    fn a_changed_byte_is_an_error_in_the_same_boot_and_set_aside_in_another() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = three_blocks();
        let head_len = MAGIC.len() + 1 + 4 + SUM_LEN;
        for at in 0..bytes.len() {
            for bit in [1, 0x80] {
                let mut bad = bytes.clone();
                bad[at] ^= bit;
                let error = open(folder.path(), &bad, 0, b"boot").unwrap_err();
                assert!(matches!(error, StoreError::Corrupt { .. }), "byte {at}: {error}");
                if at < head_len {
                    continue;
                }
                let tail = open(folder.path(), &bad, 0, b"then").unwrap();
                assert_eq!(tail.layer.puts().count() as u64, tail.number);
                assert!(tail.number < 3);
                let aside = tail.aside.unwrap();
                assert_eq!(fs::read(&aside).unwrap(), bad);
                fs::remove_file(aside).unwrap();
            }
        }
    }

    /// As a store of format 1 wrote it.
    fn three_blocks() -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &[4], b"boot"].concat();
        bytes.put_u32(crc32fast::hash(&bytes));
        for number in 1..=3_u8 {
            let mut body = vec![CUT];
            put_bytes(&mut body, &[number, 0]);
            body.put_u8(PUT);
            put_bytes(&mut body, &[number]);
            put_bytes(&mut body, &[number; 5]);
            let from = bytes.len();
            bytes.put_u64(number.into());
            bytes.put_u32(body.len() as u32);
            bytes.put_u32(crc32fast::hash(&body));
            bytes.put_u32(crc32fast::hash(&bytes[from..]));
            bytes.put_slice(&body);
        }
        bytes
    }

    fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
        out.put_u32(bytes.len() as u32);
        out.put_slice(bytes);
    }

    fn open(folder: &Path, bytes: &[u8], applied: u64, boot: &[u8]) -> Result<Tail, StoreError> {
        let path = folder.join("tail");
        fs::write(&path, bytes).unwrap();
        read(folder, &path, applied, boot)
    }
}
