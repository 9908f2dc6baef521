//! Options of `pub` for a broker that need not be there.

use std::path::PathBuf;

use clap::Args;

/// A store of messages for scripts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct SpoolArgs {
    /// Puts the message into this folder, and ends when it is stored; no broker is needed. --flush delivers it. The QoS is
    /// 1 unless --qos says 2.
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Delivers what is in the store, and ends when the broker has acknowledged all of it.
    #[arg(
        long, requires = "store", group = "MessageArgs",
        conflicts_with_all = ["topic", "qos", "retain", "repeat", "repeat_delay"]
    )]
    pub(crate) flush: bool,
}
