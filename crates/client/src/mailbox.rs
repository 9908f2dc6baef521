//! What handles send and the driver takes: one queue, one lock, swapped out whole.
//!
//! ```text
//! handle --send (waits while full)--> [ queue ] --take (all of it)--> driver
//! handle --nudge--------------------> [ flag  ] --take------------->
//! ```
//!
//! The driver never waits for the lock longer than a push takes. This file knows nothing of MQTT and uses nothing but a
//! mutex and wakers, so that a model checker can try every order: `tests/model` does, on this very source.

use std::{
    collections::VecDeque,
    mem,
    task::{Context, Poll, Waker},
};

use crate::lock::{Mutex, lock};

/// A bounded queue with many senders and one taker.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    state: Mutex<State<T>>,
    room: Room,
}

/// What goes through a mailbox.
pub(crate) trait Mail {
    /// Takes `next`, and counts it up; or leaves it: numbers have the order of places. `is_sure`: the taker will not
    /// refuse it for want of room.
    fn number(&mut self, next: &mut u64, is_sure: bool);

    /// Whether it may lie while the connection is slow. What may not takes those before it along.
    fn is_patient(&self) -> bool;
}

/// Bounds of a mailbox. A value larger than all of `bytes` still passes when nothing else waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Most values waiting.
    pub(crate) count: usize,
    /// Most bytes waiting.
    pub(crate) bytes: usize,
}

/// What a take found besides values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The last handle is gone: nothing more will come.
    pub(crate) is_abandoned: bool,
    /// Something that is not patient is among the values, or waits for room behind them.
    pub(crate) is_pressing: bool,
}

/// The taker is gone; the value comes back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed<T>(pub(crate) T);

/// One sender's place among those who wait for room.
#[derive(Debug, Default)]
pub(crate) struct Ticket(Option<u64>);

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    bytes: usize,
    /// Of them, bytes of values that were forced in beyond the bounds, and the largest of these.
    forced_bytes: usize,
    forced_max: usize,
    number_next: u64,
    /// How many values the taker has room for.
    taker_room: usize,
    has_nudge: bool,
    is_pressing: bool,
    is_abandoned: bool,
    is_closed: bool,
    taker: Option<Waker>,
    senders: Vec<(u64, Waker)>,
    tickets: u64,
}

impl<T: Mail> Mailbox<T> {
    pub(crate) fn new(room: Room) -> Self {
        let state = State {
            queue: VecDeque::new(),
            bytes: 0,
            forced_bytes: 0,
            forced_max: 0,
            number_next: 1,
            taker_room: 0,
            has_nudge: false,
            is_pressing: false,
            is_abandoned: false,
            is_closed: false,
            taker: None,
            senders: Vec::new(),
            tickets: 0,
        };
        Self { state: Mutex::new(state), room }
    }

    /// The first number that is given out.
    pub(crate) fn number_from(&self, number: u64) {
        lock(&self.state).number_next = number;
    }

    /// The taker has room for so many values, for those in the queue too.
    pub(crate) fn set_taker_room(&self, count: usize) {
        lock(&self.state).taker_room = count;
    }

