//! Everything that can be said about a session before it begins.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    marker::PhantomData,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use postrider_net::{Address, Credentials, Dial};
use postrider_proto::{
    LinkConfig, ReconnectConfig, SessionConfig,
    client::ClientConfig,
    wire::{self, Properties, Property, Text},
};
use postrider_store::Mode;
use tokio::runtime::Handle as Runtime;

use crate::{
    ConnectError, Session, SessionEnd, Will,
    answer::{Awaited, Gone, answer},
    client_id::client_id,
    connector::Connector,
    driver::{Driver, Setup},
    extras::Extras,
    mailbox::Room,
    protocol::Protocol,
    request::Requests,
    said::{say, seconds},
    shared::Shared,
    tap,
    transport::Servers,
    upcoming::Upcoming,
    vault::Place,
    when_full::WhenFull,
};

/// Everything that can be said about a session before it begins. Made by [`Session::builder`] or
/// [`crate::blocking::Session::builder`]; every option has a default.
///
/// `S` is the kind of session that it makes.
#[derive(Clone)]
pub struct Builder<S = Session> {
    kind: PhantomData<fn() -> S>,
    url: String,
    client_id: String,
    user: Option<String>,
    password: Option<Bytes>,
    clean_start: bool,
    session_expiry: Option<Duration>,
    keep_alive: Duration,
    connect_timeout: Duration,
    operation_timeout: Duration,
    will: Option<Will>,
    properties: Properties,
    protocol: Protocol,
    link: LinkConfig,
    session: SessionConfig,
    reconnect: ReconnectConfig,
    stream_room: Room,
    stall_budget: Duration,
    queue_bytes: Option<u64>,
    when_full: WhenFull,
    store: Option<PathBuf>,
    store_mode: Mode,
    pub(crate) is_manual: bool,
    pub(crate) connector: Option<Connector>,
    pub(crate) dial: Dial,
    pub(crate) servers: Servers,
    pub(crate) extras: Extras,
    pub(crate) tap: tap::Settings,
}

impl<S> Builder<S> {
    pub(crate) fn new(url: String, client_id: String) -> Self {
        Self {
            kind: PhantomData,
            url,
            client_id,
            user: None,
            password: None,
            clean_start: true,
            session_expiry: None,
            keep_alive: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_secs(60),
            will: None,
            properties: Properties::new(),
            protocol: Protocol::Auto,
            link: LinkConfig {
                is_topic_lenient: true,
                are_aliases_reused: true,
                ..LinkConfig::default()
            },
            session: SessionConfig {
                flights_max_unannounced: FLIGHTS_MAX_UNANNOUNCED,
                ..SessionConfig::default()
            },
            reconnect: ReconnectConfig::default(),
            stream_room: Room { count: 1000, bytes: 16 * 1024 * 1024 },
            stall_budget: Duration::from_secs(5),
            queue_bytes: None,
            when_full: WhenFull::Refuse,
            store: None,
            store_mode: Mode::Durable,
            is_manual: false,
            connector: None,
            dial: Dial::default(),
            servers: Servers::default(),
            extras: Extras::default(),
            tap: tap::Settings::default(),
        }
    }

    /// User name; goes before one in the URL.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Password, 0 to 65,535 bytes; goes before one in the URL.
    #[must_use]
    pub fn password(mut self, password: impl Into<Vec<u8>>) -> Self {
        self.password = Some(Bytes::from(password.into()));
        self
    }

    /// Whether the server forgets what it kept for this client id (the default), or the session goes on where a process
    /// before left it. Messages kept for it then arrive as soon as the connection stands, see [`Session::unmatched`].
    ///
    /// A process that takes up a session without the memory of the one before may lose or double messages that were on
    /// their way at QoS 2.
    #[must_use]
    pub fn clean_start(mut self, clean_start: bool) -> Self {
        self.clean_start = clean_start;
        self
    }

