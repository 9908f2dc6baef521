//! A session on a link whose bytes are read back as packets.

use bytes::{Bytes, BytesMut};
use postrider_proto::{
    AckOutcome, Delivery, Envelope, Fact, Gate, Journal, Link, LinkConfig, Message, Payload,
    PeerFault, QueueFull, Record, Resume, Sent, Session, SessionConfig, Spools, Time,
    wire::{
        Ack, AckKind, ClientId, ConnAck, Connect, Decoder, DecoderConfig, Event, PACKET_SIZE_MAX,
        Packet, PacketId, Properties, Property, Publish, QoS, ReasonCode, Topic, Version, encode,
    },
};

/// Both versions that carry QoS flows in different forms.
pub(crate) const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

pub(crate) const Q0: QoS = QoS::AtMostOnce;
pub(crate) const Q1: QoS = QoS::AtLeastOnce;
pub(crate) const Q2: QoS = QoS::ExactlyOnce;

/// What the peer at the other end is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) version: Version,
    pub(crate) receive_maximum: u16,
    pub(crate) packet_size_max: u32,
}

pub(crate) struct Bench {
    pub(crate) session: Session,
    pub(crate) link: Option<Link>,
    pub(crate) journal: Journal,
    pub(crate) now: Time,
    pub(crate) peer: Peer,
    /// All records so far.
    pub(crate) records: Vec<Record>,
    pub(crate) is_persistent: bool,
    link_config: LinkConfig,
}

impl Bench {
    /// A session without a store, connected to a peer of this version.
    pub(crate) fn new(version: Version) -> Self {
        let mut bench = Self::offline(version, SessionConfig::default());
        bench.connect(Resume::Present);
        bench
    }

    /// A session without a store and without a link.
    pub(crate) fn offline(version: Version, config: SessionConfig) -> Self {
        Self {
            session: Session::new(7, SessionConfig { is_reporting: true, ..config }),
            link: None,
            journal: Journal::new(false),
            now: Time(1_000_000),
            peer: Peer { version, receive_maximum: u16::MAX, packet_size_max: PACKET_SIZE_MAX },
            records: Vec::new(),
            is_persistent: false,
            link_config: LinkConfig { topic_alias_max_out: 0, ..LinkConfig::default() },
        }
    }

    /// A connected persistent session with a store that answers only when told.
    pub(crate) fn durable(version: Version) -> Self {
        let mut bench = Self::offline(version, SessionConfig::default());
        bench.journal = Journal::new(true);
        bench.is_persistent = true;
        bench.connect(Resume::Present);
        bench
    }

    /// Lets the outbox take only this many bytes.
    pub(crate) fn narrow(&mut self, outbox_high_bytes: u64) {
        self.link_config.outbox_high_bytes = outbox_high_bytes;
    }

    pub(crate) fn connect(&mut self, resume: Resume) {
        let mut link = Link::server(self.link_config, self.now);
        let mut input = BytesMut::from(&connect_bytes(self.peer)[..]);
        let received = link.receive(&mut input, &mut Spools::new(0), self.now);
        assert!(received.expect("CONNECT is legal").is_some());
        let connack = ConnAck {
            session_present: resume == Resume::Present,
            reason: ReasonCode::Success,
            properties: Properties::new(),
        };
        let limits = *link.accept(connack, 0, u32::MAX, Gate::default());
        link.open_gates(Gate { stored: self.journal.stored(), fence: 0 });
        self.session.attach(&limits, resume, self.is_persistent, &mut self.journal);
        self.link = Some(link);
        let greeting = self.sent();
        assert_eq!(greeting, ["CONNACK"]);
        self.pump();
    }

    pub(crate) fn cut(&mut self) {
        self.link = None;
        self.session.detach();
    }

    pub(crate) fn pump(&mut self) {
        if let Some(link) = &mut self.link {
            self.session.pump(link, &mut self.journal, self.now);
        }
    }

