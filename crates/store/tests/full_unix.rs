//! A full disk, as Linux offers one: a file that never has room.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::os::unix::fs::symlink;

use postrider_store::{Change, Disk, DiskOptions, Mode, Store, StoreError};

#[test]
fn a_tail_on_a_full_disk_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
    symlink("/dev/full", folder.path().join("tail")).unwrap();
    let mut store = disk.handle(Mode::Process, || ());
    store.write(1, Change::Put(b"k".to_vec().into(), b"v".to_vec().into())).unwrap();
    let error = store.wait(1).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(store.stored(), Err(error.clone()));
    assert_eq!(disk.close(), Err(error));
}
