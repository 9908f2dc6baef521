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
    fmt,
    future::{Future, poll_fn},
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{self, Handle, Runtime},
    task::coop::has_budget_remaining,
};

use super::wait::{wait as wait_apart, wait_timeout as wait_apart_timeout};
use crate::{driver::Driver, lock::lock, shared::Shared};

/// What a session's driver runs on.
#[derive(Debug)]
pub(crate) struct Seat {
    /// There until the end.
    runtime: Option<Runtime>,
    state: Mutex<State>,
    relay: Arc<Relay>,
}

#[derive(Default)]
struct State {
    /// Not there while somebody drives, nor once it is finished.
    driver: Option<Driving>,
    /// Nothing is left to drive.
    is_over: bool,
    /// Those who wait in the runtime while somebody else drives.
    others: Vec<Waker>,
    /// Verbs that wait.
    verbs: usize,
    /// Whether the callback thread has nothing to call back for.
    is_calm: bool,
    /// How often somebody came or went.
    changes: u64,
    callbacks: Idler,
    own: Idler,
}

/// A driver at work.
type Driving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Wakes whoever drives. A driver that is about to be looked at anyway need not be woken.
#[derive(Debug)]
struct Relay(Mutex<Call>);

#[derive(Debug)]
struct Call {
    /// Who drives, or did.
    to: Option<Waker>,
    is_wanted: bool,
    /// Whether the driver has something to do, as far as is known. It is polled only then, whoever has it.
    is_due: bool,
}

/// A thread that drives when it has nothing else to do.
#[derive(Debug, Default)]
struct Idler {
    /// Wakes it where it drives, to make way.
    driving: Option<Waker>,
    /// Wakes it where it sleeps until nobody of a higher rank is there.
    resting: Option<Waker>,
}

/// One who is in the runtime, with the driver if nobody else has it.
struct Hold<'a> {
    seat: &'a Seat,
    driver: Option<Driving>,
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
        let driver: Driving = Box::pin(driver.run());
        let state = Mutex::new(State { driver: Some(driver), ..State::default() });
        let seat = Arc::new(Self { runtime: Some(runtime), state, relay: Arc::default() });
        shared.set_seat(&seat);
        // Inside a runtime nobody but that thread drives.
        let _place = is_outside().then(|| seat.take_place());
        let own = Arc::clone(&seat);
        thread::Builder::new().name("postrider".to_owned()).spawn(move || {
            own.idle(Rank::Own, |_| lock(&own.state).poll_over());
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
        loop {
            let driven = self.drive_until(|cx| match poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => lock(&self.state).poll_way(rank, cx).map(|()| None),
            });
            if let Some(output) = driven.or_else(|| self.rest(rank, &mut poll)) {
                return output;
            }
        }
    }

    /// Waits for `poll` without driving; `None` once nobody of a higher rank is there, and was not for a while.
    fn rest<T>(&self, rank: Rank, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
        let mut seen = None;
        loop {
            let mut is_woken = false;
            let gone = wait_apart(poll_fn(|cx| match poll(cx) {
                Poll::Ready(output) => Poll::Ready(Err(output)),
                // Somebody went, perhaps to come again at once; that is not to wake this thread each time.
                Poll::Pending if mem::replace(&mut is_woken, true) => {
                    Poll::Ready(Ok(lock(&self.state).changes))
                }
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
        let _place = self.take_place();
        let mut future = pin!(future);
        self.drive_until(|cx| future.as_mut().poll(cx))
    }

    /// Is in the runtime until `poll` is ready, and drives unless somebody else does.
    fn drive_until<T>(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let Some(runtime) = &self.runtime else { return wait_apart(poll_fn(poll)) };
        let mut hold = Hold { seat: self, driver: None };
        runtime.block_on(poll_fn(|cx| {
            hold.disarm();
            let mut polled = poll(cx);
            if polled.is_pending() && hold.poll_driver(cx) {
                polled = poll(cx);
            }
            if polled.is_ready() {
                // Before somebody else is let into the runtime, who would find nothing to drive.
                hold.put_back();
            }
            polled
        }))
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
        let callbacks = state.take_waker(Rank::Callbacks);
        let own = state.take_waker(Rank::Own);
        drop(state);
        if let Some(callbacks) = callbacks {
            callbacks.wake();
        }
        if let Some(own) = own {
            own.wake();
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("verbs", &self.verbs).finish_non_exhaustive()
    }
}

impl State {
    fn idler(&mut self, rank: Rank) -> &mut Idler {
        match rank {
            Rank::Callbacks => &mut self.callbacks,
            Rank::Own => &mut self.own,
        }
    }

    fn poll_over(&self) -> Poll<()> {
        if self.is_over { Poll::Ready(()) } else { Poll::Pending }
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
        let (must_make_way, is_over) = (self.must_make_way(rank), self.is_over);
        let idler = self.idler(rank);
        let driving = if must_make_way || is_over { idler.driving.take() } else { None };
        let resting = if must_make_way && !is_over { None } else { idler.resting.take() };
        driving.or(resting)
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

impl Hold<'_> {
    /// The driver is about to be polled.
    fn disarm(&self) {
        if self.driver.is_some() {
            self.seat.relay.unset();
        }
    }

    /// Polls the driver, if nobody else has it and there is something to do for it: says so.
    fn poll_driver(&mut self, cx: &Context<'_>) -> bool {
        if self.driver.is_none() {
            let mut state = lock(&self.seat.state);
            self.driver = state.driver.take();
            if self.driver.is_none() {
                if !state.is_over && !state.others.iter().any(|other| other.will_wake(cx.waker())) {
                    state.others.push(cx.waker().clone());
                }
                return false;
            }
        }
        let Some(driver) = &mut self.driver else { return false };
        if !self.seat.relay.set(cx.waker()) {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.seat.relay));
        let mut cx = Context::from_waker(&waker);
        // A verb does not answer for what is wrong with the driver, or with what the program gave it.
        let polled = catch_unwind(AssertUnwindSafe(|| driver.as_mut().poll(&mut cx)));
        if polled.is_err() {
            tracing::error!("the driver of a session panicked; the session is over");
        }
        if !has_budget_remaining() {
            // It would go on, but tokio wakes it only if this thread stays in the runtime.
            self.seat.relay.wake_by_ref();
        }
        if !matches!(polled, Ok(Poll::Pending)) {
            // Dropped here, in the runtime: then whoever waits for it is told.
            self.driver = None;
            self.seat.change(|state| state.is_over = true);
        }
        true
    }

    /// Leaves the driver to others, and tells them.
    fn put_back(&mut self) {
        let Some(driver) = self.driver.take() else { return };
        self.seat.relay.unset();
        let mut state = lock(&self.seat.state);
        state.driver = Some(driver);
        let others = mem::take(&mut state.others);
        drop(state);
        others.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.put_back();
    }
}

impl Relay {
    /// Says who is to be woken from now on. Returns whether the driver must be polled first.
    fn set(&self, to: &Waker) -> bool {
        let mut call = lock(&self.0);
        register(&mut call.to, to);
        call.is_wanted = true;
        mem::replace(&mut call.is_due, false)
    }

    /// Nobody needs to be woken.
    fn unset(&self) {
        lock(&self.0).is_wanted = false;
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self(Mutex::new(Call { to: None, is_wanted: false, is_due: true }))
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut call = lock(&self.0);
        call.is_due = true;
        let to = if mem::replace(&mut call.is_wanted, false) { call.to.clone() } else { None };
        drop(call);
        if let Some(to) = to {
            to.wake();
        }
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
