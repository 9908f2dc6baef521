//! A program that acknowledges its messages itself, and stores its effect with that, while links break and processes die
//! anywhere.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use postrider_proto::{
    Chunk, Client, Delivery, Envelope, Gate, Journal, Link, LinkConfig, Message, Payload, Received,
    Record, Resume, Session, SessionConfig, Spools, Time,
    client::{Event, Output, OwnChange, own_key},
    wire::{
        AckKind, ConnAck, Decoder, DecoderConfig, PACKET_SIZE_MAX, Packet, Properties, QoS,
        ReasonCode, Version,
    },
};
use proptest::prelude::*;

use crate::desk::{Q1, Q2, VERSIONS, config, publish};

/// A store: batches in their order, of which a crash leaves a beginning.
#[derive(Default)]
struct Disk {
    log: Vec<(u64, Vec<Record>)>,
    /// How many are synced, and what the number of the last one is in this process.
    synced: usize,
}

/// A server that never dies, a client that does, and its program.
struct World {
    version: Version,
    window: u16,
    client: Client,
    disk: Disk,
    link: Option<Link>,
    session: Session,
    journal: Journal,
    spools: Spools,
    now: Time,
    deadline: Option<Time>,
    is_dialing: bool,
    has_session: bool,
    up: BytesMut,
    down: BytesMut,
    server_input: BytesMut,
    client_input: BytesMut,
    /// Reads along what the server sends.
    tap: Option<Decoder>,
    tapped: BytesMut,
    /// PUBLISHes on this link that wait for PUBACK and PUBREC.
    unanswered: [VecDeque<u16>; 2],
    /// What the program holds and has not acknowledged.
    held: Vec<(u64, String)>,
    /// Which message has which number.
    numbers: BTreeMap<u64, String>,
    crashes: u32,
}

impl World {
    fn new(version: Version, window: u16) -> Self {
        let now = Time(1_000_000);
        let mut world = Self {
            version,
            window,
            client: Client::new(settings(version, window), 1, now),
            disk: Disk::default(),
            link: None,
            session: Session::new(
                1,
                SessionConfig { flights_max: window, ..SessionConfig::default() },
            ),
            journal: Journal::new(false),
            spools: Spools::new(0),
            now,
            deadline: None,
            is_dialing: false,
            has_session: false,
            up: BytesMut::new(),
            down: BytesMut::new(),
            server_input: BytesMut::new(),
            client_input: BytesMut::new(),
            tap: None,
            tapped: BytesMut::new(),
            unanswered: [VecDeque::new(), VecDeque::new()],
            held: Vec::new(),
            numbers: BTreeMap::new(),
            crashes: 0,
        };
        world.client.connect(now);
        // Before the session is stored a crash may forget it.
        while world.step(usize::MAX) || !world.has_session {}
        world.sync(usize::MAX);
        world
    }

    /// The process dies: `lost` of the batches that are not synced are gone.
    fn crash(&mut self, lost: usize) {
        let kept = self.disk.log.len().saturating_sub(lost).max(self.disk.synced);
        self.disk.log.truncate(kept);
        self.disk.synced = kept;
        self.held.clear();
        self.cut_server();
        self.crashes += 1;
        self.client =
            Client::new(settings(self.version, self.window), u64::from(self.crashes), self.now);
        let rows = self.rows();
        let read = |(key, value): (Vec<u8>, Vec<u8>)| Record::decode(&key, &value.into()).unwrap();
        self.client.recover(rows.into_iter().map(read));
        self.client.connect(self.now);
        for (seq, _) in &mut self.disk.log {
            *seq = 0;
        }
        self.drain();
    }

    /// `count` more batches are synced.
    fn sync(&mut self, count: usize) {
        self.disk.synced = self.disk.synced.saturating_add(count).min(self.disk.log.len());
        let last = self.disk.log[..self.disk.synced].last().map_or(0, |(seq, _)| *seq);
        self.client.handle_stored(last, self.now);
        self.drain();
    }

    fn rows(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut rows = BTreeMap::new();
        for record in self.disk.log.iter().flat_map(|(_, records)| records) {
            let key = record.key();
            match record.value() {
                Some(value) => drop(rows.insert(key, value)),
                None => rows.retain(|other, _| !other.starts_with(&key)),
            }
        }
        rows
    }

    /// How often the effect of a message was stored.
    fn effects(&self, topic: &str) -> u8 {
        // Format, length, value.
        self.rows().get(&own_key(topic.as_bytes())).map_or(0, |value| value[5])
    }

