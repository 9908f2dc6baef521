//! The world: machines, pipes, disks and one queue of events.

use std::collections::{BTreeMap, VecDeque};

use postrider_hub::{Hub, HubConfig, LinkId, PeerMessage};
use postrider_proto::{LinkConfig, PageRequest, Time};

use crate::{
    Model, Random, Script, Violation,
    client::SimClient,
    disk::{Disk, SpoolShelf},
    pipe::Pipe,
    script::Action,
};

mod client_side;
mod hub_side;

/// How often named situations occurred in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events handled.
    pub steps: u64,
    /// Messages published.
    pub published: u64,
    /// Messages delivered.
    pub delivered: u64,
    /// Links that were reset by the script.
    pub resets: u64,
    /// Links whose broker's end lived on for a while.
    pub half_open: u64,
    /// Links on which nothing moved for a while.
    pub stalls: u64,
    /// Connections that resumed a session.
    pub resumed: u64,
    /// Messages sent again.
    pub resent: u64,
    /// Links that moved to another hub.
    pub moved: u64,
    /// Messages between hubs.
    pub peer_messages: u64,
    /// Payloads that went through a spool.
    pub spooled: u64,
    /// Records written.
    pub records: u64,
    /// Publishes made while the client had no link.
    pub published_offline: u64,
    /// Pages of queues that were too long for memory.
    pub pages: u64,
}

impl Counts {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.published += other.published;
        self.delivered += other.delivered;
        self.resets += other.resets;
        self.half_open += other.half_open;
        self.stalls += other.stalls;
        self.resumed += other.resumed;
        self.resent += other.resent;
        self.moved += other.moved;
        self.peer_messages += other.peer_messages;
        self.spooled += other.spooled;
        self.records += other.records;
        self.published_offline += other.published_offline;
        self.pages += other.pages;
    }

    /// Every count with its name, in order.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 14] {
        [
            ("steps", self.steps),
            ("published", self.published),
            ("delivered", self.delivered),
            ("resets", self.resets),
            ("half-open links", self.half_open),
            ("stalls", self.stalls),
            ("sessions resumed", self.resumed),
            ("messages sent again", self.resent),
            ("links moved to another hub", self.moved),
            ("messages between hubs", self.peer_messages),
            ("payloads spooled", self.spooled),
            ("records written", self.records),
            ("published offline", self.published_offline),
            ("pages of long queues", self.pages),
        ]
    }
}

/// Something that happens at a time.
#[derive(Debug)]
enum Happening {
    Start(usize),
    Action(usize),
    Dialed(usize),
    ToHub(usize),
    ToClient(usize),
    HubEndCloses(usize),
    ClientEndCloses(usize),
    WakeClient(usize),
    WakeHub(u16),
    FlushClient(usize),
    FlushHub(usize),
    ClientSynced(usize),
    HubSynced(u16),
    ClientPage(usize, PageRequest),
    HubPage(u16, u64, PageRequest),
    Peer(u16, u16, Box<PeerMessage>),
}

#[derive(Debug)]
struct SimHub {
    hub: Hub,
    disk: Disk,
    wake_at: Option<u64>,
}

/// One run.
#[derive(Debug)]
pub struct World {
    script: Script,
    now: u64,
    random: Random,
    queue: BTreeMap<(u64, u64), Happening>,
    next_happening: u64,
    hubs: Vec<SimHub>,
    clients: Vec<SimClient>,
    pipes: Vec<Pipe>,
    pipe_of: BTreeMap<(u16, LinkId), usize>,
    shelf: SpoolShelf,
    peer_last_at: BTreeMap<(u16, u16), u64>,
    model: Model,
    counts: Counts,
    log: VecDeque<String>,
}

