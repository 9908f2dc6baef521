//! The thread on which callbacks run.
//!
//! Each subscription with a callback, and each publication with one, is a small future. They take turns on one thread, so
//! callbacks never run at the same time, and while one runs the connection is driven by others: a callback may call any verb
//! and wait for its answer, which drives it too.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

use super::wait::wait;
use crate::{lock::lock, shared::Shared};

/// A queue of futures that want to run, and the thread that runs them. Without any that do, it drives the session.
#[derive(Debug)]
pub(super) struct Callbacks {
    state: Mutex<State>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Arc<Task>>,
    /// Futures that are not finished.
    live: usize,
    has_thread: bool,
    /// Nobody can add any more: the thread ends with the last future.
    is_closed: bool,
    /// Wakes the thread.
    thread: Option<Waker>,
}

struct Task {
    future: Mutex<Option<Running>>,
    is_queued: AtomicBool,
    callbacks: Arc<Callbacks>,
}

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Callbacks {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { state: Mutex::default(), shared }
    }

    /// Runs a future on the callback thread, which is started with the first one.
    pub(super) fn spawn(
        self: &Arc<Self>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        self.spawn_after(|_| Poll::Ready(()), future)
    }

    /// [`Callbacks::spawn`] for a future that begins by waiting: `poll` asks for what it waits for, so that the thread is
    /// not woken before that has come.
    pub(super) fn spawn_after(
        self: &Arc<Self>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<()>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let task = Arc::new(Task {
            future: Mutex::new(Some(Box::pin(future))),
            is_queued: AtomicBool::new(false),
            callbacks: Arc::clone(self),
        });
        let mut state = lock(&self.state);
        if !state.has_thread {
            let callbacks = Arc::clone(self);
            let name = "postrider-callbacks".to_owned();
            thread::Builder::new().name(name).spawn(move || callbacks.run())?;
            state.has_thread = true;
        }
        state.live += 1;
        drop(state);
        let waker = Waker::from(Arc::clone(&task));
        if poll(&mut Context::from_waker(&waker)).is_ready() {
            task.wake();
        }
        Ok(())
    }

    /// Lets the thread end with the last future.
    pub(super) fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    fn run(&self) {
        while let Some(task) = self.next() {
            if task.run() {
                lock(&self.state).live -= 1;
            }
        }
    }

    /// The next future that wants to run; `None` when there will be none.
    fn next(&self) -> Option<Arc<Task>> {
        if let Some(task) = lock(&self.state).ready.pop_front() {
            return Some(task);
        }
        let poll = |cx: &mut Context<'_>| lock(&self.state).poll_next(cx);
        match self.shared.seat() {
            Some(seat) => seat.wait_calmly(poll),
            None => wait(poll_fn(poll)),
        }
    }

    /// Does something to the state that the thread must know of.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let thread = state.thread.take();
        drop(state);
        if let Some(thread) = thread {
            thread.wake();
        }
    }
}

impl State {
    fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<Arc<Task>>> {
        if let Some(task) = self.ready.pop_front() {
            return Poll::Ready(Some(task));
        }
        if self.is_closed && self.live == 0 {
            return Poll::Ready(None);
        }
        match &mut self.thread {
            Some(thread) => thread.clone_from(cx.waker()),
            None => self.thread = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Task {
    /// Runs until it waits; says whether it is finished. A callback that panics is not called again.
    fn run(self: &Arc<Self>) -> bool {
        // Before polling: a wake from now on must queue it again.
        self.is_queued.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(self));
        let mut cx = Context::from_waker(&waker);
        let Some(mut future) = lock(&self.future).take() else { return false };
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        match polled {
            Ok(Poll::Pending) => {
                *lock(&self.future) = Some(future);
                false
            }
            Ok(Poll::Ready(())) => true,
            Err(_) => {
                tracing::error!("a callback panicked; it is not called again");
                true
            }
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.is_queued.swap(true, Ordering::SeqCst) {
            return;
        }
        let callbacks = Arc::clone(&self.callbacks);
        callbacks.change(|state| state.ready.push_back(self));
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("is_queued", &self.is_queued).finish_non_exhaustive()
    }
}