    /// Puts `value` (always there on entry) into the queue as soon as there is room for it.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Ticket,
        value: &mut Option<T>,
        bytes: usize,
    ) -> Poll<Result<(), Closed<T>>> {
        let mut state = lock(&self.state);
        let Some(taken) = value.take() else { return Poll::Ready(Ok(())) };
        if state.is_closed {
            return Poll::Ready(Err(Closed(taken)));
        }
        if !state.has_room(self.room, bytes) {
            let is_news = state.press(&taken);
            *value = Some(taken);
            state.wait(cx.waker(), ticket);
            let waker = if is_news { state.taker.take() } else { None };
            drop(state);
            wake(waker);
            return Poll::Pending;
        }
        let waker = state.push(taken, bytes);
        drop(state);
        wake(waker);
        Poll::Ready(Ok(()))
    }

    /// Puts a value into the queue even if it is full: for what must not be lost and cannot wait.
    pub(crate) fn force(&self, value: T, bytes: usize) -> Result<(), Closed<T>> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return Err(Closed(value));
        }
        if !state.has_room(self.room, bytes) {
            state.forced_bytes = state.forced_bytes.saturating_add(bytes);
            state.forced_max = state.forced_max.max(bytes);
        }
        let waker = state.push(value, bytes);
        // A taker that cannot go on must do something about it.
        state.has_nudge |= state.is_overfull(self.room);
        drop(state);
        wake(waker);
        Ok(())
    }

    /// Wakes the taker without a value.
    pub(crate) fn nudge(&self) {
        let mut state = lock(&self.state);
        state.has_nudge = true;
        let waker = state.taker.take();
        drop(state);
        wake(waker);
    }

    /// Says that no handle is left.
    pub(crate) fn abandon(&self) {
        lock(&self.state).is_abandoned = true;
        self.nudge();
    }

    /// Whether more waits than the bounds allow, because values were forced in: too many, or several that have once more
    /// as many bytes.
    pub(crate) fn is_overfull(&self) -> bool {
        lock(&self.state).is_overfull(self.room)
    }

    /// Whether nothing is in the queue.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.state).queue.is_empty()
    }

    /// Takes everything into `into`, which must be empty; pending while there is neither a value nor a nudge.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, into: &mut VecDeque<T>) -> Poll<Taken> {
        debug_assert!(into.is_empty(), "the last batch is done before the next is taken");
        let mut state = lock(&self.state);
        if state.queue.is_empty() && !state.has_nudge {
            state.register(cx.waker());
            return Poll::Pending;
        }
        mem::swap(&mut state.queue, into);
        state.taker_room = state.taker_room.saturating_sub(into.len());
        state.forget_bytes();
        state.has_nudge = false;
        let is_pressing = mem::take(&mut state.is_pressing);
        let taken = Taken { is_abandoned: state.is_abandoned, is_pressing };
        let senders = mem::take(&mut state.senders);
        drop(state);
        senders.into_iter().for_each(|(_, waker)| waker.wake());
        Poll::Ready(taken)
    }

    /// Takes a nudge and leaves the values, for a taker that cannot go on with them. The first value that is not patient
    /// is a nudge too.
    pub(crate) fn poll_nudge(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        let mut state = lock(&self.state);
        if !state.has_nudge {
            state.register(cx.waker());
            return Poll::Pending;
        }
        state.has_nudge = false;
        Poll::Ready(Taken { is_abandoned: state.is_abandoned, is_pressing: state.is_pressing })
    }

    /// Refuses everything from now on and hands out what is left.
    pub(crate) fn close(&self) -> VecDeque<T> {
        let mut state = lock(&self.state);
        state.is_closed = true;
        state.forget_bytes();
        let rest = mem::take(&mut state.queue);
        let senders = mem::take(&mut state.senders);
        drop(state);
        senders.into_iter().for_each(|(_, waker)| waker.wake());
        rest
    }
}

impl<T: Mail> State<T> {
    fn has_room(&self, room: Room, bytes: usize) -> bool {
        self.queue.is_empty()
            || (self.queue.len() < room.count && self.bytes.saturating_add(bytes) <= room.bytes)
    }

    fn is_overfull(&self, room: Room) -> bool {
        self.queue.len() > room.count || self.forced_bytes - self.forced_max > room.bytes
    }

    /// Returns the taker, to be woken once the lock is free.
    fn push(&mut self, mut value: T, bytes: usize) -> Option<Waker> {
        value.number(&mut self.number_next, self.queue.len() < self.taker_room);
        self.press(&value);
        self.queue.push_back(value);
        self.bytes = self.bytes.saturating_add(bytes);
        self.taker.take()
    }

    /// The queue is empty.
    fn forget_bytes(&mut self) {
        (self.bytes, self.forced_bytes, self.forced_max) = (0, 0, 0);
    }

    /// Notes if a value is not patient. Says whether that is news for the taker.
    fn press(&mut self, value: &T) -> bool {
        let is_news = !self.is_pressing && !value.is_patient();
        self.is_pressing |= is_news;
        self.has_nudge |= is_news;
        is_news
    }

    fn register(&mut self, waker: &Waker) {
        match &mut self.taker {
            Some(taker) => taker.clone_from(waker),
            None => self.taker = Some(waker.clone()),
        }
    }

    fn wait(&mut self, waker: &Waker, ticket: &mut Ticket) {
        let id = *ticket.0.get_or_insert_with(|| {
            self.tickets += 1;
            self.tickets
        });
        match self.senders.iter_mut().find(|(other, _)| *other == id) {
            Some((_, sender)) => sender.clone_from(waker),
            None => self.senders.push((id, waker.clone())),
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
