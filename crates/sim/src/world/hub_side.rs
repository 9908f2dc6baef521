//! What the driver of a hub does, in simulated time.

use postrider_hub::{Event as HubEvent, LinkId, Output, PeerMessage};
use postrider_proto::{Chunk, PageRequest, Time};

use super::{Happening, World};
use crate::Violation;

impl World {
    pub(super) fn drain_hub(&mut self, hub: u16) -> Result<(), Violation> {
        loop {
            match self.hubs[usize::from(hub)].hub.poll_output() {
                Output::Transmit(link) => {
                    if let Some(&pipe) = self.pipe_of.get(&(hub, link)) {
                        self.flush_hub(pipe)?;
                    }
                }
                Output::Close(link) => self.hub_closes(hub, link),
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
                    self.counts.moved += 1;
                    let now = self.time();
                    let new = self.hubs[usize::from(to)].hub.adopt(*moved, now);
                    if let Some(pipe) = self.pipe_of.remove(&(hub, link)) {
                        self.pipes[pipe].hub = to;
                        self.pipes[pipe].link = new;
                        self.pipe_of.insert((to, new), pipe);
                        self.read_on(pipe);
                    }
                    self.drain_hub(to)?;
                }
                Output::Peer(to, message) => {
                    self.counts.peer_messages += 1;
                    let last = self.peer_last_at.get(&(hub, to)).copied().unwrap_or_default();
                    let at = last.max(self.now + self.random.between(1, 10));
                    self.peer_last_at.insert((hub, to), at);
                    self.at(at, Happening::Peer(hub, to, Box::new(message)));
                }
                Output::Store(seq, record) => {
                    let at = self.now + self.random.between(0, 20);
                    self.hubs[usize::from(hub)].disk.write(seq, &record, at);
                    self.at(at, Happening::HubSynced(hub));
                }
                Output::Page { ticket, request } => {
                    self.counts.pages += 1;
                    let at = self.now + self.random.between(0, 20);
                    self.at(at, Happening::HubPage(hub, ticket, request));
                }
                Output::Spool(spool) => self.shelf.handle(spool),
                Output::Event(HubEvent::Unreadable { client_id, error }) => {
                    let what = format!("hub {hub} for {client_id}: {error}");
                    return Err(Violation { statement: "MQTT-4.1.0-1", what });
                }
                Output::Event(event) => self.note(format!("hub {hub}: {event:?}")),
                Output::Wait(at) => {
                    self.hub_waits(hub, at);
                    return Ok(());
                }
            }
        }
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
        let now = Time(super::START + self.now);
        self.hubs[usize::from(hub)].hub.consume(link, some, now);
        for at in self.pipes[pipe].to_client.send(piece, self.now, &mut self.random) {
            self.at(at, Happening::ToClient(pipe));
        }
        if some < all {
            let at = self.now + self.random.between(1, 20);
            self.at(at, Happening::FlushHub(pipe));
        }
        self.drain_hub_later(hub);
        Ok(())
    }

    fn output_of(&self, hub: u16, link: LinkId) -> Vec<u8> {
        let mut bytes = Vec::new();
        for chunk in self.hubs[usize::from(hub)].hub.chunks(link) {
            match chunk {
                Chunk::Bytes(piece) => bytes.extend_from_slice(piece),
                Chunk::Spool { id, offset, len } => {
                    bytes.extend_from_slice(self.shelf.read(id.number(), offset, len));
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
        let now = Time(super::START + self.now);
        self.hubs[usize::from(hub)].hub.handle_bytes(link, &mut found.to_hub.input, now);
        self.drain_hub(hub)
    }

    /// The hub closes a link: what it wrote still arrives, then the client's end closes.
    fn hub_closes(&mut self, hub: u16, link: LinkId) {
        let Some(pipe) = self.pipe_of.remove(&(hub, link)) else { return };
        let bytes = self.output_of(hub, link);
        for at in self.pipes[pipe].to_client.send(&bytes, self.now, &mut self.random) {
            self.at(at, Happening::ToClient(pipe));
        }
        self.pipes[pipe].is_hub_open = false;
        self.at(self.now + 100, Happening::ClientEndCloses(pipe));
        let now = self.time();
        self.hubs[usize::from(hub)].hub.handle_closed(link, now);
    }

    pub(super) fn hub_end_closes(&mut self, pipe: usize) -> Result<(), Violation> {
        let found = &mut self.pipes[pipe];
        if !std::mem::replace(&mut found.is_hub_open, false) {
            return Ok(());
        }
        let (hub, link) = (found.hub, found.link);
        self.pipe_of.remove(&(hub, link));
        let now = self.time();
        self.hubs[usize::from(hub)].hub.handle_closed(link, now);
        self.drain_hub(hub)
    }

    pub(super) fn wake_hub(&mut self, hub: u16) -> Result<(), Violation> {
        let sim = &mut self.hubs[usize::from(hub)];
        if sim.wake_at.is_some_and(|at| at <= self.now) {
            sim.wake_at = None;
        }
        let now = Time(super::START + self.now);
        sim.hub.handle_time(now);
        self.drain_hub(hub)
    }

    pub(super) fn hub_synced(&mut self, hub: u16) -> Result<(), Violation> {
        let sim = &mut self.hubs[usize::from(hub)];
        let Some(seq) = sim.disk.sync(self.now) else { return Ok(()) };
        sim.hub.handle_stored(seq, Time(super::START + self.now));
        self.drain_hub(hub)
    }

    pub(super) fn hub_page(
        &mut self,
        hub: u16,
        ticket: u64,
        request: &PageRequest,
    ) -> Result<(), Violation> {
        let sim = &mut self.hubs[usize::from(hub)];
        let page = sim.disk.page(request);
        sim.hub.handle_page(ticket, page, Time(super::START + self.now));
        self.drain_hub(hub)
    }

    pub(super) fn peer_message(
        &mut self,
        from: u16,
        to: u16,
        message: PeerMessage,
    ) -> Result<(), Violation> {
        let now = self.time();
        self.hubs[usize::from(to)].hub.handle_peer(from, message, now);
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
        let at = at.0.saturating_sub(super::START).max(self.now);
        let sim = &mut self.hubs[usize::from(hub)];
        if sim.wake_at.is_none_or(|planned| at < planned) {
            sim.wake_at = Some(at);
            self.at(at, Happening::WakeHub(hub));
        }
    }

    fn drain_hub_later(&mut self, hub: u16) {
        let sim = &mut self.hubs[usize::from(hub)];
        if sim.wake_at.is_none_or(|planned| self.now < planned) {
            sim.wake_at = Some(self.now);
            self.at(self.now, Happening::WakeHub(hub));
        }
    }
}
