//! The candidates behind one face: a sorted map of bytes with atomic batches.

use std::{
    error::Error,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fjall::{Database as Fjall, Keyspace, KeyspaceCreateOptions, PersistMode};
use redb::{
    Database as Redb, Durability, ReadableDatabase, StorageBackend, TableDefinition,
    backends::FileBackend,
};
use rusqlite::{Connection, OptionalExtension};

pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// One change of a batch.
#[derive(Clone, Debug)]
pub enum Change {
    Put(Vec<u8>, Vec<u8>),
    /// Removes the key and all that begin with it.
    Cut(Vec<u8>),
}

/// A candidate.
pub trait Engine {
    /// Applies a batch atomically; `is_synced`: it is on the disk when this returns, else with the operating system.
    fn commit(&mut self, batch: &[Change], is_synced: bool) -> Outcome;
    fn read(&self, key: &[u8]) -> Outcome<Option<Vec<u8>>>;
    /// Visits keys of `prefix` that are greater than `after`, until `each` says stop.
    fn scan(&self, prefix: &[u8], after: &[u8], each: &mut Each<'_>) -> Outcome;
    /// Checks everything the engine can check of its own files.
    fn verify(&mut self) -> Outcome;
}

pub type Each<'a> = dyn FnMut(&[u8], &[u8]) -> bool + 'a;

pub const NAMES: [&str; 3] = ["redb", "fjall", "sqlite"];

pub fn open(name: &str, dir: &Path) -> Outcome<Box<dyn Engine>> {
    std::fs::create_dir_all(dir)?;
    Ok(match name {
        "redb" => Box::new(RedbEngine::open(dir)?),
        "fjall" => Box::new(FjallEngine::open(dir)?),
        "sqlite" => Box::new(SqliteEngine::open(dir)?),
        _ => return Err(format!("no engine {name}").into()),
    })
}

/// The first key after all that begin with `prefix`.
pub fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while end.pop_if(|byte| *byte == 0xff).is_some() {}
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

struct RedbEngine {
    database: Redb,
    is_synced: Arc<AtomicBool>,
}

/// Durability::None keeps a commit in this process; to hand it to the operating system without a sync, the sync is
/// left out beneath the database.
#[derive(Debug)]
struct Unsynced {
    file: FileBackend,
    is_synced: Arc<AtomicBool>,
}

impl StorageBackend for Unsynced {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> Result<(), io::Error> {
        if self.is_synced.load(Ordering::Relaxed) { self.file.sync_data() } else { Ok(()) }
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.file.write(offset, data)
    }
    fn close(&self) -> Result<(), io::Error> {
        self.file.close()
    }
}

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

impl RedbEngine {
    fn open(dir: &Path) -> Outcome<Self> {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join("store"))?;
        let is_synced = Arc::new(AtomicBool::new(true));
        let backend = Unsynced { file: FileBackend::new(file)?, is_synced: is_synced.clone() };
        let database = Redb::builder().set_cache_size(16 << 20).create_with_backend(backend)?;
        let write = database.begin_write()?;
        write.open_table(ROWS)?;
        write.commit()?;
        Ok(Self { database, is_synced })
    }
}

impl Engine for RedbEngine {
    fn commit(&mut self, batch: &[Change], is_synced: bool) -> Outcome {
        self.is_synced.store(is_synced, Ordering::Relaxed);
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        {
            let mut rows = write.open_table(ROWS)?;
            for change in batch {
                match change {
                    Change::Put(key, value) => drop(rows.insert(&key[..], &value[..])?),
                    Change::Cut(prefix) => {
                        let end = end_of(prefix);
                        rows.retain_in(&prefix[..]..&end[..], |_, _| false)?;
                    }
                }
            }
        }
        write.commit()?;
        self.is_synced.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn read(&self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let rows = self.database.begin_read()?.open_table(ROWS)?;
        Ok(rows.get(key)?.map(|value| value.value().to_vec()))
    }

    fn scan(&self, prefix: &[u8], after: &[u8], each: &mut Each<'_>) -> Outcome {
        let rows = self.database.begin_read()?.open_table(ROWS)?;
        for row in rows.range(after.max(prefix)..)? {
            let (key, value) = row?;
            if key.value() != after
                && (!key.value().starts_with(prefix) || !each(key.value(), value.value()))
            {
                break;
            }
        }
        Ok(())
    }

    fn verify(&mut self) -> Outcome {
        if self.database.check_integrity()? { Ok(()) } else { Err("repaired".into()) }
    }
}

struct FjallEngine {
    database: Fjall,
    rows: Keyspace,
}

impl FjallEngine {
    fn open(dir: &Path) -> Outcome<Self> {
        let database = Fjall::builder(dir).cache_size(16 << 20).open()?;
        let rows = database
            .keyspace("rows", || KeyspaceCreateOptions::default().max_memtable_size(16 << 20))?;
        Ok(Self { database, rows })
    }
}

impl Engine for FjallEngine {
    fn commit(&mut self, batch: &[Change], is_synced: bool) -> Outcome {
        let mode = if is_synced { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut write = self.database.batch().durability(Some(mode));
        for change in batch {
            match change {
                Change::Put(key, value) => write.insert(&self.rows, &key[..], &value[..]),
                // What begins with it and was put in this batch is not seen by a scan; ours are flights.
                Change::Cut(prefix) => {
                    write.remove(&self.rows, &prefix[..]);
                    let mut flight = prefix.clone();
                    flight.push(b'F');
                    write.remove(&self.rows, flight);
                }
            }
        }
        write.commit()?;
        Ok(())
    }

    fn read(&self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.rows.get(key)?.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8], after: &[u8], each: &mut Each<'_>) -> Outcome {
        for row in self.rows.range(after.max(prefix)..) {
            let (key, value) = row.into_inner()?;
            if key[..] != *after && (!key.starts_with(prefix) || !each(&key, &value)) {
                break;
            }
        }
        Ok(())
    }

    fn verify(&mut self) -> Outcome {
        self.scan(b"", b"", &mut |_, _| true)
    }
}

struct SqliteEngine {
    connection: Connection,
    is_synced: bool,
}

impl SqliteEngine {
    fn open(dir: &Path) -> Outcome<Self> {
        let connection = Connection::open(dir.join("store"))?;
        connection.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 8000; \
             CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;",
        )?;
        connection.set_prepared_statement_cache_capacity(16);
        Ok(Self { connection, is_synced: true })
    }
}

impl Engine for SqliteEngine {
    fn commit(&mut self, batch: &[Change], is_synced: bool) -> Outcome {
        if is_synced != self.is_synced {
            let level = if is_synced { "FULL" } else { "NORMAL" };
            self.connection.execute_batch(&format!("PRAGMA synchronous = {level}"))?;
            self.is_synced = is_synced;
        }
        let write = self.connection.transaction()?;
        {
            let mut put =
                write.prepare_cached("INSERT OR REPLACE INTO rows (key, value) VALUES (?1, ?2)")?;
            let mut cut = write.prepare_cached("DELETE FROM rows WHERE key >= ?1 AND key < ?2")?;
            for change in batch {
                match change {
                    Change::Put(key, value) => put.execute((&key[..], &value[..]))?,
                    Change::Cut(prefix) => cut.execute((&prefix[..], end_of(prefix)))?,
                };
            }
        }
        write.commit()?;
        Ok(())
    }

    fn read(&self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let mut get = self.connection.prepare_cached("SELECT value FROM rows WHERE key = ?1")?;
        Ok(get.query_row([key], |row| row.get(0)).optional()?)
    }

    fn scan(&self, prefix: &[u8], after: &[u8], each: &mut Each<'_>) -> Outcome {
        let mut all = self
            .connection
            .prepare_cached("SELECT key, value FROM rows WHERE key >= ?1 ORDER BY key")?;
        let mut rows = all.query([after.max(prefix)])?;
        while let Some(row) = rows.next()? {
            let key = row.get_ref(0)?.as_blob()?;
            let value = row.get_ref(1)?.as_blob()?;
            if key != after && (!key.starts_with(prefix) || !each(key, value)) {
                break;
            }
        }
        Ok(())
    }

    fn verify(&mut self) -> Outcome {
        let found: String =
            self.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        if found == "ok" { Ok(()) } else { Err(found.into()) }
    }
}
