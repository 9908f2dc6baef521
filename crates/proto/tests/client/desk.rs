//! A client whose driver is the test: outputs become lines, a scripted server answers with packets.

use bytes::{Bytes, BytesMut};
use postrider_proto::{
    Chunk, Client, LinkConfig, Payload, Plan, ReconnectConfig, Record, SessionConfig, SpoolOutput,
    Time,
    client::{ClientConfig, Event, OperationId, Output, PublishError},
    wire::{
        Ack, AckKind, ClientId, ConnAck, Connect, Decoder, DecoderConfig, Filter, PACKET_SIZE_MAX,
        Packet, PacketId, Properties, Property, Publish, QoS, ReasonCode, RetainHandling, SubAck,
        SubscribeFilter, SubscribeOptions, Topic, UnsubAck, Version, encode,
    },
};

pub(crate) const VERSIONS: [Version; 2] = [Version::V311, Version::V5];
pub(crate) const Q0: QoS = QoS::AtMostOnce;
pub(crate) const Q1: QoS = QoS::AtLeastOnce;
pub(crate) const Q2: QoS = QoS::ExactlyOnce;

pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) now: Time,
    /// The plan of the last `Dial`.
    pub(crate) plan: Option<Plan>,
    /// Whether the store answers at once.
    pub(crate) is_store_prompt: bool,
    pub(crate) records: Vec<Record>,
    /// The last number that was given to a record.
    pub(crate) seq_last: u64,
    /// What the last `Wait` said.
    pub(crate) deadline: Option<Time>,
    /// Whether the driver may write.
    pub(crate) is_writable: bool,
    /// The last CONNECT.
    pub(crate) connect: Option<Connect>,
    /// What `Settled` said, one for each connection.
    pub(crate) settled: Vec<Vec<(Filter, ReasonCode)>>,
    /// What the last SUBSCRIBE says of retained messages.
    pub(crate) subscribe_options: Option<RetainHandling>,
    log: Vec<String>,
    decoder: Decoder,
    written: BytesMut,
}

/// A configuration for tests: one server, no keep alive, a fixed version, session kept.
pub(crate) fn config(version: Version) -> ClientConfig {
    ClientConfig {
        client_id: ClientId::new("press-7").unwrap(),
        user_name: None,
        password: None,
        clean_start: version == Version::V5,
        session_expiry_s: 3600,
        keep_alive_s: 0,
        will: None,
        connect_properties: Properties::new(),
        operation_timeout_ms: 5_000,
        operations_max: 10,
        link: LinkConfig { topic_alias_max: 0, topic_alias_max_out: 0, ..LinkConfig::default() },
        session: SessionConfig::default(),
        reconnect: ReconnectConfig {
            servers: vec!["one".into()],
            version: Some(version),
            ..ReconnectConfig::default()
        },
        is_manual: false,
        is_durable: false,
        spool_bytes_max: 1024 * 1024,
    }
}

impl Desk {
    pub(crate) fn new(config: ClientConfig) -> Self {
        let now = Time(1_000_000);
        let version = config.reconnect.version.unwrap_or(Version::V5);
        Self {
            client: Client::new(config, 1, now),
            now,
            plan: None,
            is_store_prompt: true,
            records: Vec::new(),
            seq_last: 0,
            deadline: None,
            is_writable: true,
            connect: None,
            settled: Vec::new(),
            subscribe_options: None,
            log: Vec::new(),
            decoder: decoder(version),
            written: BytesMut::new(),
        }
    }

    /// Connected, with nothing in the log.
    pub(crate) fn connected(version: Version) -> Self {
        let mut desk = Self::new(config(version));
        desk.client.connect(desk.now);
        desk.open();
        desk.accept(false);
        desk.log();
        desk
    }

