//! A disk with contents: what is durable, what waits for its sync, and what can go wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use postrider_proto::{
    Durability, Fact, PageRequest, PageRows, Record,
    mutation::{Mutation, planted},
};

use crate::{
    Random, facts,
    shelf::{SpoolBatch, SpoolShelf},
};

/// Records of the machines that share one store. A batch is what one drain handed over; it is durable as a whole.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) shelf: SpoolShelf,
    /// Whether records are handed to the operating system some time before they are synced.
    pub(crate) has_stages: bool,
    /// What is synced.
    durable: Image,
    /// What is handed to the operating system: all that is synced, and more. Only with stages.
    written: Image,
    /// Batches that are still being filled, by writer.
    open: BTreeMap<u16, Batch>,
    pending: VecDeque<Batch>,
    /// Highest durable number of each writer since the last start.
    stored: BTreeMap<u16, u64>,
    last_at: u64,
    /// Nothing is written before this time.
    pub(crate) full_until: u64,
    /// Syncs take long before this time.
    pub(crate) slow_until: u64,
    /// The next sync fails, which is final.
    pub(crate) is_failing: bool,
    pub(crate) writes: u64,
}

/// What is stored in one sense.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    /// By key.
    pub(crate) content: BTreeMap<Vec<u8>, Bytes>,
    /// Owners and tags of all messages that were ever in a queue.
    pub(crate) taken: BTreeSet<(u64, u64)>,
    /// Tags of all messages that were ever retained.
    pub(crate) retained: BTreeSet<u64>,
}

/// How a process ends without notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fall {
    /// The machine goes on: what was handed to the operating system survives.
    Kill,
    /// What was not synced is lost, or some of it.
    PowerCut,
}

#[derive(Debug, Default)]
struct Batch {
    handed_at: u64,
    is_handed: bool,
    at: u64,
    spools: SpoolBatch,
    writer: u16,
    seq: u64,
    records: Vec<Row>,
}

/// A key, its value unless it is deleted, and which message that is.
#[derive(Debug)]
struct Row {
    key: Vec<u8>,
    value: Option<Bytes>,
    taken: Option<Taken>,
    /// The machine says that there is nothing under the key.
    is_first: bool,
}

/// Which message a record keeps.
#[derive(Clone, Copy, Debug)]
enum Taken {
    Queued(u64, u64),
    Retained(u64),
}

/// What a sync brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Synced {
    /// Numbers that are durable by now, by writer.
    Stored(Vec<(u16, u64)>),
    /// It failed, for good.
    Failed,
}

/// What a crash did to batches that were not synced.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wreck {
    pub(crate) survived: usize,
    pub(crate) lost: usize,
    /// Of the lost ones, those that were handed to the operating system.
    pub(crate) lost_handed: usize,
}

impl Disk {
    /// An empty one.
    pub(crate) fn new(has_stages: bool) -> Self {
        Self { has_stages, ..Self::default() }
    }

    /// Takes a record into the batch of this writer. `tag` tells which message it keeps, if any.
    pub(crate) fn put(&mut self, writer: u16, seq: u64, record: &Record, tag: Option<u64>) {
        // What cannot be stored is found here rather than after a crash.
        let (key, value) = (record.key(), record.value().map(Bytes::from));
        assert!(!key.is_empty(), "a record without a key");
        if let Some(value) = &value {
            let read = Record::decode(&key, value);
            assert!(read.is_ok(), "{record:?} cannot be read back: {read:?}");
        }
        let is_retained = matches!(record.fact, Fact::Retained { .. });
        let taken = tag.map(|tag| {
            if is_retained { Taken::Retained(tag) } else { Taken::Queued(record.owner, tag) }
        });
        self.writes += 1;
        let batch = self.open.entry(writer).or_default();
        batch.seq = seq;
        batch.records.push(Row { key, value, taken, is_first: record.is_first() });
    }

    /// The drain is over: the batch is durable at the time returned.
    pub(crate) fn seal(&mut self, writer: u16, now: u64, random: &mut Random) -> Option<u64> {
        let spools = self.shelf.seal();
        let Some(mut batch) = self.open.remove(&writer) else {
            match self.pending.back_mut() {
                Some(last) => last.spools.dropped.extend(spools.dropped),
                None => spools.dropped.iter().for_each(|number| self.shelf.remove(*number)),
            }
            return None;
        };
        batch.spools = spools;
        let slowness = if now < self.slow_until { random.between(200, 2_000) } else { 20 };
        batch.at = self.last_at.max(now + random.between(0, slowness)).max(self.full_until);
        batch.writer = writer;
        batch.handed_at = batch.at;
        if self.has_stages {
            let last = self.pending.back().map_or(0, |last| last.handed_at);
            let early = now.max(self.full_until).max(last).min(batch.at);
            batch.handed_at = random.between(early, batch.at.min(early + 20));
        }
        self.last_at = batch.at;
        let at = batch.at;
        self.pending.push_back(batch);
        Some(at)
    }

    /// Whether a record would wait for room.
    pub(crate) fn is_full(&self, now: u64) -> bool {
        now < self.full_until
    }

    /// When the youngest batch is handed to the operating system.
    pub(crate) fn handed_at(&self) -> Option<u64> {
        self.pending.back().map(|batch| batch.handed_at).filter(|_| self.has_stages)
    }

    /// What was handed to the operating system by now: numbers by writer, if that is news.
    pub(crate) fn hand(&mut self, now: u64) -> Vec<(u16, u64)> {
        let mut news = BTreeMap::new();
        for batch in &mut self.pending {
            if batch.handed_at > now {
                break;
            }
            if !std::mem::replace(&mut batch.is_handed, true) {
                news.insert(batch.writer, batch.seq);
                self.written.apply(&batch.records);
            }
        }
        news.into_iter().collect()
    }

