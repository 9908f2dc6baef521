//! One owner's handle to a store on the disk.

use std::{iter::Peekable, ops::ControlFlow, path::Path, sync::Arc};

use bytes::Bytes;

use crate::{
    Batch, Change, Each, Mode, Store, StoreError, commit,
    disk::{Core, Owner, State},
    layer::{Found, Layer},
    rows::Rows,
    value::Value,
};

/// Bytes that wait for the commit thread before writers wait for it: the disk sets the pace, not the memory.
const PENDING_BYTES_MAX: usize = 4 << 20;

/// A handle of one owner, made by [`crate::Disk::handle`]. Its sequence numbers are its own.
#[derive(Debug)]
pub struct DiskStore {
    core: Arc<Core>,
    owner: u64,
}

impl DiskStore {
    pub(crate) fn new(core: Arc<Core>, owner: u64) -> Self {
        Self { core, owner }
    }

    /// Waits until this sequence number is stored in the sense of the owner's mode.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails before that.
    pub fn wait(&self, seq: u64) -> Result<(), StoreError> {
        let shared = &self.core.shared;
        let mut state = shared.lock();
        loop {
            state.check(&shared.path)?;
            if state.owners.get(&self.owner).is_none_or(|owner| owner.stored(owner.mode) >= seq) {
                return Ok(());
            }
            state = shared.wait(state);
        }
    }

    /// Asks for a sync of what was written up to now, and all before. To be called by an owner in [`Mode::Process`], some
    /// of whose writes must survive a power cut before it goes on.
    ///
    /// # Errors
    /// [`StoreError`] if the store has failed.
    pub fn sync_soon(&self) -> Result<(), StoreError> {
        let shared = &self.core.shared;
        let mut state = shared.lock();
        state.check(&shared.path)?;
        state.needs_sync = true;
        shared.wake_commit(&state);
        Ok(())
    }

