//! The one loop that drives a session: bytes and commands in, bytes and messages out.
//!
//! ```text
//! mailbox --commands--> .-----------. --chunks--> stream
//! stream  --bytes-----> |  machine  | --events--> streams, answers, listeners
//! clock   --time------> '-----------'
//!           any number of inputs, then one drain, then one write
//! ```

mod attempt;
mod commands;
mod entrusted;
mod life;
mod newest;
mod outputs;
mod refusal;
mod settling;
mod sleep;
mod subscribing;
mod unsubscribing;

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use postrider_net::{Clock, Dial, ProxyError};
use postrider_proto::{
    Client, Fact, Limits, Time,
    client::{ClientConfig, OperationId},
    wire::Version,
};
use postrider_store::StoreError;
use tokio::{
    task::coop::unconstrained,
    time::{Instant, Sleep},
};
use tracing::{Instrument, Span};

use crate::{
    ConnectError, LinkReason, Stats, WhenFull,
    answer::Answer,
    command::Command,
    connector::Connector,
    dispatch::Dispatch,
    driver::{
        attempt::Preparation, commands::Operation, entrusted::Entrusted, life::Life,
        newest::Newest, settling::Settling, sleep::Sleep as MachineSleep,
    },
    line::{Line, Read, Written},
    pending::Pending,
    shared::Shared,
    slot::{PublishAnswer, Storing},
    spans,
    tap::TapFile,
    upcoming::{Hook, Upcoming},
    vault::{Place, Vault},
};

pub(crate) use self::sleep::WallClock;

/// What a driver needs to begin.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) client: ClientConfig,
    pub(crate) seed: u64,
    /// The first URL without credentials, for people.
    pub(crate) server: String,
    /// What each attempt begins with.
    pub(crate) upcoming: Upcoming,
    pub(crate) hook: Option<Hook>,
    pub(crate) wall_clock: WallClock,
    pub(crate) connect_timeout: Duration,
    pub(crate) stall_budget_ms: u64,
    pub(crate) when_full: WhenFull,
    pub(crate) connector: Option<Connector>,
    pub(crate) dial: Arc<Dial>,
    /// How many there are.
    pub(crate) servers: u32,
    pub(crate) tap: Option<Arc<TapFile>>,
    /// Whether nobody chose the client id, so that a store's is as good.
    pub(crate) is_client_id_made: bool,
    pub(crate) store: Option<Place>,
}

/// Drives one session until it is over.
pub(crate) struct Driver {
    machine: Client,
    shared: Arc<Shared>,
    clock: Clock,
    now: Time,
    line: Line,
    vault: Vault,
    dispatch: Dispatch,
    entrusted: Entrusted,
    pending: Pending,
    /// Receipts that were asked for by number.
    claims: BTreeMap<u64, Vec<PublishAnswer>>,
    /// Publications that wait for the store, with the records they wait for.
    storing: VecDeque<(u64, Storing)>,
    /// With [`WhenFull::KeepLatest`]: the last message of each topic.
    latest: Newest,
    operations: BTreeMap<OperationId, Operation>,
    /// Commands taken from the mailbox and not applied yet.
    inbox: VecDeque<Command>,
    /// Something in the inbox, or behind it, may not wait for the connection.
    is_pressing: bool,
    is_abandoned: bool,
    /// Until when who leaves waits for publishers before him that find no room.
    leaving_until: Option<Time>,
    /// Without a connection: when there may be room for what waits in the inbox.
    room_at: Option<Time>,
    life: Life,
    /// Who waits for the first connection and will hear of its failure when the store is closed.
    refused: Option<(Answer<Result<(), ConnectError>>, ConnectError)>,
    /// Why the store could not be closed.
    close_error: Option<StoreError>,
    // What was set up.
    server: String,
    who: String,
    connect_timeout: Duration,
    stall_budget_ms: u64,
    clean_start: bool,
    queue_messages_max: u32,
    queue_bytes_max: u64,
    when_full: WhenFull,
    connector: Option<Connector>,
    dial: Arc<Dial>,
    servers: u32,
    tap: Option<Arc<TapFile>>,
    #[cfg(feature = "metrics")]
    metrics: Option<crate::metrics::Metrics>,
    // The connection.
    version: Version,
    is_connected: bool,
    /// What the last connection allowed; still the best guess without one.
    limits: Option<Limits>,
    attempt: Attempt,
    /// When the first connection must stand.
    connecting_until: Option<Time>,
    /// Of the connection, or of the attempt to make one.
    span: Span,
    last_reason: LinkReason,
    preparation: Preparation,
    /// Whether there was an attempt before the next one.
    has_tried: bool,
    settling: Settling,
    machine_sleep: MachineSleep,
    // Deadlines.
    machine_deadline: Option<Time>,
    stalled_until: Option<Time>,
    closing_until: Option<Time>,
    sleep: Option<Pin<Box<Sleep>>>,
    sleep_at: Time,
    stats: Stats,
}

