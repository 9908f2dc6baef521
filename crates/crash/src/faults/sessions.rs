//! The process that is under test: publishers and subscribers, half of each with MQTT 5.0, half of each with a store.
//!
//! It says on its standard output:
//!
//! ```text
//! ready                        all have connected and subscribed
//! done PUBLISHER QOS NUMBER    `publish` resolved with success
//! failed PUBLISHER QOS NUMBER WHY
//! got SUBSCRIBER PUBLISHER QOS NUMBER
//! ended WHY                    a connection, or an attempt to make one
//! last PUBLISHER QOS NUMBER    after standard input said `stop`: the last that was published
//! stats CONNECTIONS RESENT     of all sessions
//! drained                      all publications are complete
//! ```

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use postrider::{
    Event, Events, LinkReason, Message, Mode, Payload, Protocol, PublishError, PublishRequest, QoS,
    Session,
};
use postrider_sim::Random;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time,
};

use super::{PUBLISHERS, message::Name};
use crate::publisher::{BACKOFF_MAX, BACKOFF_MIN, WINDOW, heard_stop};

#[derive(Args)]
pub(crate) struct SessionsArgs {
    /// Where each session connects to, publishers first.
    #[arg(long, required = true)]
    url: Vec<String>,
    /// Where the stores are.
    #[arg(long)]
    folder: PathBuf,
    /// Messages per second that are begun, of all publishers together.
    #[arg(long)]
    rate: u32,
    /// For the lengths of payloads.
    #[arg(long)]
    seed: u64,
    /// A fault of the machines.
    #[cfg(feature = "mutations")]
    #[arg(long)]
    plant: Option<String>,
}

/// Publishes and counts until standard input says `stop`, finishes all and waits to be ended.
pub(crate) fn run(args: SessionsArgs) -> Result<()> {
    #[cfg(feature = "mutations")]
    plant(args.plant.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut sessions = Vec::new();
        for (index, url) in args.url.iter().enumerate() {
            sessions.push(open(index, url, &args.folder).await?);
        }
        let (publishers, subscribers) = sessions.split_at(PUBLISHERS.min(sessions.len()));
        let mut tasks = JoinSet::new();
        for session in &sessions {
            tasks.spawn(tell_ends(session.events()));
        }
        let progress = Arc::new(Progress::new(publishers.len(), subscribers.len()));
        for (index, session) in subscribers.iter().enumerate() {
            for qos in QOS {
                let filter = format!("faults/+/{}", qos as u8);
                let mut messages = session.subscribe(filter, qos).await?;
                let progress = Arc::clone(&progress);
                tasks.spawn(async move {
                    while let Some(message) = messages.next().await {
                        progress.note(index, tell_arrival(index, &message)?);
                    }
                    anyhow::bail!("subscriber {index}: the stream ended: {:?}", messages.ended())
                });
            }
        }
        say("ready")?;
        let stop = heard_stop()?;
        let mut publishing = JoinSet::new();
        for (index, session) in (0..).zip(publishers) {
            for qos in QOS {
                publishing.spawn(publish(Publisher {
                    session: session.clone(),
                    next: Name { publisher: index, qos: qos as u8, number: 1 },
                    qos,
                    pause: Duration::from_secs(2 * publishers.len() as u64) / args.rate,
                    random: Random::new(args.seed.wrapping_add(u64::from(index) * 2 + qos as u64)),
                    stop: stop.clone(),
                    progress: Arc::clone(&progress),
                }));
            }
        }
        while let Some(done) = tokio::select! {
            done = publishing.join_next() => done,
            // A subscriber's task only ends by a fault.
            Some(ended) = tasks.join_next() => Some(ended),
        } {
            done??;
        }
        let stats = sessions.iter().map(Session::stats);
        let sums = stats.fold([0, 0], |[connections, resent], it| {
            [connections + it.connections, resent + it.resent]
        });
        say(&format!("stats {} {}", sums[0], sums[1]))?;
        say("drained")?;
        match tasks.join_next().await {
            Some(ended) => ended?,
            None => Ok(()),
        }
    })
}

#[cfg(feature = "mutations")]
fn plant(name: Option<&str>) -> Result<()> {
    use postrider_sim::mutation::{Mutation, plant};
    let Some(name) = name else { return Ok(()) };
    let found = Mutation::ALL.iter().find(|(mutation, _)| format!("{mutation:?}") == name);
    let (mutation, _) = found.with_context(|| format!("no fault is called '{name}'"))?;
    plant(Some(*mutation));
    Ok(())
}

async fn open(index: usize, url: &str, folder: &Path) -> Result<Session> {
    let version = if index.is_multiple_of(2) { Protocol::V311 } else { Protocol::V5 };
    let mut builder = Session::builder(url, format!("faults-{index}"))
        .version(version)
        .keep_alive(KEEP_ALIVE)
        .connect_timeout(CONNECT_TIMEOUT)
        .backoff(BACKOFF_MIN, BACKOFF_MAX)
        .stable_after(Duration::ZERO);
    if index % 4 >= 2 {
        builder = builder.store(folder.join(format!("session-{index}"))).store_mode(Mode::Process);
    }
    Ok(builder.start().await?)
}

