//! One raw MQTT connection: packets out, packets in, nothing remembered.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use postrider_net::{Address, Dial, DialError, Stream, dial_with};
use postrider_wire::{
    ClientId, ConnAck, Connect, DecodeError, Decoder, DecoderConfig, EncodeError, Event,
    PACKET_SIZE_MAX, Packet, Properties, Property, Text, TextError, Version, encode,
};
use tokio::io::{AsyncReadExt, AsyncWrite};

/// Why a run could not be made or finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke.
    #[error("{who}: the connection failed: {source}")]
    Io {
        /// Client id.
        who: String,
        /// What the system said.
        source: io::Error,
    },
    /// The broker closed the connection.
    #[error("{0}: the broker closed the connection")]
    Closed(String),
    /// The broker sent something that is no MQTT.
    #[error("{who}: {source}")]
    Decode {
        /// Client id.
        who: String,
        /// What is wrong.
        source: DecodeError,
    },
    /// A packet cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A name is no string of the standard.
    #[error("'{name}' cannot be sent: {source:?}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong.
        source: TextError,
    },
    /// The broker answered something else than was asked for.
    #[error("{who}: the broker answered {answer}")]
    Answer {
        /// Client id.
        who: String,
        /// Its answer.
        answer: String,
    },
    /// A number of the plan is out of range.
    #[error("{0}")]
    Plan(String),
    /// The process to be measured cannot be read.
    #[error("process {pid} cannot be measured: {source}")]
    Process {
        /// Its number.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
}

/// What the broker keeps when the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Nothing.
    Nothing,
    /// The session, for a while.
    Session,
}

/// One connection after its handshake.
pub(crate) struct Peer {
    pub(crate) who: String,
    pub(crate) version: Version,
    /// Packets to write; `flushed` bytes of it are written already.
    pub(crate) output: Vec<u8>,
    flushed: usize,
    stream: Stream,
    decoder: Decoder,
    input: BytesMut,
}

impl Peer {
    /// Connects and returns the CONNACK too.
    pub(crate) async fn open(
        address: &Address,
        how: &Dial,
        version: Version,
        who: String,
        keeping: Keeping,
    ) -> Result<(Self, ConnAck), BenchError> {
        let how = Dial { timeout: Duration::from_secs(10), ..how.clone() };
        let stream = dial_with(&address.endpoint, &how).await?;
        let config = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: u32::MAX,
            is_topic_lenient: true,
        };
        let mut peer = Self {
            version,
            output: Vec::new(),
            flushed: 0,
            stream,
            decoder: Decoder::new(config, Some(version)),
            input: BytesMut::with_capacity(READ_BYTES),
            who,
        };
        let text = |name: &str| {
            Text::new(name).map_err(|source| BenchError::Name { name: name.to_owned(), source })
        };
        let credentials = &address.credentials;
        let connect = Connect {
            version,
            clean_start: keeping == Keeping::Nothing,
            keep_alive: 0,
            client_id: ClientId::from_text(text(&peer.who)?),
            user_name: credentials.user.as_deref().map(text).transpose()?,
            password: credentials.password.clone().map(Bytes::from),
            will: None,
            properties: match (version, keeping) {
                (Version::V5, Keeping::Session) => {
                    [Property::SessionExpiryInterval(SESSION_EXPIRY_S)].into_iter().collect()
                }
                (Version::V5 | Version::V311 | Version::V31, _) => Properties::new(),
            },
        };
        let answer = peer.ask(&Packet::Connect(Box::new(connect))).await?;
        if let Packet::ConnAck(connack) = &answer
            && !connack.reason.is_error()
        {
            return Ok((peer, connack.clone()));
        }
        Err(peer.surprised(&answer))
    }

    /// Sends one packet and waits for the next one that arrives.
    pub(crate) async fn ask(&mut self, packet: &Packet) -> Result<Packet, BenchError> {
        self.put(packet)?;
        poll_fn(|context| {
            loop {
                if self.poll_flush(context)?.is_pending() {
                    return Poll::Pending;
                }
                if let Some(packet) = self.next()? {
                    return Poll::Ready(Ok(packet));
                }
                ready!(self.poll_fill(context))?;
            }
        })
        .await
    }

    /// Appends a packet to the output.
    pub(crate) fn put(&mut self, packet: &Packet) -> Result<(), BenchError> {
        Ok(encode(packet, self.version, PACKET_SIZE_MAX, &mut self.output)?)
    }

    /// The next whole packet that has arrived.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, BenchError> {
        let found = self.decoder.decode(&mut self.input);
        match found.map_err(|source| BenchError::Decode { who: self.who.clone(), source })? {
            None => Ok(None),
            Some(Event::Packet(packet)) => Ok(Some(packet)),
            Some(Event::PublishStart(..) | Event::PublishChunk { .. }) => {
                unreachable!("streaming is off")
            }
        }
    }

    /// Reads once; ready when bytes have come.
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BenchError>> {
        self.input.reserve(READ_BYTES / 2);
        let polled = pin!(self.stream.read_buf(&mut self.input)).poll(context);
        match ready!(polled) {
            Ok(0) => Poll::Ready(Err(BenchError::Closed(self.who.clone()))),
            Ok(_) => Poll::Ready(Ok(())),
            Err(source) => Poll::Ready(Err(BenchError::Io { who: self.who.clone(), source })),
        }
    }

    /// Writes all that is in the output.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BenchError>> {
        while let Some(rest) = self.output.get(self.flushed..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest)) {
                Ok(written) => self.flushed += written,
                Err(source) => {
                    return Poll::Ready(Err(BenchError::Io { who: self.who.clone(), source }));
                }
            }
        }
        self.output.clear();
        self.flushed = 0;
        Poll::Ready(Ok(()))
    }

    /// An error that shows an unexpected answer.
    pub(crate) fn surprised(&self, answer: &Packet) -> BenchError {
        BenchError::Answer { who: self.who.clone(), answer: answer.to_string() }
    }
}

/// Seconds for which a session that is kept outlives its connection (5.0); a run may be cut short.
const SESSION_EXPIRY_S: u32 = 3600;
/// Most bytes read at once.
const READ_BYTES: usize = 128 * 1024;
