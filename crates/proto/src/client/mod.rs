//! A client: one link, one session, pending operations, reconnecting.
//!
//! ```text
//! at rest --connect--> dialing --> opening --CONNACK--> open
//!                         ^                              |
//!                         `------- waiting <----ends-----'        any of them --disconnect, final reason--> over
//! ```
//!
//! The driver: call any number of inputs, then [`Client::poll_output`] until [`Output::Wait`].

mod answers;
mod authentication;
mod config;
mod event;
mod life;
mod manual;
mod operations;
mod output;
mod packets;
mod publish;
mod remarks;
mod subscriptions;

use alloc::{collections::VecDeque, string::String, sync::Arc, vec::Vec};

use bytes::BytesMut;
use postrider_wire::{ClientId, Disconnect, Filter, Properties, ReasonCode, SubscribeFilter};

use self::{
    answers::Answers,
    authentication::Exchange,
    operations::{Operations, Request},
    remarks::Remarks,
    subscriptions::Subscriptions,
};
use crate::{
    Chunk, Fact, Gate, Journal, Limits, Link, LinkEnd, OpenMessage, PageRows, Payload, Plan,
    Reconnect, Record, Session, SessionConfig, SessionStats, SpoolId, SpoolOutput, Spools, Time,
};

pub use self::{
    authentication::{ConnectOptions, ReauthenticateError},
    config::ClientConfig,
    event::{Event, Failure, OperationError, OperationId, Output, PublishError, Restarted},
    manual::{AcknowledgeError, BATCH_BYTES_MAX, OWN_KEY_BYTES_MAX, OwnChange, check_own, own_key},
};

/// The client machine.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    reconnect: Reconnect,
    // Session.
    session: Session,
    journal: Journal,
    spools: Spools,
    subscriptions: Subscriptions,
    operations: Operations,
    remarks: Remarks,
    /// The one of the configuration, or the one that the server assigned.
    client_id: ClientId,
    /// Whether there is a session to resume: one was begun in this process, or recovered.
    has_session: bool,
    /// Whether the store knows whose session it holds.
    is_claimed: bool,
    answers: Answers,
    /// The server whose old session a preliminary clean connection removed (3.x).
    wiped: Option<String>,
    // Link.
    phase: Phase,
    /// The attempt that is planned, or that led to the link.
    plan: Option<Plan>,
    /// The link in use, or the last one while it is flushed.
    link: Option<Link>,
    /// Whether this link only removes an old session.
    is_preliminary: bool,
    had_connack: bool,
    exchange: Exchange,
    /// Answers to what was subscribed again; `None` once they were told.
    resubscriptions: Option<Vec<(Filter, ReasonCode)>>,
    /// PUBLISHes beyond our Receive Maximum, on all links.
    surplus: u64,
    /// Bytes written since the link began.
    consumed: u64,
    /// Bytes produced since the link began, of which the driver was told.
    announced: u64,
    // Outputs.
    events: VecDeque<Event>,
    /// Events that may not be told before a record is stored, by its number, in order.
    gated: VecDeque<(u64, Event)>,
    must_hang_up: bool,
    must_dial: bool,
    /// Spools to drop behind the records that are the last to name them.
    dropped: VecDeque<SpoolOutput>,
}

/// Where the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `connect` was not called yet.
    AtRest,
    /// The next attempt is made at this time.
    Waiting(Time),
    /// The driver opens a stream.
    Dialing,
    /// There is a stream; CONNECT waits for its record.
    Ready,
    /// CONNECT was written, CONNACK has not come.
    Opening,
    /// The handshake succeeded.
    Open,
    /// For good.
    Over,
}