/// An attempt to connect, from the dial to the CONNACK.
#[derive(Clone, Copy, Debug, Default)]
struct Attempt {
    /// Since the last success, from 1.
    number: u32,
    deadline: Option<Time>,
    /// Whether a stream was opened.
    had_stream: bool,
    has_timed_out: bool,
    /// Whether it goes where a server has sent us.
    #[cfg(feature = "srv")]
    is_detour: bool,
}

/// Milliseconds for the other side to close a connection that we have ended.
const CLOSING_MS: u64 = 1000;

impl Driver {
    /// A driver at rest; `connected` is answered when the first attempt has succeeded or failed. Blocks while a store is
    /// opened and read.
    pub(crate) fn open(
        setup: Setup,
        shared: Arc<Shared>,
        connected: Answer<Result<(), ConnectError>>,
    ) -> Result<Box<Self>, ConnectError> {
        let vault = match &setup.store {
            Some(place) => Vault::open(place, &shared).map_err(ConnectError::Store)?,
            None => Vault::scratch(setup.client.spool_bytes_max),
        };
        let client_id = setup.client.client_id.clone();
        let wanted = Some(client_id.as_str()).filter(|_| !setup.is_client_id_made);
        let mut driver = Box::new(Self::new(setup, shared, connected, vault));
        driver.vault.recover(wanted, |record| {
            if driver.when_full == WhenFull::KeepLatest
                && let Fact::Queued { number, message, .. } = &record.fact
                && let Some(topic) = &message.head.topic
            {
                let open = || newest::open(&driver.machine);
                driver.latest.put(topic.clone(), *number, open);
            }
            driver.machine.recover([record]);
        })?;
        driver.shared.mailbox.number_from(driver.machine.number_next());
        Ok(driver)
    }

    fn new(
        setup: Setup,
        shared: Arc<Shared>,
        connected: Answer<Result<(), ConnectError>>,
        vault: Vault,
    ) -> Self {
        let clock = Clock::start();
        let now = Time(clock.now_ms());
        let session = setup.client.session;
        // With a store somebody goes on after us.
        let clean_start = setup.client.clean_start && !vault.is_durable();
        let is_first_retried = setup.client.reconnect.is_first_retried;
        let version = setup.client.reconnect.version.unwrap_or(Version::V5);
        let operation_timeout = Duration::from_millis(setup.client.operation_timeout_ms);
        let dispatch = Dispatch::new(setup.stall_budget_ms, shared.stream_room);
        Self {
            machine: Client::new(setup.client, setup.seed, now),
            shared,
            clock,
            now,
            line: Line::new(),
            vault,
            dispatch,
            entrusted: Entrusted::default(),
            pending: Pending::default(),
            claims: BTreeMap::new(),
            storing: VecDeque::new(),
            latest: Newest::default(),
            operations: BTreeMap::new(),
            inbox: VecDeque::new(),
            is_pressing: false,
            is_abandoned: false,
            leaving_until: None,
            room_at: None,
            life: if is_first_retried { Life::Running } else { Life::Connecting(connected) },
            refused: None,
            close_error: None,
            server: setup.server,
            who: setup.upcoming.who(),
            connect_timeout: setup.connect_timeout,
            stall_budget_ms: setup.stall_budget_ms,
            clean_start,
            queue_messages_max: session.queue_messages_max,
            queue_bytes_max: session.queue_bytes_max,
            when_full: setup.when_full,
            connector: setup.connector,
            dial: setup.dial,
            servers: setup.servers.max(1),
            tap: setup.tap,
            #[cfg(feature = "metrics")]
            metrics: None,
            version,
            is_connected: false,
            limits: None,
            attempt: Attempt::default(),
            connecting_until: None,
            span: Span::none(),
            last_reason: LinkReason::Lost,
            preparation: Preparation::new(setup.upcoming, setup.hook, operation_timeout),
            has_tried: false,
            settling: Settling::default(),
            machine_sleep: MachineSleep::new(setup.wall_clock),
            machine_deadline: None,
            stalled_until: None,
            closing_until: None,
            sleep: None,
            sleep_at: Time(0),
            stats: Stats::default(),
        }
    }

