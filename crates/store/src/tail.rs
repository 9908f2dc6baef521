//! The tail: what was handed to the operating system since the rows were last synced.
//!
//! Only `process` mode needs it: the rows cannot be committed without a sync and still be whole after a power cut. A
//! file is appended to, block by block, and emptied when the rows have been synced; so it is never synced itself, never
//! larger than a few MiB, and read only after the process died. `docs/format.md` shows the bytes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::{Buf, BufMut, Bytes};

use crate::{StoreError, layer::Layer};

const MAGIC: &[u8; 8] = b"PRTAIL\x00\x01";
const BLOCK_HEAD_LEN: usize = 20;
const SUM_LEN: usize = 4;
const CUT: u8 = 0;
const PUT: u8 = 1;

/// A tail is emptied long before it grows to this many bytes; a longer one is not ours.
const TAIL_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug)]
pub(crate) struct Tail {
    store: PathBuf,
    path: PathBuf,
    boot: Vec<u8>,
    /// Open once something was appended.
    file: Option<File>,
    /// Whether there is a file at all.
    is_there: bool,
    /// The number of the last block, in the file or in the rows.
    number: u64,
    /// Bytes in the file.
    len: usize,
}

/// What a tail held.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) layer: Layer,
    /// Where a damaged tail was set aside. Its end was lost in a power cut.
    pub(crate) aside: Option<PathBuf>,
}

impl Tail {
    /// Reads the tail of a store whose rows hold all up to block `applied`. It goes on being there until
    /// [`Tail::clear`].
    ///
    /// `boot` names this run of the operating system, if it has a name: within one run what was handed over is whole.
    pub(crate) fn open(
        store: &Path,
        path: PathBuf,
        applied: u64,
        boot: Vec<u8>,
    ) -> Result<(Self, Recovered), StoreError> {
        let mut tail = Self {
            store: store.to_owned(),
            path,
            boot,
            file: None,
            is_there: true,
            number: applied,
            len: 0,
        };
        let bytes = match fs::metadata(&tail.path) {
            Ok(found) if found.len() > TAIL_BYTES_MAX => {
                return Err(StoreError::corrupt(store, "the tail is too long"));
            }
            Ok(_) => fs::read(&tail.path).map_err(|error| StoreError::io(store, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tail.is_there = false;
                Vec::new()
            }
            Err(error) => return Err(StoreError::io(store, &error)),
        };
        let mut recovered = Recovered::default();
        match tail.read(Bytes::from(bytes), &mut recovered.layer) {
            End::Whole => (),
            End::Damaged => return Err(StoreError::corrupt(store, "the tail is damaged")),
            End::PowerCut => {
                let aside = tail.set_aside().map_err(|error| StoreError::io(store, &error))?;
                recovered.aside = Some(aside);
            }
        }
        Ok((tail, recovered))
    }

    /// The number of the last block.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of all blocks since the last [`Tail::clear`].
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Hands a layer to the operating system.
    pub(crate) fn append(&mut self, layer: &Layer) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(layer.bytes() + layer.bytes() / 4 + 64);
        if self.file.is_none() {
            put_head(&mut bytes, &self.boot);
        }
        put_block(&mut bytes, self.number + 1, layer);
        let written = match &mut self.file {
            Some(file) => file.write_all(&bytes),
            None => self.begin(&bytes),
        };
        written.map_err(|error| StoreError::io(&self.store, &error))?;
        self.number += 1;
        self.len += bytes.len();
        Ok(())
    }

    /// Forgets all blocks: the rows hold them.
    pub(crate) fn clear(&mut self) -> Result<(), StoreError> {
        self.file = None;
        self.len = 0;
        if !self.is_there {
            return Ok(());
        }
        fs::remove_file(&self.path).map_err(|error| StoreError::io(&self.store, &error))?;
        self.is_there = false;
        Ok(())
    }

    fn begin(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        self.is_there = true;
        file.write_all(bytes)?;
        self.file = Some(file);
        Ok(())
    }

    /// Applies all blocks that are not in the rows yet.
    fn read(&mut self, mut bytes: Bytes, layer: &mut Layer) -> End {
        let Some(boot) = take_head(&mut bytes) else {
            let is_cut_short = bytes.len() < MAGIC.len() + 1 + self.boot.len() + SUM_LEN;
            let is_blank = bytes.iter().take(MAGIC.len()).all(|byte| *byte == 0);
            return match (is_cut_short, is_blank) {
                (true, _) => End::Whole,
                (false, true) => End::PowerCut,
                (false, false) => End::Damaged,
            };
        };
        // Within one run of the operating system what was handed over is whole.
        let is_same_boot = !boot.is_empty() && boot[..] == self.boot[..];
        let damage = if is_same_boot { End::Damaged } else { End::PowerCut };
        loop {
            match take_block(&mut bytes) {
                Ok(Some((number, _))) if number <= self.number => (),
                Ok(Some((number, body))) => {
                    if number != self.number + 1 || apply(body, layer).is_none() {
                        return damage;
                    }
                    self.number = number;
                }
                Ok(None) => return End::Whole,
                Err(Damaged) => return damage,
            }
        }
    }

