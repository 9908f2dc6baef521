//! The options by which `pub`, `sub` and `rr` reach a broker.

use std::{fs::OpenOptions, io, path::Path, time::Duration};

use anyhow::{Context, bail};
use postrider::{Builder, DisconnectError, Properties, Property, Protocol, Session};
use postrider_broker::Address;

use crate::{
    address::bracketed,
    args::{ConnectionArgs, Given, Place, ProtocolArg},
    log,
    names::Manner,
    out,
    status::{Codes, Usage},
    trace::{Subscribed, Tap},
    transport::{dialing, first_line},
};

impl ConnectionArgs {
    /// Settles what does not need a connection: errors, and the log.
    ///
    /// # Errors
    /// [`Usage`] names the option that cannot be used.
    pub(crate) fn begin(&self, manner: Manner) -> anyhow::Result<()> {
        if self.quiet {
            out::be_quiet();
        }
        match (self.debug, manner) {
            (true, Manner::Postrider) => log::start(2),
            // It tells packets on standard output.
            (true, Manner::Mosquitto) | (false, _) => log::start_if_asked(),
        }
        self.later.refuse()?;
        let has_password = self.password.is_some() || self.pw_file.is_some();
        let has_user =
            self.username.is_some() || self.address.url.as_ref().is_some_and(|u| u.contains('@'));
        if has_password && !has_user {
            let option = if self.pw_file.is_some() { "--pw-file" } else { "--pw" };
            bail!(Usage(format!("a password ({option}) needs a user name: --username <NAME>")));
        }
        if self.disable_clean_session && !self.has_id() {
            bail!(Usage(
                "--disable-clean-session needs an --id <CLIENT_ID> that is not empty".to_owned()
            ));
        }
        if manner == Manner::Postrider && self.will.will_topic.is_none() {
            // Mosquitto's programs pass both over.
            let option = match (self.will.will_qos, self.of(Place::Will).next()) {
                (Some(_), _) => Some("--will-qos"),
                (None, Some(_)) => Some("--property will"),
                (None, None) => None,
            };
            if let Some(option) = option {
                bail!(Usage(format!("{option} needs a --will-topic <TOPIC>")));
            }
        }
        let has_v5_only = !self.properties.is_empty();
        if has_v5_only
            && !matches!(self.protocol_version, None | Some(ProtocolArg::Auto | ProtocolArg::V5))
        {
            bail!(Usage("--property needs MQTT 5.0; leave --protocol-version out".to_owned()));
        }
        Ok(())
    }

    /// A session with these options, not connected yet; `subscribed` is for `-d`.
    ///
    /// # Errors
    /// Names the option that cannot be used.
    pub(crate) fn builder(
        &self,
        manner: Manner,
        subscribed: Subscribed,
    ) -> anyhow::Result<Builder> {
        let (url, _) = self.address()?;
        if let (Some(option), false) = (self.transport.of_websocket(), url.starts_with("ws")) {
            bail!(Usage(format!("{option} is for WebSocket: add --ws, or give a ws:// URL")));
        }
        let mut builder = Session::builder(&url, self.client_id())
            .keep_alive(Duration::from_secs(self.keepalive.into()))
            .version(self.version(manner).protocol())
            .clean_start(!self.disable_clean_session)
            .session_expiry(self.expiry());
        if let Some(name) = &self.username {
            builder = builder.user(name);
        }
        if let Some(password) = self.password()? {
            builder = builder.password(password);
        }
        if let Some(will) = self.will.will(self.of(Place::Will))? {
            builder = builder.will(will);
        }
        for property in self.of(Place::Connect) {
            // --session-expiry-interval goes before the property.
            if !matches!(property, Property::SessionExpiryInterval(_)) {
                builder = builder.property(property);
            }
        }
        if let Some(path) = &self.profile.tap {
            private(path).with_context(|| format!("--tap '{}'", path.display()))?;
            builder = builder.tap(path);
        }
        if let Some(bind) = &self.bind {
            if url.starts_with("unix:") {
                bail!(Usage("--bind is for TCP, not for a Unix socket".to_owned()));
            }
            bracketed(bind).map_err(|error| Usage(format!("--bind '{bind}': {error}")))?;
            builder = builder.bind(bind.trim_matches(['[', ']']));
        }
        builder = dialing(builder, self.transport.dial(manner)?);
        if !self.debug || manner != Manner::Mosquitto {
            return Ok(builder);
        }
        let codes = self.codes(manner);
        let subscribed = if self.quiet { Subscribed::Untold } else { subscribed };
        Ok(builder.connector(move |attempt| async move {
            Ok(Tap::stream(attempt.open().await?, codes, subscribed))
        }))
    }

