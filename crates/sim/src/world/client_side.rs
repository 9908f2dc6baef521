//! What the driver of a client does, in simulated time.

use postrider_proto::{
    Chunk, PageRequest, Payload, Time,
    client::{Event, Output},
    wire::{QoS, Topic},
};

use super::{Happening, World};
use crate::{Violation, pipe::Pipe};

impl World {
    pub(super) fn publish(
        &mut self,
        client: usize,
        topic: &str,
        qos: QoS,
        size: usize,
    ) -> Result<(), Violation> {
        assert!(self.clients[client].is_subscribed, "scripts act after all have subscribed");
        let topic = Topic::new(topic).expect("topics of the script are valid");
        let mut payload = format!("{client}:{}:", self.counts.published).into_bytes();
        payload.resize(size.max(payload.len()), b'.');
        let index = self.model.published(client, topic.clone(), qos, payload.clone());
        self.counts.published += 1;
        self.counts.published_offline += u64::from(self.clients[client].pipe.is_none());
        let now = self.time();
        let number = self.clients[client].publish(topic, qos, payload, now).map_err(|error| {
            let what = format!("client {client} could not publish: {error:?}");
            Violation { statement: "bounds", what }
        })?;
        if qos > QoS::AtMostOnce {
            self.clients[client].open.insert(number, index);
        }
        self.drain_client(client)
    }

    pub(super) fn drain_client(&mut self, client: usize) -> Result<(), Violation> {
        loop {
            match self.clients[client].machine.poll_output() {
                Output::Dial(_) => {
                    let at = self.now + self.random.between(1, 50);
                    self.at(at, Happening::Dialed(client));
                }
                Output::Transmit => {
                    if let Some(pipe) = self.clients[client].pipe {
                        self.flush_client(pipe)?;
                    }
                }
                Output::Hangup => self.hang_up(client)?,
                Output::Store(seq, record) => {
                    let at = self.now + self.random.between(0, 20);
                    self.clients[client].disk.write(seq, &record, at);
                    self.at(at, Happening::ClientSynced(client));
                }
                Output::StoreBatch(seq, records) => {
                    let at = self.now + self.random.between(0, 20);
                    for record in &records {
                        self.clients[client].disk.write(seq, record, at);
                    }
                    self.at(at, Happening::ClientSynced(client));
                }
                Output::Page(request) => {
                    self.counts.pages += 1;
                    let at = self.now + self.random.between(0, 20);
                    self.at(at, Happening::ClientPage(client, request));
                }
                Output::Spool(spool) => self.clients[client].spools.handle(spool),
                Output::Event(event) => self.client_event(client, event)?,
                Output::Wait(at) => {
                    self.client_waits(client, at);
                    return Ok(());
                }
            }
        }
    }

