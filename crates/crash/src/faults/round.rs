//! One run: sessions and a broker are started, struck, and given time to finish.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    PUBLISHERS, SUBSCRIBERS,
    handed::Handed,
    judge::{Arrivals, Told, Verdict},
    line::{Account, Line},
    memory::{Course, Memory},
    message::Name,
    sent::Sent,
    weather::{Fault, Kind, Sky, Tally, Weather},
};
use crate::{
    flight::Side,
    process::{BrokerKind, PATIENCE, Process, Room, StoreMode, start_broker},
    proxy::Upstream,
};

/// What is to happen.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) broker: BrokerKind,
    pub(crate) sky: Sky,
    pub(crate) duration: Duration,
    pub(crate) faults: u64,
    /// Longest time between two faults.
    pub(crate) pause: Duration,
    pub(crate) seed: u64,
    pub(crate) rate: u32,
    /// A fault of the client.
    pub(crate) planted: Option<String>,
    pub(crate) folder: PathBuf,
}

/// What has happened.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) sky: Sky,
    pub(crate) seconds: u64,
    pub(crate) tally: Tally,
    pub(crate) verdict: Verdict,
    pub(crate) memory: Course,
    /// All publications were completed in time, and all sessions are connected.
    pub(crate) has_recovered: bool,
    /// Why connections and attempts ended, as the client saw it.
    pub(crate) ends: BTreeMap<String, u64>,
    /// Connections that were made, and messages that were sent again.
    pub(crate) connections: u64,
    pub(crate) resent: u64,
    /// How often the broker had lost a session.
    pub(crate) sessions_lost: u64,
}

/// Runs a plan from its start to its verdict.
pub(crate) fn run(plan: &Plan) -> Result<Round> {
    let mut scene = Scene::set(plan)?;
    scene.play(plan)?;
    scene.end()
}

/// Everybody who takes part, and what is known so far.
struct Scene {
    sky: Sky,
    began: Instant,
    folder: PathBuf,
    kind: BrokerKind,
    upstream: Upstream,
    lines: Vec<(Side, Arc<Line>)>,
    sessions: Process,
    broker: Option<Process>,
    told: Told,
    tally: Tally,
    memory: Course,
    ends: BTreeMap<String, u64>,
    is_drained: bool,
    connections: u64,
    resent: u64,
}

impl Scene {
    /// Starts all, and waits until all have connected.
    fn set(plan: &Plan) -> Result<Self> {
        fs::create_dir_all(&plan.folder)?;
        let upstream = Upstream::default();
        let broker = start(&plan.broker, &plan.folder, &upstream)?;
        let mut command = Command::new(env::current_exe()?);
        command.arg("sessions").arg("--folder").arg(&plan.folder);
        command.args(["--rate", &plan.rate.to_string(), "--seed", &plan.seed.to_string()]);
        if let Some(planted) = &plan.planted {
            command.args(["--plant", planted]);
        }
        let publishers = (0..PUBLISHERS).map(|_| Account::Publisher(Sent::default()));
        let subscribers = (0..SUBSCRIBERS).map(|_| Account::Subscriber(Handed::default()));
        let mut lines = Vec::new();
        for account in publishers.chain(subscribers) {
            let side = match account {
                Account::Publisher(_) => Side::Inbound,
                Account::Subscriber(_) => Side::Outbound,
            };
            let (line, port) = Line::open(account, upstream.clone())?;
            command.args(["--url", &format!("mqtt://127.0.0.1:{port}")]);
            lines.push((side, line));
        }
        let mut sessions = Process::start("sessions", &plan.folder, command)?;
        sessions.wait_for("ready", PATIENCE)?;
        let arrivals = (0..SUBSCRIBERS).map(|_| Arrivals::default()).collect();
        let memory = Memory::of(sessions.id())?;
        Ok(Self {
            sky: plan.sky,
            began: Instant::now(),
            folder: plan.folder.clone(),
            kind: plan.broker.clone(),
            upstream,
            lines,
            sessions,
            broker: Some(broker),
            told: Told { arrivals, ..Told::default() },
            tally: Tally::default(),
            memory: Course { start: memory, warm: memory, peak: memory, end: memory },
            ends: BTreeMap::new(),
            is_drained: false,
            connections: 0,
            resent: 0,
        })
    }

    /// All faults, one after the other.
    fn play(&mut self, plan: &Plan) -> Result<()> {
        let sides = self.lines.iter().map(|(side, _)| *side).collect();
        let mut weather = Weather::new(plan.sky, sides, plan.seed);
        // What is there after a minute is what a session needs.
        let warm_after = WARM_AFTER.min(plan.duration / 4);
        let mut faults = 0;
        while self.began.elapsed() < plan.duration && faults < plan.faults {
            self.listen(weather.pause(plan.pause))?;
            self.strike(&weather.fault())?;
            faults += 1;
            let memory = Memory::of(self.sessions.id())?;
            self.memory.note(memory);
            if self.began.elapsed() < warm_after || faults < plan.faults.min(WARM_FAULTS) {
                self.memory.warm = memory;
            }
        }
        Ok(())
    }

