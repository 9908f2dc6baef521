//! What is printed of a message, as options of `sub` and `rr`.

use postrider::Message;

use crate::{
    args::{Format, OutputArgs},
    format::{Look, NotJson},
    json::Layout,
    names::Manner,
    out,
};

/// Prints messages as the options say.
#[derive(Debug)]
pub(crate) struct Output {
    format: Option<Format>,
    look: Look,
    has_topic: bool,
    has_newline: bool,
    manner: Manner,
}

impl OutputArgs {
    /// `has_identifiers` says whether the user chose subscription identifiers.
    pub(crate) fn output(&self, has_identifiers: bool, manner: Manner) -> Output {
        let layout = if self.pretty { Layout::Pretty } else { Layout::Compact };
        // A format of ours can be read.
        let json = self.json.then(|| Format::parse("%j").ok()).flatten();
        Output {
            format: self.format.clone().or(json),
            look: Look { layout, has_identifiers },
            has_topic: self.verbose,
            has_newline: !self.no_newline,
            manner,
        }
    }
}

impl Output {
    /// Appends what is printed of a message.
    pub(crate) fn write(&self, message: &Message, out: &mut Vec<u8>) {
        if let Some(format) = &self.format {
            if let Err(NotJson) = format.write(message, self.look, out) {
                let topic = message.topic();
                out::complain(&format!(
                    "Error: Message payload is not valid JSON on topic {topic}."
                ));
            }
        } else if self.manner == Manner::Mosquitto && message.payload_len() == 0 {
            // It prints nothing without a line feed.
            if !self.has_topic || !self.has_newline {
                return;
            }
            out.extend_from_slice(message.topic().as_bytes());
            out.extend_from_slice(b" (null)");
        } else {
            if self.has_topic {
                out.extend_from_slice(message.topic().as_bytes());
                out.push(b' ');
            }
            message.pieces().for_each(|piece| out.extend_from_slice(piece));
        }
        if self.has_newline {
            out.push(b'\n');
        }
    }
}
