//! Machines that crash, stop and start again.

use std::collections::{BTreeMap, BTreeSet};

use postrider_hub::{Hub, HubConfig};
use postrider_proto::{
    Durability, Fact, LinkConfig, Record, SessionConfig,
    wire::{
        ClientId, Connect, Disconnect, PACKET_SIZE_MAX, Packet, Properties, Property, QoS,
        ReasonCode, encode,
    },
};

use super::{Happening, SimHub, World};
use crate::{
    Violation,
    disk::{Fall, Synced, Wreck},
    facts,
    script::Who,
    shelf,
};

impl World {
    pub(super) fn start_broker(&mut self, hubs: u16) -> Result<(), Violation> {
        if self.broker.is_up {
            return Ok(());
        }
        let before = self.broker.hubs.len() as u16;
        let is_restart = self.broker.process > 0;
        self.counts.more("restart: more hubs", u64::from(is_restart && hubs > before));
        self.counts.more("restart: fewer hubs", u64::from(is_restart && hubs < before));
        self.note(|| format!("the broker starts with {hubs} hubs"));
        let now = self.time();
        self.broker.process += 1;
        self.broker.is_up = true;
        self.broker.hubs.clear();
        self.broker.disk.forget_numbers();
        self.broker.disk.has_stages = self.script.has_stages;
        self.peer_last_at.clear();
        let records = self.broker.disk.records();
        let last_spool = self.broker.disk.shelf.last();
        let mut spools = Vec::new();
        for index in 0..hubs {
            let config = HubConfig {
                index,
                hubs,
                // Drawn anew by each process, as brokers do: sessions change their homes.
                seed: self.script.seed ^ u64::from(self.broker.process) << 32,
                is_durable: self.script.is_durable,
                link: LinkConfig {
                    spool_above: self.script.spool_above,
                    receive_maximum: self.script.receive_maximum_hub,
                    ..LinkConfig::default()
                },
                session: SessionConfig {
                    queue_messages_max: self.script.queue_max_hub,
                    queue_resident_bytes_max: self.script.queue_resident_bytes_max,
                    ..SessionConfig::stored()
                },
                retained_resident_bytes_max: self.script.retained_resident_bytes_max,
                shared_payload_min: self.script.spool_above / 2,
                shared_bytes_min: 1,
                ..HubConfig::default()
            };
            spools.push(spools_of(&config, &records));
            let mut hub = Hub::new(config, now);
            hub.reserve_spools(last_spool);
            if is_restart {
                hub.recover(records.iter().cloned(), now);
            }
            self.broker.hubs.push(SimHub { hub, wake_at: None });
        }
        if is_restart {
            let (kept, removed) = self.broker.disk.shelf.keep(&spools);
            self.counts.more("restart: payload of the broker kept", kept);
            self.counts.more("restart: orphan removed by the broker", removed);
            self.broker_recovered();
        }
        for hub in 0..hubs {
            self.drain_hub(hub)?;
        }
        Ok(())
    }

    /// What is on the disk is where both ends go on from.
    fn broker_recovered(&mut self) {
        let content = self.broker.disk.content();
        let mut flights = 0;
        for (sim, talk) in self.clients.iter().zip(&mut self.talks) {
            let owner = facts::owners(content, &sim.name).first().copied();
            let stored = owner.map(|owner| facts::flights(content, owner)).unwrap_or_default();
            flights += stored.len() as u64;
            talk.down.sender_recovered(&exchanges(&stored), talk.is_loose);
            talk.up.receiver_recovered(|id| {
                owner.is_some_and(|owner| facts::has_received(content, owner, id))
            });
            talk.presence.restarted(self.broker.down_since, self.now);
        }
        self.counts.more("restart: flights recovered by the broker", flights);
        let crossing = facts::crossing(self.broker.disk.content());
        self.counts.more("restart: QoS 2 message on its way between hubs", crossing);
        let departed = facts::departed(self.broker.disk.content());
        self.counts.more("restart: will on its way between hubs", departed);
    }

    pub(super) fn crash(&mut self, who: Who, fall: Fall) -> Result<(), Violation> {
        match who {
            Who::Client(client) => self.crash_client(client, fall),
            Who::Broker => self.crash_broker(fall),
        }
    }

