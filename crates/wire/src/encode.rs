//! From packets to bytes.

use alloc::vec::Vec;

use crate::{EncodeError, Packet, Properties, Publish, Version};

/// Where the parts of an encoded PUBLISH head stand, so that one encoding serves many receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Offset of the two packet identifier bytes from the start of the head, if QoS is above 0.
    pub packet_id_at: Option<u32>,
    /// Length of the head in bytes.
    pub head_len: u32,
}

/// Appends a whole packet to `out`.
///
/// # Errors
/// [`EncodeError`]; `out` is as before then. `limit` is the receiver's maximum packet size in bytes.
pub fn encode(
    _packet: &Packet,
    _version: Version,
    _limit: u32,
    _out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    todo!()
}

/// Appends the head of a PUBLISH to `out`: everything but the payload, whose length is given apart.
///
/// `extra` are properties that go out besides those of `publish` (topic alias, subscription identifiers).
/// `publish.payload` is ignored. With QoS above 0 and no packet id, the two bytes are 0 and the caller fills them in.
///
/// # Errors
/// As [`encode`].
pub fn encode_publish(
    _publish: &Publish,
    _extra: &Properties,
    _payload_len: u32,
    _version: Version,
    _limit: u32,
    _out: &mut Vec<u8>,
) -> Result<Encoded, EncodeError> {
    todo!()
}

/// The size in bytes that [`encode`] would append.
///
/// # Errors
/// As [`encode`].
pub fn encoded_len(_packet: &Packet, _version: Version) -> Result<u64, EncodeError> {
    todo!()
}
