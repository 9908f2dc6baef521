//! The store under the load of a message broker and of a client: `cargo bench -p postrider-store [-- DIR]`.
//!
//! Prints a table. A message is a record of 17 + 130 bytes, its flight one of 18 + 4, its acknowledgement one delete.
//! Every line is a process of its own, so that the peak memory is its own too.

use std::{
    env,
    error::Error,
    fs,
    io::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use postrider_store::{Change, Disk, DiskOptions, MemoryStore, Mode, Store};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Messages that are open at a time in all sessions together.
const OPEN: u64 = 5000;

const QUEUED: u64 = 1_000_000;

fn main() -> Outcome {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => all(&env::temp_dir()),
        [dir] => all(Path::new(dir)),
        [task, mode, dir] => run(task, mode, Path::new(dir)),
        _ => Err("usage: workload [DIR]".into()),
    }
}

/// Runs every line in a process of its own.
fn all(dir: &Path) -> Outcome {
    let dir = dir.join(format!("postrider-store-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let program = env::current_exe()?;
    let (p50, p99) = disk_sync(&dir)?;
    println!("this disk: 4 KiB written and synced in {p50} us (p50), {p99} us (p99)");
    println!();
    println!("| what | mode | messages/s | p50 us | p99 us | syncs | peak MB | disk MB |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for task in ["one", "window", "hundred", "jumbled", "fill", "drain", "open"] {
        for mode in ["memory", "process", "durable"] {
            if mode == "memory" && ["drain", "open"].contains(&task) {
                continue;
            }
            let place = dir.join(mode);
            if !["drain", "open"].contains(&task) && place.exists() {
                fs::remove_dir_all(&place)?;
            }
            let status = Command::new(&program).args([task, mode]).arg(&place).status()?;
            if !status.success() {
                return Err(format!("{task} {mode}: {status}").into());
            }
        }
    }
    fs::remove_dir_all(dir)?;
    Ok(())
}

fn run(task: &str, mode: &str, dir: &Path) -> Outcome {
    let place = Place::open(mode, dir)?;
    let mut line = match task {
        "one" => one(&place)?,
        "window" => windows(&place, 1, 100)?,
        "hundred" => windows(&place, 100, 50)?,
        "jumbled" => jumbled(&place)?,
        "fill" => fill(&place)?,
        "drain" => drain(&place)?,
        "open" => open(&place)?,
        _ => return Err(format!("no task {task}").into()),
    };
    line.syncs = place.disk.as_ref().map_or(0, |disk| disk.counts().synced);
    line.peak_mb = peak_mb();
    place.close()?;
    println!(
        "| {} | {mode} | {:.0} | {} | {} | {} | {} | {} |",
        line.what,
        line.rate,
        micros(line.p50),
        micros(line.p99),
        line.syncs,
        line.peak_mb,
        size(dir) >> 20,
    );
    Ok(())
}

/// A line of the table.
#[derive(Default)]
struct Line {
    what: String,
    rate: f64,
    p50: Option<Duration>,
    p99: Option<Duration>,
    syncs: u64,
    peak_mb: u64,
}

impl Line {
    fn new(what: &str, count: u64, took: Duration, mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied();
        let rate = count as f64 / took.as_secs_f64();
        Self { what: what.to_owned(), rate, p50: at(0.5), p99: at(0.99), ..Self::default() }
    }
}

/// Where the store is.
struct Place {
    disk: Option<Disk>,
    mode: Mode,
}

impl Place {
    fn open(mode: &str, dir: &Path) -> Outcome<Self> {
        let mode = match mode {
            "memory" => return Ok(Self { disk: None, mode: Mode::Memory }),
            "process" => Mode::Process,
            _ => Mode::Durable,
        };
        Ok(Self { disk: Some(Disk::open(dir, DiskOptions::default())?), mode })
    }

    /// A handle, and the means to wait until all that it wrote is stored.
    fn handle(&self) -> Owner {
        let Some(disk) = &self.disk else {
            return Owner { store: Box::new(MemoryStore::new()), woken: Arc::default() };
        };
        let woken = Arc::new(Woken::default());
        let waker = woken.clone();
        let store =
            disk.handle(self.mode, move || waker.thread.get().map_or((), thread::Thread::unpark));
        Owner { store: Box::new(store), woken }
    }

    fn close(self) -> Outcome {
        self.disk.map_or(Ok(()), |disk| Ok(disk.close()?))
    }
}

#[derive(Default)]
struct Woken {
    thread: std::sync::OnceLock<thread::Thread>,
}

struct Owner {
    store: Box<dyn Store>,
    woken: Arc<Woken>,
}

impl Owner {
    /// Waits, as a driver does, until a number is stored; returns the last that is.
    fn wait(&mut self, seq: u64) -> Outcome<u64> {
        self.woken.thread.get_or_init(thread::current);
        loop {
            let stored = self.store.stored()?;
            if stored >= seq {
                return Ok(stored);
            }
            thread::park();
        }
    }
}

/// One message at a time, stored and acknowledged: what a publisher with a window of one waits for.
fn one(place: &Place) -> Outcome<Line> {
    let mut owner = place.handle();
    let (begun, count) = (Instant::now(), 1000);
    let mut latencies = Vec::new();
    for number in 1..=count {
        let written = Instant::now();
        owner.store.write_batch(number, &mut message(0, number).into_iter())?;
        owner.wait(number)?;
        latencies.push(written.elapsed());
    }
    Ok(Line::new("1 publisher, 1 open", count, begun.elapsed(), latencies))
}

/// Owners with a window each: a message may be written when the one `window` before it is stored. Records are deleted in
/// order, some time later.
fn windows(place: &Place, owners: u64, window: u64) -> Outcome<Line> {
    let count = 400_000 / owners;
    let begun = Instant::now();
    let ends = thread::scope(|scope| {
        let owners: Vec<_> = (0..owners)
            .map(|at| {
                let owner = place.handle();
                scope.spawn(move || {
                    window_of(owner, at, count, window).map_err(|error| error.to_string())
                })
            })
            .collect();
        owners
            .into_iter()
            .map(|owner| owner.join().map_err(|_| "a panic".to_owned())?)
            .collect::<Result<Vec<_>, _>>()
    })?;
    let what = format!("{owners} publishers, {window} open each");
    Ok(Line::new(&what, count * owners, begun.elapsed(), ends.concat()))
}

fn window_of(mut owner: Owner, session: u64, count: u64, window: u64) -> Outcome<Vec<Duration>> {
    let lag = OPEN / 100;
    let mut latencies = Vec::new();
    let mut written = std::collections::VecDeque::new();
    let mut seq = 0;
    for number in 1..=count {
        for change in message(session, number) {
            seq += 1;
            owner.store.write(seq, change)?;
        }
        if let Some(gone) = number.checked_sub(lag) {
            seq += 1;
            owner.store.write(seq, Change::Delete(key(session, gone).into()))?;
        }
        written.push_back((seq, Instant::now()));
        if written.len() as u64 >= window
            && let Some((first, _)) = written.front()
        {
            let stored = owner.wait(*first)?;
            while let Some((_, at)) = written.pop_front_if(|(seq, _)| *seq <= stored) {
                latencies.push(at.elapsed());
            }
        }
    }
    owner.wait(seq)?;
    Ok(latencies)
}

/// One owner, as a hub is, with all sessions; messages are acknowledged in any order.
fn jumbled(place: &Place) -> Outcome<Line> {
    let mut owner = place.handle();
    let (begun, count) = (Instant::now(), 400_000);
    let mut open = Vec::new();
    let (mut random, mut seq) = (1_u64, 0);
    for number in 1..=count {
        for change in message(number % 100, number) {
            seq += 1;
            owner.store.write(seq, change)?;
        }
        open.push(number);
        if open.len() as u64 > OPEN {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let gone = open.swap_remove((random >> 33) as usize % open.len());
            seq += 1;
            owner.store.write(seq, Change::Delete(key(gone % 100, gone).into()))?;
        }
        if number % 1000 == 0 {
            owner.wait(seq.saturating_sub(5000))?;
        }
    }
    owner.wait(seq)?;
    Ok(Line::new("1 hub, acknowledged in any order", count, begun.elapsed(), Vec::new()))
}

/// A client that publishes offline.
fn fill(place: &Place) -> Outcome<Line> {
    let mut owner = place.handle();
    let begun = Instant::now();
    for number in 1..=QUEUED {
        let [put, _] = message(0, number);
        owner.store.write(number, put)?;
    }
    owner.wait(QUEUED)?;
    Ok(Line::new("queue 1 M messages", QUEUED, begun.elapsed(), Vec::new()))
}

/// Its queue, sent when it is online: read in pages, a flight each, deleted.
fn drain(place: &Place) -> Outcome<Line> {
    let mut owner = place.handle();
    let begun = Instant::now();
    let (mut after, mut seq, mut count) = (Vec::new(), 0, 0_u64);
    loop {
        let mut page = Vec::new();
        owner.store.scan_after(&0_u64.to_be_bytes(), &after, &mut |key, value| {
            page.push((key.to_vec(), value));
            if page.len() < 500 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        for (key, _) in &page {
            let flight = [&key[..], b"F"].concat();
            seq += 1;
            owner.store.write(seq, Change::Put(flight.into(), vec![1; 4].into()))?;
        }
        owner.wait(seq)?;
        for (key, _) in page {
            seq += 1;
            count += 1;
            owner.store.write(seq, Change::Delete(key.into()))?;
        }
    }
    owner.wait(seq)?;
    if count != QUEUED {
        return Err(format!("{count} messages were queued").into());
    }
    Ok(Line::new("drain 1 M messages", count, begun.elapsed(), Vec::new()))
}

/// Opens a store that was killed with 1 M messages in it, checks it and reads all.
fn open(place: &Place) -> Outcome<Line> {
    let mut line = fill(place)?;
    let Some(disk) = place.disk.clone() else { return Ok(line) };
    let (path, copy) = (disk.path().to_owned(), disk.path().with_extension("copy"));
    fs::create_dir_all(copy.join("spools"))?;
    for name in ["format", "records.redb", "log-0", "log-1"] {
        if path.join(name).exists() {
            fs::copy(path.join(name), copy.join(name))?;
        }
    }
    let begun = Instant::now();
    let disk = Disk::open(&copy, DiskOptions::default())?;
    let opened = begun.elapsed();
    let mut count = 0;
    disk.handle(Mode::Durable, || ()).scan(b"", &mut |_, _| count += 1)?;
    if count != QUEUED {
        return Err(format!("{count} messages were recovered").into());
    }
    let took = begun.elapsed();
    line = Line::new("recover 1 M messages after a kill", QUEUED, took, Vec::new());
    line.what +=
        &format!(" (open {} ms, read {} ms)", opened.as_millis(), (took - opened).as_millis());
    disk.close()?;
    fs::remove_dir_all(copy)?;
    Ok(line)
}

fn key(session: u64, number: u64) -> Vec<u8> {
    [&session.to_be_bytes()[..], b"M", &number.to_be_bytes()].concat()
}

/// The records of a message that is sent at QoS 1 or 2.
fn message(session: u64, number: u64) -> [Change; 2] {
    let key = key(session, number);
    let flight = [&key[..], b"F"].concat();
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let value: Vec<u8> = (0..130_u32).map(|at| mixed.rotate_left(at) as u8).collect();
    [Change::Put(key.into(), value.into()), Change::Put(flight.into(), vec![1; 4].into())]
}

/// Microseconds of a write and sync of 4 KiB, p50 and p99.
fn disk_sync(dir: &Path) -> Outcome<(u128, u128)> {
    let mut file = fs::File::create(dir.join("probe"))?;
    let mut took = Vec::new();
    for _ in 0..500 {
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        took.push(begun.elapsed().as_micros());
    }
    took.sort_unstable();
    Ok((took[250], took[495]))
}

fn micros(latency: Option<Duration>) -> String {
    latency.map_or_else(|| "-".to_owned(), |latency| latency.as_micros().to_string())
}

/// Bytes of all files in a folder.
fn size(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files
        .iter()
        .map(|path| {
            if path.is_dir() { size(path) } else { fs::metadata(path).map_or(0, |data| data.len()) }
        })
        .sum()
}

/// The most memory this process has held, where the system tells.
fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
