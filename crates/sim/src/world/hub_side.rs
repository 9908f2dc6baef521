//! What the driver of a hub does, in simulated time.

use postrider_hub::{LinkId, Output, PeerMessage};
use postrider_proto::{Chunk, PageRequest, Record, Time};

use super::{Happening, START, World, client_side::message_of};
use crate::{
    Violation,
    disk::{Fall, Synced},
    facts,
};

impl World {
    pub(super) fn drain_hub(&mut self, hub: u16) -> Result<(), Violation> {
        while let Some(sim) = self.broker.hubs.get_mut(usize::from(hub)) {
            match sim.hub.poll_output() {
                Output::Transmit(link) => {
                    if let Some(&pipe) = self.pipe_of.get(&(hub, link)) {
                        self.flush_hub(pipe)?;
                    }
                }
                Output::Close(link) => self.hub_closes(hub, link)?,
                Output::Pause(link) => self.set_paused(hub, link, true),
                Output::Resume(link) => {
                    self.set_paused(hub, link, false);
                    if let Some(&pipe) = self.pipe_of.get(&(hub, link)) {
                        self.read_on(pipe);
                    }
                }
                Output::Ask(ask) => {
                    let what = format!("an anonymous hub asks about {}", ask.client_id);
                    return Err(Violation { statement: "configuration", what });
                }
                Output::Move { link, to, moved } => {
                    self.counts.note("link: moved to another hub");
                    let now = self.time();
                    let new = self.broker.hubs[usize::from(to)].hub.adopt(*moved, now);
                    if let Some(pipe) = self.pipe_of.remove(&(hub, link)) {
                        self.pipes[pipe].hub = to;
                        self.pipes[pipe].link = new;
                        self.pipe_of.insert((to, new), pipe);
                        self.read_on(pipe);
                    }
                    self.drain_hub(to)?;
                }
                Output::Peer(to, message) => {
                    self.counts.note("message between hubs");
                    let last = self.peer_last_at.get(&(hub, to)).copied().unwrap_or_default();
                    let at = last.max(self.now + self.random.between(1, 10));
                    self.peer_last_at.insert((hub, to), at);
                    let process = self.broker.process;
                    self.at(at, Happening::Peer(process, hub, to, Box::new(message)));
                }
                Output::Store(seq, record) => self.hub_stores(hub, seq, &record),
                Output::Page { ticket, request } => {
                    self.counts.note(if facts::is_of_retained(&request.prefix) {
                        "page: retained message read back"
                    } else {
                        "page: read back by the broker"
                    });
                    let at = self.now + self.random.between(0, 20);
                    let process = self.broker.process;
                    self.at(at, Happening::HubPage(process, hub, ticket, request));
                }
                Output::Spool(spool) => self.broker.disk.shelf.handle(spool),
                Output::Event(event) => self.note(|| format!("hub {hub}: {event:?}")),
                Output::Wait(at) => {
                    self.seal_hub(hub);
                    self.hub_waits(hub, at);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn seal_hub(&mut self, hub: u16) {
        if let Some(at) = self.broker.disk.seal(hub, self.now, &mut self.random) {
            if let Some(handed) = self.broker.disk.handed_at() {
                self.at(handed, Happening::BrokerHanded);
            }
            self.at(at, Happening::BrokerSynced);
        }
    }

    pub(super) fn hub_page(
        &mut self,
        process: u32,
        hub: u16,
        ticket: u64,
        request: &PageRequest,
    ) -> Result<(), Violation> {
        if !self.broker.is_up || self.broker.process != process {
            return Ok(());
        }
        let (page, now) = (self.broker.disk.page(request), self.time());
        self.broker.hubs[usize::from(hub)].hub.handle_page(ticket, page, now);
        self.drain_hub(hub)
    }

    fn hub_stores(&mut self, hub: u16, seq: u64, record: &Record) {
        let shelf = &self.broker.disk.shelf;
        let tag =
            message_of(&record.fact).and_then(|payload| facts::tag_of(&shelf.payload(payload)));
        self.broker.disk.put(hub, seq, record, tag);
        let is_full = self.broker.disk.is_full(self.now);
        self.counts.more("disk: record waited for room", u64::from(is_full));
    }

    /// Writes some or all of what the hub has for a link.
    pub(super) fn flush_hub(&mut self, pipe: usize) -> Result<(), Violation> {
        let found = &self.pipes[pipe];
        if !found.is_hub_open {
            return Ok(());
        }
        let (hub, link) = (found.hub, found.link);
        let bytes = self.output_of(hub, link);
        if bytes.is_empty() {
            return Ok(());
        }
        let all = bytes.len() as u64;
        let some = if self.random.chance(80) { all } else { self.random.between(1, all) };
        let piece = bytes.get(..usize::try_from(some).unwrap_or(usize::MAX)).unwrap_or(&bytes);
        let now = Time(START + self.now);
        self.broker.hubs[usize::from(hub)].hub.consume(link, some, now);
        self.write_to_client(pipe, piece)?;
        if some < all {
            let at = self.now + self.random.between(1, 20);
            self.at(at, Happening::FlushHub(pipe));
        }
        self.drain_hub_later(hub);
        Ok(())
    }

    /// Bytes leave the broker.
    fn write_to_client(&mut self, pipe: usize, bytes: &[u8]) -> Result<(), Violation> {
        for at in self.pipes[pipe].to_client.send(bytes, self.now, &mut self.random) {
            self.at(at, Happening::ToClient(pipe));
        }
        self.see_sent_by_hub(pipe, bytes)
    }

    fn output_of(&self, hub: u16, link: LinkId) -> Vec<u8> {
        let mut bytes = Vec::new();
        for chunk in self.broker.hubs[usize::from(hub)].hub.chunks(link) {
            match chunk {
                Chunk::Bytes(piece) => bytes.extend_from_slice(piece),
                Chunk::Spool { id, offset, len } => {
                    bytes.extend_from_slice(self.broker.disk.shelf.read(id.number(), offset, len));
                }
            }
        }
        bytes
    }

    pub(super) fn bytes_to_hub(&mut self, pipe: usize) -> Result<(), Violation> {
        let found = &mut self.pipes[pipe];
        if !found.is_hub_open || found.is_paused {
            return Ok(());
        }
        if self.now < found.stalled_until {
            let at = found.stalled_until;
            self.at(at, Happening::ToHub(pipe));
            return Ok(());
        }
        // Also without new bytes: after a pause or a move the hub takes up what is unread.
        found.to_hub.arrive(self.now);
        let (hub, link) = (found.hub, found.link);
        let now = Time(START + self.now);
        let before = found.to_hub.input.clone();
        let sim = &mut self.broker.hubs[usize::from(hub)];
        sim.hub.handle_bytes(link, &mut found.to_hub.input, now);
        let taken = before.len() - found.to_hub.input.len();
        self.see_taken_by_hub(pipe, &before[..taken])?;
        self.drain_hub(hub)
    }

    /// The hub closes a link: what it wrote still arrives, then the client's end closes.
    fn hub_closes(&mut self, hub: u16, link: LinkId) -> Result<(), Violation> {
        let Some(pipe) = self.pipe_of.remove(&(hub, link)) else { return Ok(()) };
        let bytes = self.output_of(hub, link);
        self.write_to_client(pipe, &bytes)?;
        self.pipes[pipe].is_hub_open = false;
        self.at(self.now + 100, Happening::ClientEndCloses(pipe));
        self.hub_side_is_closed(pipe);
        let now = self.time();
        self.broker.hubs[usize::from(hub)].hub.handle_closed(link, now);
        Ok(())
    }

    pub(super) fn hub_end_closes(&mut self, pipe: usize) -> Result<(), Violation> {
        let found = &mut self.pipes[pipe];
        if !std::mem::replace(&mut found.is_hub_open, false) {
            return Ok(());
        }
        let (hub, link) = (found.hub, found.link);
        found.to_client.lose();
        self.hub_side_is_closed(pipe);
        self.pipe_of.remove(&(hub, link));
        if found_is_stranger(self, pipe) {
            self.client_end_closes(pipe)?;
        }
        let now = self.time();
        self.broker.hubs[usize::from(hub)].hub.handle_closed(link, now);
        self.drain_hub(hub)
    }

    fn hub_side_is_closed(&mut self, pipe: usize) {
        let client = self.pipes[pipe].client;
        self.talks[client].presence.closed(pipe, self.now);
        self.will_due(pipe);
    }

    pub(super) fn wake_hub(&mut self, hub: u16) -> Result<(), Violation> {
        let Some(sim) = self.broker.hubs.get_mut(usize::from(hub)) else { return Ok(()) };
        if !self.broker.is_up {
            return Ok(());
        }
        if sim.wake_at.is_some_and(|at| at <= self.now) {
            sim.wake_at = None;
        }
        let now = Time(START + self.now);
        sim.hub.handle_time(now);
        self.drain_hub(hub)
    }

    pub(super) fn broker_synced(&mut self) -> Result<(), Violation> {
        if !self.broker.is_up {
            return Ok(());
        }
        match self.broker.disk.sync(self.now) {
            Synced::Stored(news) => {
                for (hub, seq) in news {
                    let now = self.time();
                    self.broker.hubs[usize::from(hub)].hub.handle_stored(seq, now);
                    self.drain_hub(hub)?;
                }
                self.queues_bounded()
            }
            Synced::Failed => {
                self.counts.note("disk: sync failed at the broker");
                self.crash_broker(Fall::PowerCut)
            }
        }
    }

    pub(super) fn broker_handed(&mut self) -> Result<(), Violation> {
        if !self.broker.is_up {
            return Ok(());
        }
        for (hub, seq) in self.broker.disk.hand(self.now) {
            let now = self.time();
            self.broker.hubs[usize::from(hub)].hub.handle_handed(seq, now);
            self.drain_hub(hub)?;
        }
        Ok(())
    }

    /// What a session may hold is bounded by its configuration; counted on the disk, which lags behind by whole batches.
    fn queues_bounded(&self) -> Result<(), Violation> {
        if self.script.queue_max_hub >= super::QUEUE_SMALL {
            return Ok(());
        }
        let content = self.broker.disk.content();
        for client in &self.clients {
            for owner in facts::owners(content, &client.name) {
                let held = facts::messages(content, owner).len();
                if held > self.script.queue_max_hub as usize {
                    let what = format!("the session of {} holds {held}", client.name);
                    return Err(Violation { statement: "bounds", what });
                }
            }
        }
        Ok(())
    }

    pub(super) fn peer_message(
        &mut self,
        process: u32,
        from: u16,
        to: u16,
        message: PeerMessage,
    ) -> Result<(), Violation> {
        if process != self.broker.process || !self.broker.is_up {
            return Ok(());
        }
        let now = self.time();
        self.broker.hubs[usize::from(to)].hub.handle_peer(from, message, now);
        self.drain_hub(to)
    }

    fn set_paused(&mut self, hub: u16, link: LinkId, is_paused: bool) {
        if let Some(&pipe) = self.pipe_of.get(&(hub, link)) {
            self.pipes[pipe].is_paused = is_paused;
        }
    }

    fn read_on(&mut self, pipe: usize) {
        self.at(self.now, Happening::ToHub(pipe));
    }

    fn hub_waits(&mut self, hub: u16, at: Option<Time>) {
        let Some(at) = at else { return };
        let at = at.0.saturating_sub(START).max(self.now);
        let sim = &mut self.broker.hubs[usize::from(hub)];
        if sim.wake_at.is_none_or(|planned| at < planned) {
            sim.wake_at = Some(at);
            self.at(at, Happening::WakeHub(hub));
        }
    }

    fn drain_hub_later(&mut self, hub: u16) {
        let sim = &mut self.broker.hubs[usize::from(hub)];
        if sim.wake_at.is_none_or(|planned| self.now < planned) {
            sim.wake_at = Some(self.now);
            self.at(self.now, Happening::WakeHub(hub));
        }
    }
}

/// Whether a stranger holds the client's end.
fn found_is_stranger(world: &World, pipe: usize) -> bool {
    world.pipes[pipe].is_stranger
}
