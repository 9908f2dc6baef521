//! Real processes, killed at random moments: what was reported stored is there, in order and without a gap.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use postrider_store::{Change, Disk, DiskOptions, DiskStore, Mode, Store, StoreError};

/// Each write of an owner puts one record and deletes the one this many before it.
const WINDOW: u64 = 300;

/// Every so many records have a spool.
const SPOOL_EVERY: u64 = 50;

const OWNERS: u64 = 3;
const ROUNDS: u64 = 25;

#[test]
fn nothing_stored_is_lost_when_the_process_is_killed_in_process_mode() {
    kill_again_and_again(Mode::Process);
}

#[test]
fn nothing_stored_is_lost_when_the_process_is_killed_in_durable_mode() {
    kill_again_and_again(Mode::Durable);
}

#[test]
fn a_second_process_is_told_that_the_store_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
    let mut child = writer(folder.path(), "durable").stderr(Stdio::piped()).spawn().unwrap();
    let errors = io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(!child.wait().unwrap().success());
    let said = format!("{} is open already, here or in another process", folder.path().display());
    assert!(errors.contains(&said), "{errors}");
    disk.close().unwrap();
}

/// The process that is killed. Run as a test of its own it writes a little and closes its store.
#[test]
fn writer_process() {
    let Ok(path) = env::var("STORE_CRASH_PATH") else {
        let folder = tempfile::tempdir().unwrap();
        write_until(folder.path(), Mode::Process, 2 * WINDOW).unwrap();
        let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
        for owner in 0..OWNERS {
            assert_eq!(check(&disk, owner), 2 * WINDOW);
        }
        return;
    };
    let is_durable = env::var("STORE_CRASH_MODE").is_ok_and(|mode| mode == "durable");
    let mode = if is_durable { Mode::Durable } else { Mode::Process };
    if let Err(error) = write_until(Path::new(&path), mode, u64::MAX) {
        panic!("{error}");
    }
}

fn kill_again_and_again(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut random = 88_172_645_463_325_252_u64;
    let mut rounds_with_writes = 0;
    for _ in 0..ROUNDS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let reported = run_and_kill(&path, mode, Duration::from_micros(random % 120_000));
        let disk = Disk::open(&path, DiskOptions::default()).unwrap();
        assert_eq!(disk.set_aside(), None);
        for (owner, reported) in (0..).zip(reported) {
            let found = check(&disk, owner);
            assert!(found >= reported, "owner {owner}: {reported} reported stored, {found} found");
            rounds_with_writes += u64::from(reported > 0);
        }
        disk.close().unwrap();
    }
    assert!(rounds_with_writes > ROUNDS, "{rounds_with_writes}: killed before anything happened");
}

/// Lets a process write for a while after it began to, and kills it. Returns what it reported for each owner.
fn run_and_kill(path: &Path, mode: Mode, after: Duration) -> [u64; OWNERS as usize] {
    let name = if mode == Mode::Durable { "durable" } else { "process" };
    let mut child = writer(path, name).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let (sender, begun) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut reported = [0; OWNERS as usize];
        for line in BufReader::new(output).lines() {
            let line = line.unwrap();
            let mut words = line.split(' ');
            // The first word of a line that was cut off by the kill may be there, the end of line is not.
            let (Some("stored"), Some(owner), Some(seq), Some(".")) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            sender.send(()).ok();
            reported[owner.parse::<usize>().unwrap()] = seq.parse().unwrap();
        }
        reported
    });
    begun.recv_timeout(Duration::from_secs(60)).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < after {
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

fn writer(path: &Path, mode: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "writer_process", "--nocapture", "--test-threads=1"]);
    command.env("STORE_CRASH_PATH", path).env("STORE_CRASH_MODE", mode).stdout(Stdio::piped());
    command
}

/// Every owner goes on where its records end, and says when more of them is stored.
fn write_until(path: &Path, mode: Mode, end: u64) -> Result<(), StoreError> {
    let disk = Disk::open(path, DiskOptions::default())?;
    thread::scope(|scope| {
        let disk = &disk;
        let owners =
            (0..OWNERS).map(|owner| scope.spawn(move || write_owner(disk, owner, mode, end)));
        let owners: Vec<_> = owners.collect();
        owners.into_iter().try_for_each(|owner| owner.join().unwrap())
    })?;
    disk.close()
}

fn write_owner(disk: &Disk, owner: u64, mode: Mode, end: u64) -> Result<(), StoreError> {
    let first = check(disk, owner) + 1;
    let mut store = disk.handle(mode, || ());
    let mut reported = first - 1;
    for number in first..=end {
        if number % SPOOL_EVERY == 0 {
            let spool = owner << 48 | number;
            for _ in 0..3 {
                store.spool_append(spool, Bytes::from(number.to_be_bytes().to_vec()))?;
            }
        }
        let gone = number.checked_sub(WINDOW);
        let put = Change::Put(key(owner, number).into(), value(number).into());
        let delete = gone.map(|gone| Change::Delete(key(owner, gone).into()));
        store.write_batch(number, &mut [put].into_iter().chain(delete))?;
        if let Some(gone) = gone.filter(|gone| gone % SPOOL_EVERY == 0) {
            store.spool_drop(owner << 48 | gone)?;
        }
        // Now and then an owner waits for its acknowledgement, as a client with a window does.
        if number % 64 == 0 {
            store.wait(number)?;
        }
        let stored = store.stored()?;
        if stored > reported {
            reported = stored;
            writeln!(io::stdout().lock(), "stored {owner} {stored} .").expect("the parent reads");
        }
    }
    store.wait(end)
}

/// Checks all records of an owner, and their spools; returns the last number.
fn check(disk: &Disk, owner: u64) -> u64 {
    let store: DiskStore = disk.handle(Mode::Durable, || ());
    let mut numbers = Vec::new();
    let mut each = |key: &[u8], found: Bytes| {
        let number = u64::from_be_bytes(key[8..].try_into().unwrap());
        assert_eq!(found, value(number));
        numbers.push(number);
    };
    store.scan(&owner.to_be_bytes(), &mut each).unwrap();
    let last = numbers.last().copied().unwrap_or(0);
    let first = last.saturating_sub(WINDOW - 1).max(1);
    assert_eq!(numbers, (first..=last).collect::<Vec<_>>());
    for number in numbers.into_iter().filter(|number| number % SPOOL_EVERY == 0) {
        let found = store.spool_read(owner << 48 | number, 0, 100).unwrap();
        // A number whose record did not survive is written again, and its spool appended to again.
        assert!(found.len() >= 24);
        assert!(found.chunks(8).all(|piece| piece == number.to_be_bytes()));
    }
    last
}

fn key(owner: u64, number: u64) -> Vec<u8> {
    [owner.to_be_bytes(), number.to_be_bytes()].concat()
}

fn value(number: u64) -> Vec<u8> {
    vec![number as u8; 100]
}

#[test]
fn a_killed_store_can_be_copied_and_opened_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("store"), folder.path().join("copy"));
    let reported = run_and_kill(&path, Mode::Process, Duration::from_millis(20));
    copy_folder(&path, &copy);
    let disk = Disk::open(&copy, DiskOptions::default()).unwrap();
    for (owner, reported) in (0..).zip(reported) {
        assert!(check(&disk, owner) >= reported);
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
