//! Durable facts, the bytes they are stored as, and the journal that hands them to the store.
//!
//! # Keys
//! Integers are big-endian, so that a scan in the order of keys visits the sessions one by one, and the messages of each
//! in their order. A **put** sets the value of its key. A **delete** removes its key *and every key that begins with it*:
//! no key begins with another, but for the key of a flight, which begins with that of its message, those that say who has
//! a received message, which begin with that of its id, and the bare owner, with which all keys of a session begin.
//!
//! ```text
//! owner 8                            delete: SessionGone, everything of this owner
//! owner 8  'A' id 2                  put: Arrived       delete: ArrivedGone
//! owner 8  'I' id 2                  put: Received, ReceivedFirst  delete: Released, with who has it
//! owner 8  'I' id 2 'G' len 2, filter  put: TakenByGroup
//! owner 8  'I' id 2 'T' hub 2        put: Taken
//! owner 8  'M' number 8              put: Queued        delete: Finished, with its flight
//! owner 8  'M' number 8 'F'          put: Flight        delete: Requeued
//! owner 8  'N'                       put: Numbers
//! owner 8  'P' length 2, key         put: Own           delete: OwnGone
//! owner 8  'R' length 2, topic       put: Retained      delete: RetainedGone
//! owner 8  'S'                       put: Session
//! owner 8  'U' length 2, filter      put: Subscription  delete: SubscriptionGone
//! owner 8  'W'                       put: Will          delete: WillGone
//! ```
//!
//! `'P'` is the space of the program: its keys stand behind their length, so that they meet neither ours nor, as the
//! beginning of another, each other. They stay when the peer loses the session.
//!
//! `'W'` without `'S'` is a will that was published while several hubs of a broker may not have stored the message yet.
//! It has an owner number of its own, and stands there with `Taken` and `TakenByGroup` of the id 1.
//!
//! # Batches
//! Records that say one thing together (the end of `Arrived`, `Received`, and what the program stores with its
//! acknowledgement) leave the [`Journal`] under one number, and the store takes all of them or none.
//!
//! # Values
//! The first byte is the version of the format, 1. `time?` is one byte 0, or 1 and milliseconds since the epoch in 8.
//! `head` is a length in 4 bytes and a whole MQTT 5.0 PUBLISH packet of QoS 0 without payload: topic and properties.
//! `stamp?` is one byte 0, or 1 and a stamp in 8 + 2 + 8.
//! `payload` is a byte 0, a length in 4 bytes and the bytes; or a byte 1, the number of the spool (8) and its length (4).
//!
//! ```text
//! Arrived       state 1 (bits 0 and 1 QoS, bit 2 acknowledged), number 8, digest 8
//! Received      nothing; ReceivedFirst too, which is read back as Received
//! Queued        flags 1 (of the delivery), count 2, subscription identifiers 4 each, message
//! Flight        packet id 2, state 1 (0 AwaitAck, 1 AwaitRec, 2 AwaitComp, 3 GivenUp)
//! Numbers       reserved 8
//! Own           length 4, bytes of the program
//! Retained      stamp 8 + 2 + 8, message
//! Session       client id (length 2, bytes), expiry in seconds 4, detached time?
//! Taken         stamp?, until 8, count 4, owner 8 each
//! TakenByGroup  owner 8
//! Subscription  options 1 (as in SUBSCRIBE), identifier 4 (0: none)
//! Will          flags 1, delay in seconds 4, due time?, head, payload
//! message       flags 1 (as published), arrived 8, expires time?, head, payload
//! flags         bits 0 and 1 QoS, bit 2 RETAIN
//! ```

mod decode;
mod encode;
mod journal;

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use bytes::Bytes;
use postrider_wire::{ClientId, Filter, PacketId, Publish, QoS, SubscribeOptions, Topic};

use crate::{Delivery, Message, Time};

pub(crate) use self::encode::messages_key;
pub use self::journal::{Durability, Gate, Journal, Progress};

/// One durable fact: a put or a delete of one keyed thing; applying it twice is the same as once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Number of the session it belongs to, never reused; 0 for what belongs to none (and for a client's only session).
    pub owner: u64,
    /// The fact.
    pub fact: Fact,
}

