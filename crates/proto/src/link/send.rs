//! What goes to the peer.

use alloc::vec::Vec;

use postrider_wire::{
    Ack, AckKind, Disconnect, EncodeError, Encoded, Packet, PacketId, Properties, Property,
    PublishHead, QoS, ReasonCode, Version, encode, encode_publish,
};

use super::{Link, Role, State, alias::Alias, held::Tally};
use crate::{
    Delivery, Envelope, Gate, Message, Payload, Time,
    message::{Class, Kept, Slot},
    outbox::INLINE_BYTES_MAX,
};

static NO_PROPERTIES: Properties = Properties::new();

/// One PUBLISH to be written.
#[derive(Clone, Copy)]
struct Copy<'a> {
    delivery: &'a Delivery,
    packet_id: Option<PacketId>,
    is_dup: bool,
    alias: Alias,
}

impl Link {
    /// Writes a message of this batch, from an encoding made for another receiver if there is one.
    pub(super) fn write_envelope(
        &mut self,
        envelope: &mut Envelope,
        delivery: &Delivery,
        packet_id: Option<PacketId>,
        now: Time,
    ) -> bool {
        let alias = self.choose_alias(envelope.message());
        let copy = Copy { delivery, packet_id, is_dup: false, alias };
        self.write_shared(envelope, copy, now)
            || self.write_unaliased(envelope.message(), copy, now)
    }

    fn write_shared(&mut self, envelope: &mut Envelope, copy: Copy<'_>, now: Time) -> bool {
        let message = envelope.message();
        let has_properties = self.has_properties();
        let is_alone = matches!(copy.alias, Alias::New(_))
            || (has_properties && !copy.delivery.subscription_ids.is_empty());
        if is_alone {
            return self.write_copy(message, copy, now).is_some();
        }
        let class = Class {
            has_properties,
            has_packet_id: copy.packet_id.is_some(),
            is_aliased: copy.alias != Alias::None,
        };
        let slot = envelope.encoded.get(class.index());
        if let Some(Slot::Kept(kept)) = slot {
            return self.write_kept(kept, message, copy);
        }
        let is_wanted_again = matches!(slot, Some(Slot::Once));
        let Some(encoded) = self.write_copy(message, copy, now) else { return false };
        let slot = match is_wanted_again {
            true => Slot::Kept(self.keep(encoded, message).into()),
            false => Slot::Once,
        };
        if let Some(place) = envelope.encoded.get_mut(class.index()) {
            *place = slot;
        }
        true
    }

    /// Writes one copy of a message; false if it is too large for the peer.
    pub(super) fn write_message(
        &mut self,
        message: &Message,
        delivery: &Delivery,
        packet_id: Option<PacketId>,
        is_dup: bool,
        now: Time,
    ) -> bool {
        let alias = self.choose_alias(message);
        let copy = Copy { delivery, packet_id, is_dup, alias };
        self.write_copy(message, copy, now).is_some() || self.write_unaliased(message, copy, now)
    }

    /// Writes a copy that is too large with its alias: the alias takes bytes that a message of the largest size does
    /// not leave.
    fn write_unaliased(&mut self, message: &Message, copy: Copy<'_>, now: Time) -> bool {
        if copy.alias == Alias::None {
            return false;
        }
        self.write_copy(message, Copy { alias: Alias::None, ..copy }, now).is_some()
    }

    pub(super) fn write_ack(&mut self, kind: AckKind, ack: Ack, gate: Gate) {
        if self.state != State::Open {
            return;
        }
        let tally = self.window.acknowledge(kind, &ack);
        let packet = kind.packet(ack);
        // One that does not fit even bare can never be sent; its exchange stays open as long as the link.
        let _ = self.write_gated(&packet, gate, tally);
    }

