//! The payload of a message that arrived: in memory, or in a file.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::{Arc, Mutex, OnceLock},
};

use bytes::Bytes;

use crate::{filling::SpoolHold, lock::lock};

/// Small payloads are in memory, large ones in a spool.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Whole(Bytes),
    Spooled(Arc<Spooled>),
}

/// A payload in a spool, shared by all clones of its message.
#[derive(Debug)]
pub(crate) struct Spooled {
    file: Mutex<File>,
    len: usize,
    /// Once somebody wants it in memory.
    whole: OnceLock<Bytes>,
    /// With the last clone the spool goes.
    _hold: SpoolHold,
}

/// Reads the payload of a message from its beginning; made by [`crate::Message::reader`].
///
/// A large payload is read from its file in pieces of the size that is asked for. The file is there as long as the message,
/// a clone of it or this reader, also when the session is over.
#[derive(Clone, Debug)]
pub struct PayloadReader {
    body: Body,
    at: usize,
}

impl Body {
    pub(crate) fn spooled(file: File, len: u32, hold: SpoolHold) -> Self {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let (file, whole) = (Mutex::new(file), OnceLock::new());
        Self::Spooled(Arc::new(Spooled { file, len, whole, _hold: hold }))
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Spooled(spooled) => spooled.len,
        }
    }

    pub(crate) fn reader(&self) -> PayloadReader {
        PayloadReader { body: self.clone(), at: 0 }
    }

    /// The payload in memory; what was in a file is read once.
    pub(crate) fn whole(&self) -> io::Result<&Bytes> {
        match self {
            Self::Whole(bytes) => Ok(bytes),
            Self::Spooled(spooled) => spooled.whole(),
        }
    }
}

impl Spooled {
    fn whole(&self) -> io::Result<&Bytes> {
        if let Some(whole) = self.whole.get() {
            return Ok(whole);
        }
        let mut bytes = vec![0; self.len];
        let mut file = lock(&self.file);
        file.seek(SeekFrom::Start(0))?;
        file.read_exact(&mut bytes)?;
        drop(file);
        Ok(self.whole.get_or_init(|| bytes.into()))
    }

    fn read_at(&self, at: usize, into: &mut [u8]) -> io::Result<usize> {
        let room = into.len().min(self.len - at);
        if room == 0 {
            return Ok(0);
        }
        let mut file = lock(&self.file);
        file.seek(SeekFrom::Start(at as u64))?;
        match file.read(into.get_mut(..room).unwrap_or_default())? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

impl Read for PayloadReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = match &self.body {
            Body::Whole(bytes) => bytes.get(self.at..).unwrap_or_default().read(into)?,
            Body::Spooled(spooled) => spooled.read_at(self.at, into)?,
        };
        self.at += count;
        Ok(count)
    }
}
