//! Options of `postrider demo`.

use clap::Args;

use crate::args::{ProtocolArg, TransportArgs};

/// Shows the main job with a broker of its own: connect, subscribe, publish, unsubscribe, disconnect.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DemoArgs {
    /// Uses this broker and starts none.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Messages at each quality of service.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) messages: u32,
    /// Bytes of the largest message. Default: the largest that a packet can hold and the broker takes.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=268_435_455))]
    pub(crate) largest: Option<u32>,
    /// Version of MQTT to speak.
    #[arg(short = 'V', long, value_name = "VERSION", value_enum, default_value_t)]
    pub(crate) protocol_version: ProtocolArg,
    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

const AFTER_HELP: &str = "\
Examples:
  postrider demo
  postrider demo -V mqttv311
  postrider demo --url mqtt://broker.example:1883 --messages 1000 --largest 1000000

The exit status is 0 if every message arrived once, in order and unchanged, and 1 if not.";
