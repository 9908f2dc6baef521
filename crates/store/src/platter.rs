//! A disk in memory that can be full, fail to sync, wait, and lose its power.

use std::{
    io::{self, IoSlice},
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use redb::StorageBackend;

use crate::sheet::Sheet;

#[derive(Clone, Debug, Default)]
pub(crate) struct Platter {
    place: Arc<(Mutex<State>, Condvar)>,
    /// Held for a moment by whoever changes anything: the power of all disks goes at once.
    power: Arc<Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// What a power cut leaves in any case.
    synced: Vec<u8>,
    /// What came since: any part of it may be left too.
    unsynced: Vec<Unsynced>,
    bytes_max: Option<usize>,
    fails_to_sync: bool,
    is_held: bool,
    syncs_waiting: usize,
}

#[derive(Debug)]
enum Unsynced {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

/// What a disk writes at once, or not at all.
const SECTOR: usize = 512;

impl Platter {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let platter = Self::default();
        platter.lock().synced.clone_from(&bytes);
        platter.lock().bytes = bytes;
        platter
    }

    /// Another disk at the same power.
    pub(crate) fn beside(&self, bytes: Vec<u8>) -> Self {
        Self { power: self.power.clone(), ..Self::of(bytes) }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// From now on it is full at this many bytes.
    pub(crate) fn limit(&self, bytes_max: usize) {
        self.lock().bytes_max = Some(bytes_max);
    }

    pub(crate) fn break_sync(&self) {
        self.lock().fails_to_sync = true;
    }

    /// From now on syncs take until [`Platter::release`].
    pub(crate) fn hold(&self) {
        self.lock().is_held = true;
    }

    pub(crate) fn release(&self) {
        self.lock().is_held = false;
        self.place.1.notify_all();
    }

    pub(crate) fn wait_for_sync(&self) {
        let mut state = self.lock();
        while state.syncs_waiting == 0 {
            state = self.place.1.wait(state).unwrap();
        }
    }

    /// What is left on each of these disks after a power cut: all that was synced, and of the rest some sectors and not
    /// others.
    pub(crate) fn after_power_cut<const N: usize>(
        disks: [&Self; N],
        random: &mut Random,
    ) -> [Vec<u8>; N] {
        let [first, ..] = &disks[..] else { panic!("no disk") };
        let _power = first.power.lock().unwrap();
        disks.map(|disk| disk.left(random))
    }

    /// What is on each of these disks at one moment.
    pub(crate) fn all_bytes<const N: usize>(disks: [&Self; N]) -> [Vec<u8>; N] {
        let [first, ..] = &disks[..] else { panic!("no disk") };
        let _power = first.power.lock().unwrap();
        disks.map(Self::bytes)
    }

    /// Whether somebody waits for a sync.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.lock().syncs_waiting > 0
    }

    fn left(&self, random: &mut Random) -> Vec<u8> {
        let state = self.lock();
        let mut bytes = state.synced.clone();
        // Of some cuts nearly all is left, of others nearly nothing.
        let share = random.below(5);
        for change in &state.unsynced {
            match change {
                Unsynced::SetLen(len) if random.below(4) < share => bytes.resize(*len, 0),
                Unsynced::SetLen(_) => (),
                Unsynced::Write(offset, data) => {
                    for (at, sector) in data.chunks(SECTOR).enumerate() {
                        if random.below(4) < share {
                            put(&mut bytes, offset + at * SECTOR, sector);
                        }
                    }
                }
            }
        }
        bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.place.0.lock().unwrap()
    }
}

impl StorageBackend for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        let from = usize::try_from(offset).unwrap();
        let found = state.bytes.get(from..from.saturating_add(out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _power = self.power.lock().unwrap();
        let mut state = self.lock();
        let len = usize::try_from(len).unwrap();
        if state.bytes_max.is_some_and(|max| len > max) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.bytes.resize(len, 0);
        state.unsynced.push(Unsynced::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock();
        // What is written from here on is not part of it.
        let count = state.unsynced.len();
        state.syncs_waiting += 1;
        self.place.1.notify_all();
        while state.is_held {
            state = self.place.1.wait(state).unwrap();
        }
        state.syncs_waiting -= 1;
        drop(state);
        let _power = self.power.lock().unwrap();
        let mut state = self.lock();
        if state.fails_to_sync {
            return Err(io::Error::other("the cable came off"));
        }
        let state = &mut *state;
        for change in state.unsynced.drain(..count.min(state.unsynced.len())) {
            match change {
                Unsynced::SetLen(len) => state.synced.resize(len, 0),
                Unsynced::Write(offset, data) => put(&mut state.synced, offset, &data),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let _power = self.power.lock().unwrap();
        let mut state = self.lock();
        let offset = usize::try_from(offset).unwrap();
        put(&mut state.bytes, offset, data);
        state.unsynced.push(Unsynced::Write(offset, data.to_vec()));
        Ok(())
    }
}

impl Sheet for Platter {
    fn read(&self) -> io::Result<Vec<u8>> {
        Ok(self.bytes())
    }

    fn clear(&self) -> io::Result<()> {
        self.set_len(0)
    }

    fn write(&self, at: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let end = usize::try_from(at).unwrap() + bytes.len();
        if self.lock().bytes_max.is_some_and(|max| end > max) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        StorageBackend::write(self, at, &bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

/// Numbers that look random, the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
