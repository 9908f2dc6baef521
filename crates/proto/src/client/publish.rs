//! Publishing: what is refused at once, and the way into the session.

use alloc::vec::Vec;

use postrider_wire::{
    EncodeError, PACKET_SIZE_MAX, PacketType, Properties, Property, Publish, QoS,
    REMAINING_LENGTH_MAX, Version, encode_publish,
};
use smallvec::SmallVec;

use super::{Client, Phase, PublishError};
use crate::{Delivery, Envelope, Message, Payload, QueueFull, Sent, SessionStats, Time};

impl Client {
    /// Publishes. Returns the message number, and the number of the record with which it is durable (0 without a store).
    /// At QoS 0 both are 0, and the message is finished once it was written: no event follows.
    ///
    /// Without a connection QoS 1 and 2 wait in the queue; QoS 0 is dropped and counted in
    /// [`crate::SessionStats::dropped_offline`], unless [`crate::SessionConfig::is_qos0_queued_offline`]. Limits of
    /// the server that are not known yet are checked when the message is about to be sent. Properties that turn out to
    /// be impossible by then, since the server speaks 3.x only, are left out.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was taken then.
    pub fn publish(
        &mut self,
        publish: Publish,
        payload: Payload,
        now: Time,
    ) -> Result<Sent, PublishError> {
        self.publish_with(publish, payload, Properties::new(), None, now)
    }

    /// [`Client::publish`], and says `release` with the PUBREL at QoS 2 (5.0): reason string and user properties. They
    /// are left out where the PUBREL is sent again on another link, or by another process.
    ///
    /// If the message `replaces` another one that was not sent yet, that one is dropped; not if this one is not taken.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was taken then. Those of all open messages have at most 1 MiB.
    pub fn publish_with(
        &mut self,
        publish: Publish,
        payload: Payload,
        release: Properties,
        replaces: Option<u64>,
        now: Time,
    ) -> Result<Sent, PublishError> {
        if self.phase == Phase::Over {
            return Err(PublishError::Over);
        }
        self.check(&publish, u64::from(payload.len()))?;
        if !release.is_empty() {
            self.check_release(&release)?;
        }
        let (qos, retain) = (publish.qos, publish.retain);
        let delivery = Delivery { qos, retain, subscription_ids: SmallVec::new() };
        let mut envelope = Envelope::new(Message::from_publish(publish, payload, now));
        if let Some(other) = replaces
            && self.session.has_room_in_place_of(other, envelope.message().cost_bytes())
        {
            self.session.supersede(other, &mut self.journal);
        }
        let link = self.link.as_mut().filter(|_| self.phase == Phase::Open);
        let sent = self.session.send(&mut envelope, delivery, link, &mut self.journal, now);
        if let Ok(sent) = &sent
            && qos == QoS::ExactlyOnce
        {
            self.remarks.set_release(sent.number, release);
        }
        self.collect_fates();
        sent.map_err(PublishError::QueueFull)
    }

    fn check_release(&self, release: &Properties) -> Result<(), PublishError> {
        let has_properties = match self.limits() {
            Some(limits) => limits.has_properties,
            None => self.reconnect.version().1,
        };
        for property in release {
            let kind = property.kind();
            if !has_properties || !kind.may_stand_in(PacketType::PubRel) {
                return Err(PublishError::Property(kind.name()));
            }
        }
        if self.remarks.has_room_for(release) {
            return Ok(());
        }
        let SessionStats { queued, flights, bytes, .. } = self.session.stats();
        Err(PublishError::QueueFull(QueueFull { messages: queued + flights, bytes }))
    }

    /// Whether [`Client::publish`] would take a message with so long a payload, as far as is known and but for the room
    /// in the queue: for who asks before the payload is there.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn check(&self, publish: &Publish, payload_len: u64) -> Result<(), PublishError> {
        let Some(topic) = &publish.topic else { return Err(PublishError::Property("no topic")) };
        let limits = self.limits();
        let (version, mut has_properties) = self.reconnect.version();
        let mut packet_size_max = PACKET_SIZE_MAX;
        if let Some(limits) = limits {
            if publish.retain && !limits.has_retain {
                return Err(PublishError::NotOffered("retain"));
            }
            if publish.qos > limits.qos_max {
                let is_two = publish.qos == QoS::ExactlyOnce;
                return Err(PublishError::NotOffered(if is_two { "QoS 2" } else { "QoS 1" }));
            }
            has_properties = limits.has_properties;
            packet_size_max = limits.packet_size_max;
        }
        for property in &publish.properties {
            check_property(property, has_properties)?;
        }
        // Nearly all messages are far from the limit and have nothing that could be wrong.
        let size_max = payload_len.saturating_add(topic.as_bytes().len() as u64 + PLAIN_HEAD_MAX);
        if publish.properties.is_empty() && size_max <= u64::from(packet_size_max) {
            return Ok(());
        }
        let payload_max = payload_max(publish, version, packet_size_max)?;
        match payload_max {
            Some(max) if payload_len <= max => Ok(()),
            Some(_) | None => Err(PublishError::TooLarge {
                topic: topic.clone(),
                payload: payload_len,
                payload_max: payload_max.unwrap_or(0),
            }),
        }
    }
}

fn check_property(property: &Property, has_properties: bool) -> Result<(), PublishError> {
    let kind = property.kind();
    let is_ours =
        !matches!(property, Property::TopicAlias(_) | Property::SubscriptionIdentifier(_));
    if has_properties && is_ours && kind.may_stand_in(PacketType::Publish) {
        Ok(())
    } else {
        Err(PublishError::Property(kind.name()))
    }
}

/// The largest payload that fits with this topic and these properties; `None` if not even an empty one does.
fn payload_max(
    publish: &Publish,
    version: Version,
    packet_size_max: u32,
) -> Result<Option<u64>, PublishError> {
    let mut head = Vec::new();
    let head_len = match encode_publish(publish.head(), 0, version, PACKET_SIZE_MAX, &mut head) {
        Ok(encoded) => u64::from(encoded.head_len),
        Err(EncodeError::NotInVersion(what) | EncodeError::Invalid(what)) => {
            return Err(PublishError::Property(what));
        }
        Err(_) => return Ok(None),
    };
    // What the remaining length counts besides the payload.
    let rest =
        (1..=4).map(|len| head_len - 1 - len).find(|rest| 1 + length_len(*rest) + rest == head_len);
    let limit = u64::from(packet_size_max);
    let remaining_max = (1..=4)
        .filter_map(|len| Some(limit.checked_sub(1 + len)?.min((1 << (7 * len)) - 1)))
        .max()
        .map(|max| max.min(u64::from(REMAINING_LENGTH_MAX)));
    Ok(remaining_max.zip(rest).and_then(|(max, rest)| max.checked_sub(rest)))
}

/// Bytes in which a remaining length is written, 1 to 4.
fn length_len(remaining: u64) -> u64 {
    match remaining {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Bytes of a PUBLISH without properties besides topic and payload, at most, with room for a topic alias: type, length,
/// topic length, packet id, property length, alias.
const PLAIN_HEAD_MAX: u64 = 1 + 4 + 2 + 2 + 1 + 3;
