//! What the server publishes for us when we are lost.

use std::time::Duration;

use postrider_proto::wire::{self, Properties, Property, QoS, Text};

use crate::{
    ConnectError, IntoTopic, Payload,
    said::{say, seconds},
    topic::NotTopic,
};

/// A message that the server publishes if the connection ends without a `disconnect`.
///
/// ```
/// use postrider::{QoS, Session, Will};
///
/// let builder = Session::builder("mqtt://127.0.0.1:1883", "press-7")
///     .will(Will::new("plant/7/state", "lost").qos(QoS::AtLeastOnce).retain(true));
/// # let _ = builder;
/// ```
#[derive(Clone, Debug)]
pub struct Will {
    topic: Result<wire::Topic, NotTopic>,
    payload: Payload,
    qos: QoS,
    retain: bool,
    properties: Properties,
    fault: Option<ConnectError>,
}

impl Will {
    /// A will at QoS 0, not retained. A wrong topic is reported by `connect`.
    #[must_use]
    pub fn new(topic: impl IntoTopic, payload: impl Into<Payload>) -> Self {
        Self {
            topic: topic.into_topic(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::new(),
            fault: None,
        }
    }

    /// Quality of service.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Whether the server keeps it as the topic's retained message.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// How long the server waits for us to come back first (5.0); whole seconds, up to 136 years.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        self.property(Property::WillDelayInterval(seconds(delay)))
    }

    /// Adds any property that a will may have (5.0).
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        say(&mut self.properties, property);
        self
    }

    /// Adds a name and a value (5.0). A wrong text is reported by `connect`.
    #[must_use]
    pub fn user_property(mut self, name: &str, value: &str) -> Self {
        match (Text::new(name), Text::new(value)) {
            (Ok(name), Ok(value)) => self.property(Property::UserProperty(name, value)),
            (Err(error), _) | (_, Err(error)) => {
                let what = "a user property of the will";
                self.fault.get_or_insert(ConnectError::Text { what, error });
                self
            }
        }
    }

    pub(crate) fn checked(self) -> Result<wire::Will, ConnectError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let len = self.payload.len();
        if len > WILL_LEN_MAX {
            let what = "the will's payload";
            return Err(ConnectError::TooLong { what, len, len_max: WILL_LEN_MAX });
        }
        Ok(wire::Will {
            topic: self.topic.map_err(ConnectError::WillTopic)?,
            payload: self.payload.0,
            qos: self.qos,
            retain: self.retain,
            properties: self.properties,
        })
    }
}

/// Longest payload of a will in bytes: its length is sent in two. Spec: v5 section 3.1.3.4.
const WILL_LEN_MAX: usize = 65_535;