impl World {
    /// A world at rest.
    #[must_use]
    pub fn new(script: Script) -> Self {
        let now = Time(START);
        let mut world = Self {
            now: 0,
            random: Random::new(!script.seed),
            queue: BTreeMap::new(),
            next_happening: 0,
            hubs: Vec::new(),
            clients: Vec::new(),
            pipes: Vec::new(),
            pipe_of: BTreeMap::new(),
            shelf: SpoolShelf::default(),
            peer_last_at: BTreeMap::new(),
            model: Model::default(),
            counts: Counts::default(),
            log: VecDeque::new(),
            script,
        };
        for index in 0..world.script.hubs {
            let config = HubConfig {
                index,
                hubs: world.script.hubs,
                seed: world.script.seed,
                is_durable: world.script.is_durable,
                session: world.script.session(),
                link: LinkConfig { spool_above: world.script.spool_above, ..LinkConfig::default() },
                ..HubConfig::default()
            };
            let hub = Hub::new(config, now);
            world.hubs.push(SimHub { hub, disk: Disk::default(), wake_at: None });
        }
        for (index, actor) in world.script.clients.clone().into_iter().enumerate() {
            let client = SimClient::new(index, actor, &world.script, now);
            world.model.subscriber(client.filters());
            world.clients.push(client);
        }
        world
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The violation, the seed, the simulated time and the last actions, for people.
    pub fn run(mut self) -> Result<Counts, String> {
        match self.run_inner() {
            Ok(()) => Ok(self.counts),
            Err(violation) => {
                let last: Vec<_> = self.log.iter().map(String::as_str).collect();
                Err(format!(
                    "seed {} at {} ms breaks [{}]: {}\n  {} hubs, durable {}; last:\n  {}",
                    self.script.seed,
                    self.now,
                    violation.statement,
                    violation.what,
                    self.script.hubs,
                    self.script.is_durable,
                    last.join("\n  ")
                ))
            }
        }
    }

    fn run_inner(&mut self) -> Result<(), Violation> {
        for client in 0..self.clients.len() {
            let at = self.random.between(0, 200);
            self.at(at, Happening::Start(client));
        }
        for (index, (at, _)) in self.script.actions.clone().iter().enumerate() {
            self.at(*at, Happening::Action(index));
        }
        let end = self.script.actions.last().map_or(0, |(at, _)| *at) + DRAIN_MS;
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            if at > end {
                break;
            }
            self.now = at;
            self.counts.steps += 1;
            if self.counts.steps > STEPS_MAX {
                let what = format!("{STEPS_MAX} steps without an end, now at {happening:?}");
                return Err(Violation { statement: "livelock", what });
            }
            self.happen(happening)?;
        }
        for client in &self.clients {
            self.counts.resent += client.machine.stats().resent;
            self.counts.records += client.disk.writes;
        }
        self.counts.records += self.hubs.iter().map(|hub| hub.disk.writes).sum::<u64>();
        self.counts.delivered = self.model.deliveries() as u64;
        self.model.verdict()?;
        self.all_spools_gone()
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Start(client) => {
                let now = self.time();
                self.clients[client].machine.connect(now);
                self.drain_client(client)
            }
            Happening::Action(index) => self.act(index),
            Happening::Dialed(client) => self.dialed(client),
            Happening::ToHub(pipe) => self.bytes_to_hub(pipe),
            Happening::ToClient(pipe) => self.bytes_to_client(pipe),
            Happening::HubEndCloses(pipe) => self.hub_end_closes(pipe),
            Happening::ClientEndCloses(pipe) => self.client_end_closes(pipe),
            Happening::WakeClient(client) => self.wake_client(client),
            Happening::WakeHub(hub) => self.wake_hub(hub),
            Happening::FlushClient(pipe) => self.flush_client(pipe),
            Happening::FlushHub(pipe) => self.flush_hub(pipe),
            Happening::ClientSynced(client) => self.client_synced(client),
            Happening::HubSynced(hub) => self.hub_synced(hub),
            Happening::ClientPage(client, request) => self.client_page(client, &request),
            Happening::HubPage(hub, ticket, request) => self.hub_page(hub, ticket, &request),
            Happening::Peer(from, to, message) => self.peer_message(from, to, *message),
        }
    }

    fn act(&mut self, index: usize) -> Result<(), Violation> {
        let Some((_, action)) = self.script.actions.get(index).cloned() else { return Ok(()) };
        self.note(format!("{action:?}"));
        match action {
            Action::Publish { client, topic, qos, size } => self.publish(client, topic, qos, size),
            Action::Reset(client) => {
                let Some(pipe) = self.clients[client].pipe else { return Ok(()) };
                self.counts.resets += 1;
                self.client_end_closes(pipe)?;
                self.hub_end_closes(pipe)
            }
            Action::HalfOpen(client, ms) => {
                let Some(pipe) = self.clients[client].pipe else { return Ok(()) };
                self.counts.half_open += 1;
                self.at(self.now + ms, Happening::HubEndCloses(pipe));
                self.client_end_closes(pipe)
            }
            Action::Stall(client, ms) => {
                let Some(pipe) = self.clients[client].pipe else { return Ok(()) };
                self.counts.stalls += 1;
                self.pipes[pipe].stalled_until = self.now + ms;
                Ok(())
            }
        }
    }

    /// Once nobody refers to a payload any more its spool must go, or a broker would fill its disk.
    fn all_spools_gone(&self) -> Result<(), Violation> {
        let left =
            self.shelf.count() + self.clients.iter().map(|c| c.spools.count()).sum::<usize>();
        if left == 0 {
            return Ok(());
        }
        Err(Violation { statement: "bounds", what: format!("{left} spools were never dropped") })
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.next_happening += 1;
        self.queue.insert((at.max(self.now), self.next_happening), happening);
    }

    fn time(&self) -> Time {
        Time(START + self.now)
    }

    fn note(&mut self, text: String) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(format!("{} ms: {text}", self.now));
    }
}

/// Simulated time begins here, in milliseconds since the epoch.
const START: u64 = 1_700_000_000_000;
/// How long everything may take to drain after the last action.
const DRAIN_MS: u64 = 120_000;
/// More events than any script of ours can cause.
const STEPS_MAX: u64 = 2_000_000;
/// Lines of the log that a failure shows.
const LOG_LINES: usize = 30;
