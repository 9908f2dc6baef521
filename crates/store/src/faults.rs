//! What a store does on disks that are slow, full, broken, without power, or not as they were written.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    Change, Counts, Disk, DiskOptions, DiskStore, Mode, Store, StoreError,
    block::{self, Salt},
    disk::Surroundings,
    folder::Folder,
    log,
    platter::{Platter, Random},
    rows::Rows,
    settle::Limits,
};

#[test]
fn one_sync_answers_for_all_that_came_while_the_last_one_ran() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::default();
    let disk = machine.open(folder.path()).unwrap();
    machine.log().hold();
    let mut first = disk.handle(Mode::Durable, || ());
    first.write(1, put(0, 1)).unwrap();
    machine.log().wait_for_sync();
    let mut owners: Vec<_> = (1..=50).map(|_| disk.handle(Mode::Durable, || ())).collect();
    for (at, owner) in owners.iter_mut().enumerate() {
        for seq in 1..=20 {
            owner.write(seq, put(at as u64 + 1, seq)).unwrap();
            assert_eq!(owner.stored().unwrap(), 0);
            assert_eq!(owner.stored_in(Mode::Memory).unwrap(), seq);
        }
    }
    machine.log().release();
    for owner in &mut owners {
        owner.wait(20).unwrap();
        assert_eq!(owner.stored().unwrap(), 20);
    }
    assert_eq!(disk.counts(), Counts { writes: 1001, handed: 0, synced: 2 });
}

#[test]
fn owners_are_told_when_their_writes_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Machine::default().open(folder.path()).unwrap();
    for mode in [Mode::Process, Mode::Durable] {
        let (sender, told) = mpsc::channel();
        let mut store = disk.handle(mode, move || sender.send(()).unwrap());
        let _silent = disk.handle(mode, || panic!("nothing was written here"));
        for seq in 1..=100 {
            store.write(seq, put(1, seq)).unwrap();
            while store.stored().unwrap() < seq {
                told.recv().unwrap();
            }
        }
        assert!(mode == Mode::Durable || told.try_recv().is_ok());
    }
    let counts = disk.counts();
    assert_eq!(counts.writes, 200);
    assert!(counts.handed <= 100, "{counts:?}");
    assert!(counts.synced <= 101, "{counts:?}");
    disk.close().unwrap();
}

/// While a durable owner waits for the disk, one in `process` mode does not.
#[test]
fn a_sync_holds_nobody_up_who_needs_none() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::default();
    let disk = machine.open(folder.path()).unwrap();
    let mut durable = disk.handle(Mode::Durable, || ());
    let mut process = disk.handle(Mode::Process, || ());
    machine.log().hold();
    durable.write(1, put(1, 1)).unwrap();
    machine.log().wait_for_sync();
    for seq in 1..=10 {
        process.write(seq, put(2, seq)).unwrap();
        process.wait(seq).unwrap();
    }
    assert_eq!(process.stored_in(Mode::Durable).unwrap(), 0);
    assert_eq!(durable.stored().unwrap(), 0);
    machine.log().release();
    durable.wait(1).unwrap();
    // What was written while the sync ran is not part of it.
    assert_eq!(process.stored_in(Mode::Durable).unwrap(), 0);
    disk.flush().unwrap();
    assert_eq!(process.stored_in(Mode::Durable).unwrap(), 10);
}

#[test]
fn a_failed_sync_is_final() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::default();
    let disk = machine.open(folder.path()).unwrap();
    let (sender, told) = mpsc::channel();
    let mut store = disk.handle(Mode::Durable, move || sender.send(()).unwrap());
    store.write(1, put(1, 1)).unwrap();
    store.wait(1).unwrap();
    told.recv().unwrap();
    machine.log().break_sync();
    store.write(2, put(1, 2)).unwrap();
    told.recv().unwrap();
    let error = store.stored().unwrap_err();
    assert!(error.to_string().contains("the cable came off"), "{error}");
    assert_eq!(store.write(3, put(1, 3)), Err(error.clone()));
    assert_eq!(store.wait(1), Err(error.clone()));
    assert_eq!(store.read(b"k"), Err(error.clone()));
    assert_eq!(disk.flush(), Err(error.clone()));
    assert_eq!(disk.close(), Err(error));
    // What was reported stored is there; what was not may be.
    let disk = machine.after_power_cut(&mut Random(1)).open(folder.path()).unwrap();
    let store = disk.handle(Mode::Durable, || ());
    assert_eq!(numbers(&store, 1).first(), Some(&1));
}

