//! What is printed of a message, as options of `sub` and `rr`.

use postrider::Message;

use crate::{
    args::{Format, OutputArgs},
    format::{Look, Unprintable},
    json::Layout,
    names::Manner,
    out,
    printer::{Shape, Sheet},
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
    pub(crate) fn write(&self, message: &Message, sheet: &mut Sheet) {
        if let Some(format) = &self.format {
            let topic = message.topic();
            match format.write(message, self.look, sheet) {
                Ok(()) => {}
                Err(Unprintable::NotJson) => out::complain(&format!(
                    "Error: Message payload is not valid JSON on topic {topic}."
                )),
                Err(Unprintable::Payload(error)) => {
                    out::complain(&format!("Error: topic {topic}: {error}"));
                }
            }
        } else if self.manner == Manner::Mosquitto && message.payload_len() == 0 {
            // It prints nothing without a line feed.
            if !self.has_topic || !self.has_newline {
                return;
            }
            sheet.text.extend_from_slice(message.topic().as_bytes());
            sheet.text.extend_from_slice(b" (null)");
        } else {
            if self.has_topic {
                sheet.text.extend_from_slice(message.topic().as_bytes());
                sheet.text.push(b' ');
            }
            sheet.add_payload(message, Shape::Raw);
        }
        if self.has_newline {
            sheet.text.push(b'\n');
        }
    }
}
