//! One simulated client: the machine, its disk, and what its program remembers.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_proto::{
    Client, LinkConfig, Payload, ReconnectConfig, SessionConfig, SpoolOutput, Time,
    client::{ClientConfig, ConnectOptions, OperationError, PublishError},
    wire::{
        ClientId, Filter, Properties, Property, Publish, QoS, SubscribeFilter, SubscribeOptions,
        Topic, Will,
    },
};

use crate::{
    disk::Disk,
    script::{Actor, Answer, Script},
    shelf::{SpoolShelf, named},
    world::Held,
};

/// A client of the world.
#[derive(Debug)]
pub(crate) struct SimClient {
    pub(crate) name: String,
    pub(crate) actor: Actor,
    // Its process; all of it is new after a crash.
    pub(crate) machine: Client,
    pub(crate) is_up: bool,
    pub(crate) is_stopping: bool,
    /// Counts processes.
    pub(crate) process: u32,
    pub(crate) pipe: Option<usize>,
    pub(crate) has_been_connected: bool,
    pub(crate) was_recovered: bool,
    pub(crate) wake_at: Option<u64>,
    /// Spools that the start found and kept, and those that it removed.
    pub(crate) spools_kept: (u64, u64),
    /// Messages that the program has, by number.
    pub(crate) held: BTreeMap<u64, Held>,
    /// Messages that it has done with, until the record of that has a number.
    pub(crate) done: BTreeMap<u64, Held>,
    /// The last record of each received id.
    pub(crate) received: BTreeMap<u16, u64>,
    // What outlives it.
    pub(crate) disk: Disk,
    /// Messages in the order in which the program first saw them.
    pub(crate) first_seen: BTreeMap<u64, u64>,
    /// There is no network until then.
    pub(crate) away_until: u64,
    /// What becomes of the next CONNACK.
    pub(crate) answer: Answer,
    /// Publications by message number.
    pub(crate) numbers: BTreeMap<u64, usize>,
    /// Which of its filters the program wants.
    pub(crate) wanted: Vec<bool>,
}

/// A message to publish.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) topic: Topic,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expiry_s: Option<u32>,
    pub(crate) payload: Vec<u8>,
}

impl SimClient {
    pub(crate) fn new(index: usize, actor: Actor, script: &Script, now: Time) -> Self {
        let name = format!("client-{index}");
        let wanted = vec![true; actor.filters.len()];
        let machine = Client::new(config(&name, &actor, script, None), 0, now);
        Self {
            name,
            actor,
            machine,
            is_up: false,
            is_stopping: false,
            process: 0,
            pipe: None,
            has_been_connected: false,
            was_recovered: false,
            wake_at: None,
            spools_kept: (0, 0),
            received: BTreeMap::new(),
            held: BTreeMap::new(),
            done: BTreeMap::new(),
            first_seen: BTreeMap::new(),
            away_until: 0,
            answer: Answer::Kept,
            disk: Disk::new(script.has_stages),
            numbers: BTreeMap::new(),
            wanted,
        }
    }

    /// A new process, from what is on the disk.
    pub(crate) fn start(&mut self, script: &Script, now: Time) {
        self.process += 1;
        let seed = script.seed ^ u64::from(self.process) << 8;
        self.machine = Client::new(config(&self.name, &self.actor, script, None), seed, now);
        self.is_up = true;
        self.is_stopping = false;
        self.pipe = None;
        self.has_been_connected = false;
        self.wake_at = None;
        self.received.clear();
        self.held.clear();
        self.done.clear();
        self.disk.forget_numbers();
        if self.actor.has_store {
            let records = self.disk.records();
            self.was_recovered = !records.is_empty();
            let names = records.iter().filter_map(named).map(|(number, _)| number).collect();
            self.spools_kept = self.disk.shelf.keep(&[names]);
            self.machine.recover(records);
        } else {
            self.numbers.clear();
            self.disk.shelf = SpoolShelf::default();
        }
    }

    /// The next CONNECT has a will with this payload.
    pub(crate) fn set_will(&mut self, script: &Script, payload: Vec<u8>) {
        let config = config(&self.name, &self.actor, script, Some(payload));
        self.machine.set_connect_options(ConnectOptions {
            user_name: config.user_name,
            password: config.password,
            keep_alive_s: config.keep_alive_s,
            will: config.will,
            properties: config.connect_properties,
        });
    }

