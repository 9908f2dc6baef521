//! A store on the disk says what a store in memory says, whatever is done to both.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{collections::BTreeSet, ops::ControlFlow};

use bytes::Bytes;
use postrider_store::{Change, Disk, DiskOptions, DiskStore, MemoryStore, Mode, Store};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Change>),
    /// Waits until all is stored in the owner's sense.
    Wait,
    Flush,
    Reopen,
    Append(u64, Vec<u8>),
    Drop(u64),
    Page(Vec<u8>, Vec<u8>, usize),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn disk_and_memory_agree(
        mode in prop::sample::select(vec![Mode::Memory, Mode::Process, Mode::Durable]),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut memory = MemoryStore::new();
        let mut pair = Some(open(&path, mode));
        let (mut seq, mut seq_of_handle, mut dropped) = (0, 0, 0);
        for step in steps {
            let (disk, store) = pair.as_mut().unwrap();
            match step {
                Step::Write(changes) => {
                    seq += 1;
                    seq_of_handle += 1;
                    memory.write_batch(seq, &mut changes.iter().cloned()).unwrap();
                    store.write_batch(seq_of_handle, &mut changes.into_iter()).unwrap();
                }
                Step::Wait => {
                    store.wait(seq_of_handle).unwrap();
                    prop_assert_eq!(store.stored().unwrap(), seq_of_handle);
                }
                Step::Flush => disk.flush().unwrap(),
                Step::Reopen => {
                    let (disk, store) = pair.take().unwrap();
                    drop(store);
                    disk.close().unwrap();
                    pair = Some(open(&path, mode));
                    seq_of_handle = 0;
                }
                Step::Append(spool, bytes) => {
                    // The numbers of spools are never used again.
                    let spool = spool + 10 * dropped;
                    memory.spool_append(spool, Bytes::from(bytes.clone())).unwrap();
                    store.spool_append(spool, Bytes::from(bytes)).unwrap();
                }
                Step::Drop(spool) => {
                    memory.spool_drop(spool + 10 * dropped).unwrap();
                    store.spool_drop(spool + 10 * dropped).unwrap();
                    dropped += 1;
                }
                Step::Page(prefix, after, count) => {
                    let pages = [page(&memory, &prefix, &after, count), page(store, &prefix, &after, count)];
                    prop_assert_eq!(&pages[0], &pages[1]);
                }
            }
            let (_, store) = pair.as_ref().unwrap();
            prop_assert_eq!(page(&memory, b"", b"", 1000), page(store, b"", b"", 1000));
            for key in [&b""[..], &[0], &[1], &[1, 0], &[2, 1, 0]] {
                prop_assert_eq!(memory.read(key).unwrap(), store.read(key).unwrap());
            }
            for spool in (0..=dropped).flat_map(|round| 10 * round..10 * round + 3) {
                prop_assert_eq!(spooled(&memory, spool), spooled(store, spool));
            }
        }
    }
}

#[test]
fn orphaned_spools_go_when_the_owner_has_named_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (disk, mut store) = open(&path, Mode::Durable);
    for spool in 1..=3 {
        store.spool_append(spool, Bytes::from(vec![1; 10])).unwrap();
    }
    disk.close().unwrap();
    drop(store);
    let (disk, store) = open(&path, Mode::Durable);
    assert_eq!(disk.spools().into_iter().collect::<Vec<_>>(), [(1, 10), (2, 10), (3, 10)]);
    assert_eq!(disk.keep_spools(&BTreeSet::from([2])).unwrap(), 2);
    assert_eq!(spooled(&store, 1), None);
    assert_eq!(spooled(&store, 2), Some(vec![1; 10]));
}

fn open(path: &std::path::Path, mode: Mode) -> (Disk, DiskStore) {
    let disk = Disk::open(path, DiskOptions::default()).unwrap();
    let store = disk.handle(mode, || ());
    (disk, store)
}

fn page(store: &dyn Store, prefix: &[u8], after: &[u8], count: usize) -> Vec<(Vec<u8>, Bytes)> {
    let mut page = Vec::new();
    let mut each = |key: &[u8], value| {
        page.push((key.to_vec(), value));
        if page.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    store.scan_after(prefix, after, &mut each).unwrap();
    page
}

fn spooled(store: &dyn Store, spool: u64) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while let Ok(piece) = store.spool_read(spool, all.len() as u64, 3) {
        assert!((1..=3).contains(&piece.len()));
        all.extend_from_slice(&piece);
    }
    (!all.is_empty()).then_some(all)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(change(), 1..4).prop_map(Step::Write),
        2 => Just(Step::Wait),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => (0..3_u64, prop::collection::vec(any::<u8>(), 0..8)).prop_map(|(spool, bytes)| Step::Append(spool, bytes)),
        1 => (0..3_u64).prop_map(Step::Drop),
        2 => (key(), key(), 1..5_usize).prop_map(|(prefix, after, count)| Step::Page(prefix, after, count)),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (key(), prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(key, value)| Change::Put(key.into(), value.into())),
        1 => key().prop_map(|key| Change::Delete(key.into())),
    ]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![0..3_u8, Just(0xff)], 0..4)
}
