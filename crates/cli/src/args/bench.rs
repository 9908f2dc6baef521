//! Options of `postrider bench`.

use clap::{ArgAction, Args, Subcommand};

use crate::args::{AddressArgs, TransportArgs};

/// Puts load on a broker and counts what is lost, doubled and out of order.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) shape: ShapeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShapeArgs {
    /// Pairs of one publisher and one subscriber, each on a topic of its own.
    #[command(disable_help_flag = true, after_help = P2P_HELP)]
    P2p {
        /// How many pairs.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        pairs: u32,
        #[command(flatten)]
        load: LoadArgs,
    },
    /// One publisher, many subscribers on one topic.
    #[command(disable_help_flag = true, after_help = FAN_OUT_HELP)]
    FanOut {
        /// How many subscribers.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        subscribers: u32,
        #[command(flatten)]
        load: LoadArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Quality of service of publishers and subscribers.
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Payload size in bytes, at least 20.
    #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(20..=268_000_000))]
    pub(crate) size: u32,
    /// Messages of each publisher.
    #[arg(short, long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) messages: u32,
    /// Most QoS 1/2 messages open per publisher; the broker's Receive Maximum may lower it.
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) window: u16,
    /// Most messages that a publisher may be ahead of its slowest subscriber.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ahead: u32,
    /// Seconds without progress after which what is missing counts as lost.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) patience: u64,
    /// Sessions outlive their connections, so that a broker with a store must keep them.
    #[arg(long)]
    pub(crate) persistent: bool,
    /// Protocol version: 3.1.1 or 5.0.
    #[arg(short = 'V', long, default_value = "3.1.1", value_parser = ["3.1.1", "5.0"])]
    pub(crate) mqtt_version: String,
    /// Process id of the broker, to measure its CPU time and memory.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    #[command(flatten)]
    pub(crate) address: AddressArgs,
    #[command(flatten)]
    pub(crate) transport: TransportArgs,
    /// Prints help.
    #[arg(long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,
}

const P2P_HELP: &str = "\
Examples:
  postrider bench p2p --pairs 50 --qos 1 --pid $(pidof mosquitto)
  postrider bench p2p -h broker.example -p 1884

Where no option says which broker, the variable POSTRIDER_URL does.";

const FAN_OUT_HELP: &str = "\
Example: postrider bench fan-out --subscribers 100 --messages 10000

Where no option says which broker, the variable POSTRIDER_URL does.";
