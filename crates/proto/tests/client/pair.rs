//! Our client against a server made of our own link and session, over streams that break anywhere.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use postrider_proto::{
    AckOutcome, Arrival, Chunk, Client, Delivery, Envelope, Gate, Journal, Link, LinkConfig,
    Message, Payload, Received, Resume, Session, SessionConfig, Spools, Time,
    client::{Event, Output},
    wire::{AckKind, ConnAck, Properties, QoS, ReasonCode, Version},
};
use proptest::prelude::*;

use crate::desk::{Q0, Q1, Q2, VERSIONS, config, publish};

/// A client and a server, and what travels between them.
struct Pair {
    client: Client,
    link: Option<Link>,
    session: Session,
    has_session: bool,
    journal: Journal,
    spools: Spools,
    now: Time,
    is_dialing: bool,
    deadline: Option<Time>,
    up: BytesMut,
    down: BytesMut,
    server_input: BytesMut,
    client_input: BytesMut,
    /// What the server took over, and what the client got.
    at_server: Vec<String>,
    at_client: Vec<String>,
    published: BTreeMap<u64, bool>,
}

impl Pair {
    fn new(version: Version, window: u16) -> Self {
        let mut config = config(version);
        config.link.receive_maximum = window;
        config.link.topic_alias_max = 4;
        config.link.topic_alias_max_out = 4;
        config.session.flights_max = window;
        config.reconnect.is_first_retried = true;
        let now = Time(1_000_000);
        let mut client = Client::new(config, 3, now);
        client.connect(now);
        let session_config = SessionConfig { flights_max: window, ..SessionConfig::default() };
        Self {
            client,
            link: None,
            session: Session::new(1, session_config),
            has_session: false,
            journal: Journal::new(false),
            spools: Spools::new(0),
            now,
            is_dialing: false,
            deadline: None,
            up: BytesMut::new(),
            down: BytesMut::new(),
            server_input: BytesMut::new(),
            client_input: BytesMut::new(),
            at_server: Vec::new(),
            at_client: Vec::new(),
            published: BTreeMap::new(),
        }
    }

    /// Drains the client into the pipe.
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
                Output::Store(..) | Output::StoreBatch(..) | Output::Page(_) | Output::Spool(_) => {
                    panic!("no store")
                }
                Output::Event(Event::Message(arrived)) => {
                    self.at_client.push(arrived.publish.topic.unwrap().to_string());
                }
                Output::Event(Event::Published { number, result, .. }) => {
                    let twice = self.published.insert(number, result.is_ok());
                    assert_eq!(twice, None, "message {number} ended twice");
                }
                Output::Event(Event::Over(end)) => panic!("over: {end}"),
                Output::Event(_) => {}
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    break;
                }
            }
        }
        if let Some(link) = &mut self.link {
            let before = self.down.len();
            for chunk in link.outbox().chunks() {
                push(&mut self.down, &chunk);
            }
            let len = self.down.len() - before;
            link.outbox_mut().consume(len as u64);
            self.session.pump(link, &mut self.journal, self.now);
        }
    }

    /// Up to `limit` bytes arrive at each end. Returns whether anything moved.
    fn step(&mut self, limit: usize) -> bool {
        self.drain();
        if self.is_dialing {
            self.is_dialing = false;
            self.link = Some(Link::server(LinkConfig::default(), self.now));
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
                    let session_present = self.has_session && !connect.clean_start;
                    let (reason, properties) = (ReasonCode::Success, Properties::new());
                    let connack = ConnAck { session_present, reason, properties };
                    let limits = *link.accept(connack, 0, u32::MAX, Gate::default());
                    let resume = if session_present { Resume::Present } else { Resume::Lost };
                    self.has_session = true;
                    self.session.attach(&limits, resume, false, &mut self.journal);
                    self.session.pump(link, &mut self.journal, self.now);
                }
                Received::Publish(arrived) => {
                    let (qos, id) = (arrived.publish.qos, arrived.publish.packet_id);
                    if self.session.arrival(qos, id) == Arrival::New {
                        self.at_server.push(arrived.publish.topic.unwrap().to_string());
                    }
                    if let Some(id) = id {
                        let (ok, gate) = (ReasonCode::Success, Gate::default());
                        self.session.acknowledge(qos, id, ok, gate, link, &mut self.journal);
                    }
                }
                Received::Ack(AckKind::PubRel, ack) => {
                    self.session.handle_pubrel(&ack, Properties::new(), link, &mut self.journal);
                }
                Received::Ack(kind, ack) => {
                    let outcome = self.session.handle_ack(
                        kind,
                        ack,
                        link,
                        &mut self.journal,
                        Properties::new(),
                    );
                    assert!(!matches!(outcome.expect("it fits"), AckOutcome::Unknown));
                    self.session.pump(link, &mut self.journal, self.now);
                }
                Received::Disconnect(_) => return self.cut_server(),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The stream breaks: what was under way is gone.
    fn cut(&mut self) {
        self.cut_server();
        self.client.handle_closed(self.now);
        self.drain();
    }

    fn cut_server(&mut self) {
        if self.link.take().is_some() {
            self.session.detach();
        }
        for pipe in [&mut self.up, &mut self.down, &mut self.server_input, &mut self.client_input] {
            pipe.clear();
        }
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
            if !moved && self.client.is_idle() && self.session.is_idle() {
                return;
            }
            if !moved {
                self.wake();
            }
        }
        panic!("it never ends: {:?} {:?}", self.client.stats(), self.session.stats());
    }
}

