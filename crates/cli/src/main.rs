//! The `postrider` command. Each subcommand is a module with its arguments and a function that runs it.
#![forbid(unsafe_code)]

mod bar;
mod bench;
mod broker;
mod check;
mod connection;
mod demo;
mod log;
mod number;
mod out;
mod printer;
mod publish;
mod stop;
mod subscribe;
#[cfg(unix)]
mod unix;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An MQTT client, an MQTT broker, and the tools around both.
#[derive(Parser)]
#[command(name = "postrider", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    #[command(name = "pub")]
    Publish(publish::PublishArgs),
    #[command(name = "sub")]
    Subscribe(subscribe::SubscribeArgs),
    Broker(broker::BrokerArgs),
    Bench(bench::BenchArgs),
    Check(check::CheckArgs),
}

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::demo(&args).map(done),
        Command::Publish(args) => publish::publish(args).map(done),
        Command::Subscribe(args) => subscribe::subscribe(&args),
        Command::Broker(args) => broker::broker(args).map(done),
        Command::Bench(args) => bench::bench(&args).map(done),
        Command::Check(args) => check::check(&args).map(done),
    };
    result.unwrap_or_else(|error| {
        out::complain(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

const AFTER_HELP: &str = "\
Examples:
  postrider demo                                 the main job, step by step
  postrider broker                               a broker on 127.0.0.1:1883
  postrider sub -t 'plant/+/temp' -v             prints what arrives
  postrider pub -t plant/7/temp -m 21.5 -q 1     ends when the broker has it

The exit status is 0 if all went well, 1 after an error, 2 for a wrong option.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_two_options_are_in_each_others_way() {
        Cli::command().debug_assert();
    }
}