impl Client {
    /// A client at rest; `seed` feeds the jitter of reconnects.
    #[must_use]
    pub fn new(config: ClientConfig, seed: u64, _now: Time) -> Self {
        let mut journal = Journal::new(config.is_durable);
        let session_config =
            SessionConfig { is_reporting: true, is_gathering: true, ..config.session };
        let mut session = Session::new(0, session_config);
        if config.is_durable {
            session.persist(&mut journal);
        }
        Self {
            reconnect: Reconnect::new(config.reconnect.clone(), seed),
            session,
            journal,
            spools: Spools::new(config.spool_bytes_max),
            subscriptions: Subscriptions::default(),
            operations: Operations::new(config.operations_max, config.operation_timeout_ms),
            remarks: Remarks::default(),
            client_id: config.client_id.clone(),
            has_session: false,
            is_claimed: false,
            answers: Answers::default(),
            wiped: None,
            phase: Phase::AtRest,
            plan: None,
            link: None,
            is_preliminary: false,
            had_connack: false,
            exchange: Exchange::default(),
            resubscriptions: None,
            surplus: 0,
            consumed: 0,
            announced: 0,
            events: VecDeque::new(),
            gated: VecDeque::new(),
            must_hang_up: false,
            must_dial: false,
            dropped: VecDeque::new(),
            config,
        }
    }

    /// Takes up what a store held, before [`Client::connect`]; may be called for each record. The session is then
    /// resumed, not started clean, unless it had never been connected. Records
    /// come in the order of their keys.
    pub fn recover(&mut self, records: impl IntoIterator<Item = Record>) {
        for Record { mut fact, .. } in records {
            self.adopt_spool(&mut fact);
            self.session.apply(&fact);
            match fact {
                Fact::Session { client_id, expiry_s, detached } => {
                    self.client_id = client_id;
                    self.is_claimed = true;
                    self.has_session = expiry_s > 0 || detached.is_none();
                    self.answers.recover(expiry_s > 0 && detached.is_some());
                }
                Fact::Subscription { filter, options, identifier } => {
                    self.subscriptions.recover(filter, options, identifier);
                }
                Fact::Arrived { .. }
                | Fact::ArrivedGone(_)
                | Fact::Own { .. }
                | Fact::OwnGone(_)
                | Fact::SessionGone
                | Fact::Queued { .. }
                | Fact::Flight { .. }
                | Fact::Requeued { .. }
                | Fact::Finished { .. }
                | Fact::Numbers { .. }
                | Fact::Received(_)
                | Fact::ReceivedFirst(_)
                | Fact::Released(_)
                | Fact::Taken { .. }
                | Fact::TakenByGroup { .. }
                | Fact::SubscriptionGone(_)
                | Fact::Retained { .. }
                | Fact::RetainedGone(_)
                | Fact::Will { .. }
                | Fact::WillGone => {}
            }
        }
    }

    /// Starts connecting. Only the first call does anything.
    pub fn connect(&mut self, now: Time) {
        if self.phase == Phase::AtRest {
            self.claim(now);
            let plan = self.reconnect.start();
            self.dial(plan, now);
        }
    }

    /// The stream of the last `Dial` is open; its input buffer is empty.
    pub fn handle_connected(&mut self, now: Time) {
        match self.phase {
            Phase::Dialing => {
                self.phase = Phase::Ready;
                self.connect_marked(now);
            }
            // The program has left meanwhile.
            Phase::Over => self.must_hang_up = true,
            Phase::AtRest | Phase::Waiting(_) | Phase::Ready | Phase::Opening | Phase::Open => {}
        }
    }

    /// The last `Dial` failed; `what` is for people. Also for a stream that ends before the server has taken us, where
    /// that says nothing about the version it speaks: TLS that ends behind its handshake, or an answer that is not waited
    /// for any longer. [`Client::handle_closed`] must follow then.
    pub fn handle_dial_failed(&mut self, what: String, now: Time) {
        self.fail_dial(LinkEnd::Unreachable(what), now);
    }

    /// [`Client::handle_dial_failed`] because a certificate was refused, the server's by us or ours by the server.
    pub fn handle_certificate_refused(&mut self, what: String, now: Time) {
        self.fail_dial(LinkEnd::Certificate(what), now);
    }

