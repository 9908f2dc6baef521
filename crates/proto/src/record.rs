//! Durable facts, and the journal that hands them to the store.

use alloc::{sync::Arc, vec::Vec};

use bytes::Bytes;
use postrider_wire::{ClientId, Filter, PacketId, Publish, SubscribeOptions, Topic};

use crate::{Delivery, Message, Time};

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
    /// Message numbers below this one may have been given out.
    Numbers {
        /// The first number that certainly was not.
        reserved: u64,
    },
    /// A QoS 2 PUBLISH with this id was taken over; its PUBREL has not come yet.
    Received(PacketId),
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
        /// Orders writers: time, hub, counter.
        stamp: (u64, u16, u64),
    },
    /// The topic has no retained message.
    RetainedGone(Topic),
    /// The session's will, and when it is due; `None` while the link lives.
    Will {
        /// The will as a PUBLISH.
        publish: Publish,
        /// Will Delay Interval in seconds.
        delay_s: u32,
        /// When it is published.
        due: Option<Time>,
    },
    /// The session has no will.
    WillGone,
}

/// How far a flight is, as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlightState {
    /// QoS 1, PUBLISH sent or about to be.
    AwaitAck,
    /// QoS 2, PUBLISH sent or about to be.
    AwaitRec,
    /// QoS 2, PUBREC received.
    AwaitComp,
}

/// Bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// What is wrong.
    pub what: &'static str,
}

impl Record {
    /// The key under which the fact is stored: owner, kind, and what tells it apart. A delete has the key of its put.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        todo!()
    }

    /// The value to store, or `None` to delete the key. First byte is the format version.
    #[must_use]
    pub fn value(&self) -> Option<Vec<u8>> {
        todo!()
    }

    /// Reads a put back from key and value.
    ///
    /// # Errors
    /// [`RecordError`] says what is wrong.
    pub fn decode(_key: &[u8], _value: &Bytes) -> Result<Self, RecordError> {
        todo!()
    }
}

/// What an output waits for: a record to be stored, and a fence of the peer hubs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Sequence number that must be stored; 0 waits for nothing.
    pub stored: u64,
    /// Fence that all peers must have answered; 0 waits for nothing.
    pub fence: u64,
}

/// Numbers records and remembers how far the store is.
///
/// With durability off nothing is handed out and everything counts as stored.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// A journal; `is_on` says whether there is a store behind it.
    #[must_use]
    pub fn new(_is_on: bool) -> Self {
        todo!()
    }

    /// Takes a record; returns its sequence number, or 0 if nothing must be waited for.
    pub fn write(&mut self, _record: Record) -> u64 {
        todo!()
    }

    /// Everything up to `seq` is durable.
    pub fn handle_stored(&mut self, _seq: u64) {
        todo!()
    }

    /// Whether `seq` is durable.
    #[must_use]
    pub fn is_stored(&self, _seq: u64) -> bool {
        todo!()
    }

    /// Highest durable number.
    #[must_use]
    pub fn stored(&self) -> u64 {
        todo!()
    }

    /// The next record for the store, in order.
    pub fn poll_record(&mut self) -> Option<(u64, Record)> {
        todo!()
    }
}
