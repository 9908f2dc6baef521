//! What is printed of a message, as options of `sub` and `rr`.

use clap::Args;
use postrider::Message;

use crate::{
    format::{Format, Look, NotJson},
    json::Layout,
    names::Manner,
    out,
};

/// How messages are printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Prints the topic before the message.
    #[arg(short, long)]
    verbose: bool,
    /// Prints messages in this format: %t topic, %p payload, %x in hexadecimal, %q QoS, %r retained, %l length,
    /// %I and %U time, %j and %J JSON, @H and the like local time, \n and the like.
    #[arg(short = 'F', long, value_name = "FORMAT", value_parser = Format::parse)]
    format: Option<Format>,
    /// Prints each message as a JSON object; the same as -F %j.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Prints JSON on several lines.
    #[arg(long)]
    pretty: bool,
    /// Prints no line feed after a message.
    #[arg(short = 'N', long = "no-newline")]
    no_newline: bool,
}

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
