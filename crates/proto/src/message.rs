//! An application message on its way.

use alloc::{sync::Arc, vec::Vec};

use bytes::Bytes;
use postrider_wire::{Encoded, Properties, Publish, QoS};
use smallvec::SmallVec;

use crate::{SpoolId, Time};

/// The payload of a message: bytes at hand, or bytes in a spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// In memory, shared.
    Bytes(Bytes),
    /// In the spool with this id, this many bytes. The spool lives as long as the last clone of the id.
    Spooled {
        /// Which spool.
        id: SpoolId,
        /// Length in bytes.
        len: u32,
    },
}

impl Payload {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u32 {
        match self {
            Self::Bytes(bytes) => u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            Self::Spooled { len, .. } => *len,
        }
    }

    /// Whether it has length zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One application message as it was published: shared by all sessions that wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The head as published: topic (always there), QoS, RETAIN, properties without aliases and subscription
    /// identifiers; `dup` false, `packet_id` `None`, `payload` empty.
    pub head: Publish,
    /// The payload.
    pub payload: Payload,
    /// When we took it.
    pub arrived: Time,
    /// When it expires, from Message Expiry Interval.
    pub expires: Option<Time>,
}

/// How one receiver gets a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// QoS of this delivery.
    pub qos: QoS,
    /// RETAIN bit of this delivery.
    pub retain: bool,
    /// Subscription identifiers that go along.
    pub subscription_ids: SmallVec<[u32; 1]>,
}

/// A message during one batch. It becomes shared ([`Envelope::shared`]) only when something must keep it, and remembers
/// encodings so that a head is encoded once per version and QoS class.
#[derive(Debug)]
pub struct Envelope {
    message: Message,
    shared: Option<Arc<Message>>,
    /// Encoded heads by (properties or not, QoS above 0 or not, RETAIN); see `Link::send_publish`.
    pub(crate) encoded: [Option<(Vec<u8>, Encoded)>; 8],
}

impl Envelope {
    /// Wraps a message that may borrow the read buffer.
    #[must_use]
    pub fn new(message: Message) -> Self {
        Self { message, shared: None, encoded: [const { None }; 8] }
    }

    /// Wraps a message that is shared already (retained, will, from a peer hub).
    #[must_use]
    pub fn from_shared(shared: Arc<Message>) -> Self {
        let message = Message::clone(&shared);
        Self { message, shared: Some(shared), encoded: [const { None }; 8] }
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The message, shared; on first use copied out of the read buffer unless it is at least half of it.
    pub fn shared(&mut self) -> Arc<Message> {
        todo!()
    }
}

impl Message {
    /// Takes a received or new PUBLISH apart: strips alias, subscription identifiers and packet id, computes expiry.
    #[must_use]
    pub fn from_publish(_publish: Publish, _payload: Payload, _now: Time) -> Self {
        todo!()
    }

    /// Whether it has expired. Spec: v5 [MQTT-3.3.2-5].
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|at| now >= at)
    }

    /// Properties to send on now: Message Expiry Interval reduced by the time waited. Spec: v5 [MQTT-3.3.2-6].
    #[must_use]
    pub fn properties_at(&self, _now: Time) -> Properties {
        todo!()
    }

    /// Bytes it counts for in a queue: topic, properties and in-memory payload.
    #[must_use]
    pub fn cost_bytes(&self) -> u64 {
        todo!()
    }
}
