//! A client: one link, one session, pending operations, reconnecting.

use alloc::{string::String, vec::Vec};

use bytes::{Bytes, BytesMut};
use postrider_wire::{
    Ack, ClientId, ConnAck, Disconnect, Properties, Publish, ReasonCode, SubAck, SubscribeFilter,
    Text, UnsubAck, Will,
};

use crate::{
    Arrived, Chunk, Limits, LinkConfig, LinkEnd, Plan, QueueFull, ReconnectConfig, Record,
    SessionConfig, SessionStats, SpoolOutput, Time,
};

/// Everything a client needs to know before it starts.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Client identifier.
    pub client_id: ClientId,
    /// User name.
    pub user_name: Option<Text>,
    /// Password.
    pub password: Option<Bytes>,
    /// Whether the first connection of this process starts clean.
    pub clean_start: bool,
    /// Session expiry in seconds (5.0; in 3.x 0 means Clean Session, anything else not).
    pub session_expiry_s: u32,
    /// Keep alive in seconds; 0 turns it off.
    pub keep_alive_s: u16,
    /// Will.
    pub will: Option<Will>,
    /// User properties of CONNECT and the like; limits are added by the link.
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
    /// Whether there is a store.
    pub is_durable: bool,
    /// Most bytes in spools.
    pub spool_bytes_max: u64,
}

/// Names an operation that will be answered by an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub u64);

/// A publish was refused at once; nothing has been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The queue is full.
    QueueFull(QueueFull),
    /// Larger than a packet may be (or than the server accepts), in bytes.
    TooLarge {
        /// Payload length.
        payload: u64,
        /// Largest payload for this topic and these properties.
        payload_max: u64,
    },
    /// The server announced that it does not offer this: `retain`, or a QoS.
    NotOffered(&'static str),
    /// A property that this version or a PUBLISH by a client cannot carry.
    Property(&'static str),
    /// The session is over.
    Over,
}

/// An operation was refused at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationError {
    /// Too many operations are waiting.
    TooMany(u32),
    /// No filter was given.
    Empty,
    /// The server announced that it does not offer this: shared, wildcard subscriptions, subscription identifiers.
    NotOffered(&'static str),
    /// The session is over.
    Over,
}

/// How an operation or a publish ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The server refused it.
    Refused(ReasonCode, Properties),
    /// No answer in time, in milliseconds.
    TimedOut(u64),
    /// Larger than the server accepts, noticed when it was about to be sent.
    TooLarge,
    /// It expired in the queue.
    Expired,
    /// Dropped from a full queue (QoS 0 only).
    Dropped,
    /// The session ended first.
    Over,
}

/// Something the program may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake succeeded.
    Connected {
        /// The CONNACK.
        connack: ConnAck,
        /// What is in force.
        limits: Limits,
        /// Filters subscribed again because the server had no session.
        resubscribed: u32,
    },
    /// The link ended, or an attempt failed.
    Disconnected {
        /// Why.
        end: LinkEnd,
        /// When the next attempt is made; `None` if none is.
        retry_at: Option<Time>,
    },
    /// A message arrived and is ours now (its acknowledgement is on its way).
    Message(Arrived),
    /// A publish of ours is finished: the whole exchange at QoS 1/2, written to the link at QoS 0.
    Published {
        /// Message number.
        number: u64,
        /// The last acknowledgement, or why not.
        result: Result<Ack, Failure>,
        /// A QoS 2 message was acknowledged as QoS 1.
        is_downgraded: bool,
    },
    /// A subscribe is answered: one reason per filter.
    Subscribed(OperationId, Result<SubAck, Failure>),
    /// An unsubscribe is answered (3.x: no reasons).
    Unsubscribed(OperationId, Result<UnsubAck, Failure>),
    /// An exchange was open when the server lost the session; it was sent again as new and may arrive twice.
    MayBeDouble(u64),
    /// A round trip was measured by PINGREQ, in milliseconds.
    Pong(u64),
    /// The session is over for good, by our wish or by a final reason; nothing follows.
    Over(LinkEnd),
}