    fn fail_dial(&mut self, end: LinkEnd, now: Time) {
        if matches!(self.phase, Phase::Dialing | Phase::Ready | Phase::Opening) {
            self.had_connack = false;
            self.end_link(end, now);
        }
    }

    /// Bytes arrived. Whole packets are taken from `input`; the rest stays there for the next call. While
    /// [`Client::is_receive_paused`] whole packets may stay, too: call this again after [`Client::consume`] and
    /// [`Client::handle_stored`].
    pub fn handle_bytes(&mut self, input: &mut BytesMut, now: Time) {
        while matches!(self.phase, Phase::Opening | Phase::Open) && !self.is_asking() {
            let Some(link) = &mut self.link else { break };
            match link.receive(input, &mut self.spools, now) {
                Ok(Some(received)) => self.handle_received(received, now),
                Ok(None) => break,
                Err(end) => self.break_link(end, now),
            }
        }
        self.surplus += self.link.as_mut().map_or(0, Link::take_surplus);
        self.pump(now);
    }

    /// The stream ended or failed. Not needed after `Hangup`.
    pub fn handle_closed(&mut self, now: Time) {
        if matches!(self.phase, Phase::Opening | Phase::Open) {
            self.judge(true, now);
            self.end_link(LinkEnd::Lost, now);
        }
        if self.phase == Phase::Ready {
            self.handle_dial_failed("it closed before CONNECT".into(), now);
        }
        self.link = None;
        self.must_hang_up = false;
    }

    /// A spool that [`Client::chunks`] names is damaged: the link ends, and the message fails. The stream must be closed.
    pub fn handle_spool_damaged(&mut self, spool: u64, now: Time) {
        self.handle_closed(now);
        self.session.lose_spool(spool, &mut self.journal);
        self.collect_fates();
    }

    /// Time passed.
    pub fn handle_time(&mut self, now: Time) {
        match self.phase {
            Phase::Waiting(at) if now >= at => {
                if let Some(plan) = self.plan.clone() {
                    self.dial(plan, now);
                }
            }
            Phase::Opening | Phase::Open => {
                // While the program thinks about its answer the server is not read.
                if self.is_asking()
                    && let Some(link) = &mut self.link
                {
                    link.excuse_silence(now);
                }
                if let Some(Err(end)) = self.link.as_mut().map(|link| link.handle_time(now)) {
                    self.break_link(end, now);
                }
                self.expire_operations(now);
                self.session.handle_time(now);
                self.pump(now);
            }
            Phase::AtRest | Phase::Waiting(_) | Phase::Dialing | Phase::Ready | Phase::Over => {}
        }
    }

    /// Bytes that a driver should wait for before it reads, where it can, until the deadline; 0 if each byte counts. See
    /// [`Session::awaited_len`].
    #[must_use]
    pub fn awaited_len(&self) -> u32 {
        self.session.awaited_len()
    }

    /// Records up to `seq` are durable.
    pub fn handle_stored(&mut self, seq: u64, now: Time) {
        self.journal.handle_stored(seq);
        self.tell_stored();
        self.connect_marked(now);
        self.open_gates();
        self.send_operations(now);
        self.pump(now);
    }

    /// Answers a [`Output::Page`].
    pub fn handle_page(&mut self, page: PageRows, now: Time) {
        if let Err(error) = self.session.handle_page(page, &mut self.journal, now) {
            self.events.push_back(Event::Unreadable(error));
        }
        self.pump(now);
    }

    /// Asks the server for a sign of life at once, since there is doubt that it is still there.
    pub fn check_alive(&mut self, now: Time) {
        if let (Phase::Open, Some(link)) = (self.phase, &mut self.link) {
            link.ping(now);
        }
    }