    fn set_aside(&self) -> io::Result<PathBuf> {
        let mut at = 1_u32;
        loop {
            let aside = self.path.with_extension(format!("damaged-{at}"));
            if !aside.try_exists()? {
                fs::copy(&self.path, &aside)?;
                return Ok(aside);
            }
            at += 1;
        }
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

fn put_head(out: &mut Vec<u8>, boot: &[u8]) {
    let from = out.len();
    out.put_slice(MAGIC);
    let boot = boot.get(..usize::from(u8::MAX)).unwrap_or(boot);
    out.put_u8(u8::try_from(boot.len()).unwrap_or(0));
    out.put_slice(boot);
    out.put_u32(crc32fast::hash(out.get(from..).unwrap_or_default()));
}

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

fn put_block(out: &mut Vec<u8>, number: u64, layer: &Layer) {
    let mut body =
        Vec::with_capacity(layer.bytes() + 9 * (layer.puts().len() + layer.cuts().len()));
    for prefix in layer.cuts() {
        body.put_u8(CUT);
        put_bytes(&mut body, prefix);
    }
    for (key, entry) in layer.puts() {
        body.put_u8(PUT);
        put_bytes(&mut body, key);
        put_bytes(&mut body, &entry.value);
    }
    let from = out.len();
    out.put_u64(number);
    out.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    out.put_u32(crc32fast::hash(&body));
    out.put_u32(crc32fast::hash(out.get(from..).unwrap_or_default()));
    out.put_slice(&body);
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

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn take_bytes(bytes: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    (len <= bytes.len()).then(|| bytes.split_to(len))
}

fn apply(mut body: Bytes, layer: &mut Layer) -> Option<()> {
    while let Ok(kind) = body.try_get_u8() {
        let key = take_bytes(&mut body)?;
        match kind {
            CUT => layer.cut(key),
            PUT => {
                let value = take_bytes(&mut body)?;
                layer.put(key, value);
            }
            _ => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Change;

    #[test]
    fn a_tail_is_read_from_the_block_that_the_rows_lack() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = three_blocks(folder.path());
        for applied in 0..=4 {
            let (tail, recovered) = open(folder.path(), &bytes, applied, b"boot").unwrap();
            assert_eq!(tail.number(), applied.max(3));
            let puts: Vec<_> = recovered.layer.puts().keys().map(|key| key[0]).collect();
            let expected: Vec<u8> = (1..=3).filter(|number| u64::from(*number) > applied).collect();
            assert_eq!(puts, expected);
            assert_eq!(recovered.aside, None);
        }
    }

    #[test]
    fn a_tail_cut_anywhere_gives_the_blocks_before_the_cut() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = three_blocks(folder.path());
        let mut last = 0;
        for len in 0..bytes.len() {
            let (tail, recovered) = open(folder.path(), &bytes[..len], 0, b"boot").unwrap();
            assert_eq!(recovered.layer.puts().len() as u64, tail.number());
            assert!(tail.number() >= last);
            assert!(tail.number() < 3);
            last = tail.number();
        }
        assert_eq!(last, 2);
    }

    #[test]
    fn a_changed_byte_is_an_error_in_the_same_boot_and_set_aside_in_another() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = three_blocks(folder.path());
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
                let (tail, recovered) = open(folder.path(), &bad, 0, b"then").unwrap();
                assert_eq!(recovered.layer.puts().len() as u64, tail.number());
                assert!(tail.number() < 3);
                let aside = recovered.aside.unwrap();
                assert_eq!(fs::read(&aside).unwrap(), bad);
                fs::remove_file(aside).unwrap();
            }
        }
    }

    fn three_blocks(folder: &Path) -> Vec<u8> {
        let path = folder.join("tail");
        let (mut tail, _) = Tail::open(folder, path.clone(), 0, b"boot".to_vec()).unwrap();
        for number in 1..=3_u8 {
            let mut layer = Layer::default();
            layer.apply(Change::Put(vec![number].into(), vec![number; 5].into()));
            layer.apply(Change::Delete(vec![number, 0].into()));
            tail.append(&layer).unwrap();
        }
        fs::read(path).unwrap()
    }

    fn open(
        folder: &Path,
        bytes: &[u8],
        applied: u64,
        boot: &[u8],
    ) -> Result<(Tail, Recovered), StoreError> {
        let path = folder.join("tail");
        fs::write(&path, bytes).unwrap();
        Tail::open(folder, path, applied, boot.to_vec())
    }
}
