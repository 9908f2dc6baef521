//! What outlives a link: flights, queue, identifiers. Client and broker use the same code for both directions.
//!
//! ```text
//!            send                    turn, quota, room               PUBACK, PUBCOMP
//! program ---------> queue (Queued) -------------------> flight (Flight) ----------> Finished
//!                      ^                                    |
//!                      `---- peer lost the session ---------'  (Requeued)
//! ```
//!
//! What must survive a crash changes only through a [`Fact`]: live code makes the fact, changes the state by it and
//! hands it to the journal; recovery reads the same facts back and calls [`Session::apply`].
//!
//! What waits for the store, where there is one: a QoS 2 PUBLISH for the record of its packet id, PUBREL for the record
//! of PUBREC, PUBREC and PUBCOMP for the record of the received id. A message that waits holds the younger ones of
//! QoS 1 and 2 back, so that their order holds. Where a program knows messages by their numbers, each PUBLISH waits for the
//! record that reserves its number, which is made early.
//!
//! Where there is a store, a long queue is in memory only at its front; see `page`.

mod arrivals;
mod blame;
mod damage;
mod flights;
mod gather;
mod ids;
mod inbound;
mod outbound;
mod page;
mod queue;
mod state;
mod tail;
mod takers;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use postrider_wire::{Ack, PacketId, QoS, ReasonCode};

use crate::{
    Durability, Fact, FlightState, Journal, Limits, Message, Record, Time,
    mutation::{Mutation, planted},
    session::{
        arrivals::Arrivals,
        blame::Blame,
        flights::{Chain, Flights},
        gather::Gather,
        ids::{IdSet, Ids},
        queue::Queue,
    },
};

pub use self::{
    arrivals::AckReason,
    blame::Parked,
    page::{PageRequest, PageRows},
    takers::Takers,
};

/// Bounds of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Most messages queued and in flight.
    pub queue_messages_max: u32,
    /// Most bytes queued and in flight (topics, properties, payloads in memory).
    pub queue_bytes_max: u64,
    /// With a store: most bytes of the queue that are kept in memory too (with what a message takes besides its own
    /// bytes). The rest is only counted, and read back in pages when its turn comes. No further flight is begun while
    /// the flights count for as much.
    pub queue_resident_bytes_max: u64,
    /// Most flights at once, whatever the peer allows, 1 to 65,535.
    pub flights_max: u16,
    /// The same towards a peer that cannot announce what it takes (3.x). Mosquitto closes such a connection at the
    /// 21st open message of QoS 2.
    pub flights_max_unannounced: u16,
    /// Whether QoS 0 messages are queued while there is no link.
    pub is_qos0_queued_offline: bool,
    /// Whether a QoS 2 PUBLISH may be answered by PUBACK (RabbitMQ): done as QoS 1.
    pub is_puback_for_qos2_allowed: bool,
    /// Whether the oldest message of a full queue gives way to a new one while there is no link.
    pub is_oldest_dropped: bool,
    /// Whether a QoS 2 message that the peer may have taken fails when the peer has lost the session. Otherwise it is
    /// sent again and may arrive twice.
    pub is_doubtful_failed: bool,
    /// How often the peer may close the link right after a message was sent before that is given up; 0: any number.
    pub closes_max: u32,
    /// Whether [`Session::poll_fate`] tells about messages that ended without an acknowledgement. Whoever asks for it
    /// must fetch it after each call.
    pub is_reporting: bool,
    /// Whether a window that was full opens again in steps of an eighth, so that messages leave several at a time; one
    /// waits for at most a millisecond. Whoever asks for it must call [`Session::handle_time`], and may read so many
    /// acknowledgements at a time: [`Session::awaited_len`].
    pub is_gathering: bool,
    /// Whether others note facts under the session's received ids: [`crate::Fact::Taken`], where a broker has several
    /// hubs.
    pub is_noted_elsewhere: bool,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            queue_messages_max: 100_000,
            queue_bytes_max: 64 * 1024 * 1024,
            queue_resident_bytes_max: 1024 * 1024,
            flights_max: u16::MAX,
            flights_max_unannounced: u16::MAX,
            is_qos0_queued_offline: false,
            is_puback_for_qos2_allowed: true,
            is_oldest_dropped: false,
            is_doubtful_failed: false,
            closes_max: 0,
            is_reporting: false,
            is_gathering: false,
            is_noted_elsewhere: false,
        }
    }
}

