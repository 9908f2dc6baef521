//! The other end of a session's connections, played by the test.

use std::time::Duration;

use bytes::BytesMut;
use postrider::{
    Builder, Bytes, Properties, Property, Protocol, QoS, ReasonCode, Session, Stream, Topic,
    Version,
};
use postrider_proto::wire::{
    Ack, AckKind, Auth, ConnAck, Connect, Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet,
    PacketId, Publish, SubAck, Subscribe, UnsubAck, Unsubscribe, encode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    sync::mpsc,
    time::timeout,
};

/// Longest wait for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes on the way in one direction.
const PIPE: usize = 1024;

/// Where connections arrive.
pub(crate) struct Desk(mpsc::UnboundedReceiver<DuplexStream>);

/// The other end of one connection.
pub(crate) struct Peer {
    reader: ReadHalf<DuplexStream>,
    writer: WriteHalf<DuplexStream>,
    decoder: Decoder,
    input: BytesMut,
}

/// A builder for 5.0 whose connections arrive at a desk.
pub(crate) fn builder() -> (Builder, Desk) {
    at_desk(Session::builder("mqtt://peer", "me").version(Protocol::V5).keep_alive(Duration::ZERO))
}

/// Leads the connections of a builder to a desk.
pub(crate) fn at_desk<S>(builder: Builder<S>) -> (Builder<S>, Desk) {
    at_desk_with(builder, Stream::new)
}

/// The same with something between the session and its connections.
pub(crate) fn at_desk_with<S>(
    builder: Builder<S>,
    layer: impl Fn(DuplexStream) -> Stream + Copy + Send + Sync + 'static,
) -> (Builder<S>, Desk) {
    let (sender, arrivals) = mpsc::unbounded_channel();
    let builder = builder.backoff(Duration::ZERO, Duration::from_millis(1)).connector(move |_| {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let sent = sender.send(theirs);
        async move {
            // A test that has ended refuses connections.
            sent.map_err(std::io::Error::other)?;
            Ok(layer(ours))
        }
    });
    (builder, Desk(arrivals))
}

/// A connected session and its peer.
pub(crate) async fn connected() -> (Session, Peer, Desk) {
    let (builder, desk) = builder();
    connect(builder, desk, ConnAck::default_success()).await
}

pub(crate) async fn connect(
    builder: Builder,
    mut desk: Desk,
    connack: ConnAck,
) -> (Session, Peer, Desk) {
    let (session, peer) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        peer.connect().await;
        peer.send(Packet::ConnAck(connack)).await;
        peer
    });
    (session.expect("accepted"), peer, desk)
}

/// A CONNACK of success.
pub(crate) trait Success {
    fn default_success() -> Self;
    fn with(self, property: Property) -> Self;
    fn resumed(self) -> Self;
}

impl Success for ConnAck {
    fn default_success() -> Self {
        let (reason, properties) = (ReasonCode::Success, Properties::new());
        Self { session_present: false, reason, properties }
    }

    fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    fn resumed(self) -> Self {
        Self { session_present: true, ..self }
    }
}

/// Waits for a condition, turn by turn.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it comes true in time");
}

impl Desk {
    /// The next connection.
    pub(crate) async fn next(&mut self) -> Peer {
        self.try_next().await.expect("a session")
    }

    /// The next connection; `None` if there is no session any more that could make one.
    pub(crate) async fn try_next(&mut self) -> Option<Peer> {
        let stream = timeout(PATIENCE, self.0.recv()).await.expect("a connection in time")?;
        let (reader, writer) = tokio::io::split(stream);
        let config = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: u32::MAX,
            is_topic_lenient: false,
        };
        Some(Peer { reader, writer, decoder: Decoder::new(config, None), input: BytesMut::new() })
    }

    /// The next connection, accepted.
    pub(crate) async fn accept(&mut self, connack: ConnAck) -> Peer {
        let mut peer = self.next().await;
        peer.connect().await;
        peer.send(Packet::ConnAck(connack)).await;
        peer
    }
}

