//! Options of Mosquitto's clients that there are no means for yet.

use clap::Args;

/// What comes later.
#[derive(Debug, Args)]
pub(crate) struct LaterArgs {
    #[arg(long, hide = true)]
    pub(crate) cafile: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) capath: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) cert: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) key: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) keyform: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) ciphers: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) tls_version: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) tls_alpn: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) tls_engine: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) tls_engine_kpass_sha1: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) tls_use_os_certs: bool,
    #[arg(long, hide = true)]
    pub(crate) insecure: bool,
    #[arg(long, hide = true)]
    pub(crate) psk: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) psk_identity: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) proxy: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) tls_keylog: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) ws: bool,
    #[arg(long, hide = true)]
    pub(crate) mptcp: bool,
    #[arg(short = 'S', long, hide = true)]
    pub(crate) srv: bool,
    #[arg(short = 'o', long, hide = true)]
    pub(crate) options_file: Option<String>,
    /// Not refused: without TLS it asks for what is so.
    #[arg(long, hide = true)]
    pub(crate) no_tls: bool,
}