impl SessionConfig {
    /// Bounds of a session whose queue is in a store, where it may be larger than in memory.
    #[must_use]
    pub fn stored() -> Self {
        Self { queue_bytes_max: 1024 * 1024 * 1024, ..Self::default() }
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
    /// The exchange of a message that was given up is over. [`Session::poll_fate`] says so, unless it has.
    Failed,
}

/// Whether a QoS 2 PUBLISH is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Deliver it.
    New,
    /// Its id is known: acknowledge, do not deliver.
    Duplicate,
}

/// What became of a PUBLISH that the program acknowledges itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrusted {
    /// Deliver it under this number once the record `seq` is stored (0: at once).
    New {
        /// Its number.
        number: u64,
        /// Sequence number of its record.
        seq: u64,
    },
    /// The program may have seen it before, under this number, and has no copy of it: deliver it again.
    Again {
        /// Its number.
        number: u64,
    },
    /// The program has it or is done with it: nothing to deliver.
    Known,
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
    ///
    /// Forgotten even though one broker (ActiveMQ) says "not present" and then goes on with its old session: with ids
    /// kept, the first messages of a truly new session would be taken for repeats and lost, which is worse than an
    /// old one that arrives twice. Spec: v5 [MQTT-3.2.2-5].
    Lost,
}

/// How a message ended, or changed, without an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The peer lost the session after its PUBREC, with which it had taken the message over: done.
    Completed(PacketId),
    /// Gave way to a younger one in a full queue.
    Dropped,
    /// Expired in the queue.
    Expired,
    /// The peer lost the session before its PUBREC, and what may arrive twice is not sent again.
    Lost,
    /// The peer lost the session before its PUBREC: the message waits again as a new one and may arrive twice.
    MayBeDouble,
    /// The peer takes no such QoS or no RETAIN.
    NotOffered(&'static str),
    /// The peer closed the link right after it was sent, so many times.
    Parked(u32),
    /// A younger one took its place: [`Session::supersede`].
    Superseded,
    /// Larger than the peer accepts.
    TooLarge,
    /// The store gave something back that is not the message. What is there stays there.
    Unreadable,
}

/// A message of QoS 1 or 2 that is not finished.
#[derive(Clone, Copy, Debug)]
pub struct OpenMessage<'a> {
    /// Message number.
    pub number: u64,
    /// QoS of its delivery.
    pub qos: QoS,
    /// How far its exchange is; `None` if its PUBLISH was not written yet.
    pub flight: Option<FlightState>,
    /// The message, as long as it is needed: until PUBREC.
    pub message: Option<&'a Message>,
}

/// Counts for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// Messages queued, not yet sent.
    pub queued: u32,
    /// Those of them that only the store holds.
    pub paged: u32,
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
    /// Dropped because the peer takes no such QoS or RETAIN.
    pub dropped_not_offered: u64,
    /// Lost because the store did not give them back.
    pub dropped_unreadable: u64,
    /// QoS 0 messages dropped because there was no link.
    pub dropped_offline: u64,
    /// Dropped because a younger one took their place.
    pub dropped_superseded: u64,
    /// Given up because the peer closed the link at them each time.
    pub dropped_parked: u64,
    /// Sent again after a resume.
    pub resent: u64,
}

/// The state of one session, seen from one end.
#[derive(Debug)]
pub struct Session {
    owner: u64,
    config: SessionConfig,
    // Session: recorded.
    queue: Queue,
    flights: Flights,
    /// Identifiers of our flights, with their slots, and of other exchanges, with [`TAKEN`].
    ids: Ids,
    /// Identifiers of the peer's QoS 2 messages that were received and not yet released.
    received: IdSet,
    /// Of these, after a restart: those that may not have reached every hub, and who has them.
    unfinished: BTreeMap<PacketId, Takers>,
    /// Messages of the peer that the program acknowledges itself.
    arrivals: Arrivals,
    /// The number of the next message that is sent, and of the next one that the program is entrusted with.
    number_next: u64,
    arrival_next: u64,
    /// Numbers from this one on are not yet reserved by a record.
    number_reserved: u64,
    /// The last record that reserves numbers, and the number from which on it does.
    number_seq: (u64, u64),
    /// The record that reserves those below.
    number_seq_before: u64,
    // Session: not recorded.
    is_persistent: bool,
    /// The last record about a received id; PUBREC and PUBCOMP wait for it.
    inbound_seq: u64,
    fates: VecDeque<(u64, Fate)>,
    blame: Blame,
    stats: SessionStats,
    // Link: reset by detach.
    link: Option<Facing>,
    /// In which sense records must be stored before this link hears of them.
    durability: Durability,
    /// Flights that take one of the peer's receive maximum; at most `window` but for PUBRELs sent again.
    used: u32,
    gather: Gather,
    /// Received ids that may belong to an older session of the peer.
    doubted: Option<Box<IdSet>>,
    /// Whether PUBRELs must be sent again before anything else.
    must_release: bool,
    is_congested: bool,
}

