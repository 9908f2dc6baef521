//! Options of `postrider check`.

use clap::Args;

use crate::args::TransportArgs;

/// Plays raw packets at a broker and judges the answers.
#[derive(Debug, Args)]
#[command(after_help = "Example: postrider check --url mqtt://127.0.0.1:1883 --only retained")]
pub(crate) struct CheckArgs {
    /// Broker to judge.
    #[arg(long, default_value = "mqtt://127.0.0.1:1883", env = "POSTRIDER_URL")]
    pub(crate) url: String,
    /// Plays only cases whose name or statements contain this.
    #[arg(long)]
    pub(crate) only: Option<String>,
    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}
