//! Reads along on a pipe.

use postrider_proto::wire::{Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet, Version};

use bytes::BytesMut;

use crate::Violation;

/// Decodes the bytes of one direction of one connection.
#[derive(Debug)]
pub(crate) struct Eye {
    decoder: Decoder,
    input: BytesMut,
}

impl Eye {
    /// `version` is what the server's side speaks; `None` for the client's, whose CONNECT says it.
    pub(crate) fn new(version: Option<Version>) -> Self {
        let config = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: u32::MAX,
            is_topic_lenient: false,
        };
        Self { decoder: Decoder::new(config, version), input: BytesMut::new() }
    }

    /// The packets that these bytes complete.
    ///
    /// # Errors
    /// If they are no packets.
    pub(crate) fn see(&mut self, bytes: &[u8]) -> Result<Vec<Packet>, Violation> {
        self.input.extend_from_slice(bytes);
        let mut packets = Vec::new();
        loop {
            match self.decoder.decode(&mut self.input) {
                Ok(Some(Event::Packet(packet))) => packets.push(packet),
                Ok(Some(Event::PublishStart(..) | Event::PublishChunk { .. }) | None) => {
                    return Ok(packets);
                }
                Err(error) => {
                    let what = format!("bytes that are no packet: {error}");
                    return Err(Violation { statement: "MQTT-2.1.3-1", what });
                }
            }
        }
    }
}
