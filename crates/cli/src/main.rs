//! The `postrider` command. Each subcommand is a module with its arguments and a function that runs it.
#![forbid(unsafe_code)]

mod bar;
mod bench;
mod broker;
mod check;
mod connection;
mod demo;
mod format;
mod json;
mod later;
mod log;
mod manual;
mod moment;
mod names;
mod number;
mod out;
mod output;
mod payload;
mod printer;
mod property;
mod publish;
mod request;
mod status;
mod stop;
mod streams;
mod subscribe;
#[cfg(unix)]
mod unix;
mod will;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    names::Manner,
    status::{Codes, Usage},
};

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
    Publish(Box<publish::PublishArgs>),
    #[command(name = "sub")]
    Subscribe(Box<subscribe::SubscribeArgs>),
    #[command(name = "rr")]
    Request(Box<request::RequestArgs>),
    Broker(broker::BrokerArgs),
    Bench(bench::BenchArgs),
    Check(check::CheckArgs),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

fn main() -> ExitCode {
    let (reader, args, manner) = names::prepare(Cli::command(), std::env::args_os().collect());
    let matches = reader.try_get_matches_from(args);
    let command = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli.command,
        Err(error) => {
            // Nobody may be left to read it.
            let _ = error.print();
            return match error.use_stderr() {
                true => ExitCode::from(wrong_option(manner)),
                false => ExitCode::SUCCESS,
            };
        }
    };
    let done = |()| ExitCode::SUCCESS;
    let mut codes = Codes::V5;
    let result = match command {
        Command::Demo(args) => demo::demo(&args).map(done),
        Command::Publish(args) => {
            codes = args.codes(manner);
            publish::publish(&args, manner).map(done)
        }
        Command::Subscribe(mut args) => {
            codes = args.codes(manner);
            subscribe::subscribe(&mut args, manner)
        }
        Command::Request(mut args) => {
            codes = args.codes(manner);
            request::request(&mut args, manner)
        }
        Command::Broker(args) => broker::broker(args).map(done),
        Command::Bench(args) => bench::bench(&args).map(done),
        Command::Check(args) => check::check(&args).map(done),
        Command::Completions(args) => manual::completions(&args).map(done),
        Command::Man(args) => manual::man(&args).map(done),
    };
    result.unwrap_or_else(|error| {
        if error.is::<Usage>() {
            // Said even if errors are not to be.
            eprintln!("error: {error:#}");
            return ExitCode::from(wrong_option(manner));
        }
        out::complain(&format!("error: {error:#}"));
        ExitCode::from(status::of(&error, codes))
    })
}

fn wrong_option(manner: Manner) -> u8 {
    match manner {
        Manner::Postrider => status::WRONG_OPTION,
        Manner::Mosquitto => status::FAILED,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_options_are_in_each_others_way() {
        Cli::command().debug_assert();
    }
}
