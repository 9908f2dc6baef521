//! MQTT packets on bytes.
//!
//! This crate turns bytes into control packets and back, for MQTT 3.1, 3.1.1 and 5.0, without I/O, clocks or allocation
//! beyond what a packet itself needs. There is one packet model; 3.1.1 is 5.0 with empty properties.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod decode;
mod encode;
mod error;
mod line;
mod name;
mod packet;
mod property;
mod reason;
mod scalar;
mod statement;

pub use bytes::Bytes;

pub use crate::decode::{Decoder, DecoderConfig, Event};
pub use crate::encode::{Encoded, encode, encode_publish, encoded_len};
pub use crate::error::{DecodeError, EncodeError, Fault};
pub use crate::name::{ClientId, Filter, FilterError, Share, Text, TextError, Topic, TopicError};
pub use crate::packet::{
    Ack, AckKind, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, Publish, RetainHandling,
    SubAck, Subscribe, SubscribeFilter, SubscribeOptions, UnsubAck, Unsubscribe, Will,
};
pub use crate::property::{Properties, Property, PropertyKind};
pub use crate::reason::ReasonCode;
pub use crate::scalar::{PACKET_SIZE_MAX, PacketId, QoS, REMAINING_LENGTH_MAX, Version};
