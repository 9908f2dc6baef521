//! What is on the command line before anything is read from it: the name of the program, values that look like options,
//! and variables of the environment.

use std::{collections::BTreeSet, ffi::OsString, path::Path};

use clap::{Arg, Command, Id};

use crate::args::{self, SEPARATOR};

/// Whose habits the program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Its own.
    Postrider,
    /// Those of Mosquitto's clients, because it was started under one of their names.
    Mosquitto,
}

/// A command line that the parser can read.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) args: Vec<OsString>,
    pub(crate) manner: Manner,
    /// The options that nobody has typed, and where each comes from.
    pub(crate) sources: Vec<(String, String)>,
    /// The options that are there.
    pub(crate) given: BTreeSet<Id>,
}

/// Makes the command line one that the parser can read; `environment` looks up a variable.
pub(crate) fn prepare(
    command: &Command,
    args: Vec<OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Line {
    let (args, manner) = named(args);
    let verb = args.get(1).and_then(|verb| verb.to_str()).unwrap_or_default();
    let sub = command.find_subcommand(verb).filter(|_| args::is_mosquitto(verb));
    let Some(sub) = sub else {
        return Line { args, manner, sources: Vec::new(), given: BTreeSet::new() };
    };
    let (mut args, mut given) = joined(sub, args);
    let (mut added, mut sources, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for arg in free(sub, &given) {
        let Some(variable) = args::variable(arg) else { continue };
        // An empty variable says nothing, as everywhere.
        let Some(value) = environment(&variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        let name = format!("--{}", arg.get_long().unwrap_or_default());
        let mut option = OsString::from(&name);
        if arg.get_action().takes_values() {
            option.push("=");
            option.push(value);
        } else if is_no(&value) {
            ids.push(arg.get_id().clone());
            continue;
        }
        ids.push(arg.get_id().clone());
        sources.push((name, format!("the environment variable {variable}")));
        added.push(option);
    }
    // Behind the subcommand, where no value of another option can swallow them.
    args.splice(2..2, added);
    given.extend(ids);
    Line { args, manner, sources, given }
}

/// Whether the variable of an option without a value turns it off.
fn is_no(value: &OsString) -> bool {
    let value = value.to_string_lossy().to_ascii_lowercase();
    ["0", "n", "no", "f", "false", "off"].contains(&value.as_str())
}

/// Puts the subcommand in if the name of the program says which.
fn named(mut args: Vec<OsString>) -> (Vec<OsString>, Manner) {
    let name = args.first().and_then(|path| Path::new(path).file_stem()).and_then(|s| s.to_str());
    let verb = name.and_then(|name| name.strip_prefix("mosquitto_"));
    let Some(verb) = verb.filter(|verb| args::is_mosquitto(verb)).map(OsString::from) else {
        return (args, Manner::Postrider);
    };
    args.insert(1, verb);
    (args, Manner::Mosquitto)
}

/// Joins the values of each `-D`, of which there are three or four, into one. Says which options are there.
fn joined(sub: &Command, args: Vec<OsString>) -> (Vec<OsString>, BTreeSet<Id>) {
    let (mut out, mut given) = (Vec::with_capacity(args.len()), BTreeSet::new());
    let mut rest = args.into_iter();
    out.extend(rest.by_ref().take(2));
    while let Some(arg) = rest.next() {
        let text = arg.to_str().unwrap_or_default();
        let (ids, takes_next) = options(sub, text);
        let is_property = ids.iter().any(|id| id == "properties");
        given.extend(ids);
        if is_property && takes_next {
            // Other letters before the D.
            if let Some(letters) = text.strip_suffix('D').filter(|letters| letters.len() > 1) {
                out.push(letters.into());
            }
            let mut parts: Vec<OsString> = rest.by_ref().take(1).collect();
            let is_quoted = |part: &OsString| part.to_string_lossy().contains(' ');
            if parts.first().is_some_and(is_quoted) {
                // All of it in one argument, as in the environment.
                let mut value = OsString::from("--property=");
                value.extend(parts);
                out.push(value);
                continue;
            }
            parts.extend(rest.next());
            let is_pair = parts.get(1).is_some_and(|name| name == "user-property");
            parts.extend(rest.by_ref().take(if is_pair { 2 } else { 1 }));
            let mut value = OsString::from("--property=");
            value.push(parts.join(&OsString::from(SEPARATOR.to_string())));
            out.push(value);
            continue;
        }
        out.push(arg);
        if takes_next {
            out.extend(rest.next());
        }
    }
    (out, given)
}

/// The options that an argument names, and whether its value is the next argument.
fn options(sub: &Command, text: &str) -> (Vec<Id>, bool) {
    let takes_value = |arg: &Arg| arg.get_action().takes_values();
    if let Some(long) = text.strip_prefix("--") {
        let (name, is_whole) = long.split_once('=').map_or((long, true), |(name, _)| (name, false));
        let fits = |arg: &&Arg| {
            arg.get_long() == Some(name)
                || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
        };
        return match sub.get_arguments().find(fits) {
            Some(arg) => (vec![arg.get_id().clone()], is_whole && takes_value(arg)),
            None => (Vec::new(), false),
        };
    }
    let mut ids = Vec::new();
    let Some(letters) = text.strip_prefix('-') else { return (ids, false) };
    for (at, letter) in letters.char_indices() {
        let Some(arg) = sub.get_arguments().find(|arg| arg.get_short() == Some(letter)) else {
            break;
        };
        ids.push(arg.get_id().clone());
        if takes_value(arg) {
            return (ids, at + letter.len_utf8() == letters.len());
        }
    }
    (ids, false)
}

/// Options that are neither given nor in the way of one that is: what the command line says goes before the environment.
pub(crate) fn free<'a>(sub: &'a Command, given: &BTreeSet<Id>) -> impl Iterator<Item = &'a Arg> {
    let mut taken: BTreeSet<Id> = given.clone();
    for arg in sub.get_arguments() {
        let conflicts = sub.get_arg_conflicts_with(arg);
        if given.contains(arg.get_id()) {
            taken.extend(conflicts.iter().map(|other| other.get_id().clone()));
        } else if conflicts.iter().any(|other| given.contains(other.get_id())) {
            taken.insert(arg.get_id().clone());
        }
    }
    for group in sub.get_groups() {
        let members: Vec<&Id> = group.get_args().collect();
        if !group.clone().is_multiple() && members.iter().any(|id| given.contains(*id)) {
            taken.extend(members.into_iter().cloned());
        }
    }
    sub.get_arguments().filter(move |arg| !taken.contains(arg.get_id()))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::Cli;

    fn check(line: &str, expected: &str) {
        let args = line.split(' ').map(OsString::from).collect();
        let line = prepare(&Cli::command(), args, |_| None);
        let text: Vec<_> = line.args.iter().map(|arg| arg.to_string_lossy()).collect();
        assert_eq!(text.join(" ").replace(SEPARATOR, "_"), expected);
    }

    #[test]
    fn the_name_of_the_program_is_the_subcommand() {
        check("/usr/bin/mosquitto_sub -t a", "/usr/bin/mosquitto_sub sub -t a");
        check("mosquitto_rr.exe -t a", "mosquitto_rr.exe rr -t a");
        check("mosquitto_passwd -t a", "mosquitto_passwd -t a");
        check("postrider pub -t a", "postrider pub -t a");
    }

    #[test]
    fn properties_are_joined_and_values_are_left_alone() {
        check(
            "x pub -D publish content-type t -t a",
            "x pub --property=publish_content-type_t -t a",
        );
        check(
            "x pub --property will user-property -k -v -r",
            "x pub --property=will_user-property_-k_-v -r",
        );
        let quoted = ["x", "pub", "-D", "publish content-type t", "-r"].map(OsString::from);
        let quoted = prepare(&Cli::command(), quoted.into(), |_| None);
        assert_eq!(quoted.args[2..], ["--property=publish content-type t", "-r"]);
        check("x pub -m -D -t a", "x pub -m -D -t a");
        check("x pub -rm -D -t a", "x pub -rm -D -t a");
        check("x pub -m-D publish", "x pub -m-D publish");
        check("x pub --message=-D -rD a b c", "x pub --message=-D -r --property=a_b_c");
        check("x demo -D a b c", "x demo -D a b c");
    }

    /// As a variable, an option does what it does on the command line.
    #[test]
    fn every_option_may_come_from_its_variable() {
        for verb in ["pub", "sub", "rr"] {
            let command = Cli::command();
            let sub = command.find_subcommand(verb).unwrap();
            let mut count = 0;
            for arg in sub.get_arguments().filter(|arg| arg.get_long() != Some("help")) {
                let long = arg.get_long().unwrap();
                let variable = args::variable(arg).unwrap();
                let is_flag = !arg.get_action().takes_values();
                let value = if is_flag { "1" } else { sample(long) };
                let option =
                    if is_flag { format!("--{long}") } else { format!("--{long}={value}") };
                let rest = without(verb, long);
                let typed = parsed(&[&rest[..], &[&option]].concat(), |_| None).unwrap();
                let by_variable =
                    parsed(&rest, |name| (name == variable).then(|| value.into())).unwrap();
                assert_eq!(by_variable, typed, "{verb} {variable}");
                assert_ne!(parsed(&rest, |_| None), Ok(typed), "{verb} --{long} changes nothing");
                count += 1;
            }
            assert!(count > 45, "{verb}: {count}");
        }
    }

    #[test]
    fn the_command_line_goes_before_variables_and_what_they_would_disturb() {
        let environment = |name: &str| match name {
            "POSTRIDER_URL" => Some("mqtt://other".into()),
            "POSTRIDER_QOS" => Some("2".into()),
            "POSTRIDER_FILE" => Some("picture".into()),
            "POSTRIDER_RETAIN" => Some("off".into()),
            "POSTRIDER_ID" => Some("".into()),
            _ => None,
        };
        let line = ["pub", "-t", "a", "-m", "x", "-p", "7"];
        let expected = parsed(&[&line[..], &["-q", "2"]].concat(), |_| None);
        assert_eq!(parsed(&line, environment), expected);
    }

    /// A value that is not the default.
    fn sample(long: &str) -> &'static str {
        match long {
            "port" | "keepalive" | "repeat" | "max-inflight" | "count" | "timeout" => "7",
            "session-expiry-interval" => "-1",
            "qos" | "will-qos" => "2",
            "repeat-delay" | "random-filter" => "0.5",
            "protocol-version" => "mqttv31",
            "property" => "will user-property a b",
            "message" | "will-payload" => "-x y=z",
            "format" => "%t @H",
            "retain-handling" => "never",
            "url" => "mqtt://ann:secret@other:7/a/b",
            _ => "some",
        }
    }

    /// A line that is complete with this option, and has none that would go before its variable.
    fn without(verb: &'static str, long: &str) -> Vec<&'static str> {
        let mut line = vec![verb];
        if long != "topic" {
            line.extend(["-t", "t"]);
        }
        if verb == "rr" && long != "response-topic" {
            line.extend(["-e", "e"]);
        }
        if long == "config" {
            line.extend(["--profile", "plant"]);
        }
        if long == "flush" {
            return vec!["pub", "--store", "folder"];
        }
        let is_message = ["message", "file", "null-message", "stdin", "stdin-line"].contains(&long);
        if verb != "sub" && !is_message {
            line.push("-n");
        }
        if long.starts_with("will-") && long != "will-topic" {
            line.extend(["--will-topic", "w"]);
        }
        line
    }

    /// All that the parser makes of a line, as text.
    fn parsed(
        line: &[&str],
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<String, String> {
        let args = ["postrider"].iter().chain(line).map(OsString::from).collect();
        let line = prepare(&Cli::command(), args, environment);
        let cli = Cli::try_parse_from(line.args).map_err(|error| error.to_string())?;
        Ok(format!("{:?}", cli.command))
    }
}
