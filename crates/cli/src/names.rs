//! What is on the command line before anything is read from it: the name of the program, values that look like options,
//! and variables of the environment.

use std::{collections::BTreeSet, ffi::OsString, path::Path};

use clap::{Arg, ArgAction, Command, Id, builder::FalseyValueParser};

use crate::property::SEPARATOR;

/// Whose habits the program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Its own.
    Postrider,
    /// Those of Mosquitto's clients, because it was started under one of their names.
    Mosquitto,
}

/// The command line and the command that can read it.
pub(crate) fn prepare(command: Command, args: Vec<OsString>) -> (Command, Vec<OsString>, Manner) {
    let (args, manner) = named(args);
    let verb = args.get(1).and_then(|verb| verb.to_str()).unwrap_or_default().to_owned();
    let Some(sub) = command.find_subcommand(&verb).filter(|_| VERBS.contains(&verb.as_str()))
    else {
        return (command, args, manner);
    };
    let (args, given) = joined(sub, args);
    let free = free(sub, &given);
    let command = command.mut_subcommand(verb, |sub| {
        sub.mut_args(|arg| if free.contains(arg.get_id()) { with_environment(arg) } else { arg })
    });
    (command, args, manner)
}

/// Puts the subcommand in if the name of the program says which.
fn named(mut args: Vec<OsString>) -> (Vec<OsString>, Manner) {
    let name = args.first().and_then(|path| Path::new(path).file_stem()).and_then(|s| s.to_str());
    let verb = name.and_then(|name| name.strip_prefix("mosquitto_"));
    let Some(verb) = verb.filter(|verb| VERBS.contains(verb)).map(OsString::from) else {
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
            let mut parts: Vec<OsString> = rest.by_ref().take(2).collect();
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
fn free(sub: &Command, given: &BTreeSet<Id>) -> BTreeSet<Id> {
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
    let all = sub.get_arguments().map(|arg| arg.get_id().clone());
    all.filter(|id| !taken.contains(id)).collect()
}

/// The option, with a variable of the environment: `POSTRIDER_` and its long name.
fn with_environment(arg: Arg) -> Arg {
    let Some(long) = arg.get_long().filter(|long| *long != "help") else { return arg };
    let name = match long {
        "pw" => "POSTRIDER_PASSWORD".to_owned(),
        _ => format!("POSTRIDER_{}", long.to_ascii_uppercase().replace('-', "_")),
    };
    // An empty variable says nothing, as everywhere.
    if std::env::var_os(&name).is_none_or(|value| value.is_empty()) {
        return arg;
    }
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = if is_flag { arg.value_parser(FalseyValueParser::new()) } else { arg };
    arg.env(name).hide_env(true)
}

/// The subcommands that Mosquitto has as programs.
const VERBS: [&str; 3] = ["pub", "sub", "rr"];

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::Cli;

    fn check(line: &str, expected: &str) {
        let args = line.split(' ').map(OsString::from).collect();
        let (_, args, _) = prepare(Cli::command(), args);
        let text: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
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
        check("x pub -m -D -t a", "x pub -m -D -t a");
        check("x pub -rm -D -t a", "x pub -rm -D -t a");
        check("x pub -m-D publish", "x pub -m-D publish");
        check("x pub --message=-D -rD a b c", "x pub --message=-D -r --property=a_b_c");
        check("x demo -D a b c", "x demo -D a b c");
    }
}