impl Peer {
    /// The next packet; `None` if the connection ends.
    pub(crate) async fn try_next(&mut self) -> Option<Packet> {
        loop {
            match self.decoder.decode(&mut self.input).expect("packets of our client") {
                Some(Event::Packet(packet)) => return Some(packet),
                Some(other) => panic!("payloads come whole: {other:?}"),
                None => {
                    let read = timeout(PATIENCE, self.reader.read_buf(&mut self.input)).await;
                    if read.expect("a packet in time").unwrap_or(0) == 0 {
                        return None;
                    }
                }
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Packet {
        self.try_next().await.expect("a packet before the end")
    }

    /// Whether it speaks 3.1.1; known from CONNECT on.
    pub(crate) fn is_v311(&self) -> bool {
        self.decoder.version() == Some(Version::V311)
    }

    pub(crate) async fn connect(&mut self) -> Connect {
        let packet = self.next().await;
        let Packet::Connect(connect) = packet else { panic!("no CONNECT: {packet:?}") };
        *connect
    }

    pub(crate) async fn publish(&mut self) -> Publish {
        let packet = self.next().await;
        let Packet::Publish(publish) = packet else { panic!("no PUBLISH: {packet:?}") };
        publish
    }

    pub(crate) async fn auth(&mut self) -> Auth {
        let packet = self.next().await;
        let Packet::Auth(auth) = packet else { panic!("no AUTH: {packet:?}") };
        auth
    }

    pub(crate) async fn subscribe(&mut self) -> Subscribe {
        let packet = self.next().await;
        let Packet::Subscribe(subscribe) = packet else { panic!("no SUBSCRIBE: {packet:?}") };
        subscribe
    }

    /// The next SUBSCRIBE, granted as asked.
    pub(crate) async fn grant(&mut self) -> Subscribe {
        let subscribe = self.subscribe().await;
        self.agree(&subscribe).await;
        subscribe
    }

    /// Grants what was asked for.
    pub(crate) async fn agree(&mut self, subscribe: &Subscribe) {
        let granted = |qos| ReasonCode::granted(qos);
        let reasons = subscribe.filters.iter().map(|line| granted(line.options.qos)).collect();
        let (packet_id, properties) = (subscribe.packet_id, Properties::new());
        self.send(Packet::SubAck(SubAck { packet_id, properties, reasons })).await;
    }

    pub(crate) async fn unsubscribe(&mut self) -> Unsubscribe {
        let packet = self.next().await;
        let Packet::Unsubscribe(unsubscribe) = packet else { panic!("no UNSUBSCRIBE: {packet:?}") };
        unsubscribe
    }

    /// The next UNSUBSCRIBE, granted.
    pub(crate) async fn release(&mut self) -> Unsubscribe {
        let unsubscribe = self.unsubscribe().await;
        self.agree_to_leave(&unsubscribe).await;
        unsubscribe
    }

    /// Unsubscribes all that it names.
    pub(crate) async fn agree_to_leave(&mut self, unsubscribe: &Unsubscribe) {
        let reasons = vec![ReasonCode::Success; unsubscribe.filters.len()];
        let (packet_id, properties) = (unsubscribe.packet_id, Properties::new());
        self.send(Packet::UnsubAck(UnsubAck { packet_id, properties, reasons })).await;
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = Vec::new();
        let version = self.decoder.version().unwrap_or(Version::V5);
        encode(&packet, version, PACKET_SIZE_MAX, &mut bytes).expect("a packet of ours");
        self.write(&bytes).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let written = timeout(PATIENCE, self.writer.write_all(bytes)).await;
        written.expect("room in time").expect("an open connection");
    }

    /// Writes as much as the session takes.
    pub(crate) async fn write_some(&mut self, bytes: &[u8]) {
        let written = timeout(PATIENCE, self.writer.write_all(bytes)).await;
        written.expect("room in time, or an end").ok();
    }

    pub(crate) async fn ack(&mut self, kind: AckKind, packet_id: Option<PacketId>) {
        self.answer(kind, packet_id, ReasonCode::Success).await;
    }

    pub(crate) async fn answer(
        &mut self,
        kind: AckKind,
        packet_id: Option<PacketId>,
        reason: ReasonCode,
    ) {
        let packet_id = packet_id.expect("QoS above 0");
        self.send(kind.packet(Ack { packet_id, reason, properties: Properties::new() })).await;
    }

    /// Sends a message.
    pub(crate) async fn deliver(&mut self, topic: &str, payload: &str, qos: QoS, ids: &[u32]) {
        self.send(Packet::Publish(message(topic, payload, qos, ids))).await;
    }
}

/// A message for a session; its packet id is 1 where it needs one.
pub(crate) fn message(topic: &str, payload: &str, qos: QoS, ids: &[u32]) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(Topic::new(topic).unwrap()),
        packet_id: PacketId::new(1).filter(|_| qos != QoS::AtMostOnce),
        properties: ids.iter().map(|id| Property::SubscriptionIdentifier(*id)).collect(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}
