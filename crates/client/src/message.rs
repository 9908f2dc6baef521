//! A message that arrived.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use postrider_proto::wire::{PacketId, Properties, Publish, QoS, ReasonCode, Text, Topic};

use crate::{
    AckError, NotText, PayloadError, PayloadReader,
    body::Body,
    shared::Shared,
    token::{Ack, Batch, Charge},
};

/// A message that arrived. Cheap to clone: topic and payload are shared.
#[derive(Clone, Debug)]
pub struct Message {
    topic: Option<Topic>,
    properties: Properties,
    body: Body,
    arrival: u64,
    /// Of a message that asks for an answer.
    pub(crate) session: Option<Arc<Shared>>,
    /// Of a message that the program acknowledges itself.
    pub(crate) charge: Option<Box<Charge>>,
    packet_id: Option<PacketId>,
    qos: QoS,
    dup: bool,
    is_retained: bool,
}

/// A message goes through several hands, and up to this size a move is a few instructions.
const _: () = assert!(size_of::<Message>() <= 128);

impl Message {
    /// `head.topic` must be there.
    pub(crate) fn new(head: Publish, body: Body, arrival: u64) -> Self {
        debug_assert!(head.topic.is_some(), "the link resolves aliases");
        let Publish { dup, qos, retain: is_retained, topic, packet_id, properties, .. } = head;
        let (session, charge) = (None, None);
        Self { topic, properties, body, arrival, session, charge, packet_id, qos, dup, is_retained }
    }

