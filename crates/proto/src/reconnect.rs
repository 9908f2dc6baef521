//! Decides when, where and with which version a client connects next. It dials nothing.

use alloc::{string::String, vec::Vec};

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
    /// Attempts in a row before giving up; `None` for ever.
    pub attempts_max: Option<u32>,
    /// Whether to connect again at all after the first success.
    pub is_enabled: bool,
}

impl Default for ReconnectConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            version: None,
            backoff_ms_min: 250,
            backoff_ms_max: 30_000,
            stable_ms: 10_000,
            attempts_max: None,
            is_enabled: true,
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
    /// Which version to speak.
    pub version: Version,
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
}

impl Reconnect {
    /// Starts with the first server; `seed` feeds the jitter.
    #[must_use]
    pub fn new(config: ReconnectConfig, _seed: u64) -> Self {
        Self { config }
    }

    /// The first plan, for now.
    pub fn start(&mut self) -> Plan {
        let _ = &self.config;
        todo!()
    }

    /// The handshake succeeded.
    pub fn handle_open(&mut self, _now: Time) {
        todo!()
    }

    /// An attempt or a link ended. `had_connack` says whether a CONNACK was seen on this link.
    ///
    /// Never again after refused credentials (0x86, 0x87, 0x8C), banned (0x8A) or take-over (0x8E); 5.0 falls back to
    /// 3.1.1 at once on 0x84 (3.x return code 1) or a close without CONNACK.
    pub fn handle_end(&mut self, _end: &LinkEnd, _had_connack: bool, _now: Time) -> Verdict {
        todo!()
    }

    /// Whether a reason code forbids connecting again.
    #[must_use]
    pub fn is_final(_reason: ReasonCode) -> bool {
        todo!()
    }
}
