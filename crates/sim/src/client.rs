//! One simulated client: the machine, its spools, and what it has published.

use std::collections::BTreeMap;

use postrider_proto::{
    Client, LinkConfig, Payload, ReconnectConfig, Time,
    client::{ClientConfig, PublishError},
    wire::{
        Bytes, ClientId, Filter, Properties, Publish, QoS, SubscribeFilter, SubscribeOptions, Topic,
    },
};

use crate::{
    disk::{Disk, SpoolShelf},
    script::{Actor, Script},
};

/// A client of the world.
#[derive(Debug)]
pub(crate) struct SimClient {
    pub(crate) machine: Client,
    pub(crate) spools: SpoolShelf,
    pub(crate) disk: Disk,
    pub(crate) pipe: Option<usize>,
    pub(crate) actor: Actor,
    pub(crate) has_been_connected: bool,
    pub(crate) is_subscribed: bool,
    /// Publications under way, by message number.
    pub(crate) open: BTreeMap<u64, usize>,
    pub(crate) wake_at: Option<u64>,
}

impl SimClient {
    pub(crate) fn new(index: usize, actor: Actor, script: &Script, now: Time) -> Self {
        let name = format!("client-{index}");
        let config = ClientConfig {
            client_id: ClientId::new(&name).expect("a short name"),
            user_name: None,
            password: None,
            clean_start: true,
            session_expiry_s: u32::MAX,
            keep_alive_s: 20,
            will: None,
            connect_properties: Properties::new(),
            operation_timeout_ms: 30_000,
            operations_max: 100,
            link: LinkConfig {
                receive_maximum: script.receive_maximum,
                spool_above: script.spool_above,
                ..LinkConfig::default()
            },
            session: script.session(),
            reconnect: ReconnectConfig {
                servers: vec!["sim".to_owned()],
                version: Some(actor.version),
                backoff_ms_max: 2_000,
                is_first_retried: true,
                ..ReconnectConfig::default()
            },
            is_manual: false,
            is_durable: script.is_durable,
            spool_bytes_max: 1 << 30,
        };
        let machine = Client::new(config, script.seed ^ index as u64, now);
        Self {
            machine,
            spools: SpoolShelf::default(),
            disk: Disk::default(),
            pipe: None,
            actor,
            has_been_connected: false,
            is_subscribed: false,
            open: BTreeMap::new(),
            wake_at: None,
        }
    }

    /// Asks for the subscriptions of the script.
    pub(crate) fn subscribe(&mut self, now: Time) {
        let filters: Vec<_> = self
            .filters()
            .into_iter()
            .map(|(filter, qos)| {
                let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
                SubscribeFilter { filter, options }
            })
            .collect();
        if filters.is_empty() {
            self.is_subscribed = true;
            return;
        }
        let asked = self.machine.subscribe(filters, Properties::new(), now);
        assert!(asked.is_ok(), "a subscription within all limits: {asked:?}");
    }

    /// The subscriptions of the script.
    pub(crate) fn filters(&self) -> Vec<(Filter, QoS)> {
        let parse = |text: &str| Filter::new(text).expect("filters of the script are valid");
        self.actor.filters.iter().map(|(text, qos)| (parse(text), *qos)).collect()
    }

    /// Publishes; returns the message number.
    pub(crate) fn publish(
        &mut self,
        topic: Topic,
        qos: QoS,
        payload: Vec<u8>,
        now: Time,
    ) -> Result<u64, PublishError> {
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic: Some(topic),
            packet_id: None,
            properties: Properties::new(),
            payload: Bytes::new(),
        };
        let payload = Payload::Bytes(Bytes::from(payload));
        self.machine.publish(publish, payload, now).map(|sent| sent.number)
    }
}
