//! A disk that takes its time, and the spools of large payloads.

use std::collections::{BTreeMap, VecDeque};

use postrider_proto::{PageRequest, PageRows, Payload, Record, SpoolOutput, wire::Bytes};

/// Records of one machine: written at once, durable later.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    rows: BTreeMap<Vec<u8>, Bytes>,
    pending: VecDeque<(u64, u64)>,
    pub(crate) writes: u64,
}

impl Disk {
    /// Takes a record; it is durable at `at`.
    pub(crate) fn write(&mut self, seq: u64, record: &Record, at: u64) {
        // What cannot be stored is found here rather than after a crash.
        let (key, value) = (record.key(), record.value());
        assert!(!key.is_empty(), "a record without a key");
        if let Some(value) = value.map(Bytes::from) {
            let read = Record::decode(&key, &value);
            assert!(read.is_ok(), "{record:?} cannot be read back: {read:?}");
            self.rows.insert(key, value);
        } else {
            self.rows.retain(|other, _| !other.starts_with(&key));
        }
        self.pending.push_back((at, seq));
        self.writes += 1;
    }

    /// The rows that a machine asks for, as they are now.
    pub(crate) fn page(&self, request: &PageRequest) -> PageRows {
        let mut page = PageRows::new(request);
        let all = self.rows.range(request.after.clone()..);
        let behind = all.filter(|(key, _)| **key > request.after);
        for (key, value) in behind.filter(|(key, _)| key.starts_with(&request.prefix)) {
            if page.push(key, value.clone()).is_break() {
                break;
            }
        }
        page
    }

    /// The highest number that is durable by now, if that is news.
    pub(crate) fn sync(&mut self, now: u64) -> Option<u64> {
        let mut stored = None;
        while let Some((_, seq)) = self.pending.pop_front_if(|(at, _)| *at <= now) {
            stored = Some(seq);
        }
        stored
    }
}

/// Spools of one machine.
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
