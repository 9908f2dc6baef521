//! Makes completions and man pages of the options, in `OUT_DIR`: `completions/` and `man/`, and `man.rs` with the list
//! of the pages. `postrider completions` and `postrider man` hand them out.
#![forbid(unsafe_code)]

use std::{
    env, error, fs, io,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

#[path = "src/args/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the options are shown here, and read by the program")]
mod args;

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo::rerun-if-changed=src/args");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    let completions = fresh(out.join("completions"))?;
    for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut args::Cli::command(), "postrider", &completions)?;
    }
    let man = fresh(out.join("man"))?;
    clap_mangen::generate_to(with_variables(args::Cli::command()), &man)?;
    fs::write(out.join("man.rs"), list(&man)?)?;
    Ok(())
}

/// The command as its manual shows it: options with their variables.
fn with_variables(command: Command) -> Command {
    command.mut_subcommands(|sub| {
        if !args::is_mosquitto(sub.get_name()) {
            return sub;
        }
        sub.mut_args(|arg| match args::variable(&arg) {
            Some(name) => arg.env(name),
            None => arg,
        })
    })
}

/// An empty folder: an earlier build may have had other subcommands.
fn fresh(folder: PathBuf) -> io::Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Source text with the name of each page and what stands in it.
fn list(folder: &Path) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let page = |name| {
        format!("({name:?}, include_str!(concat!(env!(\"OUT_DIR\"), \"/man/\", {name:?}))),\n")
    };
    Ok(format!("&[\n{}]\n", names.into_iter().map(page).collect::<String>()))
}
