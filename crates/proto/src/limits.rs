//! What each side of a link may do: plain facts, so that nobody else asks for the version.

use postrider_wire::{PACKET_SIZE_MAX, QoS};

/// What we announce to the peer and hold it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// Largest packet that we accept, in bytes; announced in 5.0 unless it is `PACKET_SIZE_MAX`.
    pub packet_size_max: u32,
    /// Most QoS 1/2 PUBLISHes that the peer may have open towards us in 5.0, 1 to 65,535. One with more ends its link,
    /// but a server that goes on with a session: it is read on at the pace of our answers.
    pub receive_maximum: u16,
    /// The same in 3.x, where it cannot be announced: one message more is not read while it is reached. `None`: no limit.
    pub receive_maximum_unannounced: Option<u16>,
    /// Topic aliases that the peer may use towards us, 0 to 65,535.
    pub topic_alias_max: u16,
    /// Topic aliases that we use towards the peer at most, whatever it allows.
    pub topic_alias_max_out: u16,
    /// Whether the alias that was used longest ago goes to a new topic once all are given away. A server that sends
    /// one encoding to many clients is better off without.
    pub are_aliases_reused: bool,
    /// A PUBLISH with a longer payload, in bytes, goes to a spool.
    pub spool_above: u32,
    /// Server: milliseconds that a peer has for its CONNECT. Client: for the CONNACK.
    pub handshake_ms: u64,
    /// Client: let `+` and `#` in received topics pass (RabbitMQ).
    pub is_topic_lenient: bool,
    /// Client: let the server begin a re-authentication (AUTH 0x19), which the standard leaves to clients.
    pub is_server_reauthentication_allowed: bool,
    /// Output bytes above which nothing more is taken from the session's queue.
    pub outbox_high_bytes: u64,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            packet_size_max: PACKET_SIZE_MAX,
            receive_maximum: 1024,
            receive_maximum_unannounced: None,
            topic_alias_max: 10,
            topic_alias_max_out: 32,
            are_aliases_reused: false,
            spool_above: 1024 * 1024,
            handshake_ms: 10_000,
            is_topic_lenient: false,
            is_server_reauthentication_allowed: false,
            outbox_high_bytes: 1024 * 1024,
        }
    }
}

/// What we may do towards the peer, once CONNECT and CONNACK are through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most QoS 1/2 PUBLISHes that may be open towards the peer, 1 to 65,535.
    pub receive_maximum: u16,
    /// Largest packet the peer accepts, in bytes.
    pub packet_size_max: u32,
    /// Topic aliases we may use towards the peer (already the smaller of both sides' limits).
    pub topic_alias_max: u16,
    /// Highest QoS of a PUBLISH to the peer.
    pub qos_max: QoS,
    /// Keep alive in force, in seconds; 0 is off.
    pub keep_alive_s: u16,
    /// Session expiry in force, in seconds after the link ends; 0 ends with the link, `u32::MAX` never. In 3.x one of these two.
    pub session_expiry_s: u32,
    /// Whether RETAIN=1 may be sent.
    pub has_retain: bool,
    /// Whether filters may have wildcards.
    pub has_wildcards: bool,
    /// Whether subscription identifiers may be used.
    pub has_subscription_ids: bool,
    /// Whether shared subscriptions may be used.
    pub has_shared: bool,
    /// Whether properties and reason codes travel at all (5.0).
    pub has_properties: bool,
    /// Whether a server may say DISCONNECT (5.0).
    pub has_server_disconnect: bool,
    /// Whether reason strings and user properties may be sent on acknowledgements (Request Problem Information).
    pub has_problem_information: bool,
}