    /// The filters of the script.
    pub(crate) fn filters(&self) -> Vec<(Filter, QoS)> {
        let parse = |text: &str| Filter::new(text).expect("filters of the script are valid");
        self.actor.filters.iter().map(|(text, qos)| (parse(text), *qos)).collect()
    }

    /// Asks for what the program wants, as programs do when they start, and ends what the session has besides.
    pub(crate) fn agree(&mut self, now: Time) {
        let have: Vec<Filter> =
            self.machine.subscriptions().map(|line| line.filter.clone()).collect();
        for (place, (filter, _)) in self.filters().iter().enumerate() {
            if self.wanted[place] || have.contains(filter) {
                self.ask(place, now);
            }
        }
    }

    /// Subscribes or unsubscribes, as the program wants.
    pub(crate) fn ask(&mut self, place: usize, now: Time) {
        let (filter, qos) = self.filters().swap_remove(place);
        let asked = if self.wanted[place] {
            let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
            let filters = vec![SubscribeFilter { filter, options }];
            self.machine.subscribe(filters, Properties::new(), now)
        } else {
            self.machine.unsubscribe(vec![filter], Properties::new(), now)
        };
        // Over, when it was taken over in the same breath.
        let is_taken = matches!(asked, Ok(_) | Err(OperationError::Over));
        assert!(is_taken, "an operation within all limits: {asked:?}");
    }

    /// Publishes; returns the message number.
    pub(crate) fn publish(
        &mut self,
        draft: Draft,
        spool_above: u32,
        now: Time,
    ) -> Result<u64, PublishError> {
        let mut properties = Properties::new();
        if let Some(seconds) = draft.expiry_s {
            properties.push(Property::MessageExpiryInterval(seconds));
        }
        let publish = Publish {
            dup: false,
            qos: draft.qos,
            retain: draft.retain,
            topic: Some(draft.topic),
            packet_id: None,
            properties,
            payload: Bytes::new(),
        };
        let payload = self.hand_over(draft.payload, spool_above);
        self.machine.publish(publish, payload, now).map(|sent| sent.number)
    }

    /// A large payload may be in a file before it is published.
    fn hand_over(&mut self, bytes: Vec<u8>, spool_above: u32) -> Payload {
        let len = bytes.len() as u32;
        let is_file = self.disk.has_stages && len > spool_above && !len.is_multiple_of(3);
        match is_file.then(|| self.machine.begin_spool(len)).flatten() {
            Some(id) => {
                self.disk.shelf.handle(SpoolOutput::Append(id.number(), Bytes::from(bytes)));
                Payload::Spooled { id, len }
            }
            None => Payload::Bytes(Bytes::from(bytes)),
        }
    }
}

fn config(name: &str, actor: &Actor, script: &Script, will: Option<Vec<u8>>) -> ClientConfig {
    let will = actor.will.zip(will).map(|((qos, delay_s), payload)| {
        let mut properties = Properties::new();
        if actor.has_properties && delay_s > 0 {
            properties.push(Property::WillDelayInterval(delay_s));
        }
        let topic = Topic::new(WILL_TOPIC).expect("a topic");
        Will { topic, payload: Bytes::from(payload), qos, retain: false, properties }
    });
    ClientConfig {
        client_id: ClientId::new(name).expect("a short name"),
        user_name: None,
        password: None,
        clean_start: true,
        session_expiry_s: actor.expiry_s,
        keep_alive_s: 20,
        will,
        connect_properties: Properties::new(),
        operation_timeout_ms: 30_000,
        operations_max: 1_000,
        link: LinkConfig {
            receive_maximum: script.receive_maximum,
            spool_above: script.spool_above,
            ..LinkConfig::default()
        },
        session: SessionConfig {
            queue_messages_max: script.queue_max_client,
            queue_resident_bytes_max: script.queue_resident_bytes_max,
            ..SessionConfig::stored()
        },
        reconnect: ReconnectConfig {
            servers: vec!["sim".to_owned()],
            version: Some(actor.version),
            backoff_ms_max: 2_000,
            is_first_retried: true,
            ..ReconnectConfig::default()
        },
        is_manual: actor.is_manual,
        is_durable: actor.has_store,
        spool_bytes_max: 1 << 30,
    }
}

/// Where wills go.
pub(crate) const WILL_TOPIC: &str = "a/2";
