//! Hubs, their clients, a store and a clock, all in memory.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use postrider_hub::{Hub, HubConfig, LinkId, MovedLink, Output, PeerMessage};
use postrider_proto::{
    Chunk, Durability, Fact, PageRequest, PageRows, Record, SpoolOutput, Time,
    wire::{
        Ack, Bytes, ClientId, ConnAck, Connect, Decoder, DecoderConfig, Disconnect, Event, Filter,
        PACKET_SIZE_MAX, Packet, PacketId, Properties, Property, Publish, QoS, ReasonCode,
        Subscribe, SubscribeFilter, SubscribeOptions, Text, Topic, Unsubscribe, Version, Will,
        encode,
    },
};

/// One way to run a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    pub version: Version,
    pub hubs: u16,
    pub is_durable: bool,
}

/// Runs a scenario for both versions, for one and two hubs, with and without a store.
pub fn each(scenario: impl Fn(&mut World)) {
    each_with(|_| {}, scenario);
}

/// As [`each`], with a changed configuration.
pub fn each_with(change: impl Fn(&mut HubConfig), scenario: impl Fn(&mut World)) {
    for version in [Version::V311, Version::V5] {
        run(version, &change, &scenario);
    }
}

/// As [`each`], for 5.0 only.
pub fn each_v5(scenario: impl Fn(&mut World)) {
    run(Version::V5, &|_| {}, &scenario);
}

/// As [`each_with`], for 5.0 only.
pub fn each_v5_with(change: impl Fn(&mut HubConfig), scenario: impl Fn(&mut World)) {
    run(Version::V5, &change, &scenario);
}

/// As [`each`], for 3.1 and 3.1.1.
pub fn each_v3(scenario: impl Fn(&mut World)) {
    for version in [Version::V31, Version::V311] {
        run(version, &|_| {}, &scenario);
    }
}

fn run(version: Version, change: &impl Fn(&mut HubConfig), scenario: &impl Fn(&mut World)) {
    for hubs in [1, 2] {
        for is_durable in [false, true] {
            let setup = Setup { version, hubs, is_durable };
            println!("{setup:?}");
            scenario(&mut World::new(setup, change));
        }
    }
}

pub struct World {
    pub setup: Setup,
    pub now: Time,
    pub hubs: Vec<Hub>,
    configs: Vec<HubConfig>,
    clients: BTreeMap<String, Client>,
    /// Which client is behind a link.
    links: BTreeMap<(usize, LinkId), String>,
    peers: BTreeMap<(usize, u16), VecDeque<PeerMessage>>,
    /// What is stored: bytes by key, as a store would have them.
    pub stored: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What is handed to the store and not stored yet.
    unstored: VecDeque<(usize, u64, Record)>,
    pub spools: BTreeMap<u64, Vec<u8>>,
    /// Whether the store answers only when asked to.
    pub is_store_slow: bool,
    /// What links rely on that are opened from now on.
    pub durability: Durability,
    /// Whether a hub asked for a sync.
    pub was_sync_asked: bool,
    /// Pages that hubs asked for.
    asked: VecDeque<(usize, u64, PageRequest)>,
    /// How many they have asked for.
    pub pages: usize,
    /// Whether pages come only when asked for again.
    pub are_pages_slow: bool,
    /// Whether messages between hubs stay where they are.
    pub are_peers_slow: bool,
    accepted: usize,
    pub moves: usize,
    pub events: Vec<postrider_hub::Event>,
    /// Questions with the hub that asks.
    pub questions: Vec<(usize, postrider_hub::Ask)>,
    /// How often Wait asked to be called at once.
    pub turns: usize,
}

struct Client {
    version: Version,
    hub: usize,
    link: LinkId,
    /// What the hub has not read.
    input: BytesMut,
    output: BytesMut,
    decoder: Decoder,
    /// What was received and not looked at.
    log: Vec<Packet>,
    is_closed: bool,
    is_paused: bool,
    /// Whether PUBLISH, PUBREC and PUBREL are answered at once.
    is_answering: bool,
    /// Whether it reads what the hub writes.
    is_reading: bool,
    last_id: u16,
}

