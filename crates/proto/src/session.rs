//! What outlives a link: flights, queue, identifiers. Client and broker use the same code for both directions.

use postrider_wire::{Ack, AckKind, PacketId, QoS, ReasonCode};

use crate::{Delivery, Envelope, Fact, Gate, Journal, Limits, Link, Time};

/// Bounds of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Most messages queued and in flight.
    pub queue_messages_max: u32,
    /// Most bytes queued and in flight (topics, properties, payloads in memory).
    pub queue_bytes_max: u64,
    /// Most flights at once, whatever the peer allows, 1 to 65,535.
    pub flights_max: u16,
    /// Whether QoS 0 messages are queued while there is no link.
    pub is_qos0_queued_offline: bool,
    /// Whether a QoS 2 PUBLISH may be answered by PUBACK (RabbitMQ): done as QoS 1.
    pub is_puback_for_qos2_allowed: bool,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            queue_messages_max: 100_000,
            queue_bytes_max: 64 * 1024 * 1024,
            flights_max: u16::MAX,
            is_qos0_queued_offline: false,
            is_puback_for_qos2_allowed: true,
        }
    }
}

/// A message was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Message number; 0 at QoS 0.
    pub number: u64,
    /// Sequence number of the record that makes it durable; 0 if none is needed.
    pub seq: u64,
}

/// The queue cannot take the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull {
    /// Messages in the queue.
    pub messages: u32,
    /// Bytes in the queue.
    pub bytes: u64,
}

/// What an acknowledgement did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AckOutcome {
    /// No such flight; ignored, or answered as the standard says.
    Unknown,
    /// The exchange goes on.
    Progress,
    /// The exchange is over.
    Done {
        /// Message number.
        number: u64,
        /// The last acknowledgement (of the peer).
        ack: Ack,
        /// A QoS 2 message was acknowledged as QoS 1.
        is_downgraded: bool,
    },
}

/// Whether a QoS 2 PUBLISH is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Deliver it.
    New,
    /// Its id is known: acknowledge, do not deliver.
    Duplicate,
}

/// The peer broke a rule of the exchange; the link must end with `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerFault {
    /// Reason code.
    pub reason: ReasonCode,
    /// Statement of the standard.
    pub statement: &'static str,
}

/// What the peer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It has the session: flights are sent again with their ids.
    Present,
    /// It has not: open exchanges start again as new messages (client), received ids are forgotten.
    Lost,
}

/// Counts for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// Messages queued, not yet sent.
    pub queued: u32,
    /// Messages in flight.
    pub flights: u32,
    /// Bytes of both.
    pub bytes: u64,
    /// Dropped because the queue was full.
    pub dropped_full: u64,
    /// Dropped because they expired.
    pub dropped_expired: u64,
    /// Dropped because they were larger than the peer accepts.
    pub dropped_too_large: u64,
    /// Sent again after a resume.
    pub resent: u64,
}

/// The state of one session, seen from one end.
#[derive(Debug)]
pub struct Session {
    owner: u64,
    config: SessionConfig,
}

impl Session {
    /// An empty session; `owner` is its number in records.
    #[must_use]
    pub fn new(owner: u64, config: SessionConfig) -> Self {
        Self { owner, config }
    }

    /// Applies one fact: the only way in which state that must survive changes. Recovery calls it too.
    pub fn apply(&mut self, _fact: &Fact) {
        todo!()
    }

    /// A link opened. Flights are marked for sending again (`Present`), or become new messages in their order (`Lost`).
    /// `is_persistent` says whether this session's facts go to the store.
    pub fn attach(
        &mut self,
        _limits: &Limits,
        _resume: Resume,
        _is_persistent: bool,
        _journal: &mut Journal,
    ) {
        todo!()
    }

    /// The link ended. Link state (quota, what is on the wire) is reset; QoS 0 in the queue goes unless configured.
    pub fn detach(&mut self) {
        todo!()
    }

    /// Takes an outgoing message: writes it to `link` at once if its turn has come, or queues it.
    ///
    /// # Errors
    /// [`QueueFull`]; nothing has changed then. (At QoS 0 on a full queue the oldest QoS 0 message goes first.)
    pub fn send(
        &mut self,
        _envelope: &mut Envelope,
        _delivery: Delivery,
        _link: Option<&mut Link>,
        _journal: &mut Journal,
        _now: Time,
    ) -> Result<Sent, QueueFull> {
        let _ = (self.owner, self.config.flights_max);
        todo!()
    }

    /// Sends what may be sent now: flights to send again, then the queue, within quota and the outbox's room, and only
    /// what is stored. Call after acknowledgements, `handle_stored`, and when the outbox was drained.
    pub fn pump(&mut self, _link: &mut Link, _journal: &mut Journal, _now: Time) {
        todo!()
    }

    /// Handles PUBACK, PUBREC or PUBCOMP for a message of ours; answers PUBREC with PUBREL.
    ///
    /// # Errors
    /// [`PeerFault`] if the kind does not fit the flight.
    pub fn handle_ack(
        &mut self,
        _kind: AckKind,
        _ack: Ack,
        _link: &mut Link,
        _journal: &mut Journal,
        _now: Time,
    ) -> Result<AckOutcome, PeerFault> {
        todo!()
    }

    /// Tells whether an arriving PUBLISH is new. QoS 0 and 1 always are.
    #[must_use]
    pub fn arrival(&self, _qos: QoS, _packet_id: Option<PacketId>) -> Arrival {
        todo!()
    }

    /// Acknowledges an arrived PUBLISH: QoS 1 PUBACK, QoS 2 PUBREC (its id is recorded if `reason` is a success).
    /// The acknowledgement waits for `gate` and for its own record.
    pub fn acknowledge(
        &mut self,
        _qos: QoS,
        _packet_id: PacketId,
        _reason: ReasonCode,
        _gate: Gate,
        _link: &mut Link,
        _journal: &mut Journal,
    ) {
        todo!()
    }

    /// Handles PUBREL: forgets the id, answers PUBCOMP (0x92 if the id is unknown and the version has codes).
    pub fn handle_pubrel(&mut self, _ack: &Ack, _link: &mut Link, _journal: &mut Journal) {
        todo!()
    }

    /// Takes a free packet id for SUBSCRIBE or UNSUBSCRIBE; `None` if all are in use.
    pub fn take_id(&mut self) -> Option<PacketId> {
        todo!()
    }

    /// Gives back an id taken by [`Session::take_id`].
    pub fn free_id(&mut self, _id: PacketId) {
        todo!()
    }

    /// Writes a record under this session's number if the session is persistent; returns its sequence number or 0.
    pub fn record(&mut self, _fact: Fact, _journal: &mut Journal) -> u64 {
        todo!()
    }

    /// Whether nothing is queued or in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        todo!()
    }

    /// Whether the queue waits for room in the outbox (not for quota), so that its link is a slow reader.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        todo!()
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        todo!()
    }
}
