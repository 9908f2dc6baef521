//! From a store on the disk to hubs that go on where the last run ended.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    thread,
    time::Instant,
};

use bytes::Bytes;
use postrider_hub::{Hub, HubConfig};
use postrider_proto::{Fact, Payload, Record, Time};
use postrider_store::{Disk, DiskOptions, DiskStore, Mode, Scratch, Store, StoreError};
use tracing::{info, warn};

use crate::{
    StartError,
    ready::Ready,
    vault::{Sharers, Vault},
};

/// Hubs, each with its vault, and the store behind them.
pub(crate) struct Recovered {
    pub(crate) hubs: Vec<(Hub, Vault)>,
    pub(crate) disk: Option<Disk>,
}

/// What is known of the spools of a store: their lengths.
type Lengths = BTreeMap<u64, u64>;

/// Hubs with nothing in them.
pub(crate) fn begin_empty(configs: Vec<HubConfig>, now: Time) -> Recovered {
    // The hubs bound the spools.
    let scratch = Arc::new(Scratch::new(u64::MAX));
    let hubs = configs.into_iter().map(|config| {
        let vault = Vault::scratch(Arc::clone(&scratch));
        (Hub::new(config, now), vault)
    });
    Recovered { hubs: hubs.collect(), disk: None }
}