impl World {
    pub fn new(setup: Setup, change: &impl Fn(&mut HubConfig)) -> Self {
        let now = Time(1_000_000);
        let configs: Vec<_> = (0..setup.hubs)
            .map(|index| {
                let is_durable = setup.is_durable;
                let hubs = setup.hubs;
                let mut config =
                    HubConfig { index, hubs, seed: 42, is_durable, ..HubConfig::default() };
                change(&mut config);
                config
            })
            .collect();
        Self {
            setup,
            now,
            hubs: configs.iter().map(|config| Hub::new(config.clone(), now)).collect(),
            configs,
            clients: BTreeMap::new(),
            links: BTreeMap::new(),
            peers: BTreeMap::new(),
            stored: BTreeMap::new(),
            unstored: VecDeque::new(),
            spools: BTreeMap::new(),
            asked: VecDeque::new(),
            pages: 0,
            are_pages_slow: false,
            is_store_slow: false,
            durability: Durability::Durable,
            was_sync_asked: false,
            are_peers_slow: false,
            accepted: 0,
            moves: 0,
            events: Vec::new(),
            questions: Vec::new(),
            turns: 0,
        }
    }

    pub fn is_v5(&self) -> bool {
        self.setup.version == Version::V5
    }

    // Clients.

    /// Connects with a clean session that ends with the link.
    pub fn connect(&mut self, name: &str) {
        let connack = self.connect_as(name, |_| {});
        assert_eq!(connack, "CONNACK Success", "{name}");
    }

    /// Connects to a session that lives on. Returns whether it was there.
    pub fn resume(&mut self, name: &str) -> bool {
        let connack = self.connect_as(name, |connect| {
            connect.clean_start = false;
            set_expiry(connect, u32::MAX);
        });
        assert!(connack.starts_with("CONNACK") && connack.contains("Success"), "{connack}");
        connack.contains("session_present")
    }

    /// Connects with a changed CONNECT. Returns the CONNACK without what every server announces.
    pub fn connect_as(&mut self, name: &str, change: impl FnOnce(&mut Connect)) -> String {
        self.dial(name);
        self.send_connect(name, change);
        self.take_connack(name)
    }