    pub(super) fn crash_broker(&mut self, fall: Fall) -> Result<(), Violation> {
        if !self.broker.is_up || !self.script.is_durable {
            return Ok(());
        }
        self.counts.note("crash: broker");
        self.model.server_crashed();
        self.note(|| format!("the broker crashes: {fall:?}"));
        let wreck = self.broker.disk.crash(fall, &mut self.random);
        self.counts.more("kill: broker", u64::from(fall == Fall::Kill));
        self.counts.more("power cut: handed records of the broker lost", wreck.lost_handed as u64);
        self.loosen(Who::Broker, fall, wreck);
        self.counts.more("crash: records lost", u64::from(wreck.lost > 0));
        self.counts.more("crash: records survived unsynced", u64::from(wreck.survived > 0));
        let content = self.broker.disk.content();
        for (sim, talk) in self.clients.iter().zip(&self.talks) {
            let Some(&owner) = facts::owners(content, &sim.name).first() else { continue };
            let (down, up) = (&talk.down, &talk.up);
            self.counts.more("crash: will pending", u64::from(facts::has_will(content, owner)));
            note_halves(&mut self.counts, content, owner, down, up);
        }
        self.broker_goes_down()
    }

    pub(super) fn stop_broker(&mut self) -> Result<(), Violation> {
        if !self.broker.is_up || !self.script.is_durable || self.broker.disk.is_full(self.now) {
            return Ok(());
        }
        self.counts.note("stop: broker");
        self.model.server_ended();
        self.note(|| "the broker stops".to_owned());
        for hub in 0..self.broker.hubs.len() as u16 {
            let now = self.time();
            self.broker.hubs[usize::from(hub)].hub.shut_down(now);
        }
        for hub in 0..self.broker.hubs.len() as u16 {
            self.drain_hub(hub)?;
        }
        self.broker.disk.flush();
        self.loosen(Who::Broker, Fall::Kill, Wreck::default());
        self.broker_goes_down()
    }

    fn broker_goes_down(&mut self) -> Result<(), Violation> {
        self.broker.dropped = self.dropped();
        self.broker.is_up = false;
        self.broker.down_since = self.now;
        self.pipe_of.clear();
        for pipe in 0..self.pipes.len() {
            if !std::mem::replace(&mut self.pipes[pipe].is_hub_open, false) {
                continue;
            }
            let client = self.pipes[pipe].client;
            self.talks[client].presence.closed(pipe, self.now);
            self.will_due(pipe);
            if self.random.chance(50) {
                self.pipes[pipe].to_client.lose();
            }
            let at = self.now + self.random.between(1, 2_000);
            self.at(at, Happening::ClientEndCloses(pipe));
        }
        let at = self.now + self.random.between(10, 3_000);
        self.at(at, Happening::StartBroker);
        Ok(())
    }

    pub(super) fn crash_client(&mut self, client: usize, fall: Fall) -> Result<(), Violation> {
        if !self.clients[client].is_up {
            return Ok(());
        }
        self.note(|| format!("client {client} crashes: {fall:?}"));
        let sim = &mut self.clients[client];
        let has_store = sim.actor.has_store;
        if !has_store {
            self.counts.note("crash: client without store");
            return self.client_goes_down(client);
        }
        self.counts.note("crash: client with store");
        self.counts.more("crash: client that was recovered before", u64::from(sim.was_recovered));
        let wreck = sim.disk.crash(fall, &mut self.random);
        self.counts.more("crash: records lost", u64::from(wreck.lost > 0));
        self.counts.more("crash: records survived unsynced", u64::from(wreck.survived > 0));
        self.counts.more("kill: client with store", u64::from(fall == Fall::Kill));
        let lost_handed = wreck.lost_handed as u64;
        self.counts.more("power cut: handed records of a client lost", lost_handed);
        let unfinished = sim.held.len() as u64;
        self.counts.more("crash: program had messages", unfinished);
        self.loosen(Who::Client(client), fall, wreck);
        let sim = &self.clients[client];
        let talk = &self.talks[client];
        note_halves(&mut self.counts, sim.disk.content(), 0, &talk.up, &talk.down);
        self.client_goes_down(client)
    }