/// Opens a store and gives each hub what is its own, all at once.
pub(crate) fn recover(
    path: &Path,
    configs: Vec<HubConfig>,
    mode: Mode,
    ready: &[Arc<Ready>],
    now: Time,
) -> Result<Recovered, StartError> {
    let begin = Instant::now();
    let spool_bytes_max = configs.iter().map(|config| config.spool_bytes_max).sum();
    let options = DiskOptions { spool_bytes_max, ..DiskOptions::default() };
    let disk = Disk::open(path, options).map_err(StartError::Store)?;
    if is_of_client(&disk).map_err(StartError::Store)? {
        return Err(StartError::StoreOfClient(path.to_owned()));
    }
    if let Some(copy) = disk.set_aside() {
        warn!(copy = %copy.display(), "the last writes before a power cut were damaged; a copy is kept");
    }
    let (sharers, lengths) = (Sharers::default(), disk.spools());
    let workers = thread::scope(|scope| {
        let threads: Vec<_> = configs
            .into_iter()
            .zip(ready)
            .map(|(config, ready)| {
                let vault = Vault::disk(&disk, mode, sharers.clone(), ready);
                let lengths = &lengths;
                scope.spawn(move || recover_one(config, vault, lengths, now))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    let (mut hubs, mut used) = (Vec::new(), BTreeSet::new());
    for worker in workers {
        let panicked = |_| StoreError::Corrupt {
            path: path.to_owned(),
            what: "a hub panicked over its records".to_owned(),
        };
        let recovered = worker.map_err(panicked).flatten();
        let (hub, vault, spools) = recovered.map_err(StartError::Store)?;
        for &spool in &spools {
            sharers.join(spool);
        }
        used.extend(spools);
        hubs.push((hub, vault));
    }
    let orphans = disk.keep_spools(&used).map_err(StartError::Store)?;
    let sum = |count: fn(&postrider_hub::HubStats) -> u64| -> u64 {
        hubs.iter().map(|(hub, _)| count(&hub.stats())).sum()
    };
    info!(
        store = %path.display(),
        sessions = sum(|stats| stats.sessions),
        retained = hubs.first().map_or(0, |(hub, _)| hub.stats().retained),
        orphans,
        ms = begin.elapsed().as_millis(),
        "store opened"
    );
    Ok(Recovered { hubs, disk: Some(disk) })
}

/// Whether the store is a client's: its session has the number that is no session's at a broker, and would end here.
fn is_of_client(disk: &Disk) -> Result<bool, StoreError> {
    let session = disk.handle(Mode::Memory, || {}).read(&Record::session_key(0))?;
    Ok(session.is_some())
}

fn recover_one(
    config: HubConfig,
    vault: Vault,
    lengths: &Lengths,
    now: Time,
) -> Result<(Hub, Vault, BTreeSet<u64>), StoreError> {
    let mut hub = Hub::new(config.clone(), now);
    // Also those of other hubs, and those that nobody needs until they are gone.
    if let Some((last, _)) = lengths.last_key_value() {
        hub.reserve_spools(*last);
    }
    let mut spools = BTreeSet::new();
    if let Some(store) = vault.store() {
        let mut records = Records::new(store, &config, lengths);
        hub.recover(&mut records, now);
        spools = records.finish()?;
    }
    Ok((hub, vault, spools))
}

/// The records that one hub needs, in the order of keys, read a page at a time.
struct Records<'a> {
    store: &'a DiskStore,
    config: &'a HubConfig,
    lengths: &'a Lengths,
    page: VecDeque<(Vec<u8>, Bytes)>,
    /// The last key that was read into a page.
    after: Vec<u8>,
    is_at_end: bool,
    /// The owner of the records that come, and whether they are for this hub.
    owner: Option<(u64, bool)>,
    /// Spools that records name.
    spools: BTreeSet<u64>,
    failed: Option<StoreError>,
}

impl<'a> Records<'a> {
    fn new(store: &'a DiskStore, config: &'a HubConfig, lengths: &'a Lengths) -> Self {
        Self {
            store,
            config,
            lengths,
            page: VecDeque::new(),
            after: Vec::new(),
            is_at_end: false,
            owner: None,
            spools: BTreeSet::new(),
            failed: None,
        }
    }

    /// The spools that the records name, or why they ended too early.
    fn finish(self) -> Result<BTreeSet<u64>, StoreError> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.spools),
        }
    }

    fn advance(&mut self) -> Result<Option<Record>, StoreError> {
        loop {
            let Some((key, value)) = self.page.pop_front() else {
                if self.is_at_end {
                    return Ok(None);
                }
                self.turn_page()?;
                continue;
            };
            let owner = Record::owner_of(&key).ok_or_else(|| self.corrupt("a key is short"))?;
            if self.owner.is_none_or(|(current, _)| current != owner)
                && let Some(session) = self.meet(owner)?
            {
                return Ok(Some(session));
            }
            if self.owner == Some((owner, false)) {
                self.skip(owner);
                continue;
            }
            let record = self.decode(&key, &value)?;
            if self.has_payload(&record) {
                return Ok(Some(record));
            }
        }
    }

    /// A new owner: notes whether its records are for this hub. If not, returns the one that is needed all the same,
    /// so that nobody gets the owner's number again.
    fn meet(&mut self, owner: u64) -> Result<Option<Record>, StoreError> {
        self.owner = Some((owner, true));
        if owner == 0 || self.config.hubs <= 1 {
            return Ok(None);
        }
        let key = Record::session_key(owner);
        let Some(value) = self.store.read(&key)? else { return Ok(None) };
        let session = self.decode(&key, &value)?;
        if let Fact::Session { client_id, .. } = &session.fact
            && !self.config.is_home(client_id.as_bytes())
        {
            self.owner = Some((owner, false));
            self.skip(owner);
            return Ok(Some(session));
        }
        Ok(None)
    }

    /// Passes over the records of an owner.
    fn skip(&mut self, owner: u64) {
        while self.page.front().is_some_and(|(key, _)| Record::owner_of(key) == Some(owner)) {
            self.page.pop_front();
        }
        if self.page.is_empty() {
            self.after = self.after.clone().max(Record::behind(owner));
        }
    }

    fn turn_page(&mut self) -> Result<(), StoreError> {
        let Self { store, page, after, .. } = self;
        let mut bytes = 0;
        store.scan_after(b"", after, &mut |key, value| {
            bytes += key.len() + value.len();
            page.push_back((key.to_vec(), value));
            if bytes < PAGE_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        self.is_at_end = bytes < PAGE_BYTES;
        if let Some((key, _)) = self.page.back() {
            self.after.clone_from(key);
        }
        Ok(())
    }

    fn decode(&self, key: &[u8], value: &Bytes) -> Result<Record, StoreError> {
        Record::decode(key, value).map_err(|error| self.corrupt(&error.to_string()))
    }

    /// Notes the spool that a record names. False if the file lacks bytes: a power cut took it, or its message had
    /// been delivered and only the record of that was lost with the power.
    fn has_payload(&mut self, record: &Record) -> bool {
        let (Fact::Queued { message, .. } | Fact::Retained { message, .. }) = &record.fact else {
            return true;
        };
        let Payload::Spooled { id, len } = &message.payload else { return true };
        let number = id.number();
        if self.lengths.get(&number).is_some_and(|found| *found >= u64::from(*len)) {
            self.spools.insert(number);
            return true;
        }
        warn!(owner = record.owner, spool = number, len, "a stored message has lost its payload");
        false
    }

    fn corrupt(&self, what: &str) -> StoreError {
        StoreError::Corrupt { path: self.store.path().to_owned(), what: what.to_owned() }
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.failed.is_some() {
            return None;
        }
        self.advance().unwrap_or_else(|error| {
            self.failed = Some(error);
            None
        })
    }
}

/// Bytes read from the store at once.
const PAGE_BYTES: usize = 1 << 20;