    /// Opens a stream.
    pub fn dial(&mut self, name: &str) {
        if self.clients.get(name).is_some_and(|client| !client.is_closed) {
            self.retire(name);
        }
        let hub = self.accepted % self.hubs.len();
        self.accepted += 1;
        let link = self.hubs[hub].accept_relying_on(self.durability, self.now);
        let version = self.setup.version;
        let config = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: u32::MAX,
            is_topic_lenient: false,
        };
        self.links.insert((hub, link), name.into());
        let client = Client {
            version,
            hub,
            link,
            input: BytesMut::new(),
            output: BytesMut::new(),
            decoder: Decoder::new(config, Some(version)),
            log: Vec::new(),
            is_closed: false,
            is_paused: false,
            is_answering: true,
            is_reading: true,
            last_id: 0,
        };
        self.clients.insert(name.into(), client);
    }

    /// The client understands this version, whatever it says itself.
    pub fn listen_in(&mut self, name: &str, version: Version) {
        self.client(name).decoder.set_version(version);
    }

    /// The stream of this client goes on under another name, so that its client id can connect again.
    fn retire(&mut self, name: &str) {
        let old = format!("{name} before");
        let client = self.clients.remove(name).expect("a client");
        self.links.insert((client.hub, client.link), old.clone());
        self.clients.insert(old, client);
    }

    pub fn send_connect(&mut self, name: &str, change: impl FnOnce(&mut Connect)) {
        let mut connect = Connect {
            version: self.setup.version,
            clean_start: true,
            keep_alive: 0,
            client_id: ClientId::new(name).expect("a client id"),
            user_name: None,
            password: None,
            will: None,
            properties: Properties::new(),
        };
        change(&mut connect);
        if connect.version != self.setup.version {
            let client = self.client(name);
            client.version = connect.version;
            client.decoder.set_version(connect.version);
        }
        self.send(name, &Packet::Connect(Box::new(connect)));
    }

    pub fn take_connack(&mut self, name: &str) -> String {
        let client = self.client(name);
        let first = client.log.iter().position(|packet| matches!(packet, Packet::ConnAck(_)));
        let Some(Packet::ConnAck(mut connack)) = first.map(|at| client.log.remove(at)) else {
            return "nothing".into();
        };
        connack.properties.retain(|property| {
            !matches!(
                property,
                Property::ReceiveMaximum(_)
                    | Property::TopicAliasMaximum(_)
                    | Property::MaximumPacketSize(_)
            )
        });
        Packet::ConnAck(connack).to_string()
    }

    /// Sends a packet and lets everything happen that follows at once.
    pub fn send(&mut self, name: &str, packet: &Packet) {
        let version = self.client(name).version;
        let mut bytes = Vec::new();
        encode(packet, version, PACKET_SIZE_MAX, &mut bytes).expect("a packet");
        self.send_bytes(name, &bytes);
    }

    pub fn send_bytes(&mut self, name: &str, bytes: &[u8]) {
        self.put_bytes(name, bytes);
        self.settle();
    }

    /// Puts bytes before the hub without letting anything else happen.
    pub fn put_bytes(&mut self, name: &str, bytes: &[u8]) {
        self.client(name).input.extend_from_slice(bytes);
        self.feed(name);
    }

    /// Sends several packets in one piece.
    pub fn send_all(&mut self, name: &str, packets: &[Packet]) {
        let version = self.client(name).version;
        let mut bytes = Vec::new();
        for packet in packets {
            encode(packet, version, PACKET_SIZE_MAX, &mut bytes).expect("a packet");
        }
        self.send_bytes(name, &bytes);
    }

    /// Everything received since the last look, one line each; PUBLISH with its payload.
    pub fn received(&mut self, name: &str) -> Vec<String> {
        let client = self.client(name);
        client.log.drain(..).map(|packet| line(&packet)).collect()
    }

    /// The messages received since the last look: `topic=payload q1 retain dup ids=1,2`. Other packets stay.
    pub fn messages(&mut self, name: &str) -> Vec<String> {
        let client = self.client(name);
        let (publishes, rest): (Vec<_>, Vec<_>) =
            client.log.drain(..).partition(|packet| matches!(packet, Packet::Publish(_)));
        client.log = rest;
        client.log.retain(|packet| !matches!(packet, Packet::PubRel(_)));
        publishes.iter().map(short).collect()
    }

    /// As [`World::messages`], the PUBLISH packets themselves.
    pub fn publishes(&mut self, name: &str) -> Vec<Publish> {
        let client = self.client(name);
        let log = core::mem::take(&mut client.log);
        log.into_iter()
            .filter_map(|packet| match packet {
                Packet::Publish(publish) => Some(publish),
                other => {
                    client.log.push(other);
                    None
                }
            })
            .collect()
    }

    /// Subscribes; returns the codes of the SUBACK.
    pub fn subscribe(&mut self, name: &str, filters: &[(&str, u8)]) -> Vec<ReasonCode> {
        let lines: Vec<_> = filters.iter().map(|&(filter, qos)| (filter, options(qos))).collect();
        self.subscribe_as(name, &lines, None)
    }

    pub fn subscribe_as(
        &mut self,
        name: &str,
        lines: &[(&str, SubscribeOptions)],
        identifier: Option<u32>,
    ) -> Vec<ReasonCode> {
        let packet_id = self.send_subscribe_as(name, lines, identifier);
        let is_it = |packet: &Packet| matches!(packet, Packet::SubAck(_));
        match self.take_first(name, is_it) {
            Some(Packet::SubAck(suback)) => {
                assert_eq!(suback.packet_id, packet_id);
                suback.reasons
            }
            _ => panic!("{name} got no SUBACK"),
        }
    }

    /// Subscribes, and does not look for the answer.
    pub fn send_subscribe(&mut self, name: &str, filters: &[(&str, u8)]) {
        let lines: Vec<_> = filters.iter().map(|&(filter, qos)| (filter, options(qos))).collect();
        self.send_subscribe_as(name, &lines, None);
    }

    fn send_subscribe_as(
        &mut self,
        name: &str,
        lines: &[(&str, SubscribeOptions)],
        identifier: Option<u32>,
    ) -> PacketId {
        let packet_id = self.take_id(name);
        let filters = lines
            .iter()
            .map(|&(filter, options)| SubscribeFilter {
                filter: Filter::new(filter).expect("a filter"),
                options,
            })
            .collect();
        let mut properties = Properties::new();
        if let Some(id) = identifier {
            properties.push(Property::SubscriptionIdentifier(id));
        }
        self.send(name, &Packet::Subscribe(Subscribe { packet_id, properties, filters }));
        packet_id
    }

    /// Unsubscribes; returns the codes of the UNSUBACK (none in 3.x).
    pub fn unsubscribe(&mut self, name: &str, filters: &[&str]) -> Vec<ReasonCode> {
        let packet_id = self.take_id(name);
        let filters = filters.iter().map(|filter| Filter::new(filter).expect("a filter")).collect();
        let properties = Properties::new();
        self.send(name, &Packet::Unsubscribe(Unsubscribe { packet_id, properties, filters }));
        match self.take_first(name, |packet| matches!(packet, Packet::UnsubAck(_))) {
            Some(Packet::UnsubAck(unsuback)) => {
                assert_eq!(unsuback.packet_id, packet_id);
                unsuback.reasons
            }
            _ => panic!("{name} got no UNSUBACK"),
        }
    }

    /// Publishes and completes the exchange; returns the code of the first acknowledgement.
    pub fn publish(&mut self, name: &str, topic: &str, payload: &str, qos: u8) -> ReasonCode {
        self.publish_as(name, topic, payload, qos, |_| {})
    }

    /// As [`World::publish`], with RETAIN=1.
    pub fn retain(&mut self, name: &str, topic: &str, payload: &str, qos: u8) -> ReasonCode {
        self.publish_as(name, topic, payload, qos, |publish| publish.retain = true)
    }

    pub fn publish_as(
        &mut self,
        name: &str,
        topic: &str,
        payload: &str,
        qos: u8,
        change: impl FnOnce(&mut Publish),
    ) -> ReasonCode {
        let mut publish = publish(topic, payload, qos);
        publish.packet_id = (qos > 0).then(|| self.take_id(name));
        change(&mut publish);
        let packet_id = publish.packet_id;
        self.send(name, &Packet::Publish(publish));
        let Some(packet_id) = packet_id else { return ReasonCode::Success };
        let first = self.take_first(name, |packet| {
            matches!(packet, Packet::PubAck(ack) | Packet::PubRec(ack) if ack.packet_id == packet_id)
        });
        self.take_first(
            name,
            |packet| matches!(packet, Packet::PubComp(ack) if ack.packet_id == packet_id),
        );
        match (qos, first) {
            (1, Some(Packet::PubAck(ack))) | (2, Some(Packet::PubRec(ack))) => ack.reason,
            (_, other) => panic!("{name} got no acknowledgement: {other:?}"),
        }
    }

    pub fn disconnect(&mut self, name: &str) {
        self.disconnect_with(name, ReasonCode::Success, None);
    }

    pub fn disconnect_with(&mut self, name: &str, reason: ReasonCode, expiry_s: Option<u32>) {
        let mut properties = Properties::new();
        if let Some(seconds) = expiry_s {
            properties.push(Property::SessionExpiryInterval(seconds));
        }
        self.send(name, &Packet::Disconnect(Disconnect { reason, properties }));
        assert!(self.is_closed(name), "the server closes after DISCONNECT");
    }

    /// The network fails.
    pub fn cut(&mut self, name: &str) {
        let now = self.now;
        let client = self.client(name);
        client.is_closed = true;
        let (hub, link) = (client.hub, client.link);
        self.hubs[hub].handle_closed(link, now);
        self.settle();
    }

    pub fn is_closed(&mut self, name: &str) -> bool {
        self.client(name).is_closed
    }

    pub fn is_paused(&mut self, name: &str) -> bool {
        self.client(name).is_paused
    }

    /// Whether PUBLISH and the rest are answered at once.
    pub fn set_answering(&mut self, name: &str, is_answering: bool) {
        self.client(name).is_answering = is_answering;
    }

    /// Whether the client reads what comes.
    pub fn set_reading(&mut self, name: &str, is_reading: bool) {
        self.client(name).is_reading = is_reading;
        if is_reading {
            self.transmit(name);
            self.settle();
        }
    }

    /// Bytes that a client has sent and the hub has not read.
    pub fn unread(&mut self, name: &str) -> usize {
        self.client(name).input.len()
    }

    pub fn take_id(&mut self, name: &str) -> PacketId {
        let client = self.client(name);
        client.last_id = client.last_id.checked_add(1).unwrap_or(1);
        id(client.last_id)
    }

    /// The hub a client ended up on.
    pub fn hub_of(&mut self, name: &str) -> usize {
        self.client(name).hub
    }

    pub fn answer(&mut self, reason: ReasonCode) {
        let (hub, ask) = self.questions.remove(0);
        let now = self.now;
        self.hubs[hub].handle_answer(ask.link, reason, now);
        self.settle();
    }

    // Time and the store.

    /// Time passes; every deadline is met on the way.
    pub fn pass_ms(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        loop {
            self.settle();
            let next = self.deadlines().into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for hub in 0..self.hubs.len() {
                self.hubs[hub].handle_time(self.now);
            }
        }
        self.now = end;
        for hub in 0..self.hubs.len() {
            self.hubs[hub].handle_time(self.now);
        }
        self.settle();
    }

    pub fn pass_s(&mut self, seconds: u64) {
        self.pass_ms(seconds * 1000);
    }

    /// Stores what was handed to the store.
    pub fn store(&mut self) {
        while let Some((hub, seq, record)) = self.unstored.pop_front() {
            write(&mut self.stored, &record);
            self.hubs[hub].handle_stored(seq, self.now);
        }
        self.settle();
    }

    /// Hands what was written to the operating system: it would survive the process.
    pub fn hand_over(&mut self) {
        for (hub, seq, _) in &self.unstored {
            self.hubs[*hub].handle_handed(*seq, self.now);
        }
        self.settle();
    }

    /// Gives the hubs the pages they asked for. What was handed to the store is in them, stored or not.
    pub fn turn_pages(&mut self) {
        let mut rows = self.stored.clone();
        for (_, _, record) in &self.unstored {
            write(&mut rows, record);
        }
        while let Some((hub, ticket, request)) = self.asked.pop_front() {
            let mut page = PageRows::new(&request);
            for (key, value) in &rows {
                let is_wanted = key.starts_with(&request.prefix) && *key > request.after;
                if is_wanted && page.push(key, Bytes::copy_from_slice(value)).is_break() {
                    break;
                }
            }
            self.hubs[hub].handle_page(ticket, page, self.now);
        }
        self.settle();
    }

    /// All processes end at once and start again with what is stored. `hubs` may differ.
    pub fn restart(&mut self, hubs: u16) {
        assert!(self.setup.is_durable, "nothing survives without a store");
        for client in self.clients.values_mut() {
            client.is_closed = true;
        }
        self.links.clear();
        self.peers.clear();
        self.unstored.clear();
        self.asked.clear();
        let records: Vec<_> = self
            .stored
            .iter()
            .map(|(key, value)| Record::decode(key, &Bytes::from(value.clone())).expect("a record"))
            .collect();
        let mut config = self.configs[0].clone();
        config.hubs = hubs;
        self.setup.hubs = hubs;
        self.configs = (0..hubs).map(|index| HubConfig { index, ..config.clone() }).collect();
        self.hubs = self.configs.iter().map(|c| Hub::new(c.clone(), self.now)).collect();
        for hub in &mut self.hubs {
            hub.recover(records.clone(), self.now);
        }
        self.settle();
    }

    /// Lets everything happen that happens at once.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut is_quiet = true;
            for hub in 0..self.hubs.len() {
                is_quiet &= !self.drain(hub);
            }
            if !self.are_peers_slow {
                is_quiet &= !self.carry();
            }
            if !self.is_store_slow && !self.unstored.is_empty() {
                self.store();
                is_quiet = false;
            }
            if !self.are_pages_slow && !self.asked.is_empty() {
                self.turn_pages();
                is_quiet = false;
            }
            if is_quiet {
                return;
            }
        }
        panic!("the world does not settle");
    }

    fn deadlines(&mut self) -> Vec<Option<Time>> {
        (0..self.hubs.len())
            .map(|hub| {
                let output = self.hubs[hub].poll_output();
                let Output::Wait(at) = output else { panic!("not settled: {output:?}") };
                at
            })
            .collect()
    }

    /// One drain of a hub. Returns whether anything happened.
    fn drain(&mut self, hub: usize) -> bool {
        let mut has_moved = false;
        loop {
            let output = self.hubs[hub].poll_output();
            match output {
                Output::Wait(at) => {
                    self.was_sync_asked |= self.hubs[hub].awaits_sync();
                    if at.is_some_and(|at| at <= self.now) {
                        self.turns += 1;
                        self.hubs[hub].handle_time(self.now);
                        return true;
                    }
                    return has_moved;
                }
                other => self.perform(hub, other),
            }
            has_moved = true;
        }
    }

    fn perform(&mut self, hub: usize, output: Output) {
        match output {
            Output::Transmit(link) => {
                if let Some(name) = self.links.get(&(hub, link)).cloned() {
                    self.transmit(&name);
                }
            }
            Output::Close(link) => {
                let name = self.links.get(&(hub, link)).cloned().expect("a client");
                let client = self.client(&name);
                client.is_closed = true;
                self.hubs[hub].handle_closed(link, self.now);
            }
            Output::Pause(link) => self.set_paused(hub, link, true),
            Output::Resume(link) => {
                self.set_paused(hub, link, false);
                if let Some(name) = self.links.get(&(hub, link)).cloned() {
                    self.feed(&name);
                }
            }
            Output::Ask(ask) => self.questions.push((hub, ask)),
            Output::Move { link, to, moved } => self.adopt(hub, link, to, *moved),
            Output::Peer(to, message) => {
                let to = usize::from(to);
                self.peers.entry((to, hub as u16)).or_default().push_back(message);
            }
            Output::Store(seq, record) => self.unstored.push_back((hub, seq, record)),
            Output::Page { ticket, request } => {
                self.pages += 1;
                self.asked.push_back((hub, ticket, request));
            }
            Output::Spool(SpoolOutput::Append(number, bytes)) => {
                self.spools.entry(number).or_default().extend_from_slice(&bytes);
            }
            Output::Spool(SpoolOutput::Drop(number)) => {
                self.spools.remove(&number).expect("a spool");
            }
            Output::Event(event) => self.events.push(event),
            Output::Wait(_) => panic!("Wait is not performed"),
        }
    }

    fn adopt(&mut self, from: usize, link: LinkId, to: u16, moved: MovedLink) {
        self.moves += 1;
        let name = self.links.remove(&(from, link)).expect("a client");
        let to = usize::from(to);
        let link = self.hubs[to].adopt(moved, self.now);
        self.links.insert((to, link), name.clone());
        let client = self.client(&name);
        assert!(!client.is_paused, "a link that moves is not told to pause");
        (client.hub, client.link) = (to, link);
        self.feed(&name);
    }

    fn set_paused(&mut self, hub: usize, link: LinkId, is_paused: bool) {
        if let Some(name) = self.links.get(&(hub, link)).cloned() {
            self.client(&name).is_paused = is_paused;
        }
    }

    fn feed(&mut self, name: &str) {
        let now = self.now;
        let client = self.clients.get_mut(name).expect("a client");
        if !client.is_closed && !client.is_paused {
            self.hubs[client.hub].handle_bytes(client.link, &mut client.input, now);
        }
    }

    /// Hands over messages between hubs. Returns whether there were any.
    pub fn carry(&mut self) -> bool {
        let peers = core::mem::take(&mut self.peers);
        let is_any = !peers.is_empty();
        for ((to, from), messages) in peers {
            for message in messages {
                self.hubs[to].handle_peer(from, message, self.now);
            }
        }
        is_any
    }

    /// Writes a link's output to its client.
    fn transmit(&mut self, name: &str) {
        let now = self.now;
        let spools = &self.spools;
        let client = self.clients.get_mut(name).expect("a client");
        if !client.is_reading {
            return;
        }
        let hub = &mut self.hubs[client.hub];
        let before = client.output.len();
        for chunk in hub.chunks(client.link) {
            match chunk {
                Chunk::Bytes(bytes) => client.output.extend_from_slice(bytes),
                Chunk::Spool { id, offset, len } => {
                    let spool = &spools[&id.number()];
                    let range = offset as usize..(offset + len) as usize;
                    client.output.extend_from_slice(&spool[range]);
                }
            }
        }
        let written = (client.output.len() - before) as u64;
        hub.consume(client.link, written, now);
        let mut answers = Vec::new();
        while let Some(event) = client.decoder.decode(&mut client.output).expect("a packet") {
            let Event::Packet(mut packet) = event else { panic!("payloads come whole") };
            if let Packet::ConnAck(ConnAck { properties, .. })
            | Packet::Disconnect(Disconnect { properties, .. }) = &mut packet
            {
                // For people; the words may change.
                properties.retain(|property| !matches!(property, Property::ReasonString(_)));
            }
            if client.is_answering {
                answers.extend(answer(&packet));
            }
            client.log.push(packet);
        }
        if !client.is_closed {
            for packet in answers {
                let mut bytes = Vec::new();
                encode(&packet, client.version, PACKET_SIZE_MAX, &mut bytes).expect("a packet");
                client.input.extend_from_slice(&bytes);
            }
            self.feed(name);
        }
    }

    fn take_first(&mut self, name: &str, is_it: impl Fn(&Packet) -> bool) -> Option<Packet> {
        let client = self.client(name);
        let at = client.log.iter().position(is_it)?;
        Some(client.log.remove(at))
    }

    fn client(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).unwrap_or_else(|| panic!("no client {name}"))
    }
}

