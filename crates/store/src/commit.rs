//! The commit thread: appends what owners wrote to the log, and syncs it for those who need that.
//!
//! While one sync runs, writes collect; the next sync answers for all of them. An owner that needs no sync appends by
//! itself where it can, which costs less than to wake this thread. Where the settling thread is behind, this one folds
//! what there is, and then waits for room in memory and in the log.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::PoisonError,
    thread,
};

use crate::{
    StoreError,
    disk::{Shared, State},
    log::Log,
};

/// Runs until the store is closed or fails.
pub(crate) fn run(shared: &Shared) {
    let _last_words = LastWords(shared);
    loop {
        let stored = match wait(shared) {
            Ok(None) => return,
            Ok(Some(true)) => sync(shared),
            Ok(Some(false)) => hand_over(shared),
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            return fail(shared, error);
        }
        tell(shared);
    }
}

/// Waits for work and for room; says whether it must be synced. `None` at the end.
fn wait(shared: &Shared) -> Result<Option<bool>, StoreError> {
    let mut state = shared.lock();
    loop {
        if state.failed.is_some() {
            return Ok(None);
        }
        let has_room = state.has_room(&shared.limits);
        if state.unfolded_bytes >= shared.limits.layer_bytes
            || !has_room && state.unfolded_bytes > 0
        {
            // The settling thread is busy with what is older. Most of this may cancel out.
            drop(state);
            drop(shared.fold()?);
            state = shared.lock();
            continue;
        }
        if has_room && (state.needs_sync || state.has_written()) {
            return Ok(Some(mem::take(&mut state.needs_sync)));
        }
        if state.is_closing && has_room {
            return Ok(None);
        }
        if !has_room {
            shared.wake_settler(&state);
        }
        state.is_commit_idle = true;
        state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.is_commit_idle = false;
    }
}

fn hand_over(shared: &Shared) -> Result<(), StoreError> {
    if shared.spools.is_dirty() {
        shared.spools.sync()?;
    }
    append(shared, &mut shared.log())?;
    shared.lock().counts.handed += 1;
    Ok(())
}

/// Brings all that was written to the disk.
fn sync(shared: &Shared) -> Result<(), StoreError> {
    let flushes = shared.lock().flushes_asked;
    // A record may name a spool: its bytes and its name come first.
    shared.spools.sync()?;
    let (sheets, number) = {
        let log = &mut *shared.log();
        append(shared, log)?;
        for owner in shared.lock().owners.values_mut() {
            owner.syncing = owner.handed;
        }
        (log.unsynced(), log.number())
    };
    for (file, sheet) in &sheets {
        shared.sync(file, &**sheet)?;
    }
    shared.log().note_synced(number);
    let drops = {
        let state = &mut *shared.lock();
        state.counts.synced += u64::from(!sheets.is_empty());
        state.flushes_done = flushes;
        for owner in state.owners.values_mut() {
            owner.note_synced(owner.syncing);
        }
        state.note_synced(number)
    };
    unlink(shared, &drops)
}

/// Hands all that waits to the operating system, as one block.
pub(crate) fn append(shared: &Shared, log: &mut Log) -> Result<(), StoreError> {
    let body = {
        let state = &mut *shared.lock();
        state.take()
    };
    if !body.is_empty() {
        let appended = log.append(&body);
        let deed = || format!("{} cannot be written", log.file());
        appended.map_err(|error| StoreError::io_at(&shared.path, &deed(), &error))?;
    }
    let state = &mut *shared.lock();
    debug_assert!(state.taken == log.number(), "a block for each number");
    let was_empty = mem::replace(&mut state.log_bytes, log.bytes()) == 0;
    let is_long = state.log_bytes >= shared.limits.sheet_bytes;
    if was_empty || is_long || state.unfolded_bytes >= FOLD_BYTES {
        shared.wake_settler(state);
    }
    if state.unfolded_bytes >= shared.limits.layer_bytes {
        shared.wake_commit(state);
    }
    for owner in state.owners.values_mut() {
        owner.has_news |= owner.handed < owner.taken;
        owner.handed = owner.taken;
    }
    Ok(())
}

/// Removes the files of dropped spools.
pub(crate) fn unlink(shared: &Shared, drops: &[u64]) -> Result<(), StoreError> {
    drops.iter().try_for_each(|spool| shared.spools.unlink(*spool))
}

/// Tells those for whom there is news.
pub(crate) fn tell(shared: &Shared) {
    let hooks: Vec<_> = {
        let state = &mut *shared.lock();
        shared.notify_waiting(state);
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
pub(crate) fn fail(shared: &Shared, error: StoreError) {
    {
        let state = &mut *shared.lock();
        state.failed.get_or_insert(error);
        shared.work.notify_all();
        shared.settling.notify_all();
    }
    tell(shared);
}

impl State {
    /// Whether any owner wrote since the last block was taken, even if it left no change.
    pub(crate) fn has_written(&self) -> bool {
        !self.pending.is_empty() || self.owners.values().any(|owner| owner.written > owner.taken)
    }

    /// Takes what is to be the next block.
    fn take(&mut self) -> Vec<bytes::Bytes> {
        let body = mem::take(&mut self.pending);
        for owner in self.owners.values_mut() {
            owner.taken = owner.written;
        }
        if !body.is_empty() {
            self.taken += 1;
            self.unfolded_bytes += mem::take(&mut self.pending_bytes);
            self.unfolded.extend(body.iter().cloned());
        }
        body
    }

    /// All blocks up to this one are on the disk. Returns the spools whose files may go.
    pub(crate) fn note_synced(&mut self, number: u64) -> Vec<u64> {
        self.synced = self.synced.max(number);
        let synced = self.synced;
        self.drops.extract_if(.., |(after, _)| *after <= synced).map(|(_, spool)| spool).collect()
    }
}

/// Marks the store as failed if a thread of it panics, so that nobody waits for it.
pub(crate) struct LastWords<'a>(pub(crate) &'a Shared);

impl Drop for LastWords<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let what = "a thread of the store panicked".to_owned();
            let path = self.0.path.clone();
            fail(self.0, StoreError::Io { path, what });
        }
    }
}

/// Bytes of batches that are folded into the layer at a time: while they are in the cache, and seldom.
pub(crate) const FOLD_BYTES: usize = 256 << 10;
