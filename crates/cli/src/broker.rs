//! `postrider broker`: a broker until somebody stops it.

use std::{
    net::{IpAddr, ToSocketAddrs},
    path::PathBuf,
};

use anyhow::{Context, bail};
use clap::Args;
use postrider_broker::{Address, Broker, Builder, Endpoint};
use tracing::info;

use crate::{log, out::say, stop::asked_to_stop};

/// Runs a broker for MQTT 3.1, 3.1.1 and 5.0. With --store its sessions and messages survive it.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BrokerArgs {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(short, long, default_value_t = 1883, conflicts_with = "listen")]
    port: u16,
    /// Where to listen: tcp://HOST:PORT or unix:/PATH. May be given several times.
    #[arg(short, long, value_name = "URL")]
    listen: Vec<String>,
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
    users: Vec<String>,
    /// Lets clients in that give no user name: beside users, or on an address that other machines reach.
    #[arg(long)]
    anonymous: bool,
    /// Hubs, each with a thread of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    hubs: u16,
    /// Keeps sessions, queued and retained messages in this folder, which is made if it is not there. Nothing is
    /// acknowledged before it is synced to the disk.
    #[arg(short, long, value_name = "DIR", env = "POSTRIDER_STORE")]
    store: Option<PathBuf>,
    /// If the store is corrupt, sets its folder aside as DIR.corrupt-1 and begins an empty one.
    #[arg(long, requires = "store")]
    quarantine: bool,
    /// Longest keep alive in seconds; clients that ask for more, or for none, get this. Default: any, also none.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..))]
    max_keepalive: Option<u16>,
    /// Most QoS 1 and 2 messages that a client may have open. Default: 1024 in 5.0, no limit in 3.1.1.
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u16).range(1..))]
    receive_maximum: Option<u16>,
    /// Largest packet that is accepted. Default: the largest there can be.
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(64..=268_435_460)
    )]
    max_packet_size: Option<u32>,
    /// Says more on standard error: connections; twice decisions, thrice everything.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Runs the broker until SIGTERM or SIGINT.
pub(crate) fn broker(args: BrokerArgs) -> anyhow::Result<()> {
    log::start(args.verbose);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let builder = builder(&args)?;
    #[cfg(unix)]
    let open_files = crate::unix::raise_open_files();
    runtime.block_on(async {
        // Before the start, so that a signal that comes at once is not missed.
        let stop = asked_to_stop().context("cannot catch signals")?;
        let broker = builder.start()?;
        for endpoint in broker.endpoints() {
            say(&format!("listening on {endpoint}"));
        }
        #[cfg(unix)]
        match open_files {
            Some(limit) => say(&format!("open files: at most {limit}")),
            None => say("open files: no limit"),
        }
        tokio::select! {
            signal = stop => {
                info!(target: "postrider_broker::broker", signal, "stopping");
                broker.shut_down();
                Ok(())
            }
            () = broker.ended() => bail!("the broker failed; its log says why"),
        }
    })
}

fn builder(args: &BrokerArgs) -> anyhow::Result<Builder> {
    let mut builder = Broker::builder().hubs(args.hubs);
    let default = [format!("tcp://127.0.0.1:{}", args.port)];
    let listen = if args.listen.is_empty() { &default[..] } else { &args.listen[..] };
    for url in listen {
        if !args.anonymous && args.users.is_empty() && is_public(url)? {
            bail!(
                "anybody who reaches {url} could connect; add --user NAME:PASSWORD (or POSTRIDER_USERS), or \
                 --anonymous if that is what you want"
            );
        }
        builder = builder.listen(url);
    }
    for user in args.users.iter().filter(|user| !user.is_empty()) {
        let Some((name, password)) = user.split_once(':').filter(|(name, _)| !name.is_empty())
        else {
            bail!("a user has no name or no password; write NAME:PASSWORD");
        };
        builder = builder.user(name, password);
    }
    if args.anonymous {
        builder = builder.anonymous(true);
    }
    if let Some(folder) = &args.store {
        builder = builder.store(folder).quarantine(args.quarantine);
    }
    if let Some(seconds) = args.max_keepalive {
        builder = builder.keep_alive_s_max(seconds);
    }
    if let Some(messages) = args.receive_maximum {
        builder = builder.receive_maximum(messages);
    }
    if let Some(bytes) = args.max_packet_size {
        builder = builder.packet_size_max(bytes);
    }
    Ok(builder)
}

/// Whether other machines may reach a listener.
fn is_public(url: &str) -> anyhow::Result<bool> {
    let Endpoint::Tcp { host, port } = Address::parse(url)?.endpoint else { return Ok(false) };
    let is_local = |address: IpAddr| address.to_canonical().is_loopback();
    let addresses = (host.as_str(), port).to_socket_addrs();
    let mut addresses = addresses.with_context(|| format!("host '{host}' cannot be resolved"))?;
    Ok(!addresses.all(|address| is_local(address.ip())))
}

const AFTER_HELP: &str = "\
Examples:
  postrider broker
  postrider broker --listen tcp://127.0.0.1:0 --listen unix:/tmp/mqtt.sock
  postrider broker --store /var/lib/postrider
  POSTRIDER_USERS=ann:secret postrider broker --listen tcp://0.0.0.0:1883

Prints one line 'listening on URL' for each listener when it is ready. Ends on SIGTERM and SIGINT.
Without --user, clients on this machine need no user name. RUST_LOG sets what is logged.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_unix_sockets_are_not_public() {
        for url in ["tcp://127.0.0.1:1", "tcp://127.9.9.9", "mqtt://[::1]:5", "unix:/a"] {
            assert!(!is_public(url).unwrap(), "{url}");
        }
        for url in ["tcp://0.0.0.0:1", "tcp://[::]:1", "tcp://192.0.2.7"] {
            assert!(is_public(url).unwrap(), "{url}");
        }
        assert!(!is_public("tcp://[::ffff:127.0.0.1]:1").unwrap());
    }
}
