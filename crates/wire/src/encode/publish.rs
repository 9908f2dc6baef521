//! PUBLISH, the packet that must be fast. Spec: v5 section 3.3.

use alloc::vec::Vec;

use super::{Count, Sink, body, packet_size, var_int, var_int_len};
use crate::{
    EncodeError, PACKET_SIZE_MAX, PacketType, Publish, PublishHead, QoS, Topic, Version,
    packet::Place,
};

/// Where the parts of an encoded PUBLISH head stand, so that one encoding serves many receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Offset of the two packet identifier bytes from the start of the head, if QoS is above 0.
    pub packet_id_at: Option<u32>,
    /// Length of the head in bytes.
    pub head_len: u32,
}

/// Appends the head of a PUBLISH to `out`: everything but the payload, whose length in bytes is
/// given apart.
///
/// In 3.x the properties are left out. With QoS above 0 and no packet id, the two bytes are 0 and
/// the caller fills them in. At QoS 0 `packet_id` and `dup` of `head` are ignored
/// [MQTT-2.2.1-2] [MQTT-3.3.1-2].
///
/// # Errors
/// As [`super::encode`].
pub fn encode_publish(
    head: PublishHead<'_>,
    payload_len: u32,
    version: Version,
    limit: u32,
    out: &mut Vec<u8>,
) -> Result<Encoded, EncodeError> {
    put_head(head, u64::from(payload_len), version, limit, out)
}

/// Checks what [`encode_publish`] leaves to its caller.
pub(super) fn check(publish: &Publish) -> Result<(), EncodeError> {
    match (publish.qos, publish.packet_id) {
        (QoS::AtMostOnce, Some(_)) => Err(EncodeError::Invalid("packet identifier at QoS 0")),
        (QoS::AtMostOnce, None) if publish.dup => Err(EncodeError::Invalid("DUP at QoS 0")),
        (QoS::AtLeastOnce | QoS::ExactlyOnce, None) => {
            Err(EncodeError::Invalid("no packet identifier at QoS 1 or 2"))
        }
        _ => Ok(()),
    }
}

pub(super) fn put_head(
    head: PublishHead<'_>,
    payload_len: u64,
    version: Version,
    limit: u32,
    out: &mut Vec<u8>,
) -> Result<Encoded, EncodeError> {
    let size = size(head, payload_len, version)?;
    let total = packet_size(size.remaining, limit)?;
    let head_len = total - payload_len;
    let topic = head.topic.map_or(&[][..], Topic::as_bytes);
    let has_id = head.qos != QoS::AtMostOnce;

    out.reserve(head_len as usize);
    // First byte, remaining length and topic length in one piece.
    let (bytes, used) = var_int(size.remaining as u32);
    let [high, low] = (topic.len() as u16).to_be_bytes();
    let mut front = [first_byte(head), bytes[0], bytes[1], bytes[2], bytes[3], 0, 0];
    if let Some(len) = front.get_mut(1 + used..3 + used) {
        len.copy_from_slice(&[high, low]);
    }
    out.extend_from_slice(front.get(..3 + used).unwrap_or_default());
    out.extend_from_slice(topic);
    let mut packet_id_at = None;
    if has_id {
        packet_id_at = Some((3 + used + topic.len()) as u32);
        let id = head.packet_id.map_or(0, crate::PacketId::get);
        out.extend_from_slice(&id.to_be_bytes());
    }
    if version.has_properties() {
        out.var_int(size.properties);
        if size.properties > 0 {
            for property in head.properties {
                property.write(out);
            }
        }
    }
    Ok(Encoded { packet_id_at, head_len: head_len as u32 })
}

/// The lengths of a PUBLISH in bytes.
pub(super) struct Size {
    /// Behind the fixed header.
    remaining: u64,
    /// Of the properties without their length.
    properties: u32,
}

impl Size {
    pub(super) fn total(&self) -> Result<u64, EncodeError> {
        packet_size(self.remaining, PACKET_SIZE_MAX)
    }
}

/// Checks topic and properties and counts them.
pub(super) fn size(
    head: PublishHead<'_>,
    payload_len: u64,
    version: Version,
) -> Result<Size, EncodeError> {
    let topic_len = head.topic.map_or(0, |topic| topic.as_bytes().len());
    let id_len = if head.qos == QoS::AtMostOnce { 0 } else { 2 };
    let mut remaining = 2 + topic_len as u64 + id_len + payload_len;
    if !version.has_properties() {
        if topic_len == 0 {
            return Err(EncodeError::NotInVersion("topic alias"));
        }
        return Ok(Size { remaining, properties: 0 });
    }
    let mut properties = 0;
    if !head.properties.is_empty() {
        body::check_properties(head.properties.iter(), Place::Packet(PacketType::Publish))?;
        let mut count = Count::default();
        head.properties.iter().for_each(|property| property.write(&mut count));
        properties = body::section_len(count.0)?;
    }
    if topic_len == 0 && head.properties.topic_alias().is_none() {
        return Err(EncodeError::Invalid("neither topic name nor topic alias"));
    }
    remaining += var_int_len(properties) + u64::from(properties);
    Ok(Size { remaining, properties })
}

/// Type, DUP, QoS and RETAIN.
fn first_byte(head: PublishHead<'_>) -> u8 {
    let dup = u8::from(head.dup && head.qos != QoS::AtMostOnce);
    PacketType::Publish.nibble() << 4 | dup << 3 | head.qos.bits() << 1 | u8::from(head.retain)
}
