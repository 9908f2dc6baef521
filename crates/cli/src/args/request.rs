//! Options of `postrider rr`.

use clap::{ArgAction, Args};
use postrider_wire::Topic;

use crate::args::{ConnectionArgs, HandlingArg, MessageArgs, OutputArgs, topic};

/// Publishes a request, waits for the response, and prints it.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = AFTER_HELP)]
pub(crate) struct RequestArgs {
    /// Topic to publish the request to.
    #[arg(short, long, value_parser = topic)]
    pub(crate) topic: Option<Topic>,
    /// Topic on which the response comes.
    #[arg(short = 'e', long, value_name = "TOPIC", value_parser = topic)]
    pub(crate) response_topic: Topic,
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// Quality of service of request and response.
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Waits at most this many seconds, and ends with exit status 27.
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
    /// Takes no retained message for the response.
    #[arg(short = 'R', long)]
    pub(crate) no_retained: bool,
    /// When the broker sends retained messages (5.0): at each subscription, at a new one, or never.
    #[arg(long, value_name = "WHEN", value_enum)]
    pub(crate) retain_handling: Option<HandlingArg>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Prints help.
    #[arg(long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,
}

const AFTER_HELP: &str = "\
Examples:
  postrider rr -t plant/7/ask -e plant/7/answer/me -m status -W 10
  postrider rr -t plant/7/ask -e plant/7/answer/me -f request.json -q 1 -F '%t %J'

With MQTT 5.0 the request carries the response topic and correlation data; a response with other \
correlation data is not taken. Each option has a variable of the environment: POSTRIDER_HOST, ...

The exit status is 0 after the response; 27 if --timeout passed before; the reason code if the broker \
refused something; 1 after another error; 2 for a wrong option. A lost connection is made again, and \
standard error says so.";
