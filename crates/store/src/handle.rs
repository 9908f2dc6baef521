//! One owner's handle to a store on the disk.

use std::{
    iter::Peekable,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, PoisonError},
};

use bytes::Bytes;

use crate::{
    Change, Each, Mode, Store, StoreError,
    disk::{Core, Owner, State},
    layer::{Found, Layer},
    rows::Rows,
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
            state = shared.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
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
        shared.work.notify_one();
        Ok(())
    }

    /// The folder of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.core.shared.path
    }

    /// What is known of the keys under `prefix` after `after` without reading the disk, young to old; and the rows.
    fn layers(
        &self,
        prefix: &[u8],
        after: &[u8],
    ) -> Result<([Arc<Layer>; 3], Arc<Rows>), StoreError> {
        let state = self.core.shared.lock();
        state.check(&self.core.shared.path)?;
        let pending = Arc::new(state.pending.part(prefix, after));
        let layers = [pending, state.taken.clone(), state.tailed.clone()];
        Ok((layers, self.rows(&state)?))
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
        let shared = &self.core.shared;
        let mut state = shared.lock();
        loop {
            state.check(&shared.path)?;
            if state.pending.bytes() < PENDING_BYTES_MAX {
                break;
            }
            state = shared.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let state = &mut *state;
        for change in changes {
            state.pending.apply(change);
        }
        state.counts.writes += 1;
        if let Some(owner) = state.owners.get_mut(&self.owner) {
            debug_assert!(seq > owner.written, "sequence numbers rise");
            owner.written = seq;
            state.needs_sync |= owner.mode == Mode::Durable;
        }
        shared.work.notify_one();
        Ok(())
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
        let rows = {
            let state = self.core.shared.lock();
            state.check(&self.core.shared.path)?;
            for layer in [&state.pending, &*state.taken, &*state.tailed] {
                match layer.find(key) {
                    Found::Put(value) => return Ok(Some(value)),
                    Found::Cut => return Ok(None),
                    Found::Unknown => (),
                }
            }
            self.rows(&state)?
        };
        rows.read(key)
    }

    fn scan_after(
        &self,
        prefix: &[u8],
        after: &[u8],
        each: &mut Each<'_>,
    ) -> Result<(), StoreError> {
        let (layers, rows) = self.layers(prefix, after)?;
        let mut older = rows.after(prefix, after)?;
        let mut row = older.next()?;
        let mut puts = layers.each_ref().map(|layer| layer.puts_after(prefix, after).peekable());
        while let Some((age, key)) = first(&mut puts, row.as_ref(), prefix) {
            let mut value = None;
            for (at, puts) in puts.iter_mut().enumerate() {
                if let Some((_, found)) = puts.next_if(|(found, _)| **found == key)
                    && at == age
                {
                    value = Some(found.clone());
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
        if state.pending.is_empty() && state.taken.is_empty() && state.tailed.is_empty() {
            return shared.spools.unlink(spool);
        }
        // A record on the disk may name it until what was written after that is there too.
        state.drops.push(spool);
        Ok(())
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.core.shared.lock().owners.remove(&self.owner);
    }
}

impl Owner {
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
    puts: &mut [Peekable<impl Iterator<Item = (&'a Bytes, &'a Bytes)>>],
    row: Option<&(Vec<u8>, Bytes)>,
    prefix: &[u8],
) -> Option<(usize, Vec<u8>)> {
    let mut first = row.map(|(key, _)| (puts.len(), &key[..]));
    for (age, puts) in puts.iter_mut().enumerate().rev() {
        if let Some((key, _)) = puts.peek()
            && key.starts_with(prefix)
            && first.is_none_or(|(_, least)| key[..] <= *least)
        {
            first = Some((age, &key[..]));
        }
    }
    first.map(|(age, key)| (age, key.to_vec()))
}
