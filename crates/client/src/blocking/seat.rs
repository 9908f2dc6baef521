//! Whose thread drives a session: one that waits for it, or else the session's own.
//!
//! ```text
//! verb:             waits -----> drives until it has its answer --------> leaves the seat
//! callback thread:  drives while there is nothing to call back for, and no verb waits
//! own thread:       makes way -> sleeps while the others come and go ---> drives when none of them did for a while
//! ```
//!
//! Whoever drives reads what it waits for itself, where two threads would have to change places for each message. There is
//! one runtime, which any thread may drive and which is tokio's to hand over: of several verbs that wait one drives, and
//! when it leaves one of the others does.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use tokio::runtime::{self, Handle, Runtime};

use super::wait::{wait as wait_apart, wait_timeout as wait_apart_timeout};
use crate::{driver::Driver, lock::lock, shared::Shared};

/// What a session's driver runs on.
#[derive(Debug)]
pub(crate) struct Seat {
    /// There until the end.
    runtime: Option<Runtime>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Verbs that wait; one of them drives.
    verbs: usize,
    /// Whether the callback thread has nothing to call back for.
    is_calm: bool,
    /// How often somebody came or went.
    changes: u64,
    /// Nothing is left to drive: nobody but verbs need come here, and these have their answers.
    is_over: bool,
    callbacks: Idler,
    own: Idler,
}

/// A thread that drives when it has nothing else to do.
#[derive(Debug, Default)]
struct Idler {
    /// Wakes it where it drives, to make way.
    driving: Option<Waker>,
    /// Wakes it where it sleeps until nobody of a higher rank is there.
    resting: Option<Waker>,
}

/// Threads that make way for those above them: verbs first, then in this order.
#[derive(Clone, Copy, Debug)]
enum Rank {
    Callbacks,
    Own,
}

/// A verb that waits.
struct Place<'a>(&'a Seat);

/// How long nobody may have come or gone before a thread of a lower rank drives again. What arrives in between waits for up
/// to twice as long; shorter, and the thread is awake for nothing between one verb and the next.
const PATIENCE: Duration = Duration::from_millis(1);

/// Events of sockets that are looked at together: there is one connection, and while one is made an attempt for each
/// address. An idle session has room for them.
const IO_EVENTS_MAX: usize = 16;