    /// Connects and drives the session until it is over. Boxed, since a future has room for all that moves into it, and
    /// once more for each future inside of it that this moves on to.
    #[cfg_attr(not(feature = "metrics"), expect(unused_mut, reason = "metrics begin here"))]
    pub(crate) async fn run(mut self: Box<Self>) {
        let client_id = self.machine.client_id().as_str();
        let span = spans::session(&self.server, client_id);
        #[cfg(feature = "metrics")]
        {
            self.metrics = Some(crate::metrics::Metrics::new(&self.server, client_id));
        }
        self.drive().instrument(span).await;
    }

    async fn drive(mut self: Box<Self>) {
        self.machine.connect(self.now);
        loop {
            self.turn();
            if self.life.is_over() && self.line.is_closed() {
                break;
            }
            // There is more to read, but first the program may take what was read: its buffer is free again then.
            if self.line.input.take_filled() {
                give_way(self.shared.seat().is_some()).await;
            }
            std::future::poll_fn(|cx| self.poll_wake(cx)).await;
            // With something to do in every turn, other tasks of this thread would never have theirs.
            tokio::task::consume_budget().await;
        }
        self.close_store().await;
        self.finish();
    }

    /// Applies commands, drains the machine once, and hands over what came out.
    fn turn(&mut self) {
        self.take_stored();
        self.take_outcomes();
        self.note_leaving();
        self.apply_inbox();
        self.step_life();
        self.drain();
        self.line.await_bytes(self.machine.awaited_len());
        self.unsubscribe_orphans();
        self.dispatch.flush();
        self.shared.requests.turn(self.now);
        let has_waiting_verb = self.pending.len() > 0 || !self.operations.is_empty();
        self.stalled_until = self.dispatch.stall(self.now, has_waiting_verb);
        if self.stalled_until.is_some() {
            // It must not look like a dead connection. Pings go on.
            self.machine.excuse_silence(self.now);
        }
        self.publish_stats();
        self.shared.mailbox.set_taker_room(self.room());
    }

