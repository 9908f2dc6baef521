//! What a broker is told before it starts.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    io,
    path::PathBuf,
    time::Duration,
};

use postrider_hub::{Authentication, HubConfig};
use postrider_net::{Address, Endpoint, ServerTls, TlsError, UrlError};
use postrider_proto::{Durability as Mode, SessionConfig, wire::PACKET_SIZE_MAX};
use postrider_store::StoreError;

use crate::{Broker, users::Users};

/// Settings of a [`Broker`]; made by [`Broker::builder`].
///
/// Without any, the broker has one hub, listens nowhere (see [`Broker::connect`]) and lets everybody in.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    listen: Vec<(String, Option<Mode>)>,
    tls: ServerTls,
    mode: Option<Mode>,
    hubs: u16,
    hub: HubConfig,
    users: Passwords,
    anonymous: Option<bool>,
    flush_max: Duration,
    store: Option<PathBuf>,
    quarantines: bool,
    queue_bytes_max: Option<u64>,
}

#[derive(Clone, Default)]
struct Passwords(HashMap<String, Vec<u8>>);

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a broker ended by itself. Its clients were hung up on, and what it had acknowledged is in the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The store could not be read, written or synced. It is not tried again: nothing more was acknowledged.
    #[error("{0}{way_out}", way_out = way_back(.0))]
    Store(StoreError),
    /// One of its threads panicked.
    #[error("a thread of the broker panicked; please report what the log says, and start it again")]
    Panic,
}

/// Why [`crate::Broker::reload_certificates`] changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{endpoint} keeps its certificate: {error}")]
pub struct ReloadError {
    /// The listener whose files cannot be used.
    pub endpoint: Endpoint,
    /// What is wrong.
    pub error: Box<TlsError>,
}

/// Why a broker does not start; the message names what is wrong and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener's URL cannot be used.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A listener's URL names a user.
    #[error("the URL of a listener has no user; add users by name and password instead")]
    UrlWithUser,
    /// A listener's URL names a mode that there is not.
    #[error("mode '{0}' is none of durable, process and memory")]
    Mode(String),
    /// A mode that needs a store.
    #[error("mode {0} needs a store; name a folder for it, or leave the mode out")]
    ModeWithoutStore(&'static str),
    /// Somebody listens there already.
    #[error("{endpoint} is in use by another program; {}", another_place(.endpoint))]
    AddressInUse {
        /// The place.
        endpoint: Endpoint,
    },
    /// The system refused to listen.
    #[error("{source}")]
    Listen {
        /// The place.
        endpoint: Endpoint,
        /// What the system said, with the place.
        source: io::Error,
    },
    /// A listener with TLS has no certificate that can be used.
    #[error("{endpoint}: {error}")]
    Tls {
        /// The place.
        endpoint: Endpoint,
        /// Why.
        error: Box<TlsError>,
    },
    /// A setting is out of range.
    #[error("{name} is {value}; it must be {range}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// What was asked for.
        value: u64,
        /// What it may be.
        range: &'static str,
    },
    /// The store cannot be opened.
    #[error("{0}{way_out}", way_out = way_out(.0))]
    Store(#[source] StoreError),
    /// The store is a client's, with the messages that it has not delivered yet. Nothing was changed.
    #[error("the store {} is a client's: choose another folder", .0.display())]
    StoreOfClient(PathBuf),
    /// The system refused a thread or an event loop.
    #[error("cannot start a thread of the broker: {0}")]
    Thread(io::Error),
}

/// A builder's settings, checked.
pub(crate) struct Plan {
    pub(crate) listen: Vec<(Endpoint, Mode)>,
    pub(crate) tls: ServerTls,
    /// For connections within the process.
    pub(crate) mode: Mode,
    pub(crate) hubs: Vec<HubConfig>,
    pub(crate) users: Users,
    pub(crate) flush_max: Duration,
    pub(crate) store: Option<PathBuf>,
    pub(crate) quarantines: bool,
}

impl Plan {
    /// The weakest mode of all connections, as the store names it.
    pub(crate) fn mode_weakest(&self) -> postrider_store::Mode {
        let modes = self.listen.iter().map(|(_, mode)| *mode).chain([self.mode]);
        match modes.min().unwrap_or_default() {
            Mode::Durable => postrider_store::Mode::Durable,
            // Retained messages are stored whoever publishes them.
            Mode::Memory | Mode::Process => postrider_store::Mode::Process,
        }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            tls: ServerTls::default(),
            mode: None,
            hubs: 1,
            hub: HubConfig::default(),
            users: Passwords::default(),
            anonymous: None,
            flush_max: Duration::from_secs(2),
            store: None,
            quarantines: false,
            queue_bytes_max: None,
        }
    }
}

