//! An application message on its way.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use bytes::Bytes;
use postrider_wire::{Encoded, Properties, Property, Publish, QoS, Topic};
use smallvec::SmallVec;

use crate::{SpoolId, Time};

/// A payload of at least this many bytes stays in the buffer it was read into when a message is kept; see
/// [`Envelope::shared`].
const PAYLOAD_BYTES_SHARED: usize = 16 * 1024;

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
    body: Body,
    /// One slot per [`Class`].
    pub(crate) encoded: [Slot; Class::COUNT],
}

#[derive(Debug)]
enum Body {
    /// May borrow the read buffer.
    Own(Message),
    Shared(Arc<Message>),
}

/// What makes two encodings of one message differ in more than a few bytes at known places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    /// 5.0 or not.
    pub(crate) has_properties: bool,
    /// QoS above 0.
    pub(crate) has_packet_id: bool,
    /// Empty topic, and a topic alias as the last property.
    pub(crate) is_aliased: bool,
}

/// An encoding that may be wanted again. It is kept from the second use on, since most messages have one receiver.
#[derive(Debug, Default)]
pub(crate) enum Slot {
    #[default]
    Unused,
    Once,
    Kept(Box<Kept>),
}

/// The bytes of a PUBLISH: its head, and its payload if that is small.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) bytes: Vec<u8>,
    pub(crate) encoded: Encoded,
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

    /// The payload for keeping: small bytes are copied out of whatever buffer they are in.
    fn detached(&self) -> Self {
        match self {
            Self::Bytes(bytes) if bytes.len() < PAYLOAD_BYTES_SHARED => {
                Self::Bytes(Bytes::copy_from_slice(bytes))
            }
            Self::Bytes(_) | Self::Spooled { .. } => self.clone(),
        }
    }
}

impl Envelope {
    /// Wraps a message that may borrow the read buffer.
    #[must_use]
    pub fn new(message: Message) -> Self {
        Self { body: Body::Own(message), encoded: Default::default() }
    }

    /// Wraps a message that is shared already (retained, will, from a peer hub).
    #[must_use]
    pub fn from_shared(shared: Arc<Message>) -> Self {
        Self { body: Body::Shared(shared), encoded: Default::default() }
    }

    /// The message, shared; on first use copied out of the read buffer.
    ///
    /// A payload of 16 KiB or more is not copied: it holds a read buffer that it mostly fills (a [`Bytes`] cannot tell
    /// how large its buffer is, and read buffers are of about this size).
    pub fn shared(&mut self) -> Arc<Message> {
        match &self.body {
            Body::Shared(shared) => Arc::clone(shared),
            Body::Own(message) => {
                let shared = Arc::new(message.detached());
                self.body = Body::Shared(Arc::clone(&shared));
                shared
            }
        }
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &Message {
        match &self.body {
            Body::Own(message) => message,
            Body::Shared(shared) => shared,
        }
    }
}

impl Message {
    /// Takes a received or new PUBLISH apart: strips alias, subscription identifiers and packet id, computes expiry.
    #[must_use]
    pub fn from_publish(mut publish: Publish, payload: Payload, now: Time) -> Self {
        publish.dup = false;
        publish.packet_id = None;
        publish.payload = Bytes::new();
        let mut expires = None;
        if !publish.properties.is_empty() {
            publish.properties.retain(|property| !is_of_one_link(property));
            let seconds = publish.properties.message_expiry_interval();
            expires = seconds.map(|seconds| now.plus_s(u64::from(*seconds)));
        }
        Self { head: publish, payload, arrived: now, expires }
    }

    /// Whether it has expired. Spec: v5 [MQTT-3.3.2-5].
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|at| now >= at)
    }

    /// Properties to send on now: Message Expiry Interval reduced by the time waited. Spec: v5 [MQTT-3.3.2-6].
    #[must_use]
    pub fn properties_at(&self, now: Time) -> Properties {
        let mut properties = self.head.properties.clone();
        if let Some(seconds) = self.expiry_at(now) {
            properties.set(Property::MessageExpiryInterval(seconds));
        }
        properties
    }

    /// Bytes it counts for in a queue: topic, properties and in-memory payload.
    #[must_use]
    pub fn cost_bytes(&self) -> u64 {
        let topic = self.head.topic.as_ref().map_or(0, |topic| topic.as_bytes().len());
        let properties: usize = self.head.properties.iter().map(property_bytes).sum();
        let payload = match &self.payload {
            Payload::Bytes(bytes) => bytes.len(),
            Payload::Spooled { .. } => 0,
        };
        (topic + properties + payload) as u64
    }

    /// Seconds until it expires, begun seconds counted: the interval less the whole seconds it waited.
    pub(crate) fn expiry_at(&self, now: Time) -> Option<u32> {
        let left = self.expires?.ms_since(now).div_ceil(1000);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }

    /// A copy that holds nothing of the read buffer but a large payload.
    fn detached(&self) -> Self {
        let head = Publish {
            dup: self.head.dup,
            qos: self.head.qos,
            retain: self.head.retain,
            topic: self.head.topic.as_ref().map(Topic::detached),
            packet_id: self.head.packet_id,
            properties: detached_properties(&self.head.properties),
            payload: Bytes::new(),
        };
        Self {
            head,
            payload: self.payload.detached(),
            arrived: self.arrived,
            expires: self.expires,
        }
    }
}

impl Class {
    const COUNT: usize = 8;

    pub(crate) fn index(self) -> usize {
        usize::from(self.has_properties)
            | usize::from(self.has_packet_id) << 1
            | usize::from(self.is_aliased) << 2
    }
}

/// Whether a property means something on the link it came from only.
fn is_of_one_link(property: &Property) -> bool {
    matches!(property, Property::TopicAlias(_) | Property::SubscriptionIdentifier(_))
}

pub(crate) fn detached_properties(properties: &Properties) -> Properties {
    let mut detached = Properties::new();
    for property in properties.iter() {
        detached.push(detached_property(property));
    }
    detached
}

fn detached_property(property: &Property) -> Property {
    if let Property::UserProperty(name, value) = property {
        Property::UserProperty(name.detached(), value.detached())
    } else if let Property::ContentType(text) = property {
        Property::ContentType(text.detached())
    } else if let Property::ResponseTopic(text) = property {
        Property::ResponseTopic(text.detached())
    } else if let Property::CorrelationData(bytes) = property {
        Property::CorrelationData(Bytes::copy_from_slice(bytes))
    } else {
        // Numbers; a PUBLISH has no other texts.
        property.clone()
    }
}

/// The bytes that a property of a PUBLISH takes in memory.
pub(crate) fn property_bytes(property: &Property) -> usize {
    let text = if let Property::UserProperty(name, value) = property {
        name.as_bytes().len() + value.as_bytes().len()
    } else if let Property::ContentType(text)
    | Property::ResponseTopic(text)
    | Property::ReasonString(text) = property
    {
        text.as_bytes().len()
    } else if let Property::CorrelationData(bytes) = property {
        bytes.len()
    } else {
        0
    };
    size_of::<Property>() + text
}
