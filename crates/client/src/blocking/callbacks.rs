//! The thread on which callbacks run.
//!
//! Each subscription with a callback, and each publication with one, is a small future. They take turns on one thread, so
//! callbacks never run at the same time, and none runs on a thread that drives the connection: a callback may call any verb
//! and wait for its answer.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

use crate::lock::lock;

/// A queue of futures that want to run, and the thread that runs them.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Arc<Task>>,
    /// Futures that are not finished.
    live: usize,
    has_thread: bool,
    /// Nobody can add any more: the thread ends with the last future.
    is_closed: bool,
}

struct Task {
    future: Mutex<Option<Running>>,
    is_queued: AtomicBool,
    callbacks: Arc<Callbacks>,
}

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Callbacks {
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
        lock(&self.state).is_closed = true;
        self.bell.notify_one();
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
        let mut state = lock(&self.state);
        loop {
            if let Some(task) = state.ready.pop_front() {
                return Some(task);
            }
            if state.is_closed && state.live == 0 {
                return None;
            }
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
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
        lock(&callbacks.state).ready.push_back(self);
        callbacks.bell.notify_one();
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("is_queued", &self.is_queued).finish_non_exhaustive()
    }
}