    /// Subscribes; remembered for resubscribing until unsubscribed. Without a connection it waits for one.
    ///
    /// # Errors
    /// [`OperationError`]; nothing was taken then.
    pub fn subscribe(
        &mut self,
        filters: Vec<SubscribeFilter>,
        properties: Properties,
        now: Time,
    ) -> Result<OperationId, OperationError> {
        self.subscribe_marked(filters, properties, None, now)
    }

    /// [`Client::subscribe`] with a subscription identifier, `mark`, that is left out where the server takes none.
    ///
    /// # Errors
    /// [`OperationError`]; nothing was taken then.
    pub fn subscribe_marked(
        &mut self,
        filters: Vec<SubscribeFilter>,
        properties: Properties,
        mark: Option<u32>,
        now: Time,
    ) -> Result<OperationId, OperationError> {
        self.start_operation(Request::Subscribe { filters, properties, mark }, now)
    }

    /// Unsubscribes. Without a connection it waits for one.
    ///
    /// # Errors
    /// [`OperationError`]; nothing was taken then.
    pub fn unsubscribe(
        &mut self,
        filters: Vec<Filter>,
        properties: Properties,
        now: Time,
    ) -> Result<OperationId, OperationError> {
        self.start_operation(Request::Unsubscribe { filters, properties }, now)
    }

    /// The filters this session is subscribed to (the server said so), in the order they were added.
    pub fn subscriptions(&self) -> impl Iterator<Item = &SubscribeFilter> {
        self.subscriptions.iter()
    }

    /// Says DISCONNECT behind what is already written, and ends the session's life here. Exchanges still open stay open
    /// in the session: `Failure::Over` is reported for them, or nothing if a store keeps them. Without a connection it is over at once.
    pub fn disconnect(&mut self, disconnect: Disconnect, now: Time) {
        if self.phase == Phase::Over {
            return;
        }
        let end = LinkEnd::Ours(disconnect.reason);
        if matches!(self.phase, Phase::Opening | Phase::Open)
            && let Some(link) = &mut self.link
        {
            link.end(disconnect);
        }
        if matches!(self.phase, Phase::Ready | Phase::Opening | Phase::Open) {
            self.must_hang_up = true;
        }
        self.finish(end, now);
    }

    /// Begins a spool of `len` bytes for a payload to publish; `None` if spools are full. The driver fills it by itself,
    /// wherever it likes, before it publishes, and is told to drop it like any other.
    pub fn begin_spool(&mut self, len: u32) -> Option<SpoolId> {
        self.spools.begin_filled(len)
    }

    /// Says that the first `bytes` of [`Client::chunks`] were written. Returns whether [`Client::poll_output`] may have
    /// more to say because of that; mostly it has not.
    pub fn consume(&mut self, bytes: u64, now: Time) -> bool {
        if let Some(link) = &mut self.link {
            link.outbox_mut().consume(bytes);
            self.consumed += bytes;
        }
        let is_congested = self.session.is_congested();
        if is_congested {
            self.pump(now);
        }
        is_congested || self.spools.has_released()
    }

    /// Whether a message of QoS 0 would have to wait until the connection has taken what is before it.
    #[must_use]
    pub fn is_backed_up(&self) -> bool {
        self.open_link_ref().is_some_and(|link| !link.has_room() || self.session.has_loose())
    }