    /// Publishes a message whose payload is its topic.
    pub(crate) fn publish(&mut self, qos: QoS, topic: &str) -> Result<Sent, QueueFull> {
        self.publish_with(qos, topic, Bytes::copy_from_slice(topic.as_bytes()), None)
    }

    pub(crate) fn publish_with(
        &mut self,
        qos: QoS,
        topic: &str,
        payload: Bytes,
        expiry_s: Option<u32>,
    ) -> Result<Sent, QueueFull> {
        let mut envelope = Envelope::new(message(qos, topic, payload, expiry_s, self.now));
        let delivery = Delivery { qos, retain: false, subscription_ids: Default::default() };
        let link = self.link.as_mut();
        self.session.send(&mut envelope, delivery, link, &mut self.journal, self.now)
    }

    /// What was written since the last call, one line a packet.
    pub(crate) fn sent(&mut self) -> Vec<String> {
        let Some(link) = &mut self.link else { return Vec::new() };
        let mut bytes = BytesMut::new();
        for chunk in link.outbox().chunks() {
            match chunk {
                postrider_proto::Chunk::Bytes(some) => bytes.extend_from_slice(some),
                postrider_proto::Chunk::Spool { len, .. } => {
                    bytes.resize(bytes.len() + len as usize, b's');
                }
            }
        }
        link.outbox_mut().consume(bytes.len() as u64);
        packets(&mut bytes, self.peer.version).iter().map(line).collect()
    }

    /// An acknowledgement arrives, and what may be sent now is.
    pub(crate) fn ack(&mut self, kind: AckKind, id: u16) -> Result<AckOutcome, PeerFault> {
        self.ack_with(kind, id, ReasonCode::Success)
    }

    pub(crate) fn ack_with(
        &mut self,
        kind: AckKind,
        id: u16,
        reason: ReasonCode,
    ) -> Result<AckOutcome, PeerFault> {
        let link = self.link.as_mut().expect("a link");
        let ack = ack(id, reason);
        let outcome =
            self.session.handle_ack(kind, ack, link, &mut self.journal, Properties::new());
        self.pump();
        outcome
    }

    pub(crate) fn puback(&mut self, id: u16) {
        let outcome = self.ack(AckKind::PubAck, id);
        assert!(matches!(outcome, Ok(AckOutcome::Done { .. })), "{outcome:?}");
    }

    pub(crate) fn pubrec(&mut self, id: u16) {
        assert_eq!(self.ack(AckKind::PubRec, id), Ok(AckOutcome::Progress));
    }

    pub(crate) fn pubcomp(&mut self, id: u16) {
        let outcome = self.ack(AckKind::PubComp, id);
        assert!(matches!(outcome, Ok(AckOutcome::Done { .. })), "{outcome:?}");
    }

    /// A PUBLISH of the peer is acknowledged.
    pub(crate) fn acknowledge(&mut self, qos: QoS, id: u16, reason: ReasonCode, gate: Gate) {
        let link = self.link.as_mut().expect("a link");
        let id = packet_id(id);
        self.session.acknowledge(qos, id, reason, gate, link, &mut self.journal);
    }

    pub(crate) fn pubrel(&mut self, id: u16) {
        let link = self.link.as_mut().expect("a link");
        let ack = ack(id, ReasonCode::Success);
        self.session.handle_pubrel(&ack, Properties::new(), link, &mut self.journal);
    }

    /// Fetches new records; returns the last number given so far.
    pub(crate) fn fetch(&mut self) -> u64 {
        while let Some((seq, record)) = self.journal.poll_record() {
            self.records.push(record);
            assert_eq!(seq, self.records.len() as u64);
        }
        self.records.len() as u64
    }

    /// The store has everything up to `seq`.
    pub(crate) fn stored(&mut self, seq: u64) {
        self.journal.handle_stored(seq);
        if let Some(link) = &mut self.link {
            link.open_gates(Gate { stored: self.journal.stored(), fence: 0 });
        }
        self.pump();
    }