    fn client_event(&mut self, client: usize, event: Event) -> Result<(), Violation> {
        match event {
            Event::Connected { connack, .. } => {
                let sim = &mut self.clients[client];
                if sim.has_been_connected && !connack.session_present {
                    let what = format!("the broker lost the session of client {client}");
                    return Err(Violation { statement: "MQTT-3.2.2-3", what });
                }
                self.counts.resumed += u64::from(connack.session_present);
                if !std::mem::replace(&mut sim.has_been_connected, true) {
                    let now = Time(super::START + self.now);
                    sim.subscribe(now);
                }
            }
            Event::Message(arrived) => {
                let sim = &self.clients[client];
                self.counts.spooled +=
                    u64::from(matches!(arrived.payload, Payload::Spooled { .. }));
                let payload = sim.spools.payload(&arrived.payload);
                let Some(topic) = &arrived.publish.topic else {
                    let what = "a message without a topic".to_owned();
                    return Err(Violation { statement: "MQTT-3.3.2-1", what });
                };
                self.model.delivered(client, topic, arrived.publish.qos, &payload)?;
            }
            Event::Published { number, result, .. } => {
                let Some(index) = self.clients[client].open.remove(&number) else {
                    let what = format!("client {client} finished {number}, which is not open");
                    return Err(Violation { statement: "MQTT-4.3.3-6", what });
                };
                if let Err(failure) = result {
                    let what = format!("client {client}: {number} failed: {failure:?}");
                    return Err(Violation { statement: "MQTT-4.3.2-3", what });
                }
                self.model.acknowledged(index);
            }
            Event::Subscribed(_, result) => {
                let is_granted =
                    result.is_ok_and(|ack| ack.reasons.iter().all(|reason| !reason.is_error()));
                if !is_granted {
                    let what = format!("client {client} could not subscribe");
                    return Err(Violation { statement: "MQTT-3.8.4-1", what });
                }
                self.clients[client].is_subscribed = true;
            }
            Event::MayBeDouble(number) => {
                let what = format!("client {client}: session lost with {number} open");
                return Err(Violation { statement: "MQTT-4.1.0-1", what });
            }
            Event::Over(end) => {
                let what = format!("client {client} gave up: {end:?}");
                return Err(Violation { statement: "reconnect", what });
            }
            Event::Unreadable(error) => {
                let what = format!("client {client}: {error}");
                return Err(Violation { statement: "MQTT-4.1.0-1", what });
            }
            Event::SubscriptionLost { filter, reason } => {
                let what = format!("client {client} lost {filter}: {reason}");
                return Err(Violation { statement: "MQTT-4.1.0-1", what });
            }
            event @ (Event::Disconnected { .. } | Event::Unsubscribed(..) | Event::Pong(_) | _) => {
                self.note(format!("client {client}: {event:?}"));
            }
        }
        Ok(())
    }

    pub(super) fn client_page(
        &mut self,
        client: usize,
        request: &PageRequest,
    ) -> Result<(), Violation> {
        let now = self.time();
        let sim = &mut self.clients[client];
        let page = sim.disk.page(request);
        sim.machine.handle_page(page, now);
        self.drain_client(client)
    }

    pub(super) fn dialed(&mut self, client: usize) -> Result<(), Violation> {
        let hub = u16::try_from(self.random.between(0, u64::from(self.script.hubs) - 1))
            .unwrap_or_default();
        let now = self.time();
        let link = self.hubs[usize::from(hub)].hub.accept(now);
        let index = self.pipes.len();
        self.pipes.push(Pipe::new(client, hub, link));
        self.pipe_of.insert((hub, link), index);
        self.clients[client].pipe = Some(index);
        self.drain_hub(hub)?;
        self.clients[client].machine.handle_connected(now);
        self.drain_client(client)
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
                    bytes.extend_from_slice(sim.spools.read(id.number(), offset, len));
                }
            }
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let all = bytes.len() as u64;
        let some = if self.random.chance(80) { all } else { self.random.between(1, all) };
        bytes.truncate(usize::try_from(some).unwrap_or(usize::MAX));
        let now = Time(super::START + self.now);
        sim.machine.consume(some, now);
        let times = self.pipes[pipe].to_hub.send(&bytes, self.now, &mut self.random);
        for at in times {
            self.at(at, Happening::ToHub(pipe));
        }
        if some < all {
            let at = self.now + self.random.between(1, 20);
            self.at(at, Happening::FlushClient(pipe));
        }
        self.drain_client_later(client);
        Ok(())
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
        let (client, now) = (found.client, Time(super::START + self.now));
        self.clients[client].machine.handle_bytes(&mut found.to_client.input, now);
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
        let client = found.client;
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
        let now = self.time();
        self.clients[client].machine.handle_closed(now);
        Ok(())
    }

    pub(super) fn wake_client(&mut self, client: usize) -> Result<(), Violation> {
        if self.clients[client].wake_at.is_some_and(|at| at <= self.now) {
            self.clients[client].wake_at = None;
        }
        let now = self.time();
        self.clients[client].machine.handle_time(now);
        self.drain_client(client)
    }

    pub(super) fn client_synced(&mut self, client: usize) -> Result<(), Violation> {
        let Some(seq) = self.clients[client].disk.sync(self.now) else { return Ok(()) };
        let now = self.time();
        self.clients[client].machine.handle_stored(seq, now);
        self.drain_client(client)
    }

    fn client_waits(&mut self, client: usize, at: Option<Time>) {
        let Some(at) = at else { return };
        let at = at.0.saturating_sub(super::START).max(self.now);
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
