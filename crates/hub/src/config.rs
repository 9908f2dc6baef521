//! What a hub is told before it starts.

use postrider_proto::{LinkConfig, SessionConfig};

use crate::hash::KeyedHash;

/// Who decides about CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Everybody may come in.
    Anonymous,
    /// The shell is asked with [`crate::Output::Ask`] for each CONNECT.
    Ask,
}

/// Limits and identity of a hub.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Which hub this is, from 0.
    pub index: u16,
    /// How many hubs there are, from 1.
    pub hubs: u16,
    /// Seeds hashing, the home of client ids (the same in all hubs) and assigned client ids.
    pub seed: u64,
    /// Limits of each link.
    pub link: LinkConfig,
    /// Bounds of each session.
    pub session: SessionConfig,
    /// Who decides about CONNECT.
    pub authentication: Authentication,
    /// Longest keep alive in seconds; a longer one, or none, is replaced (announced in 5.0). `None`: any, also 0.
    pub keep_alive_s_max: Option<u16>,
    /// Longest session expiry in seconds; `u32::MAX` for no limit.
    pub session_expiry_s_max: u32,
    /// Whether records are handed to a store.
    pub is_durable: bool,
    /// Links at once; one more is refused with 0x89 Server busy.
    pub links_max: u32,
    /// Sessions without a link; when full the one that would expire first goes.
    pub sessions_offline_max: u32,
    /// Subscriptions of one session; one more is refused with 0x97 in SUBACK.
    pub subscriptions_max: u32,
    /// Retained messages; one more is not kept.
    pub retained_max: u32,
    /// Bytes of retained messages.
    pub retained_bytes_max: u64,
    /// With a store: bytes of retained messages that are in memory too; what goes beyond is read back when a
    /// subscription wants it. Topics are always in memory.
    pub retained_resident_bytes_max: u64,
    /// Bytes in spools of large payloads.
    pub spool_bytes_max: u64,
    /// With a store: bytes of a payload from which on it may be stored once for all sessions that are away. Each is a
    /// file of its own.
    pub shared_payload_min: u32,
    /// Bytes that must be saved by that.
    pub shared_bytes_min: u64,
    /// Milliseconds for which publishers are paused at most because a subscriber reads slowly.
    pub stall_ms: u64,
    /// Deliveries in one turn before other links get theirs.
    pub turn_deliveries: u32,
}

impl HubConfig {
    /// Whether the session of this client id lives in this hub.
    #[must_use]
    pub fn is_home(&self, client_id: &[u8]) -> bool {
        self.hubs <= 1 || KeyedHash::new(self.seed).home(client_id, self.hubs) == self.index
    }
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            index: 0,
            hubs: 1,
            seed: 0,
            link: LinkConfig::default(),
            session: SessionConfig::default(),
            authentication: Authentication::Anonymous,
            keep_alive_s_max: None,
            session_expiry_s_max: u32::MAX,
            is_durable: false,
            links_max: 1_000_000,
            sessions_offline_max: 1_000_000,
            subscriptions_max: 100_000,
            retained_max: 10_000_000,
            retained_bytes_max: 4 * 1024 * 1024 * 1024,
            retained_resident_bytes_max: 64 * 1024 * 1024,
            spool_bytes_max: 4 * 1024 * 1024 * 1024,
            shared_payload_min: 4 * 1024,
            shared_bytes_min: 1024 * 1024,
            stall_ms: 5_000,
            turn_deliveries: 1_000,
        }
    }
}
