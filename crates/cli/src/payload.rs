//! What is published, as options of `pub` and `rr`.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use postrider::{PublishRequest, Session, Source, Topic};
use postrider_wire::REMAINING_LENGTH_MAX;

use crate::args::MessageArgs;

/// What is published.
#[derive(Debug)]
pub(crate) enum Content {
    /// In memory.
    Bytes(postrider::Bytes),
    /// In this file of this many bytes, which is too large to be read twice.
    File(PathBuf, u64),
    /// In a file without a name, of this many bytes: it came from where it cannot be read twice.
    Copied(File, u64),
}

impl Content {
    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, len) | Self::Copied(_, len) => *len,
        }
    }

    /// Publishes it. Must have been read before it is published again.
    pub(crate) fn publish<'a>(
        &self,
        session: &'a Session,
        topic: Topic,
    ) -> io::Result<PublishRequest<'a>> {
        Ok(match self {
            Self::Bytes(bytes) => session.publish(topic, bytes),
            Self::File(path, _) => session.publish_from(topic, Source::file(path)),
            Self::Copied(file, len) => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                session.publish_from(topic, Source::reader(file, *len))
            }
        })
    }
}

impl MessageArgs {
    /// Reads the message, or looks how large its file is.
    pub(crate) fn content(&self) -> anyhow::Result<Content> {
        if let Some(text) = &self.message {
            Ok(Content::Bytes(text.clone().into_encoded_bytes().into()))
        } else if let Some(path) = &self.file {
            from_file(path).with_context(|| format!("--file '{}'", path.display()))
        } else if self.stdin {
            from_reader(io::stdin().lock()).context("--stdin")
        } else {
            Ok(Content::Bytes(postrider::Bytes::new()))
        }
    }
}

/// What is in a file; one that is large is read later. Opened once: whoever writes into a pipe would lose what he wrote.
fn from_file(path: &Path) -> anyhow::Result<Content> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let len = metadata.len();
    ensure!(len <= PAYLOAD_MAX, "it has {len} bytes; at most {PAYLOAD_MAX} fit into a message");
    if metadata.is_file() && len >= LARGE {
        return Ok(Content::File(path.to_owned(), len));
    }
    from_reader(file)
}

/// Reads all of it, but never more than fits into a message: there are files without end. What is large goes to a file.
fn from_reader(mut reader: impl Read) -> anyhow::Result<Content> {
    let mut bytes = Vec::new();
    reader.by_ref().take(LARGE).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < LARGE {
        return Ok(Content::Bytes(bytes.into()));
    }
    let kept = || format!("cannot keep it in a file in {}", std::env::temp_dir().display());
    let mut file = tempfile::tempfile().with_context(kept)?;
    file.write_all(&bytes).with_context(kept)?;
    let mut len = bytes.len() as u64;
    loop {
        bytes.clear();
        if reader.by_ref().take(PIECE_BYTES).read_to_end(&mut bytes)? == 0 {
            return Ok(Content::Copied(file, len));
        }
        len += bytes.len() as u64;
        if len > PAYLOAD_MAX {
            bail!("it goes on after {PAYLOAD_MAX} bytes; no more fit into a message");
        }
        file.write_all(&bytes).with_context(kept)?;
    }
}

/// What a packet can hold at all; the topic takes some more of it.
const PAYLOAD_MAX: u64 = REMAINING_LENGTH_MAX as u64;

/// A file of at least so many bytes is not read into memory.
const LARGE: u64 = 1 << 20;
/// What is copied at once.
const PIECE_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read_to_the_end() {
        let text = from_reader(io::repeat(7)).unwrap_err().to_string();
        assert!(text.contains("268435455"), "{text}");
    }

    #[test]
    fn what_is_large_is_not_kept_in_memory() {
        let at_limit = from_reader(io::repeat(7).take(LARGE)).unwrap();
        let Content::Copied(mut file, LARGE) = at_limit else { panic!("{at_limit:?}") };
        file.rewind().unwrap();
        let mut all = Vec::new();
        file.read_to_end(&mut all).unwrap();
        assert!(all == vec![7; 1 << 20]);
        let below = from_reader(io::repeat(7).take(LARGE - 1)).unwrap();
        assert!(matches!(&below, Content::Bytes(bytes) if bytes.len() as u64 == LARGE - 1));
    }
}
