//! Options of `postrider broker`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Runs a broker for MQTT 3.1, 3.1.1 and 5.0. With --store its sessions and messages survive it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BrokerArgs {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(short, long, default_value_t = 1883, conflicts_with = "listen")]
    pub(crate) port: u16,
    /// Where to listen: tcp://HOST:PORT, mqtts://HOST:PORT (TLS), ws://HOST:PORT/PATH and wss://HOST:PORT/PATH
    /// (WebSocket), or unix:/PATH, with ?mode=MODE behind it to differ from --mode. May be given several times.
    #[arg(short, long, value_name = "URL")]
    pub(crate) listen: Vec<String>,
    /// File with the certificate chain for TLS (PEM).
    #[arg(long, value_name = "PATH", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// File with the key of --cert (PEM or DER). Its password, if it has one, is in POSTRIDER_KEYPASS.
    #[arg(long, value_name = "PATH", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Lets only those in through TLS whose certificate an authority in this file has signed.
    #[arg(long, value_name = "PATH", requires = "cert")]
    pub(crate) client_cafile: Option<PathBuf>,
    /// File with revocation lists (CRL, PEM or DER): clients whose certificate is in one are refused.
    #[arg(long, value_name = "PATH", requires = "client_cafile")]
    pub(crate) client_crlfile: Option<PathBuf>,
    /// A user who may connect; clients without user name are refused then. May be given several times. Other users of
    /// this machine can see command lines: prefer the environment variable, with one user a line.
    #[arg(
        short,
        long = "user",
        value_name = "NAME:PASSWORD",
        env = "POSTRIDER_USERS",
        hide_env_values = true,
        value_delimiter = '\n'
    )]
    pub(crate) users: Vec<String>,
    /// Lets clients in that give no user name: beside users, or on an address that other machines reach.
    #[arg(long)]
    pub(crate) anonymous: bool,
    /// Hubs, each with a thread of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) hubs: u16,
    /// Keeps sessions, queued and retained messages in this folder, which is made if it is not there. Nothing is
    /// acknowledged before it is synced to the disk, unless --mode says otherwise.
    #[arg(short, long, value_name = "DIR", env = "POSTRIDER_STORE")]
    pub(crate) store: Option<PathBuf>,
    /// What an acknowledgement promises where there is a store: synced to the disk, handed to the operating system
    /// (survives a crash of the broker, not of the machine), or nothing. A listener may have its own: URL?mode=MODE.
    #[arg(long, env = "POSTRIDER_MODE", requires = "store")]
    pub(crate) mode: Option<ModeArg>,
    /// If the store is corrupt, sets its folder aside as DIR.corrupt-1 and begins an empty one.
    #[arg(long, requires = "store")]
    pub(crate) quarantine: bool,
    /// Longest keep alive in seconds; clients that ask for more, or for none, get this. Default: any, also none.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_keepalive: Option<u16>,
    /// Most QoS 1 and 2 messages that a client may have open. Default: 1024 in 5.0, no limit in 3.1.1.
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) receive_maximum: Option<u16>,
    /// Largest packet that is accepted. Default: the largest there can be.
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(64..=268_435_460)
    )]
    pub(crate) max_packet_size: Option<u32>,
    /// Says more on standard error: connections; twice decisions, thrice everything.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// As `--mode` has it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ModeArg {
    /// Synced to the disk.
    Durable,
    /// Handed to the operating system.
    Process,
    /// Nothing waits; sessions are not stored, retained messages are.
    Memory,
}

const AFTER_HELP: &str = "\
Examples:
  postrider broker
  postrider broker --listen tcp://127.0.0.1:0 --listen unix:/tmp/mqtt.sock
  postrider broker --store /var/lib/postrider
  POSTRIDER_USERS=ann:secret postrider broker --listen tcp://0.0.0.0:1883

Prints one line 'listening on URL' for each listener when it is ready, and then how many files may
be open. Ends on SIGTERM and SIGINT. On SIGHUP it reads the files of certificates, keys and
revocation lists again, for new connections; what cannot be used changes nothing. Without --user,
clients on this machine need no user name. RUST_LOG sets what is logged.";