    /// Does what the client asks for until it waits.
    pub(crate) fn drain(&mut self) {
        let mut seq_last = 0;
        loop {
            match self.client.poll_output() {
                Output::Dial(plan) => {
                    self.log
                        .push(format!("Dial {} {} #{}", plan.server, plan.version, plan.attempt));
                    self.plan = Some(plan);
                }
                Output::Transmit => self.write(),
                Output::Hangup => self.log.push("Hangup".into()),
                Output::Store(seq, record) => {
                    self.records.push(record);
                    (self.seq_last, seq_last) = (seq, seq);
                }
                Output::StoreBatch(seq, records) => {
                    self.records.extend(records);
                    (self.seq_last, seq_last) = (seq, seq);
                }
                Output::Spool(SpoolOutput::Drop(number)) => self.log.push(format!("Drop {number}")),
                Output::Spool(SpoolOutput::Append(..)) | Output::Page(_) => {
                    panic!("not in these tests");
                }
                // Comes with each connection, so it is kept apart.
                Output::Event(Event::Settled { resubscriptions }) => {
                    self.settled.push(resubscriptions);
                }
                Output::Event(event) => self.log.push(event_line(&event)),
                Output::Wait(deadline) if self.is_store_prompt && seq_last > 0 => {
                    self.deadline = deadline;
                    self.client.handle_stored(seq_last, self.now);
                    seq_last = 0;
                }
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
    }

    /// Writes what is waiting, if the stream takes it.
    pub(crate) fn write(&mut self) {
        if !self.is_writable {
            return;
        }
        let mut bytes = BytesMut::new();
        for chunk in self.client.chunks() {
            match chunk {
                Chunk::Bytes(some) => bytes.extend_from_slice(some),
                Chunk::Spool { .. } => panic!("no spools here"),
            }
        }
        self.client.consume(bytes.len() as u64, self.now);
        self.written.unsplit(bytes);
        while let Some(event) = self.decoder.decode(&mut self.written).expect("legal packets") {
            let postrider_proto::wire::Event::Packet(packet) = event else {
                panic!("no streams here");
            };
            self.log.push(format!("> {}", packet_line(&packet)));
            match packet {
                Packet::Connect(connect) => self.connect = Some(*connect),
                Packet::Subscribe(subscribe) => {
                    let line = subscribe.filters.first();
                    self.subscribe_options = line.map(|line| line.options.retain_handling);
                }
                _ => {}
            }
        }
    }

    /// The store has everything that was handed to it.
    pub(crate) fn store_all(&mut self) {
        self.client.handle_stored(self.seq_last, self.now);
        self.drain();
    }

    /// What happened since the last call: `> ` before packets of the client.
    pub(crate) fn log(&mut self) -> Vec<String> {
        self.drain();
        std::mem::take(&mut self.log)
    }

    /// The stream that was dialed is open.
    pub(crate) fn open(&mut self) {
        self.drain();
        let version = self.plan.as_ref().expect("a dial").version;
        self.decoder = decoder(version);
        self.written.clear();
        self.client.handle_connected(self.now);
        self.drain();
    }

    /// The server says yes.
    pub(crate) fn accept(&mut self, session_present: bool) {
        self.accept_with(session_present, Properties::new());
    }

    pub(crate) fn accept_with(&mut self, session_present: bool, properties: Properties) {
        let reason = ReasonCode::Success;
        self.reply(&Packet::ConnAck(ConnAck { session_present, reason, properties }));
    }

    pub(crate) fn refuse(&mut self, reason: ReasonCode) {
        let properties = Properties::new();
        self.reply(&Packet::ConnAck(ConnAck { session_present: false, reason, properties }));
    }

    /// A packet of the server arrives.
    pub(crate) fn reply(&mut self, packet: &Packet) {
        let version = self.plan.as_ref().expect("a dial").version;
        let mut bytes = Vec::new();
        encode(packet, version, PACKET_SIZE_MAX, &mut bytes).expect("a legal packet");
        self.reply_bytes(&bytes);
    }

    pub(crate) fn reply_bytes(&mut self, bytes: &[u8]) {
        self.client.handle_bytes(&mut BytesMut::from(bytes), self.now);
        self.drain();
    }

    pub(crate) fn ack(&mut self, kind: AckKind, id: u16, reason: ReasonCode) {
        self.reply(&kind.packet(Ack { packet_id: pid(id), reason, properties: Properties::new() }));
    }

    pub(crate) fn suback(&mut self, id: u16, reasons: &[ReasonCode]) {
        let (packet_id, reasons) = (pid(id), reasons.to_vec());
        self.reply(&Packet::SubAck(SubAck { packet_id, properties: Properties::new(), reasons }));
    }

    pub(crate) fn unsuback(&mut self, id: u16, reasons: &[ReasonCode]) {
        let version = self.plan.as_ref().expect("a dial").version;
        let reasons = if version == Version::V5 { reasons.to_vec() } else { Vec::new() };
        let properties = Properties::new();
        self.reply(&Packet::UnsubAck(UnsubAck { packet_id: pid(id), properties, reasons }));
    }

    /// The stream breaks.
    pub(crate) fn cut(&mut self) {
        self.client.handle_closed(self.now);
        self.drain();
    }

    /// The stream breaks, and the next one opens.
    pub(crate) fn cut_and_open(&mut self) {
        self.cut();
        self.wake();
        self.open();
    }

    /// Time goes on to the deadline.
    pub(crate) fn wake(&mut self) {
        self.now = self.deadline.expect("a deadline");
        self.client.handle_time(self.now);
        self.drain();
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.client.handle_time(self.now);
        self.drain();
    }

    pub(crate) fn publish(&mut self, qos: QoS, topic: &str) -> Result<u64, PublishError> {
        self.publish_with(publish(qos, topic), Bytes::new())
    }

    pub(crate) fn publish_with(
        &mut self,
        publish: Publish,
        payload: Bytes,
    ) -> Result<u64, PublishError> {
        let sent = self.client.publish(publish, Payload::Bytes(payload), self.now);
        self.drain();
        sent.map(|sent| sent.number)
    }

    pub(crate) fn subscribe(&mut self, filters: &[&str]) -> OperationId {
        self.subscribe_with(filters, Properties::new())
    }

    pub(crate) fn subscribe_with(
        &mut self,
        filters: &[&str],
        properties: Properties,
    ) -> OperationId {
        let lines = filters.iter().map(|filter| subscription(filter)).collect();
        let id = self.client.subscribe(lines, properties, self.now).expect("taken");
        self.drain();
        id
    }

    pub(crate) fn unsubscribe(&mut self, filters: &[&str]) -> OperationId {
        let filters = filters.iter().map(|filter| Filter::new(filter).unwrap()).collect();
        let id = self.client.unsubscribe(filters, Properties::new(), self.now).expect("taken");
        self.drain();
        id
    }

    pub(crate) fn subscriptions(&self) -> Vec<String> {
        self.client.subscriptions().map(|line| line.filter.to_string()).collect()
    }
}

pub(crate) fn publish(qos: QoS, topic: &str) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(Topic::new(topic).unwrap()),
        packet_id: None,
        properties: Properties::new(),
        payload: Bytes::new(),
    }
}

