//! A full disk, as Linux offers one: a file that never has room.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::os::unix::fs::symlink;

use postrider_store::{Change, Disk, DiskOptions, Mode, Store, StoreError};

#[test]
fn a_log_on_a_full_disk_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    symlink("/dev/full", folder.path().join("log-0")).unwrap();
    let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
    let mut store = disk.handle(Mode::Process, || ());
    let put = Change::Put(b"k".to_vec().into(), b"v".to_vec().into());
    let error = store.write(1, put).and_then(|()| store.wait(1)).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(store.stored(), Err(error.clone()));
    assert_eq!(disk.close(), Err(error));
}
