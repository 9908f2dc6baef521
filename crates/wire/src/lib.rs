//! MQTT packets on bytes.
//!
//! This crate turns bytes into control packets and back, for MQTT 3.1, 3.1.1 and 5.0. There is one
//! packet model; 3.1.1 is 5.0 with empty properties. It does no I/O, reads no clock, and allocates
//! nothing but what a packet that has arrived needs: announced lengths are never trusted. It is
//! `no_std` with `alloc`.
//!
//! It knows what a single packet may look like, and nothing of what came before: which end may send
//! it, whether an answer was asked for, how many are in flight, what a topic alias stands for. That
//! is `postrider-proto`.
//!
//! ```text
//!              Decoder                                  encode, encode_publish
//!  BytesMut --fixed header--> size and flags    Packet --count, check--> size and rules
//!           --whole packet--> Packet                   --write---------> Vec<u8>
//!           --large PUBLISH-> head, then chunks        (head only: the payload is shared)
//! ```
//!
//! In reading order:
//! - [`Version`], [`QoS`], [`PacketId`]: the small values.
//! - [`Text`], [`Topic`], [`Filter`], [`ClientId`]: strings that cannot hold a wrong value, and
//!   [`Filter::matches`].
//! - [`Packet`] and the structures in it; [`ReasonCode`]. A packet shows itself in one line,
//!   without payload and password.
//! - [`Property`] and [`Properties`]: one table says where each may stand, and drives decoder,
//!   encoder and tests.
//! - [`Decoder`]: bytes in, [`Event`]s out. A [`DecodeError`] tells offset, fault, broken statement
//!   and reason code.
//! - [`encode()`], and [`encode_publish`] for one head that serves many receivers.
//!
//! ```
//! use bytes::BytesMut;
//! use postrider_wire::{Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Version, encode};
//!
//! let config = DecoderConfig {
//!     packet_size_max: PACKET_SIZE_MAX,
//!     stream_above: 1 << 20,
//!     is_topic_lenient: false,
//! };
//! let mut decoder = Decoder::new(config, Some(Version::V311));
//! let mut input = BytesMut::from(&b"\x30\x07\x00\x03a/bhi\x40\x02\x00"[..]);
//!
//! let Some(Event::Packet(packet)) = decoder.decode(&mut input)? else { panic!("it is there") };
//! assert_eq!(packet.to_string(), "PUBLISH \"a/b\" qos=0 2B");
//! assert_eq!(decoder.decode(&mut input)?, None, "the PUBACK behind it is not all there");
//!
//! let mut out = Vec::new();
//! encode(&packet, Version::V5, PACKET_SIZE_MAX, &mut out)?;
//! assert_eq!(out, b"\x30\x08\x00\x03a/b\x00hi");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
    Ack, AckKind, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, Publish, PublishHead,
    RetainHandling, SubAck, Subscribe, SubscribeFilter, SubscribeOptions, UnsubAck, Unsubscribe,
    Will,
};
pub use crate::property::{Properties, Property, PropertyKind};
pub use crate::reason::ReasonCode;
pub use crate::scalar::{PACKET_SIZE_MAX, PacketId, QoS, REMAINING_LENGTH_MAX, Version};
