//! The settling thread: brings what is in the log into the rows.
//!
//! ```text
//! batches --fold--> young layer --turn of the log--> frozen layer --commit, synced--> rows
//! ```
//!
//! Most of what is written is deleted soon, and leaves nothing in a layer. What is left goes into the rows now and then,
//! while the log goes on in its other sheet. Where there is much to write, it goes a while later, without what has been deleted
//! since: the log is synced up to there first, so that a recovery finds the deletes.

use std::{
    mem,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    StoreError,
    commit::{self, FOLD_BYTES, LastWords},
    disk::{Layers, Shared, State},
    rows::Rows,
};

/// How long anything is in the log only, unsynced. A power cut takes no more of `process` mode than what was written in this
/// time, and while a frozen layer lingers.
const AGE_MAX: Duration = Duration::from_secs(5);

/// When what is in the log goes into the rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of memory of a layer.
    pub(crate) layer_bytes: usize,
    /// Bytes of memory of the young layer, and of what is not in it yet, at which writers wait until the rows have come on.
    pub(crate) layer_bytes_max: usize,
    /// Bytes of a sheet of the log. Most of what is in it cancels out in memory, but each change that is left holds the
    /// buffer in which it came with others. Bounds what recovery reads, too.
    pub(crate) sheet_bytes: usize,
    /// Bytes of the next sheet for which a frozen layer waits if its own is full.
    pub(crate) linger_bytes: usize,
    /// How long it waits at most.
    pub(crate) linger_max: Duration,
    /// Bytes of a sheet at which writers wait, too.
    pub(crate) sheet_bytes_max: usize,
}

impl Limits {
    pub(crate) fn of(layer_bytes: usize) -> Self {
        Self {
            layer_bytes,
            layer_bytes_max: layer_bytes.saturating_mul(2),
            sheet_bytes: layer_bytes.saturating_mul(4),
            linger_bytes: layer_bytes,
            linger_max: Duration::from_millis(500),
            sheet_bytes_max: layer_bytes.saturating_mul(8),
        }
    }
}

enum Work {
    Fold,
    /// The reason is that the sheet is full: much is written, and deleted again.
    Settle {
        is_full: bool,
    },
}

/// Runs until the store is closed or fails.
pub(crate) fn run(shared: &Shared, rows: &Rows) {
    let _last_words = LastWords(shared);
    let mut oldest = None;
    while let Some(work) = wait(shared, &mut oldest) {
        let done = match work {
            Work::Fold => shared.fold().map(drop),
            Work::Settle { is_full } => settle(shared, rows, is_full),
        };
        if let Err(error) = done {
            return commit::fail(shared, error);
        }
    }
}

