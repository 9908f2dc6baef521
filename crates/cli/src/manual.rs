//! `postrider completions` and `postrider man`: what a package installs beside the program. The build script makes the
//! texts.

use std::{fs, io};

use anyhow::Context;

use crate::{
    args::{CompletionsArgs, ManArgs, ShellArg},
    out,
};

pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    out::print(completion(args.shell).as_bytes())
}

pub(crate) fn man(args: &ManArgs) -> anyhow::Result<()> {
    let folder = &args.folder;
    let write = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        PAGES.iter().try_for_each(|(name, page)| fs::write(folder.join(name), page))
    };
    write().with_context(|| format!("cannot write man pages to '{}'", folder.display()))
}

fn completion(shell: ShellArg) -> &'static str {
    match shell {
        ShellArg::Bash => include_str!(concat!(env!("OUT_DIR"), "/completions/postrider.bash")),
        ShellArg::Elvish => include_str!(concat!(env!("OUT_DIR"), "/completions/postrider.elv")),
        ShellArg::Fish => include_str!(concat!(env!("OUT_DIR"), "/completions/postrider.fish")),
        ShellArg::PowerShell => {
            include_str!(concat!(env!("OUT_DIR"), "/completions/_postrider.ps1"))
        }
        ShellArg::Zsh => include_str!(concat!(env!("OUT_DIR"), "/completions/_postrider")),
    }
}

/// Each page: the name of its file, and its text.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/man.rs"));

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory, ValueEnum};

    use super::*;
    use crate::args::{Cli, is_mosquitto, variable};

    #[test]
    fn completions_know_every_subcommand_and_option() {
        for shell in ShellArg::value_variants() {
            let text = completion(*shell);
            each(&Cli::command(), &mut vec!["postrider".to_owned()], &mut |path, command| {
                assert!(text.contains(command.get_name()), "{shell:?}: {path:?}");
                for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                    if let Some(long) = arg.get_long() {
                        assert!(text.contains(long), "{shell:?}: {path:?} --{long}");
                    }
                }
            });
        }
    }

    #[test]
    fn each_subcommand_has_a_page_with_its_options_and_variables() {
        let mut count = 0;
        each(&Cli::command(), &mut vec!["postrider".to_owned()], &mut |path, command| {
            let name = format!("{}.1", path.join("-"));
            let page = PAGES.iter().find(|(known, _)| *known == name);
            let (_, page) = page.unwrap_or_else(|| panic!("there is no {name}"));
            count += 1;
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let Some(long) = arg.get_long() else { continue };
                let option = format!("\\-\\-{}", long.replace('-', "\\-"));
                assert!(page.contains(&option), "{name}: {option}");
                if let Some(variable) = variable(arg).filter(|_| is_mosquitto(command.get_name())) {
                    assert!(page.contains(&variable), "{name}: {variable}");
                }
            }
        });
        assert_eq!(count, PAGES.len(), "pages without a subcommand");
    }

    fn each(command: &Command, path: &mut Vec<String>, look: &mut dyn FnMut(&[String], &Command)) {
        look(path, command);
        for sub in command.get_subcommands() {
            path.push(sub.get_name().to_owned());
            each(sub, path, look);
            path.pop();
        }
    }
}
