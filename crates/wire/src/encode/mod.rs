//! From packets to bytes.

mod body;
mod publish;
mod sink;

use alloc::vec::Vec;

use self::sink::{Count, var_int, var_int_len};
use crate::{
    Ack, AckKind, EncodeError, PACKET_SIZE_MAX, Packet, PacketType, REMAINING_LENGTH_MAX,
    ReasonCode, Version,
};

pub use self::publish::{Encoded, encode_publish};
pub(crate) use self::sink::Sink;

/// Appends a whole packet to `out`. `limit` is the receiver's maximum packet size in bytes.
///
/// 3.x has neither properties nor, but for CONNACK and SUBACK, reason codes. Both are left out
/// silently, because the messages of a 5.0 publisher go to 3.x subscribers, with one exception: a
/// CONNECT with properties is refused, because there they are what the user asked for.
///
/// # Errors
/// `out` is as before then.
/// - [`EncodeError::TooLarge`] if the packet is larger than `limit` or than any packet may be.
/// - [`EncodeError::NotInVersion`] in 3.x for AUTH, for a CONNECT or will with properties, for a
///   PUBLISH without a topic name, for subscription options besides the QoS, for a password without
///   a user name, and for a CONNACK whose reason is not among the return codes 0 to 5: the
///   connection is closed without a CONNACK then [MQTT-3.2.2-6].
/// - [`EncodeError::Invalid`] if the packet breaks a rule of the standard, such as a property out
///   of place.
pub fn encode(
    packet: &Packet,
    version: Version,
    limit: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match packet {
        Packet::Publish(publish) => {
            publish::check(publish)?;
            let payload_len = publish.payload.len() as u64;
            publish::put_head(publish.head(), payload_len, version, limit, out)?;
            out.extend_from_slice(&publish.payload);
            Ok(())
        }
        Packet::PubAck(ack) => encode_ack(AckKind::PubAck, ack, packet, version, limit, out),
        Packet::PubRec(ack) => encode_ack(AckKind::PubRec, ack, packet, version, limit, out),
        Packet::PubRel(ack) => encode_ack(AckKind::PubRel, ack, packet, version, limit, out),
        Packet::PubComp(ack) => encode_ack(AckKind::PubComp, ack, packet, version, limit, out),
        Packet::Connect(_)
        | Packet::ConnAck(_)
        | Packet::Subscribe(_)
        | Packet::SubAck(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Disconnect(_)
        | Packet::Auth(_) => encode_any(packet, version, limit, out),
    }
}

/// The size in bytes that [`encode`] would append.
///
/// # Errors
/// As [`encode`], with the largest packet of the standard as the limit.
pub fn encoded_len(packet: &Packet, version: Version) -> Result<u64, EncodeError> {
    let remaining = match packet {
        Packet::Publish(publish) => {
            publish::check(publish)?;
            let payload_len = publish.payload.len() as u64;
            return publish::size(publish.head(), payload_len, version)?.total();
        }
        Packet::Connect(_)
        | Packet::ConnAck(_)
        | Packet::PubAck(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::Subscribe(_)
        | Packet::SubAck(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Disconnect(_)
        | Packet::Auth(_) => body_len(packet, version)?,
    };
    packet_size(remaining, PACKET_SIZE_MAX)
}

/// The short acknowledgement goes the short way; the others take the general one.
fn encode_ack(
    kind: AckKind,
    ack: &Ack,
    packet: &Packet,
    version: Version,
    limit: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let is_short = ack.reason == ReasonCode::Success && ack.properties.is_empty();
    if (is_short || !version.has_properties()) && limit >= 4 {
        let [high, low] = ack.packet_id.get().to_be_bytes();
        out.extend_from_slice(&[first_byte(kind.packet_type()), 2, high, low]);
        return Ok(());
    }
    encode_any(packet, version, limit, out)
}

/// Counts the body, checks the size, writes header and body.
fn encode_any(
    packet: &Packet,
    version: Version,
    limit: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let remaining = body_len(packet, version)?;
    let size = packet_size(remaining, limit)?;
    out.reserve(size as usize);
    let start = out.len();
    out.byte(first_byte(packet.packet_type()));
    out.var_int(remaining as u32);
    let written = body::write(packet, version, out);
    debug_assert!(written.is_err() || (out.len() - start) as u64 == size, "counted otherwise");
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn body_len(packet: &Packet, version: Version) -> Result<u64, EncodeError> {
    let mut count = Count::default();
    body::write(packet, version, &mut count)?;
    Ok(count.0)
}

/// The size of the whole packet, checked against what the receiver and the standard allow.
fn packet_size(remaining: u64, limit: u32) -> Result<u64, EncodeError> {
    if remaining > u64::from(REMAINING_LENGTH_MAX) {
        return Err(EncodeError::TooLarge {
            size: remaining + 5,
            limit: limit.min(PACKET_SIZE_MAX),
        });
    }
    let size = 1 + var_int_len(remaining as u32) + remaining;
    if size > u64::from(limit) {
        return Err(EncodeError::TooLarge { size, limit });
    }
    Ok(size)
}

/// Type and flags of every packet but PUBLISH.
const fn first_byte(packet: PacketType) -> u8 {
    packet.nibble() << 4 | packet.flags()
}
