//! Why bytes are not a packet, and why a packet cannot be written.

use core::fmt;

use crate::{PacketType, PropertyKind, ReasonCode};

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
    /// A property that must stand here is missing: an Authentication Method.
    MissingProperty(u8),
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

/// Names what is wrong, where, and the statement: `PUBLISH: packet identifier is 0 at byte 5
/// [MQTT-2.2.1-3]`.
impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(packet) = self.packet {
            write!(f, "{packet}: ")?;
        }
        write!(f, "{} at byte {} [{}]", self.fault, self.offset, self.statement)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::ReservedType => "reserved packet type",
            Self::Flags => "wrong flags in the first byte",
            Self::VarInt => "variable byte integer is too long or not in its shortest form",
            Self::Truncated => "field goes past the end of the packet",
            Self::TrailingBytes => "bytes behind the last field",
            Self::Text => "string is not UTF-8 or holds U+0000",
            Self::Topic => "topic name is empty or has a wildcard",
            Self::Filter => "topic filter is not well formed",
            Self::QoS => "QoS 3",
            Self::PacketId => "packet identifier is 0",
            Self::ProtocolName => "unknown protocol name",
            Self::ProtocolLevel => "unknown protocol level",
            Self::ConnectFlags => "connect flags contradict each other or the reserved one is set",
            Self::UnknownProperty(id) => {
                return write!(f, "property 0x{id:02X} may not stand here");
            }
            Self::RepeatedProperty(id) => return write!(f, "property {} stands twice", Name(id)),
            Self::PropertyValue(id) => {
                return write!(f, "property {} has a value that is not allowed", Name(id));
            }
            Self::MissingProperty(id) => return write!(f, "property {} is missing", Name(id)),
            Self::Reason(code) => return write!(f, "reason code 0x{code:02X} may not stand here"),
            Self::Empty => "list is empty",
            Self::ReservedBits => "reserved bits are not 0",
            Self::SharedNoLocal => "no local on a shared subscription",
            Self::TooLarge(size) => return write!(f, "packet of {size} bytes is too large"),
            Self::Unexpected => "packet may not stand here",
        })
    }
}

/// A property identifier, shown as name and number.
struct Name(u8);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PropertyKind::from_byte(self.0) {
            Some(kind) => write!(f, "{kind} (0x{:02X})", self.0),
            None => write!(f, "0x{:02X}", self.0),
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size, limit } => {
                write!(f, "packet of {size} bytes is larger than the limit of {limit}")
            }
            Self::NotInVersion(what) => write!(f, "this version cannot carry {what}"),
            Self::Invalid(what) => write!(f, "not allowed by the standard: {what}"),
        }
    }
}

impl core::error::Error for DecodeError {}
impl core::error::Error for EncodeError {}
