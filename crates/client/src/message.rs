//! A message that arrived.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use bytes::{Bytes, BytesMut};
use postrider_proto::wire::{Properties, Publish, QoS, Text, Topic};

use crate::{
    AckError,
    token::{Ack, Batch, Charge},
};

/// A message that arrived. Cheap to clone: topic and payload are shared.
#[derive(Clone, Debug)]
pub struct Message {
    head: Publish,
    body: Body,
    arrival: u64,
    /// Of a message that the program acknowledges itself.
    pub(crate) charge: Option<Box<Charge>>,
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
        Self { head, body, arrival, charge: None }
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

    /// Acknowledges a message of a session with [`crate::Builder::manual_acknowledgement`]: the program has done with it.
    /// It is on its way when this returns; await the answer to know that it is stored, after which the message does not
    /// come again, but for a QoS 1 message whose PUBACK does not reach the server.
    ///
    /// Any order will do; the session answers the server in the order of arrival, so that a message that is not
    /// acknowledged holds the answers of later ones of its QoS back. If several streams got the message, it is
    /// acknowledged once all have done so, and all of their answers come then: do not await one of them before the others
    /// are read. A stream that has ended does not count. Clones of a message are one and the same copy.
    ///
    /// Succeeds at once where nothing is to be acknowledged: at QoS 0, and in a session that does it by itself.
    ///
    /// # Errors
    /// [`AckError`], when it is awaited.
    pub fn ack(&self) -> Ack {
        match &self.charge {
            Some(charge) => charge.ack(Batch::default()),
            None => Ack::nothing(),
        }
    }

    /// [`Message::ack`], and stores what `fill` puts into the batch in the same step: after a crash both are there or
    /// neither. [`crate::Session::stored`] reads it. If several streams have the message, all of their batches are stored
    /// when the last one acknowledges.
    ///
    /// # Errors
    /// [`AckError`], when it is awaited; nothing was stored then. After one that says so ([`AckError::NoStore`],
    /// [`AckError::TooLarge`], [`AckError::KeyTooLong`]) the message can be acknowledged otherwise.
    pub fn ack_with(&self, fill: impl FnOnce(&mut Batch)) -> Ack {
        let Some(charge) = &self.charge else { return Ack::refused(AckError::NotManual) };
        let mut batch = Batch::default();
        fill(&mut batch);
        charge.ack(batch)
    }

    /// The number of a message that the program acknowledges itself: from 1, never reused in this store, the same when the
    /// message comes again after a crash or a reconnect. `None` for others.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.charge.as_ref().map(|charge| charge.number())
    }

    /// Whether the program may have been given this message before, under the same number, without acknowledging it: by a
    /// process that died, or in this one if it dropped its copy. [`Message::is_dup`] is what the server says.
    #[must_use]
    pub fn is_redelivery(&self) -> bool {
        self.charge.as_ref().is_some_and(|charge| charge.is_redelivery)
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

    /// The copy of one stream, which alone can be acknowledged.
    pub(crate) fn for_stream(mut self, stream: u64) -> Self {
        if let Some(charge) = self.charge.take() {
            self.charge = Some(Box::new(charge.for_stream(stream, self.clone())));
        }
        self
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
