//! The commit thread: takes what all owners wrote, and stores it as one.
//!
//! While one sync runs, writes collect; the next sync answers for all of them.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    StoreError,
    disk::{Shared, State},
    layer::Layer,
    rows::Rows,
    tail::Tail,
};

/// Bytes of memory of what is in the tail before it goes into the rows; bounds what recovery reads, too.
const TAIL_BYTES_MAX: usize = 8 << 20;

/// Bytes of the file of the tail before its changes go into the rows. Most of them cancel out in memory, but each of those
/// that are left holds the buffer in which it came with others.
const TAIL_LEN_MAX: usize = 32 << 20;

/// How long anything is in the tail only. A power cut takes no more than what was written in this time.
const TAIL_AGE_MAX: Duration = Duration::from_secs(5);

/// What is to be done, seen under the lock.
enum Work {
    /// Store what was taken; `is_synced`: on the disk, with all before it.
    Store { is_synced: bool },
    /// All is on the disk, and the store is to be closed.
    End,
}

/// Runs until the store is closed or fails.
pub(crate) fn run(shared: &Shared, rows: &Rows, mut tail: Tail) {
    let _last_words = LastWords(shared);
    let mut oldest = None;
    loop {
        let Work::Store { is_synced } = wait(shared, oldest, tail.len()) else { return };
        let stored =
            if is_synced { sync(shared, rows, &mut tail) } else { hand_over(shared, &mut tail) };
        oldest = if is_synced { None } else { oldest.or_else(|| Some(Instant::now())) };
        match stored {
            Ok(()) => tell(shared),
            Err(error) => return fail(shared, error),
        }
    }
}

/// Waits for work, and takes it.
fn wait(shared: &Shared, oldest: Option<Instant>, tail_len: usize) -> Work {
    let mut state = shared.lock();
    loop {
        let age = oldest.map_or(Duration::ZERO, |oldest| oldest.elapsed());
        let is_tail_long = state.tailed.bytes() >= TAIL_BYTES_MAX || tail_len >= TAIL_LEN_MAX;
        let is_tail_full = age >= TAIL_AGE_MAX || is_tail_long;
        // What was dropped after all else was synced.
        let has_late_drops =
            state.pending.is_empty() && state.tailed.is_empty() && !state.drops.is_empty();
        let is_synced = state.needs_sync || is_tail_full || has_late_drops;
        if is_synced || state.has_written() || (state.is_closing && !state.tailed.is_empty()) {
            let is_synced = is_synced || state.is_closing;
            state.take(is_synced);
            // There is room for what comes next.
            shared.progress.notify_all();
            return Work::Store { is_synced };
        }
        if state.is_closing {
            return Work::End;
        }
        let left = TAIL_AGE_MAX.saturating_sub(age);
        state = if state.tailed.is_empty() {
            shared.work.wait(state).unwrap_or_else(PoisonError::into_inner)
        } else {
            let waited = shared.work.wait_timeout(state, left);
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
    }
}

/// Hands what was taken to the operating system.
fn hand_over(shared: &Shared, tail: &mut Tail) -> Result<(), StoreError> {
    let taken = shared.lock().taken.clone();
    if !taken.is_empty() {
        tail.append(&taken)?;
    }
    drop(taken);
    let state = &mut *shared.lock();
    state.pass_on();
    state.counts.handed += 1;
    for owner in state.owners.values_mut() {
        owner.has_news |= owner.handed < owner.taken;
        owner.handed = owner.taken;
    }
    Ok(())
}

/// Brings what was taken and all that is in the tail to the disk.
fn sync(shared: &Shared, rows: &Rows, tail: &mut Tail) -> Result<(), StoreError> {
    let (layer, drops) = {
        let state = &mut *shared.lock();
        state.pass_on();
        (state.tailed.clone(), mem::take(&mut state.drops_taken))
    };
    // A record may name a spool: its bytes and its name come first.
    shared.spools.sync()?;
    if !layer.is_empty() {
        rows.commit(&layer, tail.number())?;
        tail.clear()?;
    }
    for spool in drops {
        shared.spools.unlink(spool)?;
    }
    let state = &mut *shared.lock();
    state.tailed = Arc::new(Layer::default());
    state.counts.synced += u64::from(!layer.is_empty());
    state.batch_synced = state.batch;
    for owner in state.owners.values_mut() {
        owner.has_news |= owner.synced < owner.taken;
        owner.handed = owner.taken;
        owner.synced = owner.taken;
    }
    Ok(())
}

/// Tells those for whom there is news.
fn tell(shared: &Shared) {
    shared.progress.notify_all();
    let hooks: Vec<_> = {
        let state = &mut *shared.lock();
        let has_failed = state.failed.is_some();
        let told = state.owners.values_mut();
        told.filter_map(|owner| {
            let has_news = mem::take(&mut owner.has_news) || has_failed;
            has_news.then(|| owner.notify.clone())
        })
        .collect()
    };
    for notify in hooks {
        // A hook that panics takes nobody else's store away.
        drop(catch_unwind(AssertUnwindSafe(|| notify())));
    }
}

/// Nothing is stored from here on, and nothing that waits will be.
fn fail(shared: &Shared, error: StoreError) {
    shared.lock().failed.get_or_insert(error);
    tell(shared);
}

impl State {
    /// Whether any owner wrote since the last batch was taken, even if it left no change.
    fn has_written(&self) -> bool {
        !self.pending.is_empty() || self.owners.values().any(|owner| owner.written > owner.taken)
    }

    /// Puts what was taken over what is in the tail.
    fn pass_on(&mut self) {
        let taken = mem::take(&mut self.taken);
        if self.tailed.is_empty() {
            self.tailed = taken;
        } else {
            Arc::make_mut(&mut self.tailed).merge(Arc::unwrap_or_clone(taken));
        }
    }

    fn take(&mut self, is_synced: bool) {
        debug_assert!(self.taken.is_empty(), "one batch at a time");
        self.taken = Arc::new(mem::take(&mut self.pending));
        if is_synced {
            self.needs_sync = false;
            // Not those that come later: what was written before them may not be in this batch.
            self.drops_taken = mem::take(&mut self.drops);
        }
        self.batch += 1;
        for owner in self.owners.values_mut() {
            owner.taken = owner.written;
        }
    }
}

/// Marks the store as failed if the commit thread panics, so that nobody waits for it.
struct LastWords<'a>(&'a Shared);

impl Drop for LastWords<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let what = "the commit thread panicked".to_owned();
            let path = self.0.path.clone();
            fail(self.0, StoreError::Io { path, what });
        }
    }
}