/// As above, but of the rows, which nobody waits for.
#[test]
fn a_failed_sync_of_the_rows_is_final_too() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { limits: SMALL, ..Machine::default() };
    let disk = machine.open(folder.path()).unwrap();
    let mut store = disk.handle(Mode::Process, || ());
    machine.rows.break_sync();
    let (mut seq, mut handed) = (0, 0);
    let error = loop {
        seq += 1;
        if let Err(error) = store.write(seq, put(1, seq)).and_then(|()| store.wait(seq)) {
            break error;
        }
        handed = seq;
    };
    assert!(error.to_string().contains("the cable came off"), "{error}");
    assert_eq!(disk.close(), Err(error));
    drop(store);
    let disk = machine.after_kill().open(folder.path()).unwrap();
    let found = numbers(&disk.handle(Mode::Durable, || ()), 1);
    assert!(found.len() as u64 >= handed);
    assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_is_said_and_harms_nothing() {
    for (is_log, limits) in [(true, usual()), (false, SMALL)] {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine { limits, ..Machine::default() };
        let disk = machine.open(folder.path()).unwrap();
        let mut store = disk.handle(Mode::Durable, || ());
        store.write(1, put(1, 1)).unwrap();
        store.wait(1).unwrap();
        if is_log {
            machine.log().limit(200_000);
        } else {
            machine.rows.limit(machine.rows.bytes().len());
        }
        let mut stored = 1;
        let error = (2..50_000)
            .find_map(|seq| {
                let big = Change::Put(key(1, seq).into(), vec![seq as u8; 4000].into());
                let written = store.write(seq, big).and_then(|()| store.wait(seq));
                stored = if written.is_ok() { seq } else { stored };
                written.err()
            })
            .unwrap();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert!(error.to_string().starts_with("no room on the disk for the store "), "{error}");
        drop((store, disk));
        // Room again, and a restart.
        let disk = machine.after_kill().open(folder.path()).unwrap();
        let mut store = disk.handle(Mode::Durable, || ());
        let count = numbers(&store, 1).len() as u64;
        assert!(count >= stored, "{count} of {stored}");
        assert_eq!(numbers(&store, 1), (1..=count).collect::<Vec<_>>());
        store.write(1, put(2, 1)).unwrap();
        store.wait(1).unwrap();
    }
}

/// What was reported stored survives, in order and without a gap, however the cut leaves what was not synced: while
/// blocks are appended, while the log turns, and while its other sheet goes into the rows.
#[test]
fn power_cuts_take_nothing_that_was_stored() {
    let mut random = Random(7);
    let (mut in_rows, mut in_log, mut with_loss) = (0, 0, 0);
    for round in 0..120 {
        let folder = tempfile::tempdir().unwrap();
        let limits = if round % 4 == 0 { usual() } else { [SMALL, LINGERING][round / 4 % 2] };
        let machine = Machine { limits, ..Machine::default() };
        let disk = machine.open(folder.path()).unwrap();
        let mut store = disk.handle(Mode::Durable, || ());
        let mut other = disk.handle(Mode::Process, || ());
        let mut last = 0;
        for seq in 1..=1 + random.below(200) {
            last = seq;
            write_window(&mut store, 1, seq);
            if random.below(2) == 0 {
                store.wait(seq).unwrap();
            }
        }
        let held = match round % 4 {
            1 => vec![&machine.rows],
            2 | 3 => machine.logs.iter().collect(),
            _ => Vec::new(),
        };
        held.iter().for_each(|platter| platter.hold());
        let is_waited_for = || held.iter().any(|platter| platter.is_waited_for());
        while !held.is_empty() && !is_waited_for() {
            last += 1;
            write_window(&mut store, 1, last);
            while store.stored().unwrap() < last && !is_waited_for() {
                thread::yield_now();
            }
        }
        for seq in 1..=random.below(30) {
            write_window(&mut other, 2, seq);
        }
        let stored = store.stored().unwrap();
        in_rows += u64::from(machine.rows.is_waited_for());
        in_log += u64::from(machine.logs.iter().any(Platter::is_waited_for));
        let after = machine.after_power_cut(&mut random);
        held.iter().for_each(|platter| platter.release());
        drop((store, other, disk));
        let disk = after.open(folder.path()).unwrap();
        with_loss += u64::from(disk.set_aside().is_some());
        let store = disk.handle(Mode::Durable, || ());
        let last = check_window(&store, 1);
        check_window(&store, 2);
        assert!(last >= stored, "{stored} were stored, {last} are there");
    }
    assert!(in_rows >= 30, "{in_rows} cuts while the rows are synced");
    assert!(in_log >= 60, "{in_log} cuts while the log is synced");
    assert!(with_loss > 20, "{with_loss} cuts with a loss to tell of");
}

