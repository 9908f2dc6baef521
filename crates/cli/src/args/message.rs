//! What is published, as options of `pub` and `rr`.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;
use postrider_wire::{Topic, TopicError};

/// What to publish; one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct MessageArgs {
    /// The message.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) message: Option<OsString>,
    /// The content of this file is the message.
    #[arg(short, long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// The message is empty.
    #[arg(short, long)]
    pub(crate) null_message: bool,
    /// All of standard input is the message.
    #[arg(short, long, alias = "stdin-file")]
    pub(crate) stdin: bool,
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
}
