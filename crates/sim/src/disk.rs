//! A disk with contents: what is durable, what waits for its sync, and what can go wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use postrider_proto::{
    Fact, PageRequest, PageRows, Payload, Record, SpoolOutput,
    mutation::{Mutation, planted},
};

use crate::{Random, facts};

/// Records of the machines that share one store. A batch is what one drain handed over; it is durable as a whole.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// What is durable, by key.
    content: BTreeMap<Vec<u8>, Bytes>,
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
    /// Owners and tags of all messages that were ever durable in a queue.
    pub(crate) taken: BTreeSet<(u64, u64)>,
    /// Tags of all messages that were ever durable as retained.
    pub(crate) retained: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Batch {
    at: u64,
    writer: u16,
    seq: u64,
    records: Vec<(Vec<u8>, Option<Bytes>, Option<Taken>)>,
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
}

impl Disk {
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
        batch.records.push((key, value, taken));
    }

    /// The drain is over: the batch is durable at the time returned.
    pub(crate) fn seal(&mut self, writer: u16, now: u64, random: &mut Random) -> Option<u64> {
        let mut batch = self.open.remove(&writer)?;
        let slowness = if now < self.slow_until { random.between(200, 2_000) } else { 20 };
        batch.at = self.last_at.max(now + random.between(0, slowness)).max(self.full_until);
        batch.writer = writer;
        self.last_at = batch.at;
        let at = batch.at;
        self.pending.push_back(batch);
        Some(at)
    }

    /// Whether a record would wait for room.
    pub(crate) fn is_full(&self, now: u64) -> bool {
        now < self.full_until
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

    /// The machine crashes: some batches survive although nobody was told, the others are gone.
    pub(crate) fn crash(&mut self, random: &mut Random) -> Wreck {
        let all = self.pending.len();
        let survived = match random.between(0, 3) {
            0 => 0,
            1 => all,
            _ => random.between(0, all as u64) as usize,
        };
        for _ in 0..survived {
            if let Some(batch) = self.pending.pop_front() {
                self.apply(batch);
            }
        }
        self.restart();
        Wreck { survived, lost: all - survived }
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
        let under = facts::under(&self.content, &request.prefix);
        let mut rows: BTreeMap<&Vec<u8>, &Bytes> = under.collect();
        for batch in self.pending.iter().chain(self.open.values()) {
            for (key, value, _) in &batch.records {
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
        self.content.iter().map(decode).collect()
    }

    /// The same as bytes.
    pub(crate) fn content(&self) -> &BTreeMap<Vec<u8>, Bytes> {
        &self.content
    }

    fn restart(&mut self) {
        self.pending.clear();
        self.open.clear();
        self.is_failing = false;
        self.last_at = 0;
    }

    fn apply(&mut self, mut batch: Batch) {
        if planted(Mutation::LastRecordLost) {
            batch.records.pop();
        }
        self.stored.insert(batch.writer, batch.seq);
        for (key, value, taken) in batch.records {
            match value {
                Some(value) => {
                    self.content.insert(key, value);
                }
                // A delete removes its key and every key that begins with it.
                None => {
                    let prefix = facts::under(&self.content, &key).map(|(found, _)| found.clone());
                    let is_alone = planted(Mutation::DeleteWithoutPrefix);
                    let gone: Vec<_> = prefix.filter(|found| !is_alone || *found == key).collect();
                    for key in gone {
                        self.content.remove(&key);
                    }
                }
            }
            match taken {
                Some(Taken::Queued(owner, tag)) => {
                    self.taken.insert((owner, tag));
                }
                Some(Taken::Retained(tag)) => {
                    self.retained.insert(tag);
                }
                None => {}
            }
        }
    }
}

/// Spools of the machines of one store.
#[derive(Debug, Default)]
pub(crate) struct SpoolShelf {
    spools: BTreeMap<u64, Vec<u8>>,
}

impl SpoolShelf {
    pub(crate) fn handle(&mut self, output: SpoolOutput) {
        match output {
            SpoolOutput::Append(number, bytes) => {
                self.spools.entry(number).or_default().extend_from_slice(&bytes);
            }
            SpoolOutput::Drop(number) => {
                self.spools.remove(&number);
            }
        }
    }

    /// The bytes of a range, which must be there.
    pub(crate) fn read(&self, number: u64, offset: u32, len: u32) -> &[u8] {
        let from = offset as usize;
        let range = self.spools.get(&number).and_then(|all| all.get(from..from + len as usize));
        range.unwrap_or_else(|| panic!("spool {number} lacks {offset}+{len}"))
    }

    /// The whole payload.
    pub(crate) fn payload(&self, payload: &Payload) -> Vec<u8> {
        match payload {
            Payload::Bytes(bytes) => bytes.to_vec(),
            Payload::Spooled { id, len } => self.read(id.number(), 0, *len).to_vec(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.spools.len()
    }
}
