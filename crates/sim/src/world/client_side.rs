//! What the driver and the program of a client do, in simulated time.

use postrider_proto::{
    Chunk, Fact, LinkEnd, PageRequest, Payload, Record, Time,
    client::{Event, Failure, Output, PublishError},
    wire::{QoS, ReasonCode, Topic},
};

use super::{Happening, START, World};
use crate::{NewMessage, Seen, Violation, client::Draft, facts, pipe::Pipe};

impl World {
    pub(super) fn start_client(&mut self, client: usize) -> Result<(), Violation> {
        if self.clients[client].is_up {
            return Ok(());
        }
        let now = self.time();
        self.clients[client].start(&self.script, now);
        let (kept, removed) = self.clients[client].spools_kept;
        self.counts.more("restart: payload of a client kept", kept);
        self.counts.more("restart: orphan removed by a client", removed);
        self.note(|| format!("client {client} starts"));
        self.clients[client].machine.connect(now);
        self.drain_client(client)
    }

    /// The payload of the next message: its number, and as much as is needed.
    pub(super) fn payload(&self, size: usize) -> Vec<u8> {
        let mut payload = format!("{}:", self.model.next()).into_bytes();
        payload.resize(size.max(payload.len()), b'.');
        payload
    }

    pub(super) fn publish(
        &mut self,
        client: usize,
        topic: &str,
        (qos, retain, expiry_s): (QoS, bool, Option<u32>),
        size: usize,
    ) -> Result<(), Violation> {
        if !self.clients[client].is_up {
            return Ok(());
        }
        let topic = Topic::new(topic).expect("topics of the script are valid");
        let payload = self.payload(size);
        let (publisher, size, may_expire) = (client, payload.len(), expiry_s.is_some());
        let new = NewMessage { publisher, topic: topic.clone(), qos, retain, may_expire, size };
        let index = self.model.published(new);
        let now = self.time();
        let draft = Draft { topic, qos, retain, expiry_s, payload };
        match self.clients[client].publish(draft, self.script.spool_above, now) {
            Ok(number) => {
                self.count_publish(client, retain, may_expire);
                let earlier = (qos > QoS::AtMostOnce)
                    .then(|| self.clients[client].numbers.insert(number, index))
                    .flatten();
                if let Some(earlier) = earlier {
                    let what = format!("client {client} used {number} for {earlier} and {index}");
                    return Err(Violation { statement: "numbers", what });
                }
            }
            Err(PublishError::QueueFull(_)) if self.script.queue_max_client < 1_000 => {
                self.model.refused();
                self.counts.note("queue full at the client");
            }
            Err(error) => {
                let what = format!("client {client} could not publish: {error:?}");
                return Err(Violation { statement: "bounds", what });
            }
        }
        self.drain_client(client)
    }

    fn count_publish(&mut self, client: usize, retain: bool, may_expire: bool) {
        self.counts.note("published");
        self.counts.more("published offline", u64::from(self.clients[client].pipe.is_none()));
        self.counts.more("published retained", u64::from(retain));
        self.counts.more("published with expiry", u64::from(may_expire));
    }

    pub(super) fn toggle(&mut self, client: usize, place: usize) -> Result<(), Violation> {
        let now = self.time();
        let sim = &mut self.clients[client];
        sim.wanted[place] ^= true;
        if sim.is_up && sim.has_been_connected {
            sim.ask(place, now);
        }
        self.drain_client(client)
    }

    pub(super) fn drain_client(&mut self, client: usize) -> Result<(), Violation> {
        while self.clients[client].is_up {
            match self.clients[client].machine.poll_output() {
                Output::Dial(_) => {
                    let at = self.now + self.random.between(1, 50);
                    self.at(at, Happening::Dialed(client, self.clients[client].process));
                }
                Output::Transmit => {
                    if let Some(pipe) = self.clients[client].pipe {
                        self.flush_client(pipe)?;
                    }
                }
                Output::Hangup => self.hang_up(client)?,
                Output::Store(seq, record) => self.client_stores(client, seq, &record)?,
                Output::StoreBatch(seq, records) => {
                    for record in &records {
                        self.client_stores(client, seq, record)?;
                    }
                }
                Output::Page(request) => {
                    self.counts.note("page: read back by a client");
                    let at = self.now + self.random.between(0, 20);
                    let process = self.clients[client].process;
                    self.at(at, Happening::ClientPage(client, process, request));
                }
                Output::Spool(spool) => self.clients[client].disk.shelf.handle(spool),
                Output::Event(event) => self.client_event(client, event)?,
                Output::Wait(at) => {
                    self.seal_client(client);
                    self.client_waits(client, at);
                    return self.client_bounds(client);
                }
            }
        }
        Ok(())
    }

