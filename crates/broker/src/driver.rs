//! The loop around one hub: bytes and time in, outputs out.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use postrider_hub::{Ask, Event, Hub, LinkId, MovedLink, Output, PeerMessage};
use postrider_net::Clock;
use postrider_proto::{SpoolOutput, Time};
use postrider_store::StoreError;
use tokio::{
    sync::Semaphore,
    time::{Instant, Sleep, sleep_until, timeout},
};
use tracing::{debug, error, info, warn};

use crate::{
    conn::{Conn, Reading, Writing},
    inbox::{Address, Carried, Inbox, Input, Source, wake_waiting},
    users::Users,
    vault::Vault,
};

/// What a driver needs besides its hub.
pub(crate) struct Surroundings {
    pub(crate) inbox: Inbox,
    /// All drivers of the broker by index, this one too.
    pub(crate) drivers: Arc<[Address]>,
    pub(crate) clock: Clock,
    pub(crate) users: Arc<Users>,
    /// How long a stop may take until what is not flushed is dropped.
    pub(crate) flush_max: Duration,
    /// Why the broker ends by itself: the first failure of the store.
    pub(crate) failed: Arc<OnceLock<StoreError>>,
}

/// Drives one hub on one thread.
pub(crate) struct Driver {
    hub: Hub,
    vault: Vault,
    index: u16,
    around: Surroundings,
    conns: Vec<Option<Conn>>,
    open: usize,
    /// Read into by all connections in turn.
    buffer: BytesMut,
    /// Time of this turn.
    now: Time,
    /// Slots to read, in the order in which they became ready.
    queue: VecDeque<u32>,
    /// Links to write to.
    dirty: Vec<LinkId>,
    /// Links that are being closed, with the time at which flushing is given up.
    closing: VecDeque<(Time, LinkId)>,
    /// For the other hubs, until the drain ends.
    outgoing: Vec<(u16, PeerMessage)>,
    /// When the hub wants to hear of time.
    deadline: Option<Time>,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to.
    armed: Option<Time>,
    /// The store failed: nothing may leave any more.
    has_failed: bool,
    /// One permit for each stream that is being closed in peace.
    lingering: Arc<Semaphore>,
    /// Set by a stop: when to give up flushing.
    stop_by: Option<Time>,
}

impl Driver {
    /// Must be called inside the runtime that will run it.
    pub(crate) fn new(hub: Hub, vault: Vault, index: u16, around: Surroundings) -> Self {
        Self {
            hub,
            vault,
            index,
            conns: Vec::new(),
            open: 0,
            buffer: BytesMut::new(),
            now: Time(around.clock.now_ms()),
            around,
            queue: VecDeque::new(),
            dirty: Vec::new(),
            closing: VecDeque::new(),
            outgoing: Vec::new(),
            deadline: None,
            timer: Box::pin(sleep_until(Instant::now())),
            armed: None,
            has_failed: false,
            lingering: Arc::new(Semaphore::new(LINGERING_MAX)),
            stop_by: None,
        }
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self) {
        // The turns have bounds of their own; tokio's would cut a batch in the middle.
        tokio::task::unconstrained(poll_fn(|cx| self.turn(cx))).await;
        self.conns.clear();
        wake_waiting(&self.around.drivers);
        let all = u32::try_from(LINGERING_MAX).unwrap_or(u32::MAX);
        // Whoever has not seen our last byte by then will not.
        let _ = timeout(LINGER_AT_STOP, self.lingering.acquire_many(all)).await;
    }

