//! Why bytes are not a packet, and why a packet cannot be written.

use core::fmt;

use crate::{PacketType, ReasonCode};

/// The bytes are not a packet that may stand here. The connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Offset of the fault in bytes from the first byte of the packet.
    pub offset: u32,
    /// Packet type, if the first byte told it.
    pub packet: Option<PacketType>,
    /// What is wrong.
    pub fault: Fault,
    /// Statement that was broken, such as `MQTT-3.3.1-4`.
    pub statement: &'static str,
    /// Reason code to answer with where the version has one.
    pub reason: ReasonCode,
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Type 0, or 15 before 5.0.
    ReservedType,
    /// Reserved bits of the first byte are wrong.
    Flags,
    /// A variable byte integer has a fifth byte, or is not in the shortest form.
    VarInt,
    /// A field goes past the end of the packet.
    Truncated,
    /// Bytes are left after the last field.
    TrailingBytes,
    /// A string is not valid UTF-8, or holds U+0000.
    Text,
    /// A topic name is empty or has a wildcard.
    Topic,
    /// A topic filter is not well formed.
    Filter,
    /// QoS 3.
    QoS,
    /// A packet identifier is 0.
    PacketId,
    /// The protocol name is unknown.
    ProtocolName,
    /// The protocol level is unknown.
    ProtocolLevel,
    /// The connect flags contradict each other or the reserved bit is set.
    ConnectFlags,
    /// A property identifier is unknown or may not stand in this packet.
    UnknownProperty(u32),
    /// A property that may stand once stands twice.
    RepeatedProperty(u8),
    /// A property has a value that is not allowed.
    PropertyValue(u8),
    /// A reason code that this packet may not have.
    Reason(u8),
    /// SUBSCRIBE or UNSUBSCRIBE without a filter, or SUBACK without a code.
    Empty,
    /// Reserved bits of a byte inside the packet are not 0.
    ReservedBits,
    /// No Local on a shared subscription.
    SharedNoLocal,
    /// The packet is larger than the maximum packet size, in bytes.
    TooLarge(u32),
    /// A packet that this peer may not send, or not now.
    Unexpected,
}

/// A packet cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The packet would be larger than the limit; both in bytes.
    TooLarge {
        /// Size of the whole packet.
        size: u64,
        /// Largest size allowed.
        limit: u32,
    },
    /// The packet has a field that this version cannot carry, named here.
    NotInVersion(&'static str),
    /// The packet breaks a rule of the standard, named here.
    Invalid(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

impl core::error::Error for DecodeError {}
impl core::error::Error for EncodeError {}
