//! What is published, as options of `pub` and `rr`.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use postrider::{Topic, TopicError};
use postrider_broker::wire::REMAINING_LENGTH_MAX;

/// What to publish; one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct MessageArgs {
    /// The message.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<OsString>,
    /// The content of this file is the message.
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The message is empty.
    #[arg(short, long)]
    null_message: bool,
    /// All of standard input is the message.
    #[arg(short, long, alias = "stdin-file")]
    stdin: bool,
}

impl MessageArgs {
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

/// Reads a topic to publish to.
pub(crate) fn topic(name: &str) -> Result<Topic, String> {
    Topic::new(name).map_err(|error| match error {
        TopicError::Wildcard(_) => {
            format!("{error}; a message goes to one topic, wildcards are for postrider sub")
        }
        TopicError::Text(_) | TopicError::Empty | _ => error.to_string(),
    })
}

/// What a packet can hold at all; the topic takes some more of it.
const PAYLOAD_MAX: u64 = REMAINING_LENGTH_MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_with_a_wildcard_says_where_and_what_to_do() {
        let text = topic("a/+/b").unwrap_err();
        assert!(text.contains("byte 2"), "{text}");
        assert!(text.contains("postrider sub"), "{text}");
        assert_eq!(topic("").unwrap_err(), "topic name is empty");
    }

    #[test]
    fn what_has_no_end_is_not_read_to_the_end() {
        let text = from_reader(io::repeat(7), 0).unwrap_err().to_string();
        assert!(text.contains("268435455"), "{text}");
    }
}