    /// Keeps the session in a folder, so that it outlives the process: messages published at QoS 1 and 2 with the state of
    /// their exchanges, identifiers of arrived QoS 2 messages, and subscriptions. The folder is made if it is not there;
    /// while no session has it open it may be copied, moved and deleted as a whole.
    ///
    /// A new process with the same path and client id goes on where the one before was, however that ended: open exchanges
    /// are finished with their identifiers, in the original order, and what waited is sent. [`Builder::clean_start`] only
    /// counts for a store whose session has never been connected. Subscriptions go on at the server; what arrives for one
    /// before the new process has subscribed again is kept for a while, see [`Session::unmatched`].
    ///
    /// One process at a time has a store open. An empty client id stands for the one in the store.
    #[must_use]
    pub fn store(mut self, path: impl Into<PathBuf>) -> Self {
        self.store = Some(path.into());
        self
    }

    /// What stored means: [`Mode::Durable`] (the default), synced to the disk, which survives a power cut; or
    /// [`Mode::Process`], handed to the operating system, which survives the death of the process.
    #[must_use]
    pub fn store_mode(mut self, mode: Mode) -> Self {
        self.store_mode = mode;
        self
    }

    /// How long the server keeps the session without a connection; whole seconds, [`Duration::MAX`] for ever.
    ///
    /// Default: one hour, so that a reconnect finds the session again; with a store one week, so that the next process
    /// does. In 3.1.1 zero asks for a session that ends with its
    /// connection, and anything else for one that never ends.
    #[must_use]
    pub fn session_expiry(mut self, session_expiry: Duration) -> Self {
        self.session_expiry = Some(session_expiry);
        self
    }

