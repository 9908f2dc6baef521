//! A publisher, a broker and a subscriber, with proxies between them.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, Result};

use crate::{
    board::Board,
    flight::Side,
    journal,
    process::{BrokerKind, PATIENCE, Process, Room, StoreMode, start_broker},
    proxy::{self, Upstream},
    tally::{Arrived, Verdict},
};

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Publisher,
    Broker,
    Subscriber,
}

/// Which publisher is killed.
#[derive(Clone, Debug)]
pub(crate) enum PublisherKind {
    /// This program in another role.
    Postrider,
    /// `paho_publisher.py`, by a Python that has paho-mqtt.
    Paho { python: PathBuf, script: PathBuf },
}

/// Who takes part, and how.
#[derive(Clone, Debug)]
pub(crate) struct Cast {
    pub(crate) broker: BrokerKind,
    pub(crate) publisher: PublisherKind,
    /// Of all our stores.
    pub(crate) mode: StoreMode,
    /// Messages per second that are begun, of both QoS together.
    pub(crate) rate: u32,
    /// Messages of one QoS that the publisher may have open.
    pub(crate) window: usize,
    /// Length of each payload, at least.
    pub(crate) payload_bytes: usize,
}

/// The three processes of one round, their files, and what connects them.
pub(crate) struct Trio<'a> {
    cast: &'a Cast,
    folder: &'a Path,
    upstream: Upstream,
    ports: [u16; 2],
    publisher: Option<Process>,
    broker: Option<Process>,
    subscriber: Option<Process>,
}

impl<'a> Trio<'a> {
    /// Starts all three with empty stores.
    pub(crate) fn start(cast: &'a Cast, folder: &'a Path, board: &Arc<Board>) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let upstream = Upstream::default();
        let open = |side| proxy::open(side, Arc::clone(board), upstream.clone());
        let ports = [open(Side::Inbound)?, open(Side::Outbound)?];
        let mut trio =
            Self { cast, folder, upstream, ports, publisher: None, broker: None, subscriber: None };
        trio.revive(Who::Broker)?;
        trio.revive(Who::Subscriber)?;
        // What is published before anybody has subscribed reaches nobody.
        trio.process(Who::Subscriber)?.wait_for("subscribed", PATIENCE)?;
        trio.revive(Who::Publisher)?;
        Ok(trio)
    }

    /// Starts one of them where it stopped. Only the broker's answer is waited for.
    pub(crate) fn revive(&mut self, who: Who) -> Result<()> {
        self.revive_within(who, Room::Plenty)
    }

    /// As [`Trio::revive`], with a disk that may be small.
    pub(crate) fn revive_within(&mut self, who: Who, room: Room) -> Result<()> {
        match who {
            Who::Publisher => {
                let command = room.limit(self.publisher_command()?);
                self.publisher = Some(Process::start("publisher", self.folder, command)?);
            }
            Who::Broker => {
                let (broker, address) =
                    start_broker(&self.cast.broker, self.cast.mode, self.folder, room)?;
                self.upstream.set(address);
                self.broker = Some(broker);
            }
            Who::Subscriber => {
                let mut command = Command::new(env::current_exe()?);
                command.args(["subscriber", "--url", &self.url(Side::Outbound)]);
                command.args(["--mode", self.cast.mode.name()]);
                command.arg("--store").arg(self.folder.join("subscriber.store"));
                let command = room.limit(command);
                self.subscriber = Some(Process::start("subscriber", self.folder, command)?);
            }
        }
        Ok(())
    }

    /// Waits until one of them ends by itself with an error; returns its last words.
    pub(crate) fn wait_for_end(&mut self, who: Who) -> Result<String> {
        self.slot(who).take().context("it was started")?.wait_for_end(PATIENCE)
    }

    /// SIGKILL, without waiting.
    pub(crate) fn kill(&mut self, victims: &[Who]) -> Result<()> {
        for who in victims {
            self.process(*who)?.kill()?;
        }
        Ok(())
    }

    /// Waits until a killed one is gone.
    pub(crate) fn bury(&mut self, who: Who) -> Result<()> {
        self.slot(who).take().context("it was started")?.bury()
    }

    /// No more faults: everything that is open is finished, then every number is compared. QoS 1 and QoS 2.
    pub(crate) fn drain(&mut self) -> Result<[Verdict; 2]> {
        let publisher = self.process(Who::Publisher)?;
        publisher.tell("stop")?;
        publisher.wait_for("drained", PATIENCE)?;
        let begun = journal::read(&self.journal())?;
        let last = begun.iter().map(|begun| begun.last).max().unwrap_or(0);
        let subscriber = self.process(Who::Subscriber)?;
        for _ in &begun {
            subscriber.wait_for("ended", PATIENCE)?;
        }
        subscriber.tell(&format!("report {}", last + REPORT_BEYOND))?;
        let mut arrived = [BTreeMap::new(), BTreeMap::new()];
        loop {
            let line = subscriber.wait_for("", PATIENCE)?;
            if line == "reported" {
                break;
            }
            let Some(numbers) = line.strip_prefix("arrived ") else { continue };
            let numbers: Vec<u64> = numbers.split(' ').map(str::parse).collect::<Result<_, _>>()?;
            let [qos, number, count, place] = numbers[..] else { continue };
            let of_qos = if qos == 1 { &mut arrived[0] } else { &mut arrived[1] };
            of_qos.insert(number, Arrived { count, place });
        }
        let [one, two] = begun;
        Ok([Verdict::of(&one, &arrived[0]), Verdict::of(&two, &arrived[1])])
    }

    fn process(&mut self, who: Who) -> Result<&mut Process> {
        self.slot(who).as_mut().context("it was started")
    }

    fn slot(&mut self, who: Who) -> &mut Option<Process> {
        match who {
            Who::Publisher => &mut self.publisher,
            Who::Broker => &mut self.broker,
            Who::Subscriber => &mut self.subscriber,
        }
    }

    fn journal(&self) -> PathBuf {
        self.folder.join("publisher.journal")
    }

    fn url(&self, side: Side) -> String {
        let [inbound, outbound] = self.ports;
        let port = if side == Side::Inbound { inbound } else { outbound };
        format!("mqtt://127.0.0.1:{port}")
    }

    fn publisher_command(&self) -> Result<Command> {
        let mut command = match &self.cast.publisher {
            PublisherKind::Postrider => {
                let mut command = Command::new(env::current_exe()?);
                command.args(["publisher", "--url", &self.url(Side::Inbound)]);
                command.args(["--mode", self.cast.mode.name()]);
                command.arg("--store").arg(self.folder.join("publisher.store"));
                command
            }
            PublisherKind::Paho { python, script } => {
                let mut command = Command::new(python);
                command.arg(script).args(["--url", &self.url(Side::Inbound)]);
                command
            }
        };
        command.arg("--journal").arg(self.journal()).args(["--rate", &self.cast.rate.to_string()]);
        command.args(["--window", &self.cast.window.to_string()]);
        command.args(["--payload-bytes", &self.cast.payload_bytes.to_string()]);
        Ok(command)
    }
}

/// Numbers past the last one that are asked for too: nobody published them.
const REPORT_BEYOND: u64 = 100;