/// Waits for work; `None` at the end.
fn wait(shared: &Shared, oldest: &mut Option<Instant>) -> Option<Work> {
    let mut state = shared.lock();
    loop {
        if state.failed.is_some() {
            return None;
        }
        let is_empty = state.log_bytes == 0;
        let age = oldest.get_or_insert_with(Instant::now).elapsed();
        let limits = shared.limits;
        let is_long =
            state.log_bytes >= limits.sheet_bytes || state.layer_bytes >= limits.layer_bytes;
        if !is_empty && (is_long || age >= AGE_MAX || state.is_ending) {
            *oldest = None;
            let is_full = state.log_bytes >= limits.sheet_bytes;
            return Some(Work::Settle { is_full });
        }
        if state.is_ending {
            return None;
        }
        if state.unfolded_bytes >= FOLD_BYTES {
            return Some(Work::Fold);
        }
        state.is_settler_idle = true;
        state = if is_empty {
            *oldest = None;
            shared.settling.wait(state).unwrap_or_else(PoisonError::into_inner)
        } else {
            let left = AGE_MAX.saturating_sub(age);
            let waited = shared.settling.wait_timeout(state, left);
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
        state.is_settler_idle = false;
    }
}

/// Brings all that is in the log into the rows.
fn settle(shared: &Shared, rows: &Rows, is_full: bool) -> Result<(), StoreError> {
    let number = freeze(shared)?;
    let mut last = number;
    if is_full && linger(shared)? {
        last = thin_out(shared)?;
    }
    let layer = shared.layers().frozen.clone();
    // A record may name a spool: its bytes and its name come first.
    shared.spools.sync()?;
    rows.commit(&layer, number)?;
    shared.log().note_synced(last);
    let drops = {
        let mut layers = shared.layers();
        layers.frozen = Arc::default();
        let state = &mut *shared.lock();
        for owner in state.owners.values_mut() {
            owner.note_synced(owner.settling);
        }
        state.note_synced(last)
    };
    commit::unlink(shared, &drops)?;
    commit::tell(shared);
    Ok(())
}

/// Turns the log, and freezes what was in it up to its last block, which is returned.
fn freeze(shared: &Shared) -> Result<u64, StoreError> {
    let mut log = shared.log();
    let mut layers = shared.layers();
    let number = log.number();
    let batches = {
        let state = &mut *shared.lock();
        for owner in state.owners.values_mut() {
            owner.settling = owner.handed;
        }
        log.turn();
        state.log_bytes = 0;
        state.layer_bytes = 0;
        state.unfolded_bytes = 0;
        // There is room for what comes next.
        shared.work.notify_all();
        shared.notify_waiting(state);
        mem::take(&mut state.unfolded)
    };
    drop(log);
    layers.fold(batches, shared)?;
    layers.frozen = mem::take(&mut layers.young);
    Ok(number)
}

/// Waits while the log goes on, and folds it; returns whether it went on.
fn linger(shared: &Shared) -> Result<bool, StoreError> {
    let begun = Instant::now();
    let mut state = shared.lock();
    loop {
        let left = shared.limits.linger_max.saturating_sub(begun.elapsed());
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let is_over = state.is_ending || left.is_zero() || !state.has_room(&shared.limits);
        if is_over || state.log_bytes >= shared.limits.linger_bytes {
            return Ok(state.log_bytes > 0);
        }
        if state.unfolded_bytes >= FOLD_BYTES {
            drop(state);
            drop(shared.fold()?);
            state = shared.lock();
            continue;
        }
        state.is_settler_idle = true;
        let waited = shared.settling.wait_timeout(state, left);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.is_settler_idle = false;
    }
}

/// Takes out of the frozen layer what is gone since. Returns the block up to which the sheet of now is synced: with that the
/// rows need not have what was taken out.
fn thin_out(shared: &Shared) -> Result<u64, StoreError> {
    let log = shared.log();
    let mut layers = shared.layers();
    let (number, file, sheet) = (log.number(), log.file(), log.current());
    let batches = {
        let state = &mut *shared.lock();
        for owner in state.owners.values_mut() {
            owner.settling = owner.handed;
        }
        state.unfolded_bytes = 0;
        mem::take(&mut state.unfolded)
    };
    drop(log);
    layers.fold(batches, shared)?;
    {
        let Layers { young, frozen } = &mut *layers;
        Arc::make_mut(frozen).thin_out(Arc::make_mut(young));
    }
    shared.lock().layer_bytes = layers.young.bytes();
    drop(layers);
    if let Some(sheet) = sheet {
        shared.sync(file, &*sheet)?;
    }
    Ok(number)
}

impl State {
    /// Whether more can be written before something goes into the rows.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        let layer_bytes = self.layer_bytes.saturating_add(self.unfolded_bytes);
        self.log_bytes < limits.sheet_bytes_max && layer_bytes < limits.layer_bytes_max
    }
}

impl Shared {
    /// Folds all batches into the young layer. Returns the layers.
    pub(crate) fn fold(&self) -> Result<std::sync::MutexGuard<'_, Layers>, StoreError> {
        let mut layers = self.layers();
        let batches = {
            let state = &mut *self.lock();
            state.unfolded_bytes = 0;
            mem::take(&mut state.unfolded)
        };
        layers.fold(batches, self)?;
        self.lock().layer_bytes = layers.young.bytes();
        Ok(layers)
    }
}

impl Layers {
    fn fold(&mut self, batches: Vec<bytes::Bytes>, shared: &Shared) -> Result<(), StoreError> {
        if batches.is_empty() {
            return Ok(());
        }
        let young = Arc::make_mut(&mut self.young);
        for batch in batches {
            let applied = young.apply(&batch);
            applied.map_err(|_| StoreError::corrupt(&shared.path, "a batch in memory"))?;
        }
        Ok(())
    }
}