impl Builder {
    /// Listens at a URL such as `tcp://127.0.0.1:1883` or `unix:/run/postrider.sock`; may be called several times. With TLS
    /// (see [`Builder::tls`]) at `mqtts://0.0.0.0:8883`, for WebSocket at `ws://127.0.0.1:8080/mqtt`, for both at `wss://`.
    /// Port 0 takes a free port; [`Broker::endpoints`] tells which. What is acknowledged there relies on [`Builder::mode`],
    /// unless the URL says otherwise: `?mode=durable`, `?mode=process` or `?mode=memory` at its end.
    pub fn listen(mut self, url: impl Into<String>) -> Self {
        self.listen.push((url.into(), None));
        self
    }

    /// As [`Builder::listen`], with a mode of its own.
    pub fn listen_with(mut self, url: impl Into<String>, mode: Mode) -> Self {
        self.listen.push((url.into(), Some(mode)));
        self
    }

    /// The certificate for listeners with TLS, and whose certificates their clients must have. Files are read at the start.
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = tls;
        self
    }

    /// What an acknowledgement promises, where there is a store: that its message is synced to the disk and survives a
    /// power cut ([`Mode::Durable`], the default), or that it is handed to the operating system and survives the death
    /// of the broker ([`Mode::Process`]), or nothing ([`Mode::Memory`]: sessions that begin there are not stored; retained
    /// messages are, a little later). What waits for a client's QoS 2 messages follows the listener that it uses.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Number of hubs, each with a thread of its own, from 1 to 1024. Default 1.
    pub fn hubs(mut self, hubs: u16) -> Self {
        self.hubs = hubs;
        self
    }

    /// Longest keep alive in seconds. A client that asks for a longer one, or for none (0), gets this; in 5.0 it is told.
    /// Default: any, also none.
    pub fn keep_alive_s_max(mut self, seconds: u16) -> Self {
        self.hub.keep_alive_s_max = Some(seconds);
        self
    }

    /// Most QoS 1 and 2 messages that a client may have open towards the broker, 1 to 65,535: announced in 5.0; in 3.x,
    /// where it cannot be announced, one more is not read meanwhile. Default: 1,024 in 5.0, no limit in 3.x.
    pub fn receive_maximum(mut self, messages: u16) -> Self {
        self.hub.link.receive_maximum = messages;
        self.hub.link.receive_maximum_unannounced = Some(messages);
        self
    }

    /// Largest packet that is accepted, in bytes, 64 to 268,435,460. Default: the largest there can be.
    pub fn packet_size_max(mut self, bytes: u32) -> Self {
        self.hub.link.packet_size_max = bytes;
        self
    }

    /// Topic aliases that a 5.0 client may use towards the broker. Default 10.
    pub fn topic_alias_max(mut self, aliases: u16) -> Self {
        self.hub.link.topic_alias_max = aliases;
        self
    }

    /// A payload longer than this many bytes goes to a spool instead of memory. Default 1 MiB.
    pub fn spool_above(mut self, bytes: u32) -> Self {
        self.hub.link.spool_above = bytes;
        self
    }

    /// Lets a user in with this password; may be called several times. From then on a CONNECT without user name is
    /// refused, see [`Builder::anonymous`].
    pub fn user(mut self, name: impl Into<String>, password: impl Into<Vec<u8>>) -> Self {
        self.users.0.insert(name.into(), password.into());
        self
    }

    /// Whether a CONNECT without user name is let in. Default: only if there are no users.
    pub fn anonymous(mut self, is_allowed: bool) -> Self {
        self.anonymous = Some(is_allowed);
        self
    }

    /// Connections at once per hub; one more is refused as busy. Default 1,000,000.
    pub fn links_max(mut self, links: u32) -> Self {
        self.hub.links_max = links;
        self
    }

    /// Longest session expiry in seconds; `u32::MAX`, the default, sets no limit.
    pub fn session_expiry_s_max(mut self, seconds: u32) -> Self {
        self.hub.session_expiry_s_max = seconds;
        self
    }

    /// Sessions without a connection per hub; when there are more, the one that would expire first goes. Default 1,000,000.
    pub fn sessions_offline_max(mut self, sessions: u32) -> Self {
        self.hub.sessions_offline_max = sessions;
        self
    }

    /// Most messages queued and in flight for one session. Default 100,000.
    pub fn queue_messages_max(mut self, messages: u32) -> Self {
        self.hub.session.queue_messages_max = messages;
        self
    }

    /// Most bytes queued and in flight for one session. Default 64 MiB, or 1 GiB with a store, where a long queue is
    /// on the disk.
    pub fn queue_bytes_max(mut self, bytes: u64) -> Self {
        self.queue_bytes_max = Some(bytes);
        self
    }

    /// Subscriptions of one session; one more is refused. Default 100,000.
    pub fn subscriptions_max(mut self, subscriptions: u32) -> Self {
        self.hub.subscriptions_max = subscriptions;
        self
    }

    /// Retained messages per hub; one more is not kept. Default 10,000,000.
    pub fn retained_max(mut self, messages: u32) -> Self {
        self.hub.retained_max = messages;
        self
    }

    /// With a store: bytes of retained messages that are in memory too; the others are read back when a subscription
    /// wants them. Topics are always in memory, in each hub. Default 64 MiB.
    pub fn retained_resident_bytes_max(mut self, bytes: u64) -> Self {
        self.hub.retained_resident_bytes_max = bytes;
        self
    }

    /// How long a stop waits for clients to take what is for them, DISCONNECT last. Default 2 s.
    pub fn flush_max(mut self, time: Duration) -> Self {
        self.flush_max = time;
        self
    }

    /// Keeps sessions, their messages and retained messages in this folder, which is made if it is not there. Nothing is
    /// acknowledged before it is stored. Another number of hubs may open it. Default: none, all is gone with the broker.
    pub fn store(mut self, folder: impl Into<PathBuf>) -> Self {
        self.store = Some(folder.into());
        self
    }

    /// Whether a corrupt store is set aside, its folder renamed to `NAME.corrupt-1` or so, and an empty one begun.
    /// Default: no, the broker does not start then.
    pub fn quarantine(mut self, is_allowed: bool) -> Self {
        self.quarantines = is_allowed;
        self
    }

    /// Starts the broker: its threads run and its listeners listen when this returns. Needs no async runtime.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(self) -> Result<Broker, StartError> {
        Broker::start(self.plan()?)
    }

    fn plan(self) -> Result<Plan, StartError> {
        let link = &self.hub.link;
        check("the number of hubs", self.hubs.into(), 1, HUBS_MAX, "1 to 1024")?;
        let receive_maximum = u64::from(link.receive_maximum);
        check("the receive maximum", receive_maximum, 1, u64::from(u16::MAX), "1 to 65535")?;
        let packet_size_max = u64::from(link.packet_size_max);
        let top = u64::from(PACKET_SIZE_MAX);
        check("the packet size", packet_size_max, PACKET_SIZE_LEAST, top, "64 to 268435460 bytes")?;
        let mode = self.mode.unwrap_or_default();
        let asked = self.listen.iter().map(|(url, own)| place(url, own.or(self.mode)));
        let listen = asked.collect::<Result<Vec<_>, _>>()?;
        let strongest = listen.iter().filter_map(|(_, mode)| *mode).chain(self.mode).max();
        if self.store.is_none()
            && let Some(mode) = strongest.filter(|mode| *mode > Mode::Memory)
        {
            return Err(StartError::ModeWithoutStore(mode_name(mode)));
        }
        let listen = listen.into_iter().map(|(place, own)| (place, own.unwrap_or(mode))).collect();
        let is_anonymous_allowed = self.anonymous.unwrap_or(self.users.0.is_empty());
        let users = Users::new(self.users.0, is_anonymous_allowed);
        let mut session = self.hub.session;
        let stored = SessionConfig::stored().queue_bytes_max;
        let default = if self.store.is_some() { stored } else { session.queue_bytes_max };
        session.queue_bytes_max = self.queue_bytes_max.unwrap_or(default);
        let hub = HubConfig {
            session,
            hubs: self.hubs,
            seed: RandomState::new().hash_one("postrider"),
            authentication: match users.is_open() {
                true => Authentication::Anonymous,
                false => Authentication::Ask,
            },
            is_durable: self.store.is_some(),
            // Each hub has all of them.
            retained_resident_bytes_max: self.hub.retained_resident_bytes_max
                / u64::from(self.hubs),
            ..self.hub
        };
        let hubs = (0..self.hubs).map(|index| HubConfig { index, ..hub.clone() }).collect();
        let Self { flush_max, store, quarantines, tls, .. } = self;
        Ok(Plan { listen, tls, mode, hubs, users, flush_max, store, quarantines })
    }
}

