//! A store that forgets everything with the process.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::{Change, Store, StoreError};

/// Keeps records and spools in memory. Everything counts as stored at once.
#[derive(Debug, Default)]
pub struct MemoryStore {
    records: BTreeMap<Vec<u8>, Bytes>,
    spools: HashMap<u64, Spool>,
    stored: u64,
}

/// Chunks as they came, with the offset of each, so that nothing is copied.
#[derive(Debug, Default)]
struct Spool {
    chunks: Vec<(u64, Bytes)>,
    len: u64,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn write(&mut self, seq: u64, change: Change) -> Result<(), StoreError> {
        debug_assert!(seq > self.stored, "sequence numbers rise");
        match change {
            Change::Put(key, value) => {
                self.records.insert(key, Bytes::from(value));
            }
            Change::Delete(key) => {
                self.records.remove(&key);
            }
        }
        self.stored = seq;
        Ok(())
    }

    fn stored(&mut self) -> Result<u64, StoreError> {
        Ok(self.stored)
    }

    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.records.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], Bytes)) -> Result<(), StoreError> {
        for (key, value) in self.records.range(prefix.to_vec()..) {
            if !key.starts_with(prefix) {
                break;
            }
            each(key, value.clone());
        }
        Ok(())
    }

    fn spool_append(&mut self, spool: u64, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let spool = self.spools.entry(spool).or_default();
        let at = spool.len;
        spool.len += bytes.len() as u64;
        spool.chunks.push((at, bytes));
        Ok(())
    }

    fn spool_read(&self, spool: u64, offset: u64, len: usize) -> Result<Bytes, StoreError> {
        let Some(found) = self.spools.get(&spool) else {
            return Err(StoreError::NoSpool(spool));
        };
        let index = found.chunks.partition_point(|(at, _)| *at <= offset);
        let piece = index.checked_sub(1).and_then(|index| found.chunks.get(index));
        let Some((at, bytes)) = piece.filter(|_| offset < found.len) else {
            return Err(StoreError::SpoolRange { spool, len: found.len, wanted: offset });
        };
        let from = usize::try_from(offset - at).unwrap_or(usize::MAX);
        Ok(bytes.slice(from..bytes.len().min(from.saturating_add(len))))
    }

    fn spool_drop(&mut self, spool: u64) -> Result<(), StoreError> {
        self.spools.remove(&spool);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_read_scanned_and_deleted() {
        let mut store = MemoryStore::new();
        store.write(1, Change::Put(b"a1".to_vec(), b"x".to_vec())).unwrap();
        store.write(2, Change::Put(b"a2".to_vec(), b"y".to_vec())).unwrap();
        store.write(3, Change::Put(b"b1".to_vec(), b"z".to_vec())).unwrap();
        store.write(4, Change::Delete(b"a1".to_vec())).unwrap();
        let mut seen = Vec::new();
        store.scan(b"a", &mut |key, value| seen.push((key.to_vec(), value))).unwrap();
        assert_eq!(seen, [(b"a2".to_vec(), Bytes::from_static(b"y"))]);
        assert_eq!(store.read(b"a1").unwrap(), None);
        assert_eq!(store.read(b"b1").unwrap(), Some(Bytes::from_static(b"z")));
        assert_eq!(store.stored().unwrap(), 4);
    }

    #[test]
    fn a_spool_is_read_at_any_offset() {
        let mut store = MemoryStore::new();
        for chunk in ["hel", "lo wo", "", "rld"] {
            store.spool_append(7, Bytes::from(chunk)).unwrap();
        }
        let mut all = Vec::new();
        while all.len() < 11 {
            let piece = store.spool_read(7, all.len() as u64, 4).unwrap();
            assert!(!piece.is_empty());
            assert!(piece.len() <= 4);
            all.extend_from_slice(&piece);
        }
        assert_eq!(all, b"hello world");
        assert_eq!(
            store.spool_read(7, 11, 1),
            Err(StoreError::SpoolRange { spool: 7, len: 11, wanted: 11 })
        );
        store.spool_drop(7).unwrap();
        assert_eq!(store.spool_read(7, 0, 1), Err(StoreError::NoSpool(7)));
    }
}
