//! Between the driver and one stream of messages: bounded, filled and emptied in batches.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use postrider_proto::wire::QoS;
use smallvec::SmallVec;

pub(crate) use crate::gauge::Fill;
use crate::{
    Message, SessionEnd, WhenSlow,
    gauge::Gauge,
    latest::Latest,
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
    /// Its reader was too slow for longer than the stall budget, and messages at QoS 1 or 2 must not be dropped; or it was
    /// full, and this was to be its end ([`WhenSlow::Fail`]). The stream was unsubscribed.
    TooSlow,
    /// The session is over.
    Over(SessionEnd),
}

/// Between the driver and one stream.
pub(crate) struct StreamQueue {
    /// Number of the stream.
    pub(crate) id: u64,
    pub(crate) when_slow: WhenSlow,
    gauge: Gauge,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Message>,
    /// In place of `ready` with [`WhenSlow::KeepLatest`].
    latest: Latest,
    waker: Option<Waker>,
    end: Option<StreamEnd>,
}

/// Counts of messages that gave way to later ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GaveWay {
    /// For want of room.
    pub(crate) oldest: u64,
    /// To a later one of their topic.
    pub(crate) outdated: u64,
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

impl StreamQueue {
    pub(crate) fn new(id: u64, room: Room, when_slow: WhenSlow) -> Self {
        Self { id, when_slow, gauge: Gauge::new(room), state: Mutex::new(State::default()) }
    }

    /// Driver: counts a message that it is about to push.
    pub(crate) fn reserve(&self, message: &Message) {
        self.gauge.add(message.cost());
    }

    /// Driver: puts a message in at once; where there is no room for it, others give way by the policy of the stream.
    pub(crate) fn put(&self, message: Message) -> GaveWay {
        let mut gone: SmallVec<[Message; 1]> = SmallVec::new();
        let mut gave_way = GaveWay::default();
        self.reserve(&message);
        let mut state = lock(&self.state);
        if self.when_slow == WhenSlow::KeepLatest {
            if let Some(before) = state.latest.put(message) {
                self.release(&before);
                gone.push(before);
                gave_way.outdated += 1;
            }
        } else {
            state.ready.push_back(message);
        }
        while self.gauge.is_over() {
            let Some(oldest) = state.pop() else { break };
            self.release(&oldest);
            gone.push(oldest);
            gave_way.oldest += 1;
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        // Not under the lock: this tells the driver.
        gone.into_iter().for_each(Message::give_up);
        gave_way
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
        self.gauge.fill()
    }

    /// Driver: asks for a nudge when half of the room is free again; true if it is already.
    pub(crate) fn watch(&self) -> bool {
        self.gauge.watch()
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
        for message in into.iter() {
            // The driver is awake: it is who asks.
            self.release(message);
        }
    }

    pub(crate) fn ended(&self) -> Option<StreamEnd> {
        lock(&self.state).end.clone()
    }

    /// Messages not yet handed out.
    pub(crate) fn held(&self) -> usize {
        self.gauge.held()
    }

    /// Says whether the driver must be nudged.
    fn release(&self, message: &Message) -> bool {
        self.gauge.remove(message.cost())
    }
}

/// Not what waits, as [`Shared`].
impl fmt::Debug for StreamQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamQueue")
            .field("id", &self.id)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

impl State {
    /// The oldest message.
    fn pop(&mut self) -> Option<Message> {
        self.ready.pop_front().or_else(|| self.latest.pop())
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.latest.is_empty()
    }

    /// Moves what the reader may take ahead into its batch: all of it, or one message where others may give way to later
    /// ones.
    fn take(&mut self, when_slow: WhenSlow, batch: &mut VecDeque<Message>) {
        if when_slow.drops() {
            batch.extend(self.pop());
        } else {
            mem::swap(&mut self.ready, batch);
        }
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
        if state.is_empty() {
            if state.end.is_some() {
                return Poll::Ready(None);
            }
            match &mut state.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => state.waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        state.take(self.queue.when_slow, &mut self.batch);
        drop(state);
        Poll::Ready(self.take())
    }

    pub(crate) fn try_take(&mut self) -> Option<Message> {
        if self.batch.is_empty() {
            lock(&self.queue.state).take(self.queue.when_slow, &mut self.batch);
        }
        self.take()
    }

    fn take(&mut self) -> Option<Message> {
        let message = self.batch.pop_front()?;
        if self.queue.release(&message) {
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
                "the reader was too slow for longer than the stall budget; read faster, raise \
                 stream_messages, stream_bytes or stall_budget, or choose another when_slow",
            ),
            Self::Over(end) => write!(f, "{end}"),
        }
    }
}
