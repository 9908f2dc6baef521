//! Requests that wait for their answers: between those who ask and the driver.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use postrider_proto::Time;

use super::{RequestError, Settings};
use crate::{
    Connected, Message, Subscription,
    answer::{Answer, Awaited, answer},
    builder::{ms, seed},
    command::Command,
    lock::lock,
    queue::StreamQueue,
    shared::Shared,
};

/// All requests of a session.
#[derive(Debug)]
pub(crate) struct Requests {
    settings: Settings,
    /// First half of the correlation data: answers to another process are none of ours.
    key: u64,
    /// The response topic, once it is subscribed to. Who subscribes holds it meanwhile.
    pub(super) desk: tokio::sync::Mutex<Option<String>>,
    /// Whether anything was ever asked, so that other sessions pay nothing.
    is_used: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: BTreeMap<u64, Entry>,
    /// Entered since the driver's last turn.
    entered: Vec<u64>,
    deadlines: BTreeSet<(Time, u64)>,
    /// Where answers arrive.
    queue: Option<Arc<StreamQueue>>,
    is_closed: bool,
}

#[derive(Debug)]
struct Entry {
    timeout: Duration,
    deadline: Option<Time>,
    answer: Answer<Result<Message, RequestError>>,
}

/// One request, for who waits; dropped, it waits no more.
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    number: u64,
    awaited: Awaited<Result<Message, RequestError>>,
}

impl Requests {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            key: seed(),
            desk: tokio::sync::Mutex::default(),
            is_used: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(super) fn response_topic(&self, connected: &Connected) -> String {
        self.settings.response_topic(connected)
    }

    /// Begins to wait.
    pub(super) fn enter(&self, timeout: Duration, shared: &Arc<Shared>) -> Waiting {
        let (answer, awaited) = answer();
        let mut state = lock(&self.state);
        state.last += 1;
        let number = state.last;
        if !state.is_closed {
            state.waiting.insert(number, Entry { timeout, deadline: None, answer });
            state.entered.push(number);
        }
        drop(state);
        self.is_used.store(true, Ordering::Release);
        shared.mailbox.nudge();
        Waiting { shared: Arc::clone(shared), number, awaited }
    }

    /// Whether the stream of answers is there and has not ended.
    pub(super) fn is_listening(&self) -> bool {
        lock(&self.state).queue.as_ref().is_some_and(|queue| queue.ended().is_none())
    }

    /// Takes a stream of answers over, in place of the one before.
    pub(super) fn listen(&self, stream: Subscription) {
        let shared = Arc::clone(stream.shared());
        let before = lock(&self.state).queue.replace(stream.into_queue());
        if let Some(before) = before.filter(|queue| queue.ended().is_none()) {
            let command = Command::DropStream { stream: before.id, answer: None };
            // A closed mailbox means that the session is over, and the subscription with it.
            let _ = shared.mailbox.force(command, 0);
        }
        // Something may have come meanwhile.
        shared.mailbox.nudge();
    }

    // Driver's side.

    /// Hands answers over, and tells those who have waited too long.
    pub(crate) fn turn(&self, now: Time) {
        if !self.is_used.load(Ordering::Acquire) {
            return;
        }
        let mut state = lock(&self.state);
        state.count_from(now);
        let mut arrived = VecDeque::new();
        let mut is_lost = false;
        if let Some(queue) = &state.queue {
            queue.take_all(&mut arrived);
            is_lost = queue.ended().is_some();
        }
        let mut answered: Vec<_> =
            arrived.into_iter().filter_map(|message| self.answered(&mut state, message)).collect();
        answered.extend(state.expired(now));
        if is_lost {
            state.queue = None;
            answered.extend(state.give_up());
        }
        drop(state);
        // Not under the lock: who hears of it may ask again at once.
        answered.into_iter().for_each(|(answer, result)| answer.give(result));
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        if !self.is_used.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.state).deadlines.first().map(|(at, _)| *at)
    }

    /// The session is over; whoever waits hears of it.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        let rest = (std::mem::take(&mut state.waiting), state.queue.take());
        drop(state);
        drop(rest);
    }

    /// Who waits for this message, if anybody still does.
    fn answered(&self, state: &mut State, message: Message) -> Option<Answered> {
        // Nobody else has it; without a charge this does nothing.
        drop(message.ack());
        let number = message.correlation_data().and_then(|data| self.number(data));
        match number.and_then(|number| state.remove(number)) {
            Some(entry) => Some((entry.answer, Ok(message))),
            None => {
                tracing::debug!(topic = message.topic(), "an answer that nobody waits for");
                None
            }
        }
    }

    /// The number of the request that is answered.
    fn number(&self, correlation: &Bytes) -> Option<u64> {
        let (key, number) = correlation.split_first_chunk::<8>()?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        (*key == self.key.to_be_bytes()).then_some(number)
    }
}

type Answered = (Answer<Result<Message, RequestError>>, Result<Message, RequestError>);

impl State {
    /// Starts the clock of those that have entered.
    fn count_from(&mut self, now: Time) {
        for number in std::mem::take(&mut self.entered) {
            if let Some(entry) = self.waiting.get_mut(&number) {
                let deadline = now.plus_ms(ms(entry.timeout));
                entry.deadline = Some(deadline);
                self.deadlines.insert((deadline, number));
            }
        }
    }

    fn expired(&mut self, now: Time) -> Vec<Answered> {
        let mut expired = Vec::new();
        while let Some((deadline, number)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.deadlines.pop_first();
            if let Some(entry) = self.waiting.remove(&number) {
                expired.push((entry.answer, Err(RequestError::TimedOut(entry.timeout))));
            }
        }
        expired
    }

    /// The stream of answers has ended: what had been asked will not be answered.
    fn give_up(&mut self) -> Vec<Answered> {
        self.deadlines.clear();
        self.entered.clear();
        let waiting = std::mem::take(&mut self.waiting).into_values();
        waiting.map(|entry| (entry.answer, Err(RequestError::Unsubscribed))).collect()
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.waiting.remove(&number)?;
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, number));
        }
        Some(entry)
    }
}

impl Waiting {
    /// What the answer must carry.
    pub(super) fn correlation(&self) -> Vec<u8> {
        let key = self.shared.requests.key.to_be_bytes();
        [key, self.number.to_be_bytes()].concat()
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Message, RequestError>> {
        self.awaited
            .poll(cx)
            .map(|answer| answer.unwrap_or_else(|_| Err(RequestError::Over(self.shared.end()))))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(lock(&self.shared.requests.state).remove(self.number));
    }
}
