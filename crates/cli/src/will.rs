//! The will, as options.

use anyhow::Context;
use postrider::{Property, QoS, Will};

use crate::args::WillArgs;

impl WillArgs {
    /// The will, if there is one.
    pub(crate) fn will(
        &self,
        properties: impl Iterator<Item = Property>,
    ) -> anyhow::Result<Option<Will>> {
        let Some(topic) = &self.will_topic else { return Ok(None) };
        let payload = self.will_payload.clone().unwrap_or_default().into_encoded_bytes();
        let qos =
            QoS::from_bits(self.will_qos.unwrap_or(0)).context("--will-qos must be 0, 1 or 2")?;
        let will = Will::new(topic.clone(), payload).qos(qos).retain(self.will_retain);
        Ok(Some(properties.fold(will, Will::property)))
    }
}
