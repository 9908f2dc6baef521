//! Options of `postrider pub`.

use std::time::Duration;

use clap::{ArgAction, Args};
use postrider_wire::Topic;

use crate::args::{ConnectionArgs, MessageArgs, SpoolArgs, topic};

/// Publishes a message, and ends when the broker has it.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = AFTER_HELP)]
pub(crate) struct PublishArgs {
    /// Topic to publish to.
    #[arg(short, long, value_parser = topic)]
    pub(crate) topic: Option<Topic>,
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// Each line of standard input is a message.
    #[arg(short = 'l', long, group = "MessageArgs")]
    pub(crate) stdin_line: bool,
    /// Quality of service: 0 may be lost, 1 may arrive twice, 2 arrives exactly once. Default: 0.
    #[arg(short, long, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: Option<u8>,
    /// The broker keeps the message for later subscribers; an empty one clears what it keeps.
    #[arg(short, long)]
    pub(crate) retain: bool,
    /// Publishes the message so many times.
    #[arg(
        long, value_name = "TIMES", default_value_t = 1, conflicts_with = "stdin_line",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) repeat: u64,
    /// Seconds between two times, such as 0.5.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) repeat_delay: Duration,
    /// Most messages at QoS 1 and 2 on their way at once.
    #[arg(short = 'M', long, value_name = "MESSAGES", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_inflight: Option<u16>,
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Prints help.
    #[arg(long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

const AFTER_HELP: &str = "\
Examples:
  postrider pub -t plant/7/temp -m 21.5
  postrider pub -h broker.example -u ann --pw-file secret -t plant/7/state -m up -q 1 -r
  postrider pub -t plant/7/state -n -r                  clears the retained message
  postrider pub -t plant/7/picture -f picture.png -q 2
  vmstat 5 | postrider pub -t plant/7/load -l           each line is a message
  postrider pub -t plant/7/temp -m 21.5 -D publish content-type text/plain
  postrider pub --store spool -t plant/7/temp -m 21.5   ends when it is stored; no broker is needed
  postrider pub --store spool --flush --profile plant   delivers what is stored

Each option has a variable of the environment: POSTRIDER_HOST, POSTRIDER_PW_FILE, ...; POSTRIDER_PASSWORD \
is the password.

The exit status is 0 when the broker has the message (at QoS 0: when it is sent); the reason code if the \
broker refused it, such as 135 for 'not authorized'; 1 after another error; 2 for a wrong option. A lost \
connection is not made again, but with --stdin-line, where standard error says so, and --flush. With --store it \
is 0 when the message is stored; with --flush, when the broker has everything.";