    /// One wake-up: inputs, time, reads; then outputs and writes.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.now = Time(self.around.clock.now_ms());
        let mut has_more = self.take_inputs(cx);
        if self.deadline.is_some_and(|at| at <= self.now) {
            self.hub.handle_time(self.now);
        }
        has_more |= self.read_ready();
        self.give_up_closing();
        has_more |= self.settle();
        if self.stop_by.is_some_and(|at| self.open == 0 || at <= self.now) {
            return Poll::Ready(());
        }
        self.arm(cx);
        if has_more || !self.around.inbox.ready.park(cx.waker()) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Takes what is in the inbox; true if there may be more.
    fn take_inputs(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..INPUTS_PER_TURN {
            let Poll::Ready(input) = self.around.inbox.receiver.poll_recv(cx) else {
                return false;
            };
            match input {
                Some(Input::Accept(source)) => self.accept(source),
                Some(Input::Adopt { source, unread, moved }) => self.adopt(source, unread, *moved),
                Some(Input::Peer(from, message)) => {
                    self.around.inbox.took_peer_message(&self.around.drivers);
                    self.hub.handle_peer(from, message, self.now);
                }
                // The asker may have gone; then nobody wants the answer.
                Some(Input::Stats(answer)) => drop(answer.try_send(self.hub.stats())),
                Some(Input::Stop) => self.stop(),
                Some(Input::Kill) => self.stop_by = Some(self.now),
                None => {
                    self.stop();
                    return false;
                }
            }
        }
        true
    }

    fn accept(&mut self, source: Source) {
        if self.stop_by.is_some() {
            return;
        }
        let link = self.hub.accept_relying_on(source.mode, self.now);
        self.add(link, source, BytesMut::new());
    }

    fn adopt(&mut self, source: Source, unread: BytesMut, moved: MovedLink) {
        if self.stop_by.is_some() {
            return;
        }
        let link = self.hub.adopt(moved, self.now);
        self.add(link, source, unread);
        if let Some(conn) = self.conn(link) {
            conn.has_unread = true;
        }
    }

    fn add(&mut self, link: LinkId, source: Source, unread: BytesMut) {
        let Source { stream, peer, mode } = source;
        let stream = match stream {
            Carried::Ready(stream) => stream,
            Carried::Detached(detached) => match detached.attach() {
                Ok(stream) => stream,
                Err(error) => {
                    warn!(peer, %error, "cannot take over a connection");
                    return self.hub.handle_closed(link, self.now);
                }
            },
        };
        debug!(peer, slot = link.slot, hub = self.index, "connection");
        let slot = link.slot as usize;
        if self.conns.len() <= slot {
            self.conns.resize_with(slot + 1, || None);
        }
        let mut conn = Conn::new(link, stream, peer, mode, &self.around.inbox.ready);
        conn.input = unread;
        conn.signal.raise();
        if let Some(place) = self.conns.get_mut(slot) {
            debug_assert!(place.is_none(), "the hub gave out a slot whose link is open");
            *place = Some(conn);
            self.open += 1;
        }
    }

    fn stop(&mut self) {
        if self.stop_by.is_none() {
            let flush_ms = u64::try_from(self.around.flush_max.as_millis()).unwrap_or(u64::MAX);
            self.stop_by = Some(self.now.plus_ms(flush_ms));
            self.around.inbox.receiver.close();
            self.hub.shut_down(self.now);
        }
    }

