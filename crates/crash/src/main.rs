//! Kills publishers, brokers and subscribers while messages are open, starts them again, and compares every number.
//!
//! ```text
//! publisher --> proxy --> broker --> proxy --> subscriber       processes, each with a store, on loopback
//!    |            |                    |           |
//! journal       board: flights, aim, what is held  `- ack_with: count and place of each number
//!    |            |                                |
//!    `---------> controller: aim, strike, revive, drain, compare
//! ```
//!
//! The controller aims at an exchange in a stage (before PUBREC, between PUBREC and PUBREL, ...), and kills its victims
//! when a proxy has seen one there, or holds it there. It counts only kills that hit something open.
//!
//! `faults` does something of the kind with our client and Mosquitto, and says whose fault each loss is.
//!
//! Read in this order: `flight`, what is open on a wire; `board`, `frames` and `proxy`, how it is caught; `process` and `trio`,
//! who is killed; `rounds`, the kills; `journal`, `tally`, what is compared; `publisher` and `subscriber`, the roles.
#![forbid(unsafe_code)]

mod board;
mod damage;
mod faults;
mod flight;
mod frames;
mod full;
mod journal;
mod process;
mod proxy;
mod publisher;
mod rounds;
mod subscriber;
mod tally;
mod trio;
mod workplace;

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    process::{BrokerKind, StoreMode},
    rounds::Plan,
    tally::{Judged, Round},
    trio::{Cast, PublisherKind},
    workplace::Workplace,
};

/// Kills publisher, broker and subscriber while messages are open, and counts what is lost or doubled.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    controller: ControllerArgs,
}

/// Something else than kills, and what the controller starts this program as.
#[derive(Subcommand)]
enum Role {
    /// Our client against Mosquitto: connections that break in every way, then kills of the broker too.
    Faults(faults::FaultsArgs),
    /// Flips every byte of small stores in turn, and opens them.
    Flips(damage::FlipsArgs),
    /// Gives each of the three a disk that is too small, then one with room.
    Full(full::FullArgs),
    /// The sessions of `faults`.
    Sessions(faults::SessionsArgs),
    /// Publishes numbers until told to stop.
    Publisher(publisher::PublisherArgs),
    /// Counts numbers.
    Subscriber(subscriber::SubscriberArgs),
}

#[derive(Args)]
struct ControllerArgs {
    /// Kills that hit something open, of all victims together.
    #[arg(long, default_value_t = 300)]
    kills: u64,
    /// No kill after this many seconds; what is open is still finished.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// It is a failure if a stage was hit less often than this.
    #[arg(long, default_value_t = 20)]
    least: u64,
    /// For the choice of moments; processes add their own. Default: another one each time.
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, value_enum, default_value_t = BrokerName::Postrider)]
    broker: BrokerName,
    /// The broker's program; the default is built by cargo, or found on the path.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Hubs of our broker; its sessions change their hubs at each start.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    hubs: u16,
    /// What our stores promise when they say that something is stored.
    #[arg(long, value_enum, default_value_t = StoreMode::Durable)]
    mode: StoreMode,
    /// A Python with paho-mqtt, which publishes then.
    #[arg(long, value_name = "PYTHON")]
    paho: Option<PathBuf>,
    /// Messages per second that are begun.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Where the stores are. Default: a directory that is removed at the end.
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BrokerName {
    Mosquitto,
    Postrider,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.role {
        Some(Role::Faults(args)) => faults::run(args),
        Some(Role::Flips(args)) => damage::flips(&args),
        Some(Role::Full(args)) => full::run(args),
        Some(Role::Publisher(args)) => publisher::run(args).map(|()| true),
        Some(Role::Sessions(args)) => faults::run_sessions(args).map(|()| true),
        Some(Role::Subscriber(args)) => subscriber::run(args).map(|()| true),
        None => control(cli.controller),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all rounds and prints their tables. Returns whether all promises were kept.
fn control(args: ControllerArgs) -> Result<bool> {
    // Paho sends again, beside what is new, what was open when its connection broke: its order is not ours to judge.
    let judged = if args.paho.is_some() { Judged::WithoutOrder } else { Judged::Fully };
    let cast = Cast {
        broker: broker(&args)?,
        publisher: publisher(args.paho),
        mode: args.mode,
        rate: args.rate,
        window: publisher::WINDOW,
        payload_bytes: 0,
    };
    let workplace = Workplace::new(args.folder)?;
    let folder = workplace.path().to_owned();
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}");
    let plan = Plan {
        kills: args.kills,
        deadline: Instant::now() + Duration::from_secs(args.seconds),
        seed,
        folder,
    };
    let began = Instant::now();
    // What others lose is told, not judged.
    let fault = if args.broker == BrokerName::Mosquitto { "told" } else { "fail" };
    let mut is_well = true;
    let mut tell = |round: &Round| {
        let is_kept = round.is_kept(judged);
        is_well &= is_kept;
        println!("{}: {round}", if is_kept { "pass" } else { fault });
    };
    let rounds = rounds::run(&cast, &plan, &mut tell)?;
    println!("\n{}", tally::tables(&rounds));
    println!("{} s", began.elapsed().as_secs());
    let least = tally::least(&rounds);
    let is_enough = least >= args.least;
    let word = if is_enough { "pass" } else { "fail" };
    println!("{word}: each stage was hit by {least} kills or more, {} asked for", args.least);
    Ok(is_enough && (is_well || fault == "told"))
}

fn broker(args: &ControllerArgs) -> Result<BrokerKind> {
    let given = args.program.clone();
    Ok(match args.broker {
        BrokerName::Mosquitto => {
            BrokerKind::Mosquitto { program: mosquitto(given)?, is_persistent: true }
        }
        BrokerName::Postrider => {
            let program = given.map_or_else(build_postrider, Ok)?;
            BrokerKind::Postrider { program, hubs: args.hubs }
        }
    })
}

/// Mosquitto's program: the one that was given, or the one that is installed.
fn mosquitto(given: Option<PathBuf>) -> Result<PathBuf> {
    let found = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
    let found = found.into_iter().map(PathBuf::from).find(|path| path.exists());
    given.or(found).context("mosquitto is not installed: install it, or name it with --program")
}

fn publisher(paho: Option<PathBuf>) -> PublisherKind {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/paho_publisher.py");
    match paho {
        Some(python) => PublisherKind::Paho { python, script: script.into() },
        None => PublisherKind::Postrider,
    }
}

/// Builds our broker with the profile of this program, next to it.
pub(crate) fn build_postrider() -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--locked", "--bin", "postrider"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    ensure!(status.success(), "the broker does not build; --program takes one that is there");
    let exe = std::env::current_exe()?;
    Ok(exe.with_file_name("postrider"))
}
