//! The options that say which broker.

use std::path::PathBuf;

use clap::Args;

/// Which broker.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct AddressArgs {
    /// Host name or address of the broker. Default: 127.0.0.1.
    #[arg(short = 'h', long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Port of the broker. Default: 1883, with TLS 8883; for WebSocket 80 and 443.
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Broker as a URL, in place of host and port: mqtt://user:password@host:port, mqtts:// for TLS, ws://host/path
    /// and wss://host/path for WebSocket, or unix:/path. For pub, sub and rr a topic may follow: mqtt://host/topic.
    #[arg(short = 'L', long, value_name = "URL", conflicts_with_all = ["host", "port", "unix"])]
    pub(crate) url: Option<String>,
    /// Unix socket of the broker, in place of host and port.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port", "srv", "proxy"])]
    pub(crate) unix: Option<PathBuf>,
    /// Speaks WebSocket to --host and --port. In a URL: ws://host:port/path, wss://host:port/path.
    #[arg(long, conflicts_with_all = ["url", "unix", "srv"], help_heading = "TLS, WebSocket, proxy")]
    pub(crate) ws: bool,
}