    pub(super) fn client_page(
        &mut self,
        client: usize,
        process: u32,
        request: &PageRequest,
    ) -> Result<(), Violation> {
        let now = self.time();
        let sim = &mut self.clients[client];
        if !sim.is_up || sim.process != process {
            return Ok(());
        }
        let page = sim.disk.page(request);
        sim.machine.handle_page(page, now);
        self.drain_client(client)
    }

    fn client_stores(&mut self, client: usize, seq: u64, record: &Record) -> Result<(), Violation> {
        if let Fact::Own { key, .. } = &record.fact {
            self.own_record(client, key, seq)?;
        }
        let sim = &mut self.clients[client];
        if let Fact::Received(id) | Fact::ReceivedFirst(id) = &record.fact {
            sim.received.insert(id.get(), seq);
        }
        let tag = message_of(&record.fact)
            .and_then(|payload| facts::tag_of(&sim.disk.shelf.payload(payload)));
        sim.disk.put(0, seq, record, tag);
        self.counts.more("disk: record waited for room", u64::from(sim.disk.is_full(self.now)));
        Ok(())
    }

    fn seal_client(&mut self, client: usize) {
        if let Some(at) = self.clients[client].disk.seal(0, self.now, &mut self.random) {
            if let Some(handed) = self.clients[client].disk.handed_at() {
                self.at(handed, Happening::ClientHanded(client));
            }
            self.at(at, Happening::ClientSynced(client));
        }
    }

    /// Spec: none; what a session may hold is bounded by its configuration.
    fn client_bounds(&self, client: usize) -> Result<(), Violation> {
        let stats = self.clients[client].machine.stats();
        if stats.queued + stats.flights > self.script.queue_max_client {
            let what = format!("client {client} holds {} + {}", stats.queued, stats.flights);
            return Err(Violation { statement: "bounds", what });
        }
        Ok(())
    }

    fn client_event(&mut self, client: usize, event: Event) -> Result<(), Violation> {
        match event {
            Event::Connected { .. } => {
                let now = self.time();
                let sim = &mut self.clients[client];
                if !std::mem::replace(&mut sim.has_been_connected, true) {
                    sim.agree(now);
                }
            }
            Event::Message(arrived) => {
                let sim = &self.clients[client];
                let is_spooled = matches!(arrived.payload, Payload::Spooled { .. });
                let payload = sim.disk.shelf.payload(&arrived.payload);
                let Some(topic) = &arrived.publish.topic else {
                    let what = "a message without a topic".to_owned();
                    return Err(Violation { statement: "MQTT-3.3.2-1", what });
                };
                let is_kept = arrived.publish.qos == QoS::ExactlyOnce && sim.actor.has_store;
                let id = arrived.publish.packet_id.filter(|_| is_kept);
                let kept_by = id.and_then(|id| sim.received.get(&id.get()).copied());
                let seen = Seen {
                    topic,
                    qos: arrived.publish.qos,
                    retain: arrived.publish.retain,
                    publication: facts::tag_of(&payload).unwrap_or(u64::MAX),
                    size: payload.len(),
                    kept_by: kept_by.unwrap_or_default(),
                    order: None,
                    is_late: false,
                };
                self.counts.more("payload spooled", u64::from(is_spooled));
                self.model.arrived(client, seen)?;
                self.model.delivered(client, seen)?;
                self.count_delivery(client, seen.publication, seen.retain);
            }
            Event::Entrusted { arrived, number, is_redelivery } => {
                return self.entrusted(client, &arrived, number, is_redelivery);
            }
            Event::Published { number, result, .. } => {
                return self.client_published(client, number, result.map(|_| ()));
            }
            Event::Subscribed(_, Err(Failure::Over)) => {}
            Event::Subscribed(_, result) => {
                let is_granted =
                    result.is_ok_and(|ack| ack.reasons.iter().all(|reason| !reason.is_error()));
                if !is_granted {
                    let what = format!("client {client} could not subscribe");
                    return Err(Violation { statement: "MQTT-3.8.4-1", what });
                }
                self.counts.note("subscribed");
            }
            Event::Unsubscribed(..) => self.counts.note("unsubscribed"),
            Event::MayBeDouble(number) => {
                if let Some(index) = self.clients[client].numbers.get(&number) {
                    self.model.may_repeat(*index);
                }
            }
            Event::Over(end) => return self.client_over(client, end),
            Event::SubscriptionLost { filter, reason } => {
                let what = format!("client {client} lost {filter}: {reason}");
                return Err(Violation { statement: "MQTT-4.1.0-1", what });
            }
            event @ (Event::Disconnected { .. } | Event::Pong(_) | _) => {
                self.note(|| format!("client {client}: {event:?}"));
            }
        }
        Ok(())
    }

