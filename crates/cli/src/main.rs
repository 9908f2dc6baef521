//! The `postrider` command. Each subcommand is a module with its arguments and a function that runs it.
#![forbid(unsafe_code)]

mod address;
mod args;
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
mod packets;
mod payload;
mod printer;
mod profile;
mod publish;
mod request;
mod spool;
mod status;
mod stop;
mod streams;
mod subscribe;
mod teller;
mod trace;
mod transport;
#[cfg(unix)]
mod unix;
mod will;

use std::process::ExitCode;

use clap::{
    CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    args::{Cli, SEPARATOR, Verb},
    names::{Line, Manner},
    status::Codes,
};

fn main() -> ExitCode {
    let command = Cli::command();
    let environment = |name: &str| std::env::var_os(name);
    let line = names::prepare(&command, std::env::args_os().collect(), environment);
    let manner = line.manner;
    let line = match profile::apply(&command, line, environment) {
        Ok(line) => line,
        Err(error) => {
            out::insist(&format!("error: {error:#}"));
            return ExitCode::from(wrong_option(manner));
        }
    };
    let matches = command.try_get_matches_from(&line.args);
    let command = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli.command,
        Err(error) => return unreadable(error, &line),
    };
    let done = |()| ExitCode::SUCCESS;
    let mut codes = Codes::V5;
    let result = match command {
        Verb::Demo(args) => demo::demo(&args).map(done),
        Verb::Publish(args) => {
            codes = args.codes(manner);
            publish::publish(&args, manner).map(done)
        }
        Verb::Subscribe(mut args) => {
            codes = args.codes(manner);
            subscribe::subscribe(&mut args, manner)
        }
        Verb::Request(mut args) => {
            codes = args.codes(manner);
            request::request(&mut args, manner)
        }
        Verb::Broker(args) => broker::broker(args).map(done),
        Verb::Bench(args) => bench::bench(&args).map(done),
        Verb::Check(args) => check::check(&args).map(done),
        Verb::Packets(args) => packets::packets(&args).map(done),
        Verb::Completions(args) => manual::completions(&args).map(done),
        Verb::Man(args) => manual::man(&args).map(done),
    };
    result.unwrap_or_else(|error| {
        let text = told(&error);
        if status::is_wrong_option(&error) {
            // Said even if errors are not to be.
            out::insist(&format!("error: {text}"));
            name_sources(&text, &line.sources);
            return ExitCode::from(wrong_option(manner));
        }
        out::complain(&format!("error: {text}"));
        if !out::is_quiet() {
            name_sources(&text, &line.sources);
        }
        ExitCode::from(status::of(&error, codes))
    })
}

/// Says what is wrong with a command line that the parser cannot read, or prints the help that it asks for.
fn unreadable(mut error: clap::Error, line: &Line) -> ExitCode {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
        let value = value.replace(SEPARATOR, " ");
        error.insert(ContextKind::InvalidValue, ContextValue::String(value));
    }
    let printed = error.print();
    if !error.use_stderr() {
        return match out::written(printed) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                out::insist(&format!("error: {error:#}"));
                ExitCode::from(status::FAILED)
            }
        };
    }
    if error.kind() == ErrorKind::InvalidUtf8 {
        for arg in line.args.iter().filter(|arg| arg.to_str().is_none()) {
            out::insist(&format!("note: '{}' is not UTF-8", arg.display()));
        }
    }
    name_sources(&error.to_string(), &line.sources);
    ExitCode::from(wrong_option(line.manner))
}

/// An error and its causes, without those whose words it has said already. What the library names has its option.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.replace("Protocol::Auto", "-V auto")
}

fn wrong_option(manner: Manner) -> u8 {
    match manner {
        Manner::Postrider => status::WRONG_OPTION,
        Manner::Mosquitto => status::FAILED,
    }
}

/// Says where the options come from that an error names and nobody has typed.
fn name_sources(error: &str, sources: &[(String, String)]) {
    let is_named =
        |option: &str| error.split([' ', '\'', '=', ':', '(', ')']).any(|word| word == option);
    for (option, source) in sources.iter().filter(|(option, _)| is_named(option)) {
        out::insist(&format!("note: {option} comes from {source}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        use anyhow::{Context, anyhow};

        let cause = || Err::<(), _>(anyhow!("disk is full"));
        let said = cause().context("cannot write: disk is full").context("'a'").unwrap_err();
        assert_eq!(told(&said), "'a': cannot write: disk is full");
        let said = cause().context("cannot write").unwrap_err();
        assert_eq!(told(&said), "cannot write: disk is full");
    }

    #[test]
    fn no_two_options_are_in_each_others_way() {
        Cli::command().debug_assert();
    }
}
