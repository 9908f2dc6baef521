//! The other end of a session's connection, which allocates nothing either once it is connected.

use std::time::Duration;

use postrider::{Builder, Protocol, Stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
};

/// The topic of all messages.
pub(crate) const TOPIC: &str = "bench/plant/7/temp";
/// Bytes on the way in one direction, of which a pipe has room for all at once: many of the buffers that a session reads
/// into.
pub(crate) const BUSY: usize = 1024 * 1024;
/// The same for a connection that is behind.
pub(crate) const NARROW: usize = 1024;
/// The same for a session that exchanges a few small packets.
pub(crate) const IDLE: usize = 64;
/// Messages in one write.
const BATCH: usize = 100;

/// Where the connection of a builder arrives.
pub(crate) type Arrivals = mpsc::UnboundedReceiver<DuplexStream>;

/// The other end.
pub(crate) struct Peer {
    stream: DuplexStream,
    version: Protocol,
    /// As many PUBLISHes as [`BATCH`] says, once their length was set.
    batch: Vec<u8>,
}

/// Leads the connection of a builder here, through a pipe with room for so many bytes.
pub(crate) fn builder<S>(
    builder: Builder<S>,
    version: Protocol,
    pipe: usize,
) -> (Builder<S>, Arrivals) {
    let (sender, arrivals) = mpsc::unbounded_channel();
    // Of a session that is kept, 3.1.1 has to remove an old one by a connection of its own.
    let builder = builder.version(version).session_expiry(Duration::ZERO);
    let builder = builder.keep_alive(Duration::ZERO).connector(move |_| {
        let (ours, theirs) = tokio::io::duplex(pipe);
        let sent = sender.send(theirs);
        async move {
            sent.map_err(std::io::Error::other)?;
            Ok(Stream::new(ours))
        }
    });
    (builder, arrivals)
}

impl Peer {
    /// Takes the connection, and accepts it.
    pub(crate) async fn accept(mut arrivals: Arrivals, version: Protocol) -> Self {
        let stream = arrivals.recv().await.unwrap();
        let mut peer = Self { stream, version, batch: Vec::new() };
        peer.packet().await;
        let connack: &[u8] = if peer.is_v5() { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
        peer.stream.write_all(connack).await.unwrap();
        peer
    }

    /// Grants the next SUBSCRIBE.
    pub(crate) async fn grant(&mut self) {
        let subscribe = self.packet().await;
        let (high, low) = (subscribe[0], subscribe[1]);
        let properties: &[u8] = if self.is_v5() { &[0] } else { &[] };
        let len = u8::try_from(3 + properties.len()).unwrap();
        let suback = [&[0x90, len, high, low], properties, &[0]].concat();
        self.stream.write_all(&suback).await.unwrap();
    }

    /// From now on messages have so many bytes of payload.
    pub(crate) fn set_payload_len(&mut self, len: usize) {
        self.batch = publish(self.version, len).repeat(BATCH);
    }

    /// Sends so many messages, a multiple of [`BATCH`].
    pub(crate) async fn publish(&mut self, count: usize) {
        for _ in 0..count / BATCH {
            self.stream.write_all(&self.batch).await.unwrap();
        }
    }

    /// Reads until the session is gone.
    pub(crate) async fn read_to_end(&mut self) {
        let mut sink = [0; 8192];
        while self.stream.read(&mut sink).await.unwrap() > 0 {}
    }

    /// What follows the fixed header of the next packet, of less than 128 bytes.
    async fn packet(&mut self) -> Vec<u8> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).await.unwrap();
        let mut body = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut body).await.unwrap();
        body
    }

    fn is_v5(&self) -> bool {
        self.version == Protocol::V5
    }
}

/// A PUBLISH at QoS 0 with so many bytes of payload.
fn publish(version: Protocol, payload_len: usize) -> Vec<u8> {
    let properties: &[u8] = if version == Protocol::V5 { &[0] } else { &[] };
    let topic_len = u8::try_from(TOPIC.len()).unwrap();
    let payload = vec![b'x'; payload_len];
    let body = [&[0, topic_len], TOPIC.as_bytes(), properties, &payload].concat();
    let mut packet = vec![0x30];
    let mut left = body.len();
    while left > 127 {
        packet.push(u8::try_from(left % 128).unwrap() | 0x80);
        left /= 128;
    }
    packet.push(u8::try_from(left).unwrap());
    [packet, body].concat()
}
