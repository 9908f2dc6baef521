//! The packets of one direction of a connection, with the bytes that they came as.

use std::{
    io::{self, Read},
    net::TcpStream,
    sync::{Arc, OnceLock},
};

use bytes::BytesMut;
use postrider_wire::{Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet, Version};

use crate::flight::End;

/// What the CONNECT said; the other direction is read by it.
pub(crate) type Spoken = Arc<OnceLock<Version>>;

/// Reads one direction. The connection may be read by nobody else.
pub(crate) struct Frames {
    writer: End,
    spoken: Spoken,
    decoder: Option<Decoder>,
    // The same bytes twice: what the decoder has not taken, and what is to be passed on as it came.
    input: BytesMut,
    raw: BytesMut,
    buffer: Vec<u8>,
}

impl Frames {
    pub(crate) fn new(writer: End, spoken: Spoken) -> Self {
        Self {
            writer,
            spoken,
            decoder: None,
            input: BytesMut::new(),
            raw: BytesMut::new(),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// The next packet; `None` at the end of the connection.
    pub(crate) fn next(&mut self, mut from: &TcpStream) -> io::Result<Option<(Packet, BytesMut)>> {
        loop {
            if let Some(decoder) = &mut self.decoder {
                let event = decoder.decode(&mut self.input);
                let event = event.map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
                })?;
                if let Some(Event::Packet(packet)) = event {
                    if let Packet::Connect(connect) = &packet {
                        // A second CONNECT is the client's fault, and of the same version.
                        let _ = self.spoken.set(connect.version);
                    }
                    let frame = self.raw.split_to(self.raw.len() - self.input.len());
                    return Ok(Some((packet, frame)));
                }
            }
            let count = from.read(&mut self.buffer)?;
            let Some(read) = self.buffer.get(..count).filter(|read| !read.is_empty()) else {
                return Ok(None);
            };
            self.input.extend_from_slice(read);
            self.raw.extend_from_slice(read);
            // A broker speaks second: by then the version is known.
            let known = if self.writer == End::Client { None } else { self.spoken.get().copied() };
            self.decoder.get_or_insert_with(|| Decoder::new(CONFIG, known));
        }
    }
}

const CONFIG: DecoderConfig = DecoderConfig {
    packet_size_max: PACKET_SIZE_MAX,
    stream_above: u32::MAX,
    is_topic_lenient: true,
};
const READ_BYTES: usize = 64 * 1024;
