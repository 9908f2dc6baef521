//! What handles and driver share.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

use postrider_proto::{Limits, wire::QoS};

use crate::{
    SessionEnd, Stats,
    blocking::seat::Seat,
    command::Command,
    event::{Connected, Event, EventQueue},
    lock::lock,
    mailbox::{Mailbox, Room},
    request::Requests,
    token::Outcome,
};

/// Between all handles of a session and its driver.
pub(crate) struct Shared {
    pub(crate) mailbox: Mailbox<Command>,
    /// Whether messages at QoS 0 are taken without a connection.
    pub(crate) takes_qos0_offline: bool,
    /// Whether there is a store.
    pub(crate) has_store: bool,
    /// Milliseconds that a disconnect gives what is open; [`STAYING`] until one is asked for.
    leaving_ms: AtomicU64,
    /// Bounds of each stream.
    pub(crate) stream_room: Room,
    /// Largest packet the server accepts; 0 without a connection.
    packet_size_max: AtomicU32,
    /// Highest QoS the server takes; what it said last.
    qos_max: AtomicU8,
    streams: AtomicU64,
    /// What became of messages that the program acknowledges itself, as many as the server may leave open; `None` once
    /// nobody takes it.
    outcomes: Mutex<Option<Vec<Outcome>>>,
    /// Those who wait for answers to what they published.
    pub(crate) requests: Requests,
    /// The handles, for what is published on behalf of a message.
    handle: OnceLock<Weak<Handle>>,
    /// Blocking face: what the driver runs on, for as long as there is somebody who drives.
    seat: OnceLock<Weak<Seat>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connected: Option<Connected>,
    end: Option<SessionEnd>,
    stats: Stats,
    listeners: Vec<Arc<EventQueue>>,
}

/// Keeps the session alive: when the last is dropped, the driver flushes and disconnects.
#[derive(Debug)]
pub(crate) struct Handle(pub(crate) Arc<Shared>);

/// Not what waits: messages are nobody's business who prints a session.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.mailbox.abandon();
    }
}

/// Nobody has asked to leave.
const STAYING: u64 = u64::MAX;
/// Commands waiting for the driver; enough to keep it busy, few enough to keep the session's own bounds meaningful.
pub(crate) const MAILBOX: Room = Room { count: 1024, bytes: 4 * 1024 * 1024 };

impl Shared {
    pub(crate) fn new(
        takes_qos0_offline: bool,
        has_store: bool,
        stream_room: Room,
        requests: Requests,
    ) -> Self {
        Self {
            mailbox: Mailbox::new(MAILBOX),
            takes_qos0_offline,
            has_store,
            leaving_ms: AtomicU64::new(STAYING),
            stream_room,
            packet_size_max: AtomicU32::new(0),
            qos_max: AtomicU8::new(0),
            streams: AtomicU64::new(0),
            outcomes: Mutex::new(Some(Vec::new())),
            requests,
            handle: OnceLock::new(),
            seat: OnceLock::new(),
            state: Mutex::new(State::default()),
        }
    }

    /// A handle of the session.
    pub(crate) fn open_handle(self: Arc<Self>) -> Arc<Handle> {
        let handle = Arc::new(Handle(Arc::clone(&self)));
        // The first one is the only one; all others are clones.
        let _ = self.handle.set(Arc::downgrade(&handle));
        handle
    }

    /// The handle of the session, if somebody still has it.
    pub(crate) fn handle(&self) -> Option<Arc<Handle>> {
        self.handle.get().and_then(Weak::upgrade)
    }

    /// The driver runs here; said once.
    pub(crate) fn set_seat(&self, seat: &Arc<Seat>) {
        let _ = self.seat.set(Arc::downgrade(seat));
    }

    /// What the driver of a blocking session runs on, until the session is over.
    pub(crate) fn seat(&self) -> Option<Arc<Seat>> {
        self.seat.get().and_then(Weak::upgrade)
    }