/// What a session must know of the peer at the other end of its link.
#[derive(Clone, Copy, Debug)]
struct Facing {
    /// Most flights on this link.
    window: u32,
    qos_max: QoS,
    has_retain: bool,
    /// Whether acknowledgements have reason codes.
    has_codes: bool,
}

impl Session {
    /// An empty session; `owner` is its number in records.
    #[must_use]
    pub fn new(owner: u64, config: SessionConfig) -> Self {
        Self {
            owner,
            config,
            queue: Queue::default(),
            flights: Flights::new(),
            ids: Ids::new(),
            received: IdSet::new(),
            unfinished: BTreeMap::new(),
            arrivals: Arrivals::default(),
            number_next: 1,
            arrival_next: 1,
            number_reserved: 1,
            number_seq: (0, 0),
            number_seq_before: 0,
            is_persistent: false,
            inbound_seq: 0,
            fates: VecDeque::new(),
            blame: Blame::default(),
            stats: SessionStats::default(),
            link: None,
            durability: Durability::default(),
            used: 0,
            gather: Gather::default(),
            doubted: None,
            must_release: false,
            is_congested: false,
        }
    }

    /// A link opened. Flights are marked for sending again (`Present`), or become new messages in their order (`Lost`).
    /// `is_persistent` says whether this session's facts go to the store. Call [`Session::pump`] next.
    pub fn attach(
        &mut self,
        limits: &Limits,
        resume: Resume,
        is_persistent: bool,
        journal: &mut Journal,
    ) {
        self.reset_link();
        if planted(Mutation::IdSetDropped) {
            self.received = IdSet::new();
        }
        let mut window = limits.receive_maximum.min(self.config.flights_max);
        if planted(Mutation::WindowIgnored) {
            window = self.config.flights_max;
        }
        if !limits.has_properties {
            window = window.min(self.config.flights_max_unannounced);
        }
        let window = self.careful_window(u32::from(window.max(1)));
        self.link = Some(Facing {
            window,
            qos_max: limits.qos_max,
            has_retain: limits.has_retain,
            has_codes: limits.has_properties,
        });
        // What is in the store once is kept true there until the session ends, or it would come back after a crash.
        if is_persistent {
            self.persist(journal);
        }
        match resume {
            Resume::Present if planted(Mutation::NotReleasedAgain) => {}
            Resume::Present => self.must_release = self.flights.has_releases(),
            Resume::Lost => self.start_again(journal),
        }
    }

    /// Changes the bounds; what is there stays.
    pub fn set_config(&mut self, config: SessionConfig) {
        self.config = config;
    }

