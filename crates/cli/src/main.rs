//! The `postrider` command. Each subcommand is a module with its arguments and a function that runs it.
#![forbid(unsafe_code)]

mod bench;
mod broker;
mod check;
mod log;
#[cfg(unix)]
mod unix;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An MQTT client, an MQTT broker, and the tools around both.
#[derive(Parser)]
#[command(name = "postrider", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Broker(broker::BrokerArgs),
    Check(check::CheckArgs),
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Broker(args) => broker::broker(args),
        Command::Check(args) => check::check(&args),
        Command::Bench(args) => bench::bench(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postrider: {error:#}");
            ExitCode::FAILURE
        }
    }
}
