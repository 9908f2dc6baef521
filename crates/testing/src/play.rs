//! One connection on which a script is played.

use std::io;

use bytes::BytesMut;
use postrider_broker::wire::{
    ConnAck, Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet, PacketType, Properties,
    Version, encode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Script, ScriptError, Step, scripted::Stage};

/// A connection, its decoder, and where what happens is noted.
pub(crate) struct Play {
    connection: usize,
    socket: TcpStream,
    stage: Stage,
    decoder: Decoder,
    input: BytesMut,
    /// Number of the step that is played, from 1.
    step: usize,
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
        Self { connection, socket, stage, decoder, input: BytesMut::new(), step: 0 }
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
                let properties = Properties::new();
                let answer = ConnAck { session_present, reason, properties };
                self.send(&Packet::ConnAck(answer)).await?;
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

    async fn expect(&mut self, wanted: PacketType) -> Result<(), ScriptError> {
        match self.packet(Some(wanted)).await {
            Ok(packet) if packet.packet_type() == wanted => Ok(()),
            Ok(packet) => Err(self.unexpected(wanted.name(), packet.to_string())),
            Err(NoPacket::Closed) => Err(self.unexpected(wanted.name(), "the end".to_owned())),
            Err(NoPacket::Failed(got)) => Err(self.unexpected(wanted.name(), got)),
        }
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
                    let answer = self.send(&Packet::PingResp).await;
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

    async fn send(&mut self, packet: &Packet) -> Result<(), ScriptError> {
        let version = self.decoder.version().unwrap_or(Version::V311);
        let mut bytes = Vec::new();
        encode(packet, version, PACKET_SIZE_MAX, &mut bytes).map_err(|error| {
            let (connection, step) = (self.connection, self.step);
            ScriptError::Packet { connection, step, what: error.to_string() }
        })?;
        self.write(&bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ScriptError> {
        let written = self.socket.write_all(bytes).await;
        written.map_err(|error| self.unexpected("an open connection", error.to_string()))
    }

    fn unexpected(&self, expected: &str, got: String) -> ScriptError {
        let (connection, step) = (self.connection, self.step);
        ScriptError::Unexpected { connection, step, expected: expected.to_owned(), got }
    }
}

/// Whether an error is just another way of closing.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
}
