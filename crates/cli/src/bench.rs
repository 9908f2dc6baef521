//! `postrider bench`: load on a broker, and what came through.

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use postrider_bench::{Plan, Shape, run};
use postrider_broker::{
    Address,
    wire::{QoS, Version},
};

use crate::out::say;

/// Puts load on a broker and counts what is lost, doubled and out of order.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    shape: ShapeArgs,
}

#[derive(Debug, Subcommand)]
enum ShapeArgs {
    /// Pairs of one publisher and one subscriber, each on a topic of its own.
    #[command(
        after_help = "Example: postrider bench p2p --pairs 50 --qos 1 --pid $(pidof mosquitto)"
    )]
    P2p {
        /// How many pairs.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        pairs: u32,
        #[command(flatten)]
        load: LoadArgs,
    },
    /// One publisher, many subscribers on one topic.
    #[command(after_help = "Example: postrider bench fan-out --subscribers 100 --messages 10000")]
    FanOut {
        /// How many subscribers.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        subscribers: u32,
        #[command(flatten)]
        load: LoadArgs,
    },
}

#[derive(Debug, Args)]
struct LoadArgs {
    /// Broker to load.
    #[arg(long, default_value = "mqtt://127.0.0.1:1883", env = "POSTRIDER_URL")]
    url: String,
    /// Quality of service of publishers and subscribers.
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Payload size in bytes, at least 20.
    #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(20..=268_000_000))]
    size: u32,
    /// Messages of each publisher.
    #[arg(short, long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    messages: u32,
    /// Most QoS 1/2 messages open per publisher; the broker's Receive Maximum may lower it.
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    window: u16,
    /// Most messages that a publisher may be ahead of its slowest subscriber.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    ahead: u32,
    /// Seconds without progress after which what is missing counts as lost.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    patience: u64,
    /// Sessions outlive their connections, so that a broker with a store must keep them.
    #[arg(long)]
    persistent: bool,
    /// Protocol version: 3.1.1 or 5.0.
    #[arg(short = 'V', long, default_value = "3.1.1", value_parser = ["3.1.1", "5.0"])]
    mqtt_version: String,
    /// Process id of the broker, to measure its CPU time and memory.
    #[arg(long)]
    pid: Option<u32>,
}

/// Runs the load; an error if anything was lost, doubled or reordered.
pub(crate) fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    let (shape, load) = match &args.shape {
        ShapeArgs::P2p { pairs, load } => (Shape::Pairs(*pairs), load),
        ShapeArgs::FanOut { subscribers, load } => (Shape::FanOut(*subscribers), load),
    };
    let plan = Plan {
        address: Address::parse(&load.url).context("--url")?,
        version: if load.mqtt_version == "5.0" { Version::V5 } else { Version::V311 },
        shape,
        qos: QoS::from_bits(load.qos).context("--qos must be 0, 1 or 2")?,
        size: load.size,
        messages: load.messages,
        window: load.window,
        ahead: load.ahead,
        patience: Duration::from_secs(load.patience),
        is_persistent: load.persistent,
        pid: load.pid,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(&plan))?;
    say(&report.to_string());
    anyhow::ensure!(
        report.is_clean(),
        "{} lost, {} doubled, {} reordered",
        report.lost,
        report.doubled,
        report.reordered
    );
    Ok(())
}
