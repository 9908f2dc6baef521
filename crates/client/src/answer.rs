//! One answer from the driver to one waiting verb.

use std::{
    mem,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use crate::lock::lock;

/// The driver's end. Dropped unanswered, it tells the waiting verb that nothing will come.
#[derive(Debug)]
pub(crate) struct Answer<T>(Option<Arc<Slot<T>>>);

/// The verb's end.
#[derive(Debug)]
pub(crate) struct Awaited<T>(Arc<Slot<T>>);

/// The driver went away without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

#[derive(Debug)]
struct Slot<T>(Mutex<State<T>>);

#[derive(Debug)]
enum State<T> {
    Open,
    Waiting(Waker),
    Answered(T),
    Gone,
}

/// Both ends of an answer.
pub(crate) fn answer<T>() -> (Answer<T>, Awaited<T>) {
    let slot = Arc::new(Slot(Mutex::new(State::Open)));
    (Answer(Some(Arc::clone(&slot))), Awaited(slot))
}

impl<T> Answer<T> {
    pub(crate) fn give(mut self, value: T) {
        if let Some(slot) = self.0.take() {
            slot.close(State::Answered(value));
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.close(State::Gone);
        }
    }
}

impl<T> Awaited<T> {
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<T, Gone>> {
        let mut state = lock(&self.0.0);
        match mem::replace(&mut *state, State::Gone) {
            State::Open | State::Waiting(_) => {
                *state = State::Waiting(cx.waker().clone());
                Poll::Pending
            }
            State::Answered(value) => Poll::Ready(Ok(value)),
            State::Gone => Poll::Ready(Err(Gone)),
        }
    }

    pub(crate) async fn wait(self) -> Result<T, Gone> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}

impl<T> Slot<T> {
    fn close(&self, state: State<T>) {
        let before = mem::replace(&mut *lock(&self.0), state);
        if let State::Waiting(waker) = before {
            waker.wake();
        }
    }
}
