//! Decides when, where and with which version a client connects next. It dials nothing.
//!
//! ```text
//! start --> Plan --> (attempt) --open--> (link lives) --ends--> wait, same server first
//!                        |                                        |
//!                        |--ends--> 3.1.1 at once? --no--> wait, next server --> Plan
//!                        `--sent on--> the server that was named, at once
//! ```

use alloc::{string::String, vec, vec::Vec};

use postrider_wire::{ReasonCode, Version};

use crate::{LinkEnd, Time};

/// How a client stays connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconnectConfig {
    /// Servers in order of preference, as URLs; opaque here.
    pub servers: Vec<String>,
    /// Fixed version, or `None` for 5.0 with fallback to 3.1.1.
    pub version: Option<Version>,
    /// First wait, in milliseconds.
    pub backoff_ms_min: u64,
    /// Longest wait, in milliseconds.
    pub backoff_ms_max: u64,
    /// A link that lived this many milliseconds resets the backoff.
    pub stable_ms: u64,
    /// Milliseconds that a wait has at least after a reason that asks to come [`Again::Later`], before the jitter.
    pub later_ms: u64,
    /// What to do after a reason code, where it is not [`Again::by_default`].
    pub rules: Vec<(ReasonCode, Again)>,
    /// What to do after a certificate was refused. [`Again::Never`] leaves that server out until some server took us, and
    /// gives up when none is left.
    pub certificates: Again,
    /// Attempts in a row before giving up; `None` for ever.
    pub attempts_max: Option<u32>,
    /// Whether to connect again at all after the first success.
    pub is_enabled: bool,
    /// Whether to go on if the first attempt fails. If not, each server is tried once, without waiting, until one takes
    /// us, and then it is over: whoever waits for the first connection learns why it failed.
    pub is_first_retried: bool,
}

impl Default for ReconnectConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            version: None,
            backoff_ms_min: 250,
            backoff_ms_max: 30_000,
            stable_ms: 10_000,
            later_ms: 5_000,
            rules: Vec::new(),
            certificates: Again::Never,
            attempts_max: None,
            is_enabled: true,
            is_first_retried: false,
        }
    }
}

/// Whether and when to connect again after a reason code of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Again {
    /// Not before the program asks for it.
    Never,
    /// After the usual wait, which may be short.
    Soon,
    /// Not before [`ReconnectConfig::later_ms`]: the server has too much to do, or wants us elsewhere.
    Later,
}

impl Again {
    /// What a reason code asks for.
    #[must_use]
    pub fn by_default(reason: ReasonCode) -> Self {
        // 0x85 is not final: AWS refuses a client id for a second after its last CONNECT.
        match reason.byte() {
            // Credentials, authorization, ban, authentication method, taken over.
            0x86 | 0x87 | 0x8A | 0x8C | 0x8E => Self::Never,
            // Unavailable, busy, quota, use another server, moved, rate.
            0x88 | 0x89 | 0x97 | 0x9C | 0x9D | 0x9F => Self::Later,
            _ => Self::Soon,
        }
    }
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Number of the attempt since the last success, from 1.
    pub attempt: u32,
    /// Where to.
    pub server: String,
    /// What a server named in place of that (a Server Reference, 5.0): host, or host and port.
    pub detour: Option<String>,
    /// Which version to speak.
    pub version: Version,
    /// Whether packets of this version carry properties (5.0).
    pub has_properties: bool,
}

/// What to do after an attempt or a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try this at that time (exponential backoff with full jitter).
    Retry(Plan, Time),
    /// Do not try again by yourself; the reason is final.
    GiveUp,
}

/// The state of reconnecting.
#[derive(Debug)]
pub struct Reconnect {
    config: ReconnectConfig,
    jitter: Jitter,
    /// By server: whether it was found to speak 3.1.1 only.
    is_old: Vec<bool>,
    /// By server: whether a certificate was refused there, or where it sent us, since a link opened anywhere.
    is_barred: Vec<bool>,
    /// Index of the server of the current attempt or link.
    server: usize,
    /// Attempts since the last success, the current one included.
    attempt: u32,
    /// The version of the current attempt or link.
    version: Version,
    /// Doublings of the wait so far.
    doublings: u32,
    has_ever_opened: bool,
    /// When the current link opened.
    opened: Option<Time>,
    /// Where a server has sent us.
    detour: Option<Detour>,
    /// Times that we were sent on without rest.
    hops: u32,
}

/// Where a server has sent us.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Detour {
    reference: String,
    /// Whether the place is not only for this time.
    is_permanent: bool,
}

impl Reconnect {
    /// Starts with the first server; `seed` feeds the jitter.
    #[must_use]
    pub fn new(config: ReconnectConfig, seed: u64) -> Self {
        let is_old = vec![false; config.servers.len()];
        let is_barred = is_old.clone();
        let version = config.version.unwrap_or(Version::V5);
        Self {
            config,
            jitter: Jitter(seed),
            is_old,
            is_barred,
            server: 0,
            attempt: 0,
            version,
            doublings: 0,
            has_ever_opened: false,
            opened: None,
            detour: None,
            hops: 0,
        }
    }

