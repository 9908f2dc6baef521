//! Waits for a future on a condition variable: from any thread, inside an async runtime too.

use std::{
    cell::Cell,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Condvar, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use crate::lock::lock;

/// Wakes one waiting thread.
#[derive(Debug, Default)]
struct Bell {
    has_rung: Mutex<bool>,
    rung: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *lock(&self.has_rung) = true;
        self.rung.notify_one();
    }
}

impl Bell {
    /// Waits for a ring; false if none came before `until`.
    fn wait(&self, until: Option<Instant>) -> bool {
        let mut has_rung = lock(&self.has_rung);
        while !*has_rung {
            let Some(until) = until else {
                has_rung = self.rung.wait(has_rung).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.rung.wait_timeout(has_rung, left);
            has_rung = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *has_rung = false;
        true
    }
}

/// Waits until a future of this crate is ready. They need no runtime of their own: the driver wakes them.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Some(output) = wait_until(future.as_mut(), None) {
            return output;
        }
    }
}

/// Waits for at most `timeout`; `None` if that was too short.
pub(super) fn wait_timeout<F: Future>(future: F, timeout: Duration) -> Option<F::Output> {
    // A time too far away to be counted is never reached.
    wait_until(pin!(future), Instant::now().checked_add(timeout))
}

thread_local! {
    /// A bell of this thread that nobody waits for. Whoever was given it before may still ring it: that costs one look.
    static BELL: Cell<Option<Arc<Bell>>> = const { Cell::new(None) };
}

fn wait_until<F: Future>(future: Pin<&mut F>, until: Option<Instant>) -> Option<F::Output> {
    // A thread that ends waits without one.
    let bell = BELL.try_with(Cell::take).ok().flatten().unwrap_or_default();
    let output = wait_for(&bell, future, until);
    let _ = BELL.try_with(|kept| kept.set(Some(bell)));
    output
}

fn wait_for<F: Future>(
    bell: &Arc<Bell>,
    mut future: Pin<&mut F>,
    until: Option<Instant>,
) -> Option<F::Output> {
    let waker = Waker::from(Arc::clone(bell));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        if !bell.wait(until) {
            return None;
        }
    }
}
