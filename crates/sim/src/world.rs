//! The world: machines, pipes, disks and one queue of events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use postrider_hub::{Hub, LinkId, PeerMessage};
use postrider_proto::{
    PageRequest, Time,
    wire::{Filter, PacketId},
};

use crate::{
    Counts, Model, Random, Script, Violation,
    client::SimClient,
    disk::{Disk, Fall},
    facts,
    flow::Flow,
    pipe::Pipe,
    presence::Presence,
    script::{Action, Who},
};

mod client_side;
mod crash;
mod handshake;
mod hub_side;
mod loose;
mod program;
mod watch;
mod wills;

pub(crate) use self::program::Held;

/// Something that happens at a time.
#[derive(Debug)]
enum Happening {
    StartClient(usize),
    EndClient(usize, u32),
    StartBroker,
    Action(usize),
    Dialed(usize, u32),
    ToHub(usize),
    ToClient(usize),
    HubEndCloses(usize),
    ClientEndCloses(usize),
    WakeClient(usize),
    WakeHub(u16),
    FlushClient(usize),
    FlushHub(usize),
    ClientSynced(usize),
    BrokerSynced,
    ClientHanded(usize),
    BrokerHanded,
    Acknowledge(usize, u32, u64),
    Drop(usize, u32, u64),
    Redial(usize, u32),
    ClientPage(usize, u32, PageRequest),
    HubPage(u32, u16, u64, PageRequest),
    Peer(u32, u16, u16, Box<PeerMessage>),
}

#[derive(Debug)]
struct SimHub {
    hub: Hub,
    wake_at: Option<u64>,
}

/// All hubs, which share one store.
#[derive(Debug, Default)]
struct Broker {
    hubs: Vec<SimHub>,
    disk: Disk,
    is_up: bool,
    /// Counts processes.
    process: u32,
    down_since: u64,
    /// Dropped messages that hubs of earlier processes counted.
    dropped: u64,
}

/// What both ends of a client's session have to say to each other.
#[derive(Debug)]
struct Talk {
    up: Flow,
    down: Flow,
    presence: Presence,
    /// CONNECTs that the broker took.
    connects: u64,
    /// Operations on the wire, by connection and id.
    asked: BTreeMap<(usize, PacketId), Asked>,
    /// The connection whose CONNECT may have begun a new session, until the client hears of it.
    unheard: Option<usize>,
    /// Whether the store of either end lost what the other had heard of, as it may.
    is_loose: bool,
}

/// The filters of one SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Debug, Default)]
struct Asked {
    filters: Vec<Filter>,
    /// The step of the model at which it was written.
    sent: u64,
}

/// One run.
#[derive(Debug)]
pub struct World {
    script: Script,
    now: u64,
    steps: u64,
    random: Random,
    queue: BTreeMap<(u64, u64), Happening>,
    next_happening: u64,
    broker: Broker,
    clients: Vec<SimClient>,
    talks: Vec<Talk>,
    pipes: Vec<Pipe>,
    pipe_of: BTreeMap<(u16, LinkId), usize>,
    peer_last_at: BTreeMap<(u16, u16), u64>,
    model: Model,
    wills: BTreeSet<u64>,
    counts: Counts,
    /// What happened last; only kept when a run that failed is run again.
    log: Option<VecDeque<String>>,
}

