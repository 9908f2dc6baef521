//! From bytes to packets, incrementally.

mod body;
mod connect;
mod reader;

use bytes::{Buf, Bytes, BytesMut};

use self::reader::{VarInt, len_u32};
use crate::{
    DecodeError, Fault, Packet, PacketType, Publish, QoS, ReasonCode, Version,
    statement::{self, Statement},
};

pub(crate) use self::reader::Reader;

/// What a decoder accepts.
#[derive(Clone, Copy, Debug)]
pub struct DecoderConfig {
    /// Largest whole packet in bytes, checked as soon as the fixed header is there. At most
    /// `PACKET_SIZE_MAX`.
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
/// The version is learned from CONNECT (server side) or given (client side). On the server side
/// every packet before the first CONNECT is a fault [MQTT-3.1.0-1]; a second CONNECT is decoded
/// like any packet, and the link refuses it.
///
/// ```text
/// Start --fixed header--> Header --all bytes--> Packet, Start
///                           `--PUBLISH head, payload above stream_above--> PublishStart, Payload
/// Payload --bytes--> PublishChunk, Payload; with the last byte Start
/// any --fault--> Failed
/// ```
///
/// It holds no bytes: what is not decoded stays in the caller's `input`, and nothing is allocated
/// for announced lengths.
#[derive(Clone, Debug)]
pub struct Decoder {
    config: DecoderConfig,
    version: Option<Version>,
    /// Whether this end is the server: it was made without a version.
    is_server: bool,
    connect_level: Option<u8>,
    /// Whether the CONNECT had the bridge bit, see [`Decoder::decode`].
    is_bridge: bool,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    /// A fixed header that passed all checks stands at the front of the input; its packet is not
    /// all there.
    Header(Header),
    /// So many bytes of a streamed payload are still to come, at least one.
    Payload(u32),
    Failed(DecodeError),
}

/// A fixed header.
#[derive(Clone, Copy, Debug)]
struct Header {
    packet: PacketType,
    /// The four low bits of the first byte.
    flags: u8,
    /// Bytes of the fixed header, 2 to 5.
    len: u32,
    /// Bytes behind it.
    remaining: u32,
    /// Whether the remaining length is not in the shortest form, which matters once the version is
    /// known.
    is_padded: bool,
}

impl Decoder {
    /// A decoder; `version` is `None` on a server until CONNECT tells it.
    #[must_use]
    pub fn new(config: DecoderConfig, version: Option<Version>) -> Self {
        let is_server = version.is_none();
        Self {
            config,
            version,
            is_server,
            connect_level: None,
            is_bridge: false,
            state: State::Start,
        }
    }

