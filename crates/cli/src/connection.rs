//! The options by which `pub` and `sub` reach a broker.

use std::{env, net::Ipv6Addr, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use postrider::{Builder, Protocol, Session};

/// Where to connect, and as whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// Host name or address of the broker. Default: 127.0.0.1.
    #[arg(short = 'h', long, value_name = "HOST")]
    host: Option<String>,
    /// Port of the broker. Default: 1883.
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Broker as a URL, in place of host and port: mqtt://user:password@host:port or unix:/path. Default: the
    /// environment variable POSTRIDER_URL.
    #[arg(long, value_name = "URL", conflicts_with_all = ["host", "port"])]
    url: Option<String>,
    /// Client id. Default: a random one.
    #[arg(short, long, value_name = "CLIENT_ID")]
    id: Option<String>,
    /// User name.
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password. Other users of this machine can see command lines: a URL in POSTRIDER_URL is hidden from them.
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD", requires = "username")]
    password: Option<String>,
    /// Seconds of silence after which both sides check that the other is there; 0 turns it off.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    keepalive: u16,
    /// Version of MQTT to speak; `auto` is 5.0, and 3.1.1 if the broker does not speak it.
    #[arg(short = 'V', long, value_name = "VERSION", value_enum, default_value_t)]
    protocol_version: ProtocolArg,
}

/// A version as it is written on a command line, with the names that Mosquitto's clients use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProtocolArg {
    #[default]
    Auto,
    #[value(name = "mqttv31", aliases = ["31", "3.1"])]
    V31,
    #[value(name = "mqttv311", aliases = ["311", "3.1.1"])]
    V311,
    #[value(name = "mqttv5", aliases = ["5", "50", "5.0"])]
    V5,
}

impl ConnectionArgs {
    /// A session with these options, not connected yet.
    ///
    /// # Errors
    /// Names the option that cannot be used.
    pub(crate) fn builder(&self) -> anyhow::Result<Builder> {
        let url = self.address(env::var("POSTRIDER_URL").ok())?;
        let mut builder = Session::builder(url, self.id.clone().unwrap_or_default())
            .keep_alive(Duration::from_secs(self.keepalive.into()))
            .version(self.protocol_version.protocol());
        if let Some(name) = &self.username {
            builder = builder.user(name);
        }
        if let Some(password) = &self.password {
            builder = builder.password(password.as_bytes());
        }
        Ok(builder)
    }

    /// Whether a client id was given.
    pub(crate) fn has_id(&self) -> bool {
        self.id.as_ref().is_some_and(|id| !id.is_empty())
    }

    /// The URL: what was given, then the environment's, then the default.
    fn address(&self, from_environment: Option<String>) -> anyhow::Result<String> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        let port = self.port.unwrap_or(PORT);
        match (&self.host, self.port, from_environment) {
            (None, None, Some(url)) if !url.is_empty() => Ok(url),
            (None, _, _) => Ok(format!("mqtt://127.0.0.1:{port}")),
            (Some(host), _, _) => {
                let host = bracketed(host).with_context(|| format!("--host '{host}'"))?;
                Ok(format!("mqtt://{host}:{port}"))
            }
        }
    }
}

impl ProtocolArg {
    /// The same for a session.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Auto => Protocol::Auto,
            Self::V31 => Protocol::V31,
            Self::V311 => Protocol::V311,
            Self::V5 => Protocol::V5,
        }
    }
}

/// A host as it stands in a URL: an IPv6 address in brackets.
fn bracketed(host: &str) -> anyhow::Result<String> {
    if host.is_empty() {
        bail!("the name is empty");
    }
    if host.contains("//") || host.starts_with("unix:") {
        bail!("this is a URL: give it with --url");
    }
    if host.contains(['/', '@', '?', '#', '%', ' ']) {
        bail!("not a host name or address");
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{host}]"));
    }
    if host.contains(':') && !host.starts_with('[') {
        bail!("not a host name or address; the port has an option of its own, --port");
    }
    Ok(host.to_owned())
}

/// The port that IANA gave to MQTT.
const PORT: u16 = 1883;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        connection: ConnectionArgs,
    }

    #[test]
    fn host_port_and_environment_make_one_url() {
        let environment = Some("mqtt://elsewhere:9");
        check(&[], None, "mqtt://127.0.0.1:1883");
        check(&[], Some(""), "mqtt://127.0.0.1:1883");
        check(&[], environment, "mqtt://elsewhere:9");
        check(&["-p", "99"], environment, "mqtt://127.0.0.1:99");
        check(&["-h", "a.example"], environment, "mqtt://a.example:1883");
        check(&["-h", "::1", "-p", "7"], None, "mqtt://[::1]:7");
        check(&["-h", "[::1]"], None, "mqtt://[::1]:1883");
        check(&["--url", "unix:/a.sock"], environment, "unix:/a.sock");
    }

    #[test]
    fn what_is_no_host_is_named() {
        check(&["-h", ""], None, "--host '': the name is empty");
        check(&["-h", "mqtt://a"], None, "--host 'mqtt://a': this is a URL: give it with --url");
        check(&["-h", "a/b"], None, "--host 'a/b': not a host name or address");
        check(&["-h", "a:1883"], None, "has an option of its own, --port");
    }

    #[test]
    fn versions_have_the_names_of_mosquitto() {
        for (name, expected) in [
            ("mqttv31", ProtocolArg::V31),
            ("31", ProtocolArg::V31),
            ("311", ProtocolArg::V311),
            ("mqttv311", ProtocolArg::V311),
            ("5", ProtocolArg::V5),
            ("mqttv5", ProtocolArg::V5),
            ("auto", ProtocolArg::Auto),
        ] {
            let line = Line::parse_from(["x", "-V", name]);
            assert_eq!(line.connection.protocol_version, expected, "{name}");
        }
    }

    fn check(args: &[&str], environment: Option<&str>, expected: &str) {
        let line = Line::parse_from([&["x"], args].concat());
        let address = line.connection.address(environment.map(str::to_owned));
        let text = address.unwrap_or_else(|error| format!("{error:#}"));
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}
