//! The rows: an embedded database, a row per record. Every commit is synced.
//!
//! The database is `redb`. It never sees what it did not check, and if it panics all the same, the store is corrupt.

use std::{
    collections::BTreeSet,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use redb::{
    Database, Error as DatabaseError, Range, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageBackend, Table, TableDefinition,
};

use crate::{
    StoreError,
    block::Salt,
    folder::ROWS_FILE,
    key::Key,
    layer::{Layer, start},
};

/// Records: a key, and its value followed by a checksum over both.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// Facts about the store itself.
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");

/// The number of the last block of the log whose changes are in the rows.
const APPLIED: &str = "applied";

/// What names the blocks of the log, and the run of the operating system in which they were written.
const LOG: [&str; 3] = ["log salt", "log run, high", "log run, low"];

/// Bytes of the checksum after every value.
const SUM_LEN: usize = 4;

/// A store with at most this many records is compacted when it is closed, so that a drained store gives back its room.
const COMPACT_RECORDS_MAX: u64 = 1000;

/// Rows that are removed one by one before the rest is removed at once.
const FEW: usize = 3;

type Records<'a> = Table<'a, &'static [u8], &'static [u8]>;

#[derive(Debug)]
pub(crate) struct Rows {
    path: PathBuf,
    database: Database,
}

impl Rows {
    /// Opens or creates the rows of the store at `path` in `backend`; `is_checked`: every page is read and verified.
    pub(crate) fn open(
        path: &Path,
        backend: impl StorageBackend,
        cache_bytes: usize,
        is_checked: bool,
    ) -> Result<Self, StoreError> {
        let database = guard(path, || {
            let mut builder = Database::builder();
            builder.set_cache_size(cache_bytes).set_check_integrity_on_open(is_checked);
            let database = builder.create_with_backend(backend)?;
            let write = database.begin_write()?;
            write.open_table(RECORDS)?;
            write.open_table(FACTS)?;
            write.commit()?;
            Ok(database)
        })?;
        Ok(Self { path: path.to_owned(), database })
    }

    /// The number of the last block of the log whose changes are here.
    pub(crate) fn applied(&self) -> Result<u64, StoreError> {
        guard(&self.path, || {
            let facts = self.database.begin_read()?.open_table(FACTS)?;
            Ok(facts.get(APPLIED)?.map_or(0, |number| number.value()))
        })
    }

    /// What names the blocks of the log: its salt, and the run of the operating system. `None` if there never was one.
    pub(crate) fn log(&self) -> Result<Option<(Salt, u128)>, StoreError> {
        guard(&self.path, || {
            let facts = self.database.begin_read()?.open_table(FACTS)?;
            let mut found = [0; LOG.len()];
            for (place, name) in found.iter_mut().zip(LOG) {
                let Some(number) = facts.get(name)? else { return Ok(None) };
                *place = number.value();
            }
            let [salt, high, low] = found;
            Ok(Some((Salt(salt), u128::from(high) << 64 | u128::from(low))))
        })
    }

    /// Says what names the blocks of the log from now on, and syncs.
    pub(crate) fn begin_log(&self, salt: Salt, run: u128) -> Result<(), StoreError> {
        let half = |number: u128| (number & u128::from(u64::MAX)) as u64;
        guard(&self.path, || {
            let write = self.database.begin_write()?;
            {
                let mut facts = write.open_table(FACTS)?;
                for (name, number) in LOG.into_iter().zip([salt.0, half(run >> 64), half(run)]) {
                    facts.insert(name, number)?;
                }
            }
            write.commit()?;
            Ok(())
        })
    }

    /// Applies a layer, which holds all up to block `applied` of the log, and syncs.
    pub(crate) fn commit(&self, layer: &Layer, applied: u64) -> Result<(), StoreError> {
        guard(&self.path, || {
            let write = self.database.begin_write()?;
            {
                let mut records = write.open_table(RECORDS)?;
                cut(&mut records, layer.cuts())?;
                let mut row = Vec::new();
                for (key, entry) in layer.puts() {
                    let key = key.bytes();
                    row.clear();
                    let value = entry.value.bytes();
                    row.extend_from_slice(value);
                    row.extend_from_slice(&sum(key, value));
                    records.insert(key, &row[..])?;
                }
                write.open_table(FACTS)?.insert(APPLIED, applied)?;
            }
            write.commit()?;
            Ok(())
        })
    }

    pub(crate) fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let found = guard(&self.path, || {
            let records = self.database.begin_read()?.open_table(RECORDS)?;
            Ok(records.get(key)?.map(|row| Bytes::copy_from_slice(row.value())))
        })?;
        found.map(|row| self.checked(key, row)).transpose()
    }

    /// Rows under `prefix` that are greater than `after`, as they are at this moment.
    pub(crate) fn after(&self, prefix: &[u8], after: &[u8]) -> Result<RowsAfter<'_>, StoreError> {
        let range = guard(&self.path, || {
            let records = self.database.begin_read()?.open_table(RECORDS)?;
            Ok(records.range::<&[u8]>((start(prefix, after), Bound::Unbounded))?)
        })?;
        Ok(RowsAfter { rows: self, range, prefix: prefix.to_vec() })
    }

    /// Gives back room and closes the database.
    pub(crate) fn close(mut self) -> Result<(), StoreError> {
        guard(&self.path, || {
            let records = self.database.begin_read()?.open_table(RECORDS)?;
            if records.len()? <= COMPACT_RECORDS_MAX {
                drop(records);
                self.database.compact()?;
            }
            self.database.close()?;
            Ok(())
        })
    }

    /// The value in a row, if its checksum is right.
    fn checked(&self, key: &[u8], mut row: Bytes) -> Result<Bytes, StoreError> {
        let at = row.len().checked_sub(SUM_LEN);
        let found = at.map(|at| row.split_off(at));
        if found.as_deref() == Some(&sum(key, &row)) {
            return Ok(row);
        }
        Err(StoreError::corrupt(&self.path, "the checksum of a record is wrong"))
    }
}