    /// Waits for something to do, and does the reading and writing.
    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.now = Time(self.clock.now_ms());
        if self.machine_sleep.has_slept(self.now) {
            tracing::debug!(server = %self.server, "the machine slept");
            self.machine.check_alive(self.now);
        }
        let mut is_awake = self.poll_mailbox(cx);
        is_awake |= self.poll_prepare(cx);
        is_awake |= self.poll_respond(cx);
        is_awake |= self.poll_dial(cx);
        is_awake |= self.poll_write(cx);
        is_awake |= self.poll_read(cx);
        is_awake |= self.poll_time(cx);
        if is_awake { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_mailbox(&mut self, cx: &mut Context<'_>) -> bool {
        let taken = if self.inbox.is_empty() {
            self.is_pressing = false;
            self.shared.mailbox.poll_take(cx, &mut self.inbox)
        } else {
            self.shared.mailbox.poll_nudge(cx)
        };
        match taken {
            Poll::Ready(taken) => {
                self.is_abandoned |= taken.is_abandoned;
                self.is_pressing |= taken.is_pressing || taken.is_abandoned;
                true
            }
            Poll::Pending => false,
        }
    }

    fn poll_dial(&mut self, cx: &mut Context<'_>) -> bool {
        match self.line.poll_dial(cx) {
            Poll::Ready(Ok(())) => {
                self.attempt.had_stream = true;
                self.machine.handle_connected(self.now);
                true
            }
            Poll::Ready(Err(what)) => {
                self.fail_dial(what);
                true
            }
            Poll::Pending => false,
        }
    }

    /// Most writes leave nothing to do but to count them; a turn would be for nothing.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.line.bytes_sent;
        let was_flushed = self.line.is_flushed();
        let mut is_awake = false;
        while let Poll::Ready(written) = self.line.poll_write(&self.machine, &self.vault, cx) {
            match written {
                Written::Bytes(count) => {
                    is_awake |= self.machine.consume(count, self.now);
                    is_awake |= self.feed();
                    is_awake |= !self.inbox.is_empty() && !self.machine.is_backed_up();
                }
                Written::Broken | Written::Closed => {
                    self.close();
                    return true;
                }
                Written::Unreadable(spool, error) => {
                    self.lose_spool(spool, &error);
                    return true;
                }
            }
        }
        let has_sent = self.line.bytes_sent != before;
        // Who leaves may have waited for that alone.
        is_awake |= self.is_draining() && self.line.is_flushed() && (has_sent || !was_flushed);
        if !is_awake && has_sent {
            self.publish_stats();
        }
        is_awake
    }