    /// What is durable by now, if that is news.
    pub(crate) fn sync(&mut self, now: u64) -> Synced {
        let mut news = BTreeMap::new();
        while let Some(batch) = self.pending.pop_front_if(|batch| batch.at <= now) {
            if self.is_failing && planted(Mutation::FailedSyncIgnored) {
                news.insert(batch.writer, batch.seq);
                continue;
            }
            if self.is_failing {
                self.pending.push_front(batch);
                return Synced::Failed;
            }
            news.insert(batch.writer, batch.seq);
            self.apply(batch);
        }
        Synced::Stored(news.into_iter().collect())
    }

    /// The machine stops in order: all is synced.
    pub(crate) fn flush(&mut self) {
        while let Some(batch) = self.pending.pop_front() {
            self.apply(batch);
        }
        self.restart();
    }

    /// The process ends: some batches survive although nobody was told, the others are gone.
    pub(crate) fn crash(&mut self, fall: Fall, random: &mut Random) -> Wreck {
        let all = self.pending.len();
        let handed = self.pending.iter().filter(|batch| batch.is_handed).count();
        let least = if fall == Fall::Kill { handed } else { 0 };
        let survived = match random.between(0, 3) {
            0 => least,
            1 => all,
            _ => random.between(least as u64, all as u64) as usize,
        };
        for _ in 0..survived {
            if let Some(batch) = self.pending.pop_front() {
                self.apply(batch);
            }
        }
        if fall == Fall::PowerCut {
            self.shelf.cut();
        }
        self.restart();
        Wreck { survived, lost: all - survived, lost_handed: handed.saturating_sub(survived) }
    }

    /// Highest durable number of a writer since the last start.
    pub(crate) fn stored(&self, writer: u16) -> u64 {
        self.stored.get(&writer).copied().unwrap_or_default()
    }

    /// Numbers count from the beginning for the machines that are started next.
    pub(crate) fn forget_numbers(&mut self) {
        self.stored.clear();
    }

    /// Rows as a running machine reads them: what it handed over, durable or not.
    pub(crate) fn page(&self, request: &PageRequest) -> PageRows {
        let under = facts::under(&self.durable.content, &request.prefix);
        let mut rows: BTreeMap<&Vec<u8>, &Bytes> = under.collect();
        for batch in self.pending.iter().chain(self.open.values()) {
            for Row { key, value, .. } in &batch.records {
                match value {
                    Some(value) if key.starts_with(&request.prefix) => {
                        rows.insert(key, value);
                    }
                    Some(_) => {}
                    None => rows.retain(|other, _| !other.starts_with(key)),
                }
            }
        }
        let mut page = PageRows::new(request);
        for (key, value) in rows.into_iter().filter(|(key, _)| **key > request.after) {
            if page.push(key, value.clone()).is_break() {
                break;
            }
        }
        page
    }

    /// All that is durable, as a restart reads it.
    pub(crate) fn records(&self) -> Vec<Record> {
        let decode = |(key, value): (&Vec<u8>, &Bytes)| match Record::decode(key, value) {
            Ok(record) => record,
            Err(error) => panic!("a durable record cannot be read: {error}"),
        };
        self.durable.content.iter().map(decode).filter(|record| self.shelf.has(record)).collect()
    }

    /// The same as bytes.
    pub(crate) fn content(&self) -> &BTreeMap<Vec<u8>, Bytes> {
        &self.durable.content
    }

    /// What is stored in this sense; `None` if nothing need be.
    pub(crate) fn image(&self, durability: Durability) -> Option<&Image> {
        match durability {
            Durability::Memory => None,
            Durability::Process if self.has_stages => Some(&self.written),
            Durability::Process | Durability::Durable => Some(&self.durable),
        }
    }

    fn restart(&mut self) {
        self.pending.clear();
        self.open.clear();
        self.is_failing = false;
        self.last_at = 0;
        if self.has_stages {
            self.written = self.durable.clone();
        }
    }

    fn apply(&mut self, mut batch: Batch) {
        if planted(Mutation::LastRecordLost) {
            batch.records.pop();
        }
        self.stored.insert(batch.writer, batch.seq);
        self.shelf.apply(&batch.spools);
        self.durable.apply(&batch.records);
        if self.has_stages && !batch.is_handed {
            self.written.apply(&batch.records);
        }
    }
}

impl Image {
    fn apply(&mut self, records: &[Row]) {
        for Row { key, value, taken, is_first } in records {
            match value {
                Some(value) => {
                    // The store leaves out the delete of what was the first and is gone soon.
                    let older = facts::under(&self.content, key).next().filter(|_| *is_first);
                    assert!(older.is_none(), "{key:?} is not the first: {older:?}");
                    self.content.insert(key.clone(), value.clone());
                }
                // A delete removes its key and every key that begins with it.
                None => {
                    let prefix = facts::under(&self.content, key).map(|(found, _)| found.clone());
                    let is_alone = planted(Mutation::DeleteWithoutPrefix);
                    let gone: Vec<_> = prefix.filter(|found| !is_alone || found == key).collect();
                    for key in gone {
                        self.content.remove(&key);
                    }
                }
            }
            match taken {
                Some(Taken::Queued(owner, tag)) => {
                    self.taken.insert((*owner, *tag));
                }
                Some(Taken::Retained(tag)) => {
                    self.retained.insert(*tag);
                }
                None => {}
            }
        }
    }
}
