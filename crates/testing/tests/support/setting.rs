//! What a scenario runs with: a server, a face, a version.

use std::time::Duration;

use postrider::{Builder, ConnectError, Protocol};

use super::client::Client;

/// A broker that scenarios can connect to, kill and start again.
pub(crate) trait Server: Sized {
    /// Whether it tells a client of 5.0 that another one took its session over.
    const SAYS_TAKEN_OVER: bool;

    /// Starts a broker; with a user name and a password it lets only that user in. `None` if there is none here.
    fn start(user: Option<(&str, &str)>) -> Option<Self>;

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
}

impl<S: Server> Setting<S> {
    /// A setting with a fresh server; `None` if there is none here.
    pub(crate) fn new(face: Face, protocol: Protocol) -> Option<Self> {
        Some(Self { server: S::start(None)?, face, protocol })
    }

    /// The same with a server that lets one user in.
    pub(crate) fn with_user(self, user: &str, password: &str) -> Self {
        let server = S::start(Some((user, password))).expect("it started before");
        Self { server, ..self }
    }

    /// A client that starts clean.
    pub(crate) fn client(&self, id: &str) -> Client {
        self.client_with(id, Options::default())
    }

    /// A client with options.
    pub(crate) fn client_with(&self, id: &str, options: Options) -> Client {
        self.try_client(id, options).expect("the broker accepts the connection")
    }

    /// A client with options, or why not.
    pub(crate) fn try_client(&self, id: &str, options: Options) -> Result<Client, ConnectError> {
        Client::connect(self.face, &self.server.url(), id, options.in_version(self.protocol))
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.protocol == Protocol::V5
    }
}

/// Options of a client, for either face.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) is_persistent: bool,
    pub(crate) is_not_reconnecting: bool,
    pub(crate) will: Option<postrider::Will>,
    pub(crate) credentials: Option<(&'static str, &'static str)>,
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
        if let Some(will) = self.will {
            builder = builder.will(will);
        }
        if let Some((user, password)) = self.credentials {
            builder = builder.user(user).password(password);
        }
        builder
    }
}
