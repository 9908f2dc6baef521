//! Spools: files of large payloads beside a store.

use std::collections::{BTreeMap, BTreeSet};

use postrider_proto::{
    Fact, Payload, Record, SpoolOutput,
    mutation::{Mutation, planted},
};

/// Spools of the machines of one store.
#[derive(Debug, Default)]
pub(crate) struct SpoolShelf {
    spools: BTreeMap<u64, Spool>,
    /// Spools of an earlier process that several machines have messages with. The last one drops the file.
    sharers: BTreeMap<u64, u16>,
    /// Dropped in this drain. A record may name them until what was written since is durable.
    dropped: Vec<u64>,
}

#[derive(Debug, Default)]
struct Spool {
    bytes: Vec<u8>,
    /// What a power cut leaves of them.
    synced: usize,
}

/// What a batch of records does with spools once it is durable.
#[derive(Debug, Default)]
pub(crate) struct SpoolBatch {
    lengths: Vec<(u64, usize)>,
    pub(crate) dropped: Vec<u64>,
}

impl SpoolShelf {
    pub(crate) fn handle(&mut self, output: SpoolOutput) {
        match output {
            SpoolOutput::Append(number, bytes) => {
                self.spools.entry(number).or_default().bytes.extend_from_slice(&bytes);
            }
            SpoolOutput::Drop(number) => match self.sharers.get_mut(&number) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => {
                    self.sharers.remove(&number);
                    self.dropped.push(number);
                }
            },
        }
    }

    /// The drain is over: files are synced before the records that may name them.
    pub(crate) fn seal(&mut self) -> SpoolBatch {
        let open = self.spools.iter().filter(|(_, spool)| spool.synced < spool.bytes.len());
        let lengths = open.map(|(number, spool)| (*number, spool.bytes.len())).collect();
        SpoolBatch { lengths, dropped: std::mem::take(&mut self.dropped) }
    }

    /// The records of a batch are durable.
    pub(crate) fn apply(&mut self, batch: &SpoolBatch) {
        for (number, len) in &batch.lengths {
            if planted(Mutation::SpoolUnsynced) {
                continue;
            }
            if let Some(spool) = self.spools.get_mut(number) {
                spool.synced = spool.synced.max(*len);
            }
        }
        batch.dropped.iter().for_each(|number| self.remove(*number));
    }

    pub(crate) fn remove(&mut self, number: u64) {
        self.spools.remove(&number);
    }

    /// A power cut: what was not synced is gone.
    pub(crate) fn cut(&mut self) {
        for spool in self.spools.values_mut() {
            spool.bytes.truncate(spool.synced);
        }
    }

    /// Whether the payload that a record names is there.
    pub(crate) fn has(&self, record: &Record) -> bool {
        let Some((number, len)) = named(record) else { return true };
        self.spools.get(&number).is_some_and(|spool| spool.bytes.len() >= len as usize)
    }

    /// A restart: spools that no record names are removed. `users` are the names that each machine has. Returns how many
    /// were kept, and how many were not.
    pub(crate) fn keep(&mut self, users: &[BTreeSet<u64>]) -> (u64, u64) {
        self.dropped.clear();
        self.sharers.clear();
        for number in users.iter().flatten() {
            *self.sharers.entry(*number).or_default() += 1;
        }
        let before = self.spools.len() as u64;
        let sharers = &self.sharers;
        let is_planted = planted(Mutation::SpoolNotNamed) && users.len() > 1;
        self.spools.retain(|number, _| sharers.contains_key(number) && !is_planted);
        for spool in self.spools.values_mut() {
            spool.synced = spool.bytes.len();
        }
        let kept = self.spools.len() as u64;
        (kept, before - kept)
    }

    /// The greatest number there is.
    pub(crate) fn last(&self) -> u64 {
        self.spools.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// The bytes of a range, which must be there.
    pub(crate) fn read(&self, number: u64, offset: u32, len: u32) -> &[u8] {
        let from = offset as usize;
        let spool = self.spools.get(&number);
        let range = spool.and_then(|spool| spool.bytes.get(from..from + len as usize));
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

/// The spool that a record names, and the length of the payload.
pub(crate) fn named(record: &Record) -> Option<(u64, u32)> {
    let (Fact::Queued { message, .. } | Fact::Retained { message, .. }) = &record.fact else {
        return None;
    };
    match &message.payload {
        Payload::Spooled { id, len } => Some((id.number(), *len)),
        Payload::Bytes(_) => None,
    }
}