    pub(crate) fn store_all(&mut self) {
        let last = self.fetch();
        self.stored(last);
    }

    /// Facts recorded so far.
    pub(crate) fn facts(&mut self) -> Vec<Fact> {
        self.fetch();
        self.records.iter().map(|record| record.fact.clone()).collect()
    }

    pub(crate) fn fates(&mut self) -> Vec<(u64, postrider_proto::Fate)> {
        std::iter::from_fn(|| self.session.poll_fate()).collect()
    }
}

pub(crate) fn message(
    qos: QoS,
    topic: &str,
    payload: Bytes,
    expiry_s: Option<u32>,
    now: Time,
) -> Message {
    let publish = Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(Topic::new(topic).expect("a topic")),
        packet_id: None,
        properties: expiry_s.map(Property::MessageExpiryInterval).into_iter().collect(),
        payload: Bytes::new(),
    };
    Message::from_publish(publish, Payload::Bytes(payload), now)
}

pub(crate) fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).expect("not 0")
}

pub(crate) fn ack(id: u16, reason: ReasonCode) -> Ack {
    Ack { packet_id: packet_id(id), reason, properties: Properties::new() }
}

/// All packets in `bytes`, which hold whole ones only.
pub(crate) fn packets(bytes: &mut BytesMut, version: Version) -> Vec<Packet> {
    let config = DecoderConfig {
        packet_size_max: PACKET_SIZE_MAX,
        stream_above: u32::MAX,
        is_topic_lenient: false,
    };
    let mut decoder = Decoder::new(config, Some(version));
    let mut packets = Vec::new();
    while let Some(event) = decoder.decode(bytes).expect("what we write is legal") {
        match event {
            Event::Packet(packet) => packets.push(packet),
            Event::PublishStart(..) | Event::PublishChunk { .. } => panic!("no streams here"),
        }
    }
    assert!(bytes.is_empty(), "half a packet was written");
    packets
}

/// One packet in short: `PUBLISH 3 q1 a dup`, `PUBREL 4`, with the reason if it is not a success.
pub(crate) fn line(packet: &Packet) -> String {
    let short = |name: &str, ack: &Ack| match ack.reason {
        ReasonCode::Success => format!("{name} {}", ack.packet_id),
        reason => format!("{name} {} {:02X}", ack.packet_id, reason.byte()),
    };
    match packet {
        Packet::Publish(publish) => {
            let topic = publish.topic.as_ref().expect("no aliases here");
            let id = publish.packet_id.map(|id| format!("{id} ")).unwrap_or_default();
            let dup = if publish.dup { " dup" } else { "" };
            format!("PUBLISH {id}q{} {topic}{dup}", publish.qos)
        }
        Packet::PubAck(ack) => short("PUBACK", ack),
        Packet::PubRec(ack) => short("PUBREC", ack),
        Packet::PubRel(ack) => short("PUBREL", ack),
        Packet::PubComp(ack) => short("PUBCOMP", ack),
        other => other.packet_type().to_string(),
    }
}

fn connect_bytes(peer: Peer) -> Vec<u8> {
    let mut properties = Properties::new();
    if peer.version == Version::V5 {
        properties.push(Property::ReceiveMaximum(peer.receive_maximum));
        properties.push(Property::MaximumPacketSize(peer.packet_size_max));
    }
    let connect = Connect {
        version: peer.version,
        clean_start: false,
        keep_alive: 0,
        client_id: ClientId::new("peer").expect("a client id"),
        user_name: None,
        password: None,
        will: None,
        properties,
    };
    let mut bytes = Vec::new();
    let packet = Packet::Connect(Box::new(connect));
    encode(&packet, peer.version, PACKET_SIZE_MAX, &mut bytes).expect("CONNECT is legal");
    bytes
}