    /// A payload cannot be read. A damaged one is given up, others are tried again on the next connection.
    fn lose_spool(&mut self, spool: u64, error: &StoreError) {
        tracing::error!(server = %self.server, %error, "the payload of a message cannot be read");
        self.close();
        if let StoreError::Corrupt { .. } | StoreError::NoSpool(_) = error {
            self.machine.handle_spool_damaged(spool, self.now);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> bool {
        if self.stalled_until.is_some() {
            return false;
        }
        if self.machine.is_receive_paused() {
            return self.poll_ahead(cx);
        }
        match self.line.poll_read(cx) {
            Poll::Ready(Read::Some) => {
                self.machine.handle_bytes(&mut self.line.input.bytes, self.now)
            }
            Poll::Ready(Read::End) => self.close(),
            Poll::Pending => return false,
        }
        true
    }

    /// Gives the machine what it left in the input while it was paused; says whether there was any.
    fn feed(&mut self) -> bool {
        let has_input = !self.line.input.bytes.is_empty() && !self.machine.is_receive_paused();
        if has_input {
            self.machine.handle_bytes(&mut self.line.input.bytes, self.now);
        }
        has_input
    }

    /// There is no stream, or none that was of use.
    fn fail_dial(&mut self, what: String) {
        // The next attempt may be about to begin, and has a time of its own.
        self.attempt.deadline = None;
        match self.line.fault() {
            Some(LinkReason::Tls(error) | LinkReason::Proxy(ProxyError::Tls { error, .. }))
                if error.is_about_certificates() =>
            {
                self.machine.handle_certificate_refused(what, self.now);
            }
            _ => self.machine.handle_dial_failed(what, self.now),
        }
    }

    fn close(&mut self) {
        // In TLS 1.3 a server judges our certificate when the handshake is over for us. That it speaks no 5.0 is not said.
        if let Some(LinkReason::Tls(error)) = self.line.fault()
            && !self.is_connected
            && !self.line.is_closing()
        {
            self.fail_dial(error.to_string());
        }
        self.line.close();
        self.closing_until = None;
        self.machine.handle_closed(self.now);
    }

    fn poll_time(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline() else { return false };
        if deadline <= self.now {
            self.handle_time();
            return true;
        }
        let sleep = self.sleep.get_or_insert_with(|| {
            self.sleep_at = Time(u64::MAX);
            Box::pin(tokio::time::sleep(Duration::ZERO))
        });
        // A sleep that ends too early costs one idle turn; setting it again for every message would cost more.
        if deadline >= self.sleep_at && !sleep.is_elapsed() {
            return false;
        }
        let wait = Duration::from_millis(deadline.ms_since(self.now).min(SLEEP_MS_MAX));
        sleep.as_mut().reset(Instant::now() + wait);
        self.sleep_at = deadline;
        // It wakes us from now on, so it must not put that off for the sake of other tasks.
        pin!(unconstrained(sleep.as_mut())).poll(cx).is_ready()
    }

    fn deadline(&self) -> Option<Time> {
        [
            self.machine_deadline,
            self.attempt.deadline,
            self.stalled_until,
            self.closing_until,
            self.life.deadline(),
            self.leaving_until.filter(|_| self.is_held_up()),
            self.room_at.filter(|_| self.is_held_up() && !self.is_connected),
            self.entrusted.deadline(),
            self.shared.requests.deadline(),
            self.preparation.deadline(),
            self.machine_sleep.deadline().filter(|_| self.is_connected),
        ]
        .iter()
        .filter_map(|deadline| *deadline)
        .min()
    }

    fn handle_time(&mut self) {
        let is_due = |deadline: Option<Time>| deadline.is_some_and(|deadline| deadline <= self.now);
        let (attempt_due, closing_due) =
            (is_due(self.attempt.deadline), is_due(self.closing_until));
        if is_due(self.machine_deadline) {
            self.machine.handle_time(self.now);
        }
        if attempt_due {
            self.time_out_attempt();
        }
        if closing_due {
            self.close();
        }
        self.expire_reauthentication();
    }

    fn publish_stats(&mut self) {
        let session = self.machine.stats();
        let counts = self.dispatch.counts();
        let stats = &mut self.stats;
        stats.queued = session.queued;
        stats.in_flight = session.flights;
        stats.bytes = session.bytes;
        stats.surplus = self.machine.surplus();
        stats.resent = session.resent;
        stats.dropped_full = session.dropped_full;
        stats.dropped_offline = session.dropped_offline;
        stats.dropped_superseded = session.dropped_superseded;
        stats.dropped_parked = session.dropped_parked;
        stats.dropped_expired = session.dropped_expired;
        stats.dropped_too_large = session.dropped_too_large;
        stats.dropped_not_offered = session.dropped_not_offered;
        stats.dropped_unreadable = session.dropped_unreadable;
        stats.dropped_slow = counts.dropped_slow;
        stats.dropped_outdated = counts.dropped_outdated;
        stats.dropped_unmatched = counts.dropped_unmatched;
        stats.slow_streams = counts.slow_streams;
        stats.unmatched = self.dispatch.kept() as u64;
        stats.bytes_sent = self.line.bytes_sent;
        stats.bytes_received = self.line.bytes_received;
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &mut self.metrics {
            metrics.set(stats);
        }
        self.shared.set_stats(*stats);
    }
}

/// [`tokio::task::yield_now`] for a driver that may lie in a seat: that one wakes it with the next look for events, which a
/// thread that leaves the runtime before does not take.
async fn give_way(is_seated: bool) {
    if !is_seated {
        return tokio::task::yield_now().await;
    }
    let mut has_given = false;
    std::future::poll_fn(|cx| {
        if mem::replace(&mut has_given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Longest sleep; a longer one is made of several.
const SLEEP_MS_MAX: u64 = 24 * 3600 * 1000;

/// The runtime was shut down: whoever waits must hear of it.
impl Drop for Driver {
    fn drop(&mut self) {
        // Closed before anybody hears of it, so that it can be opened again.
        drop(self.vault.take_disk());
        self.finish();
    }
}
