//! What a client answers: errors at once, events later, and outputs for its driver.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;
use postrider_wire::{
    Ack, ConnAck, Filter, PacketId, Properties, ReasonCode, SubAck, Topic, UnsubAck,
};

use crate::{
    Arrived, Limits, LinkEnd, PageRequest, Parked, Plan, QueueFull, Record, RecordError,
    SpoolOutput, Time,
};

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
        /// The topic.
        topic: Topic,
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
    /// The server does not offer this: retain, a QoS, a kind of subscription; noticed when it was about to be sent.
    NotOffered(&'static str),
    /// Dropped from a full queue.
    Dropped,
    /// The server lost the session with the exchange open, and what may arrive twice is not sent again.
    SessionLost,
    /// A younger message took its place in the queue.
    Superseded,
    /// The store gave something back that is not the message. What is there stays there.
    Unreadable,
    /// The server closed the link right after it was sent, so many times.
    Parked(u32),
    /// The session ended first.
    Over,
}

/// What became of our open exchanges when the server had lost the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restarted {
    /// How many messages are sent again as new ones.
    pub resent: u32,
    /// Those of them, by number, that were at QoS 2 and may arrive twice.
    pub may_be_double: Vec<u64>,
    /// Messages at QoS 2, by number, that the server had taken over with its PUBREC: done.
    pub completed: Vec<u64>,
    /// Messages at QoS 2, by number, that failed, because they might have arrived twice.
    pub failed: Vec<u64>,
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
        /// Messages in flight that are sent again, whether the server had the session or not.
        resent: u32,
        /// What became of exchanges that were open, if the server had no session and there were any.
        restarted: Option<Box<Restarted>>,
    },
    /// The link ended, or an attempt failed.
    Disconnected {
        /// Why.
        end: LinkEnd,
        /// When the next attempt is made; `None` if none is.
        retry_at: Option<Time>,
    },
    /// What was subscribed again after `Connected` is answered; once for each connection.
    Settled {
        /// The filters, with the server's answers.
        resubscriptions: Vec<(Filter, ReasonCode)>,
    },
    /// The server's turn in enhanced authentication is over: answer with [`super::Client::answer_challenge`] or
    /// [`super::Client::reject_server`]. Until then nothing else of the server is looked at.
    Challenge {
        /// Its Authentication Data.
        data: Option<Bytes>,
        /// All properties of its AUTH.
        properties: Properties,
    },
    /// The server wants us to authenticate again (beyond the standard, see
    /// [`crate::LinkConfig::is_server_reauthentication_allowed`]): answer with [`super::Client::answer_challenge`] or
    /// [`super::Client::reject_server`].
    ReauthenticationWanted,
    /// The server says that authentication succeeded: answer with [`super::Client::confirm_server`] or
    /// [`super::Client::reject_server`].
    Authenticated {
        /// Its Authentication Data.
        data: Option<Bytes>,
        /// All properties of its CONNACK or AUTH.
        properties: Properties,
    },
    /// A message of ours is not sent again, because the server closed the link at it each time. Its end is told by
    /// [`Event::Published`].
    Parked(Parked),
    /// A message arrived and is ours now (its acknowledgement is on its way).
    Message(Arrived),
    /// A message of QoS 1 or 2 arrived that the program acknowledges itself. Its record is stored, so that it keeps its
    /// number. Only with [`super::ClientConfig::is_manual`]; QoS 0 still comes as `Message`.
    Entrusted {
        /// The message.
        arrived: Arrived,
        /// Names it in [`super::Client::acknowledge`]; from 1, never reused.
        number: u64,
        /// The program may have been told of it before, under the same number, and not have acknowledged it.
        is_redelivery: bool,
    },
    /// The program's acknowledgement of this number is stored, with all that belongs to it.
    Acknowledged(u64),
    /// A publish of ours at QoS 1 or 2 is finished: the whole exchange, or why not.
    Published {
        /// Message number.
        number: u64,
        /// The last acknowledgement, or why not.
        result: Result<Ack, Failure>,
        /// Properties of the PUBREC that came before, if there was room for them.
        received: Properties,
        /// A QoS 2 message was acknowledged as QoS 1.
        is_downgraded: bool,
    },
    /// The server said something with a PUBREL, the end of a QoS 2 message to us.
    Released {
        /// The identifier under which it came.
        packet_id: PacketId,
        /// The number of [`Event::Entrusted`], if this process has acknowledged it, with its first PUBREL.
        number: Option<u64>,
        /// Success, or that it does not know the message.
        reason: ReasonCode,
        /// Reason string and user properties.
        properties: Properties,
    },
    /// A subscribe is answered: one reason per filter.
    Subscribed(OperationId, Result<SubAck, Failure>),
    /// An unsubscribe is answered (3.x: no reasons).
    Unsubscribed(OperationId, Result<UnsubAck, Failure>),
    /// After the server had lost the session a filter could not be subscribed again; it is forgotten.
    SubscriptionLost {
        /// The filter.
        filter: Filter,
        /// Why.
        reason: ReasonCode,
    },
    /// A QoS 2 exchange was open when the server lost the session; it was sent again as new and may arrive twice.
    MayBeDouble(u64),
    /// The store gave something back that is no message of the queue, or lacks some.
    Unreadable(RecordError),
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
    /// There is output: write [`super::Client::chunks`], then call [`super::Client::consume`]. Once per drain.
    Transmit,
    /// Flush what is left and close the stream.
    Hangup,
    /// Store this record; call `handle_stored` once it and all before it are durable.
    Store(u64, Record),
    /// Store these records as one: all of them survive a crash, or none. Else as `Store`.
    StoreBatch(u64, Vec<Record>),
    /// Read these rows, and call `handle_page`, now or later. All records up to here must be with the store, synced or
    /// not. No other page is asked for before the answer.
    Page(PageRequest),
    /// Append to or drop a spool.
    Spool(SpoolOutput),
    /// Tell the program.
    Event(Event),
    /// Nothing more now; call `handle_time` at this time at the latest.
    Wait(Option<Time>),
}