impl Seat {
    /// Starts the thread that drives the session while nobody else does, and waits for `future` before it may.
    pub(super) fn start<F: Future>(
        driver: Box<Driver>,
        shared: &Shared,
        future: F,
    ) -> io::Result<F::Output> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_io_events_per_tick(IO_EVENTS_MAX)
            .build()?;
        let mut driving = runtime.spawn(driver.run());
        let seat = Arc::new(Self { runtime: Some(runtime), state: Mutex::default() });
        shared.set_seat(&seat);
        // Inside a runtime nobody but that thread drives.
        let _place = is_outside().then(|| seat.take_place());
        let own = Arc::clone(&seat);
        thread::Builder::new().name("postrider".to_owned()).spawn(move || {
            own.idle(Rank::Own, |cx| Pin::new(&mut driving).poll(cx).map(drop));
            own.change(|state| state.is_over = true);
        })?;
        Ok(wait(shared, future))
    }

    /// Drives on the callback thread until there is something to call back for.
    pub(super) fn wait_calmly<T>(&self, poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        self.set_calm(true);
        let output = self.idle(Rank::Callbacks, poll);
        self.set_calm(false);
        output
    }

    /// Waits for `poll`, and drives whenever nobody of a higher rank does.
    fn idle<T>(&self, rank: Rank, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let Some(runtime) = &self.runtime else { return wait_apart(poll_fn(poll)) };
        loop {
            let driven = runtime.block_on(poll_fn(|cx| match poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => lock(&self.state).poll_way(rank, cx).map(|()| None),
            }));
            if let Some(output) = driven.or_else(|| self.rest(rank, &mut poll)) {
                return output;
            }
        }
    }

    /// Waits for `poll` without driving; `None` once nobody of a higher rank is there, and was not for a while.
    fn rest<T>(&self, rank: Rank, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
        let mut seen = None;
        loop {
            let gone = wait_apart(poll_fn(|cx| match poll(cx) {
                Poll::Ready(output) => Poll::Ready(Err(output)),
                Poll::Pending => lock(&self.state).poll_gone(rank, cx).map(Ok),
            }));
            match gone {
                Err(output) => return Some(output),
                Ok(changes) if seen == Some(changes) => return None,
                Ok(changes) => seen = Some(changes),
            }
            if let Some(output) = wait_apart_timeout(poll_fn(&mut poll), PATIENCE) {
                return Some(output);
            }
        }
    }

    /// Drives until `future`, a verb's, is ready.
    fn drive<F: Future>(&self, future: F) -> F::Output {
        let Some(runtime) = &self.runtime else { return wait_apart(future) };
        let _place = self.take_place();
        runtime.block_on(future)
    }

    fn take_place(&self) -> Place<'_> {
        self.change(|state| state.verbs += 1);
        Place(self)
    }

    fn set_calm(&self, is_calm: bool) {
        self.change(|state| {
            state.is_calm = is_calm;
            state.callbacks = Idler::default();
        });
    }

    /// Somebody comes or goes: wakes whoever must hear of it.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        state.changes += 1;
        change(&mut state);
        let wakers = [Rank::Callbacks, Rank::Own].map(|rank| state.take_waker(rank));
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl State {
    fn idler(&mut self, rank: Rank) -> &mut Idler {
        match rank {
            Rank::Callbacks => &mut self.callbacks,
            Rank::Own => &mut self.own,
        }
    }

    /// Whether somebody of a higher rank is there, or there is nothing to do.
    fn must_make_way(&self, rank: Rank) -> bool {
        match rank {
            Rank::Callbacks => self.verbs > 0 || self.is_over,
            Rank::Own => self.verbs > 0 || self.is_calm,
        }
    }

    /// What wakes a thread that must make way, or need not any more.
    fn take_waker(&mut self, rank: Rank) -> Option<Waker> {
        let must_make_way = self.must_make_way(rank);
        let idler = self.idler(rank);
        if must_make_way { idler.driving.take() } else { idler.resting.take() }
    }

    /// Pending while a thread need not make way.
    fn poll_way(&mut self, rank: Rank, cx: &Context<'_>) -> Poll<()> {
        if self.must_make_way(rank) {
            self.idler(rank).driving = None;
            return Poll::Ready(());
        }
        register(&mut self.idler(rank).driving, cx.waker());
        Poll::Pending
    }

    /// Pending while a thread must make way for others; then how often somebody came or went.
    fn poll_gone(&mut self, rank: Rank, cx: &Context<'_>) -> Poll<u64> {
        if !self.must_make_way(rank) {
            self.idler(rank).resting = None;
            return Poll::Ready(self.changes);
        }
        register(&mut self.idler(rank).resting, cx.waker());
        Poll::Pending
    }
}

fn register(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(place) => place.clone_from(waker),
        None => *place = Some(waker.clone()),
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.verbs -= 1);
    }
}

/// The last one to leave may be anywhere, also where nothing may block.
impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits for an answer of a session's driver, and drives it meanwhile. Inside a runtime it only waits: no thread drives two.
pub(crate) fn wait<F: Future>(shared: &Shared, future: F) -> F::Output {
    match shared.seat() {
        Some(seat) if is_outside() => seat.drive(future),
        _ => wait_apart(future),
    }
}

/// [`wait`] for what needs no answer as a rule: looks once before it takes the seat.
pub(super) fn wait_unless_ready<F: Future>(shared: &Shared, future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => wait(shared, future),
    }
}

/// [`wait`] for at most `timeout`; `None` if that was too short.
pub(super) fn wait_timeout<F: Future>(
    shared: &Shared,
    future: F,
    timeout: Duration,
) -> Option<F::Output> {
    match shared.seat() {
        Some(seat) if is_outside() => {
            seat.drive(async { tokio::time::timeout(timeout, future).await.ok() })
        }
        _ => wait_apart_timeout(future, timeout),
    }
}

/// Whether this thread is in no runtime, and not about to end either.
fn is_outside() -> bool {
    Handle::try_current().is_err_and(|error| error.is_missing_context())
}
