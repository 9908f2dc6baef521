//! A message that arrived.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use bytes::{Bytes, BytesMut};
use postrider_proto::wire::{Properties, Publish, QoS, Text, Topic};

/// A message that arrived. Cheap to clone: topic and payload are shared.
#[derive(Clone, Debug)]
pub struct Message {
    head: Publish,
    body: Body,
    arrival: u64,
}

/// The payload is not UTF-8 text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("payload is not UTF-8 text from byte {at} on; read it with Message::payload")]
pub struct NotText {
    /// The first byte that is not text, from 0.
    pub at: usize,
}

/// The payload as it came: small ones in one piece, large ones in the pieces that the network gave.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Whole(Bytes),
    Pieces(Arc<Pieces>),
}

#[derive(Debug)]
pub(crate) struct Pieces {
    pieces: Vec<Bytes>,
    len: usize,
    whole: OnceLock<Bytes>,
}

impl Message {
    /// `head.topic` must be there.
    pub(crate) fn new(head: Publish, body: Body, arrival: u64) -> Self {
        debug_assert!(head.topic.is_some(), "the link resolves aliases");
        Self { head, body, arrival }
    }

    /// The topic it was published to. The bytes are checked once more; [`Message::topic_name`] costs nothing.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.head.topic.as_ref().map_or("", Topic::as_str)
    }

    /// The topic as a checked value, to publish to it or to compare its bytes.
    #[must_use]
    pub fn topic_name(&self) -> Option<&Topic> {
        self.head.topic.as_ref()
    }

    /// The payload, shared, not copied.
    ///
    /// A large payload (above 1 MiB) arrives in pieces; the first call puts them together, and clones share the result.
    /// [`Message::pieces`] does without.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        match &self.body {
            Body::Whole(bytes) => bytes.clone(),
            Body::Pieces(pieces) => pieces.whole().clone(),
        }
    }

    /// Length of the payload in bytes.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        match &self.body {
            Body::Whole(bytes) => bytes.len(),
            Body::Pieces(pieces) => pieces.len,
        }
    }

    /// The payload in order, in the pieces in which it arrived.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        match &self.body {
            Body::Whole(bytes) => std::slice::from_ref(bytes).iter(),
            Body::Pieces(pieces) => pieces.pieces.iter(),
        }
    }

    /// The payload as text.
    ///
    /// # Errors
    /// [`NotText`] if it is not UTF-8.
    pub fn text(&self) -> Result<&str, NotText> {
        let bytes = match &self.body {
            Body::Whole(bytes) => bytes,
            Body::Pieces(pieces) => pieces.whole(),
        };
        std::str::from_utf8(bytes).map_err(|error| NotText { at: error.valid_up_to() })
    }

    /// The payload as text, whatever it is: what is not UTF-8 becomes U+FFFD.
    #[must_use]
    pub fn text_lossy(&self) -> Cow<'_, str> {
        match &self.body {
            Body::Whole(bytes) => String::from_utf8_lossy(bytes),
            Body::Pieces(pieces) => String::from_utf8_lossy(pieces.whole()),
        }
    }

    /// Quality of service with which it was delivered: at most the granted one.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.head.qos
    }

    /// Whether it was retained by the server before the subscription was made, not sent live.
    /// With [`crate::SubscribeRequest::retain_as_published`]: whether it was published as retained.
    #[must_use]
    pub fn is_retained(&self) -> bool {
        self.head.retain
    }

    /// Whether the server marked it as perhaps delivered before. A first delivery may be marked, a second may be not.
    #[must_use]
    pub fn is_dup(&self) -> bool {
        self.head.dup
    }

    /// Its place among all that the session received, counted up: what several streams have, in one order.
    #[must_use]
    pub fn arrival(&self) -> u64 {
        self.arrival
    }

    /// Packet identifier with which it was delivered, for logs; `None` at QoS 0. It is used again for later messages.
    #[must_use]
    pub fn packet_id(&self) -> Option<u16> {
        self.head.packet_id.map(|id| id.get())
    }

    /// All its properties (5.0; before: none).
    #[must_use]
    pub fn properties(&self) -> &Properties {
        &self.head.properties
    }

    /// MIME type or whatever publisher and receiver agreed on (5.0).
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.head.properties.content_type().map(Text::as_str)
    }

    /// Where the publisher waits for an answer (5.0).
    #[must_use]
    pub fn response_topic(&self) -> Option<&str> {
        self.head.properties.response_topic().map(Text::as_str)
    }

    /// What an answer must carry so that the publisher knows what it answers (5.0).
    #[must_use]
    pub fn correlation_data(&self) -> Option<&Bytes> {
        self.head.properties.correlation_data()
    }

    /// Seconds that are left of its life, as the server counted them when it sent it (5.0).
    #[must_use]
    pub fn message_expiry(&self) -> Option<u32> {
        self.head.properties.message_expiry_interval().copied()
    }

    /// Whether the publisher says that the payload is UTF-8 text (5.0).
    #[must_use]
    pub fn is_marked_text(&self) -> bool {
        self.head.properties.payload_format_indicator() == Some(&1)
    }

    /// Names and values that the publisher added, in its order (5.0).
    pub fn user_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head.properties.user_properties().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Bytes it holds, for the bounds of queues.
    pub(crate) fn cost(&self) -> usize {
        let topic = self.head.topic.as_ref().map_or(0, |topic| topic.as_bytes().len());
        self.payload_len().saturating_add(topic)
    }
}

impl Body {
    pub(crate) fn pieces(pieces: Vec<Bytes>) -> Self {
        let len = pieces.iter().map(Bytes::len).sum();
        Self::Pieces(Arc::new(Pieces { pieces, len, whole: OnceLock::new() }))
    }
}

impl Pieces {
    fn whole(&self) -> &Bytes {
        self.whole.get_or_init(|| {
            let mut whole = BytesMut::with_capacity(self.len);
            self.pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
            whole.freeze()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: Body) -> Message {
        let head = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: Some(Topic::new("a/b").unwrap()),
            packet_id: None,
            properties: Properties::new(),
            payload: Bytes::new(),
        };
        Message::new(head, body, 1)
    }

    #[test]
    fn pieces_are_put_together_once_and_shared() {
        let body = Body::pieces(vec![Bytes::from("hel"), Bytes::from("lo")]);
        let message = message(body);
        let other = message.clone();
        assert_eq!(message.payload_len(), 5);
        assert_eq!(message.pieces().count(), 2);
        assert_eq!(message.text(), Ok("hello"));
        assert_eq!(message.payload().as_ptr(), other.payload().as_ptr());
    }

    #[test]
    fn a_payload_that_is_no_text_says_from_where() {
        let message = message(Body::Whole(Bytes::from_static(b"ab\xff")));
        assert_eq!(message.text(), Err(NotText { at: 2 }));
        assert_eq!(message.text_lossy(), "ab\u{fffd}");
        assert_eq!(message.topic(), "a/b");
    }
}