    /// Ends the session: properties of the DISCONNECT, and how long the broker keeps it.
    pub(crate) async fn disconnect(&self, session: &Session) -> Result<(), DisconnectError> {
        let mut request = session.disconnect_with();
        if !self.disable_clean_session && !self.expiry().is_zero() {
            request = request.session_expiry(self.expiry());
        }
        for property in self.of(Place::Disconnect) {
            request = if let Property::SessionExpiryInterval(seconds) = property {
                request.session_expiry(Duration::from_secs(seconds.into()))
            } else {
                request.property(property)
            };
        }
        request.await
    }

    /// The properties for one kind of packet.
    pub(crate) fn of(&self, place: Place) -> impl Iterator<Item = Property> {
        let fits = move |given: &&Given| given.place == place;
        self.properties.iter().filter(fits).map(|given| given.property.clone())
    }

    /// The properties of a message. Topic aliases are the client's: it has one wherever the broker takes any.
    pub(crate) fn of_message(&self) -> impl Iterator<Item = Property> {
        self.of(Place::Publish).filter(|property| !matches!(property, Property::TopicAlias(_)))
    }

    /// The codes that the server refuses with.
    pub(crate) fn codes(&self, manner: Manner) -> Codes {
        match self.version(manner) {
            ProtocolArg::V31 | ProtocolArg::V311 => Codes::V3,
            ProtocolArg::Auto | ProtocolArg::V5 => Codes::V5,
        }
    }

    /// The topic that the URL ends with.
    pub(crate) fn url_topic(&self) -> Option<&str> {
        self.address.url.as_deref().and_then(|url| parted(url).1)
    }

    /// Whether the broker is to keep the session.
    pub(crate) fn is_kept(&self) -> bool {
        self.disable_clean_session
    }

    fn has_id(&self) -> bool {
        [&self.id, &self.id_prefix].into_iter().flatten().any(|id| !id.is_empty())
    }

    fn client_id(&self) -> String {
        match (&self.id, &self.id_prefix) {
            (Some(id), _) => id.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", std::process::id()),
            (None, None) => String::new(),
        }
    }

    /// How long the broker keeps the session, if anybody has said.
    pub(crate) fn expiry_wanted(&self) -> Option<Duration> {
        Some(self.expiry()).filter(|expiry| !expiry.is_zero())
    }

    fn expiry(&self) -> Duration {
        let properties: Properties = self.of(Place::Connect).collect();
        let by_property = properties.session_expiry_interval().copied();
        let by_property = by_property.map(|seconds| Duration::from_secs(seconds.into()));
        let default = if self.disable_clean_session { Duration::MAX } else { Duration::ZERO };
        self.session_expiry_interval.or(by_property).unwrap_or(default)
    }

    fn version(&self, manner: Manner) -> ProtocolArg {
        match self.protocol_version {
            Some(ProtocolArg::Auto) | None if !self.properties.is_empty() => ProtocolArg::V5,
            Some(version) => version,
            None if manner == Manner::Mosquitto => ProtocolArg::V311,
            None => ProtocolArg::Auto,
        }
    }

    /// The version, unless one is named: `mosquitto_rr` has another default than its sisters.
    pub(crate) fn prefer(&mut self, version: ProtocolArg) {
        self.protocol_version.get_or_insert(version);
    }

