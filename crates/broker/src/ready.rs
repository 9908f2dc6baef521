//! Which connections have something to do: wakers that name a slot instead of waking a task each.
//!
//! A driver looks at all ready connections of one wake-up in the order in which they became ready, drains its hub
//! once, and only then writes. That makes batches without waiting for them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

/// The queue of ready slots of one driver.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slots: Vec<u32>,
    is_nudged: bool,
    /// Set while the driver sleeps.
    driver: Option<Waker>,
}

/// Wakes one slot. Each slot stands in the queue at most once.
#[derive(Debug)]
pub(crate) struct Signal {
    slot: u32,
    is_queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Ready {
    /// Appends the ready slots to `slots`, in the order in which they became ready.
    pub(crate) fn take(&self, slots: &mut impl Extend<u32>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_nudged = false;
        slots.extend(state.slots.drain(..));
    }

    /// The driver goes to sleep: from now on a ready slot wakes it. Returns false if something is ready already.
    #[must_use]
    pub(crate) fn park(&self, driver: &Waker) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_nudged || !state.slots.is_empty() {
            return false;
        }
        if !state.driver.as_ref().is_some_and(|known| known.will_wake(driver)) {
            state.driver = Some(driver.clone());
        }
        true
    }

    /// Wakes the driver without naming a slot.
    pub(crate) fn nudge(&self) {
        self.wake(|state| state.is_nudged = true);
    }

    fn wake(&self, change: impl FnOnce(&mut State)) {
        let driver = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut state);
            state.driver.take()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl Signal {
    pub(crate) fn new(slot: u32, ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(Self { slot, is_queued: AtomicBool::new(false), ready: Arc::clone(ready) })
    }

    /// Puts the slot into the queue, unless it is there.
    pub(crate) fn raise(&self) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            self.ready.wake(|state| state.slots.push(self.slot));
        }
    }

    /// The driver took the slot from the queue and is about to look at it.
    pub(crate) fn lower(&self) {
        self.is_queued.store(false, Ordering::Release);
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn slots_come_once_and_in_order_and_wake_a_sleeping_driver_once() {
        let (ready, count) = (Arc::new(Ready::default()), Arc::new(Count::default()));
        let driver = Waker::from(Arc::clone(&count));
        let signals: Vec<_> = (0..3).map(|slot| Signal::new(slot, &ready)).collect();
        assert!(ready.park(&driver));
        for slot in [2, 0, 2, 1, 0] {
            Waker::from(Arc::clone(&signals[slot])).wake();
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(!ready.park(&driver));
        let mut slots = Vec::new();
        ready.take(&mut slots);
        assert_eq!(slots, [2, 0, 1]);
        signals[2].raise();
        assert!(ready.park(&driver), "a slot that was not lowered is not queued again");
        signals[2].lower();
        signals[2].raise();
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_nudge_is_not_lost() {
        let (ready, count) = (Ready::default(), Arc::new(Count::default()));
        let driver = Waker::from(Arc::clone(&count));
        ready.nudge();
        assert!(!ready.park(&driver));
        ready.take(&mut Vec::new());
        assert!(ready.park(&driver));
        ready.nudge();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