    /// The first plan, for now.
    pub fn start(&mut self) -> Plan {
        self.server = 0;
        self.attempt = 1;
        self.doublings = 0;
        self.plan()
    }

    /// The handshake succeeded. Only this makes a fallback to 3.1.1 lasting.
    pub fn handle_open(&mut self, now: Time) {
        self.attempt = 0;
        self.has_ever_opened = true;
        self.opened = Some(now);
        self.is_barred.fill(false);
        // What another server speaks says nothing about ours.
        let own = self.is_old.get_mut(self.server).filter(|_| self.detour.is_none());
        if let Some(is_old) = own {
            *is_old = self.config.version.is_none() && self.version != Version::V5;
        }
    }

    /// An attempt or a link ended. `had_connack` says whether a CONNACK was seen on this link.
    ///
    /// Whether it goes on is said by the rules of the configuration, else by [`Again::by_default`]; never if the server
    /// could not be trusted. A refused certificate says nothing about other servers, so they are tried. 5.0 falls back to
    /// 3.1.1 at once on 0x84 (3.x return code 1) or a close without CONNACK, unless the version is fixed. Where no
    /// stream could be opened nothing is learned about the version.
    ///
    /// A server that names another one (0x9C, 0x9D) sends us there at once, [`HOPS_MAX`] times in a row at most. Where it
    /// was for a time only, our own server is next after that link; where it was for good, ours are when that one fails.
    /// Spec: v5 section 4.11.
    pub fn handle_end(&mut self, end: &LinkEnd, had_connack: bool, now: Time) -> Verdict {
        let again = self.again(end);
        if matches!(end, LinkEnd::Certificate(_)) && again == Again::Never {
            self.bar();
        } else if again == Again::Never {
            return Verdict::GiveUp;
        }
        if let Some(plan) = self.sent_on(end, now) {
            return Verdict::Retry(plan, now);
        }
        if self.may_be_old(end, had_connack) {
            self.version = Version::V311;
            return Verdict::Retry(self.planned(), now);
        }
        let is_first = !self.has_ever_opened && !self.config.is_first_retried;
        if let Some(opened) = self.opened.take() {
            if !self.config.is_enabled {
                return Verdict::GiveUp;
            }
            if now.ms_since(opened) >= self.config.stable_ms {
                self.doublings = 0;
            }
            self.detour = self.detour.take().filter(|detour| detour.is_permanent);
            // The session lives where the link was, so that server is tried first, unless it sends us away.
            if reason_of(end).is_some_and(is_elsewhere) {
                self.detour = None;
                self.turn_to_next();
            }
        } else if self.detour.take().is_none() {
            self.turn_to_next();
        }
        if self.is_barred(self.server) {
            self.turn_to_next();
        }
        let tried_all = self.attempt as usize >= self.config.servers.len();
        let is_last = self.config.attempts_max.is_some_and(|max| self.attempt >= max);
        if is_last || (is_first && tried_all) || self.is_barred(self.server) {
            return Verdict::GiveUp;
        }
        self.attempt = self.attempt.saturating_add(1);
        self.hops = 0;
        let at = match again {
            _ if is_first => now,
            Again::Later => now.plus_ms(self.config.later_ms).plus_ms(self.wait_ms()),
            Again::Soon | Again::Never => now.plus_ms(self.wait_ms()),
        };
        Verdict::Retry(self.plan(), at)
    }

    /// The server is not tried again while none has taken us.
    fn bar(&mut self) {
        if let Some(is_barred) = self.is_barred.get_mut(self.server) {
            *is_barred = true;
        }
    }

    fn is_barred(&self, server: usize) -> bool {
        self.is_barred.get(server).copied().unwrap_or(false)
    }

    /// Goes to the next server that is not barred, and stays if there is none.
    fn turn_to_next(&mut self) {
        let count = self.config.servers.len().max(1);
        let mut others = (1..=count).map(|step| (self.server + step) % count);
        self.server = others.find(|server| !self.is_barred(*server)).unwrap_or(self.server);
    }

    /// Whether and when to connect again after this end.
    fn again(&self, end: &LinkEnd) -> Again {
        if matches!(end, LinkEnd::Untrusted(_)) {
            return Again::Never;
        }
        if matches!(end, LinkEnd::Certificate(_)) {
            return self.config.certificates;
        }
        let Some(reason) = reason_of(end) else { return Again::Soon };
        let rule = self.config.rules.iter().rev().find(|(of, _)| *of == reason);
        rule.map_or_else(|| Again::by_default(reason), |(_, again)| *again)
    }

    /// The version of the current or last plan, as an opaque key, and whether it carries properties.
    #[must_use]
    pub fn version(&self) -> (Version, bool) {
        (self.version, self.version.has_properties())
    }

