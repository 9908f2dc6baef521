//! Named profiles: options of `pub`, `sub` and `rr` in a configuration file.
//!
//! ```toml
//! [plant]
//! host = "broker.plant.example"
//! username = "press-7"
//! password_file = "press-7.password"
//! ```

use std::{
    any::TypeId,
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use clap::{Arg, ArgAction, Command};
use toml::{Table, Value};

use crate::{
    names::{Line, free},
    status::Usage,
};

/// Adds the options of the profile that the command line names, if it names one: those that are neither given nor in the
/// environment, nor in the way of one that is.
///
/// # Errors
/// [`Usage`] names the file, the profile and the key.
pub(crate) fn apply(
    command: &Command,
    mut line: Line,
    environment: impl Fn(&str) -> Option<OsString>,
) -> anyhow::Result<Line> {
    let verb = line.args.get(1).and_then(|verb| verb.to_str()).unwrap_or_default().to_owned();
    let Some(sub) = command.find_subcommand(&verb).filter(|_| crate::args::is_mosquitto(&verb))
    else {
        return Ok(line);
    };
    let Some((name, config)) = named(command, &verb, &line.args) else { return Ok(line) };
    let Some(path) = config.or_else(|| usual(&environment)) else {
        bail!(Usage("--profile needs a --config <PATH> here".to_owned()));
    };
    let place = format!("profile '{name}' in '{}'", path.display());
    let profile = read(&path, &name).map_err(|error| anyhow!(Usage(format!("{error:#}"))))?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let mut added = Vec::new();
    for (key, value) in &profile {
        let taken = option(key, value, &environment).and_then(|(long, value)| {
            let Some(arg) = find(sub, &long) else {
                // An option of a sister is none of ours, and no mistake.
                let others =
                    ["pub", "sub", "rr"].into_iter().filter_map(|it| command.find_subcommand(it));
                let is_known = others.into_iter().any(|other| find(other, &long).is_some());
                anyhow::ensure!(
                    is_known,
                    "unknown key; keys are the long names of options, such as host"
                );
                return Ok(Vec::new());
            };
            let is_free = free(sub, &line.given).any(|free| free.get_id() == arg.get_id());
            if is_free { words(arg, &value, folder) } else { Ok(Vec::new()) }
        });
        let taken =
            taken.map_err(|error| anyhow!(Usage(format!("{place}: '{key}': {error:#}"))))?;
        for word in &taken {
            let text = word.to_string_lossy();
            let option = text.split('=').next().unwrap_or_default();
            line.sources.push((option.to_owned(), place.clone()));
        }
        added.extend(taken);
    }
    line.args.splice(2..2, added);
    Ok(line)
}

/// The profile and the file that the command line names.
fn named(command: &Command, verb: &str, args: &[OsString]) -> Option<(String, Option<PathBuf>)> {
    // What is wrong with the rest is said later.
    let matches = command.clone().ignore_errors(true).try_get_matches_from(args).ok()?;
    let matches = matches.subcommand_matches(verb)?;
    let profile = matches.try_get_one::<String>("profile").ok()??;
    let config = matches.try_get_one::<PathBuf>("config").ok()?;
    Some((profile.clone(), config.cloned()))
}

/// Where the configuration file is unless somebody says otherwise.
fn usual(environment: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder =
        |name: &str| environment(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = match env::consts::OS {
        "windows" => folder("APPDATA"),
        _ => folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config"))),
    };
    Some(folder?.join("postrider").join("config.toml"))
}

fn read(path: &Path, name: &str) -> anyhow::Result<Table> {
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("--config '{shown}'"))?;
    let mut file: Table = text.parse().with_context(|| format!("--config '{shown}'"))?;
    match file.remove(name) {
        Some(Value::Table(profile)) => Ok(profile),
        Some(_) => bail!("--config '{shown}': '{name}' is no profile; one begins with [{name}]"),
        None => {
            let profiles = file.iter().filter(|(_, value)| value.is_table());
            let names: Vec<_> = profiles.map(|(name, _)| name.as_str()).collect();
            let there = if names.is_empty() { "none at all".to_owned() } else { names.join(", ") };
            bail!("--profile '{name}': '{shown}' has no such profile, but: {there}")
        }
    }
}

/// The option that a key stands for, and its value.
fn option(
    key: &str,
    value: &Value,
    environment: impl Fn(&str) -> Option<OsString>,
) -> anyhow::Result<(String, Value)> {
    Ok(match key {
        "password" => ("pw".to_owned(), value.clone()),
        "password_file" => ("pw-file".to_owned(), value.clone()),
        "password_env" => {
            let name = value.as_str().context("a text is needed")?;
            let secret = environment(name).filter(|secret| !secret.is_empty());
            let secret =
                secret.with_context(|| format!("there is no environment variable {name}"))?;
            let secret = secret.to_str().with_context(|| format!("{name} is not UTF-8"))?;
            ("pw".to_owned(), Value::String(secret.to_owned()))
        }
        _ => (key.replace('_', "-"), value.clone()),
    })
}

fn find<'a>(sub: &'a Command, long: &str) -> Option<&'a Arg> {
    let is_ours = |arg: &&Arg| arg.get_long().is_some_and(|it| it == long);
    sub.get_arguments().find(is_ours).filter(|_| !["help", "profile", "config"].contains(&long))
}

/// The words of a command line for an option. A path is from `folder`, that of the configuration file, wherever the
/// program is started.
fn words(arg: &Arg, value: &Value, folder: &Path) -> anyhow::Result<Vec<OsString>> {
    let long = arg.get_long().unwrap_or_default();
    let has_value = arg.get_action().takes_values();
    let with = |value: &dyn AsRef<OsStr>| {
        let mut word = OsString::from(format!("--{long}="));
        word.push(value);
        vec![word]
    };
    Ok(match value {
        Value::Boolean(is_on) if !has_value => {
            is_on.then(|| OsString::from(format!("--{long}"))).into_iter().collect()
        }
        _ if !has_value => bail!("it is true or false"),
        Value::String(text) if arg.get_value_parser().type_id() == TypeId::of::<PathBuf>() => {
            with(&folder.join(text))
        }
        Value::String(text) => with(text),
        Value::Integer(number) => with(&number.to_string()),
        Value::Float(number) => with(&number.to_string()),
        Value::Array(values) if matches!(arg.get_action(), ArgAction::Append) => {
            let each = values.iter().map(|value| words(arg, value, folder));
            each.collect::<anyhow::Result<Vec<_>>>()?.concat()
        }
        Value::Array(_) => bail!("it has one value"),
        Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => {
            bail!("a text or a number is needed")
        }
    })
}