    /// Longest silence after which both sides check that the other is there; whole seconds up to 65,535 (a part of one
    /// counts as one), zero turns it off. Default 60 s.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Bounds each whole attempt to connect: name, socket, handshake, falling back to 3.1.1. Default 30 s.
    ///
    /// With several servers it bounds [`Builder::connect`] as a whole: each server gets an equal share of the time that is
    /// left, so that one that is silent leaves time for the next. Later each attempt has all of it.
    #[must_use]
    pub fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout.min(TIMEOUT_MAX);
        self
    }

    /// Bounds the wait for the answer to a subscribe or unsubscribe while connected. Default 60 s.
    #[must_use]
    pub fn operation_timeout(mut self, operation_timeout: Duration) -> Self {
        self.operation_timeout = operation_timeout;
        self
    }

    /// What the server publishes if the connection ends without a disconnect.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// Adds any property that a CONNECT may have (5.0). Those that set a limit of ours set it here too.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        if let Property::SessionExpiryInterval(seconds) = property {
            self.session_expiry(match seconds {
                u32::MAX => Duration::MAX,
                seconds => Duration::from_secs(seconds.into()),
            })
        } else if let Property::ReceiveMaximum(count) = property {
            self.receive_maximum(count)
        } else if let Property::MaximumPacketSize(bytes) = property {
            self.packet_size_max(bytes)
        } else if let Property::TopicAliasMaximum(aliases) = property {
            self.link.topic_alias_max = aliases;
            self
        } else {
            say(&mut self.properties, property);
            self
        }
    }

    /// Which version to speak; default [`Protocol::Auto`].
    #[must_use]
    pub fn version(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Most messages at QoS 1 and 2 that the server may have on their way to us, 1 to 65,535 (5.0). Default 1,024.
    ///
    /// A server that sends more is told so with DISCONNECT 0x93 (section 3.3.4). But if it does where a session was resumed, it
    /// would only send the same again on a new connection. Such messages are taken and counted
    /// ([`crate::Stats::surplus`]), and no further one is read, nor what comes behind it, while more than these wait for
    /// their PUBACK or PUBREC: memory is bounded as if it kept the rule.
    #[must_use]
    pub fn receive_maximum(mut self, receive_maximum: u16) -> Self {
        self.link.receive_maximum = receive_maximum.max(1);
        self
    }

    /// Largest packet we accept, in bytes (5.0). Default 268,435,460, the largest there is.
    #[must_use]
    pub fn packet_size_max(mut self, packet_size_max: u32) -> Self {
        self.link.packet_size_max = packet_size_max.clamp(1, wire::PACKET_SIZE_MAX);
        self
    }

    /// Most messages published and not complete. Default 100,000.
    #[must_use]
    pub fn queue_messages(mut self, queue_messages: u32) -> Self {
        self.session.queue_messages_max = queue_messages.max(1);
        self
    }

    /// Most bytes published and not complete; one message of any size passes when nothing else is open. Default
    /// 64 MiB, and 1 GiB with a store.
    #[must_use]
    pub fn queue_bytes(mut self, queue_bytes: u64) -> Self {
        self.queue_bytes = Some(queue_bytes);
        self
    }

    /// What becomes of a message that is published at QoS 1 or 2 without a connection while the queue is full. Default
    /// [`WhenFull::Refuse`]. With a connection publishers wait.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Whether a message at QoS 2 fails, with [`crate::PublishError::SessionLost`], when the server has lost the session
    /// before it confirmed to have the message. Default: it is sent again as a new one, may arrive twice, and
    /// [`crate::Event::MayBeDouble`] says so.
    #[must_use]
    pub fn fail_doubtful(mut self, fail_doubtful: bool) -> Self {
        self.session.is_doubtful_failed = fail_doubtful;
        self
    }

    /// Most messages at QoS 1 and 2 on their way to the server, whatever it allows, 1 to 65,535.
    ///
    /// Default: what the server announces (5.0), and 20 where it cannot announce anything (3.1.1): Mosquitto closes such a
    /// connection when more messages of QoS 2 are open.
    ///
    /// When so many were on their way, the next ones leave together, once an eighth of the places is free or a
    /// millisecond has passed; those with 4 KiB and more at once.
    #[must_use]
    pub fn in_flight_max(mut self, in_flight_max: u16) -> Self {
        self.session.flights_max = in_flight_max.max(1);
        self.session.flights_max_unannounced = in_flight_max.max(1);
        self
    }

    /// Whether messages at QoS 0 wait for a connection. Default: publishing one without a connection is an error.
    #[must_use]
    pub fn queue_qos0_offline(mut self, queue_qos0_offline: bool) -> Self {
        self.session.is_qos0_queued_offline = queue_qos0_offline;
        self
    }

    /// Most messages that a stream holds for its reader. Default 1,000.
    #[must_use]
    pub fn stream_messages(mut self, stream_messages: usize) -> Self {
        self.stream_room.count = stream_messages.max(1);
        self
    }

    /// Most bytes that a stream holds for its reader; one message of any size always fits. Default 16 MiB.
    #[must_use]
    pub fn stream_bytes(mut self, stream_bytes: usize) -> Self {
        self.stream_room.bytes = stream_bytes.max(1);
        self
    }

    /// How long a full stream may hold up everything that arrives. Default 5 s; never more than a quarter of the keep
    /// alive, but for [`Duration::MAX`], which is for ever. See [`crate::Subscription`] for what follows.
    ///
    /// Pings go on meanwhile, so the server does not take the session for dead; nor is the server, which is not read, taken
    /// for dead.
    #[must_use]
    pub fn stall_budget(mut self, stall_budget: Duration) -> Self {
        self.stall_budget = stall_budget;
        self
    }

    /// Whether to connect again when the connection is lost. Default yes.
    #[must_use]
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect.is_enabled = reconnect;
        self
    }

    /// Shortest and longest wait before connecting again. Default 250 ms and 30 s, doubled each time, with jitter.
    #[must_use]
    pub fn backoff(mut self, shortest: Duration, longest: Duration) -> Self {
        self.reconnect.backoff_ms_min = ms(shortest);
        self.reconnect.backoff_ms_max = ms(longest.max(shortest));
        self
    }

    /// How long a connection must live for the wait to begin at its shortest again. Default 10 s.
    #[must_use]
    pub fn stable_after(mut self, stable_after: Duration) -> Self {
        self.reconnect.stable_ms = ms(stable_after);
        self
    }

    /// Failed attempts in a row after which the session is over. Default: none, it goes on for ever.
    #[must_use]
    pub fn reconnect_attempts(mut self, attempts: u32) -> Self {
        self.reconnect.attempts_max = Some(attempts);
        self
    }

    /// The first attempt is as good as any other.
    pub(crate) fn in_background(mut self) -> Self {
        self.reconnect.is_first_retried = true;
        self
    }

    /// A session at rest, its driver, and what will say whether it connected. Blocks while a store is opened.
    pub(crate) fn open(self) -> Result<(Session, Box<Driver>, Connecting), ConnectError> {
        let stream_room = self.stream_room;
        let takes_qos0_offline = self.session.is_qos0_queued_offline;
        let requests = Requests::new(self.extras.requests.clone());
        let setup = self.setup()?;
        let has_store = setup.store.is_some();
        let shared = Shared::new(takes_qos0_offline, has_store, stream_room, requests);
        let shared = Arc::new(shared);
        let session = Session::new(Arc::clone(&shared));
        let (answer, connected) = answer();
        Ok((session, Driver::open(setup, shared, answer)?, connected))
    }

    fn setup(self) -> Result<Setup, ConnectError> {
        let servers = self.servers.listed(&self.url, seed());
        let upcoming = self.upcoming(credentials(&servers)?);
        let options = upcoming.options(None)?;
        let has_authenticator = self.extras.authenticator.is_some();
        let client = ClientConfig {
            client_id: client_id(&self.client_id)?,
            user_name: options.user_name,
            password: options.password,
            clean_start: self.clean_start,
            session_expiry_s: self.session_expiry_s(),
            keep_alive_s: options.keep_alive_s,
            will: options.will,
            connect_properties: options.properties,
            operation_timeout_ms: ms(self.operation_timeout),
            operations_max: OPERATIONS_MAX,
            link: self.link_config(),
            session: self.session_config(),
            reconnect: ReconnectConfig {
                servers,
                version: self.protocol.with(has_authenticator)?.version(),
                rules: self.extras.rules,
                certificates: self.extras.certificates,
                ..self.reconnect
            },
            is_manual: self.is_manual,
            is_durable: self.store.is_some(),
            spool_bytes_max: SPOOL_BYTES_MAX,
        };
        Ok(Setup {
            servers: u32::try_from(client.reconnect.servers.len()).unwrap_or(u32::MAX),
            server: client.reconnect.servers.first().map_or_else(String::new, |url| shown(url)),
            client,
            seed: seed(),
            upcoming,
            hook: self.extras.hook,
            wall_clock: self.extras.wall_clock,
            connect_timeout: self.connect_timeout,
            stall_budget_ms: ms(self.stall_budget),
            when_full: self.when_full,
            connector: self.connector,
            dial: Arc::new(self.dial),
            tap: self.tap.open(),
            is_client_id_made: self.client_id.is_empty(),
            store: self.store.map(|path| Place { path, mode: self.store_mode }),
        })
    }

    /// What each attempt begins with. What the builder says goes before what the URL says.
    fn upcoming(&self, credentials: Credentials) -> Upcoming {
        let user = self.user.clone().or(credentials.user);
        let password = self.password.clone();
        Upcoming {
            number: 1,
            last: None,
            server: self.url.clone(),
            user,
            password: password.or_else(|| credentials.password.map(Bytes::from)),
            keep_alive: self.keep_alive,
            will: self.will.clone(),
            properties: self.properties.clone(),
            authenticator: self.extras.authenticator.clone(),
        }
    }

    fn session_expiry_s(&self) -> u32 {
        match self.session_expiry {
            Some(expiry) => seconds(expiry),
            None if self.store.is_some() => STORED_EXPIRY_S,
            None => SESSION_EXPIRY_S,
        }
    }

    fn link_config(&self) -> LinkConfig {
        LinkConfig {
            handshake_ms: ms(self.connect_timeout),
            is_server_reauthentication_allowed: self.extras.is_server_reauthentication_allowed,
            // Servers of 3.1.1 are told no bound, so they are not read on beyond it.
            receive_maximum_unannounced: self.is_manual.then_some(self.link.receive_maximum),
            ..self.link
        }
    }

    fn session_config(&self) -> SessionConfig {
        let has_store = self.store.is_some();
        let bytes_max = if has_store { STORED_BYTES_MAX } else { self.session.queue_bytes_max };
        SessionConfig {
            queue_bytes_max: self.queue_bytes.unwrap_or(bytes_max),
            is_oldest_dropped: self.when_full == WhenFull::DropOldest,
            closes_max: self.extras.closes_max,
            is_puback_for_qos2_allowed: !self.extras.is_qos2_strict,
            ..self.session
        }
    }
}