    /// The bytes to write now, in order.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        self.link.iter().flat_map(|link| link.outbox().chunks())
    }

    /// Whether there are no such bytes.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.link.as_ref().is_none_or(|link| link.outbox().is_empty())
    }

    /// Limits in force; `None` while not connected.
    #[must_use]
    pub fn limits(&self) -> Option<&Limits> {
        self.open_link_ref().and_then(Link::limits)
    }

    /// Whether the server is not read on, because it does not read our answers, the store is behind, or the program
    /// has to answer the server first.
    #[must_use]
    pub fn is_receive_paused(&self) -> bool {
        self.is_asking() || self.open_link_ref().is_some_and(Link::is_receive_paused)
    }

    /// Whether everything published so far is finished, no operation waits, and what the program acknowledged is stored.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.session.is_idle() && self.operations.is_empty() && self.gated.is_empty()
    }

    /// All messages of QoS 1 and 2 that are not finished: in flight, then waiting.
    pub fn open(&self) -> impl Iterator<Item = OpenMessage<'_>> {
        self.session.open()
    }

    /// The number that the next message of QoS 1 or 2 gets.
    #[must_use]
    pub fn number_next(&self) -> u64 {
        self.session.number_next()
    }

    /// Gives the next message of QoS 1 or 2 this number, which somebody was told already, unless a higher one was given.
    pub fn number_from(&mut self, number: u64) {
        self.session.number_from(number);
    }

    /// Whether a message of QoS 1 or 2 is not finished.
    #[must_use]
    pub fn is_open(&self, number: u64) -> bool {
        self.session.is_open(number)
    }

    /// Whether such a message has not been sent yet, as far as is known: it may wait in the store alone.
    #[must_use]
    pub fn is_waiting(&self, number: u64) -> bool {
        self.session.is_waiting(number)
    }

    /// Whether such a message has failed, in this process or one before it: its payload could not be read.
    #[must_use]
    pub fn is_given_up(&self, number: u64) -> bool {
        self.session.is_given_up(number)
    }

    /// Drops the messages that have expired, up to the first that has not: for who waits for room in the queue. Returns
    /// when that one expires.
    pub fn expire_front(&mut self, now: Time) -> Option<Time> {
        let next = self.session.expire_front(&mut self.journal, now);
        self.collect_fates();
        next
    }

    /// The client identifier: of the configuration, of the store, or assigned by the server.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        self.session.stats()
    }

    /// Messages that servers sent beyond our Receive Maximum (v5 section 3.3.4), which were taken like all others.
    #[must_use]
    pub fn surplus(&self) -> u64 {
        self.surplus
    }

    /// The driver leaves the server unread on purpose, up to `now`: its silence does not count.
    pub fn excuse_silence(&mut self, now: Time) {
        if let Some(link) = &mut self.link {
            link.excuse_silence(now);
        }
    }

    /// Records whose store it is, before anything else is in it: a session that ended as it began, and that no server
    /// has heard of.
    fn claim(&mut self, now: Time) {
        if !core::mem::replace(&mut self.is_claimed, true) {
            let client_id = self.client_id.clone();
            let session = Fact::Session { client_id, expiry_s: 0, detached: Some(now) };
            self.session.record(session, &mut self.journal);
        }
    }

    /// A payload that a store held is dropped with its message, like one of ours.
    fn adopt_spool(&mut self, fact: &mut Fact) {
        if let Fact::Queued { message, .. } = fact
            && let Payload::Spooled { id, len } = &mut Arc::make_mut(message).payload
        {
            *id = self.spools.adopt(id, *len);
        }
    }

    fn open_link_ref(&self) -> Option<&Link> {
        self.link.as_ref().filter(|_| self.phase == Phase::Open)
    }

    /// The server ended the link: a message at which it does so each time is not sent again.
    fn judge(&mut self, is_closed_by_peer: bool, now: Time) {
        if self.phase == Phase::Open {
            self.session.judge(is_closed_by_peer, &mut self.journal, now);
            while let Some(parked) = self.session.poll_parked() {
                self.events.push_back(Event::Parked(parked));
            }
            self.collect_fates();
        }
    }

    /// Sends what may be sent now.
    fn pump(&mut self, now: Time) {
        if let (Phase::Open, Some(link)) = (self.phase, &mut self.link) {
            self.session.pump(link, &mut self.journal, now);
        }
        self.collect_fates();
    }

    fn open_gates(&mut self) {
        if let (Phase::Open, Some(link)) = (self.phase, &mut self.link) {
            link.open_gates(Gate { stored: self.journal.stored(), fence: u64::MAX });
        }
    }
}
