//! `postrider broker`: a broker until somebody stops it.

use std::net::{IpAddr, ToSocketAddrs};

use anyhow::{Context, bail};
use postrider_broker::{Address, Broker, Builder, Endpoint, Mode, ServerTls};
use tracing::info;
#[cfg(unix)]
use tracing::warn;

use crate::{
    args::{BrokerArgs, ModeArg},
    log,
    out::mention,
    status::Usage,
    stop::asked_to_stop,
};

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
        #[cfg(unix)]
        let hangups = crate::unix::hangups().context("cannot catch signals")?;
        let broker = builder.start()?;
        for endpoint in broker.endpoints() {
            mention(&format!("listening on {endpoint}"));
        }
        #[cfg(unix)]
        match open_files {
            Some(limit) => mention(&format!("open files: at most {limit}")),
            None => mention("open files: no limit"),
        }
        #[cfg(unix)]
        let reloading = reload(&broker, hangups);
        #[cfg(not(unix))]
        let reloading = std::future::pending::<std::convert::Infallible>();
        let failure = tokio::select! {
            signal = stop => {
                info!(target: "postrider_broker::broker", signal, "stopping");
                None
            }
            failure = broker.ended() => Some(failure),
            never = reloading => match never {},
        };
        match failure {
            Some(failure) => bail!(failure),
            None => Ok(broker.close()?),
        }
    })
}

/// Reads certificates again whenever SIGHUP comes, and says what became of it.
#[cfg(unix)]
async fn reload(
    broker: &Broker,
    mut hangups: tokio::signal::unix::Signal,
) -> std::convert::Infallible {
    loop {
        if hangups.recv().await.is_none() {
            return std::future::pending().await;
        }
        match broker.reload_certificates() {
            Ok(()) => mention("certificates: read again"),
            Err(error) => {
                warn!(target: "postrider_broker::broker", %error, "certificates not read again");
                mention(&format!("certificates: {error}"));
            }
        }
    }
}

fn builder(args: &BrokerArgs) -> anyhow::Result<Builder> {
    let mut builder = Broker::builder().hubs(args.hubs);
    let default = [format!("tcp://127.0.0.1:{}", args.port)];
    let listen = if args.listen.is_empty() { &default[..] } else { &args.listen[..] };
    for url in listen {
        if !args.anonymous && args.users.is_empty() && is_public(url)? {
            bail!(Usage(format!(
                "anybody who reaches {url} could connect; add --user NAME:PASSWORD (or POSTRIDER_USERS), or \
                 --anonymous if that is what you want"
            )));
        }
        builder = builder.listen(url);
    }
    if let (Some(certificate), Some(key)) = (&args.cert, &args.key) {
        let mut tls = ServerTls::new(certificate, key);
        if let Ok(password) = std::env::var("POSTRIDER_KEYPASS") {
            tls = tls.key_password(password);
        }
        if let Some(path) = &args.client_cafile {
            tls = tls.client_ca_file(path);
        }
        if let Some(path) = &args.client_crlfile {
            tls = tls.client_crl_file(path);
        }
        builder = builder.tls(tls);
    }
    for user in args.users.iter().filter(|user| !user.is_empty()) {
        let Some((name, password)) = user.split_once(':').filter(|(name, _)| !name.is_empty())
        else {
            let what = "--user (or POSTRIDER_USERS): no name or no password; write NAME:PASSWORD";
            bail!(Usage(what.to_owned()));
        };
        builder = builder.user(name, password);
    }
    if args.anonymous {
        builder = builder.anonymous(true);
    }
    if let Some(folder) = &args.store {
        builder = builder.store(folder).quarantine(args.quarantine);
    }
    if let Some(mode) = args.mode {
        builder = builder.mode(match mode {
            ModeArg::Durable => Mode::Durable,
            ModeArg::Process => Mode::Process,
            ModeArg::Memory => Mode::Memory,
        });
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
    let place = url.rsplit_once("?mode=").map_or(url, |(place, _)| place);
    let (Endpoint::Tcp { host, port }
    | Endpoint::Tls { host, port }
    | Endpoint::WebSocket { host, port, .. }) = Address::parse(place)?.endpoint
    else {
        return Ok(false);
    };
    let is_local = |address: IpAddr| address.to_canonical().is_loopback();
    let addresses = (host.as_str(), port).to_socket_addrs();
    let mut addresses = addresses.with_context(|| format!("host '{host}' cannot be resolved"))?;
    Ok(!addresses.all(|address| is_local(address.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_unix_sockets_are_not_public() {
        for url in ["tcp://127.0.0.1:1", "tcp://127.9.9.9", "mqtt://[::1]:5", "unix:/a"] {
            assert!(!is_public(url).unwrap(), "{url}");
        }
        for url in [
            "tcp://0.0.0.0:1",
            "tcp://0.0.0.0:1?mode=process",
            "tcp://[::]:1",
            "tcp://192.0.2.7",
            "mqtts://0.0.0.0",
            "ws://0.0.0.0/mqtt?mode=process",
        ] {
            assert!(is_public(url).unwrap(), "{url}");
        }
        assert!(!is_public("tcp://[::ffff:127.0.0.1]:1").unwrap());
    }
}
