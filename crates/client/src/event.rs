//! What happens to the connection, as a stream.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use postrider_proto::{
    Limits,
    client::Restarted,
    wire::{Properties, QoS, ReasonCode, Version},
};

use crate::{
    LinkReason, PublishError, SessionEnd,
    lock::lock,
    shared::{Handle, Shared},
};

/// Something that the program may want to know about the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A connection was made.
    Connected(Box<Connected>),
    /// All that became of the session with a new connection; once for each, as soon as the server has answered what was
    /// subscribed again.
    Settled(Box<Settled>),
    /// The connection ended, or an attempt failed.
    Disconnected {
        /// Why.
        reason: LinkReason,
        /// When the next attempt is made; `None` if none is.
        retry_in: Option<Duration>,
    },
    /// The server had lost the session while an exchange of ours was open: the message was sent again as a new one and
    /// may arrive twice.
    MayBeDouble {
        /// Message number.
        number: u64,
    },
    /// A message is not sent again, because the server closed the connection right after it each time, see
    /// [`crate::Builder::park_after`]. It is told besides that it failed.
    Parked {
        /// Message number.
        number: u64,
        /// How often.
        closes: u32,
        /// Its topic.
        topic: String,
        /// Its payload, unless that lies in a file.
        payload: Option<Bytes>,
    },
    /// The server said something with a PUBREL, which ends the exchange of a message that arrived at QoS 2 (5.0).
    Released {
        /// [`crate::Message::packet_id`] of that message.
        packet_id: u16,
        /// [`crate::Message::number`] with [`crate::Builder::manual_acknowledgement`], if it was this process that
        /// acknowledged it. `None` with a PUBREL that comes again.
        number: Option<u64>,
        /// `Success`, or `PacketIdentifierNotFound`.
        reason: ReasonCode,
        /// Reason string and user properties.
        properties: Properties,
    },
    /// A message that nobody waits for any more could not be published.
    PublishFailed {
        /// Message number; 0 if it had none yet.
        number: u64,
        /// Why.
        error: PublishError,
    },
    /// A subscription could not be made again after the server lost the session, or was given up.
    SubscriptionLost {
        /// Its filter.
        filter: String,
        /// Why, in words.
        why: String,
    },
    /// This reader was too slow; that many events before the next one are missing.
    Missed(u64),
    /// The session is over; nothing follows.
    Over(SessionEnd),
}

/// What a new connection is like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connected {
    /// Where to: the URL without credentials.
    pub server: String,
    /// The client id: the builder's, the one that was made, or the one that the server assigned.
    pub client_id: String,
    /// Which version is spoken.
    pub version: Version,
    /// Whether the server went on with the session it had kept.
    pub session_present: bool,
    /// What may be sent.
    pub limits: Limits,
    /// Filters that were subscribed again because the server had no session.
    pub resubscribed: u32,
    /// Messages on their way that are sent again.
    pub resent: u32,
    /// What became of publications that were open, if the server had no session and there were any.
    pub restarted: Option<Restarted>,
    /// All properties of the server's CONNACK (5.0).
    pub properties: Properties,
}

/// What became of the session with a new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// The connection: whether the session was resumed or lost, limits, messages that are sent again, those that may
    /// arrive twice, those that failed.
    pub connected: Connected,
    /// Filters that were subscribed again because the server had no session, in order, with its answers.
    pub resubscriptions: Vec<Resubscription>,
    /// Messages that expired since the connection before.
    pub expired: u64,
}

/// What the server said to a filter that was subscribed again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resubscription {
    /// The filter.
    pub filter: String,
    /// The QoS granted, or why not.
    pub result: Result<QoS, ReasonCode>,
}

/// Events in their order, beginning with the state at the time of the call. Holds at most 256 that were not read.
#[derive(Debug)]
pub struct Events {
    queue: Arc<EventQueue>,
    _handle: Option<Arc<Handle>>,
}

/// Between the driver and one reader of events.
#[derive(Debug, Default)]
pub(crate) struct EventQueue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    missed: u64,
    is_over: bool,
    waker: Option<Waker>,
}

/// Events kept for one slow reader; more would only tell it about a past that nobody can change.
const EVENTS_MAX: usize = 256;

impl Events {
    pub(crate) fn new(queue: Arc<EventQueue>, handle: Option<Arc<Handle>>) -> Self {
        Self { queue, _handle: handle }
    }

    /// The next event; `None` after [`Event::Over`].
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.queue.poll(cx)).await
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.queue.poll(cx)
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<Event> {
        lock(&self.queue.0).take()
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.queue.poll(cx)
    }
}

impl EventQueue {
    pub(crate) fn push(&self, event: Event) {
        let mut state = lock(&self.0);
        if state.events.len() >= EVENTS_MAX {
            state.events.pop_front();
            state.missed += 1;
        }
        state.is_over |= matches!(event, Event::Over(_));
        state.events.push_back(event);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = lock(&self.0);
        match state.take() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.is_over => Poll::Ready(None),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl State {
    fn take(&mut self) -> Option<Event> {
        if self.missed > 0 {
            return Some(Event::Missed(std::mem::take(&mut self.missed)));
        }
        self.events.pop_front()
    }
}

/// Opens a stream of events that begins with the state of now.
pub(crate) fn open(shared: &Arc<Shared>, handle: Option<Arc<Handle>>) -> Events {
    let queue = Arc::new(EventQueue::default());
    shared.listen(&queue);
    Events::new(queue, handle)
}
