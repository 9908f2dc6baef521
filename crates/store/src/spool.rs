//! The file of one spool: its bytes in chunks, a checksum behind each.
//!
//! ```text
//! chunk 0 | sum | chunk 1 | sum | ... | last chunk, perhaps shorter | sum
//! ```

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use bytes::{BufMut, Bytes, BytesMut};
use crc32fast::Hasher;

use crate::StoreError;

/// Bytes of a chunk. Who reads one byte reads so many; 4 bytes are added to each.
const CHUNK_BYTES: u64 = 16 * 1024;
const SUM_BYTES: u64 = 4;
/// Bytes of a chunk with its sum.
const SLOT_BYTES: u64 = CHUNK_BYTES + SUM_BYTES;
/// Bytes that one read returns at most, whatever was asked for.
const READ_BYTES_MAX: usize = 1 << 20;
/// Bytes that [`SpoolFile`] reads at once.
const BLOCK_BYTES: usize = 64 * 1024;
const SUFFIX: &str = ".spool";

/// How the bytes of a spool lie in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// The bytes and nothing else: how it was before there were sums.
    Plain,
    /// In chunks with sums.
    #[default]
    Summed,
}

/// Which spool, of which store, and how it lies there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) store: &'a Path,
    pub(crate) number: u64,
    pub(crate) form: Form,
}

/// A spool that is read apart from everything else: also when it was dropped and its store closed.
#[derive(Debug)]
pub struct SpoolFile {
    file: File,
    store: PathBuf,
    number: u64,
    form: Form,
    len: u64,
    /// What was read last, and where it begins: a reader goes on from there.
    block: (u64, Bytes),
}

impl SpoolFile {
    pub(crate) fn new(file: File, place: Place<'_>, len: u64) -> Self {
        let Place { store, number, form } = place;
        Self { file, store: store.to_owned(), number, form, len, block: (0, Bytes::new()) }
    }

    /// Bytes it had when it was opened.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it had none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads bytes from `offset` on into the front of `room`. Returns how many: at least one if there is room.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if they are not what was appended, [`StoreError::SpoolRange`] at the end,
    /// [`StoreError::Io`].
    pub fn read_at(&mut self, offset: u64, room: &mut [u8]) -> Result<usize, StoreError> {
        if offset >= self.len {
            let Self { number: spool, len, .. } = *self;
            return Err(StoreError::SpoolRange { spool, len, wanted: offset });
        }
        let (at, bytes) = &self.block;
        if offset < *at || offset >= *at + bytes.len() as u64 {
            let at = offset - offset % CHUNK_BYTES;
            let place = Place { store: &self.store, number: self.number, form: self.form };
            self.block = (at, place.read(&self.file, self.len, at, BLOCK_BYTES)?);
        }
        let (at, bytes) = &self.block;
        let from = usize::try_from(offset - at).unwrap_or(usize::MAX);
        let piece = bytes.get(from..).unwrap_or_default();
        let count = piece.len().min(room.len());
        if let (Some(room), Some(piece)) = (room.get_mut(..count), piece.get(..count)) {
            room.copy_from_slice(piece);
        }
        Ok(count)
    }
}

impl Form {
    /// The name of the file of a spool.
    pub(crate) fn name(self, number: u64) -> String {
        match self {
            Self::Plain => format!("{number:016x}"),
            Self::Summed => format!("{number:016x}{SUFFIX}"),
        }
    }

    /// Number and form in the name of a file, if it is a spool's.
    pub(crate) fn of_name(name: &str) -> Option<(u64, Self)> {
        let form = if name.ends_with(SUFFIX) { Self::Summed } else { Self::Plain };
        let number = u64::from_str_radix(name.strip_suffix(SUFFIX).unwrap_or(name), 16).ok()?;
        (form.name(number) == name).then_some((number, form))
    }

