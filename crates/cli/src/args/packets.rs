//! Options of `postrider packets`.

use std::path::PathBuf;

use clap::Args;

/// Prints the packets that a tap has written: `pub --tap FILE`, or `Builder::tap` of the library.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct PacketsArgs {
    /// The file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Prints what is kept of each payload, too.
    #[arg(short, long)]
    pub(crate) payloads: bool,
    /// Prints this connection only; they are numbered from 1.
    #[arg(short, long, value_name = "NUMBER")]
    pub(crate) connection: Option<u32>,
}

const AFTER_HELP: &str = "\
Example: postrider packets press-7.tap --payloads

Each line is the local time, the number of the connection, > for sent or < for received, and the packet. At the bound \
of its size a tap goes on in a new file; the part before it is FILE.before.";