    /// Takes the next event from the front of `input`, or `Ok(None)` if more bytes are needed.
    ///
    /// Bytes of the event are split off `input` and shared, not copied. Any split of the same bytes
    /// into calls gives the same packets (chunks of a streamed payload may be cut elsewhere). After
    /// an error the decoder is of no more use: it gives the same error again.
    ///
    /// Bridges of Mosquitto say so by bit 7 of the protocol level. They rely on it that the server
    /// does not send them their own messages back, and leaves the retain flag as it is: what 5.0
    /// asks for by options of a subscription. Theirs, but for shared ones, are decoded with these.
    ///
    /// # Errors
    /// [`DecodeError`] names the offset, the fault, the statement and the reason code.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Event>, DecodeError> {
        let result = match self.state {
            State::Start => match self.fixed_header(input) {
                Ok(Some(header)) => self.packet(header, input),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            },
            State::Header(header) => self.packet(header, input),
            State::Payload(left) => Ok(self.payload(left, input)),
            State::Failed(error) => Err(error),
        };
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    /// Fixes the version (a client after it chose one).
    pub fn set_version(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// Changes the limits, for instance after authentication.
    pub fn set_config(&mut self, config: DecoderConfig) {
        self.config = config;
    }

    /// The version in use, once known. It is known too when the rest of a CONNECT is malformed.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// The protocol level byte of the CONNECT, without the bridge bit, also when this crate does
    /// not know it: it tells which form of CONNACK such a client can read.
    #[must_use]
    pub fn connect_level(&self) -> Option<u8> {
        self.connect_level
    }

    /// Reads and checks the fixed header as far as it is there; the first byte at once.
    fn fixed_header(&self, input: &[u8]) -> Result<Option<Header>, DecodeError> {
        let Some((&first, rest)) = input.split_first() else { return Ok(None) };
        let (packet, flags) = self.first_byte(first)?;
        let (remaining, used, is_padded) = match VarInt::read(rest) {
            VarInt::Value { value, used, is_padded } => (value, used, is_padded),
            VarInt::Incomplete => return Ok(None),
            VarInt::TooLong => return Err(self.var_int_fault(packet, 1)),
        };
        // Before CONNECT has told the version, the body check comes back to this.
        if is_padded && self.version == Some(Version::V5) {
            return Err(self.var_int_fault(packet, 1));
        }
        let len = 1 + len_u32(used);
        let size = len + remaining;
        if size > self.config.packet_size_max {
            let rule = if self.is_server { statement::SERVER_SIZE } else { statement::CLIENT_SIZE };
            let fault = Fault::TooLarge(size);
            return Err(self.fault(1, packet, fault, rule, ReasonCode::PacketTooLarge));
        }
        Ok(Some(Header { packet, flags, len, remaining, is_padded }))
    }

    /// Checks type and flags. Spec: v5 sections 2.1.2 and 2.1.3.
    fn first_byte(&self, first: u8) -> Result<(PacketType, u8), DecodeError> {
        let flags = first & 0x0f;
        let packet = PacketType::from_nibble(first >> 4);
        let Some(packet) = packet.filter(|&packet| self.has_type(packet)) else {
            let statement = self.statement(statement::GENERAL);
            let (fault, reason) = (Fault::ReservedType, ReasonCode::MalformedPacket);
            return Err(DecodeError { offset: 0, packet: None, fault, statement, reason });
        };
        if self.version.is_none() && packet != PacketType::Connect {
            let reason = ReasonCode::ProtocolError;
            return Err(self.fault(0, packet, Fault::Unexpected, statement::FIRST, reason));
        }
        let malformed =
            |fault, rule| Err(self.fault(0, packet, fault, rule, ReasonCode::MalformedPacket));
        if packet == PacketType::Publish {
            if QoS::from_bits(flags >> 1 & 3).is_none() {
                return malformed(Fault::QoS, statement::QOS);
            }
            // Older clients set DUP at QoS 0; in 3.x it is ignored, 5.0 says malformed.
            let is_dup_qos_0 = flags & 0b1110 == 0b1000;
            if is_dup_qos_0 && self.version == Some(Version::V5) {
                return malformed(Fault::Flags, statement::DUP);
            }
        } else if flags != packet.flags() && !self.is_old_dup(packet, flags) {
            return malformed(Fault::Flags, Statement::flags(packet));
        }
        Ok((packet, flags))
    }

    /// AUTH came with 5.0. Before the version is known it is out of place rather than reserved.
    fn has_type(&self, packet: PacketType) -> bool {
        packet != PacketType::Auth || !matches!(self.version, Some(Version::V31 | Version::V311))
    }

    /// In 3.1 PUBREL, SUBSCRIBE and UNSUBSCRIBE are QoS 1 packets, and a repeated one has DUP set.
    fn is_old_dup(&self, packet: PacketType, flags: u8) -> bool {
        self.version == Some(Version::V31) && packet.flags() == 0b0010 && flags == 0b1010
    }

    /// Takes the packet of `header` off the input if it is all there, or a PUBLISH head whose
    /// payload is streamed.
    fn packet(
        &mut self,
        header: Header,
        input: &mut BytesMut,
    ) -> Result<Option<Event>, DecodeError> {
        if header.packet == PacketType::Publish && header.remaining > self.config.stream_above {
            // Which PUBLISH is streamed must not depend on how much of it is there.
            let Some(head) = self.head_len(header, input)? else {
                self.state = State::Header(header);
                return Ok(None);
            };
            let payload = header.remaining - head;
            if payload > self.config.stream_above {
                return self.publish_start(header, head, input);
            }
        }
        let size = (header.len + header.remaining) as usize;
        if input.len() < size {
            self.state = State::Header(header);
            return Ok(None);
        }
        self.state = State::Start;
        let packet = if let Some(packet) = self.tiny(header, input)? {
            input.advance(size);
            packet
        } else {
            let reader = self.reader(header, size, input);
            self.body(header, reader)?
        };
        Ok(Some(Event::Packet(packet)))
    }

    fn publish_start(
        &mut self,
        header: Header,
        head: u32,
        input: &mut BytesMut,
    ) -> Result<Option<Event>, DecodeError> {
        let size = (header.len + head) as usize;
        if input.len() < size {
            self.state = State::Header(header);
            return Ok(None);
        }
        let reader = self.reader(header, size, input);
        let publish = self.publish(header, reader)?;
        let payload = header.remaining - head;
        self.state = State::Payload(payload);
        Ok(Some(Event::PublishStart(publish, payload)))
    }

    fn payload(&mut self, left: u32, input: &mut BytesMut) -> Option<Event> {
        if input.is_empty() {
            return None;
        }
        let len = input.len().min(left as usize);
        let bytes = input.split_to(len).freeze();
        let left = left - len_u32(len);
        self.state = if left == 0 { State::Start } else { State::Payload(left) };
        Some(Event::PublishChunk { bytes, is_last: left == 0 })
    }

    /// Splits `size` bytes off the input and skips the fixed header.
    fn reader(&self, header: Header, size: usize, input: &mut BytesMut) -> Reader {
        let mut frame = input.split_to(size).freeze();
        frame.advance(header.len as usize);
        Reader::new(frame, header.len, header.packet, self.statement_version())
    }

    /// The length of a PUBLISH head behind its fixed header, `None` if too little of it is there to
    /// tell.
    fn head_len(&self, header: Header, input: &[u8]) -> Result<Option<u32>, DecodeError> {
        let truncated = |at: u32| {
            let at = header.len + at;
            let reason = ReasonCode::MalformedPacket;
            Err(self.fault(at, header.packet, Fault::Truncated, statement::GENERAL, reason))
        };
        let body = input.get(header.len as usize..).unwrap_or_default();
        let body = body.get(..header.remaining as usize).unwrap_or(body);
        if header.remaining < 2 {
            return truncated(0);
        }
        let Some(&topic_len) = body.first_chunk::<2>() else { return Ok(None) };
        let topic_end = 2 + u32::from(u16::from_be_bytes(topic_len));
        if topic_end > header.remaining {
            return truncated(0);
        }
        let id_len = if header.qos() == QoS::AtMostOnce { 0 } else { 2 };
        let id_end = topic_end + id_len;
        if id_end > header.remaining {
            return truncated(topic_end);
        }
        if !self.statement_version().has_properties() {
            return Ok(Some(id_end));
        }
        let Some(rest) = body.get(id_end as usize..) else { return Ok(None) };
        let is_all = len_u32(body.len()) == header.remaining;
        match VarInt::read(rest) {
            VarInt::Incomplete if is_all => truncated(id_end),
            VarInt::Incomplete => Ok(None),
            VarInt::Value { value, used, is_padded: false } => {
                let end = id_end + len_u32(used) + value;
                if end > header.remaining { truncated(id_end) } else { Ok(Some(end)) }
            }
            VarInt::Value { .. } | VarInt::TooLong => {
                Err(self.var_int_fault(header.packet, header.len + id_end))
            }
        }
    }

    #[cold]
    fn var_int_fault(&self, packet: PacketType, at: u32) -> DecodeError {
        self.fault(at, packet, Fault::VarInt, statement::VAR_INT, ReasonCode::MalformedPacket)
    }

    #[cold]
    fn fault(
        &self,
        offset: u32,
        packet: PacketType,
        fault: Fault,
        rule: Statement,
        reason: ReasonCode,
    ) -> DecodeError {
        DecodeError { offset, packet: Some(packet), fault, statement: self.statement(rule), reason }
    }

    fn statement(&self, rule: Statement) -> &'static str {
        rule.id(self.statement_version())
    }

    /// Before the version is known, faults cite 5.0.
    fn statement_version(&self) -> Version {
        self.version.unwrap_or(Version::V5)
    }
}

impl Header {
    /// The QoS bits of a PUBLISH, which were checked with the first byte.
    fn qos(self) -> QoS {
        QoS::from_bits(self.flags >> 1 & 3).unwrap_or_default()
    }
}