/// Rows in the order of their keys.
pub(crate) struct RowsAfter<'a> {
    rows: &'a Rows,
    range: Range<'static, &'static [u8], &'static [u8]>,
    prefix: Vec<u8>,
}

impl RowsAfter<'_> {
    pub(crate) fn next(&mut self) -> Result<Option<(Vec<u8>, Bytes)>, StoreError> {
        let next = guard(&self.rows.path, || {
            let Some(row) = self.range.next() else { return Ok(None) };
            let (key, value) = row?;
            if !key.value().starts_with(&self.prefix) {
                return Ok(None);
            }
            Ok(Some((key.value().to_vec(), Bytes::copy_from_slice(value.value()))))
        })?;
        let Some((key, row)) = next else { return Ok(None) };
        let value = self.rows.checked(&key, row)?;
        Ok(Some((key, value)))
    }
}

/// Runs what touches the database. A panic in there says that its file is not what it wrote.
fn guard<T>(path: &Path, work: impl FnOnce() -> Result<T, DatabaseError>) -> Result<T, StoreError> {
    let error = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error,
        Err(_) => return Err(StoreError::corrupt(path, "the database could not make sense of it")),
    };
    if let DatabaseError::DatabaseAlreadyOpen = error {
        return Err(StoreError::Locked(path.to_owned()));
    }
    if let DatabaseError::Io(error) = &error
        && error.kind() != std::io::ErrorKind::InvalidData
        && error.kind() != std::io::ErrorKind::UnexpectedEof
    {
        let deed = format!("{ROWS_FILE} cannot be read, written or synced");
        return Err(StoreError::io_at(path, &deed, error));
    }
    if let DatabaseError::PreviousIo = error {
        let what = "an earlier write failed".to_owned();
        return Err(StoreError::Io { path: path.to_owned(), what });
    }
    Err(StoreError::corrupt(path, error.to_string()))
}

/// Removes every row whose key begins with one of these. Most cuts find nothing: from one row to the next, all cuts in
/// between are passed over.
fn cut(records: &mut Records<'_>, cuts: &BTreeSet<Key>) -> Result<(), DatabaseError> {
    let mut next = cuts.first();
    while let Some(prefix) = next {
        let Some(row) = first_from(records, prefix.bytes())? else { break };
        let behind = (Bound::Excluded(prefix), Bound::Unbounded);
        next = if row.starts_with(prefix.bytes()) {
            cut_one(records, prefix.bytes(), &row)?;
            cuts.range(behind).next()
        } else {
            let key = Key::from(&row[..]);
            let before = cuts.range(..=&key).next_back();
            before.filter(|cut| row.starts_with(cut.bytes())).or_else(|| cuts.range(&key..).next())
        };
    }
    Ok(())
}

/// Removes all rows under a prefix, of which this is the first. Mostly they are few.
fn cut_one(records: &mut Records<'_>, prefix: &[u8], row: &[u8]) -> Result<(), DatabaseError> {
    records.remove(row)?;
    for _ in 0..FEW {
        let Some(row) = first_from(records, prefix)?.filter(|row| row.starts_with(prefix)) else {
            return Ok(());
        };
        records.remove(&row[..])?;
    }
    let end = end_of(prefix);
    let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    records.retain_in::<&[u8], _>((Bound::Included(prefix), end), |_, _| false)?;
    Ok(())
}