    pub(super) fn write_gated_packet(
        &mut self,
        packet: &Packet,
        gate: Gate,
    ) -> Result<(), EncodeError> {
        let is_allowed = match packet {
            Packet::Auth(_) => self.state != State::Over,
            Packet::Subscribe(_) | Packet::Unsubscribe(_) => self.role == Role::Client,
            Packet::SubAck(_) | Packet::UnsubAck(_) => self.role == Role::Server,
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::Publish(_)
            | Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_) => false,
        };
        if !is_allowed {
            return Err(EncodeError::Invalid(
                "a packet that the link sends by other means, or not",
            ));
        }
        if self.state == State::Over {
            return Ok(());
        }
        self.write_gated(packet, gate, Tally::default())
    }

    /// Writes a packet that never waits and always fits.
    pub(super) fn write_now(&mut self, packet: &Packet) {
        let Some(version) = self.version() else { return };
        let written = encode(packet, version, self.packet_size_max(), self.outbox.buffer_mut());
        if written.is_ok() {
            self.pulse.sent();
        }
    }

    /// Writes DISCONNECT if role, version and state have one.
    pub(super) fn write_disconnect(&mut self, mut disconnect: Disconnect) {
        let Some(version) = self.version() else { return };
        let may_speak = match (self.role, self.state) {
            (Role::Client, State::AwaitConnAck | State::Open) => {
                version.has_properties() || disconnect.reason == ReasonCode::Success
            }
            // Not before its CONNACK. Spec: v5 [MQTT-3.14.0-1].
            (Role::Server, State::Open) => version.has_properties() && !self.outbox.is_held(),
            (Role::Client | Role::Server, _) => false,
        };
        if !may_speak {
            return;
        }
        if self.role == Role::Server || self.asked.session_expiry_s == 0 {
            let is_expiry = |p: &Property| matches!(p, Property::SessionExpiryInterval(_));
            disconnect.properties.retain(|property| !is_expiry(property));
        }
        let limit = self.packet_size_max();
        let packet = Packet::Disconnect(disconnect);
        let written = encode_fitting(&packet, version, limit, self.outbox.buffer_mut());
        if let (Err(EncodeError::Invalid(_)), Packet::Disconnect(mut disconnect)) =
            (written, packet)
        {
            // A code that has no place in DISCONNECT.
            disconnect.reason = ReasonCode::UnspecifiedError;
            let packet = Packet::Disconnect(disconnect);
            let _ = encode_fitting(&packet, version, limit, self.outbox.buffer_mut());
        }
    }

    fn write_gated(
        &mut self,
        packet: &Packet,
        gate: Gate,
        tally: Tally,
    ) -> Result<(), EncodeError> {
        let Some(version) = self.version() else {
            return Err(EncodeError::Invalid("nothing may be sent before the version is known"));
        };
        let limit = self.packet_size_max();
        // Spec: v5 [MQTT-3.1.2-29].
        let is_bare = self.role == Role::Server && !self.asked.has_problem_information;
        let bare = if is_bare { without_texts(packet) } else { None };
        let packet = bare.as_ref().unwrap_or(packet);
        if self.held.must_wait(gate) {
            let out = self.held.buffer_mut();
            let start = out.len();
            encode_fitting(packet, version, limit, out)?;
            let len = out.len() - start;
            self.held.push(gate, len, tally);
        } else {
            encode_fitting(packet, version, limit, self.outbox.buffer_mut())?;
            self.window.written(tally);
            self.pulse.sent();
        }
        Ok(())
    }

    fn choose_alias(&mut self, message: &Message) -> Alias {
        let alias_max = self.limits.as_ref().map_or(0, |limits| limits.topic_alias_max);
        match &message.head.topic {
            Some(topic) if alias_max > 0 => self.aliases_out.choose(topic, alias_max),
            Some(_) | None => Alias::None,
        }
    }

    /// Encodes a copy of its own into the outbox; `None` if it is too large for the peer, or cannot be written at all.
    fn write_copy(&mut self, message: &Message, copy: Copy<'_>, now: Time) -> Option<Written> {
        debug_assert_eq!(copy.packet_id.is_some(), copy.delivery.qos != QoS::AtMostOnce);
        let Some(version) = self.version().filter(|_| self.state == State::Open) else {
            return Some(Written::NOTHING);
        };
        let topic = match copy.alias {
            Alias::Known(_) => None,
            Alias::None | Alias::New(_) => message.head.topic.as_ref(),
        };
        let limit = self.packet_size_max();
        let properties = if version.has_properties() {
            properties_of(message, copy, now, &mut self.scratch)
        } else {
            &NO_PROPERTIES
        };
        let head = PublishHead {
            dup: copy.is_dup,
            qos: copy.delivery.qos,
            retain: copy.delivery.retain,
            topic,
            packet_id: copy.packet_id,
            properties,
        };
        let out = self.outbox.buffer_mut();
        let start = out.len();
        let encoded = encode_publish(head, message.payload.len(), version, limit, out);
        if !self.scratch.is_empty() {
            self.scratch.retain(|_| false);
        }
        let encoded = encoded.ok()?;
        if let (Alias::New(alias), Some(topic)) = (copy.alias, &message.head.topic) {
            self.aliases_out.set(topic, alias);
        }
        self.push_payload(&message.payload);
        self.pulse.sent();
        Some(Written { start, encoded })
    }

    /// Copies an encoding and puts in what differs: first byte, packet identifier, alias.
    fn write_kept(&mut self, kept: &Kept, message: &Message, copy: Copy<'_>) -> bool {
        if self.state != State::Open {
            return true;
        }
        let head_len = kept.encoded.head_len as usize;
        let size = head_len as u64 + u64::from(message.payload.len());
        if size > u64::from(self.packet_size_max()) {
            return false;
        }
        let out = self.outbox.buffer_mut();
        let start = out.len();
        out.extend_from_slice(&kept.bytes);
        if let Some(first) = out.get_mut(start) {
            // Type and DUP (never set here) stay; QoS and RETAIN are of this delivery.
            *first = *first & 0xf0 | copy.delivery.qos.bits() << 1 | u8::from(copy.delivery.retain);
        }
        if let (Some(at), Some(id)) = (kept.encoded.packet_id_at, copy.packet_id) {
            patch(out, start + at as usize, id.get());
        }
        if let Alias::Known(alias) = copy.alias {
            // The alias is the last property, and properties end the head.
            patch(out, start + head_len - 2, alias);
        }
        if kept.bytes.len() == head_len {
            self.push_payload(&message.payload);
        }
        self.pulse.sent();
        true
    }

    /// A copy of what was just written: the head, and the payload if it is in the buffer too.
    fn keep(&self, written: Written, message: &Message) -> Kept {
        let inline_len = match &message.payload {
            Payload::Bytes(bytes) if bytes.len() <= INLINE_BYTES_MAX => bytes.len(),
            Payload::Bytes(_) | Payload::Spooled { .. } => 0,
        };
        let len = written.encoded.head_len as usize + inline_len;
        let bytes = self.outbox.inline(written.start, len).to_vec();
        Kept { bytes, encoded: written.encoded }
    }

    fn push_payload(&mut self, payload: &Payload) {
        match payload {
            Payload::Bytes(bytes) => self.outbox.push_bytes(bytes),
            Payload::Spooled { id, len } => self.outbox.push_spool(id, *len),
        }
    }
}

