//! One end of a connection, driven by scripts.

use bytes::{Bytes, BytesMut};
use postrider_proto::{
    Chunk, Delivery, Gate, Limits, Link, LinkConfig, LinkEnd, Message, Payload, Received, Role,
    Spools, Time,
};
use postrider_wire::{
    Ack, ClientId, ConnAck, Connect, Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet,
    PacketId, Properties, Property, Publish, QoS, ReasonCode, Text, Topic, Version, encode,
};

pub(crate) const V3: [Version; 2] = [Version::V31, Version::V311];
pub(crate) const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];
pub(crate) const ROLES: [Role; 2] = [Role::Client, Role::Server];
/// When every link begins.
pub(crate) const START: Time = Time(1_000_000);
/// No gate at all.
pub(crate) const FREE: Gate = Gate { stored: 0, fence: 0 };
/// Nothing is announced with it.
pub(crate) const PLAIN: LinkConfig = LinkConfig {
    packet_size_max: PACKET_SIZE_MAX,
    receive_maximum: u16::MAX,
    receive_maximum_unannounced: None,
    topic_alias_max: 0,
    topic_alias_max_out: 0,
    are_aliases_reused: false,
    spool_above: 1024 * 1024,
    handshake_ms: 10_000,
    is_topic_lenient: false,
    is_server_reauthentication_allowed: false,
    outbox_high_bytes: 1024 * 1024,
};

/// A link with its driver's part: input, spools, clock.
pub(crate) struct End {
    pub(crate) link: Link,
    pub(crate) input: BytesMut,
    pub(crate) spools: Spools,
    pub(crate) now: Time,
    /// Reads what the link writes.
    reader: Decoder,
}

impl End {
    /// A server's end without a CONNECT yet; `version` is the one its output is read in.
    pub(crate) fn server(config: LinkConfig, version: Version) -> Self {
        Self::new(Link::server(config, START), Some(version))
    }

    /// A client's end that has written `connect`.
    pub(crate) fn client(config: LinkConfig, connect: &Connect) -> Self {
        Self::new(Link::client(config, connect, START).expect("a good CONNECT"), None)
    }

    /// An open link, handshake written and forgotten.
    pub(crate) fn open(role: Role, version: Version, config: LinkConfig) -> Self {
        Self::open_with(role, config, &connect(version), connack(&[]))
    }

    /// An open link after this handshake.
    pub(crate) fn open_with(
        role: Role,
        config: LinkConfig,
        connect: &Connect,
        connack: ConnAck,
    ) -> Self {
        let mut end = match role {
            Role::Server => {
                let mut end = Self::server(config, connect.version);
                end.takes(&Packet::Connect(Box::new(connect.clone())));
                end.link.accept(connack, connect.keep_alive, 0, FREE);
                end
            }
            Role::Client => {
                let mut end = Self::client(config, connect);
                end.takes(&Packet::ConnAck(connack));
                end
            }
        };
        assert!(end.link.is_open());
        end.said();
        end
    }

    fn new(link: Link, version: Option<Version>) -> Self {
        Self {
            link,
            input: BytesMut::new(),
            spools: Spools::new(1 << 30),
            now: START,
            reader: Decoder::new(decoder_config(), version),
        }
    }

    /// Receives one thing from the bytes at hand.
    pub(crate) fn receive(&mut self) -> Result<Option<Received>, LinkEnd> {
        self.link.receive(&mut self.input, &mut self.spools, self.now)
    }

    /// Feeds a packet and receives until nothing is left.
    #[track_caller]
    pub(crate) fn takes(&mut self, packet: &Packet) -> Vec<Received> {
        self.feed(packet);
        self.drain().expect("within the rules")
    }

    /// Feeds a packet that ends the link; returns reason, statement and what was said, without properties.
    #[track_caller]
    pub(crate) fn faults(&mut self, packet: &Packet) -> (ReasonCode, &'static str, Vec<String>) {
        self.feed(packet);
        self.faulted()
    }

    /// As [`End::faults`], for bytes.
    #[track_caller]
    pub(crate) fn faults_on(&mut self, hex: &str) -> (ReasonCode, &'static str, Vec<String>) {
        self.input.extend_from_slice(&bytes_of(hex));
        self.faulted()
    }

    #[track_caller]
    fn faulted(&mut self) -> (ReasonCode, &'static str, Vec<String>) {
        let end = self.drain().expect_err("a fault");
        let LinkEnd::PeerFault { reason, statement, what } = end else { panic!("{end:?}") };
        assert!(!what.is_empty());
        assert!(self.link.is_over());
        assert_eq!(self.link.deadline(), None);
        assert_eq!(self.receive(), Ok(None), "nothing is received on a link that is over");
        (reason, statement, self.said().iter().map(|line| bare(line)).collect())
    }

