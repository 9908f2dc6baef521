//! Facts as keys and values; the layout is in the module above.

use alloc::vec::Vec;

use postrider_wire::{
    PACKET_SIZE_MAX, Publish, PublishHead, QoS, SubscribeOptions, Version, encode_publish,
};

use crate::{
    Delivery, Fact, FlightState, Message, Payload, Record, Stamp, Time,
    record::{FORMAT, kind},
};

impl Record {
    /// The owner in a key of a store; `None` if the bytes are no key.
    #[must_use]
    pub fn owner_of(key: &[u8]) -> Option<u64> {
        key.first_chunk().map(|owner| u64::from_be_bytes(*owner))
    }

    /// The key of the [`Fact::Session`] of this owner.
    #[must_use]
    pub fn session_key(owner: u64) -> Vec<u8> {
        let mut key = owner.to_be_bytes().to_vec();
        key.push(kind::SESSION);
        key
    }

    /// What stands in the order of keys behind all keys of this owner, and before those of the next.
    #[must_use]
    pub fn behind(owner: u64) -> Vec<u8> {
        owner.saturating_add(1).to_be_bytes().to_vec()
    }

    /// The key under which the fact is stored: owner, kind, and what tells it apart. A delete has the key of its put,
    /// and removes every key that begins with it.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(24);
        self.put_key(&mut key);
        key
    }

    /// The value to store, or `None` to delete the key. First byte is the format version.
    #[must_use]
    pub fn value(&self) -> Option<Vec<u8>> {
        let mut value = Vec::with_capacity(64);
        self.put_value(&mut value).then_some(value)
    }

    /// Appends [`Record::key`].
    pub fn put_key(&self, key: &mut Vec<u8>) {
        key.extend(self.owner.to_be_bytes());
        match &self.fact {
            Fact::Session { .. } => key.push(kind::SESSION),
            Fact::SessionGone => {}
            Fact::Queued { number, .. } | Fact::Finished { number } => {
                key.push(kind::MESSAGE);
                key.extend(number.to_be_bytes());
            }
            Fact::Flight { number, .. } | Fact::Requeued { number } => {
                key.push(kind::MESSAGE);
                key.extend(number.to_be_bytes());
                key.push(kind::FLIGHT);
            }
            Fact::Numbers { .. } => key.push(kind::NUMBERS),
            Fact::Arrived { packet_id, .. } | Fact::ArrivedGone(packet_id) => {
                key.push(kind::ARRIVED);
                key.extend(packet_id.get().to_be_bytes());
            }
            Fact::Own { key: own, .. } | Fact::OwnGone(own) => {
                key.push(kind::OWN);
                put_text(key, own);
            }
            Fact::Received(id) | Fact::ReceivedFirst(id) | Fact::Released(id) => {
                key.push(kind::RECEIVED);
                key.extend(id.get().to_be_bytes());
            }
            Fact::Taken { packet_id, hub, .. } => {
                key.push(kind::RECEIVED);
                key.extend(packet_id.get().to_be_bytes());
                key.push(kind::TAKEN);
                key.extend(hub.to_be_bytes());
            }
            Fact::TakenByGroup { packet_id, filter, .. } => {
                key.push(kind::RECEIVED);
                key.extend(packet_id.get().to_be_bytes());
                key.push(kind::GROUP);
                put_text(key, filter.as_bytes());
            }
            Fact::Subscription { filter, .. } | Fact::SubscriptionGone(filter) => {
                key.push(kind::SUBSCRIPTION);
                put_text(key, filter.as_bytes());
            }
            Fact::Retained { message, .. } => {
                key.push(kind::RETAINED);
                put_text(key, topic_bytes(&message.head));
            }
            Fact::RetainedGone(topic) => {
                key.push(kind::RETAINED);
                put_text(key, topic.as_bytes());
            }
            Fact::Will { .. } | Fact::WillGone => key.push(kind::WILL),
        }
    }

    /// Whether a put is the first under its key: the store holds nothing there, and nothing under keys that begin with
    /// it. A received id says so itself: what hubs know of its message stands under its key, and may come before it.
    #[must_use]
    pub fn is_first(&self) -> bool {
        matches!(self.fact, Fact::Queued { .. } | Fact::ReceivedFirst(_))
    }

    /// Appends [`Record::value`]; false, and nothing, where there is none.
    pub fn put_value(&self, value: &mut Vec<u8>) -> bool {
        let from = value.len();
        value.push(FORMAT);
        match &self.fact {
            Fact::SessionGone
            | Fact::Finished { .. }
            | Fact::Requeued { .. }
            | Fact::ArrivedGone(_)
            | Fact::OwnGone(_)
            | Fact::Released(_)
            | Fact::SubscriptionGone(_)
            | Fact::RetainedGone(_)
            | Fact::WillGone => {
                value.truncate(from);
                return false;
            }
            Fact::Session { client_id, expiry_s, detached } => {
                put_text(value, client_id.as_bytes());
                value.extend(expiry_s.to_be_bytes());
                put_time(value, *detached);
            }
            Fact::Queued { message, delivery, .. } => {
                put_delivery(value, delivery);
                put_message(value, message);
            }
            Fact::Flight { packet_id, state, .. } => {
                value.extend(packet_id.get().to_be_bytes());
                value.push(match state {
                    FlightState::AwaitAck => 0,
                    FlightState::AwaitRec => 1,
                    FlightState::AwaitComp => 2,
                    FlightState::GivenUp => 3,
                });
            }
            Fact::Numbers { reserved } => value.extend(reserved.to_be_bytes()),
            Fact::Arrived { qos, number, digest, is_acknowledged, .. } => {
                value.push(flags(*qos, *is_acknowledged));
                value.extend(number.to_be_bytes());
                value.extend(digest.to_be_bytes());
            }
            Fact::Own { value: own, .. } => {
                value.extend(u32::try_from(own.len()).unwrap_or(u32::MAX).to_be_bytes());
                value.extend_from_slice(own);
            }
            Fact::Received(_) | Fact::ReceivedFirst(_) => {}
            Fact::TakenByGroup { session, .. } => value.extend(session.to_be_bytes()),
            Fact::Taken { stamp, until, sessions, .. } => {
                put_taken(value, *stamp, *until, sessions);
            }
            Fact::Subscription { options, identifier, .. } => {
                value.push(options_byte(*options));
                value.extend(identifier.unwrap_or(0).to_be_bytes());
            }
            Fact::Retained { message, stamp } => {
                put_stamp(value, *stamp);
                put_message(value, message);
            }
            Fact::Will { publish, delay_s, due } => {
                value.push(flags(publish.qos, publish.retain));
                value.extend(delay_s.to_be_bytes());
                put_time(value, *due);
                put_head(value, publish);
                put_payload(value, &publish.payload);
            }
        }
        true
    }
}