pub(crate) fn subscription(filter: &str) -> SubscribeFilter {
    let options = SubscribeOptions { qos: Q1, ..SubscribeOptions::default() };
    SubscribeFilter { filter: Filter::new(filter).unwrap(), options }
}

/// A PUBLISH of the server.
pub(crate) fn delivery(qos: QoS, id: u16, topic: &str, dup: bool) -> Packet {
    Packet::Publish(Publish { dup, packet_id: PacketId::new(id), ..publish(qos, topic) })
}

pub(crate) fn pid(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

pub(crate) fn one(property: Property) -> Properties {
    [property].into_iter().collect()
}

fn decoder(version: Version) -> Decoder {
    let config = DecoderConfig {
        packet_size_max: PACKET_SIZE_MAX,
        stream_above: u32::MAX,
        is_topic_lenient: false,
    };
    Decoder::new(config, Some(version))
}

fn code(name: &str, id: PacketId, reason: ReasonCode) -> String {
    match reason {
        ReasonCode::Success => format!("{name} {id}"),
        reason => format!("{name} {id} {:02X}", reason.byte()),
    }
}

/// The reason string, with a blank before it.
fn explanation(properties: &Properties) -> String {
    properties.reason_string().map(|text| format!(" {text}")).unwrap_or_default()
}

pub(crate) fn packet_line(packet: &Packet) -> String {
    match packet {
        Packet::Connect(connect) => {
            let clean = if connect.clean_start { " clean" } else { "" };
            let expiry = connect.properties.session_expiry_interval();
            let expiry = expiry.map(|s| format!(" expiry={s}")).unwrap_or_default();
            format!("CONNECT {}{clean}{expiry}", connect.version)
        }
        Packet::Publish(publish) => {
            let topic = publish.topic.as_ref().expect("no aliases here");
            let id = publish.packet_id.map(|id| format!("{id} ")).unwrap_or_default();
            let dup = if publish.dup { " dup" } else { "" };
            format!("PUBLISH {id}q{} {topic}{dup}", publish.qos)
        }
        Packet::PubAck(ack) => code("PUBACK", ack.packet_id, ack.reason),
        Packet::PubRec(ack) => code("PUBREC", ack.packet_id, ack.reason),
        Packet::PubRel(ack) => {
            code("PUBREL", ack.packet_id, ack.reason) + &explanation(&ack.properties)
        }
        Packet::PubComp(ack) => {
            code("PUBCOMP", ack.packet_id, ack.reason) + &explanation(&ack.properties)
        }
        Packet::Subscribe(subscribe) => {
            let lines = subscribe.filters.iter().map(|line| line.filter.to_string());
            let id = subscribe.properties.subscription_identifier();
            let id = id.map(|id| format!(" #{id}")).unwrap_or_default();
            format!("SUBSCRIBE {}{id} {}", subscribe.packet_id, lines.collect::<Vec<_>>().join(" "))
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters = unsubscribe.filters.iter().map(ToString::to_string);
            format!(
                "UNSUBSCRIBE {} {}",
                unsubscribe.packet_id,
                filters.collect::<Vec<_>>().join(" ")
            )
        }
        Packet::Disconnect(disconnect) => format!("DISCONNECT {:02X}", disconnect.reason.byte()),
        Packet::Auth(auth) => {
            let data = auth.properties.authentication_data().cloned();
            format!("AUTH {:02X} {}", auth.reason.byte(), data_line(&data))
        }
        other => other.packet_type().to_string(),
    }
}

fn event_line(event: &Event) -> String {
    match event {
        Event::Connected { connack, resubscribed, .. } => {
            let present = if connack.session_present { " present" } else { "" };
            let again =
                if *resubscribed > 0 { format!(" again={resubscribed}") } else { String::new() };
            format!("Connected{present}{again}")
        }
        Event::Disconnected { end, retry_at } => {
            let end = end_line(end);
            format!("Disconnected {end}{}", if retry_at.is_some() { ", retry" } else { "" })
        }
        Event::Message(arrived) => {
            format!("Message {}", arrived.publish.topic.as_ref().unwrap())
        }
        Event::Entrusted { arrived, number, is_redelivery } => {
            let again = if *is_redelivery { " again" } else { "" };
            format!("Entrusted {number} {}{again}", arrived.publish.topic.as_ref().unwrap())
        }
        Event::Acknowledged(number) => format!("Acknowledged {number}"),
        Event::Released { packet_id, number, properties, .. } => {
            let number = number.map_or(String::new(), |number| format!(" number {number}"));
            format!("Released {packet_id}{number}{}", explanation(properties))
        }
        Event::Published { number, result, received, is_downgraded } => {
            let how = if *is_downgraded { " downgraded" } else { "" };
            let how = explanation(received) + how;
            match result {
                Ok(ack) if ack.reason == ReasonCode::Success => format!("Published {number}{how}"),
                Ok(ack) => format!("Published {number} {:02X}{how}", ack.reason.byte()),
                Err(failure) => format!("Published {number} {failure:?}"),
            }
        }
        Event::Subscribed(id, Ok(suback)) => {
            let codes: Vec<_> = suback.reasons.iter().map(|reason| reason.byte()).collect();
            format!("Subscribed {} {codes:?}", id.0)
        }
        Event::Subscribed(id, Err(failure)) => format!("Subscribed {} {failure:?}", id.0),
        Event::Unsubscribed(id, Ok(_)) => format!("Unsubscribed {}", id.0),
        Event::Unsubscribed(id, Err(failure)) => format!("Unsubscribed {} {failure:?}", id.0),
        Event::SubscriptionLost { filter, reason } => {
            format!("SubscriptionLost {filter} {:02X}", reason.byte())
        }
        Event::Challenge { data, .. } => format!("Challenge {}", data_line(data)),
        Event::Authenticated { data, .. } => format!("Authenticated {}", data_line(data)),
        Event::Parked(parked) => format!("Parked {} {}", parked.number, parked.closes),
        Event::MayBeDouble(number) => format!("MayBeDouble {number}"),
        Event::Pong(ms) => format!("Pong {ms}"),
        Event::Over(end) => format!("Over {}", end_line(end)),
        other => panic!("unknown event {other:?}"),
    }
}

fn data_line(data: &Option<Bytes>) -> &str {
    data.as_ref().map_or("-", |data| std::str::from_utf8(data).unwrap())
}

fn end_line(end: &postrider_proto::LinkEnd) -> String {
    use postrider_proto::LinkEnd;
    match end {
        LinkEnd::PeerFault { reason, statement, .. } => {
            format!("PeerFault {:02X} {statement}", reason.byte())
        }
        LinkEnd::Refused(connack) => format!("Refused {:02X}", connack.reason.byte()),
        LinkEnd::Disconnected(disconnect) => format!("Told {:02X}", disconnect.reason.byte()),
        LinkEnd::Ours(reason) => format!("Ours {:02X}", reason.byte()),
        LinkEnd::Lost => "Lost".into(),
        LinkEnd::Untrusted(what) => format!("Untrusted {what}"),
        LinkEnd::Certificate(what) => format!("Certificate {what}"),
        LinkEnd::Unreachable(what) => format!("Unreachable {what}"),
        other => panic!("unknown end {other:?}"),
    }
}