    pub(super) fn stop_client(&mut self, client: usize) -> Result<(), Violation> {
        if !self.clients[client].is_up || self.clients[client].disk.is_full(self.now) {
            return Ok(());
        }
        self.counts.note("stop: client");
        self.clients[client].is_stopping = true;
        let now = self.time();
        let disconnect = Disconnect { reason: ReasonCode::Success, properties: Properties::new() };
        self.clients[client].machine.disconnect(disconnect, now);
        self.drain_client(client)?;
        self.clients[client].disk.flush();
        self.client_goes_down(client)
    }

    /// A process whose machine has given up ends in order.
    pub(super) fn end_client(&mut self, client: usize, process: u32) -> Result<(), Violation> {
        if !self.clients[client].is_up || self.clients[client].process != process {
            return Ok(());
        }
        self.clients[client].disk.flush();
        self.client_goes_down(client)
    }

    fn client_goes_down(&mut self, client: usize) -> Result<(), Violation> {
        let sim = &mut self.clients[client];
        sim.is_up = false;
        let stored = if sim.actor.has_store { sim.disk.stored(0) } else { u64::MAX };
        let undone = self.model.roll_back(client, stored);
        self.counts.more("crash: delivery forgotten with its record", undone);
        self.client_remembers(client)?;
        if let Some(pipe) = self.clients[client].pipe.take() {
            self.pipes[pipe].is_client_open = false;
            let is_slow = self.now < self.pipes[pipe].stalled_until;
            if is_slow || self.random.chance(50) {
                self.pipes[pipe].to_hub.lose();
            }
            self.settle(pipe);
            let at = self.now + self.random.between(40, 2_500);
            self.at(at, Happening::HubEndCloses(pipe));
        }
        let at = self.now + self.random.between(50, 3_000);
        self.at(at, Happening::StartClient(client));
        Ok(())
    }

    /// What the next process knows: what is on the disk, by message number.
    fn client_remembers(&mut self, client: usize) -> Result<(), Violation> {
        let sim = &self.clients[client];
        let content = sim.disk.content();
        let talk = &mut self.talks[client];
        if !sim.actor.has_store {
            talk.up.sender_recovered(&[], talk.is_loose);
            talk.down.receiver_recovered(|_| false);
            for index in sim.numbers.values() {
                self.model.let_go(*index);
            }
            return Ok(());
        }
        let stored = facts::flights(content, 0);
        let count = stored.len() as u64;
        self.counts.more("restart: flights recovered by a client", count);
        talk.up.sender_recovered(&exchanges(&stored), talk.is_loose);
        talk.down.receiver_recovered(|id| facts::has_received(content, 0, id));
        let mut open: BTreeSet<u64> =
            facts::messages(content, 0).into_iter().map(|(number, _)| number).collect();
        open.extend(stored.iter().map(|flight| flight.number));
        let reserved = facts::reserved(content, 0);
        let mut lost = Vec::new();
        for (number, index) in &sim.numbers {
            let is_done = self.model.is_acknowledged(*index);
            let is_open = open.contains(number);
            if is_done && is_open {
                self.counts.note("crash: finished, not stored");
                self.model.reopened(*index);
            }
            if !is_open && self.model.let_go(*index) {
                self.counts.note("crash: publish lost before it was stored");
            }
            if *number >= reserved {
                if is_done && !self.model.is_loose(client) {
                    let what = format!("client {client} may use {number} again, which it finished");
                    return Err(Violation { statement: "numbers", what });
                }
                self.counts.note("crash: number given out, not stored");
                lost.push(*number);
            }
        }
        // Nobody was told that they are stored, so they may be given to others.
        for number in lost {
            self.clients[client].numbers.remove(&number);
        }
        Ok(())
    }

    pub(super) fn client_synced(&mut self, client: usize) -> Result<(), Violation> {
        if !self.clients[client].is_up {
            return Ok(());
        }
        match self.clients[client].disk.sync(self.now) {
            Synced::Stored(news) => {
                let now = self.time();
                for (_, seq) in news {
                    self.clients[client].machine.handle_stored(seq, now);
                }
                self.drain_client(client)
            }
            Synced::Failed => {
                self.counts.note("disk: sync failed at a client");
                self.crash_client(client, Fall::PowerCut)
            }
        }
    }

