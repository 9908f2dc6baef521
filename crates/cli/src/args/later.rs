//! Options of Mosquitto's clients that there are no means for.

use clap::Args;

/// What is refused.
#[derive(Debug, Args)]
pub(crate) struct LaterArgs {
    #[arg(long, hide = true)]
    pub(crate) ciphers: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) tls_engine: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) tls_engine_kpass_sha1: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) psk: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) psk_identity: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) tls_keylog: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) mptcp: bool,
    #[arg(short = 'o', long, hide = true)]
    pub(crate) options_file: Option<String>,
    /// Not refused: without an option for TLS it asks for what is so.
    #[arg(long, hide = true)]
    pub(crate) no_tls: bool,
}
