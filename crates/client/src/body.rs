//! The payload of a message that arrived: in memory, or in a file.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, OnceLock},
};

use bytes::Bytes;
use postrider_store::{SpoolFile, StoreError};

use crate::{PayloadError, filling::SpoolHold, lock::lock};

/// Small payloads are in memory, large ones in a spool.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Whole(Bytes),
    Spooled(Arc<Spooled>),
}

/// A payload in a spool, shared by all clones of its message.
#[derive(Debug)]
pub(crate) struct Spooled {
    file: Mutex<SpoolFile>,
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
    pub(crate) fn spooled(file: SpoolFile, len: u32, hold: SpoolHold) -> Self {
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
    pub(crate) fn whole(&self) -> Result<&Bytes, PayloadError> {
        match self {
            Self::Whole(bytes) => Ok(bytes),
            Self::Spooled(spooled) => spooled.whole(),
        }
    }
}

impl Spooled {
    fn whole(&self) -> Result<&Bytes, PayloadError> {
        if let Some(whole) = self.whole.get() {
            return Ok(whole);
        }
        let mut bytes = vec![0; self.len];
        let mut at = 0;
        while let Some(room) = bytes.get_mut(at..).filter(|room| !room.is_empty()) {
            at += self.read_at(at, room)?;
        }
        Ok(self.whole.get_or_init(|| bytes.into()))
    }

    /// Reads at least one byte, unless there is no room or nothing more.
    fn read_at(&self, at: usize, room: &mut [u8]) -> Result<usize, PayloadError> {
        if at >= self.len || room.is_empty() {
            return Ok(0);
        }
        lock(&self.file).read_at(at as u64, room).map_err(PayloadError)
    }
}

impl Read for PayloadReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = match &self.body {
            Body::Whole(bytes) => bytes.get(self.at..).unwrap_or_default().read(into)?,
            Body::Spooled(spooled) => spooled.read_at(self.at, into).map_err(in_words)?,
        };
        self.at += count;
        Ok(count)
    }
}

/// What readers of the standard library report. The typed error is inside.
fn in_words(error: PayloadError) -> io::Error {
    if let StoreError::Corrupt { .. } = error.0 {
        io::Error::new(io::ErrorKind::InvalidData, error)
    } else {
        io::Error::other(error)
    }
}
