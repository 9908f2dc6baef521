//! Options of `postrider completions` and `postrider man`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Prints the completions of a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  postrider completions bash > ~/.local/share/bash-completion/completions/postrider")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: ShellArg,
}

/// Writes the man pages, one for each subcommand.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  postrider man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The folder; made if it is not there.
    pub(crate) folder: PathBuf,
}

/// A shell that there are completions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShellArg {
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
}