impl Builder {
    /// Connects, and starts the task that drives the session on the current tokio runtime.
    ///
    /// The first attempt is the only one: if it fails, nothing is left behind. Dropping the future gives up.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(self) -> Result<Session, ConnectError> {
        let runtime = Runtime::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let (session, driver, connected) = self.open_on(&runtime).await?;
        runtime.spawn(driver.run());
        wait(session, connected).await
    }

    /// Starts the task that drives the session, which connects in the background: a session that works without a broker.
    /// What is published waits for one, in the store if there is one.
    ///
    /// Attempts that fail are repeated as after a lost connection, unless the reason is final (credentials, say): then the
    /// session is over, see [`Session::ended`] and [`Session::events`].
    ///
    /// # Errors
    /// [`ConnectError`] if options are wrong or the store cannot be opened.
    pub async fn start(self) -> Result<Session, ConnectError> {
        let runtime = Runtime::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let (session, driver, _) = self.in_background().open_on(&runtime).await?;
        runtime.spawn(driver.run());
        Ok(session)
    }

    /// Opens a store on a thread that may block.
    async fn open_on(
        self,
        runtime: &Runtime,
    ) -> Result<(Session, Box<Driver>, Connecting), ConnectError> {
        if self.store.is_none() {
            return self.open();
        }
        match runtime.spawn_blocking(|| self.open()).await {
            Ok(opened) => opened,
            Err(_) => Err(ConnectError::Ended(SessionEnd::Stopped)),
        }
    }
}

