//! `postrider completions` and `postrider man`: what a package installs beside the program.

use std::{io, path::PathBuf};

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Cli, out};

/// Prints the completions of a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  postrider completions bash > ~/.local/share/bash-completion/completions/postrider")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Writes the man pages, one for each subcommand.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  postrider man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The folder; made if it is not there.
    folder: PathBuf,
}

pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "postrider", &mut text);
    out::say(String::from_utf8(text)?.trim_end());
    Ok(())
}

pub(crate) fn man(args: &ManArgs) -> anyhow::Result<()> {
    let folder = &args.folder;
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(Cli::command(), folder)
    };
    write().with_context(|| format!("cannot write man pages to '{}'", folder.display()))
}
