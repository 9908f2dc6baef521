//! The folder of a store as a user meets it: locked, copied, set aside, and written by an older program.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{fs, path::Path};

use bytes::Bytes;
use postrider_store::{Change, Disk, DiskOptions, Mode, Store, StoreError};

/// Stores of older formats and of this one, as `write_pinned` wrote them when the format was made and a kill left them.
/// They open for ever.
#[test]
fn a_store_of_every_format_is_read() {
    for format in ["format-1", "format-2"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format);
        copy(&pinned, &path);
        let disk = Disk::open(&path, DiskOptions::default()).unwrap();
        assert_eq!(disk.set_aside(), None);
        check_pinned(&disk);
        disk.close().unwrap();
        assert!(!path.join("tail").exists());
        let text = fs::read_to_string(path.join("format")).unwrap();
        assert_eq!(text, "postrider store, format 2\n");
        let disk = Disk::open(&path, DiskOptions::default()).unwrap();
        check_pinned(&disk);
    }
}

/// The program of today writes what the pinned store holds, so that the check above is not of something else.
#[test]
fn the_pinned_store_can_be_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let disk = write_pinned(&folder.path().join("store"));
    check_pinned(&disk);
    // Kept from the disk while the process lives: a copy is what a kill leaves.
    let copied = folder.path().join("copy");
    copy(disk.path(), &copied);
    assert!(fs::metadata(copied.join("log-0")).unwrap().len() > 0);
    check_pinned(&Disk::open(copied, DiskOptions::default()).unwrap());
}

#[test]
fn a_store_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let disk = Disk::open(&path, DiskOptions::default()).unwrap();
    let error = Disk::open(&path, DiskOptions::default()).unwrap_err();
    assert_eq!(error, StoreError::Locked(path.clone()));
    assert_eq!(Disk::quarantine(&path), Err(StoreError::Locked(path.clone())));
    let mut store = disk.handle(Mode::Durable, || ());
    disk.close().unwrap();
    assert_eq!(store.write(1, put(b"k")), Err(StoreError::Closed(path.clone())));
    Disk::open(&path, DiskOptions::default()).unwrap();
}

#[test]
fn a_corrupt_store_stays_as_it_is_until_it_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let disk = Disk::open(&path, DiskOptions::default()).unwrap();
    disk.handle(Mode::Durable, || ()).write(1, put(b"k")).unwrap();
    disk.close().unwrap();
    let rows = path.join("records.redb");
    let mut bytes = fs::read(&rows).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&rows, &bytes).unwrap();
    for is_checked in [true, false] {
        let options = DiskOptions { is_checked, ..DiskOptions::default() };
        let error = Disk::open(&path, options).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    }
    assert_eq!(fs::read(&rows).unwrap(), bytes);
    let aside = Disk::quarantine(&path).unwrap();
    assert_eq!(aside, folder.path().join("store.corrupt-1"));
    assert_eq!(fs::read(aside.join("records.redb")).unwrap(), bytes);
    let disk = Disk::open(&path, DiskOptions::default()).unwrap();
    assert_eq!(disk.handle(Mode::Durable, || ()).read(b"k").unwrap(), None);
    disk.close().unwrap();
    assert_eq!(Disk::quarantine(&path).unwrap(), folder.path().join("store.corrupt-2"));
}

/// A process that is killed while it makes its store leaves a file without the first bytes of a database.
#[test]
fn a_store_that_was_never_finished_is_made_anew() {
    for len in [0, 1, 4096, 73728] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lock"), b"").unwrap();
        let mut rows = vec![0; len];
        if let Some(byte) = rows.get_mut(1000) {
            *byte = 1;
        }
        fs::write(folder.path().join("records.redb"), rows).unwrap();
        let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
        disk.handle(Mode::Durable, || ()).write(1, put(b"k")).unwrap();
        disk.close().unwrap();
        // Without the file that finishes a store, what is in one is not thrown away.
        fs::remove_file(folder.path().join("format")).unwrap();
        let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
        assert!(disk.handle(Mode::Durable, || ()).read(b"k").unwrap().is_some());
    }
}

#[test]
fn rows_that_are_missing_are_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    Disk::open(folder.path(), DiskOptions::default()).unwrap().close().unwrap();
    fs::remove_file(folder.path().join("records.redb")).unwrap();
    let error = Disk::open(folder.path(), DiskOptions::default()).unwrap_err();
    assert!(error.to_string().contains("records.redb is missing"), "{error}");
}

#[test]
fn what_is_not_a_store_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    fs::write(&file, "mine").unwrap();
    for path in [folder.path(), &file] {
        let error = Disk::open(path, DiskOptions::default()).unwrap_err();
        assert_eq!(error, StoreError::NotAStore(path.to_owned()));
        assert_eq!(Disk::quarantine(path), Err(StoreError::NotAStore(path.to_owned())));
    }
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(names, [file]);
}

/// A user who drops a big message gets the room back, and so does one who has drained a queue.
#[test]
fn a_drained_store_gives_its_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
    let mut store = disk.handle(Mode::Durable, || ());
    for number in 1..=2000_u64 {
        let key = [b"q", &number.to_be_bytes()[..]].concat();
        store.write(number, Change::Put(key.into(), vec![7; 2000].into())).unwrap();
    }
    disk.close().unwrap();
    let rows = folder.path().join("records.redb");
    assert!(fs::metadata(&rows).unwrap().len() > 4_000_000);
    let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
    let mut store = disk.handle(Mode::Durable, || ());
    store.write(1, Change::Delete(b"q".to_vec().into())).unwrap();
    disk.close().unwrap();
    assert!(fs::metadata(&rows).unwrap().len() < 200_000);
}

/// Writes the pinned store. What is in the tree is a copy of its folder, taken while it was open.
fn write_pinned(path: &Path) -> Disk {
    let disk = Disk::open(path, DiskOptions::default()).unwrap();
    let mut store = disk.handle(Mode::Process, || ());
    store.write(1, put(b"deleted")).unwrap();
    store.write(2, put(b"in the rows")).unwrap();
    disk.close().unwrap();
    let disk = Disk::open(path, DiskOptions::default()).unwrap();
    let mut store = disk.handle(Mode::Process, || ());
    store.spool_append(0xabc, Bytes::from_static(b"a payload")).unwrap();
    let changes = [Change::Delete(b"del".to_vec().into()), put(b"in the tail")];
    store.write_batch(1, &mut changes.into_iter()).unwrap();
    store.wait(1).unwrap();
    store.write(2, Change::Put(b"empty".to_vec().into(), Vec::new().into())).unwrap();
    store.wait(2).unwrap();
    disk
}

fn check_pinned(disk: &Disk) {
    let store = disk.handle(Mode::Durable, || ());
    let mut found = Vec::new();
    store.scan(b"", &mut |key, value| found.push((key.to_vec(), value))).unwrap();
    let expected: [(&[u8], &[u8]); 3] = [
        (b"empty", b""),
        (b"in the rows", b"value of in the rows"),
        (b"in the tail", b"value of in the tail"),
    ];
    assert_eq!(found, expected.map(|(key, value)| (key.to_vec(), Bytes::from(value))));
    assert_eq!(store.spool_read(0xabc, 2, 100).unwrap(), "payload");
    assert_eq!(disk.spools().into_iter().collect::<Vec<_>>(), [(0xabc, 9)]);
}

fn put(key: &[u8]) -> Change {
    Change::Put(key.to_vec().into(), [b"value of ", key].concat().into())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
