//! Where the driver leaves what became of one publication, and whoever waits finds it.

use std::{
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll, Waker},
};

use crate::{PublishError, SessionEnd, lock::lock, publish::Published};

/// Between the driver and whoever waits for one publication.
#[derive(Debug, Default)]
pub(crate) struct PublishSlot(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    number: Option<u64>,
    wants_taken: bool,
    is_stored: bool,
    /// Nothing is stored of it.
    is_loose: bool,
    wants_stored: bool,
    result: Option<Result<Published, PublishError>>,
    waker: Option<Waker>,
}

/// The driver's end of a [`PublishSlot`]. Dropped unanswered, it says that the driver stopped.
#[derive(Debug)]
pub(crate) struct PublishAnswer(pub(crate) Option<Arc<PublishSlot>>);

impl PublishSlot {
    /// Of a message that has a number.
    pub(crate) fn numbered(number: u64) -> Self {
        Self(Mutex::new(State { number: Some(number), ..State::default() }))
    }

    pub(crate) fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<Result<u64, PublishError>> {
        let mut state = lock(&self.0);
        if let Some(number) = state.number {
            return Poll::Ready(Ok(number));
        }
        match state.result.take() {
            Some(Ok(published)) => {
                let number = published.number;
                state.result = Some(Ok(published));
                Poll::Ready(Ok(number))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => {
                state.wants_taken = true;
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_stored(&self, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        let mut state = lock(&self.0);
        match &state.result {
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            _ if state.is_loose => Poll::Ready(Err(PublishError::NotStored)),
            Some(Ok(_)) => Poll::Ready(Ok(())),
            None if state.is_stored => Poll::Ready(Ok(())),
            None => {
                state.wants_stored = true;
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_done(&self, cx: &mut Context<'_>) -> Poll<Result<Published, PublishError>> {
        let mut state = lock(&self.0);
        if let Some(result) = state.result.take() {
            return Poll::Ready(result);
        }
        state.wait_for_end(cx);
        Poll::Pending
    }

    /// Whether [`PublishSlot::poll_done`] has something to take.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.result.is_some() {
            return Poll::Ready(());
        }
        state.wait_for_end(cx);
        Poll::Pending
    }
}

impl State {
    fn wait_for_end(&mut self, cx: &Context<'_>) {
        self.wants_taken = false;
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }
}

impl PublishAnswer {
    /// The session has the message; `is_stored` says whether a store will have it.
    pub(crate) fn taken(&self, number: u64, is_stored: bool) {
        let Some(slot) = &self.0 else { return };
        let mut state = lock(&slot.0);
        state.number = Some(number);
        state.is_loose = !is_stored;
        let is_news = state.wants_taken || (state.wants_stored && !is_stored);
        let waker = if is_news { state.waker.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The message has its number, and will not be refused.
    pub(crate) fn numbered(&self, number: u64) {
        if let Some(slot) = &self.0 {
            lock(&slot.0).number = Some(number);
        }
    }

    /// Whether somebody may still wait for the end.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.as_ref().is_some_and(|slot| Arc::strong_count(slot) > 1)
    }

    /// What is told when the message is stored.
    pub(crate) fn storing(&self) -> Storing {
        Storing(self.0.as_ref().map(Arc::downgrade).unwrap_or_default())
    }

    /// The exchange is over. Gives an error back if nobody waits for it.
    pub(crate) fn done(mut self, result: Result<Published, PublishError>) -> Option<PublishError> {
        self.close(result)
    }

    fn close(&mut self, result: Result<Published, PublishError>) -> Option<PublishError> {
        let slot = self.0.take()?;
        if Arc::strong_count(&slot) == 1 {
            return result.err();
        }
        let mut state = lock(&slot.0);
        state.result = Some(result);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        None
    }
}

/// Waits for the store with a publication.
#[derive(Debug)]
pub(crate) struct Storing(Weak<PublishSlot>);

impl Storing {
    /// The store has the message.
    pub(crate) fn done(self) {
        let Some(slot) = self.0.upgrade() else { return };
        let mut state = lock(&slot.0);
        state.is_stored = true;
        let waker = if state.wants_stored { state.waker.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for PublishAnswer {
    fn drop(&mut self) {
        self.close(Err(PublishError::Over(SessionEnd::Stopped)));
    }
}