    /// The plan to go where the server has sent us, if it has and we go.
    fn sent_on(&mut self, end: &LinkEnd, now: Time) -> Option<Plan> {
        let detour = Detour::of(end)?;
        if let Some(opened) = self.opened {
            if !self.config.is_enabled {
                return None;
            }
            if now.ms_since(opened) >= self.config.stable_ms {
                self.hops = 0;
            }
        }
        if self.hops >= HOPS_MAX {
            return None;
        }
        self.hops += 1;
        self.opened = None;
        self.attempt = self.attempt.max(1);
        self.detour = Some(detour);
        Some(self.plan())
    }

    /// Whether the attempt may have failed because the server does not know 5.0.
    fn may_be_old(&self, end: &LinkEnd, had_connack: bool) -> bool {
        if self.config.version.is_some() || self.version != Version::V5 || self.opened.is_some() {
            return false;
        }
        match end {
            LinkEnd::Refused(connack) => connack.reason == ReasonCode::UnsupportedProtocolVersion,
            LinkEnd::Lost => !had_connack,
            // Some answer in the form of 3.1.1, which is no CONNACK of 5.0. A session after a clean start is, though.
            LinkEnd::PeerFault { statement, .. } => !had_connack && *statement != CLEAN_START,
            LinkEnd::Disconnected(_)
            | LinkEnd::Ours(_)
            | LinkEnd::Unreachable(_)
            | LinkEnd::Untrusted(_)
            | LinkEnd::Certificate(_) => false,
        }
    }

    /// Chooses the version for the current server.
    fn plan(&mut self) -> Plan {
        let is_old = self.is_old.get(self.server).copied().unwrap_or(false);
        self.version = match self.config.version {
            Some(version) => version,
            None if is_old => Version::V311,
            None => Version::V5,
        };
        self.planned()
    }

    fn planned(&self) -> Plan {
        Plan {
            attempt: self.attempt.max(1),
            server: self.config.servers.get(self.server).cloned().unwrap_or_default(),
            detour: self.detour.as_ref().map(|detour| detour.reference.clone()),
            version: self.version,
            has_properties: self.version.has_properties(),
        }
    }

    /// Exponential backoff with full jitter: anything from 0 to the bound, so that the clients of a server that
    /// restarts come back spread evenly.
    fn wait_ms(&mut self) -> u64 {
        let factor = 1_u64.checked_shl(self.doublings).unwrap_or(u64::MAX);
        let bound = self.config.backoff_ms_min.saturating_mul(factor);
        self.doublings = self.doublings.saturating_add(1);
        self.jitter.up_to(bound.min(self.config.backoff_ms_max))
    }
}

impl Detour {
    /// Of the servers that are named the first is taken.
    fn of(end: &LinkEnd) -> Option<Self> {
        let properties = match end {
            LinkEnd::Refused(connack) => &connack.properties,
            LinkEnd::Disconnected(disconnect) => &disconnect.properties,
            LinkEnd::PeerFault { .. }
            | LinkEnd::Ours(_)
            | LinkEnd::Lost
            | LinkEnd::Unreachable(_)
            | LinkEnd::Untrusted(_)
            | LinkEnd::Certificate(_) => return None,
        };
        let reason = reason_of(end)?;
        let is_permanent = reason == ReasonCode::ServerMoved;
        let reference = properties.server_reference()?.as_str().split(' ').next()?;
        let is_said = is_permanent || reason == ReasonCode::UseAnotherServer;
        (is_said && !reference.is_empty())
            .then(|| Self { reference: String::from(reference), is_permanent })
    }
}

/// Times that servers may send us on in a row: more are two that point at each other.
pub const HOPS_MAX: u32 = 3;
/// The statement that CONNACK breaks with a session after a clean start.
const CLEAN_START: &str = "MQTT-3.2.2-2";

/// The code that an end carries.
fn reason_of(end: &LinkEnd) -> Option<ReasonCode> {
    match end {
        LinkEnd::Refused(connack) => Some(connack.reason),
        LinkEnd::Disconnected(disconnect) => Some(disconnect.reason),
        LinkEnd::PeerFault { .. }
        | LinkEnd::Ours(_)
        | LinkEnd::Lost
        | LinkEnd::Unreachable(_)
        | LinkEnd::Untrusted(_)
        | LinkEnd::Certificate(_) => None,
    }
}

/// Whether a server sends its clients to another one.
fn is_elsewhere(reason: ReasonCode) -> bool {
    [ReasonCode::UseAnotherServer, ReasonCode::ServerMoved].contains(&reason)
}

/// A stream of pseudo-random numbers (`SplitMix64`): the same seed gives the same waits.
#[derive(Clone, Copy, Debug)]
struct Jitter(u64);

impl Jitter {
    /// A number from 0 to `bound`.
    fn up_to(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // The high half of the product is even enough for waits, and needs no division.
        let scaled = (u128::from(mixed) * (u128::from(bound) + 1)) >> 64;
        u64::try_from(scaled).unwrap_or(bound)
    }
}