/// What the driver must do. Drain until `Wait`.
#[derive(Debug)]
pub enum Output {
    /// Open a stream to the plan's server, then call `handle_connected` or `handle_dial_failed`.
    Dial(Plan),
    /// There is output: write [`Client::chunks`], then call [`Client::consume`]. Once per drain.
    Transmit,
    /// Flush what is left and close the stream.
    Hangup,
    /// Store this record; call `handle_stored` once it and all before it are durable.
    Store(u64, Record),
    /// Read `len` bytes at `offset` of what is stored under `key`; call `handle_loaded`.
    Load {
        /// Echoed in the answer.
        ticket: u64,
        /// Key in the store.
        key: Vec<u8>,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u32,
    },
    /// Append to or drop a spool.
    Spool(SpoolOutput),
    /// Tell the program.
    Event(Event),
    /// Nothing more now; call `handle_time` at this time at the latest.
    Wait(Option<Time>),
}

/// The client machine.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
}

impl Client {
    /// A client at rest; `seed` feeds the jitter of reconnects.
    #[must_use]
    pub fn new(config: ClientConfig, _seed: u64, _now: Time) -> Self {
        Self { config }
    }

    /// Starts connecting.
    pub fn connect(&mut self, _now: Time) {
        let _ = &self.config;
        todo!()
    }

    /// The stream of the last `Dial` is open.
    pub fn handle_connected(&mut self, _now: Time) {
        todo!()
    }

    /// The last `Dial` failed; `what` is for people.
    pub fn handle_dial_failed(&mut self, _what: String, _now: Time) {
        todo!()
    }

    /// Bytes arrived. Whole packets are taken from `input`; the rest stays there for the next call.
    pub fn handle_bytes(&mut self, _input: &mut BytesMut, _now: Time) {
        todo!()
    }

    /// The stream ended or failed.
    pub fn handle_closed(&mut self, _now: Time) {
        todo!()
    }

    /// Time passed.
    pub fn handle_time(&mut self, _now: Time) {
        todo!()
    }

    /// Records up to `seq` are durable.
    pub fn handle_stored(&mut self, _seq: u64, _now: Time) {
        todo!()
    }

    /// Answers a `Load`; `None` if the key is not there.
    pub fn handle_loaded(&mut self, _ticket: u64, _bytes: Option<Bytes>, _now: Time) {
        todo!()
    }

    /// Publishes. Returns the message number; at QoS 0 that is 0, unless `wants_event` (then [`Event::Published`] with a
    /// number of its own follows when it was written).
    ///
    /// # Errors
    /// [`PublishError`]; nothing was taken then.
    pub fn publish(
        &mut self,
        _publish: Publish,
        _payload: crate::Payload,
        _now: Time,
    ) -> Result<u64, PublishError> {
        todo!()
    }

    /// Subscribes; remembered for resubscribing until unsubscribed.
    ///
    /// # Errors
    /// [`OperationError`]; nothing was taken then.
    pub fn subscribe(
        &mut self,
        _filters: Vec<SubscribeFilter>,
        _properties: Properties,
        _now: Time,
    ) -> Result<OperationId, OperationError> {
        todo!()
    }

    /// Unsubscribes.
    ///
    /// # Errors
    /// [`OperationError`]; nothing was taken then.
    pub fn unsubscribe(
        &mut self,
        _filters: Vec<postrider_wire::Filter>,
        _properties: Properties,
        _now: Time,
    ) -> Result<OperationId, OperationError> {
        todo!()
    }

    /// The filters this session is subscribed to, in the order they were added.
    pub fn subscriptions(&self) -> impl Iterator<Item = &SubscribeFilter> {
        core::iter::empty()
    }

    /// Says DISCONNECT behind what is already written, and ends the session's life here. Exchanges still open stay open
    /// in the session (`Failure::Over` is reported for them).
    pub fn disconnect(&mut self, _disconnect: Disconnect, _now: Time) {
        todo!()
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Output {
        todo!()
    }

    /// The bytes to write now, in order.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        core::iter::empty()
    }

    /// Says that the first `bytes` of [`Client::chunks`] were written.
    pub fn consume(&mut self, _bytes: u64, _now: Time) {
        todo!()
    }

    /// Limits in force; `None` while not connected.
    #[must_use]
    pub fn limits(&self) -> Option<&Limits> {
        todo!()
    }

    /// Whether everything published so far is finished and no operation waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        todo!()
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        todo!()
    }
}