/// The key with which those of all messages of an owner begin.
pub(crate) fn messages_key(owner: u64) -> Vec<u8> {
    let mut key = owner.to_be_bytes().to_vec();
    key.push(kind::MESSAGE);
    key
}

fn put_delivery(value: &mut Vec<u8>, delivery: &Delivery) {
    value.push(flags(delivery.qos, delivery.retain));
    // One message matches as many filters as a session may have; far fewer than this.
    let ids = delivery.subscription_ids.get(..usize::from(u16::MAX));
    let ids = ids.unwrap_or(&delivery.subscription_ids);
    value.extend(u16::try_from(ids.len()).unwrap_or(u16::MAX).to_be_bytes());
    for id in ids {
        value.extend(id.to_be_bytes());
    }
}

fn put_message(value: &mut Vec<u8>, message: &Message) {
    value.push(flags(message.head.qos, message.head.retain));
    value.extend(message.arrived.0.to_be_bytes());
    put_time(value, message.expires);
    put_head(value, &message.head);
    match &message.payload {
        Payload::Bytes(bytes) => put_payload(value, bytes),
        Payload::Spooled { id, len } => {
            value.push(1);
            value.extend(id.number().to_be_bytes());
            value.extend(len.to_be_bytes());
        }
    }
}

fn put_payload(value: &mut Vec<u8>, bytes: &[u8]) {
    value.push(0);
    value.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    value.extend_from_slice(bytes);
}

/// Topic and properties, in the form in which a packet has them.
fn put_head(value: &mut Vec<u8>, publish: &Publish) {
    let plain = PublishHead {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        packet_id: None,
        ..publish.head()
    };
    let length_at = value.len();
    value.extend([0; 4]);
    let from = value.len();
    // What was once decoded, or checked at publish, can be encoded again; a head that cannot is stored empty, and
    // reading it back says so.
    if encode_publish(plain, 0, Version::V5, PACKET_SIZE_MAX, value).is_err() {
        value.truncate(from);
    }
    let len = u32::try_from(value.len() - from).unwrap_or(0);
    if let Some(place) = value.get_mut(length_at..from) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text);
}

fn put_time(value: &mut Vec<u8>, time: Option<Time>) {
    match time {
        None => value.push(0),
        Some(time) => {
            value.push(1);
            value.extend(time.0.to_be_bytes());
        }
    }
}

fn put_taken(value: &mut Vec<u8>, stamp: Option<Stamp>, until: u64, sessions: &[u64]) {
    value.push(u8::from(stamp.is_some()));
    if let Some(stamp) = stamp {
        put_stamp(value, stamp);
    }
    value.extend(until.to_be_bytes());
    value.extend(u32::try_from(sessions.len()).unwrap_or(u32::MAX).to_be_bytes());
    value.extend(sessions.iter().flat_map(|owner| owner.to_be_bytes()));
}

fn put_stamp(value: &mut Vec<u8>, (time, hub, counter): Stamp) {
    value.extend(time.to_be_bytes());
    value.extend(hub.to_be_bytes());
    value.extend(counter.to_be_bytes());
}

fn flags(qos: QoS, retain: bool) -> u8 {
    qos.bits() | u8::from(retain) << 2
}

fn options_byte(options: SubscribeOptions) -> u8 {
    options.qos.bits()
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | options.retain_handling.bits() << 4
}

fn topic_bytes(publish: &Publish) -> &[u8] {
    publish.topic.as_ref().map_or(&[], |topic| topic.as_bytes())
}
