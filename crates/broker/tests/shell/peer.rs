//! A client made of raw packets, over any stream.

use std::{fmt::Write, time::Duration};

use bytes::{Bytes, BytesMut};
use postrider_broker::{
    Address, Broker, Endpoint, Stream,
    wire::{
        Ack, ClientId, Connect, Decoder, DecoderConfig, Event, Filter, PACKET_SIZE_MAX, Packet,
        PacketId, Properties, Publish, QoS, ReasonCode, Subscribe, SubscribeFilter,
        SubscribeOptions, Text, Topic, Version, encode,
    },
};
use postrider_net::dial;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// One end of a connection.
pub(crate) struct Peer {
    pub(crate) stream: Stream,
    pub(crate) version: Version,
    decoder: Decoder,
    input: BytesMut,
}

impl Peer {
    /// A stream without CONNECT.
    pub(crate) fn new(stream: Stream, version: Version) -> Self {
        let config = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: u32::MAX,
            is_topic_lenient: false,
        };
        let decoder = Decoder::new(config, Some(version));
        Self { stream, version, decoder, input: BytesMut::new() }
    }

    pub(crate) async fn open(endpoint: &Endpoint, version: Version) -> Self {
        Self::new(dial(endpoint, WAIT_MAX).await.unwrap(), version)
    }

    /// Connects to the first listener, without a user, with a clean start.
    pub(crate) async fn connect(broker: &Broker, version: Version, client_id: &str) -> Self {
        let peer = Self::open(&broker.endpoints()[0], version).await;
        peer.shake_hands(client_id).await
    }

    pub(crate) async fn shake_hands(mut self, client_id: &str) -> Self {
        self.send(&connect(self.version, client_id, None)).await;
        let answer = self.next().await;
        assert!(answer.starts_with("CONNACK Success"), "{answer}");
        self
    }

    pub(crate) async fn send(&mut self, packet: &Packet) {
        self.send_burst(std::slice::from_ref(packet)).await;
    }

    /// Sends all packets as one stretch of bytes.
    pub(crate) async fn send_burst(&mut self, packets: &[Packet]) {
        let mut bytes = Vec::new();
        for packet in packets {
            encode(packet, self.version, PACKET_SIZE_MAX, &mut bytes).unwrap();
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Sends as far as the broker reads.
    #[cfg(target_os = "linux")]
    pub(crate) async fn try_send(&mut self, packet: &Packet) {
        let mut bytes = Vec::new();
        encode(packet, self.version, PACKET_SIZE_MAX, &mut bytes).unwrap();
        // The broker may hang up meanwhile; it says why.
        let _ = self.stream.write_all(&bytes).await;
    }

    /// Subscribes and waits for the answer.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) {
        let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
        let filters = vec![SubscribeFilter { filter: Filter::new(filter).unwrap(), options }];
        let (packet_id, properties) = (id(1), Properties::new());
        self.send(&Packet::Subscribe(Subscribe { packet_id, properties, filters })).await;
        let answer = self.next().await;
        assert!(answer.starts_with("SUBACK id=1"), "{answer}");
    }

    pub(crate) async fn publish(&mut self, topic: &str, payload: impl Into<Bytes>, qos: QoS) {
        self.send(&publish(topic, payload, qos)).await;
    }

    /// The next packet as a line.
    pub(crate) async fn next(&mut self) -> String {
        self.packet().await.map_or_else(|| "the end".to_owned(), |packet| line(&packet))
    }

    /// The next PUBLISH: topic and payload.
    pub(crate) async fn message(&mut self) -> (String, Bytes) {
        match self.packet().await {
            Some(Packet::Publish(publish)) => {
                let topic = publish.topic.unwrap().as_str().to_owned();
                (topic, publish.payload)
            }
            other => panic!("a PUBLISH was expected, not {other:?}"),
        }
    }

    /// The next packet; `None` at the end of the stream.
    pub(crate) async fn packet(&mut self) -> Option<Packet> {
        loop {
            match self.decoder.decode(&mut self.input).unwrap() {
                Some(Event::Packet(packet)) => return Some(packet),
                Some(other) => panic!("payloads come whole, not as {other:?}"),
                None => {}
            }
            self.input.reserve(READ_BYTES);
            let read = timeout(WAIT_MAX, self.stream.read_buf(&mut self.input)).await;
            if read.expect("nothing came for 20 s").unwrap() == 0 {
                return None;
            }
        }
    }
}

pub(crate) fn connect(version: Version, client_id: &str, user: Option<(&str, &str)>) -> Packet {
    Packet::Connect(Box::new(Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        client_id: ClientId::new(client_id).unwrap(),
        user_name: user.map(|(name, _)| Text::new(name).unwrap()),
        password: user.map(|(_, password)| Bytes::copy_from_slice(password.as_bytes())),
        will: None,
        properties: Properties::new(),
    }))
}

/// A PUBLISH; its packet id is 7.
pub(crate) fn publish(topic: &str, payload: impl Into<Bytes>, qos: QoS) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(Topic::new(topic).unwrap()),
        packet_id: (qos != QoS::AtMostOnce).then(|| id(7)),
        properties: Properties::new(),
        payload: payload.into(),
    })
}

pub(crate) fn ack(number: u16) -> Ack {
    Ack { packet_id: id(number), reason: ReasonCode::Success, properties: Properties::new() }
}

pub(crate) fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

pub(crate) fn endpoint(url: &str) -> Endpoint {
    Address::parse(url).unwrap().endpoint
}

/// A packet in one line, with the payload if it is short.
fn line(packet: &Packet) -> String {
    let mut line = packet.to_string();
    if let Packet::Publish(publish) = packet
        && publish.payload.len() <= 32
    {
        write!(line, " {:?}", String::from_utf8_lossy(&publish.payload)).unwrap();
    }
    line
}

/// Longest wait for anything.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(20);
const READ_BYTES: usize = 64 * 1024;
