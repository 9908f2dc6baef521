//! What is printed of a message, as options of `sub` and `rr`.

use clap::Args;

use crate::args::Format;

/// How messages are printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Prints the topic before the message.
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Prints messages in this format: %t topic, %p payload, %x in hexadecimal, %q QoS, %r retained, %l length,
    /// %I and %U time, %j and %J JSON, @H and the like local time, \n and the like.
    #[arg(short = 'F', long, value_name = "FORMAT", value_parser = Format::parse)]
    pub(crate) format: Option<Format>,
    /// Prints each message as a JSON object; the same as -F %j.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Prints JSON on several lines.
    #[arg(long)]
    pub(crate) pretty: bool,
    /// Prints no line feed after a message.
    #[arg(short = 'N', long = "no-newline")]
    pub(crate) no_newline: bool,
}