/// Numbers of one topic.
struct Publisher {
    session: Session,
    next: Name,
    qos: QoS,
    pause: Duration,
    random: Random,
    stop: watch::Receiver<bool>,
    progress: Arc<Progress>,
}

/// How far the subscribers are: the last number of each topic that came to each.
struct Progress(Vec<BTreeMap<(u8, u8), AtomicU32>>);

impl Progress {
    fn new(publishers: usize, subscribers: usize) -> Self {
        let topics = || (0..).take(publishers).flat_map(|it| QOS.map(|qos| (it, qos as u8)));
        let nothing = || topics().map(|topic| (topic, AtomicU32::new(0))).collect();
        Self((0..subscribers).map(|_| nothing()).collect())
    }

    fn note(&self, subscriber: usize, name: Name) {
        let of_subscriber = self.0.get(subscriber);
        let last = of_subscriber.and_then(|topics| topics.get(&(name.publisher, name.qos)));
        if let Some(last) = last {
            last.fetch_max(name.number, Ordering::Relaxed);
        }
    }

    /// Whether a subscriber is so far behind that the broker has a queue for it. Mosquitto writes all of its queues with
    /// each change, and would not come out of it any more.
    fn is_behind(&self, next: Name) -> bool {
        let topic = (next.publisher, next.qos);
        let lasts = self.0.iter().filter_map(|topics| topics.get(&topic));
        lasts.map(|last| last.load(Ordering::Relaxed)).any(|last| last + AHEAD_MAX < next.number)
    }
}

/// Publishes until told to stop; then waits for what is open, and publishes a last one.
async fn publish(mut publisher: Publisher) -> Result<()> {
    let window = Arc::new(Semaphore::new(WINDOW));
    let mut pace = time::interval(publisher.pause);
    pace.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut open = JoinSet::new();
    let mut ticks = 0_u64;
    while !*publisher.stop.borrow() {
        tokio::select! {
            _ = pace.tick() => ticks += 1,
            changed = publisher.stop.changed() => changed?,
        }
        // Never quite silent: what a subscriber waits for may be lost.
        if publisher.progress.is_behind(publisher.next) && !ticks.is_multiple_of(SLOW_TICKS) {
            continue;
        }
        let permit = tokio::select! {
            permit = Arc::clone(&window).acquire_owned() => permit?,
            changed = publisher.stop.changed() => {
                changed?;
                break;
            }
        };
        while let Some(done) = open.try_join_next() {
            done??;
        }
        let name = publisher.next;
        let receipt = publisher.request().receipt().await?;
        publisher.next.number += 1;
        open.spawn(async move {
            let result = receipt.completed().await;
            drop(permit);
            tell_end(name, result.map(drop))
        });
    }
    while let Some(done) = open.join_next().await {
        done??;
    }
    let name = publisher.next;
    let result = publisher.request().await;
    say(&format!("last {name}"))?;
    tell_end(name, result.map(drop))
}

impl Publisher {
    fn request(&mut self) -> PublishRequest<'_> {
        let is_long = self.random.chance(LONG_PERCENT);
        let (low, high) = if is_long { LONG } else { SHORT };
        let len = usize::try_from(self.random.between(low, high)).unwrap_or(0);
        let payload = Payload::from(self.next.payload(len));
        self.session.publish(self.next.topic(), payload).qos(self.qos)
    }
}

fn tell_end(name: Name, result: Result<(), PublishError>) -> Result<()> {
    match result {
        Ok(()) => say(&format!("done {name}")),
        Err(error) => say(&format!("failed {name} {error}")),
    }
}

/// Why each connection ended, as the client sees it.
async fn tell_ends(mut events: Events) -> Result<()> {
    while let Some(event) = events.next().await {
        let Event::Disconnected { reason, .. } = event else { continue };
        let why = if let LinkReason::PeerFault { what, statement } = reason {
            format!("the broker's fault, {statement}: {what}")
        } else if let LinkReason::Disconnected { reason, .. } = reason {
            format!("DISCONNECT with {reason:?}")
        } else if let LinkReason::Refused { reason, .. } = reason {
            format!("CONNACK with {reason:?}")
        } else if let LinkReason::Unreachable { .. } = reason {
            "no connection".to_owned()
        } else {
            format!("{reason:?}")
        };
        say(&format!("ended {why}"))?;
    }
    anyhow::bail!("a session is over")
}

fn tell_arrival(subscriber: usize, message: &Message) -> Result<Name> {
    let payload = message.payload()?;
    let name = Name::read(&payload).context("a message without a name")?;
    say(&format!("got {subscriber} {name}"))?;
    Ok(name)
}

fn say(line: &str) -> Result<()> {
    writeln!(io::stdout().lock(), "{line}").context("nobody listens")
}

const QOS: [QoS; 2] = [QoS::AtLeastOnce, QoS::ExactlyOnce];
/// A dead connection is noticed after one and a half of it.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Payloads of so many of 100 messages are long.
const LONG_PERCENT: u64 = 1;
/// Numbers of a topic that may be on their way.
const AHEAD_MAX: u32 = 40;
/// Of so many turns one is taken while subscribers are behind.
const SLOW_TICKS: u64 = 16;
/// Bytes of a payload, both included.
const SHORT: (u64, u64) = (16, 300);
const LONG: (u64, u64) = (20_000, 60_000);