/// A process that is killed loses nothing of what it handed over, in whatever step the rows were.
#[test]
fn kills_take_nothing_that_was_handed_over() {
    let mut random = Random(11);
    let folder = tempfile::tempdir().unwrap();
    let mut machine = Machine { limits: SMALL, ..Machine::default() };
    let mut last = 0;
    for round in 0..40 {
        machine.limits = [SMALL, LINGERING][round % 2];
        let disk = machine.open(folder.path()).unwrap();
        let mut store = disk.handle(Mode::Process, || ());
        assert_eq!(check_window(&store, 1), last);
        for seq in 1..=1 + random.below(150) {
            last += 1;
            write_window_as(&mut store, 1, last, seq);
            store.wait(seq).unwrap();
        }
        let after = machine.after_kill();
        drop((store, disk));
        machine = after;
    }
    assert!(last > 1000);
}

/// The log that goes on deletes most of what is in a full sheet; the rows get only the rest.
#[test]
fn what_is_deleted_while_a_layer_lingers_is_in_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { limits: LINGERING, ..Machine::default() };
    let disk = machine.open(folder.path()).unwrap();
    let mut store = disk.handle(Mode::Process, || ());
    let rows = (1..).find_map(|number| {
        write_window(&mut store, 1, number);
        store.wait(number).unwrap();
        let rows = machine.after_kill().rows;
        let rows = Rows::open(Path::new("store"), rows, 1 << 20, true).unwrap();
        (rows.applied().unwrap() > 0).then_some(rows)
    });
    let (rows, mut found) = (rows.unwrap(), 0);
    let mut all = rows.after(b"", b"").unwrap();
    while all.next().unwrap().is_some() {
        found += 1;
    }
    // A record and its flight, for each number that is not deleted.
    assert!(found < WINDOW, "{found} rows");
}

/// While the rows take long, writers wait for memory, but not for what cancels out in it.
#[test]
fn writers_wait_for_memory_only_if_something_is_left_of_what_they_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { sheet_bytes_max: 64 << 20, ..SMALL };
    let machine = Machine { limits, ..Machine::default() };
    let disk = machine.open(folder.path()).unwrap();
    let mut store = disk.handle(Mode::Process, || ());
    machine.rows.hold();
    let mut last = 0;
    while !machine.rows.is_waited_for() {
        last += 1;
        write_window(&mut store, 1, last);
        store.wait(last).unwrap();
    }
    for _ in 0..10_000 {
        last += 1;
        write_window(&mut store, 1, last);
        store.wait(last).unwrap();
    }
    let mut other = disk.handle(Mode::Process, || ());
    let has_room = || {
        drop(disk.core.shared.fold().unwrap());
        disk.core.shared.lock().has_room(&limits)
    };
    let mut stays = 0;
    while has_room() {
        stays += 1;
        other.write(stays, put(2, stays)).unwrap();
        other.wait(stays).unwrap();
    }
    // What comes now waits, within the bound of writers.
    for number in 1..=1000 {
        other.write(stays + number, put(2, stays + number)).unwrap();
    }
    assert!(other.stored().unwrap() <= stays);
    let bytes = disk.core.shared.fold().unwrap().young.bytes();
    assert!(bytes < limits.layer_bytes_max + 4096, "{bytes} bytes are in memory");
    machine.rows.release();
    other.wait(stays + 1000).unwrap();
    assert_eq!(numbers(&other, 2), (1..=stays + 1000).collect::<Vec<_>>());
    assert_eq!(check_window(&store, 1), last);
}

