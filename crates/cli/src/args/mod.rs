//! What can be written on a command line.
//!
//! The build script reads this folder too, and makes completions and man pages of it. So it knows clap and the words of
//! MQTT, and nothing of what is done: that stands in the module of each subcommand.

mod address;
mod bench;
mod broker;
mod check;
mod connection;
mod demo;
mod format;
mod later;
mod manual;
mod message;
mod output;
mod packets;
mod profile;
mod property;
mod publish;
mod request;
mod spool;
mod subscribe;
mod transport;
mod will;

use clap::{Arg, Parser, Subcommand};

pub(crate) use self::{
    address::AddressArgs,
    bench::{BenchArgs, ShapeArgs},
    broker::{BrokerArgs, ModeArg},
    check::CheckArgs,
    connection::{ConnectionArgs, ProtocolArg},
    demo::DemoArgs,
    format::{Field, Format, Piece},
    later::LaterArgs,
    manual::{CompletionsArgs, ManArgs, ShellArg},
    message::{MessageArgs, topic},
    output::OutputArgs,
    packets::PacketsArgs,
    profile::ProfileArgs,
    property::{Given, Place, SEPARATOR},
    publish::PublishArgs,
    request::RequestArgs,
    spool::SpoolArgs,
    subscribe::{HandlingArg, SubscribeArgs},
    transport::TransportArgs,
    will::WillArgs,
};

/// An MQTT client, an MQTT broker, and the tools around both.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Demo(DemoArgs),
    #[command(name = "pub")]
    Publish(Box<PublishArgs>),
    #[command(name = "sub")]
    Subscribe(Box<SubscribeArgs>),
    #[command(name = "rr")]
    Request(Box<RequestArgs>),
    Broker(BrokerArgs),
    Bench(BenchArgs),
    Check(CheckArgs),
    Packets(PacketsArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Whether a subcommand is one that Mosquitto has as a program, and whose options all have variables.
pub(crate) fn is_mosquitto(verb: &str) -> bool {
    ["pub", "sub", "rr"].contains(&verb)
}

/// The variable of the environment that an option of `pub`, `sub` or `rr` has: `POSTRIDER_` and its long name.
pub(crate) fn variable(arg: &Arg) -> Option<String> {
    match arg.get_long()? {
        "help" => None,
        "pw" => Some("POSTRIDER_PASSWORD".to_owned()),
        // The other one is the broker's.
        "store" => Some("POSTRIDER_SPOOL".to_owned()),
        long => Some(format!("POSTRIDER_{}", long.to_ascii_uppercase().replace('-', "_"))),
    }
}

const AFTER_HELP: &str = "\
Examples:
  postrider demo                                 the main job, step by step
  postrider broker                               a broker on 127.0.0.1:1883
  postrider sub -t 'plant/+/temp' -v             prints what arrives
  postrider pub -t plant/7/temp -m 21.5 -q 1     ends when the broker has it
  ln -s $(command -v postrider) mosquitto_sub    a name under which it is that program

The exit status is 0 if all went well, 1 after an error, 2 for a wrong option; pub, sub and rr say more.";
