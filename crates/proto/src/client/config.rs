//! What a client is told before it starts.

use bytes::Bytes;
use postrider_wire::{ClientId, Properties, Text, Will};

use crate::{LinkConfig, ReconnectConfig, SessionConfig};

/// Everything a client needs to know before it starts.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Client identifier.
    pub client_id: ClientId,
    /// User name.
    pub user_name: Option<Text>,
    /// Password.
    pub password: Option<Bytes>,
    /// Whether the first connection of this process starts clean. In 3.x with a session expiry that takes a connection
    /// of its own, which shows in no event. A session that was recovered from a store is resumed in any case.
    pub clean_start: bool,
    /// Session expiry in seconds (5.0; in 3.x 0 means Clean Session, anything else not).
    pub session_expiry_s: u32,
    /// Keep alive in seconds; 0 turns it off.
    pub keep_alive_s: u16,
    /// Will.
    pub will: Option<Will>,
    /// User properties of CONNECT and the like; limits are added by the link. In 3.x they do not go out, nor do those of
    /// the will.
    pub connect_properties: Properties,
    /// Milliseconds an operation (SUBSCRIBE, UNSUBSCRIBE) may wait for its answer while connected.
    pub operation_timeout_ms: u64,
    /// Most operations waiting at once.
    pub operations_max: u32,
    /// Limits of the link.
    pub link: LinkConfig,
    /// Bounds of the session.
    pub session: SessionConfig,
    /// Reconnecting.
    pub reconnect: ReconnectConfig,
    /// Whether the program acknowledges messages of QoS 1 and 2 itself ([`crate::Client::acknowledge`]); else they are
    /// acknowledged when they arrive.
    pub is_manual: bool,
    /// Whether there is a store.
    pub is_durable: bool,
    /// Most bytes in spools.
    pub spool_bytes_max: u64,
}
