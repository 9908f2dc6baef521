//! Between the driver and one stream of messages: bounded, filled and emptied in batches.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use postrider_proto::wire::QoS;

use crate::{
    Message, SessionEnd,
    lock::lock,
    mailbox::Room,
    shared::{Handle, Shared},
};

/// Why a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEnd {
    /// It was unsubscribed.
    Unsubscribed,
    /// The server refused the subscription, also when it was made again after a lost session.
    Refused,
    /// Its reader was too slow for longer than the stall budget, and messages at QoS 1 or 2 must not be dropped.
    /// The stream was unsubscribed.
    TooSlow,
    /// The session is over.
    Over(SessionEnd),
}

/// Between the driver and one stream.
#[derive(Debug)]
pub(crate) struct StreamQueue {
    /// Number of the stream.
    pub(crate) id: u64,
    room: Room,
    /// Messages and bytes pushed and not yet handed out.
    held: AtomicUsize,
    held_bytes: AtomicUsize,
    /// The driver wants to know when there is room again.
    is_watched: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Message>,
    waker: Option<Waker>,
    end: Option<StreamEnd>,
}

/// The reader's end.
#[derive(Debug)]
pub(crate) struct Reader {
    queue: Arc<StreamQueue>,
    shared: Arc<Shared>,
    /// Keeps the session alive.
    handle: Option<Arc<Handle>>,
    /// Taken from the queue, not yet handed out.
    batch: VecDeque<Message>,
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// There is room.
    Room,
    /// The bounds are reached.
    Full,
    /// The bounds are passed eightfold: reading stops even while a verb waits for an answer.
    Flooded,
}

/// How far a stream may pass its bounds while a verb waits for an answer.
const FLOOD: usize = 8;

impl StreamQueue {
    pub(crate) fn new(id: u64, room: Room) -> Self {
        Self {
            id,
            room,
            held: AtomicUsize::new(0),
            held_bytes: AtomicUsize::new(0),
            is_watched: AtomicBool::new(false),
            state: Mutex::new(State::default()),
        }
    }

    /// Driver: counts a message that it is about to push.
    pub(crate) fn reserve(&self, message: &Message) {
        self.held.fetch_add(1, Ordering::Relaxed);
        self.held_bytes.fetch_add(message.cost(), Ordering::Relaxed);
    }

    /// Driver: moves a batch of reserved messages into the queue and wakes the reader.
    pub(crate) fn push(&self, batch: &mut VecDeque<Message>) {
        let mut state = lock(&self.state);
        if state.ready.is_empty() {
            mem::swap(&mut state.ready, batch);
        } else {
            state.ready.append(batch);
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Driver: drops the oldest message at QoS 0; says whether there was one.
    pub(crate) fn drop_oldest(&self) -> bool {
        let mut state = lock(&self.state);
        let found = state.ready.iter().position(|message| message.qos() == QoS::AtMostOnce);
        let Some(message) = found.and_then(|at| state.ready.remove(at)) else { return false };
        self.release(&message);
        true
    }

    pub(crate) fn fill(&self) -> Fill {
        let (held, bytes) = (self.held(), self.held_bytes.load(Ordering::Relaxed));
        if held < self.room.count && (bytes < self.room.bytes || held == 0) {
            Fill::Room
        } else if held < self.room.count.saturating_mul(FLOOD)
            && bytes < self.room.bytes.saturating_mul(FLOOD)
        {
            Fill::Full
        } else {
            Fill::Flooded
        }
    }

    /// Driver: whether half of the room is free again, so that reading may go on.
    pub(crate) fn has_drained(&self) -> bool {
        self.held() <= self.room.count / 2
            && self.held_bytes.load(Ordering::Relaxed) <= self.room.bytes / 2
    }

    /// Driver: asks for a nudge when the queue has drained.
    pub(crate) fn watch(&self, is_watched: bool) {
        self.is_watched.store(is_watched, Ordering::Relaxed);
    }

    /// Driver: nothing more will come. The first end counts.
    pub(crate) fn end(&self, end: StreamEnd) {
        let mut state = lock(&self.state);
        state.end.get_or_insert(end);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Driver: takes everything out, for a stream that it reads itself.
    pub(crate) fn take_all(&self, into: &mut VecDeque<Message>) {
        mem::swap(&mut lock(&self.state).ready, into);
        into.iter().for_each(|message| self.release(message));
    }

    pub(crate) fn ended(&self) -> Option<StreamEnd> {
        lock(&self.state).end.clone()
    }

    /// Messages not yet handed out.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn release(&self, message: &Message) {
        self.held.fetch_sub(1, Ordering::Relaxed);
        self.held_bytes.fetch_sub(message.cost(), Ordering::Relaxed);
    }
}

impl Reader {
    pub(crate) fn new(
        queue: Arc<StreamQueue>,
        shared: Arc<Shared>,
        handle: Option<Arc<Handle>>,
    ) -> Self {
        Self { queue, shared, handle, batch: VecDeque::new() }
    }

    pub(crate) fn queue(&self) -> &Arc<StreamQueue> {
        &self.queue
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Lets the session end although this stream is still there.
    pub(crate) fn let_go(&mut self) {
        self.handle = None;
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        if let Some(message) = self.take() {
            return Poll::Ready(Some(message));
        }
        let mut state = lock(&self.queue.state);
        if state.ready.is_empty() {
            if state.end.is_some() {
                return Poll::Ready(None);
            }
            match &mut state.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => state.waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        mem::swap(&mut state.ready, &mut self.batch);
        drop(state);
        Poll::Ready(self.take())
    }

    pub(crate) fn try_take(&mut self) -> Option<Message> {
        if self.batch.is_empty() {
            mem::swap(&mut lock(&self.queue.state).ready, &mut self.batch);
        }
        self.take()
    }

    fn take(&mut self) -> Option<Message> {
        let message = self.batch.pop_front()?;
        self.queue.release(&message);
        if self.queue.is_watched.load(Ordering::Relaxed) && self.queue.has_drained() {
            self.queue.watch(false);
            self.shared.mailbox.nudge();
        }
        Some(message)
    }
}

impl fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsubscribed => f.write_str("the stream was unsubscribed"),
            Self::Refused => f.write_str("the server refused the subscription"),
            Self::TooSlow => f.write_str(
                "the reader was too slow for longer than the stall budget; read faster, or raise \
                 stream_messages, stream_bytes or stall_budget",
            ),
            Self::Over(end) => write!(f, "{end}"),
        }
    }
}
