//! Payloads as JSON.

use serde::{Deserialize, Serialize};

use crate::{Message, Payload};

/// A value that is not JSON, or JSON that is not the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("JSON: {what}")]
pub struct JsonError {
    /// What is wrong, and where.
    pub what: String,
}

impl Payload {
    /// A value as JSON (feature `json`).
    ///
    /// ```
    /// use postrider::{Payload, QoS, blocking::Session};
    /// use postrider_testing::TestBroker;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = TestBroker::start()?;
    /// let session = Session::builder(broker.url(), "press-7").connect()?;
    /// let mut readings = session.subscribe_with("plant/+", QoS::AtLeastOnce).open()?;
    /// let payload = Payload::json(&[21.5, 22.0])?;
    /// session.publish("plant/7", payload).content_type("application/json").wait()?;
    /// let reading = readings.next().ok_or("the end")?;
    /// assert_eq!(reading.json::<Vec<f64>>()?, [21.5, 22.0]);
    /// session.disconnect()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`JsonError`] if the value has no form in JSON, such as a map whose keys are no strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        Ok(Self::from(serde_json::to_vec(value).map_err(told)?))
    }
}

impl Message {
    /// The payload as a value that it is the JSON of (feature `json`); see [`Message::payload`] for large ones.
    ///
    /// # Errors
    /// [`JsonError`] if it is not JSON, or not of that type, or cannot be read.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, JsonError> {
        let bytes = self.whole().map_err(|error| JsonError { what: error.to_string() })?;
        serde_json::from_slice(bytes).map_err(told)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an adapter for map_err")]
fn told(error: serde_json::Error) -> JsonError {
    JsonError { what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_no_json_is_refused() {
        let no_form = BTreeMap::from([([1], 2)]);
        assert!(Payload::json(&no_form).is_err());
        assert_eq!(Payload::json("a").unwrap(), Payload::from("\"a\""));
    }
}