    /// The folder of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.core.shared.path
    }

    /// Takes changes as the log has them.
    fn take(&mut self, seq: u64, changes: Bytes) -> Result<(), StoreError> {
        let shared = &self.core.shared;
        let mut state = shared.lock();
        loop {
            state.check(&shared.path)?;
            if state.pending_bytes < PENDING_BYTES_MAX {
                break;
            }
            state = shared.wait(state);
        }
        if !changes.is_empty() {
            state.pending_bytes += changes.len();
            state.pending.push(changes);
        }
        state.counts.writes += 1;
        let mut is_durable = false;
        if let Some(owner) = state.owners.get_mut(&self.owner) {
            debug_assert!(seq > owner.written, "sequence numbers rise");
            owner.written = seq;
            is_durable = owner.mode == Mode::Durable;
        }
        state.needs_sync |= is_durable;
        if is_durable || !state.has_room(&shared.limits) || shared.spools.is_dirty() {
            shared.wake_commit(&state);
            return Ok(());
        }
        drop(state);
        self.hand_over()
    }

    /// Hands what was written to the operating system here and now, if nobody else is about to.
    fn hand_over(&self) -> Result<(), StoreError> {
        let shared = &self.core.shared;
        let Some(mut log) = shared.try_log() else {
            shared.wake_commit(&shared.lock());
            return Ok(());
        };
        let appended = commit::append(shared, &mut log);
        drop(log);
        shared.lock().counts.handed += 1;
        match appended {
            Ok(()) => commit::tell(shared),
            Err(error) => {
                commit::fail(shared, error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// What was written since the last block, as far as it matters to keys under `prefix`; what is in the log, young to
    /// old; and the rows.
    fn layers(&self, prefix: &[u8]) -> Result<([Arc<Layer>; 3], Arc<Rows>), StoreError> {
        let shared = &self.core.shared;
        shared.lock().check(&shared.path)?;
        let (batches, layers, rows) = {
            let layers = shared.fold()?;
            let state = shared.lock();
            // A block that was begun since then is not in the layer.
            let batches = [&state.unfolded[..], &state.pending].concat();
            (batches, [layers.young.clone(), layers.frozen.clone()], self.rows(&state)?)
        };
        let mut pending = Layer::default();
        for batch in &batches {
            let applied = pending.apply_under(batch, prefix);
            applied.map_err(|_| StoreError::corrupt(&shared.path, "a batch in memory"))?;
        }
        let [young, frozen] = layers;
        Ok(([Arc::new(pending), young, frozen], rows))
    }

    fn rows(&self, state: &State) -> Result<Arc<Rows>, StoreError> {
        state.rows.clone().ok_or_else(|| StoreError::Closed(self.core.shared.path.clone()))
    }
}

impl Store for DiskStore {
    fn write_batch(
        &mut self,
        seq: u64,
        changes: &mut dyn Iterator<Item = Change>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        changes.for_each(|change| batch.push_change(&change));
        self.take(seq, batch.take())
    }

    fn write_gathered(&mut self, seq: u64, batch: &mut Batch) -> Result<(), StoreError> {
        self.take(seq, batch.take())
    }

    fn stored(&mut self) -> Result<u64, StoreError> {
        let shared = &self.core.shared;
        let state = shared.lock();
        state.check(&shared.path)?;
        Ok(state.owners.get(&self.owner).map_or(0, |owner| owner.stored(owner.mode)))
    }

    fn stored_in(&mut self, mode: Mode) -> Result<u64, StoreError> {
        let shared = &self.core.shared;
        let state = shared.lock();
        state.check(&shared.path)?;
        Ok(state.owners.get(&self.owner).map_or(0, |owner| owner.stored(mode)))
    }

    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let (layers, rows) = self.layers(key)?;
        for layer in layers {
            match layer.find(key) {
                Found::Put(value) => return Ok(Some(value)),
                Found::Cut => return Ok(None),
                Found::Unknown => (),
            }
        }
        rows.read(key)
    }

    fn scan_after(
        &self,
        prefix: &[u8],
        after: &[u8],
        each: &mut Each<'_>,
    ) -> Result<(), StoreError> {
        let (layers, rows) = self.layers(prefix)?;
        let mut older = rows.after(prefix, after)?;
        let mut row = older.next()?;
        let mut puts = layers.each_ref().map(|layer| layer.puts_after(prefix, after).peekable());
        while let Some((age, key)) = first(&mut puts, row.as_ref(), prefix) {
            let mut value = None;
            for (at, puts) in puts.iter_mut().enumerate() {
                if let Some((_, found)) = puts.next_if(|(found, _)| *found == key)
                    && at == age
                {
                    value = Some(found.to_bytes());
                }
            }
            if let Some((_, found)) = row.take_if(|(found, _)| *found == key) {
                row = older.next()?;
                value.get_or_insert(found);
            }
            let is_cut = layers.iter().take(age).any(|younger| younger.covers(&key));
            if let Some(value) = value.filter(|_| !is_cut)
                && each(&key, value) == ControlFlow::Break(())
            {
                break;
            }
        }
        Ok(())
    }

    fn spool_append(&mut self, spool: u64, bytes: Bytes) -> Result<(), StoreError> {
        self.core.shared.lock().check(&self.core.shared.path)?;
        self.core.shared.spools.append(spool, &bytes)
    }

    fn spool_read(&self, spool: u64, offset: u64, len: usize) -> Result<Bytes, StoreError> {
        self.core.shared.spools.read(spool, offset, len)
    }

    fn spool_drop(&mut self, spool: u64) -> Result<(), StoreError> {
        let shared = &self.core.shared;
        if !shared.spools.forget(spool) {
            return Ok(());
        }
        let state = &mut *shared.lock();
        state.check(&shared.path)?;
        // A record on the disk may name it until what was written after that is there too.
        let after = state.taken + u64::from(!state.pending.is_empty());
        if after <= state.synced {
            return shared.spools.unlink(spool);
        }
        state.drops.push((after, spool));
        Ok(())
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.core.shared.lock().owners.remove(&self.owner);
    }
}

impl Owner {
    /// This much of it is on the disk.
    pub(crate) fn note_synced(&mut self, seq: u64) {
        self.has_news |= self.synced < seq;
        self.synced = self.synced.max(seq);
    }

    /// The last of its sequence numbers that is stored in this sense.
    pub(crate) fn stored(&self, mode: Mode) -> u64 {
        match mode {
            Mode::Memory => self.written,
            Mode::Process => self.handed,
            Mode::Durable => self.synced,
        }
    }
}

/// The smallest key that comes next, and the youngest layer that has it; the rows count as the oldest.
fn first<'a>(
    puts: &mut [Peekable<impl Iterator<Item = (&'a [u8], &'a Value)>>],
    row: Option<&(Vec<u8>, Bytes)>,
    prefix: &[u8],
) -> Option<(usize, Vec<u8>)> {
    let mut first = row.map(|(key, _)| (puts.len(), &key[..]));
    for (age, puts) in puts.iter_mut().enumerate().rev() {
        if let Some((key, _)) = puts.peek()
            && key.starts_with(prefix)
            && first.is_none_or(|(_, least)| *key <= least)
        {
            first = Some((age, key));
        }
    }
    first.map(|(age, key)| (age, key.to_vec()))
}
