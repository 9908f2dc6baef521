//! From bytes to packets, incrementally.

use bytes::{Bytes, BytesMut};

use crate::{DecodeError, Packet, Publish, Version};

/// What a decoder accepts.
#[derive(Clone, Copy, Debug)]
pub struct DecoderConfig {
    /// Largest whole packet in bytes, checked as soon as the fixed header is there. At most `PACKET_SIZE_MAX`.
    pub packet_size_max: u32,
    /// A PUBLISH whose payload is longer than this many bytes comes in chunks.
    pub stream_above: u32,
    /// Lets `+` and `#` in received topic names pass (clients of RabbitMQ need it).
    pub is_topic_lenient: bool,
}

/// What a decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole packet.
    Packet(Packet),
    /// A PUBLISH whose payload of this many bytes follows in chunks.
    PublishStart(Publish, u32),
    /// The next bytes of the payload that was started; `is_last` ends it.
    PublishChunk {
        /// Bytes of the payload, at least one.
        bytes: Bytes,
        /// Whether the payload is complete.
        is_last: bool,
    },
}

/// An incremental decoder for one direction of one connection.
///
/// The version is learned from CONNECT (server side) or given (client side).
#[derive(Clone, Debug)]
pub struct Decoder {
    config: DecoderConfig,
    version: Option<Version>,
}

impl Decoder {
    /// A decoder; `version` is `None` on a server until CONNECT tells it.
    #[must_use]
    pub fn new(config: DecoderConfig, version: Option<Version>) -> Self {
        Self { config, version }
    }

    /// Takes the next event from the front of `input`, or `Ok(None)` if more bytes are needed.
    ///
    /// Bytes of the event are split off `input` and shared, not copied. Any split of the same bytes into calls gives the
    /// same packets (chunks of a streamed payload may be cut elsewhere). After an error the decoder must not be used again.
    ///
    /// # Errors
    /// [`DecodeError`] names the offset, the fault, the statement and the reason code.
    pub fn decode(&mut self, _input: &mut BytesMut) -> Result<Option<Event>, DecodeError> {
        let _ = (self.config.packet_size_max, self.version);
        todo!()
    }

    /// The version in use, once known.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Fixes the version (a client after it chose one).
    pub fn set_version(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// Changes the limits, for instance after authentication.
    pub fn set_config(&mut self, config: DecoderConfig) {
        self.config = config;
    }
}