/// What a well-behaved client answers.
fn answer(packet: &Packet) -> Option<Packet> {
    match packet {
        Packet::Publish(publish) => match publish.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => publish.packet_id.map(|id| Packet::PubAck(ack(id))),
            QoS::ExactlyOnce => publish.packet_id.map(|id| Packet::PubRec(ack(id))),
        },
        Packet::PubRec(rec) if !rec.reason.is_error() => Some(Packet::PubRel(ack(rec.packet_id))),
        Packet::PubRel(rel) => Some(Packet::PubComp(ack(rel.packet_id))),
        _ => None,
    }
}

pub fn ack(packet_id: PacketId) -> Ack {
    Ack { packet_id, reason: ReasonCode::Success, properties: Properties::new() }
}

pub fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not 0")
}

pub fn level(qos: u8) -> QoS {
    QoS::from_bits(qos).expect("a QoS")
}

/// Writes a record as a store does.
fn write(rows: &mut BTreeMap<Vec<u8>, Vec<u8>>, record: &Record) {
    let key = record.key();
    match record.value() {
        Some(value) => {
            let read = Record::decode(&key, &Bytes::from(value.clone())).expect("a record of ours");
            match (&read.fact, &record.fact) {
                // Stored as the same.
                (Fact::Received(read), Fact::ReceivedFirst(written)) => assert_eq!(read, written),
                (read, written) => assert_eq!(read, written),
            }
            let is_there = rows.keys().any(|stored| stored.starts_with(&key));
            assert!(!(record.is_first() && is_there), "{record:?} is not the first");
            rows.insert(key, value);
        }
        None => rows.retain(|stored, _| !stored.starts_with(&key)),
    }
}

