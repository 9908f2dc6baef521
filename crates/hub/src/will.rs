//! The will of a client: what is published for it when it cannot say goodbye.

use postrider_proto::{
    Envelope, Fact, Message, Payload, Time,
    wire::{self, Bytes, Property, Publish, QoS},
};

/// A will that was not published yet.
///
/// ```text
/// Kept --DISCONNECT 0x00--> gone
///   `--link ended otherwise--> Due(min(delay, session expiry)) --time, or session ended--> published
///                                 `--client is back in time--> gone
/// ```
///
/// Spec: v5 sections 3.1.2.5 and 3.1.3.2 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.3-9]; in v3.1.1 there is no delay.
#[derive(Clone, Debug)]
pub(crate) struct Will {
    /// The PUBLISH, with its payload, as it will be published.
    publish: Publish,
    /// Will Delay Interval in seconds.
    delay_s: u32,
    /// When it is published; `None` while the link lives.
    pub(crate) due: Option<Time>,
}

impl Will {
    /// Takes a will out of CONNECT; keeps nothing of the read buffer.
    pub(crate) fn new(will: wire::Will, now: Time) -> Self {
        let delay_s = will.properties.will_delay_interval().copied().unwrap_or_default();
        let mut properties = will.properties;
        properties.retain(|property| !matches!(property, Property::WillDelayInterval(_)));
        let publish = Publish {
            dup: false,
            qos: will.qos,
            retain: will.retain,
            topic: Some(will.topic),
            packet_id: None,
            properties,
            payload: Bytes::new(),
        };
        let payload = Payload::Bytes(will.payload.clone());
        let shared = Envelope::new(Message::from_publish(publish, payload, now)).shared();
        let mut publish = shared.head.clone();
        // At most 65,535 bytes, and possibly the smaller part of the read buffer.
        publish.payload = Bytes::copy_from_slice(&will.payload);
        Self { publish, delay_s, due: None }
    }

    /// A will as it was recorded.
    pub(crate) fn recorded(publish: Publish, delay_s: u32, due: Option<Time>) -> Self {
        Self { publish, delay_s, due }
    }

    /// The fact to record.
    pub(crate) fn fact(&self) -> Fact {
        let publish = Box::new(self.publish.clone());
        Fact::Will { publish, delay_s: self.delay_s, due: self.due }
    }

    /// When it is due if the link ends now and the session `expiry_s` seconds later.
    pub(crate) fn due_at(&self, expiry_s: u32, now: Time) -> Time {
        now.plus_s(u64::from(self.delay_s.min(expiry_s)))
    }

    /// Whether it is more than QoS 0 for those who are there now.
    pub(crate) fn is_kept(&self) -> bool {
        self.publish.qos > QoS::AtMostOnce || self.publish.retain
    }

    /// The message, published at this time: its expiry counts from there.
    pub(crate) fn message(self, published: Time) -> Message {
        let mut publish = self.publish;
        let payload = Payload::Bytes(core::mem::take(&mut publish.payload));
        Message::from_publish(publish, payload, published)
    }
}
