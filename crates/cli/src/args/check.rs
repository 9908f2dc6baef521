//! Options of `postrider check`.

use clap::{ArgAction, Args};

use crate::args::{AddressArgs, TransportArgs};

/// Plays raw packets at a broker and judges the answers.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = AFTER_HELP)]
pub(crate) struct CheckArgs {
    /// Plays only cases whose name or statements contain this.
    #[arg(long)]
    pub(crate) only: Option<String>,
    #[command(flatten)]
    pub(crate) address: AddressArgs,
    #[command(flatten)]
    pub(crate) transport: TransportArgs,
    /// Prints help.
    #[arg(long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,
}

const AFTER_HELP: &str = "\
Examples:
  postrider check -h broker.example -p 1884
  postrider check --url mqtt://127.0.0.1:1883 --only retained

Where no option says which broker, the variable POSTRIDER_URL does.";