    pub(super) fn count_delivery(&mut self, client: usize, tag: u64, is_replay: bool) {
        let is_will = self.wills.contains(&tag);
        let filters = &self.clients[client].actor.filters;
        let is_shared = filters.iter().any(|(name, _)| name.starts_with('$'));
        self.counts.more("will published", u64::from(is_will));
        self.counts.more("retained message replayed", u64::from(is_replay));
        self.counts.more("shared message delivered", u64::from(is_shared));
    }

    fn client_published(
        &mut self,
        client: usize,
        number: u64,
        result: Result<(), Failure>,
    ) -> Result<(), Violation> {
        let Some(index) = self.clients[client].numbers.get(&number).copied() else {
            let what = format!("client {client} finished {number}, which it never published");
            return Err(Violation { statement: "MQTT-4.3.3-6", what });
        };
        match result {
            Ok(()) => self.model.acknowledged(index),
            Err(Failure::Expired) if self.model.may_expire(index) => {
                self.counts.note("expired at the client");
                self.model.let_go(index);
            }
            Err(Failure::Over) => {}
            Err(failure) => {
                let what = format!("client {client}: {number} failed: {failure:?}");
                return Err(Violation { statement: "MQTT-4.3.2-3", what });
            }
        }
        Ok(())
    }

    /// The machine gives up, as it should when it was told to or when somebody took its place.
    fn client_over(&mut self, client: usize, end: LinkEnd) -> Result<(), Violation> {
        let is_taken_over = matches!(&end, LinkEnd::Disconnected(disconnect)
            if disconnect.reason == ReasonCode::SessionTakenOver);
        if !is_taken_over && !self.clients[client].is_stopping {
            let what = format!("client {client} gave up: {end:?}");
            return Err(Violation { statement: "reconnect", what });
        }
        if is_taken_over {
            // Its program ends in order, and is started again.
            self.clients[client].is_stopping = true;
            self.at(self.now, Happening::EndClient(client, self.clients[client].process));
        }
        Ok(())
    }

    pub(super) fn dialed(&mut self, client: usize, process: u32) -> Result<(), Violation> {
        if !self.clients[client].is_up || self.clients[client].process != process {
            return Ok(());
        }
        let now = self.time();
        if !self.broker.is_up || self.now < self.clients[client].away_until {
            self.clients[client].machine.handle_dial_failed("nobody there".to_owned(), now);
            return self.drain_client(client);
        }
        self.renew_will(client);
        let index = self.connect_pipe(client)?;
        self.clients[client].pipe = Some(index);
        self.clients[client].machine.handle_connected(now);
        self.drain_client(client)
    }

    /// A connection to any hub.
    pub(super) fn connect_pipe(&mut self, client: usize) -> Result<usize, Violation> {
        let hubs = self.broker.hubs.len() as u64;
        let hub = self.random.between(0, hubs - 1) as u16;
        let now = self.time();
        let durability = self.clients[client].actor.durability;
        let hub_of = &mut self.broker.hubs[usize::from(hub)].hub;
        let link = hub_of.accept_relying_on(durability, now);
        let index = self.pipes.len();
        let version = self.clients[client].actor.version;
        self.pipes.push(Pipe::new(index, client, version, hub, link));
        self.pipe_of.insert((hub, link), index);
        self.drain_hub(hub)?;
        Ok(index)
    }