    /// The program acknowledges one of the messages it holds, with its effect.
    fn acknowledge(&mut self, at: usize) {
        if self.held.is_empty() {
            return;
        }
        let (number, topic) = self.held.remove(at % self.held.len());
        let count = self.effects(&topic) + 1;
        let effect = OwnChange::Put(Bytes::from(topic), vec![count].into());
        self.client.acknowledge(number, vec![effect]).expect("the server keeps the session");
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.client.poll_output() {
                Output::Dial(_) => self.is_dialing = true,
                Output::Transmit => {
                    let before = self.up.len();
                    for chunk in self.client.chunks() {
                        push(&mut self.up, &chunk);
                    }
                    self.client.consume((self.up.len() - before) as u64, self.now);
                }
                Output::Hangup => self.cut_server(),
                Output::Store(seq, record) => self.disk.log.push((seq, vec![record])),
                Output::StoreBatch(seq, records) => self.disk.log.push((seq, records)),
                Output::Page(_) | Output::Spool(_) => panic!("not in these tests"),
                Output::Event(Event::Entrusted { arrived, number, .. }) => {
                    let topic = arrived.publish.topic.unwrap().to_string();
                    let first = self.numbers.entry(number).or_insert_with(|| topic.clone());
                    assert_eq!(*first, topic, "number {number} was given twice");
                    assert!(
                        self.held.iter().all(|(other, _)| *other != number),
                        "handed out twice"
                    );
                    self.held.push((number, topic));
                }
                Output::Event(Event::Over(end)) => panic!("over: {end}"),
                Output::Event(Event::Message(arrived)) => panic!("not entrusted: {arrived:?}"),
                Output::Event(_) => {}
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    break;
                }
            }
        }
        let Some(link) = &mut self.link else { return };
        let before = self.down.len();
        for chunk in link.outbox().chunks() {
            push(&mut self.down, &chunk);
        }
        self.tapped.extend_from_slice(&self.down[before..]);
        link.outbox_mut().consume((self.down.len() - before) as u64);
        self.session.pump(link, &mut self.journal, self.now);
        self.listen();
    }

    /// Notes which PUBLISHes the server has sent.
    fn listen(&mut self) {
        let Some(tap) = &mut self.tap else { return };
        while let Some(event) = tap.decode(&mut self.tapped).expect("the server is legal") {
            if let postrider_proto::wire::Event::Packet(Packet::Publish(publish)) = event {
                let of_qos = usize::from(publish.qos == Q2);
                self.unanswered[of_qos].push_back(publish.packet_id.unwrap().get());
            }
        }
    }

    fn step(&mut self, limit: usize) -> bool {
        self.drain();
        if std::mem::take(&mut self.is_dialing) {
            self.link = Some(Link::server(LinkConfig::default(), self.now));
            let config = DecoderConfig {
                packet_size_max: PACKET_SIZE_MAX,
                stream_above: u32::MAX,
                is_topic_lenient: false,
            };
            self.tap = Some(Decoder::new(config, Some(self.version)));
            self.client.handle_connected(self.now);
            self.drain();
            return true;
        }
        let up = self.up.split_to(limit.min(self.up.len()));
        let down = self.down.split_to(limit.min(self.down.len()));
        self.server_input.extend_from_slice(&up);
        self.client_input.extend_from_slice(&down);
        self.serve();
        self.client.handle_bytes(&mut self.client_input, self.now);
        self.drain();
        !up.is_empty() || !down.is_empty()
    }

    fn serve(&mut self) {
        while let Some(link) = &mut self.link {
            let received = link.receive(&mut self.server_input, &mut self.spools, self.now);
            let Some(received) = received.expect("the client is legal") else { return };
            match received {
                Received::Connect(connect) => {
                    assert!(!self.has_session || !connect.clean_start, "it resumes");
                    let session_present = self.has_session;
                    let (reason, properties) = (ReasonCode::Success, Properties::new());
                    let connack = ConnAck { session_present, reason, properties };
                    let limits = *link.accept(connack, 0, u32::MAX, Gate::default());
                    let resume = if session_present { Resume::Present } else { Resume::Lost };
                    self.has_session = true;
                    self.session.attach(&limits, resume, false, &mut self.journal);
                    self.session.pump(link, &mut self.journal, self.now);
                }
                Received::Ack(kind, ack) => {
                    let of_qos = usize::from(kind != AckKind::PubAck);
                    if kind != AckKind::PubComp {
                        let next = self.unanswered[of_qos].pop_front();
                        assert_eq!(next, Some(ack.packet_id.get()), "{kind:?} out of order");
                    }
                    let done = self.session.handle_ack(
                        kind,
                        ack,
                        link,
                        &mut self.journal,
                        Properties::new(),
                    );
                    done.expect("it fits");
                    self.session.pump(link, &mut self.journal, self.now);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn cut(&mut self) {
        self.cut_server();
        self.client.handle_closed(self.now);
        self.drain();
    }

    fn cut_server(&mut self) {
        if self.link.take().is_some() {
            self.session.detach();
        }
        self.tap = None;
        self.unanswered.iter_mut().for_each(VecDeque::clear);
        for pipe in [&mut self.up, &mut self.down, &mut self.server_input, &mut self.client_input] {
            pipe.clear();
        }
        self.tapped.clear();
    }

    fn wake(&mut self) {
        if let Some(deadline) = self.deadline {
            self.now = self.now.max(deadline);
            self.client.handle_time(self.now);
        }
        self.drain();
    }

    fn send(&mut self, qos: QoS, topic: &str) {
        let message =
            Message::from_publish(publish(qos, topic), Payload::Bytes(Bytes::new()), self.now);
        let delivery = Delivery { qos, retain: false, subscription_ids: Default::default() };
        let mut envelope = Envelope::new(message);
        let link = self.link.as_mut().filter(|link| link.is_open());
        self.session.send(&mut envelope, delivery, link, &mut self.journal, self.now).unwrap();
        self.drain();
    }

    fn run_until_idle(&mut self) {
        for _ in 0..100_000 {
            let moved = self.step(usize::MAX);
            self.sync(usize::MAX);
            if !moved && self.session.is_idle() && self.held.is_empty() {
                return;
            }
            self.acknowledge(0);
            if !moved {
                self.wake();
            }
        }
        panic!("it never ends: {:?} {:?}", self.client.stats(), self.session.stats());
    }
}

fn settings(version: Version, window: u16) -> postrider_proto::client::ClientConfig {
    let mut config = config(version);
    config.is_manual = true;
    config.is_durable = true;
    config.link.receive_maximum = window;
    config.link.receive_maximum_unannounced = Some(window);
    config.reconnect.is_first_retried = true;
    config
}

fn push(out: &mut BytesMut, chunk: &Chunk<'_>) {
    match chunk {
        Chunk::Bytes(bytes) => out.extend_from_slice(bytes),
        Chunk::Spool { .. } => panic!("no spools here"),
    }
}

#[derive(Clone, Debug)]
enum Act {
    Send(u8),
    Acknowledge(usize),
    Move(usize),
    Sync(usize),
    Cut,
    Crash(usize),
    Wake,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1..3_u8).prop_map(Act::Send),
        4 => (0..9_usize).prop_map(Act::Acknowledge),
        6 => (1..60_usize).prop_map(Act::Move),
        4 => (1..4_usize).prop_map(Act::Sync),
        1 => Just(Act::Cut),
        1 => (0..5_usize).prop_map(Act::Crash),
        2 => Just(Act::Wake),
    ];
    prop::collection::vec(act, 0..120)
}

fn play(world: &mut World, acts: &[Act]) -> Vec<(QoS, String)> {
    let mut sent = Vec::new();
    for (at, act) in acts.iter().enumerate() {
        match *act {
            Act::Send(qos) => {
                let qos = QoS::from_bits(qos).unwrap();
                let topic = format!("t/{at}");
                world.send(qos, &topic);
                sent.push((qos, topic));
            }
            Act::Acknowledge(at) => world.acknowledge(at),
            Act::Move(limit) => drop(world.step(limit)),
            Act::Sync(count) => world.sync(count),
            Act::Cut => world.cut(),
            Act::Crash(lost) => world.crash(lost),
            Act::Wake => world.wake(),
        }
    }
    sent
}

fn check_effects(world: &World, sent: &[(QoS, String)], is_calm: bool) {
    for (qos, topic) in sent {
        let count = world.effects(topic);
        if *qos == Q2 || is_calm {
            assert_eq!(count, 1, "effects of {topic} at QoS {qos}");
        } else {
            assert!(count >= 1, "no effect of {topic} at QoS {qos}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// v5 [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.6.0-2] [MQTT-4.6.0-3], v3.1.1 [MQTT-4.6.0-2]
    /// [MQTT-4.6.0-3]: wherever links break and processes die, the stored effect of a message of QoS 2 is there once,
    /// that of QoS 1 at least once; acknowledgements keep their order, and numbers are never given twice.
    #[test]
    fn effects_happen_once(acts in acts(), window in 1..5_u16) {
        for version in VERSIONS {
            let mut world = World::new(version, window);
            let sent = play(&mut world, &acts);
            world.run_until_idle();
            let is_calm = !acts.iter().any(|act| matches!(act, Act::Cut | Act::Crash(_)));
            check_effects(&world, &sent, is_calm);
        }
    }
}

/// The same, dying after every single step of one story in turn, with everything unsynced lost and with nothing lost.
#[test]
fn a_crash_at_every_point() {
    let story = |world: &mut World, from: usize, to: usize| {
        for step in from..to {
            match step % 4 {
                0 => drop(world.step(7)),
                1 => world.sync(1),
                2 => world.acknowledge(step / 4),
                _ => drop(world.step(usize::MAX)),
            }
        }
    };
    const STEPS: usize = 120;
    for version in VERSIONS {
        for (crash_at, lost) in (0..STEPS).flat_map(|at| [(at, 0), (at, usize::MAX)]) {
            let mut world = World::new(version, 3);
            let sent: Vec<_> =
                (0..8).map(|at| (if at % 3 == 0 { Q1 } else { Q2 }, format!("t/{at}"))).collect();
            for (qos, topic) in &sent {
                world.send(*qos, topic);
            }
            story(&mut world, 0, crash_at);
            world.crash(lost);
            story(&mut world, crash_at, STEPS);
            world.run_until_idle();
            check_effects(&world, &sent, false);
        }
    }
}
