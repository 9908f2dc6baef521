//! How far the subscribers of one publisher are, so that it does not run away from them.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Waker},
};

/// Shared by one publisher and its subscribers, on one thread.
#[derive(Debug)]
pub(crate) struct Credit {
    received: Vec<Cell<u32>>,
    waker: RefCell<Option<Waker>>,
}

impl Credit {
    pub(crate) fn new(subscribers: u32) -> Self {
        let received = (0..subscribers).map(|_| Cell::new(0)).collect();
        Self { received, waker: RefCell::new(None) }
    }

    /// Subscriber `index` has now seen `count` different messages.
    pub(crate) fn report(&self, index: usize, count: u32) {
        if let Some(cell) = self.received.get(index) {
            cell.set(count);
        }
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// What the slowest subscriber has seen.
    pub(crate) fn slowest(&self) -> u32 {
        self.received.iter().map(Cell::get).min().unwrap_or(0)
    }

    /// Wakes the publisher at the next report.
    pub(crate) fn wait(&self, context: &Context<'_>) {
        *self.waker.borrow_mut() = Some(context.waker().clone());
    }
}