/// What a user can do about a place that is taken.
fn another_place(endpoint: &Endpoint) -> &'static str {
    if matches!(endpoint, Endpoint::Unix(_)) {
        "stop that, remove what is there if it is no socket, or choose another path"
    } else {
        "stop that, or choose another port (port 0 takes a free one)"
    }
}

/// What a user can do about a store that failed while it was open.
fn way_back(error: &StoreError) -> &'static str {
    if matches!(error, StoreError::Full { .. }) {
        "; the broker has ended, and nothing that it acknowledged is lost: make room and start it again"
    } else {
        "; the broker has ended, and nothing that it acknowledged is lost: see to the disk and start it again"
    }
}

/// What a user can do about a store that does not open.
fn way_out(error: &StoreError) -> &'static str {
    match error {
        StoreError::Corrupt { .. } => {
            "; it can be set aside, and an empty one begun, by starting with --quarantine (in a program: \
             Builder::quarantine)"
        }
        StoreError::Full { .. } => "; nothing is lost: make room and start again",
        StoreError::Locked(_) => "; stop that one, or choose another folder",
        StoreError::Io { .. } => "; look at the disk and its permissions, then start again",
        StoreError::Newer { .. } => "; use a newer Postrider, or another folder",
        StoreError::NotAStore(_) => "; choose an empty folder, or one that a broker has used",
        StoreError::Closed(_)
        | StoreError::NoSpool(_)
        | StoreError::SpoolLimit(_)
        | StoreError::SpoolRange { .. }
        | _ => "",
    }
}