fn push(out: &mut BytesMut, chunk: &Chunk<'_>) {
    match chunk {
        Chunk::Bytes(bytes) => out.extend_from_slice(bytes),
        Chunk::Spool { .. } => panic!("no spools here"),
    }
}

#[derive(Clone, Debug)]
enum Act {
    Up(u8),
    Down(u8),
    Move(usize),
    Cut,
    Wake,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (0..3_u8).prop_map(Act::Up),
        3 => (0..3_u8).prop_map(Act::Down),
        6 => (1..40_usize).prop_map(Act::Move),
        1 => Just(Act::Cut),
        2 => Just(Act::Wake),
    ];
    prop::collection::vec(act, 0..80)
}

/// The topics of one QoS in the order of their first arrival, and whether any came twice.
fn of_qos(topics: &[String], qos: QoS) -> (Vec<String>, bool) {
    let mut first = Vec::new();
    let mut is_doubled = false;
    for topic in topics.iter().filter(|topic| topic.ends_with(&format!("/{qos}"))) {
        if first.contains(topic) {
            is_doubled = true;
        } else {
            first.push(topic.clone());
        }
    }
    (first, is_doubled)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// v5 [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-4.6.0-5], v3.1.1 [MQTT-4.3.2-2]
    /// [MQTT-4.3.3-2] [MQTT-4.4.0-1]: QoS 1 at least once, QoS 2 exactly once, both in order, wherever links break.
    #[test]
    fn messages_survive_broken_links(acts in acts(), window in 1..4_u16) {
        for version in VERSIONS {
            let mut pair = Pair::new(version, window);
            let mut sent = [Vec::new(), Vec::new()];
            for (at, act) in acts.iter().enumerate() {
                match *act {
                    Act::Up(qos) => {
                        let qos = QoS::from_bits(qos).unwrap();
                        let topic = format!("up/{at}/{qos}");
                        let payload = Payload::Bytes(Bytes::new());
                        pair.client.publish(publish(qos, &topic), payload, pair.now).unwrap();
                        sent[0].push(topic);
                    }
                    Act::Down(qos) => {
                        let qos = QoS::from_bits(qos).unwrap();
                        let topic = format!("down/{at}/{qos}");
                        pair.send(qos, &topic);
                        sent[1].push(topic);
                    }
                    Act::Move(limit) => drop(pair.step(limit)),
                    Act::Cut => pair.cut(),
                    Act::Wake => pair.wake(),
                }
            }
            pair.run_until_idle();
            prop_assert!(pair.published.values().all(|is_ok| *is_ok));
            for (sent, got) in [(&sent[0], &pair.at_server), (&sent[1], &pair.at_client)] {
                for qos in [Q1, Q2] {
                    let (first, is_doubled) = of_qos(got, qos);
                    prop_assert_eq!(first, of_qos(sent, qos).0);
                    prop_assert!(qos == Q1 || !is_doubled);
                }
                prop_assert!(!of_qos(got, Q0).1);
            }
        }
    }
}

/// The common case, without a break: all of it arrives once.
#[test]
fn everything_arrives_once_on_one_link() {
    for version in VERSIONS {
        let mut pair = Pair::new(version, 2);
        pair.run_until_idle();
        for at in 0..300 {
            for qos in [Q0, Q1, Q2] {
                let (up, down) = (format!("up/{at}/{qos}"), format!("down/{at}/{qos}"));
                let payload = Payload::Bytes(Bytes::new());
                pair.client.publish(publish(qos, &up), payload, pair.now).unwrap();
                pair.send(qos, &down);
            }
        }
        pair.run_until_idle();
        assert_eq!(pair.at_server.len(), 900);
        assert_eq!(pair.at_client.len(), 900);
        assert_eq!(pair.published.len(), 600);
    }
}
