//! Our client against Mosquitto, with a network that breaks in every way and a broker that is killed.
//!
//! ```text
//! sessions (a process) --- line 1 --- Mosquitto      a proxy for each session
//!          |           --- line 8 ---     |
//!          |                 |  ^         |
//!          `-- told -----> controller ----'          draws faults, kills, samples memory, judges
//! ```
//!
//! Mosquitto loses messages when it is killed, whatever it is told to keep. So the lines note every packet of an exchange,
//! and each message that is lost or doubled is somebody's: the client's, or the broker's (`judge`).
//!
//! Read in this order: `message`, `sessions`, what is under test; `line` and `weather`, what befalls it; `sent`, `handed`
//! and `presence`, what the wire tells; `judge`, `memory`, `table`, what comes of it; `round`, one run from its start to its end.

mod handed;
mod judge;
mod line;
mod memory;
mod message;
mod presence;
mod round;
#[cfg(test)]
mod script;
mod sent;
mod sessions;
mod table;
mod weather;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Args;

use self::{
    round::{Plan, Round},
    weather::Sky,
};
use crate::{process::BrokerKind, workplace::Workplace};

pub(crate) use self::sessions::{SessionsArgs, run as run_sessions};

#[derive(Args)]
pub(crate) struct FaultsArgs {
    /// Each of the two rounds ends after so many seconds; what is open is still finished.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Or after so many faults.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    faults: u64,
    /// It is a failure if a kind of fault came less often than this, or a stage was hit less often.
    #[arg(long, default_value_t = 10)]
    least: u64,
    /// Longest time between two faults, in milliseconds; the shortest is a third of it.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(3..))]
    pause: u64,
    /// For the choice of faults. Default: another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Only one of the two rounds.
    #[arg(long, value_enum)]
    only: Option<Sky>,
    /// Mosquitto's program; the default is looked for.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Messages per second that are begun, of all publishers together.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Where stores and logs are. Default: a directory that is removed at the end.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// A fault that is planted in the client, by its name in `postrider_proto::mutation`, to see that it is found.
    #[cfg(feature = "mutations")]
    #[arg(long)]
    plant: Option<String>,
}

impl FaultsArgs {
    fn planted(&self) -> Option<String> {
        #[cfg(feature = "mutations")]
        return self.plant.clone();
        #[cfg(not(feature = "mutations"))]
        None
    }
}

/// Runs both rounds and prints their tables. Returns whether all promises were kept.
pub(crate) fn run(args: FaultsArgs) -> Result<bool> {
    let planted = args.planted();
    let program = crate::mosquitto(args.program)?;
    let workplace = Workplace::new(args.folder)?;
    let folder = workplace.path();
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}");
    let mut is_well = true;
    for (sky, folder) in [
        (Sky::Network, folder.join("network")),
        (Sky::NetworkAndBroker, folder.join("network-and-broker")),
    ] {
        if args.only.is_some_and(|only| only != sky) {
            continue;
        }
        let plan = Plan {
            broker: BrokerKind::Mosquitto {
                program: program.clone(),
                is_persistent: sky == Sky::NetworkAndBroker,
            },
            sky,
            duration: Duration::from_secs(args.seconds),
            faults: args.faults,
            pause: Duration::from_millis(args.pause),
            seed,
            rate: args.rate,
            planted: planted.clone(),
            folder,
        };
        let round = round::run(&plan)?;
        is_well &= tell(&round, args.least);
    }
    Ok(is_well)
}

/// Prints a round and what is to be said of it. Returns whether that is good.
fn tell(round: &Round, least: u64) -> bool {
    println!("\n{}", table::tables(round));
    for fault in round.verdict.faults.iter().take(FAULTS_SHOWN) {
        println!("client: {fault}");
    }
    for loss in &round.verdict.losses {
        println!("broker: {loss}");
    }
    let sky = round.sky;
    let verdict = &round.verdict;
    let delivery = match sky {
        Sky::Network => (
            verdict.is_perfect() && round.sessions_lost == 0,
            "nothing lost, QoS 2 exactly once, order kept, at every subscriber, no session lost",
        ),
        Sky::NetworkAndBroker => (
            verdict.is_client_right(),
            "nothing lost, doubled, reordered or left by the client, of what the broker kept",
        ),
    };
    let memory = round.memory;
    let flat = format!(
        "memory stays: {} KiB after a while, {} KiB at the end",
        memory.warm.anonymous, memory.end.anonymous
    );
    let fewest = round.tally.fewest(sky);
    let enough =
        format!("each kind of fault and each stage came {fewest} times or more, {least} asked for");
    let said = [
        delivery,
        (round.has_recovered, "all sessions come back and finish"),
        (memory.is_flat(), &flat),
        (fewest >= least, &enough),
    ];
    for (is_good, what) in said {
        println!("{}: {sky}: {what}", if is_good { "pass" } else { "fail" });
    }
    said.iter().all(|(is_good, _)| *is_good)
}

/// Publishing sessions; as many subscribe.
const PUBLISHERS: usize = 4;
const SUBSCRIBERS: usize = 4;
/// Filters of each subscriber.
const FILTERS: usize = 2;
/// Faults of the client that are shown.
const FAULTS_SHOWN: usize = 20;
