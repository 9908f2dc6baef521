//! One connection on which a script is played.

use std::io;

use bytes::BytesMut;
use postrider_broker::wire::{
    Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet, PacketId, PacketType, Version, encode,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use crate::{Script, ScriptError, Step, answer::connack, scripted::Stage};

/// A connection, its decoder, and where what happens is noted.
pub(crate) struct Play {
    connection: usize,
    socket: TcpStream,
    stage: Stage,
    decoder: Decoder,
    input: BytesMut,
    /// Number of the step that is played, from 1.
    step: usize,
    /// Packet identifiers given to messages.
    ids: u16,
}

/// Why no packet came.
enum NoPacket {
    Closed,
    Failed(String),
}

impl Play {
    pub(crate) fn new(connection: usize, socket: TcpStream, stage: Stage) -> Self {
        let config = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: u32::MAX,
            is_topic_lenient: true,
        };
        let decoder = Decoder::new(config, None);
        Self { connection, socket, stage, decoder, input: BytesMut::new(), step: 0, ids: 0 }
    }

    /// Plays; notes what comes, and the first difference from the script.
    pub(crate) async fn run(mut self, script: Script) {
        for step in script.steps {
            self.step += 1;
            match self.play(step).await {
                Ok(true) => {}
                Ok(false) => return self.stage.finished(),
                Err(error) => return self.stage.fail(error),
            }
        }
        self.stage.finished();
        // What comes after the script is noted too; how it ends does not matter any more.
        while self.packet(None).await.is_ok() {}
    }

    /// Plays one step; false if it ended the connection.
    async fn play(&mut self, step: Step) -> Result<bool, ScriptError> {
        match step {
            Step::Answer { reason, session_present } => {
                self.expect(PacketType::Connect).await?;
                self.send(&connack(reason, session_present)).await?;
            }
            Step::Grant => self.answer_subscribe(None).await?,
            Step::RefuseSubscribe(reason) => self.answer_subscribe(Some(reason)).await?,
            Step::Release => self.answer_unsubscribe().await?,
            Step::AnswerPublish(reason) => self.answer_publish(reason).await?,
            Step::Deliver(publish) => self.deliver(publish).await?,
            Step::Serve => {
                self.serve().await?;
                return Ok(false);
            }
            Step::Delay(time) => sleep(time).await,
            Step::Cut => {
                self.cut();
                return Ok(false);
            }
            Step::CutAfter(bytes) => {
                self.swallow(bytes).await?;
                self.cut();
                return Ok(false);
            }
            Step::Expect(wanted) => self.expect(wanted).await?,
            Step::Packet(packet) => self.send(&packet).await?,
            Step::Bytes(bytes) => self.write(&bytes).await?,
            Step::Wait(name) => {
                let stage = self.stage.clone();
                stage.released(&name).await;
            }
            Step::Close => {
                // The client sees the end, whether this succeeds or not.
                let _ = self.socket.shutdown().await;
                return Ok(false);
            }
            Step::Closed => loop {
                match self.packet(None).await {
                    Ok(_) => {}
                    Err(NoPacket::Closed) => return Ok(false),
                    Err(NoPacket::Failed(got)) => return Err(self.unexpected("the end", got)),
                }
            },
        }
        Ok(true)
    }

    pub(crate) async fn expect(&mut self, wanted: PacketType) -> Result<(), ScriptError> {
        self.expected(wanted).await.map(drop)
    }

    /// The next packet, which must be of this type.
    pub(crate) async fn expected(&mut self, wanted: PacketType) -> Result<Packet, ScriptError> {
        match self.packet(Some(wanted)).await {
            Ok(packet) if packet.packet_type() == wanted => Ok(packet),
            Ok(packet) => Err(self.unexpected(wanted.name(), packet.to_string())),
            Err(NoPacket::Closed) => Err(self.unexpected(wanted.name(), "the end".to_owned())),
            Err(NoPacket::Failed(got)) => Err(self.unexpected(wanted.name(), got)),
        }
    }

    /// The next packet; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Result<Option<Packet>, ScriptError> {
        match self.packet(None).await {
            Ok(packet) => Ok(Some(packet)),
            Err(NoPacket::Closed) => Ok(None),
            Err(NoPacket::Failed(got)) => Err(self.unexpected("a packet", got)),
        }
    }

    /// A packet identifier for a message, from 1.
    pub(crate) fn next_id(&mut self) -> PacketId {
        loop {
            self.ids = self.ids.wrapping_add(1);
            if let Some(id) = PacketId::new(self.ids) {
                return id;
            }
        }
    }

    /// Ends the connection as a broken network does: the other side hears of a reset, not of an end.
    fn cut(&self) {
        // Where the system does not have it, the connection just ends.
        let _ = SockRef::from(&self.socket).set_linger(Some(std::time::Duration::ZERO));
    }

    /// Reads so many bytes more, whatever they are.
    async fn swallow(&mut self, bytes: u64) -> Result<(), ScriptError> {
        let mut left = bytes.saturating_sub(self.input.len() as u64);
        while left > 0 {
            let mut piece = [0; 4096];
            let len = usize::try_from(left).unwrap_or(piece.len()).min(piece.len());
            let read = match piece.get_mut(..len) {
                Some(piece) => self.socket.read(piece).await,
                None => Ok(0),
            };
            match read {
                Ok(count @ 1..) => left -= count as u64,
                Ok(0) | Err(_) => {
                    let expected = format!("{left} bytes more");
                    return Err(self.unexpected(&expected, "the end".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// The next packet; PINGREQ is answered and passed over unless it is wanted.
    async fn packet(&mut self, wanted: Option<PacketType>) -> Result<Packet, NoPacket> {
        loop {
            match self.decoder.decode(&mut self.input) {
                Ok(Some(Event::Packet(packet))) => {
                    self.stage.note(self.connection, packet.clone());
                    let is_ping = packet == Packet::PingReq;
                    if !is_ping || wanted == Some(PacketType::PingReq) {
                        return Ok(packet);
                    }
                    let answer = self.answer(&Packet::PingResp).await;
                    answer.map_err(|error| NoPacket::Failed(error.to_string()))?;
                }
                // Not offered by this decoder, whose payloads come whole.
                Ok(Some(Event::PublishStart(..) | Event::PublishChunk { .. })) => {}
                Ok(None) => match self.socket.read_buf(&mut self.input).await {
                    Ok(0) => return Err(NoPacket::Closed),
                    Ok(_) => {}
                    Err(error) if is_end(&error) => return Err(NoPacket::Closed),
                    Err(error) => return Err(NoPacket::Failed(error.to_string())),
                },
                Err(error) => return Err(NoPacket::Failed(error.to_string())),
            }
        }
    }

    /// Sends a packet.
    pub(crate) async fn send(&mut self, packet: &Packet) -> Result<(), ScriptError> {
        let bytes = self.encoded(packet)?;
        self.write(&bytes).await
    }

    /// Sends a packet to a client that need not be there any more; what it sent before it went is still read.
    pub(crate) async fn answer(&mut self, packet: &Packet) -> Result<(), ScriptError> {
        let bytes = self.encoded(packet)?;
        match self.socket.write_all(&bytes).await {
            Err(error) if !is_end(&error) => Err(self.unwritten(&error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn encoded(&self, packet: &Packet) -> Result<Vec<u8>, ScriptError> {
        let version = self.decoder.version().unwrap_or(Version::V311);
        let mut bytes = Vec::new();
        encode(packet, version, PACKET_SIZE_MAX, &mut bytes).map_err(|error| {
            let (connection, step) = (self.connection, self.step);
            ScriptError::Packet { connection, step, what: error.to_string() }
        })?;
        Ok(bytes)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ScriptError> {
        let written = self.socket.write_all(bytes).await;
        written.map_err(|error| self.unwritten(&error))
    }

    fn unwritten(&self, error: &io::Error) -> ScriptError {
        self.unexpected("an open connection", error.to_string())
    }

    pub(crate) fn unexpected(&self, expected: &str, got: String) -> ScriptError {
        let (connection, step) = (self.connection, self.step);
        ScriptError::Unexpected { connection, step, expected: expected.to_owned(), got }
    }
}

/// Whether an error is just another way of closing.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