/// Where a PUBLISH stands in the outbox's buffer.
#[derive(Clone, Copy)]
struct Written {
    start: usize,
    encoded: Encoded,
}

impl Written {
    const NOTHING: Self = Self { start: 0, encoded: Encoded { packet_id_at: None, head_len: 0 } };
}

/// The properties of one copy: those of the message, with what is left of its expiry, then subscription identifiers,
/// then the alias. If they are those of the message as they stand, nothing is copied.
fn properties_of<'a>(
    message: &'a Message,
    copy: Copy<'_>,
    now: Time,
    scratch: &'a mut Properties,
) -> &'a Properties {
    let properties = &message.head.properties;
    let subscription_ids = &copy.delivery.subscription_ids;
    let expiry = message.expiry_at(now);
    if expiry.is_none() && subscription_ids.is_empty() && copy.alias == Alias::None {
        return properties;
    }
    let is_expiry = |p: &Property| matches!(p, Property::MessageExpiryInterval(_));
    for property in properties.iter().filter(|property| !is_expiry(property)) {
        scratch.push(property.clone());
    }
    if let Some(seconds) = expiry {
        scratch.push(Property::MessageExpiryInterval(seconds));
    }
    for id in subscription_ids {
        scratch.push(Property::SubscriptionIdentifier(*id));
    }
    match copy.alias {
        Alias::None => {}
        Alias::New(alias) | Alias::Known(alias) => scratch.push(Property::TopicAlias(alias)),
    }
    scratch
}

/// Encodes a packet; if it is too large, without its reason string, and then without its user properties.
///
/// Spec: v5 [MQTT-3.2.2-19], [MQTT-3.4.2-2] and the like for each packet.
pub(super) fn encode_fitting(
    packet: &Packet,
    version: Version,
    limit: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let too_large = match encode(packet, version, limit, out) {
        Err(error @ EncodeError::TooLarge { .. }) => error,
        written => return written,
    };
    // Requests have user properties that mean something to the receiver.
    if matches!(packet, Packet::Subscribe(_) | Packet::Unsubscribe(_)) {
        return Err(too_large);
    }
    let mut packet = packet.clone();
    let drops: [fn(&Property) -> bool; 2] = [
        |property| matches!(property, Property::ReasonString(_)),
        |property| matches!(property, Property::UserProperty(..)),
    ];
    let mut result = Err(too_large);
    for drop in drops {
        if let Some(properties) = answer_properties(&mut packet) {
            properties.retain(|property| !drop(property));
            result = encode(&packet, version, limit, out);
        }
        if result.is_ok() {
            break;
        }
    }
    result
}

/// The packet without reason string and user properties; `None` if it has none, or may keep them.
fn without_texts(packet: &Packet) -> Option<Packet> {
    let is_text =
        |p: &Property| matches!(p, Property::ReasonString(_) | Property::UserProperty(..));
    let mut bare = packet.clone();
    let properties = answer_properties(&mut bare)?;
    if !properties.iter().any(is_text) {
        return None;
    }
    properties.retain(|property| !is_text(property));
    Some(bare)
}

/// The properties of a packet that may have a reason string.
fn answer_properties(packet: &mut Packet) -> Option<&mut Properties> {
    match packet {
        Packet::ConnAck(packet) => Some(&mut packet.properties),
        Packet::PubAck(packet)
        | Packet::PubRec(packet)
        | Packet::PubRel(packet)
        | Packet::PubComp(packet) => Some(&mut packet.properties),
        Packet::SubAck(packet) => Some(&mut packet.properties),
        Packet::UnsubAck(packet) => Some(&mut packet.properties),
        Packet::Disconnect(packet) => Some(&mut packet.properties),
        Packet::Auth(packet) => Some(&mut packet.properties),
        Packet::Connect(_)
        | Packet::Publish(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::PingReq
        | Packet::PingResp => None,
    }
}

/// Overwrites two bytes.
fn patch(out: &mut [u8], at: usize, value: u16) {
    if let Some(bytes) = out.get_mut(at..at + 2) {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}