pub fn publish(topic: &str, payload: &str, qos: u8) -> Publish {
    Publish {
        dup: false,
        qos: level(qos),
        retain: false,
        topic: Some(Topic::new(topic).expect("a topic")),
        packet_id: None,
        properties: Properties::new(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

/// A PUBLISH packet with an id.
pub fn publish_packet(topic: &str, payload: &str, qos: u8, packet_id: u16) -> Packet {
    let packet_id = (qos > 0).then(|| id(packet_id));
    Packet::Publish(Publish { packet_id, ..publish(topic, payload, qos) })
}

pub fn will(topic: &str, payload: &str, qos: u8) -> Will {
    Will {
        topic: Topic::new(topic).expect("a topic"),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: level(qos),
        retain: false,
        properties: Properties::new(),
    }
}

pub fn options(qos: u8) -> SubscribeOptions {
    SubscribeOptions { qos: level(qos), ..Default::default() }
}

pub fn text(text: &str) -> Text {
    Text::new(text).expect("a string")
}

/// Lets the session live on after the link; in 3.x that is what Clean Session 0 means.
pub fn set_expiry(connect: &mut Connect, seconds: u32) {
    if connect.version == Version::V5 {
        connect.properties.set(Property::SessionExpiryInterval(seconds));
    } else {
        connect.clean_start = seconds == 0;
    }
}

fn line(packet: &Packet) -> String {
    match packet {
        Packet::Publish(publish) => {
            let payload = String::from_utf8_lossy(&publish.payload);
            format!("{packet} {payload:?}")
        }
        other => other.to_string(),
    }
}

fn short(packet: &Packet) -> String {
    let Packet::Publish(publish) = packet else { return line(packet) };
    let topic = publish.topic.as_ref().map_or("", |topic| topic.as_str());
    let payload = String::from_utf8_lossy(&publish.payload);
    let mut line = format!("{topic}={payload} q{}", publish.qos);
    if publish.retain {
        line.push_str(" retain");
    }
    if publish.dup {
        line.push_str(" dup");
    }
    let ids: Vec<_> =
        publish.properties.subscription_identifiers().map(|id| id.to_string()).collect();
    if !ids.is_empty() {
        line.push_str(&format!(" ids={}", ids.join(",")));
    }
    line
}
