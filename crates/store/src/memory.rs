//! A store that forgets everything with the process.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use bytes::Bytes;

use crate::{Change, Each, Store, StoreError};

/// Keeps records and spools in memory. Everything counts as stored at once.
#[derive(Debug, Default)]
pub struct MemoryStore {
    records: BTreeMap<Bytes, Bytes>,
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

    fn delete(&mut self, prefix: &[u8]) {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        while let Some((key, _)) = self.records.range::<[u8], _>(from).next()
            && key.starts_with(prefix)
        {
            let key = key.clone();
            self.records.remove(&key);
        }
    }
}

impl Store for MemoryStore {
    fn write_batch(
        &mut self,
        seq: u64,
        changes: &mut dyn Iterator<Item = Change>,
    ) -> Result<(), StoreError> {
        debug_assert!(seq > self.stored, "sequence numbers rise");
        for change in changes {
            match change {
                Change::Put(key, value) | Change::Insert(key, value) => {
                    self.records.insert(key, value);
                }
                Change::Delete(prefix) => self.delete(&prefix),
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

    fn scan_after(
        &self,
        prefix: &[u8],
        after: &[u8],
        each: &mut Each<'_>,
    ) -> Result<(), StoreError> {
        let from = if after.is_empty() || after < prefix {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        for (key, value) in self.records.range::<[u8], _>((from, Bound::Unbounded)) {
            if !key.starts_with(prefix) || each(key, value.clone()).is_break() {
                break;
            }
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
    use std::ops::ControlFlow;

    use super::*;

    #[test]
    fn a_put_is_read_scanned_and_deleted() {
        let mut store = MemoryStore::new();
        assert_eq!(store.stored().unwrap(), 0);
        store.write(1, Change::Put("a1".into(), "x".into())).unwrap();
        store.write(2, Change::Put("a2".into(), "y".into())).unwrap();
        store.write(3, Change::Put("b1".into(), "z".into())).unwrap();
        store.write(4, Change::Delete("a1".into())).unwrap();
        let mut seen = Vec::new();
        store.scan(b"a", &mut |key, value| seen.push((key.to_vec(), value))).unwrap();
        assert_eq!(seen, [(b"a2".to_vec(), Bytes::from_static(b"y"))]);
        assert_eq!(store.read(b"a1").unwrap(), None);
        assert_eq!(store.read(b"b1").unwrap(), Some(Bytes::from_static(b"z")));
        assert_eq!(store.stored().unwrap(), 4);
    }

    #[test]
    fn a_delete_takes_all_that_begins_with_its_key() {
        let mut store = MemoryStore::new();
        let keys = ["m", "m1", "m1F", "m2"];
        let puts = keys.map(|key| Change::Put(key.into(), Bytes::new()));
        store.write_batch(1, &mut puts.into_iter()).unwrap();
        store.write(2, Change::Delete("m1".into())).unwrap();
        let left = |store: &MemoryStore, after: &[u8]| {
            let mut seen = Vec::new();
            let mut each = |key: &[u8], _| {
                seen.push(String::from_utf8(key.to_vec()).unwrap());
                ControlFlow::Continue(())
            };
            store.scan_after(b"m", after, &mut each).unwrap();
            seen
        };
        assert_eq!(left(&store, b""), ["m", "m2"]);
        assert_eq!(left(&store, b"m"), ["m2"]);
        store.write(3, Change::Delete("m".into())).unwrap();
        assert!(left(&store, b"").is_empty());
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