    /// Lets a fault happen, and waits until a broker that was killed is there again.
    fn strike(&mut self, fault: &Fault) -> Result<()> {
        let Some((_, first)) = fault.lines.first().and_then(|index| self.lines.get(*index)) else {
            return Ok(());
        };
        if let Some(stage) = fault.stage {
            // Nothing may pass at the moment; then the fault comes as it is.
            first.catch(stage, CATCH_PATIENCE);
        }
        if fault.kind == Kind::Kill {
            self.broker.as_mut().context("it was started")?.kill()?;
        }
        let (blow, outage) = fault.blow();
        self.tally.fault(fault.kind);
        for (at, index) in fault.lines.iter().enumerate() {
            let Some((side, line)) = self.lines.get(*index) else { continue };
            line.set_outage(outage);
            let hit = line.strike(blow, fault.is_lost && at == 0, fault.pick());
            self.tally.hit(fault.kind, hit.map(|stage| (*side, stage)));
        }
        if fault.kind == Kind::Kill {
            self.broker.take().context("it was started")?.bury()?;
            // It is down for as long as the fault says: this is the fault, nothing is waited for.
            thread::sleep(fault.duration);
            self.broker = Some(start(&self.kind, &self.folder, &self.upstream)?);
        }
        Ok(())
    }

    /// No more faults: all is finished, then judged.
    fn end(mut self) -> Result<Round> {
        for (_, line) in &self.lines {
            line.calm();
        }
        self.sessions.tell("stop")?;
        let seconds = self.began.elapsed().as_secs();
        // As long as something happens, and not for ever.
        let deadline = Instant::now() + END_MAX;
        while !self.is_over() && Instant::now() < deadline && self.listen_once(PATIENCE)? {}
        self.memory.note(Memory::of(self.sessions.id())?);
        let (mut sent, mut handed) = (Vec::new(), Vec::new());
        // The sessions are still there; what they do now does not matter.
        let accounts: Vec<Account> = self.lines.iter().map(|(_, line)| line.account()).collect();
        for account in &accounts {
            match account {
                Account::Publisher(account) => sent.push(account),
                Account::Subscriber(account) => handed.push(account),
            }
        }
        let lost_by_publishers: u64 = sent.iter().map(|it| it.presence.lost).sum();
        let lost_by_subscribers: u64 = handed.iter().map(|it| it.presence.lost).sum();
        Ok(Round {
            sky: self.sky,
            seconds,
            verdict: Verdict::of(&self.told, &sent, &handed),
            tally: self.tally,
            memory: self.memory,
            ends: self.ends,
            has_recovered: self.is_drained && self.lines.iter().all(|(_, line)| line.is_open()),
            connections: self.connections,
            resent: self.resent,
            sessions_lost: lost_by_publishers + lost_by_subscribers,
        })
    }

    /// Whether every subscriber has got the last message of every topic.
    fn is_over(&self) -> bool {
        self.is_drained
            && self.told.last.iter().all(|(&(publisher, qos), &number)| {
                let name = Name { publisher, qos, number };
                self.told.arrivals.iter().all(|arrivals| arrivals.counts.contains_key(&name))
            })
    }

    /// Takes what the sessions say for so long.
    fn listen(&mut self, duration: Duration) -> Result<()> {
        let until = Instant::now() + duration;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !self.listen_once(left)? {
                return Ok(());
            }
        }
    }

    /// Takes a line of the sessions; whether there was one in time.
    fn listen_once(&mut self, patience: Duration) -> Result<bool> {
        let Some(line) = self.sessions.line_within(patience)? else { return Ok(false) };
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let name = || Name::parse(rest).with_context(|| format!("'{line}' has no name"));
        match word {
            "done" => _ = self.told.done.insert(name()?),
            "failed" => _ = self.told.failed.insert(name()?, rest.to_owned()),
            "last" => {
                let name = name()?;
                self.told.last.insert((name.publisher, name.qos), name.number);
            }
            "got" => {
                let (index, name) = rest.split_once(' ').unwrap_or_default();
                let name = Name::parse(name).with_context(|| format!("'{line}' has no name"))?;
                let arrivals = self.told.arrivals.get_mut(index.parse::<usize>()?);
                arrivals.with_context(|| format!("'{line}' has no subscriber"))?.note(name);
            }
            "stats" => {
                let (connections, resent) = rest.split_once(' ').unwrap_or_default();
                (self.connections, self.resent) = (connections.parse()?, resent.parse()?);
            }
            "ended" => *self.ends.entry(rest.to_owned()).or_default() += 1,
            "drained" => self.is_drained = true,
            _ => (),
        }
        Ok(true)
    }
}

fn start(kind: &BrokerKind, folder: &Path, upstream: &Upstream) -> Result<Process> {
    let (broker, address) = start_broker(kind, StoreMode::Durable, folder, Room::Plenty)?;
    upstream.set(address);
    Ok(broker)
}

const WARM_AFTER: Duration = Duration::from_secs(60);
/// In a run of a few faults, those before the memory is taken as what is needed.
const WARM_FAULTS: u64 = 5;
/// How long the sessions may take to finish.
const END_MAX: Duration = Duration::from_secs(180);
/// How long an exchange may take to come to a stage.
const CATCH_PATIENCE: Duration = Duration::from_secs(1);
