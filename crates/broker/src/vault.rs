//! One store behind all hubs of a broker.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use postrider_proto::{Record, SpoolOutput};
use postrider_store::{Change, MemoryStore, Store, StoreError};

/// The store, shared. It is touched for records and for payloads that are too large for memory, never for others.
#[derive(Clone)]
pub(crate) struct Vault {
    state: Arc<Mutex<State>>,
}

struct State {
    store: Box<dyn Store>,
    /// The store's last sequence number; each hub counts for itself.
    seq: u64,
}

/// A hub's view: which of its own sequence numbers wait for which of the store's.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pairs: VecDeque<(u64, u64)>,
}

impl Vault {
    /// A vault that forgets everything with the process.
    pub(crate) fn memory() -> Self {
        Self::new(Box::new(MemoryStore::new()))
    }

    pub(crate) fn new(store: Box<dyn Store>) -> Self {
        Self { state: Arc::new(Mutex::new(State { store, seq: 0 })) }
    }

    /// Writes a record which the hub numbered `hub_seq`.
    pub(crate) fn write(
        &self,
        hub_seq: u64,
        record: &Record,
        waiting: &mut Waiting,
    ) -> Result<(), StoreError> {
        let change = match record.value() {
            Some(value) => Change::Put(record.key(), value),
            None => Change::Delete(record.key()),
        };
        let mut state = self.lock();
        state.seq += 1;
        let seq = state.seq;
        state.store.write(seq, change)?;
        waiting.pairs.push_back((seq, hub_seq));
        Ok(())
    }

    /// The hub's highest number that has become durable since the last call, if any.
    pub(crate) fn stored(&self, waiting: &mut Waiting) -> Result<Option<u64>, StoreError> {
        if waiting.pairs.is_empty() {
            return Ok(None);
        }
        let stored = self.lock().store.stored()?;
        let mut last = None;
        while let Some((_, hub_seq)) = waiting.pairs.pop_front_if(|(seq, _)| *seq <= stored) {
            last = Some(hub_seq);
        }
        Ok(last)
    }

    /// Reads a range of what stands under `key`; `None` if the key is not there. A range past the end is cut.
    pub(crate) fn read(
        &self,
        key: &[u8],
        offset: u64,
        len: u32,
    ) -> Result<Option<Bytes>, StoreError> {
        let found = self.lock().store.read(key)?;
        Ok(found.map(|bytes| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            bytes.slice(from..from.saturating_add(len).min(bytes.len()))
        }))
    }

    /// Appends to a spool, or drops it.
    pub(crate) fn spool(&self, output: SpoolOutput) -> Result<(), StoreError> {
        let mut state = self.lock();
        match output {
            SpoolOutput::Append(spool, bytes) => state.store.spool_append(spool, bytes),
            SpoolOutput::Drop(spool) => state.store.spool_drop(spool),
        }
    }

    /// Reads at least one and at most `len` bytes of a spool.
    pub(crate) fn spool_read(
        &self,
        spool: u64,
        offset: u64,
        len: usize,
    ) -> Result<Bytes, StoreError> {
        self.lock().store.spool_read(spool, offset, len)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use postrider_proto::Fact;

    use super::*;

    #[test]
    fn each_hub_counts_for_itself_in_one_store() {
        let vault = Vault::memory();
        let (mut one, mut two) = (Waiting::default(), Waiting::default());
        assert_eq!(vault.stored(&mut one).unwrap(), None);
        vault.write(1, &gone(7), &mut one).unwrap();
        vault.write(1, &gone(8), &mut two).unwrap();
        vault.write(2, &gone(9), &mut one).unwrap();
        assert_eq!(vault.stored(&mut one).unwrap(), Some(2));
        assert_eq!(vault.stored(&mut one).unwrap(), None);
        assert_eq!(vault.stored(&mut two).unwrap(), Some(1));
    }

    #[test]
    fn spools_are_appended_read_and_dropped() {
        let vault = Vault::memory();
        vault.spool(SpoolOutput::Append(3, Bytes::from_static(b"hello"))).unwrap();
        assert_eq!(vault.spool_read(3, 1, 3).unwrap(), "ell");
        vault.spool(SpoolOutput::Drop(3)).unwrap();
        assert_eq!(vault.spool_read(3, 1, 3), Err(StoreError::NoSpool(3)));
        assert_eq!(vault.read(b"k", 0, 9).unwrap(), None);
    }

    fn gone(owner: u64) -> Record {
        Record { owner, fact: Fact::SessionGone }
    }
}
