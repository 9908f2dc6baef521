//! A message, with the properties that 5.0 has, the same for all libraries.

/// A message to send, or one that came.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// Where it is published.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// 0 to 2.
    pub qos: u8,
    /// The retain flag.
    pub retain: bool,
    /// 5.0 only.
    pub properties: Properties,
}

/// Properties of a message; what is `None` or empty is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Properties {
    /// 1: the payload is UTF-8.
    pub format: Option<u8>,
    /// Seconds.
    pub expiry: Option<u32>,
    /// Such as `application/json`.
    pub content_type: Option<String>,
    /// Where an answer goes.
    pub response_topic: Option<String>,
    /// What an answer is known by.
    pub correlation: Option<Vec<u8>>,
    /// Names and values, in order.
    pub user: Vec<(String, String)>,
    /// Of the subscriptions that match; only on a message that came.
    pub subscription_ids: Vec<u32>,
}

impl Message {
    /// A message without properties.
    pub fn new(topic: impl Into<String>, payload: impl AsRef<[u8]>, qos: u8) -> Self {
        let payload = payload.as_ref().to_vec();
        Self { topic: topic.into(), payload, qos, ..Self::default() }
    }

    /// The same with the retain flag.
    pub fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    /// The payload, as text if it is short.
    pub fn text(&self) -> String {
        match self.payload.len() {
            0..1000 => String::from_utf8_lossy(&self.payload).into_owned(),
            length => format!("{length} bytes"),
        }
    }
}