    /// In which sense records must be stored before packets leave that depend on them; to be called before
    /// [`Session::attach`]. Synced unless this says otherwise.
    pub fn rely_on(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// From now on facts go to the store, also while there is no link; those that hold already are recorded first.
    pub fn persist(&mut self, journal: &mut Journal) {
        if !core::mem::replace(&mut self.is_persistent, true) {
            self.record_all(journal);
            if journal.is_on() {
                self.queue.spill(self.config.queue_resident_bytes_max);
            }
        }
    }

    /// The link ended. Link state (quota, what is on the wire) is reset; QoS 0 in the queue goes unless configured.
    pub fn detach(&mut self) {
        self.reset_link();
        self.link = None;
        if planted(Mutation::QueueLostOffline) {
            self.queue.first().map(|first| first.number).map(|number| self.queue.take(number));
        }
        if !self.config.is_qos0_queued_offline {
            while self.queue.take_loose().is_some() {
                self.stats.dropped_offline += 1;
            }
        }
    }

    /// Takes a free packet id for SUBSCRIBE or UNSUBSCRIBE; `None` if all are in use.
    pub fn take_id(&mut self) -> Option<PacketId> {
        let id = self.ids.next_free()?;
        self.ids.occupy(id, TAKEN);
        self.ids.go_on_behind(id);
        Some(id)
    }

    /// Gives back an id taken by [`Session::take_id`].
    pub fn free_id(&mut self, id: PacketId) {
        if self.ids.slot(id) == Some(TAKEN) {
            self.ids.free(id);
        }
    }

    /// Writes a record under this session's number if the session is persistent; returns its sequence number or 0.
    pub fn record(&mut self, fact: Fact, journal: &mut Journal) -> u64 {
        if self.is_recording(journal) {
            journal.write(Record { owner: self.owner, fact })
        } else {
            0
        }
    }

    /// The next message that ended, or changed, without an acknowledgement, by its number. Nothing unless
    /// [`SessionConfig::is_reporting`].
    pub fn poll_fate(&mut self) -> Option<(u64, Fate)> {
        self.fates.pop_front()
    }

    /// Time passed: what waited for company goes without. Call [`Session::pump`] next.
    pub fn handle_time(&mut self, now: Time) {
        self.gather.handle_time(now);
    }

    /// Bytes that a driver should wait for before it reads, where it can, until the deadline: what comes before them would
    /// let no message go on. 0 if each byte counts. See [`SessionConfig::is_gathering`].
    #[must_use]
    pub fn awaited_len(&self) -> u32 {
        let Some(facing) = self.link else { return 0 };
        let free = facing.window.saturating_sub(self.flights.len());
        self.gather.awaited_len(free, facing.window)
    }

    /// When [`Session::handle_time`] must be called, if ever.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.gather.deadline()
    }

    /// Whether nothing is queued or in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.flights.is_empty()
    }

    /// Whether messages of QoS 0 are queued.
    pub(crate) fn has_loose(&self) -> bool {
        self.queue.loose_len() > 0
    }

    /// Whether the queue waits for room in the outbox (not for quota), so that its link is a slow reader.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.is_congested
    }

    /// Numbers of the messages of QoS 1 and 2 in memory that are not finished, in ascending order. Those of the queue
    /// that only the store holds ([`SessionStats::paged`]) are younger than all of them.
    #[must_use]
    pub fn open_numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.open().map(|open| open.number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// All messages of QoS 1 and 2 that are not finished: in flight, then waiting.
    pub fn open(&self) -> impl Iterator<Item = OpenMessage<'_>> {
        let publishes = self.flights.walk(Chain::Publishes);
        let releases = self.flights.walk(Chain::Releases);
        let flying = publishes.chain(releases).map(|(_, flight)| OpenMessage {
            number: flight.number,
            qos: flight.delivery.qos,
            flight: Some(flight.state).filter(|_| flight.was_sent),
            message: flight.message.as_deref(),
        });
        flying.chain(self.queue.iter().map(|waiting| OpenMessage {
            number: waiting.number,
            qos: waiting.delivery.qos,
            flight: None,
            message: Some(&*waiting.message),
        }))
    }

    /// Whether a message of QoS 1 or 2 is not finished.
    #[must_use]
    pub fn is_open(&self, number: u64) -> bool {
        self.queue.has(number) || self.flights.find(number).is_some()
    }

    /// Whether such a message waits for its turn, as far as is known.
    pub(crate) fn is_waiting(&self, number: u64) -> bool {
        self.queue.has(number)
    }

    /// How messages ended, or changed, of which [`Session::poll_fate`] has not told yet.
    pub fn fates(&self) -> impl Iterator<Item = (u64, Fate)> {
        self.fates.iter().copied()
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        SessionStats {
            queued: self.queue.kept_len() + self.queue.loose_len(),
            paged: self.queue.tail().len(),
            flights: self.flights.len(),
            bytes: self.queue.bytes() + self.flights.bytes(),
            ..self.stats
        }
    }

    fn reset_link(&mut self) {
        self.arrivals.reset_link();
        self.flights.reset_link();
        self.used = 0;
        self.gather = Gather::default();
        self.doubted = None;
        self.must_release = false;
        self.is_congested = false;
    }

    /// While a part of the queue is in the store only, the rest must go there too, or they would lose their order.
    fn is_recording(&self, journal: &Journal) -> bool {
        (self.is_persistent || !self.queue.tail().is_empty()) && journal.is_on()
    }

    fn report(&mut self, number: u64, fate: Fate) {
        if self.config.is_reporting {
            self.fates.push_back((number, fate));
        }
    }
}

/// The slot of an identifier that belongs to no flight.
const TAKEN: u32 = u32::MAX;
