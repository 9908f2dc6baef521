//! The options by which `pub`, `sub` and `rr` reach a broker.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::args::{AddressArgs, Given, LaterArgs, ProfileArgs, TransportArgs, WillArgs, property};

/// Where to connect, and as whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    #[command(flatten)]
    pub(crate) address: AddressArgs,
    /// Connects from this address or host name of ours.
    #[arg(short = 'A', long, value_name = "ADDRESS", conflicts_with = "unix")]
    pub(crate) bind: Option<String>,
    /// Sends small packets at once. Always so; taken for the sake of scripts.
    #[arg(long)]
    pub(crate) nodelay: bool,
    /// Client id. Default: a random one.
    #[arg(short, long, value_name = "CLIENT_ID")]
    pub(crate) id: Option<String>,
    /// Client id of this text and the number of the process.
    #[arg(short = 'I', long, value_name = "TEXT", conflicts_with = "id")]
    pub(crate) id_prefix: Option<String>,
    /// User name.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Password. Other users of this machine can see command lines: POSTRIDER_PASSWORD and --pw-file are hidden from
    /// them.
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
    /// File with the password, in its first line.
    #[arg(long, value_name = "PATH", conflicts_with = "password")]
    pub(crate) pw_file: Option<PathBuf>,
    /// Seconds of silence after which both sides check that the other is there; 0 turns it off.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) keepalive: u16,
    /// Version of MQTT to speak; `auto` is 5.0, and 3.1.1 if the broker does not speak it.
    #[arg(short = 'V', long, value_name = "VERSION", value_enum)]
    pub(crate) protocol_version: Option<ProtocolArg>,
    /// Goes on with the session that the broker keeps for this client id, and leaves it there at the end. Needs --id.
    #[arg(short = 'c', long)]
    pub(crate) disable_clean_session: bool,
    /// Seconds that the broker keeps the session without a connection; -1 for ever. Default: for ever with
    /// --disable-clean-session, 0 without.
    #[arg(short = 'x', long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = expiry)]
    pub(crate) session_expiry_interval: Option<Duration>,
    /// Property of a packet (5.0): `publish content-type text/plain`, `will user-property name value`. May be repeated.
    #[arg(short = 'D', long = "property", value_name = "COMMAND NAME VALUE", value_parser = property::parse)]
    pub(crate) properties: Vec<Given>,
    /// Logs what happens on standard error.
    #[arg(short, long)]
    pub(crate) debug: bool,
    /// Prints no errors, but for wrong options.
    #[arg(long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) profile: ProfileArgs,
    #[command(flatten)]
    pub(crate) will: WillArgs,
    #[command(flatten)]
    pub(crate) transport: TransportArgs,
    #[command(flatten)]
    pub(crate) later: LaterArgs,
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

/// Seconds, or -1 or an infinity sign for ever.
fn expiry(text: &str) -> Result<Duration, String> {
    match text {
        "-1" | "\u{221e}" => Ok(Duration::MAX),
        _ => match text.parse::<u32>() {
            Ok(u32::MAX) => Ok(Duration::MAX),
            Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
            Err(error) => Err(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_expiry_is_in_seconds_or_for_ever() {
        for (text, expected) in [
            ("0", Ok(Duration::ZERO)),
            ("60", Ok(Duration::from_secs(60))),
            ("-1", Ok(Duration::MAX)),
            ("4294967295", Ok(Duration::MAX)),
            ("\u{221e}", Ok(Duration::MAX)),
        ] {
            assert_eq!(expiry(text), expected, "{text}");
        }
        assert!(expiry("-2").is_err());
    }
}
