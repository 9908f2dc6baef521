//! How much one stream holds, and whether the driver waits for it to drain.
//!
//! ```text
//! driver: add ... watch, has_drained?            reader: remove, is it watched and drained? nudge
//! ```
//!
//! Whichever of the two looks last sees what the other has done: both change the counts in one step that reads them, and
//! such steps have one order. This file knows nothing of MQTT and uses nothing but atomics, so that a model checker can
//! try every order.

use crate::{
    lock::atomic::{AtomicBool, AtomicUsize, Ordering},
    mailbox::Room,
};

/// Counts of one stream.
#[derive(Debug)]
pub(crate) struct Gauge {
    room: Room,
    /// Messages and bytes pushed and not yet handed out.
    held: AtomicUsize,
    held_bytes: AtomicUsize,
    /// The driver wants to know when there is room again.
    is_watched: AtomicBool,
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// There is room.
    Room,
    /// The bounds are reached.
    Full,
    /// The bounds are passed eightfold: reading stops even while a verb waits for an answer.
    Flooded,
}

/// How far a stream may pass its bounds while a verb waits for an answer.
const FLOOD: usize = 8;

impl Gauge {
    pub(crate) fn new(room: Room) -> Self {
        Self {
            room,
            held: AtomicUsize::new(0),
            held_bytes: AtomicUsize::new(0),
            is_watched: AtomicBool::new(false),
        }
    }

    /// Driver: counts a message.
    pub(crate) fn add(&self, bytes: usize) {
        self.held.fetch_add(1, Ordering::Relaxed);
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A message is gone. Says whether the driver must be nudged, because it waits for the room that there is now.
    pub(crate) fn remove(&self, bytes: usize) -> bool {
        self.held.fetch_sub(1, Ordering::AcqRel);
        self.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
        if !self.is_watched.load(Ordering::Acquire) || !self.is_low(self.held(), self.bytes()) {
            return false;
        }
        self.is_watched.store(false, Ordering::Release);
        true
    }

    /// Messages not yet handed out.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn fill(&self) -> Fill {
        let (held, bytes) = (self.held(), self.bytes());
        if held < self.room.count && (bytes < self.room.bytes || held == 0) {
            Fill::Room
        } else if held < self.room.count.saturating_mul(FLOOD)
            && bytes < self.room.bytes.saturating_mul(FLOOD)
        {
            Fill::Full
        } else {
            Fill::Flooded
        }
    }

    /// Whether more is held than the bounds allow. One message of any size is not too much.
    pub(crate) fn is_over(&self) -> bool {
        let held = self.held();
        held > self.room.count || (held > 1 && self.bytes() > self.room.bytes)
    }

    /// Driver: asks for a nudge when half of the room is free again. True if it is free already; then none will come.
    pub(crate) fn watch(&self) -> bool {
        self.is_watched.store(true, Ordering::Release);
        let held = self.held.fetch_add(0, Ordering::AcqRel);
        let bytes = self.held_bytes.fetch_add(0, Ordering::AcqRel);
        let is_low = self.is_low(held, bytes);
        if is_low {
            self.is_watched.store(false, Ordering::Release);
        }
        is_low
    }

    fn bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    fn is_low(&self, held: usize, bytes: usize) -> bool {
        held <= self.room.count / 2 && bytes <= self.room.bytes / 2
    }
}