    fn password(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(path) = &self.pw_file else {
            return Ok(self.password.as_ref().map(|password| password.as_bytes().to_vec()));
        };
        let line = first_line(path).with_context(|| format!("--pw-file '{}'", path.display()))?;
        Ok(Some(line))
    }

    /// The URL and the topic in it: what was given, or the default.
    fn address(&self) -> anyhow::Result<(String, Option<&str>)> {
        if let Some(url) = &self.address.url {
            let (url, topic) = parted(url);
            let url = self.transport.secured(url);
            if let Err(error) = Address::parse(&url) {
                bail!(Usage(format!("--url: {error}")));
            }
            return Ok((url, topic));
        }
        Ok((self.address.url(&self.transport)?, None))
    }
}

/// A URL without its topic, and the topic.
fn parted(url: &str) -> (&str, Option<&str>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url, None) };
    // What follows the host of a WebSocket is its path.
    if ["unix", "ws", "wss"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return (url, None);
    }
    // A password may have a slash in it.
    let host_at = rest.rfind('@').map_or(0, |at| at + 1);
    let slash = rest.get(host_at..).and_then(|rest| rest.find('/')).map(|at| host_at + at);
    let Some(slash) = slash.map(|at| scheme.len() + 3 + at) else { return (url, None) };
    let (url, topic) = url.split_at(slash);
    (url, topic.get(1..).filter(|topic| !topic.is_empty()))
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

/// Makes a file that only its owner may read, if it is not there; an error if it cannot be written.
fn private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

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
    fn host_and_port_make_a_url() {
        check(&[], "mqtt://127.0.0.1");
        check(&["-p", "99"], "mqtt://127.0.0.1:99");
        check(&["-h", "a.example"], "mqtt://a.example");
        check(&["-h", "a.example", "--cafile", "x"], "mqtts://a.example");
        check(&["--insecure", "-p", "9"], "mqtts://127.0.0.1:9");
        check(&["--ws", "-h", "a.example"], "ws://a.example");
        check(&["--ws", "--tls-use-os-certs", "-p", "9"], "wss://127.0.0.1:9");
        check(&["-L", "mqtt://h/a", "--cafile", "x"], "mqtts://h:1883");
        check(&["-L", "mqtt://u:p@[::1]:7/a", "--cafile", "x"], "mqtts://u:p@[::1]:7");
        check(&["-L", "ws://h/a", "--cafile", "x"], "wss://h/a");
        check(&["-L", "wss://h/a"], "wss://h/a");
        check(&["-h", "::1", "-p", "7"], "mqtt://[::1]:7");
        check(&["-h", "[::1]"], "mqtt://[::1]");
        check(&["--url", "unix:/a.sock"], "unix:/a.sock");
        check(&["--unix", "/a.sock"], "unix:/a.sock");
    }

    #[test]
    fn a_url_may_end_with_a_topic() {
        for (url, expected) in [
            ("mqtt://h", ("mqtt://h", None)),
            ("mqtt://h/", ("mqtt://h", None)),
            ("mqtt://h:7/a/+/b", ("mqtt://h:7", Some("a/+/b"))),
            ("mqtt://u:p/w@h/a", ("mqtt://u:p/w@h", Some("a"))),
            ("unix:///a/b", ("unix:///a/b", None)),
            ("mqtts://h/a", ("mqtts://h", Some("a"))),
            ("ws://h/a/b", ("ws://h/a/b", None)),
        ] {
            assert_eq!(parted(url), expected);
        }
    }

    #[test]
    fn what_is_no_host_is_named() {
        check(&["-h", ""], "--host '': the name is empty");
        check(&["-h", "mqtt://a"], "--host 'mqtt://a': this is a URL: give it with --url");
        check(&["-h", "a/b"], "--host 'a/b': not a host name or address");
        check(&["-h", "a:1883"], "has an option of its own, --port");
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
            assert_eq!(line.connection.protocol_version, Some(expected), "{name}");
        }
    }

    fn check(args: &[&str], expected: &str) {
        let line = Line::parse_from([&["x"], args].concat());
        let address = line.connection.address();
        let text = address.map_or_else(|error| format!("{error:#}"), |(url, _)| url);
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}