/// The place in a listener's URL, and its mode: the URL's own, or what was said besides.
fn place(url: &str, mode: Option<Mode>) -> Result<(Endpoint, Option<Mode>), StartError> {
    let Some((place, name)) = url.rsplit_once("?mode=") else { return Ok((endpoint(url)?, mode)) };
    let modes = [Mode::Memory, Mode::Process, Mode::Durable];
    let own = modes.into_iter().find(|mode| mode_name(*mode) == name);
    let own = own.ok_or_else(|| StartError::Mode(name.to_owned()))?;
    Ok((endpoint(place)?, Some(own)))
}

/// How a mode is written in a URL.
fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Memory => "memory",
        Mode::Process => "process",
        Mode::Durable => "durable",
    }
}

fn endpoint(url: &str) -> Result<Endpoint, StartError> {
    let Address { endpoint, credentials } = Address::parse(url)?;
    if credentials.user.is_some() || credentials.password.is_some() {
        return Err(StartError::UrlWithUser);
    }
    Ok(endpoint)
}

fn check(
    name: &'static str,
    value: u64,
    least: u64,
    most: u64,
    range: &'static str,
) -> Result<(), StartError> {
    let is_right = (least..=most).contains(&value);
    if is_right { Ok(()) } else { Err(StartError::Setting { name, value, range }) }
}

/// Hubs of one broker; each has a thread.
const HUBS_MAX: u64 = 1024;
/// Smaller packets leave no room for a CONNECT with a client id.
const PACKET_SIZE_LEAST: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        check(Broker::builder().hubs(0), "the number of hubs is 0; it must be 1 to 1024");
        check(Broker::builder().receive_maximum(0), "the receive maximum is 0");
        check(Broker::builder().packet_size_max(63), "the packet size is 63");
        check(
            Broker::builder().packet_size_max(PACKET_SIZE_MAX + 1),
            "the packet size is 268435461",
        );
        check(Broker::builder().listen("quic://h"), "scheme 'quic' is not offered");
        check(Broker::builder().listen("tcp://ann:hush@h"), "has no user");
    }

    #[test]
    fn users_and_anonymous_decide_who_is_asked() {
        use Authentication::{Anonymous, Ask};
        assert_eq!(authentication(Broker::builder()), Anonymous);
        assert_eq!(authentication(Broker::builder().anonymous(false)), Ask);
        assert_eq!(authentication(Broker::builder().user("ann", "hush")), Ask);
        assert_eq!(authentication(Broker::builder().user("ann", "hush").anonymous(true)), Ask);
    }

    #[test]
    fn debug_output_hides_passwords() {
        let text = format!("{:?}", Broker::builder().user("ann", "hush"));
        assert!(text.contains("ann"), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn a_listener_has_the_mode_of_its_url_or_that_of_all() {
        let builder =
            Broker::builder().store("s").listen("tcp://h:1").listen("unix:/a?mode=memory");
        assert_eq!(modes(builder.clone()), [Mode::Durable, Mode::Memory]);
        let builder = builder.mode(Mode::Process).listen_with("tcp://h:2", Mode::Durable);
        assert_eq!(modes(builder), [Mode::Process, Mode::Memory, Mode::Durable]);
        let bad = Broker::builder().listen("tcp://h?mode=fast");
        check(bad, "mode 'fast' is none of durable");
        check(Broker::builder().mode(Mode::Process), "mode process needs a store");
        let bare = Broker::builder().listen_with("tcp://h", Mode::Durable);
        check(bare, "mode durable needs a store");
        assert_eq!(modes(Broker::builder().listen("tcp://h?mode=memory")), [Mode::Memory]);
    }

    fn modes(builder: Builder) -> Vec<Mode> {
        builder.plan().unwrap().listen.into_iter().map(|(_, mode)| mode).collect()
    }

    fn check(builder: Builder, expected: &str) {
        let text = builder.plan().err().unwrap().to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }

    fn authentication(builder: Builder) -> Authentication {
        builder.plan().unwrap().hubs[0].authentication
    }
}