/// What can be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The session exists for this client id, with its expiry in seconds, and since when it has had no link.
    Session {
        /// Its client identifier.
        client_id: ClientId,
        /// Session expiry in seconds.
        expiry_s: u32,
        /// When its link ended; `None` while it has one.
        detached: Option<Time>,
    },
    /// The session is gone, with everything recorded under its number.
    SessionGone,
    /// An outgoing QoS 1/2 message is owned by this session under its message number.
    Queued {
        /// Message number.
        number: u64,
        /// The message.
        message: Arc<Message>,
        /// How it is delivered.
        delivery: Delivery,
    },
    /// The message has a packet id and a state.
    Flight {
        /// Message number.
        number: u64,
        /// Its packet id.
        packet_id: PacketId,
        /// How far it is.
        state: FlightState,
    },
    /// The message is a flight no more and waits in the queue again, since the peer lost the session.
    Requeued {
        /// Message number.
        number: u64,
    },
    /// The message is finished (or given up).
    Finished {
        /// Message number.
        number: u64,
    },
    /// Message numbers below this one may have been given out. Where the owner is no session: the same of owner numbers.
    Numbers {
        /// The first number that certainly was not.
        reserved: u64,
    },
    /// A PUBLISH of QoS 1 or 2 arrived and the program has it, but the peer does not know yet that it was taken over:
    /// its PUBACK or PUBREC has certainly not left.
    Arrived {
        /// Its packet id.
        packet_id: PacketId,
        /// QoS 1 or 2.
        qos: QoS,
        /// The number under which the program knows it.
        number: u64,
        /// Tells it from another message under the same packet id: a hash of topic and payload.
        digest: u64,
        /// The program has acknowledged it at QoS 1, or refused it at QoS 2. What it took over at QoS 2 is `Received`.
        is_acknowledged: bool,
    },
    /// The PUBLISH with this id is acknowledged, or the peer lost the session.
    ArrivedGone(PacketId),
    /// A QoS 2 PUBLISH with this id was taken over; its PUBREL has not come yet.
    Received(PacketId),
    /// As [`Fact::Received`], where there is nothing under its key, nor [`Fact::Taken`] under those that begin with it.
    ReceivedFirst(PacketId),
    /// The QoS 2 PUBLISH received under this id goes to several hubs of a broker, each of which stores it apart, and these
    /// have it. The owner is the session of the publisher, so that all of it ends with [`Fact::Released`].
    ///
    /// What a hub records replaces what a hub with its number recorded before, and contains it.
    Taken {
        /// The publisher's packet id.
        packet_id: PacketId,
        /// The hub that records it.
        hub: u16,
        /// Of a retained message: its place among the writers of its topic.
        stamp: Option<Stamp>,
        /// The greatest owner number that was in use at the next restart: sessions above it began later. At first
        /// `u64::MAX`.
        until: u64,
        /// Owners of the sessions that have it.
        sessions: Vec<u64>,
    },
    /// As [`Fact::Taken`]: a member of this shared group has it.
    TakenByGroup {
        /// The publisher's packet id.
        packet_id: PacketId,
        /// Name and filter of the group, as in SUBSCRIBE.
        filter: Filter,
        /// Owner of the member's session.
        session: u64,
    },
    /// The PUBREL came.
    Released(PacketId),
    /// The session has this subscription.
    Subscription {
        /// Its filter.
        filter: Filter,
        /// Its options.
        options: SubscribeOptions,
        /// Its subscription identifier.
        identifier: Option<u32>,
    },
    /// The session has it no more.
    SubscriptionGone(Filter),
    /// The retained message of its topic.
    Retained {
        /// The message.
        message: Arc<Message>,
        /// Orders the writers of its topic.
        stamp: Stamp,
    },
    /// The topic has no retained message.
    RetainedGone(Topic),
    /// The session's will, and when it is due; `None` while the link lives. Where the owner is no session: a published
    /// will, and when that was.
    Will {
        /// The will as a PUBLISH. Behind a pointer, since records are moved often and are seldom wills.
        publish: Box<Publish>,
        /// Will Delay Interval in seconds.
        delay_s: u32,
        /// When it is published.
        due: Option<Time>,
    },
    /// The session has no will.
    WillGone,
    /// What the program stored under a key of its own.
    Own {
        /// The program's key, at most 65,535 bytes.
        key: Bytes,
        /// The program's value.
        value: Bytes,
    },
    /// The program has nothing under this key.
    OwnGone(Bytes),
}

/// Orders the writers of a retained message over all hubs: time in milliseconds, hub, counter. The greater one wins.
pub type Stamp = (u64, u16, u64);

/// How far a flight is, as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlightState {
    /// QoS 1, PUBLISH sent or about to be.
    AwaitAck,
    /// QoS 2, PUBLISH sent or about to be.
    AwaitRec,
    /// QoS 2, PUBREC received.
    AwaitComp,
    /// QoS 2, given up before PUBREC, since its payload could not be read any more. PUBREL is sent all the same, and
    /// PUBCOMP ends it, so that its identifier is free at both ends.
    GivenUp,
}

/// Bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// What is wrong.
    pub what: &'static str,
}

impl core::fmt::Display for RecordError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "stored record: {}", self.what)
    }
}

impl core::error::Error for RecordError {}

/// The version of the format, first byte of every value.
const FORMAT: u8 = 1;

/// Tells the kinds of keys apart.
mod kind {
    pub(super) const ARRIVED: u8 = b'A';
    pub(super) const RECEIVED: u8 = b'I';
    pub(super) const MESSAGE: u8 = b'M';
    pub(super) const FLIGHT: u8 = b'F';
    pub(super) const GROUP: u8 = b'G';
    pub(super) const NUMBERS: u8 = b'N';
    pub(super) const OWN: u8 = b'P';
    pub(super) const RETAINED: u8 = b'R';
    pub(super) const SESSION: u8 = b'S';
    pub(super) const TAKEN: u8 = b'T';
    pub(super) const SUBSCRIPTION: u8 = b'U';
    pub(super) const WILL: u8 = b'W';
}