    /// Bytes of a spool whose file has so many.
    pub(crate) fn len(self, file_len: u64) -> u64 {
        match self {
            Self::Plain => file_len,
            Self::Summed => {
                let rest = (file_len % SLOT_BYTES).saturating_sub(SUM_BYTES);
                file_len / SLOT_BYTES * CHUNK_BYTES + rest
            }
        }
    }

    /// Bytes of the file of a spool that has so many.
    fn file_len(self, len: u64) -> u64 {
        match self {
            Self::Plain => len,
            Self::Summed => len + len.div_ceil(CHUNK_BYTES) * SUM_BYTES,
        }
    }
}

impl Place<'_> {
    /// Writes `bytes` behind the `len` that are there. `sum` is that of the last chunk, if that is not full. When it
    /// fails, the file is as before as far as the system allows.
    pub(crate) fn append(
        self,
        mut file: &File,
        len: u64,
        sum: &mut Option<Hasher>,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let io = |error| StoreError::io(self.store, &error);
        if self.form == Form::Plain {
            let written = file.seek(SeekFrom::Start(len)).and_then(|_| file.write_all(bytes));
            return written.inspect_err(|_| drop(file.set_len(len))).map_err(io);
        }
        let begun = match sum.take() {
            Some(sum) if !len.is_multiple_of(CHUNK_BYTES) => sum,
            _ => self.sum_of_last(file, len)?,
        };
        let old = begun.clone();
        let (added, last) = self.with_sums(len, begun, bytes);
        // The sum of a chunk that is not full is written over.
        let at = if len.is_multiple_of(CHUNK_BYTES) {
            self.form.file_len(len)
        } else {
            self.form.file_len(len) - SUM_BYTES
        };
        let written = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(&added));
        if let Err(error) = written {
            drop(file.set_len(at));
            if !len.is_multiple_of(CHUNK_BYTES) {
                drop(file.seek(SeekFrom::Start(at)));
                drop(file.write_all(&old.clone().finalize().to_be_bytes()));
                *sum = Some(old);
            }
            return Err(io(error));
        }
        *sum = Some(last);
        Ok(())
    }

    /// Reads at least one and at most `wanted` bytes of the `len` that are there; `offset` must be below `len`.
    pub(crate) fn read(
        self,
        mut file: &File,
        len: u64,
        offset: u64,
        wanted: usize,
    ) -> Result<Bytes, StoreError> {
        let wanted = wanted.min(READ_BYTES_MAX) as u64;
        let stop = len.min(offset.saturating_add(wanted));
        // What is read in a row goes on at the beginning of a chunk: none is read twice.
        let even = stop - stop % CHUNK_BYTES;
        let stop = if stop < len && even > offset { even } else { stop };
        let (first, last) = match self.form {
            Form::Plain => (offset, stop),
            Form::Summed => {
                let first = offset / CHUNK_BYTES;
                let last = len.min(stop.next_multiple_of(CHUNK_BYTES));
                (first * SLOT_BYTES, self.form.file_len(last))
            }
        };
        let mut bytes = BytesMut::zeroed(usize::try_from(last - first).unwrap_or(0));
        let read = file.seek(SeekFrom::Start(first)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                self.corrupt("is cut short")
            } else {
                StoreError::io(self.store, &error)
            }
        })?;
        if self.form == Form::Plain {
            return Ok(bytes.freeze());
        }
        let bytes = self.without_sums(offset / CHUNK_BYTES, bytes)?;
        let from = usize::try_from(offset % CHUNK_BYTES).unwrap_or(0);
        let count = usize::try_from(stop - offset).unwrap_or(0);
        Ok(bytes.slice(from..from + count))
    }

    /// The sum of a chunk of which `len` bytes of the spool are the end, from the file.
    fn sum_of_last(self, file: &File, len: u64) -> Result<Hasher, StoreError> {
        let begin = len - len % CHUNK_BYTES;
        let mut sum = self.begin(begin / CHUNK_BYTES);
        if begin < len {
            sum.update(&self.read(file, len, begin, READ_BYTES_MAX)?);
        }
        Ok(sum)
    }

    /// What `bytes` behind `len` others look like in the file, and the sum of the last chunk.
    fn with_sums(self, len: u64, mut sum: Hasher, mut bytes: &[u8]) -> (Vec<u8>, Hasher) {
        let mut at = len;
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 4096 + 16);
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - at % CHUNK_BYTES;
            if room == CHUNK_BYTES {
                sum = self.begin(at / CHUNK_BYTES);
            }
            let room = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at(room);
            sum.update(piece);
            out.put_slice(piece);
            out.put_u32(sum.clone().finalize());
            at += piece.len() as u64;
            bytes = rest;
        }
        (out, sum)
    }

    /// Checks chunks, the first of which is number `chunk`, and takes their sums out.
    fn without_sums(self, chunk: u64, mut slots: BytesMut) -> Result<Bytes, StoreError> {
        let (slot, sum) = (SLOT_BYTES as usize, SUM_BYTES as usize);
        let mut end = 0;
        for (number, from) in (chunk..).zip((0..slots.len()).step_by(slot)) {
            let stop = slots.len().min(from + slot) - sum;
            let found = slots.get(stop..stop + sum);
            let mut expected = self.begin(number);
            expected.update(slots.get(from..stop).unwrap_or_default());
            if found != Some(&expected.finalize().to_be_bytes()) {
                let at = number * CHUNK_BYTES;
                return Err(self.corrupt(&format!("has a wrong checksum behind byte {at}")));
            }
            slots.copy_within(from..stop, end);
            end += stop - from;
        }
        slots.truncate(end);
        Ok(slots.freeze())
    }

    /// A sum holds for its place only: a chunk of another spool, or another chunk, does not pass for this one.
    fn begin(self, chunk: u64) -> Hasher {
        let mut sum = Hasher::new();
        sum.update(&self.number.to_be_bytes());
        sum.update(&chunk.to_be_bytes());
        sum
    }

    fn corrupt(self, what: &str) -> StoreError {
        StoreError::corrupt(self.store, format!("spool {:016x} {what}", self.number))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, fs::OpenOptions};

    use super::*;

    const CHUNK: usize = CHUNK_BYTES as usize;

    /// Lengths around the end of a chunk, where sums begin to be written over and no longer are.
    #[test]
    fn pieces_of_any_length_are_read_back_from_anywhere() {
        for pieces in [
            &[1][..],
            &[CHUNK - 1, 1, 1],
            &[CHUNK, CHUNK, 5],
            &[CHUNK + 1, 2 * CHUNK - 1, CHUNK],
            &[7, 3 * CHUNK, 9],
        ] {
            let made = Made::new(pieces);
            let len = made.bytes.len();
            assert_eq!(Form::Summed.len(fs::metadata(&made.path).unwrap().len()), len as u64);
            for from in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, len - 1] {
                for wanted in [1, CHUNK - 1, CHUNK, CHUNK + 1, READ_BYTES_MAX] {
                    let from = from.min(len - 1);
                    let read = made.read(from, wanted).unwrap();
                    assert!(!read.is_empty());
                    assert!(read.len() <= wanted);
                    assert!(made.bytes[from..].starts_with(&read), "{pieces:?} {from} {wanted}");
                }
            }
            assert!(made.read_all(CHUNK / 3).unwrap() == made.bytes, "{pieces:?}");
        }
    }

    #[test]
    fn a_flipped_byte_is_never_read() {
        let made = Made::new(&[CHUNK + 100]);
        let whole = fs::read(&made.path).unwrap();
        for at in (0..whole.len())
            .step_by(37)
            .chain(CHUNK..CHUNK + 12)
            .chain(whole.len() - 12..whole.len())
        {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x40;
            fs::write(&made.path, flipped).unwrap();
            let error = made.read_all(1000).unwrap_err();
            assert!(matches!(&error, StoreError::Corrupt { .. }), "{error}");
            assert!(error.to_string().contains("spool 0000000000000007"), "{error}");
            // The other chunk can still be read.
            let other = if at < SLOT_BYTES as usize { CHUNK } else { 0 };
            assert!(made.bytes[other..].starts_with(&made.read(other, 50).unwrap()));
        }
    }

    #[test]
    fn a_chunk_in_the_place_of_another_and_a_file_cut_short_are_damage() {
        let made = Made::new(&[2 * CHUNK]);
        let whole = fs::read(&made.path).unwrap();
        let (first, second) = whole.split_at(SLOT_BYTES as usize);
        fs::write(&made.path, [second, first].concat()).unwrap();
        assert!(matches!(made.read(0, 9), Err(StoreError::Corrupt { .. })));
        fs::write(&made.path, first).unwrap();
        assert!(made.read(0, 9).is_ok());
        assert!(matches!(made.read(CHUNK, 9), Err(StoreError::Corrupt { .. })));
        fs::write(&made.path, vec![0; whole.len()]).unwrap();
        assert!(matches!(made.read(0, 9), Err(StoreError::Corrupt { .. })));
    }

    /// After a restart the sum of the last chunk is not known and comes from the file.
    #[test]
    fn what_a_process_before_began_is_gone_on_with() {
        let mut made = Made::new(&[CHUNK + 10]);
        let file = made.file();
        made.place().append(&file, made.bytes.len() as u64, &mut None, b"more").unwrap();
        made.bytes.extend(b"more");
        assert!(made.read_all(CHUNK).unwrap() == made.bytes);
        let mut broken = fs::read(&made.path).unwrap();
        *broken.last_mut().unwrap() ^= 1;
        fs::write(&made.path, broken).unwrap();
        let appended = made.place().append(&file, made.bytes.len() as u64, &mut None, b"!");
        assert!(matches!(appended, Err(StoreError::Corrupt { .. })));
    }

    #[test]
    fn names_tell_the_form() {
        for form in [Form::Plain, Form::Summed] {
            assert_eq!(Form::of_name(&form.name(0xabc)), Some((0xabc, form)));
        }
        for name in ["abc", "0000000000000ABC", "0000000000000abc.spools", ".spool", "x.spool"] {
            assert_eq!(Form::of_name(name), None, "{name}");
        }
    }

    /// A spool of pieces of these lengths.
    struct Made {
        folder: tempfile::TempDir,
        path: PathBuf,
        bytes: Vec<u8>,
    }

    impl Made {
        fn new(pieces: &[usize]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(Form::Summed.name(7));
            let mut made = Self { folder, path, bytes: Vec::new() };
            let (file, mut sum) = (made.file(), None);
            for len in pieces {
                let piece: Vec<u8> = (0..*len).map(|at| (at * 31 + len) as u8).collect();
                made.place().append(&file, made.bytes.len() as u64, &mut sum, &piece).unwrap();
                made.bytes.extend(piece);
            }
            made
        }

        fn place(&self) -> Place<'_> {
            Place { store: self.folder.path(), number: 7, form: Form::Summed }
        }

        fn file(&self) -> File {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).open(&self.path).unwrap()
        }

        fn read(&self, from: usize, wanted: usize) -> Result<Bytes, StoreError> {
            self.place().read(&self.file(), self.bytes.len() as u64, from as u64, wanted)
        }

        /// Through a [`SpoolFile`].
        fn read_all(&self, piece: usize) -> Result<Vec<u8>, StoreError> {
            let len = self.bytes.len() as u64;
            let mut file = SpoolFile::new(self.file(), self.place(), len);
            let (mut all, mut room) = (Vec::new(), vec![0; piece]);
            while (all.len() as u64) < file.len() {
                let count = file.read_at(all.len() as u64, &mut room)?;
                assert_ne!(count, 0);
                all.extend_from_slice(&room[..count]);
            }
            let past = StoreError::SpoolRange { spool: 7, len, wanted: len };
            assert_eq!(file.read_at(len, &mut room), Err(past));
            Ok(all)
        }
    }
}
