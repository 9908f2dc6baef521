//! The will, as options.

use std::ffi::OsString;

use clap::Args;
use postrider_wire::Topic;

/// What the broker publishes if the program is lost.
#[derive(Debug, Args)]
#[command(next_help_heading = "Will")]
pub(crate) struct WillArgs {
    /// Topic of the will.
    #[arg(long, value_name = "TOPIC", value_parser = Topic::new)]
    pub(crate) will_topic: Option<Topic>,
    /// Message of the will. Default: an empty one.
    #[arg(long, value_name = "TEXT", requires = "will_topic", allow_hyphen_values = true)]
    pub(crate) will_payload: Option<OsString>,
    /// Quality of service of the will. Default: 0.
    #[arg(long, value_name = "QOS", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) will_qos: Option<u8>,
    /// The broker keeps the will for later subscribers.
    #[arg(long, requires = "will_topic")]
    pub(crate) will_retain: bool,
}
