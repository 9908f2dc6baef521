//! The will, as options.

use std::ffi::OsString;

use anyhow::Context;
use clap::Args;
use postrider::{Property, QoS, Topic, Will};

/// What the broker publishes if the program is lost.
#[derive(Debug, Args)]
#[command(next_help_heading = "Will")]
pub(crate) struct WillArgs {
    /// Topic of the will.
    #[arg(long, value_name = "TOPIC", value_parser = Topic::new)]
    will_topic: Option<Topic>,
    /// Message of the will. Default: an empty one.
    #[arg(long, value_name = "TEXT", requires = "will_topic", allow_hyphen_values = true)]
    will_payload: Option<OsString>,
    /// Quality of service of the will.
    #[arg(
        long, value_name = "QOS", default_value_t = 0, requires = "will_topic",
        value_parser = clap::value_parser!(u8).range(0..=2)
    )]
    will_qos: u8,
    /// The broker keeps the will for later subscribers.
    #[arg(long, requires = "will_topic")]
    will_retain: bool,
}

impl WillArgs {
    /// The will, if there is one.
    pub(crate) fn will(
        &self,
        properties: impl Iterator<Item = Property>,
    ) -> anyhow::Result<Option<Will>> {
        let Some(topic) = &self.will_topic else { return Ok(None) };
        let payload = self.will_payload.clone().unwrap_or_default().into_encoded_bytes();
        let qos = QoS::from_bits(self.will_qos).context("--will-qos must be 0, 1 or 2")?;
        let will = Will::new(topic.clone(), payload).qos(qos).retain(self.will_retain);
        Ok(Some(properties.fold(will, Will::property)))
    }
}
