//! What is published, as options of `pub` and `rr`.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use postrider_wire::REMAINING_LENGTH_MAX;

use crate::args::MessageArgs;

/// What is published.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// In memory.
    Bytes(postrider::Bytes),
    /// In this file of this many bytes, which is too large to be read twice.
    File(PathBuf, u64),
}

impl Content {
    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, len) => *len,
        }
    }
}

impl MessageArgs {
    /// Reads the message, or looks how large its file is.
    pub(crate) fn content(&self) -> anyhow::Result<Content> {
        if let Some(path) = &self.file {
            let len = large(path).with_context(|| format!("--file '{}'", path.display()))?;
            if let Some(len) = len {
                return Ok(Content::File(path.clone(), len));
            }
        }
        self.payload().map(|bytes| Content::Bytes(bytes.into()))
    }

    /// Reads the message, before anybody is bothered with a connection.
    pub(crate) fn payload(&self) -> anyhow::Result<Vec<u8>> {
        if let Some(text) = &self.message {
            Ok(text.clone().into_encoded_bytes())
        } else if let Some(path) = &self.file {
            from_file(path).with_context(|| format!("--file '{}'", path.display()))
        } else if self.stdin {
            from_reader(io::stdin().lock(), 0).context("--stdin")
        } else {
            Ok(Vec::new())
        }
    }
}

/// The length of a file that is large and can be read.
fn large(path: &Path) -> anyhow::Result<Option<u64>> {
    let metadata = File::open(path)?.metadata()?;
    let len = metadata.len();
    ensure!(len <= PAYLOAD_MAX, "it has {len} bytes; at most {PAYLOAD_MAX} fit into a message");
    Ok(Some(len).filter(|len| metadata.is_file() && *len >= LARGE))
}

fn from_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    ensure!(len <= PAYLOAD_MAX, "it has {len} bytes; at most {PAYLOAD_MAX} fit into a message");
    from_reader(file, len)
}

/// Reads all of it, but never more than fits into a message: there are files without end.
fn from_reader(reader: impl Read, len: u64) -> anyhow::Result<Vec<u8>> {
    let mut payload = Vec::with_capacity(usize::try_from(len)?);
    reader.take(PAYLOAD_MAX + 1).read_to_end(&mut payload)?;
    if u64::try_from(payload.len())? > PAYLOAD_MAX {
        bail!("it goes on after {PAYLOAD_MAX} bytes; no more fit into a message");
    }
    Ok(payload)
}

/// What a packet can hold at all; the topic takes some more of it.
const PAYLOAD_MAX: u64 = REMAINING_LENGTH_MAX as u64;

/// A file of at least so many bytes is not read into memory.
const LARGE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read_to_the_end() {
        let text = from_reader(io::repeat(7), 0).unwrap_err().to_string();
        assert!(text.contains("268435455"), "{text}");
    }
}