    /// Reads the connections that are ready, up to the bytes of one turn; true if some are left.
    fn read_ready(&mut self) -> bool {
        self.around.inbox.ready.take(&mut self.queue);
        let must_wait = self.around.inbox.must_wait(&self.around.drivers);
        let mut read = 0;
        let mut left = self.queue.len();
        while left > 0 && read < READ_BYTES_PER_TURN {
            left -= 1;
            let Some(slot) = self.queue.pop_front() else { break };
            let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) else {
                continue;
            };
            conn.signal.lower();
            if conn.is_blocked || conn.is_closing {
                conn.is_blocked = false;
                mark(&mut self.dirty, conn);
            }
            if !conn.is_readable() {
                continue;
            }
            if must_wait {
                self.queue.push_back(slot);
                continue;
            }
            match conn.read(&mut self.hub, &mut self.buffer, self.now, &mut read) {
                Reading::Waits => {}
                Reading::More => conn.signal.raise(),
                Reading::Ended => {
                    conn.is_ended = true;
                    mark(&mut self.dirty, conn);
                }
                Reading::Failed(error) => {
                    let link = conn.link;
                    debug!(peer = conn.peer, %error, "connection failed");
                    self.lose(link);
                }
            }
        }
        !self.queue.is_empty() && !must_wait
    }

    /// Drains and writes in turns until nothing is left, or the share of one turn is used; true in that case.
    fn settle(&mut self) -> bool {
        for _ in 0..ROUNDS_PER_TURN {
            if !self.drain_or_fail() {
                return false;
            }
            if self.dirty.is_empty() {
                return self.deadline.is_some_and(|at| at <= self.now);
            }
            self.write_dirty();
        }
        self.drain_or_fail()
    }

    /// Drains; false if the store has failed.
    fn drain_or_fail(&mut self) -> bool {
        if !self.has_failed
            && let Err(error) = self.drain()
        {
            self.fail(&error);
        }
        !self.has_failed
    }

    /// Does what the hub asks for until it waits.
    fn drain(&mut self) -> Result<(), StoreError> {
        loop {
            match self.hub.poll_output() {
                Output::Transmit(link) => self.transmit(link),
                Output::Close(link) => self.close(link),
                Output::Pause(link) => {
                    if let Some(conn) = self.conn(link) {
                        conn.is_paused = true;
                    }
                }
                Output::Resume(link) => {
                    if let Some(conn) = self.conn(link) {
                        conn.is_paused = false;
                        conn.has_unread = true;
                        conn.signal.raise();
                    }
                }
                Output::Ask(ask) => self.judge(&ask),
                Output::Move { link, to, moved } => self.hand_over(link, to, moved),
                Output::Peer(to, message) => self.outgoing.push((to, message)),
                Output::Store(seq, record) => self.vault.take(seq, &record),
                Output::Page { ticket, request } => {
                    let page = self.vault.page(&request)?;
                    self.hub.handle_page(ticket, page, self.now);
                }
                Output::Spool(output) => self.spool(output)?,
                Output::Event(event) => self.report(&event),
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    self.vault.write()?;
                    if self.hub.awaits_sync() {
                        self.vault.sync()?;
                    }
                    self.tell_peers();
                    match self.vault.stored()? {
                        Some(stored) => {
                            self.hub.handle_stored(stored.synced, self.now);
                            self.hub.handle_handed(stored.handed, self.now);
                        }
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    fn spool(&mut self, output: SpoolOutput) -> Result<(), StoreError> {
        let (SpoolOutput::Append(number, _) | SpoolOutput::Drop(number)) = output;
        match self.vault.spool(output) {
            Err(error @ (StoreError::SpoolLimit(_) | StoreError::Full { .. })) => {
                if !self.hub.handle_spool_failed(number, self.now) {
                    return Err(error);
                }
                warn!(%error, "a large message is refused");
                Ok(())
            }
            other => other,
        }
    }

    /// Sends what is for the other hubs. Not before the end of a drain: a message may name a spool whose last bytes
    /// come later in the drain, and the other hub reads at once.
    fn tell_peers(&mut self) {
        for (to, message) in self.outgoing.drain(..) {
            if let Some(peer) = self.around.drivers.get(usize::from(to)) {
                // A peer that has ended is told nothing more; the broker is stopping then.
                let _ = peer.send(Input::Peer(self.index, message));
            }
        }
    }

    /// Writes to all links that have output.
    fn write_dirty(&mut self) {
        let mut links = std::mem::take(&mut self.dirty);
        for link in links.drain(..) {
            let slot = self.conns.get_mut(link.slot as usize).and_then(Option::as_mut);
            let Some(conn) = slot.filter(|conn| conn.link == link) else { continue };
            conn.is_dirty = false;
            let outcome = conn.write(&mut self.hub, &self.vault, self.now);
            let is_ended = conn.is_ended;
            match outcome {
                // Nobody reads the rest of what is for a peer that ended and takes no more.
                _ if is_ended => self.lose(link),
                Writing::Done if conn.is_closing => self.part(link),
                Writing::Done | Writing::Blocked => {}
                Writing::More => mark(&mut self.dirty, conn),
                Writing::Failed(error) => {
                    debug!(peer = conn.peer, %error, "connection failed");
                    self.lose(link);
                }
                Writing::Unreadable(spool, error) => {
                    error!(peer = conn.peer, %error, "a stored payload cannot be read");
                    drop(self.take(link));
                    if let StoreError::Corrupt { .. } | StoreError::NoSpool(_) = error {
                        self.hub.handle_spool_damaged(link, spool, self.now);
                    } else {
                        // It may pass: the message is tried again with the next connection.
                        self.hub.handle_closed(link, self.now);
                    }
                }
            }
        }
        if self.dirty.is_empty() {
            self.dirty = links; // Its memory serves again.
        }
    }

    fn transmit(&mut self, link: LinkId) {
        let slot = self.conns.get_mut(link.slot as usize).and_then(Option::as_mut);
        if let Some(conn) = slot.filter(|conn| conn.link == link)
            && !conn.is_blocked
        {
            mark(&mut self.dirty, conn);
        }
    }

    fn close(&mut self, link: LinkId) {
        let give_up = self.now.plus_ms(CLOSE_MS_MAX);
        let slot = self.conns.get_mut(link.slot as usize).and_then(Option::as_mut);
        let Some(conn) = slot.filter(|conn| conn.link == link) else {
            return self.hub.handle_closed(link, self.now);
        };
        if !conn.is_closing {
            conn.is_closing = true;
            self.closing.push_back((give_up, link));
        }
        mark(&mut self.dirty, conn);
    }

    fn judge(&mut self, ask: &Ask) {
        let reason = self.around.users.judge(ask);
        if reason.is_error() {
            debug!(client_id = ask.client_id.as_str(), %reason, "CONNECT refused");
        }
        self.hub.handle_answer(ask.link, reason, self.now);
    }

    /// Gives a connection to the driver of the hub where its session lives.
    fn hand_over(&mut self, link: LinkId, to: u16, moved: Box<MovedLink>) {
        let Some(conn) = self.take(link) else { return };
        let Conn { stream, peer, mode, input: unread, .. } = conn;
        let stream = match stream.detach() {
            Ok(detached) => Carried::Detached(detached),
            Err(error) => {
                warn!(peer, %error, "cannot hand over a connection");
                return;
            }
        };
        let input = Input::Adopt { source: Source { stream, peer, mode }, unread, moved };
        if let Some(driver) = self.around.drivers.get(usize::from(to)) {
            // If it has ended, the broker is stopping and the connection ends here.
            let _ = driver.send(input);
        }
    }

    fn report(&self, event: &Event) {
        match event {
            Event::Connected { link, client_id, session_present } => {
                let conn = self.conns.get(link.slot as usize).and_then(Option::as_ref);
                let peer = conn.map(|conn| conn.peer.as_str());
                info!(client_id = client_id.as_str(), peer, session_present, "client connected");
            }
            Event::Disconnected { client_id, end, .. } => {
                let client_id = client_id.as_ref().map(|client_id| client_id.as_str());
                info!(client_id, ?end, "client disconnected");
            }
            Event::Unreadable { client_id, error } => {
                error!(client_id = client_id.as_str(), %error, "queued messages are lost");
            }
            other => debug!(?other, "event"),
        }
    }

    /// Closes a stream after its last byte was written.
    fn part(&mut self, link: LinkId) {
        let Some(conn) = self.conn(link) else { return };
        if !conn.finish() {
            return;
        }
        let Some(conn) = self.take(link) else { return };
        self.hub.handle_closed(link, self.now);
        if let Ok(permit) = Arc::clone(&self.lingering).try_acquire_owned() {
            tokio::spawn(async move {
                linger(conn.stream).await;
                drop(permit);
            });
        }
    }

    /// Drops a connection that ended or failed.
    fn lose(&mut self, link: LinkId) {
        drop(self.take(link));
        self.hub.handle_closed(link, self.now);
    }

    /// Drops connections whose peer does not take our last bytes.
    fn give_up_closing(&mut self) {
        while let Some((_, link)) = self.closing.pop_front_if(|(at, _)| *at <= self.now) {
            if self.conn(link).is_some() {
                self.lose(link);
            }
        }
    }

    /// The store failed: nothing may be acknowledged any more.
    fn fail(&mut self, error: &StoreError) {
        error!(%error, "the store failed; the broker hangs up");
        self.has_failed = true;
        // All hubs have one store; what the first heard is what happened.
        let _ = self.around.failed.set(error.clone());
        self.stop_by = Some(self.now);
        for driver in self.around.drivers.iter() {
            // One that has ended needs no telling.
            let _ = driver.send(Input::Stop);
        }
    }

    /// Sets the timer. A timer that is set to an earlier time stays: waking once in vain is cheaper than setting it
    /// again and again.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let closing = self.closing.front().map(|(at, _)| *at);
        let wanted = [self.deadline, closing, self.stop_by].into_iter().flatten().min();
        let Some(wanted) = wanted else { return };
        loop {
            if self.armed.is_none_or(|armed| wanted < armed) {
                // The millisecond makes sure that the time has come when the timer says so.
                let wait = Duration::from_millis(wanted.ms_since(self.now).min(WAIT_MS_MAX) + 1);
                self.timer.as_mut().reset(Instant::now() + wait);
                self.armed = Some(wanted);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return;
            }
            self.armed = None;
        }
    }

    fn conn(&mut self, link: LinkId) -> Option<&mut Conn> {
        let slot = self.conns.get_mut(link.slot as usize)?;
        slot.as_mut().filter(|conn| conn.link == link)
    }

    fn take(&mut self, link: LinkId) -> Option<Conn> {
        let slot = self.conns.get_mut(link.slot as usize)?;
        let conn = slot.take_if(|conn| conn.link == link)?;
        self.open -= 1;
        Some(conn)
    }
}

/// Also after a panic.
impl Drop for Driver {
    fn drop(&mut self) {
        self.vault.end();
    }
}

/// Puts a connection into the list of those to write to, once.
fn mark(dirty: &mut Vec<LinkId>, conn: &mut Conn) {
    if !conn.is_dirty {
        conn.is_dirty = true;
        dirty.push(conn.link);
    }
}

/// Waits for the peer's end, throwing away what it still sends. A socket that is closed with unread bytes is reset, and
/// the peer might never see the reason for which we closed.
async fn linger(mut stream: postrider_net::Stream) {
    use tokio::io::AsyncReadExt;
    let rest = async {
        let mut bytes = vec![0; LINGER_BYTES];
        while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    };
    let _ = timeout(LINGER_MAX, rest).await;
}

/// Inputs taken in one turn.
const INPUTS_PER_TURN: u32 = 256;
/// Bytes read in one turn before outputs are drained: about what fits a core's cache.
const READ_BYTES_PER_TURN: usize = 256 * 1024;
/// Times that outputs are drained and written in one turn.
const ROUNDS_PER_TURN: u32 = 4;
/// Milliseconds after which a peer that does not take our last bytes is dropped.
const CLOSE_MS_MAX: u64 = 5_000;
/// Longest sleep in milliseconds. Timers stand still while the machine sleeps, our clock does not.
const WAIT_MS_MAX: u64 = 60_000;
/// Streams being closed in peace at once; more are closed at once.
const LINGERING_MAX: usize = 1024;
/// How long a peer may take to close its end.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// The same when the broker stops.
const LINGER_AT_STOP: Duration = Duration::from_millis(250);
/// Buffer for bytes that nobody wants.
const LINGER_BYTES: usize = 4096;