    /// The topic it was published to. The bytes are checked once more; [`Message::topic_name`] costs nothing.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.topic.as_ref().map_or("", Topic::as_str)
    }

    /// The topic as a checked value, to publish to it or to compare its bytes.
    #[must_use]
    pub fn topic_name(&self) -> Option<&Topic> {
        self.topic.as_ref()
    }

    /// The payload, shared, not copied.
    ///
    /// A large payload (from 1 MiB on) is in a file: the first call reads it into memory, where it stays until the last
    /// clone of the message is gone. [`Message::reader`] does without.
    ///
    /// # Errors
    /// [`PayloadError`] if that file cannot be read or is damaged; of smaller payloads never.
    pub fn payload(&self) -> Result<Bytes, PayloadError> {
        self.body.whole().cloned()
    }

    /// Reads the payload from its beginning, on any thread; of a large one no more is in memory than is asked for.
    #[must_use]
    pub fn reader(&self) -> PayloadReader {
        self.body.reader()
    }

    /// Length of the payload in bytes.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.body.len()
    }

    /// The payload as text; see [`Message::payload`] for large ones.
    ///
    /// # Errors
    /// [`NotText`] if it is not UTF-8, or cannot be read.
    pub fn text(&self) -> Result<&str, NotText> {
        let bytes = self.body.whole()?;
        std::str::from_utf8(bytes).map_err(|error| NotText::Utf8 { at: error.valid_up_to() })
    }

    /// The payload as text, whatever it is: what is not UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// [`PayloadError`] as [`Message::payload`].
    pub fn text_lossy(&self) -> Result<Cow<'_, str>, PayloadError> {
        Ok(String::from_utf8_lossy(self.body.whole()?))
    }

    /// Quality of service with which it was delivered: at most the granted one.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether it was retained by the server before the subscription was made, not sent live.
    /// With [`crate::SubscribeRequest::retain_as_published`]: whether it was published as retained.
    #[must_use]
    pub fn is_retained(&self) -> bool {
        self.is_retained
    }

    /// Whether the server marked it as perhaps delivered before. A first delivery may be marked, a second may be not.
    #[must_use]
    pub fn is_dup(&self) -> bool {
        self.dup
    }

    /// Its place among all that the session received, counted up: what several streams have, in one order.
    #[must_use]
    pub fn arrival(&self) -> u64 {
        self.arrival
    }

    /// Packet identifier with which it was delivered, for logs; `None` at QoS 0. It is used again for later messages.
    #[must_use]
    pub fn packet_id(&self) -> Option<u16> {
        self.packet_id.map(|id| id.get())
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
    /// neither. [`crate::Session::stored`] reads it. The batch has a word for the server too, which is not stored: after a
    /// crash it may not be said. If several streams have the message, all of their batches are stored
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

    /// Refuses a message of a session with [`crate::Builder::manual_acknowledgement`]: PUBACK or PUBREC say why (5.0), with a
    /// code from 0x80 on that these packets may have. The message is over, as after [`Message::ack`], and most servers do
    /// not send it again. If the connection is lost before the server has the refusal the message comes again, at QoS 2
    /// too. 3.1.1 cannot refuse: the message is acknowledged.
    ///
    /// If several streams have the message, it is refused if all of them refuse it. [`Message::ack_with`] can explain it.
    ///
    /// # Errors
    /// [`AckError`], when it is awaited.
    pub fn refuse(&self, reason: ReasonCode) -> Ack {
        if !reason.is_error() {
            return Ack::refused(AckError::Reason(reason));
        }
        self.ack_with(|batch| batch.reason(reason))
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
        &self.properties
    }

    /// MIME type or whatever publisher and receiver agreed on (5.0).
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.properties.content_type().map(Text::as_str)
    }

    /// Where the publisher waits for an answer (5.0).
    #[must_use]
    pub fn response_topic(&self) -> Option<&str> {
        self.properties.response_topic().map(Text::as_str)
    }

    /// What an answer must carry so that the publisher knows what it answers (5.0).
    #[must_use]
    pub fn correlation_data(&self) -> Option<&Bytes> {
        self.properties.correlation_data()
    }

    /// Seconds that are left of its life, as the server counted them when it sent it (5.0).
    #[must_use]
    pub fn message_expiry(&self) -> Option<u32> {
        self.properties.message_expiry_interval().copied()
    }

    /// Whether the publisher says that the payload is UTF-8 text (5.0).
    #[must_use]
    pub fn is_marked_text(&self) -> bool {
        self.properties.payload_format_indicator() == Some(&1)
    }

    /// Names and values that the publisher added, in its order (5.0).
    pub fn user_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.user_properties().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Becomes the copy of one stream, which alone can be acknowledged.
    pub(crate) fn assign_to(&mut self, stream: u64) {
        if let Some(charge) = self.charge.take() {
            self.charge = Some(Box::new(charge.for_stream(stream, self.clone())));
        }
    }

    /// The payload in memory.
    #[cfg(feature = "json")]
    pub(crate) fn whole(&self) -> Result<&Bytes, PayloadError> {
        self.body.whole()
    }

    /// Drops a copy for good: if the program would acknowledge it, it counts as acknowledged.
    pub(crate) fn give_up(self) {
        if let Some(charge) = &self.charge {
            charge.give_up();
        }
    }

    /// Bytes it holds, for the bounds of queues.
    pub(crate) fn cost(&self) -> usize {
        let topic = self.topic.as_ref().map_or(0, |topic| topic.as_bytes().len());
        self.payload_len().saturating_add(topic)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

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
    fn a_small_payload_can_be_read_too() {
        let message = message(Body::Whole(Bytes::from("hello")));
        let (mut first, mut text) = ([0; 2], String::new());
        let mut reader = message.reader();
        reader.read_exact(&mut first).unwrap();
        reader.clone().read_to_string(&mut text).unwrap();
        assert_eq!((&first, text.as_str()), (b"he", "llo"));
        assert_eq!(message.payload().unwrap(), "hello");
    }

    #[test]
    fn a_payload_that_is_no_text_says_from_where() {
        let message = message(Body::Whole(Bytes::from_static(b"ab\xff")));
        assert_eq!(message.text(), Err(NotText::Utf8 { at: 2 }));
        assert_eq!(message.text_lossy().unwrap(), "ab\u{fffd}");
        assert_eq!(message.topic(), "a/b");
    }
}
