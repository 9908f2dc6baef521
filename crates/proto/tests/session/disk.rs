//! A store as `record` documents it: a delete removes all keys that begin with its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_proto::{PageRequest, PageRows, Record};

#[derive(Clone, Default)]
pub(crate) struct Disk(pub(crate) BTreeMap<Vec<u8>, Vec<u8>>);

impl Disk {
    pub(crate) fn write(&mut self, record: &Record) {
        let key = record.key();
        match record.value() {
            Some(value) => drop(self.0.insert(key, value)),
            None => self.0.retain(|other, _| !other.starts_with(&key)),
        }
    }

    /// All records, in the order of keys.
    pub(crate) fn read(&self) -> Vec<Record> {
        let decode = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            Record::decode(key, &Bytes::copy_from_slice(value)).expect("we wrote it")
        };
        self.0.iter().map(decode).collect()
    }

    pub(crate) fn page(&self, request: &PageRequest) -> PageRows {
        let mut page = PageRows::new(request);
        for (key, value) in &self.0 {
            let is_wanted = key.starts_with(&request.prefix) && *key > request.after;
            if is_wanted && page.push(key, Bytes::copy_from_slice(value)).is_break() {
                break;
            }
        }
        page
    }
}