    /// A number for a new stream, never reused.
    pub(crate) fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells the driver what became of a message.
    pub(crate) fn report(&self, outcome: Outcome) {
        let mut outcomes = lock(&self.outcomes);
        let Some(waiting) = &mut *outcomes else {
            drop(outcomes);
            // With its answers, and not under the lock.
            return drop(outcome);
        };
        waiting.push(outcome);
        drop(outcomes);
        self.mailbox.nudge();
    }

    /// Largest packet the server accepts; 0 without a connection.
    pub(crate) fn packet_size_max(&self) -> u32 {
        self.packet_size_max.load(Ordering::Relaxed)
    }

    /// Whether the server takes this QoS, as far as is known.
    pub(crate) fn takes(&self, qos: QoS) -> bool {
        qos.bits() <= self.qos_max.load(Ordering::Relaxed)
    }

    /// Says that a disconnect comes, which must not wait for longer than so many milliseconds behind publishers that wait
    /// for room. Of several the shortest counts.
    pub(crate) fn leave(&self, flush_ms: u64) {
        self.leaving_ms.fetch_min(flush_ms.min(STAYING - 1), Ordering::AcqRel);
        self.mailbox.nudge();
    }

    pub(crate) fn connected(&self) -> Option<Connected> {
        lock(&self.state).connected.clone()
    }

    pub(crate) fn limits(&self) -> Option<Limits> {
        lock(&self.state).connected.as_ref().map(|connected| connected.limits)
    }

    pub(crate) fn stats(&self) -> Stats {
        lock(&self.state).stats
    }

    /// Why the session is over; `Stopped` if nobody said.
    pub(crate) fn end(&self) -> SessionEnd {
        lock(&self.state).end.clone().unwrap_or(SessionEnd::Stopped)
    }

    pub(crate) fn over(&self) -> Option<SessionEnd> {
        lock(&self.state).end.clone()
    }

    /// Adds a reader of events and tells it the state of now.
    pub(crate) fn listen(&self, queue: &Arc<EventQueue>) {
        let mut state = lock(&self.state);
        if let Some(connected) = &state.connected {
            queue.push(Event::Connected(Box::new(connected.clone())));
        }
        match &state.end {
            Some(end) => queue.push(Event::Over(end.clone())),
            None => state.listeners.push(Arc::clone(queue)),
        }
    }

    // Driver's side.

    /// What [`Shared::leave`] was told since this was last asked.
    pub(crate) fn take_leaving_ms(&self) -> Option<u64> {
        // Nearly always there is nothing to take, and to look is cheaper.
        let has_any = self.leaving_ms.load(Ordering::Relaxed) != STAYING;
        has_any.then(|| self.leaving_ms.swap(STAYING, Ordering::AcqRel))
    }

    pub(crate) fn take_outcomes(&self) -> Vec<Outcome> {
        lock(&self.outcomes).as_mut().map(mem::take).unwrap_or_default()
    }

    pub(crate) fn close_outcomes(&self) {
        let rest = lock(&self.outcomes).take();
        drop(rest);
    }

    pub(crate) fn set_stats(&self, stats: Stats) {
        lock(&self.state).stats = stats;
    }

    pub(crate) fn set_connected(&self, connected: Option<Connected>) {
        let size = connected.as_ref().map_or(0, |connected| connected.limits.packet_size_max);
        if let Some(connected) = &connected {
            self.qos_max.store(connected.limits.qos_max.bits(), Ordering::Relaxed);
        }
        self.packet_size_max.store(size, Ordering::Relaxed);
        lock(&self.state).connected = connected;
    }

    /// Tells everybody, and forgets readers that are gone.
    pub(crate) fn tell(&self, event: &Event) {
        let mut state = lock(&self.state);
        state.listeners.retain(|queue| Arc::strong_count(queue) > 1);
        state.listeners.iter().for_each(|queue| queue.push(event.clone()));
    }

    /// The first end counts.
    pub(crate) fn set_end(&self, end: SessionEnd) {
        let mut state = lock(&self.state);
        if state.end.is_none() {
            state.end = Some(end.clone());
            state.connected = None;
            self.packet_size_max.store(0, Ordering::Relaxed);
            let event = Event::Over(end);
            mem::take(&mut state.listeners).iter().for_each(|queue| queue.push(event.clone()));
        }
    }
}
