//! What a scenario runs with: a server, a face, a version.

use std::time::Duration;

use postrider::{Builder, ConnectError, Protocol, QoS, ReasonCode};

use super::{
    client::Client,
    habits::{Habits, Qos2, Speaks},
    report::{Limits, Report},
};

/// A broker that scenarios can connect to, kill and start again.
pub(crate) trait Server: Sized {
    /// Its name and its version, for people.
    fn title(&self) -> String;

    /// What it does differently in a version of MQTT.
    fn habits(&self, _: Protocol) -> Habits {
        Habits::default()
    }

    /// Starts a broker; with a user name and a password it lets only that user in. `None` if there is none here.
    fn start(user: Option<(&str, &str)>) -> Option<Self>;

    /// Whom it lets in, if not everybody.
    fn user(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// The same, or another one, that lets one user in.
    fn with_user(self, user: &'static str, password: &'static str) -> Self {
        Self::start(Some((user, password))).expect("it started before")
    }

    /// Before the names of all topics and clients, so that several cases can use one server.
    fn scope(&self) -> String {
        String::new()
    }

    /// A server that no other case uses, so that it may be killed.
    fn alone(self) -> Self {
        self
    }

    /// Where it is, the same after a restart.
    fn url(&self) -> String;

    /// Ends it as a crash would.
    fn kill(&mut self);

    /// Starts it again at the same place.
    fn restart(&mut self);
}

/// Which API of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    Async,
    Blocking,
}

/// What a scenario runs with.
pub(crate) struct Setting<S> {
    pub(crate) server: S,
    pub(crate) face: Face,
    pub(crate) protocol: Protocol,
    pub(crate) habits: Habits,
    pub(crate) limits: Limits,
    scope: String,
}

/// Runs a scenario with a server, if there is one here. Where the server does not speak the version, that is what is
/// shown.
pub(crate) fn play<S: Server>(
    scenario: &'static str,
    face: Face,
    protocol: Protocol,
    run: impl FnOnce(Setting<S>),
) {
    let Some(server) = S::start(None) else { return };
    let limits = Limits::default();
    let _report =
        Report { broker: server.title(), scenario, protocol, face, limits: limits.clone() };
    let (habits, scope) = (server.habits(protocol), server.scope());
    let setting = Setting { server, face, protocol, habits, limits, scope };
    match habits.speaks {
        Speaks::Yes => run(setting),
        Speaks::Refuses | Speaks::Closes => setting.version_is_refused(),
    }
}

impl<S: Server> Setting<S> {
    /// The same with a server that lets one user in.
    pub(crate) fn with_user(self, user: &'static str, password: &'static str) -> Self {
        Self { server: self.server.with_user(user, password), ..self }
    }

    /// The same with a server that may be killed.
    pub(crate) fn alone(self) -> Self {
        Self { server: self.server.alone(), ..self }
    }

    /// A client that starts clean.
    pub(crate) fn client(&self, id: &str) -> Client {
        self.client_with(id, Options::default())
    }

    /// A client with options, and with the right name and password if none are among them.
    pub(crate) fn client_with(&self, id: &str, options: Options) -> Client {
        let credentials = options.credentials.or_else(|| self.server.user());
        self.try_client(id, Options { credentials, ..options })
            .expect("the broker accepts the connection")
    }

    /// A client with options, or why not.
    pub(crate) fn try_client(&self, id: &str, options: Options) -> Result<Client, ConnectError> {
        let options = options.in_version(self.protocol);
        Client::connect(self.face, &self.server.url(), id, &self.scope, options)
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.protocol == Protocol::V5
    }

    /// A topic as the server knows it.
    pub(crate) fn topic(&self, topic: &str) -> String {
        format!("{}{topic}", self.scope)
    }

    /// What is granted to a subscription that asks for a QoS.
    pub(crate) fn granted(&self, asked: QoS) -> QoS {
        let max = self.habits.qos_granted_max;
        if asked > max {
            self.limits.met("a subscription at QoS 2 is granted QoS 1");
        }
        asked.min(max)
    }

    /// The QoS to publish with when nothing depends on it but the message.
    pub(crate) fn publishable(&self, wanted: QoS) -> QoS {
        if wanted < QoS::ExactlyOnce {
            return wanted;
        }
        match self.habits.qos2 {
            Qos2::Full | Qos2::PubAck => wanted,
            Qos2::Closes => {
                self.limits.met("a publication at QoS 2 ends the connection, so QoS 1 is used");
                QoS::AtLeastOnce
            }
            Qos2::Announced => {
                self.limits.met("the server announces QoS 1 as its maximum, so QoS 1 is used");
                QoS::AtLeastOnce
            }
        }
    }

    /// Whether a publication ends as one of a lower QoS.
    pub(crate) fn is_downgraded(&self, qos: QoS) -> bool {
        let is_downgraded = qos == QoS::ExactlyOnce && self.habits.qos2 == Qos2::PubAck;
        if is_downgraded {
            self.limits.met("a publication at QoS 2 is answered as one at QoS 1, and reported so");
        }
        is_downgraded
    }

    /// Shows that the server does not speak this version, and that a client that may speak both finds the other.
    fn version_is_refused(&self) {
        let error = self.try_client("version", self.login()).err().expect("it is not spoken");
        match self.habits.speaks {
            Speaks::Closes => {
                assert!(matches!(error, ConnectError::Closed { .. }), "{error:?}");
                self.limits.met("not spoken: the connection is closed without an answer");
            }
            Speaks::Refuses => {
                let reason = ReasonCode::UnsupportedProtocolVersion;
                let is_said =
                    matches!(&error, ConnectError::Refused { reason: said, .. } if *said == reason);
                assert!(is_said, "{error:?}");
                self.limits.met("not spoken: CONNACK with return code 1");
            }
            Speaks::Yes => unreachable!("only called for versions that are not spoken"),
        }
        if self.is_v5() {
            let options = self.login().in_version(Protocol::Auto);
            let client =
                Client::connect(self.face, &self.server.url(), "version", &self.scope, options)
                    .expect("it speaks 3.1.1");
            client.publish("version", "x", QoS::AtLeastOnce);
            client.disconnect().expect("nothing is open");
        }
    }

    fn login(&self) -> Options {
        Options { credentials: self.server.user(), ..Options::default() }
    }
}

/// Options of a client, for either face.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) is_persistent: bool,
    pub(crate) is_not_reconnecting: bool,
    pub(crate) will: Option<postrider::Will>,
    pub(crate) credentials: Option<(&'static str, &'static str)>,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) protocol: Protocol,
}

impl Options {
    fn in_version(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    pub(crate) fn apply<K>(self, builder: Builder<K>) -> Builder<K> {
        let mut builder = builder
            .version(self.protocol)
            .connect_timeout(Duration::from_secs(20))
            .backoff(Duration::from_millis(20), Duration::from_millis(200))
            .reconnect(!self.is_not_reconnecting);
        if self.is_persistent {
            builder = builder.clean_start(false).session_expiry(Duration::from_secs(3600));
        }
        if let Some(keep_alive) = self.keep_alive {
            builder = builder.keep_alive(keep_alive);
        }
        if let Some(will) = self.will {
            builder = builder.will(will);
        }
        if let Some((user, password)) = self.credentials {
            builder = builder.user(user).password(password);
        }
        builder
    }
}