    /// Writes some or all of what the client has for its link.
    pub(super) fn flush_client(&mut self, pipe: usize) -> Result<(), Violation> {
        let client = self.pipes[pipe].client;
        if !self.pipes[pipe].is_client_open || self.clients[client].pipe != Some(pipe) {
            return Ok(());
        }
        let sim = &mut self.clients[client];
        let mut bytes = Vec::new();
        for chunk in sim.machine.chunks() {
            match chunk {
                Chunk::Bytes(piece) => bytes.extend_from_slice(piece),
                Chunk::Spool { id, offset, len } => {
                    bytes.extend_from_slice(sim.disk.shelf.read(id.number(), offset, len));
                }
            }
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let all = bytes.len() as u64;
        let some = if self.random.chance(80) { all } else { self.random.between(1, all) };
        bytes.truncate(usize::try_from(some).unwrap_or(usize::MAX));
        let now = Time(START + self.now);
        sim.machine.consume(some, now);
        self.write_to_hub(pipe, &bytes)?;
        if some < all {
            let at = self.now + self.random.between(1, 20);
            self.at(at, Happening::FlushClient(pipe));
        }
        self.drain_client_later(client);
        Ok(())
    }

    /// Bytes leave a client.
    pub(super) fn write_to_hub(&mut self, pipe: usize, bytes: &[u8]) -> Result<(), Violation> {
        for at in self.pipes[pipe].to_hub.send(bytes, self.now, &mut self.random) {
            self.at(at, Happening::ToHub(pipe));
        }
        self.see_sent_by_client(pipe, bytes)
    }

    pub(super) fn bytes_to_client(&mut self, pipe: usize) -> Result<(), Violation> {
        let found = &mut self.pipes[pipe];
        if !found.is_client_open {
            return Ok(());
        }
        if self.now < found.stalled_until {
            let at = found.stalled_until;
            self.at(at, Happening::ToClient(pipe));
            return Ok(());
        }
        if !found.to_client.arrive(self.now) {
            return Ok(());
        }
        let (client, now) = (found.client, Time(START + self.now));
        if found.is_stranger {
            found.to_client.input.clear();
            return Ok(());
        }
        if self.is_answer_lost(pipe)? {
            return Ok(());
        }
        let found = &mut self.pipes[pipe];
        let before = found.to_client.input.clone();
        self.clients[client].machine.handle_bytes(&mut found.to_client.input, now);
        let taken = before.len() - found.to_client.input.len();
        self.see_taken_by_client(pipe, &before[..taken])?;
        if taken > 0 {
            self.answer_read(pipe)?;
        }
        self.drain_client(client)
    }

    pub(super) fn client_end_closes(&mut self, pipe: usize) -> Result<(), Violation> {
        let found = &mut self.pipes[pipe];
        if !std::mem::replace(&mut found.is_client_open, false) {
            return Ok(());
        }
        // What was under way is lost. A CONNECT that came late would take the session from the next connection, after
        // which the client rightly gives up.
        found.to_hub.lose();
        let (client, is_stranger) = (found.client, found.is_stranger);
        self.settle(pipe);
        if is_stranger || self.clients[client].pipe != Some(pipe) {
            return Ok(());
        }
        self.clients[client].pipe = None;
        let now = self.time();
        self.clients[client].machine.handle_closed(now);
        self.drain_client(client)
    }

    /// The client wants to close: what it wrote still arrives, then the hub's end closes.
    fn hang_up(&mut self, client: usize) -> Result<(), Violation> {
        let Some(pipe) = self.clients[client].pipe else { return Ok(()) };
        while self.clients[client].machine.chunks().next().is_some() {
            self.flush_client(pipe)?;
        }
        self.at(self.now + 100, Happening::HubEndCloses(pipe));
        self.pipes[pipe].is_client_open = false;
        self.clients[client].pipe = None;
        self.settle(pipe);
        let now = self.time();
        self.clients[client].machine.handle_closed(now);
        Ok(())
    }

    pub(super) fn wake_client(&mut self, client: usize) -> Result<(), Violation> {
        if !self.clients[client].is_up {
            return Ok(());
        }
        if self.clients[client].wake_at.is_some_and(|at| at <= self.now) {
            self.clients[client].wake_at = None;
        }
        let now = self.time();
        self.clients[client].machine.handle_time(now);
        self.drain_client(client)
    }

    fn client_waits(&mut self, client: usize, at: Option<Time>) {
        let Some(at) = at else { return };
        let at = at.0.saturating_sub(START).max(self.now);
        let sim = &mut self.clients[client];
        if sim.wake_at.is_none_or(|planned| at < planned) {
            sim.wake_at = Some(at);
            self.at(at, Happening::WakeClient(client));
        }
    }

    /// Something changed inside a drain loop that is still running, or in a flush of its own.
    fn drain_client_later(&mut self, client: usize) {
        let sim = &mut self.clients[client];
        if sim.wake_at.is_none_or(|planned| self.now < planned) {
            sim.wake_at = Some(self.now);
            self.at(self.now, Happening::WakeClient(client));
        }
    }
}

/// The payload of the message that a fact keeps.
pub(super) fn message_of(fact: &Fact) -> Option<&Payload> {
    if let Fact::Queued { message, .. } | Fact::Retained { message, .. } = fact {
        Some(&message.payload)
    } else {
        None
    }
}