    pub(crate) fn feed(&mut self, packet: &Packet) {
        let version = self.link.version().unwrap_or_else(|| version_of(packet));
        self.input.extend_from_slice(&encoded(packet, version));
    }

    pub(crate) fn drain(&mut self) -> Result<Vec<Received>, LinkEnd> {
        let mut all = Vec::new();
        while let Some(received) = self.receive()? {
            all.push(received);
        }
        Ok(all)
    }

    /// Moves the clock and tells the link.
    pub(crate) fn at_ms(&mut self, ms: u64) -> Result<(), LinkEnd> {
        self.now = START.plus_ms(ms);
        self.link.handle_time(self.now)
    }

    /// What is in the outbox, as bytes; it is empty then. Spool ranges are not expected.
    pub(crate) fn written(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for chunk in self.link.outbox().chunks() {
            match chunk {
                Chunk::Bytes(slice) => bytes.extend_from_slice(slice),
                Chunk::Spool { .. } => panic!("a spool"),
            }
        }
        assert_eq!(bytes.len() as u64, self.link.outbox().len());
        self.link.outbox_mut().consume(bytes.len() as u64);
        assert!(self.link.outbox().is_empty());
        bytes
    }

    /// What is in the outbox, a line per packet; it is empty then.
    pub(crate) fn said(&mut self) -> Vec<String> {
        let mut bytes = BytesMut::from(&self.written()[..]);
        let mut lines = Vec::new();
        while let Some(event) = self.reader.decode(&mut bytes).expect("a link writes packets") {
            let Event::Packet(packet) = event else { panic!("{event:?}") };
            lines.push(packet.to_string());
        }
        assert!(bytes.is_empty(), "a link writes whole packets");
        lines
    }

    pub(crate) fn limits(&self) -> Limits {
        *self.link.limits().expect("through the handshake")
    }

    pub(crate) fn acks(&mut self, kind: postrider_wire::AckKind, id: u16, gate: Gate) {
        self.link.send_ack(kind, ack(id), gate);
    }
}

/// A line without its properties.
pub(crate) fn bare(line: &str) -> String {
    line.split(" {").next().unwrap_or_default().to_owned()
}

fn version_of(packet: &Packet) -> Version {
    if let Packet::Connect(connect) = packet { connect.version } else { Version::V5 }
}

pub(crate) fn decoder_config() -> DecoderConfig {
    DecoderConfig {
        packet_size_max: PACKET_SIZE_MAX,
        stream_above: u32::MAX,
        is_topic_lenient: false,
    }
}

pub(crate) fn encoded(packet: &Packet, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    // AUTH does not exist in 3.x, but its bytes can come.
    let version = if let Packet::Auth(_) = packet { Version::V5 } else { version };
    encode(packet, version, PACKET_SIZE_MAX, &mut out).expect("a good packet");
    out
}

pub(crate) fn bytes_of(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

/// A clean CONNECT with a keep alive of 10 s.
pub(crate) fn connect(version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 10,
        client_id: ClientId::new("c").expect("a client id"),
        user_name: None,
        password: None,
        will: None,
        properties: Properties::new(),
    }
}

/// A 5.0 CONNECT with properties.
pub(crate) fn connect_with(list: &[Property]) -> Connect {
    Connect { properties: properties(list), ..connect(Version::V5) }
}

pub(crate) fn connack(list: &[Property]) -> ConnAck {
    ConnAck { session_present: false, reason: ReasonCode::Success, properties: properties(list) }
}

pub(crate) fn properties(list: &[Property]) -> Properties {
    let mut properties = Properties::new();
    list.iter().cloned().for_each(|property| properties.push(property));
    properties
}

pub(crate) fn text(text: &str) -> Text {
    Text::new(text).expect("a text")
}

pub(crate) fn id(id: u16) -> PacketId {
    PacketId::new(id).expect("not 0")
}

pub(crate) fn ack(packet_id: u16) -> Ack {
    Ack { packet_id: id(packet_id), reason: ReasonCode::Success, properties: Properties::new() }
}

/// A PUBLISH as a peer sends it; `packet_id` 0 stands for QoS 0.
pub(crate) fn publish(topic: &str, qos: QoS, packet_id: u16, payload: &str) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: (!topic.is_empty()).then(|| Topic::new(topic).expect("a topic")),
        packet_id: PacketId::new(packet_id),
        properties: Properties::new(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

pub(crate) fn message(topic: &str, payload: &[u8], list: &[Property]) -> Message {
    let mut head = publish(topic, QoS::AtMostOnce, 0, "");
    head.properties = properties(list);
    Message::from_publish(head, Payload::Bytes(Bytes::copy_from_slice(payload)), START)
}

pub(crate) fn delivery(qos: QoS) -> Delivery {
    Delivery { qos, retain: false, subscription_ids: Default::default() }
}