    /// A store in the mode `process` says so when its records are handed to the operating system.
    pub(super) fn client_handed(&mut self, client: usize) -> Result<(), Violation> {
        if !self.clients[client].is_up {
            return Ok(());
        }
        let (news, now) = (self.clients[client].disk.hand(self.now), self.time());
        if self.clients[client].actor.keeps == Durability::Process {
            for (_, seq) in news {
                self.clients[client].machine.handle_stored(seq, now);
            }
        }
        self.drain_client(client)
    }

    /// Somebody else connects with the identifier of a client, takes what comes, answers nothing and goes away.
    pub(super) fn stranger(&mut self, client: usize, ms: u64) -> Result<(), Violation> {
        if !self.broker.is_up || self.clients[client].pipe.is_none() {
            return Ok(());
        }
        let actor = &self.clients[client].actor;
        let mut properties = Properties::new();
        if actor.has_properties {
            properties.push(Property::SessionExpiryInterval(actor.expiry_s));
        }
        let connect = Packet::Connect(Box::new(Connect {
            version: actor.version,
            clean_start: false,
            keep_alive: 0,
            client_id: ClientId::new(&self.clients[client].name).expect("a short name"),
            user_name: None,
            password: None,
            will: None,
            properties,
        }));
        let mut bytes = Vec::new();
        let written = encode(&connect, actor.version, PACKET_SIZE_MAX, &mut bytes);
        assert!(written.is_ok(), "a CONNECT: {written:?}");
        let pipe = self.connect_pipe(client)?;
        self.pipes[pipe].is_stranger = true;
        self.at(self.now + ms, Happening::HubEndCloses(pipe));
        self.write_to_hub(pipe, &bytes)
    }
}

/// The spools that a hub has messages with.
fn spools_of(config: &HubConfig, records: &[Record]) -> BTreeSet<u64> {
    let mut homes = BTreeMap::new();
    for record in records {
        if let Fact::Session { client_id, .. } = &record.fact {
            homes.insert(record.owner, config.is_home(client_id.text().as_bytes()));
        }
    }
    // What belongs to no session each hub has.
    let is_here = |record: &&Record| homes.get(&record.owner).copied().unwrap_or(record.owner == 0);
    records.iter().filter(is_here).filter_map(shelf::named).map(|(number, _)| number).collect()
}

fn exchanges(stored: &[facts::StoredFlight]) -> Vec<(u16, QoS, Option<u64>, bool)> {
    let of = |flight: &facts::StoredFlight| {
        let is_one = flight.state == facts::AWAIT_ACK;
        let qos = if is_one { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        (flight.packet_id, qos, flight.tag, flight.state == facts::AWAIT_COMP)
    };
    stored.iter().map(of).collect()
}

/// Counts the halves of steps that a crash has left: stored and not said, or taken and not stored.
fn note_halves(
    counts: &mut crate::Counts,
    content: &facts::Content,
    owner: u64,
    sending: &crate::flow::Flow,
    taking: &crate::flow::Flow,
) {
    for flight in facts::flights(content, owner) {
        let open = sending.open().find(|(id, _)| *id == flight.packet_id);
        let exchange = open.map(|(_, exchange)| *exchange);
        if flight.state == facts::AWAIT_REC && exchange.is_none_or(|e| Some(e.tag) != flight.tag) {
            counts.note("crash: QoS 2 PUBLISH stored, not sent");
        }
        if flight.state == facts::AWAIT_COMP && exchange.is_some_and(|e| !e.has_pubrel) {
            counts.note("crash: PUBREC received and stored, PUBREL not sent");
        }
    }
    for (id, got) in taking.got() {
        let is_stored = facts::has_received(content, owner, id);
        if is_stored && !got.is_pubrec_sent {
            counts.note("crash: PUBREC stored, not sent");
        }
        if is_stored && got.is_released {
            counts.note("crash: PUBREL taken, release not stored");
        }
    }
}