/// Every byte of a log, flipped in turn, in the run of the system that wrote it and in another.
#[test]
fn a_flipped_byte_of_the_log_is_an_error_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::default();
    let disk = machine.open(folder.path()).unwrap();
    let mut store = disk.handle(Mode::Durable, || ());
    for seq in 1..=12 {
        write_window(&mut store, 1, seq);
        store.wait(seq).unwrap();
    }
    let sheets = machine.after_kill().logs.map(|log| Bytes::from(log.bytes()));
    drop((store, disk));
    let recover = |sheets: &_, is_same_run| {
        log::recover(Path::new("store"), sheets, machine.salt(), 0, is_same_run)
    };
    let good = recover(&sheets, true).unwrap();
    assert_eq!((good.number, good.has_lost), (12, false));
    let used = block::SECTOR * 12;
    let (mut refused, mut harmless, mut told) = (0, 0, 0);
    for at in 0..used + 100 {
        for bit in [1, 0x80] {
            let mut bad = sheets[0].to_vec();
            bad[at] ^= bit;
            let bad = [Bytes::from(bad), sheets[1].clone()];
            match recover(&bad, true) {
                Ok(found) => {
                    assert_eq!((&found.layer, found.has_lost), (&good.layer, false), "byte {at}");
                    harmless += 1;
                }
                Err(StoreError::Corrupt { .. }) => refused += 1,
                Err(error) => panic!("byte {at}: {error}"),
            }
            // Without its run all but the last block is known to have been synced.
            match recover(&bad, false) {
                Ok(found) if found.has_lost => {
                    assert_eq!(found.number, 11, "byte {at}");
                    told += 1;
                }
                Ok(found) => assert_eq!(found.layer, good.layer, "byte {at}"),
                Err(StoreError::Corrupt { .. }) => (),
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
    }
    assert!(refused > 1000, "{refused} refused, {harmless} harmless");
    assert!(told > 100, "{told} told of");
}

/// Bytes that look like a block are one only with the number that nobody outside knows.
#[test]
fn a_payload_that_looks_like_a_block_is_none() {
    let body = [Bytes::from(vec![9; 600])];
    let forged = block::End { number: 1000, synced: 1000 };
    let (head, tail) = block::frame(forged, Salt(1), &body);
    let payload = [head, body.concat(), tail].concat();
    assert_eq!(block::ends(&payload, Salt(1)).collect::<Vec<_>>(), [forged]);
    assert_eq!(block::ends(&payload, Salt(2)).count(), 0);
    assert!(block::first(&Bytes::from(payload.clone()), Salt(1)).is_some());
    assert!(block::first(&Bytes::from(payload), Salt(2)).is_none());
}

#[test]
fn a_store_of_unknown_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::default();
    machine.open(folder.path()).unwrap().close().unwrap();
    let format = folder.path().join("format");
    let text = fs::read(&format).unwrap();
    for at in 0..text.len() {
        let mut bad = text.clone();
        bad[at] ^= 0x41;
        fs::write(&format, bad).unwrap();
        let error = machine.open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
    fs::write(&format, "postrider store, format 3\n").unwrap();
    let error = machine.open(folder.path()).unwrap_err();
    let path = folder.path().to_owned();
    assert_eq!(error, StoreError::Newer { path, found: 3, known: 2 });
    fs::write(&format, text).unwrap();
    machine.open(folder.path()).unwrap();
}

/// A disk for the rows and two for the log, and what else a store has from outside.
#[derive(Clone, Debug)]
struct Machine {
    rows: Platter,
    logs: [Platter; 2],
    limits: Limits,
    /// Counts how often the power came back.
    run: u128,
}

fn usual() -> Limits {
    Limits::of(DiskOptions::default().layer_bytes)
}

/// So little that the log turns often.
const SMALL: Limits = Limits {
    layer_bytes: 4096,
    layer_bytes_max: 65_536,
    sheet_bytes: 8192,
    linger_bytes: 0,
    linger_max: Duration::from_secs(60),
    sheet_bytes_max: 65_536,
};

/// A layer lingers at each turn, until most of it is deleted.
const LINGERING: Limits =
    Limits { layer_bytes: 65_536, layer_bytes_max: 131_072, linger_bytes: 8192, ..SMALL };

impl Default for Machine {
    fn default() -> Self {
        let rows = Platter::default();
        let logs = [rows.beside(Vec::new()), rows.beside(Vec::new())];
        Self { rows, logs, limits: usual(), run: 1 }
    }
}

impl Machine {
    fn open(&self, path: &Path) -> Result<Disk, StoreError> {
        let folder = Folder::open(path)?;
        // The rows are in memory, but a store without this file has lost them.
        fs::write(folder.rows(), b"").unwrap();
        let [one, other] = self.logs.clone();
        let around = Surroundings {
            sheets: [Arc::new(one), Arc::new(other)],
            run: self.run,
            salt: self.salt(),
            limits: self.limits,
        };
        Disk::open_with(path, folder, self.rows.clone(), around, &DiskOptions::default())
    }

    fn salt(&self) -> Salt {
        Salt(77)
    }

    /// The sheet that is written first.
    fn log(&self) -> &Platter {
        &self.logs[0]
    }

    fn disks(&self) -> [&Platter; 3] {
        let [one, other] = &self.logs;
        [&self.rows, one, other]
    }

    fn after_power_cut(&self, random: &mut Random) -> Self {
        self.with(Platter::after_power_cut(self.disks(), random), self.run + 1)
    }

    fn after_kill(&self) -> Self {
        self.with(Platter::all_bytes(self.disks()), self.run)
    }

    fn with(&self, [rows, one, other]: [Vec<u8>; 3], run: u128) -> Self {
        let rows = Platter::of(rows);
        let logs = [rows.beside(one), rows.beside(other)];
        Self { rows, logs, limits: self.limits, run }
    }
}

/// Records of an owner at a time.
const WINDOW: u64 = 20;

/// Puts a record and deletes the one a window before.
fn write_window(store: &mut DiskStore, owner: u64, number: u64) {
    write_window_as(store, owner, number, number);
}

fn write_window_as(store: &mut DiskStore, owner: u64, number: u64, seq: u64) {
    let insert = Change::Insert(key(owner, number).into(), vec![number as u8; 50].into());
    let flight = Change::Put([&key(owner, number)[..], b"F"].concat().into(), "f".into());
    let gone = number.checked_sub(WINDOW).filter(|gone| *gone > 0);
    let gone = gone.map(|gone| Change::Delete(key(owner, gone).into()));
    store.write_batch(seq, &mut [insert, flight].into_iter().chain(gone)).unwrap();
}

/// The last record of an owner, all of which are there with their flights.
fn check_window(store: &DiskStore, owner: u64) -> u64 {
    let (mut found, mut flights) = (Vec::new(), BTreeSet::new());
    let mut each = |found_key: &[u8], value: Bytes| match found_key.strip_suffix(b"F") {
        Some(key) if key.len() == 16 => {
            flights.insert(u64::from_be_bytes(key[8..].try_into().unwrap()));
        }
        _ => found.push(number(found_key, &value)),
    };
    store.scan(&owner.to_be_bytes(), &mut each).unwrap();
    let last = found.last().copied().unwrap_or(0);
    assert_eq!(found, (last.saturating_sub(WINDOW - 1).max(1)..=last).collect::<Vec<_>>());
    assert_eq!(flights.into_iter().collect::<Vec<_>>(), found);
    last
}

fn key(owner: u64, number: u64) -> Vec<u8> {
    [owner.to_be_bytes(), number.to_be_bytes()].concat()
}

fn put(owner: u64, number: u64) -> Change {
    Change::Put(key(owner, number).into(), vec![number as u8; 50].into())
}

/// The numbers of an owner's records, all of which are as they were written.
fn numbers(store: &DiskStore, owner: u64) -> Vec<u64> {
    let mut found = Vec::new();
    store.scan(&owner.to_be_bytes(), &mut |key, value| found.push(number(key, &value))).unwrap();
    found
}

fn number(key: &[u8], value: &[u8]) -> u64 {
    let number = u64::from_be_bytes(key[8..16].try_into().unwrap());
    assert!(value.iter().all(|byte| *byte == number as u8));
    number
}