/// The first row from a key on.
fn first_from(records: &Records<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
    let row = records.range::<&[u8]>(key..)?.next().transpose()?;
    Ok(row.map(|(key, _)| key.value().to_vec()))
}

/// The first key after all that begin with `prefix`; `None` if nothing comes after them.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while end.pop_if(|byte| *byte == u8::MAX).is_some() {}
    *end.last_mut()? += 1;
    Some(end)
}

fn sum(key: &[u8], value: &[u8]) -> [u8; SUM_LEN] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(key);
    sum.update(value);
    sum.finalize().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platter::Platter;

    /// Every byte of a small database, flipped in turn: an error, or what was written.
    #[test]
    fn a_flipped_byte_is_an_error_or_harmless() {
        let platter = Platter::default();
        let rows = open(&platter).unwrap();
        for number in 1..=60 {
            let mut layer = Layer::default();
            let value = Bytes::from(vec![number; 50]);
            layer.put(Key::from(&[7, number][..]), value.into(), false);
            rows.commit(&layer, number.into()).unwrap();
        }
        let good = content(&rows).unwrap();
        assert_eq!(good.len(), 60);
        rows.close().unwrap();
        let bytes = platter.bytes();
        let (mut refused, mut harmless) = (0, 0);
        for at in 0..bytes.len() {
            // Pages that hold nothing look alike: a few bytes of them tell.
            let is_blank = bytes[at / SPAN * SPAN..].iter().take(SPAN).all(|byte| *byte == 0);
            if is_blank && at % 997 != 0 {
                continue;
            }
            let mut bad = bytes.clone();
            bad[at] ^= 0x41;
            match open(&Platter::of(bad)).and_then(|rows| content(&rows)) {
                Ok(found) => {
                    assert_eq!(found, good, "byte {at}");
                    harmless += 1;
                }
                Err(StoreError::Corrupt { .. }) => refused += 1,
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
        assert!(refused > 1000, "{refused} refused, {harmless} harmless");
    }

    #[test]
    fn a_changed_row_is_not_read_even_if_the_database_is_trusted() {
        let rows = open(&Platter::default()).unwrap();
        let write = rows.database.begin_write().unwrap();
        write.open_table(RECORDS).unwrap().insert(&b"k"[..], &b"value"[..]).unwrap();
        write.open_table(RECORDS).unwrap().insert(&b"l"[..], &b"v"[..]).unwrap();
        write.commit().unwrap();
        for key in [&b"k"[..], b"l"] {
            assert!(matches!(rows.read(key), Err(StoreError::Corrupt { .. })));
        }
        assert!(matches!(content(&rows), Err(StoreError::Corrupt { .. })));
    }

    /// Bytes that are looked at together to see whether they hold anything.
    const SPAN: usize = 64;

    fn open(platter: &Platter) -> Result<Rows, StoreError> {
        Rows::open(Path::new("store"), platter.clone(), 1 << 20, true)
    }

    fn content(rows: &Rows) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
        let mut found = Vec::new();
        let mut after = rows.after(b"", b"")?;
        while let Some(row) = after.next()? {
            found.push(row);
        }
        Ok(found)
    }

    #[test]
    fn cuts_take_all_that_begins_with_them_and_nothing_else() {
        let rows = open(&Platter::default()).unwrap();
        let mut layer = Layer::default();
        let keys: Vec<Vec<u8>> = (0..5_u8)
            .flat_map(|a| (0..12_u8).map(move |b| vec![a, b]).chain([vec![a], vec![a, 3, 1]]))
            .collect();
        keys.iter().for_each(|key| layer.put(Key::from(&key[..]), Bytes::new().into(), false));
        rows.commit(&layer, 1).unwrap();
        let cuts: [&[u8]; 9] =
            [&[0, 2], &[0, 3], &[0, 4, 1], &[1], &[2, 9, 9], &[2, 11], &[3, 12], &[4, 3], &[9]];
        let mut layer = Layer::default();
        cuts.iter().for_each(|cut| layer.cut(cut));
        rows.commit(&layer, 2).unwrap();
        let found: Vec<_> = content(&rows).unwrap().into_iter().map(|(key, _)| key).collect();
        let mut left = keys;
        left.retain(|key| !cuts.iter().any(|cut| key.starts_with(cut)));
        left.sort();
        assert_eq!(found, left);
        assert_eq!(rows.applied().unwrap(), 2);
    }

    #[test]
    fn the_end_of_a_prefix_comes_after_all_its_keys() {
        assert_eq!(end_of(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(end_of(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(end_of(&[0xff]), None);
        assert_eq!(end_of(b""), None);
    }
}