/// What says whether the first attempt succeeded.
pub(crate) type Connecting = Awaited<Result<(), ConnectError>>;

/// Waits for the first attempt.
pub(crate) async fn wait(
    session: Session,
    connecting: Connecting,
) -> Result<Session, ConnectError> {
    match connecting.wait().await {
        Ok(Ok(())) => Ok(session),
        Ok(Err(error)) => Err(error),
        Err(Gone) => Err(ConnectError::Ended(session.shared().end())),
    }
}

/// The first user name and password in a URL; all URLs must be right.
fn credentials(servers: &[String]) -> Result<Credentials, ConnectError> {
    let mut found = Credentials::default();
    for url in servers {
        let own = Address::parse(url)?.credentials;
        if found == Credentials::default() {
            found = own;
        }
    }
    Ok(found)
}

pub(crate) fn text(what: &'static str, text: &str) -> Result<Text, ConnectError> {
    Text::new(text).map_err(|error| ConnectError::Text { what, error })
}

/// A number that nobody can guess, from the seeds that the standard library draws for its hash maps.
pub(crate) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The URL without credentials.
pub(crate) fn shown(url: &str) -> String {
    Address::parse(url).map_or_else(|_| "another server".to_owned(), |it| it.endpoint.to_string())
}

pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Shows neither the URL, which may hold a password, nor the password.
impl<S> fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("client_id", &self.client_id)
            .field("user", &self.user)
            .field("protocol", &self.protocol)
            .field("clean_start", &self.clean_start)
            .finish_non_exhaustive()
    }
}

/// Longest timeout; a clock can be asked about it without overflow.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longest password in bytes: its length is sent in two. Spec: v5 section 3.1.3.6.
pub(crate) const PASSWORD_LEN_MAX: usize = 65_535;
/// Messages on their way to a server that cannot say what it takes; the default of most brokers and clients.
const FLIGHTS_MAX_UNANNOUNCED: u16 = 20;
/// Seconds that the server keeps the session without a connection: longer than most outages.
const SESSION_EXPIRY_S: u32 = 3600;
/// The same with a store: longer than most programs are down.
const STORED_EXPIRY_S: u32 = 7 * 24 * 3600;
/// Bytes published and not complete, with a store.
const STORED_BYTES_MAX: u64 = 1 << 30;
/// Subscribes and unsubscribes on their way at once; more wait in the mailbox.
pub(crate) const OPERATIONS_MAX: u32 = 1000;
/// Bytes of large payloads in files, arriving, kept by the program, and to be published: sixteen of the largest size.
pub(crate) const SPOOL_BYTES_MAX: u64 = 16 * 268_435_460;