impl World {
    /// A world at rest.
    #[must_use]
    pub fn new(script: Script) -> Self {
        let mut world = Self {
            now: 0,
            steps: 0,
            random: Random::new(!script.seed),
            queue: BTreeMap::new(),
            next_happening: 0,
            broker: Broker::default(),
            clients: Vec::new(),
            talks: Vec::new(),
            pipes: Vec::new(),
            pipe_of: BTreeMap::new(),
            peer_last_at: BTreeMap::new(),
            model: Model::default(),
            wills: BTreeSet::new(),
            counts: Counts::default(),
            log: None,
            script,
        };
        for (index, actor) in world.script.clients.clone().into_iter().enumerate() {
            let is_member = actor.filters.iter().any(|(filter, _)| filter.starts_with('$'));
            world.model.add_client(is_member);
            world.clients.push(SimClient::new(index, actor, &world.script, Time(START)));
            world.talks.push(Talk {
                up: Flow::default(),
                down: Flow::default(),
                presence: Presence::none(),
                connects: 0,
                asked: BTreeMap::new(),
                unheard: None,
                is_loose: false,
            });
        }
        world
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The violation, the seed, the step, the simulated time and the last actions, for people.
    pub fn run(mut self) -> Result<Counts, String> {
        if self.run_inner().is_ok() {
            return Ok(self.counts);
        }
        // The same again, this time taking notes.
        let mut again = Self { log: Some(VecDeque::new()), ..Self::new(self.script) };
        let violation = match again.run_inner() {
            Ok(()) => Violation { statement: "determinism", what: "it passed again".to_owned() },
            Err(violation) => violation,
        };
        Err(again.report(&violation))
    }

    fn report(&self, violation: &Violation) -> String {
        let Violation { statement, what } = violation;
        let script = &self.script;
        let mut text = format!(
            "seed {} at step {}, {} ms, breaks [{statement}]: {what}\n  {} hubs, durable {}, windows {} {}, queues {} {}\n",
            script.seed,
            self.steps,
            self.now,
            self.broker.hubs.len(),
            script.is_durable,
            script.receive_maximum,
            script.receive_maximum_hub,
            script.queue_max_client,
            script.queue_max_hub,
        );
        let clients = script.clients.iter().enumerate();
        let clients = clients.map(|(index, actor)| format!("  client {index}: {actor:?}\n"));
        let log = self.log.iter().flatten().map(|line| format!("  {line}\n"));
        text.extend(clients.chain(log));
        text
    }

    fn run_inner(&mut self) -> Result<(), Violation> {
        self.start_broker(self.script.hubs)?;
        let over = self.script.actions.last().map_or(0, |(at, _)| *at);
        for client in 0..self.clients.len() {
            let is_auditor = self.clients[client].actor.is_auditor;
            let at = if is_auditor { over + AUDIT_MS } else { self.random.between(0, 200) };
            self.at(at, Happening::StartClient(client));
        }
        for index in 0..self.script.actions.len() {
            let at = self.script.actions[index].0;
            self.at(at, Happening::Action(index));
        }
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            if at > over + DRAIN_MS {
                break;
            }
            self.now = at;
            self.steps += 1;
            if self.steps > STEPS_MAX {
                let what = format!("{STEPS_MAX} steps without an end, now at {happening:?}");
                return Err(Violation { statement: "livelock", what });
            }
            self.happen(happening)?;
        }
        self.finish()
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::StartClient(client) => self.start_client(client),
            Happening::EndClient(client, process) => self.end_client(client, process),
            Happening::StartBroker => {
                let hubs = if self.random.chance(50) {
                    self.random.between(1, 3) as u16
                } else {
                    self.broker.hubs.len() as u16
                };
                self.start_broker(hubs)
            }
            Happening::Action(index) => self.act(index),
            Happening::Dialed(client, process) => self.dialed(client, process),
            Happening::ToHub(pipe) => self.bytes_to_hub(pipe),
            Happening::ToClient(pipe) => self.bytes_to_client(pipe),
            Happening::HubEndCloses(pipe) => self.hub_end_closes(pipe),
            Happening::ClientEndCloses(pipe) => self.client_end_closes(pipe),
            Happening::WakeClient(client) => self.wake_client(client),
            Happening::WakeHub(hub) => self.wake_hub(hub),
            Happening::FlushClient(pipe) => self.flush_client(pipe),
            Happening::FlushHub(pipe) => self.flush_hub(pipe),
            Happening::ClientSynced(client) => self.client_synced(client),
            Happening::BrokerSynced => self.broker_synced(),
            Happening::ClientHanded(client) => self.client_handed(client),
            Happening::BrokerHanded => self.broker_handed(),
            Happening::Acknowledge(client, process, number) => {
                self.acknowledge(client, process, number)
            }
            Happening::Drop(client, process, number) => self.drop_message(client, process, number),
            Happening::Redial(client, process) => self.redial(client, process),
            Happening::ClientPage(client, process, request) => {
                self.client_page(client, process, &request)
            }
            Happening::HubPage(process, hub, ticket, request) => {
                self.hub_page(process, hub, ticket, &request)
            }
            Happening::Peer(process, from, to, message) => {
                self.peer_message(process, from, to, *message)
            }
        }
    }

    fn act(&mut self, index: usize) -> Result<(), Violation> {
        let Some((_, action)) = self.script.actions.get(index).cloned() else { return Ok(()) };
        self.note(|| format!("{action:?}"));
        match action {
            Action::Publish { client, topic, qos, retain, expiry_s, size } => {
                self.publish(client, topic, (qos, retain, expiry_s), size)
            }
            Action::Toggle(client, place) => self.toggle(client, place),
            Action::Reset(client) => {
                let Some(pipe) = self.clients[client].pipe else { return Ok(()) };
                self.counts.note("link: reset");
                self.client_end_closes(pipe)?;
                self.hub_end_closes(pipe)
            }
            Action::HalfOpen(client, ms) => {
                let Some(pipe) = self.clients[client].pipe else { return Ok(()) };
                self.counts.note("link: half open");
                self.at(self.now + ms, Happening::HubEndCloses(pipe));
                self.client_end_closes(pipe)
            }
            Action::Stall(client, ms) => {
                let Some(pipe) = self.clients[client].pipe else { return Ok(()) };
                self.counts.note("link: stalled");
                self.pipes[pipe].stalled_until = self.now + ms;
                Ok(())
            }
            Action::Stranger(client, ms) => self.stranger(client, ms),
            Action::Away { client, ms, answer } => self.send_away(client, ms, answer),
            Action::Kill(who) => self.crash(who, Fall::Kill),
            Action::Crash(who) => self.crash(who, Fall::PowerCut),
            Action::KillBoth(client) | Action::CrashBoth(client) => {
                if self.clients[client].is_up && self.broker.is_up {
                    self.counts.note("crash: client and broker");
                }
                let is_kill = matches!(action, Action::KillBoth(_));
                let fall = if is_kill { Fall::Kill } else { Fall::PowerCut };
                self.crash_client(client, fall)?;
                self.crash_broker(fall)
            }
            Action::Stop(Who::Client(client)) => self.stop_client(client),
            Action::Stop(Who::Broker) => self.stop_broker(),
            Action::FailSync(who) => {
                self.disk_of(who).is_failing = true;
                Ok(())
            }
            Action::FillDisk(who, ms) => {
                self.counts.note("disk: full");
                self.disk_of(who).full_until = self.now + ms;
                Ok(())
            }
            Action::SlowDisk(who, ms) => {
                self.counts.note("disk: slow");
                self.disk_of(who).slow_until = self.now + ms;
                Ok(())
            }
        }
    }

    fn disk_of(&mut self, who: Who) -> &mut Disk {
        match who {
            Who::Client(client) => &mut self.clients[client].disk,
            Who::Broker => &mut self.broker.disk,
        }
    }

    /// Everything has drained, or should have.
    fn finish(&mut self) -> Result<(), Violation> {
        let writes = self.clients.iter().map(|client| client.disk.writes).sum::<u64>();
        self.counts.more("records written", writes + self.broker.disk.writes);
        self.counts.more("steps", self.steps);
        self.counts.more("delivered", self.model.deliveries() as u64);
        let dropped = self.dropped();
        self.counts.more("dropped by the broker", dropped);
        let is_small = self.script.queue_max_hub < QUEUE_SMALL;
        let auditors = [self.clients.len() - 2, self.clients.len() - 1];
        self.model.verdict(auditors, if is_small { dropped } else { 0 })?;
        for (index, client) in self.clients.iter().enumerate() {
            if !client.is_up || !client.machine.is_idle() || !client.held.is_empty() {
                let what = format!("{} is not at rest when all is over", client.name);
                return Err(Violation { statement: "drain", what });
            }
            for (place, (filter, _)) in client.filters().iter().enumerate() {
                // Who did not hear that its session is new does not subscribe again.
                let is_owed = client.wanted[place] && !self.model.is_confused(index);
                if is_owed && !self.model.is_wanted(index, filter) {
                    let what = format!("{} is not subscribed to {filter}", client.name);
                    return Err(Violation { statement: "MQTT-4.1.0-1", what });
                }
            }
            let mut left = facts::unfinished(client.disk.content());
            // A broker that crashed sends a message of QoS 1 again under another id; the first id stays open until it is
            // used again.
            left.retain(|key| !client.actor.is_manual || !facts::is_arrived(key));
            if !left.is_empty() && !self.model.is_confused(index) {
                let what = format!("{} has left {left:?} on its disk", client.name);
                return Err(Violation { statement: "bounds", what });
            }
        }
        let content = self.broker.disk.content();
        let loose = self.clients.iter().zip(&self.talks).filter(|(_, talk)| talk.is_loose);
        let loose: Vec<_> =
            loose.flat_map(|(client, _)| facts::owners(content, &client.name)).collect();
        let left = facts::unfinished_but_of(content, &loose);
        if !left.is_empty() {
            let what = format!("the broker has left {left:?} on its disk");
            return Err(Violation { statement: "bounds", what });
        }
        self.spools_gone()
    }

    /// Messages dropped by all processes of the broker, from full queues or expired.
    fn dropped(&self) -> u64 {
        let now = self.broker.hubs.iter().map(|sim| sim.hub.stats().dropped).sum::<u64>();
        self.broker.dropped + if self.broker.is_up { now } else { 0 }
    }

    /// Once nobody refers to a payload any more its spool must go, or a broker would fill its disk.
    fn spools_gone(&self) -> Result<(), Violation> {
        let of_clients = self.clients.iter().map(|client| client.disk.shelf.count()).sum::<usize>();
        let retained = self.broker.hubs.iter().map(|sim| sim.hub.stats().retained).max();
        // Each hub has its own reference to what is retained.
        let kept = retained.unwrap_or_default() as usize;
        let left = self.broker.disk.shelf.count();
        if of_clients > 0 || left > kept {
            let what =
                format!("{of_clients} and {left} spools were never dropped, {kept} retained");
            return Err(Violation { statement: "bounds", what });
        }
        Ok(())
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.next_happening += 1;
        self.queue.insert((at.max(self.now), self.next_happening), happening);
    }

    fn time(&self) -> Time {
        Time(START + self.now)
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        let Some(log) = &mut self.log else { return };
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(format!("{} ms: {}", self.now, text()));
    }
}

/// Simulated time begins here, in milliseconds since the epoch.
const START: u64 = 1_700_000_000_000;
/// When retained messages are looked at, after the last action.
const AUDIT_MS: u64 = 60_000;
/// How long everything may take to drain after the last action.
const DRAIN_MS: u64 = 100_000;
/// More events than any script of ours can cause.
const STEPS_MAX: u64 = 500_000;
/// Lines of the log that a failure shows.
const LOG_LINES: usize = 60;
/// A queue of fewer messages may be full.
const QUEUE_SMALL: u32 = 1_000;
