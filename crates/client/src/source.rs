//! Where a large payload comes from.

use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::SourceError;

/// A payload that need not be in memory: a file, or a reader of known length. See [`crate::Session::publish_from`].
pub struct Source(Kind);

enum Kind {
    /// In memory already.
    Bytes(Bytes),
    File(PathBuf),
    Reader(Box<dyn Read + Send>, u64),
}

/// An open source.
pub(crate) struct Opened {
    reader: Box<dyn Read + Send>,
    /// Bytes it is said to have.
    pub(crate) len: u64,
}

impl Source {
    /// All of a file, as long as it is when reading begins. It is opened when the request is awaited.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self(Kind::File(path.as_ref().to_owned()))
    }

    /// `len` bytes of a reader, which must end there.
    pub fn reader(reader: impl Read + Send + 'static, len: u64) -> Self {
        Self(Kind::Reader(Box::new(reader), len))
    }

    /// What is in memory already.
    pub(crate) fn bytes(bytes: Bytes) -> Self {
        Self(Kind::Bytes(bytes))
    }

    /// Opens what is to be read; blocks.
    pub(crate) fn open(self) -> Result<Opened, SourceError> {
        match self.0 {
            Kind::Bytes(bytes) => {
                let len = bytes.len() as u64;
                Ok(Opened { reader: Box::new(std::io::Cursor::new(bytes)), len })
            }
            Kind::Reader(reader, len) => Ok(Opened { reader, len }),
            Kind::File(path) => {
                let open = || {
                    let file = File::open(&path)?;
                    let len = file.metadata()?.len();
                    Ok((file, len))
                };
                let (file, len) = open().map_err(|error: std::io::Error| {
                    SourceError::Unreadable(format!("{}: {error}", path.display()))
                })?;
                Ok(Opened { reader: Box::new(file), len })
            }
        }
    }
}

impl Opened {
    /// Gives `take` all bytes in pieces, and checks that there are as many as was said; blocks.
    pub(crate) fn read<E>(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E>
    where
        E: From<SourceError>,
    {
        let mut piece = vec![0; usize::try_from(self.len).unwrap_or(PIECE_LEN).min(PIECE_LEN)];
        let mut left = self.len;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let count = self.read_some(piece.get_mut(..room).unwrap_or_default())?;
            if count == 0 {
                return Err(SourceError::Short { said: self.len, had: self.len - left }.into());
            }
            take(piece.get(..count).unwrap_or_default())?;
            left = left.saturating_sub(count as u64);
        }
        match self.read_some(&mut [0])? {
            0 => Ok(()),
            _ => Err(SourceError::Long { said: self.len }.into()),
        }
    }

    fn read_some(&mut self, room: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            match self.reader.read(room) {
                // A reader of somebody else may say what it likes.
                Ok(count) => return Ok(count.min(room.len())),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SourceError::Unreadable(error.to_string())),
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Bytes(bytes) => write!(f, "Source({} bytes)", bytes.len()),
            Kind::File(path) => write!(f, "Source({})", path.display()),
            Kind::Reader(_, len) => write!(f, "Source(a reader of {len} bytes)"),
        }
    }
}

/// Bytes of one piece: large enough for the disk, small enough to have many at once.
const PIECE_LEN: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};

    use super::*;

    #[test]
    fn a_source_has_the_bytes_that_it_says_to_have() {
        let long = vec![7; PIECE_LEN + 1];
        assert_eq!(read(Source::reader(io::Cursor::new(long.clone()), 262_145)), Ok(long));
        assert_eq!(read(Source::reader(io::empty(), 0)), Ok(Vec::new()));
        let short = SourceError::Short { said: 6, had: 5 };
        assert_eq!(read(Source::reader(&b"hello"[..], 6)), Err(short));
        assert_eq!(read(Source::reader(&b"hello"[..], 4)), Err(SourceError::Long { said: 4 }));
    }

    #[test]
    fn a_reader_that_fails_is_heard_and_one_that_is_interrupted_goes_on() {
        let mut errors = vec![ErrorKind::BrokenPipe, ErrorKind::Interrupted];
        let reader = Failing(move || errors.pop());
        let said = io::Error::from(ErrorKind::BrokenPipe).to_string();
        assert_eq!(read(Source::reader(reader, 1)), Err(SourceError::Unreadable(said)));
    }

    #[test]
    fn a_file_is_read_whole_and_one_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture");
        let missing = read(Source::file(&path));
        assert!(matches!(missing, Err(SourceError::Unreadable(what)) if what.contains("picture")));
        std::fs::write(&path, "hello").unwrap();
        assert_eq!(read(Source::file(&path)), Ok(b"hello".to_vec()));
    }

    fn read(source: Source) -> Result<Vec<u8>, SourceError> {
        let mut all = Vec::new();
        source.open()?.read(|piece| {
            all.extend_from_slice(piece);
            Ok::<(), SourceError>(())
        })?;
        Ok(all)
    }

    struct Failing<F>(F);

    impl<F: FnMut() -> Option<ErrorKind>> Read for Failing<F> {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            (self.0)().map_or(Ok(0), |kind| Err(kind.into()))
        }
    }
}
