//! Measures storage engines and layouts on the workload of a message store.
//!
//! Every line of the table is a process of its own. Records are as in Postrider: a message is a row of 17 + 130 bytes,
//! its flight one of 18 + 4; 100 sessions take turns.

mod engine;
mod layout;

use std::{
    collections::BTreeMap,
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    hint,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::engine::{Change, Engine, Outcome};

const SESSIONS: u64 = 100;

fn main() -> Outcome {
    let arguments: Vec<String> = env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match words[..] {
        [dir] => all(Path::new(dir)),
        [task, engine, layout, dir] => work(task, engine, layout, Path::new(dir)),
        _ => Err("usage: store-candidates DIR".into()),
    }
}

const TASKS: [&str; 9] =
    ["sync", "append1", "append100", "append1000", "acks", "jumbled", "fill", "drain", "recover"];

fn all(dir: &Path) -> Outcome {
    let program = env::current_exe()?;
    let chosen = env::var("ENGINE").ok();
    println!("disk: write and fdatasync of 4 KiB, p50 and p99 us: {:?}", disk(dir)?);
    for engine in engine::NAMES {
        if chosen.as_deref().is_some_and(|chosen| chosen != engine) {
            continue;
        }
        for layout in layout::NAMES {
            if env::var("FLIPS").is_ok() {
                break;
            }
            println!("== {engine} {layout}");
            for task in TASKS {
                let place = dir.join(format!("{engine}-{layout}"));
                if !["drain", "recover"].contains(&task) {
                    let _ = fs::remove_dir_all(&place);
                }
                let status = Command::new("timeout")
                    .arg("120")
                    .arg(&program)
                    .args([task, engine, layout])
                    .arg(&place)
                    .status()?;
                if !status.success() {
                    println!("{task}: {status}");
                }
            }
            let place = dir.join(format!("{engine}-{layout}-kill"));
            println!(
                "kill -9 in process mode, 10 times: {}",
                kills(&program, engine, layout, &place)?
            );
        }
        flips(&program, engine, &dir.join(format!("{engine}-flip")))?;
    }
    Ok(())
}

/// Microseconds of a write and sync of 4 KiB, p50 and p99.
fn disk(dir: &Path) -> Outcome<(u128, u128)> {
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

fn message(owner: u64, number: u64) -> Vec<u8> {
    let mut key = owner.to_be_bytes().to_vec();
    key.push(b'M');
    key.extend(number.to_be_bytes());
    key
}

fn put(number: u64) -> [Change; 2] {
    let key = message(number % SESSIONS, number);
    let mut flight = key.clone();
    flight.push(b'F');
    // Not compressible beyond reason.
    let value =
        (0..130_u64).map(|at| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (at % 57)) as u8);
    [Change::Put(key, value.collect()), Change::Put(flight, vec![1; 4])]
}

fn cut(number: u64) -> Change {
    Change::Cut(message(number % SESSIONS, number))
}

fn work(task: &str, engine: &str, layout: &str, dir: &Path) -> Outcome {
    let begun = Instant::now();
    let mut store = layout::wrap(layout, engine::open(engine, dir)?)?;
    match task {
        "sync" => {
            let mut took = Vec::new();
            for number in 0..300 {
                let begun = Instant::now();
                store.commit(&put(number), true)?;
                took.push(begun.elapsed().as_micros());
            }
            took.sort_unstable();
            println!("sync of one message: p50 {} us, p99 {} us", took[150], took[297]);
        }
        "append1" => append(&mut *store, 1, 20_000, false)?,
        "append100" => append(&mut *store, 100, 50_000, true)?,
        "append1000" => append(&mut *store, 1000, 300_000, false)?,
        "acks" => acks(&mut *store, false)?,
        "jumbled" => acks(&mut *store, true)?,
        "fill" => {
            for chunk in 0..1000 {
                let batch: Vec<_> = (0..1000)
                    .map(|at| put(chunk * 1000 + at))
                    .map(|[message, _]| match message {
                        Change::Put(mut key, value) => {
                            key[..8].fill(0);
                            Change::Put(key, value)
                        }
                        cut @ Change::Cut(_) => cut,
                    })
                    .collect();
                store.commit(&batch, false)?;
            }
            println!(
                "fill 1 M: {:.0}/s, peak {} MB",
                1e6 / begun.elapsed().as_secs_f64(),
                peak_mb()
            );
            drop(store);
            println!("  on disk {} MB", size(dir)? >> 20);
        }
        "recover-killed" | "drain" => {
            println!("open with 1 M: {} ms", begun.elapsed().as_millis());
            let begun = Instant::now();
            drain(&mut *store)?;
            println!(
                "drain 1 M: {:.0}/s, peak {} MB",
                1e6 / begun.elapsed().as_secs_f64(),
                peak_mb()
            );
            drop(store);
            println!("  on disk {} MB", size(dir)? >> 20);
        }
        "recover" => {
            let begun = Instant::now();
            let mut count = 0_u64;
            store.scan(b"", b"", &mut |_, _| {
                count += 1;
                true
            })?;
            println!(
                "scan of the drained store: {} ms, {count} records",
                begun.elapsed().as_millis()
            );
        }
        "write" => loop_writes(&mut *store)?,
        "check" => {
            let mut numbers = Vec::new();
            store.scan(b"", b"", &mut |key, _| {
                if key.len() == 17 {
                    numbers.push(u64::from_be_bytes(key[9..].try_into().unwrap()));
                }
                true
            })?;
            numbers.sort_unstable();
            println!("{} {}", numbers.len(), numbers.last().map_or(0, |last| last + 1));
        }
        "content" => content(&*store)?,
        "verified" => {
            store.verify()?;
            content(&*store)?;
        }
        _ => return Err(format!("no task {task}").into()),
    }
    Ok(())
}

fn append(store: &mut dyn Engine, size: u64, count: u64, is_synced: bool) -> Outcome {
    let begun = Instant::now();
    for chunk in 0..count / size {
        let batch: Vec<_> = (0..size).flat_map(|at| put(chunk * size + at)).collect();
        store.commit(&batch, is_synced)?;
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!(
        "append, {size} in a commit, synced {is_synced}: {rate:.0} messages/s, peak {} MB",
        peak_mb()
    );
    Ok(())
}

/// Messages come and are acknowledged 5,000 messages later, in order or jumbled.
fn acks(store: &mut dyn Engine, is_jumbled: bool) -> Outcome {
    let begun = Instant::now();
    let count = 300_000;
    let mut open: Vec<u64> = Vec::new();
    let mut random = 1_u64;
    for chunk in 0..count / 500 {
        let mut batch: Vec<_> = (0..500).flat_map(|at| put(chunk * 500 + at)).collect();
        open.extend(chunk * 500..chunk * 500 + 500);
        if open.len() > 5000 {
            if is_jumbled {
                for _ in 0..500 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = (random >> 33) as usize % open.len();
                    batch.push(cut(open.swap_remove(at)));
                }
            } else {
                batch.extend(open.drain(..500).map(cut));
            }
        }
        store.commit(&batch, false)?;
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!(
        "append and acknowledge, jumbled {is_jumbled}: {rate:.0} messages/s, peak {} MB",
        peak_mb()
    );
    Ok(())
}

/// Reads pages of 1000 messages of one session and cuts them.
fn drain(store: &mut dyn Engine) -> Outcome {
    let mut after = Vec::new();
    loop {
        let mut page = Vec::new();
        store.scan(&[0; 8], &after, &mut |key, value| {
            hint::black_box(value);
            page.push(key.to_vec());
            page.len() < 1000
        })?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(last);
        let batch: Vec<_> = page.into_iter().map(Change::Cut).collect();
        store.commit(&batch, false)?;
    }
}

fn loop_writes(store: &mut dyn Engine) -> Outcome {
    let mut number = 0;
    let mut out = std::io::stdout();
    loop {
        let batch: Vec<_> = (0..20).flat_map(|at| put(number + at)).collect();
        store.commit(&batch, false)?;
        number += 20;
        writeln!(out, "{number}")?;
        out.flush()?;
    }
}

fn kills(program: &Path, engine: &str, layout: &str, dir: &Path) -> Outcome<String> {
    let mut lost = 0;
    for round in 0..10 {
        let _ = fs::remove_dir_all(dir);
        let mut child = Command::new(program)
            .args(["write", engine, layout])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut said = 0_u64;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(100 + 70 * round) {
            said = lines.next().ok_or("ended")??.parse()?;
        }
        child.kill()?;
        for line in lines {
            said = line?.parse().unwrap_or(said);
        }
        child.wait()?;
        let output = Command::new(program).args(["check", engine, layout]).arg(dir).output()?;
        let text = String::from_utf8(output.stdout)?;
        let found: Vec<u64> =
            text.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
        if found.first() != found.last() || found.first().is_none_or(|count| *count < said) {
            lost += 1;
        }
    }
    Ok(format!("{lost} with loss"))
}

/// What comes of a small store with one byte flipped, here and there in every file; each in a process of its own.
fn flips(program: &Path, engine: &str, dir: &Path) -> Outcome {
    let _ = fs::remove_dir_all(dir);
    let template = dir.join("template");
    let mut store = engine::open(engine, &template)?;
    for number in 0..200 {
        store.commit(&put(number), true)?;
    }
    drop(store);
    let good = look(program, "content", engine, &template)?;
    let files = files(&template)?;
    let all = files.iter().map(|file| fs::metadata(file).map_or(0, |data| data.len())).sum::<u64>();
    let place = dir.join("place");
    for task in ["content", "verified"] {
        let mut counts = BTreeMap::<&str, u32>::new();
        for file in &files {
            let bytes = fs::read(file)?;
            for at in (0..bytes.len()).step_by((all / 1500).max(1) as usize | 1) {
                let _ = fs::remove_dir_all(&place);
                copy(&template, &place)?;
                let mut bad = bytes.clone();
                bad[at] ^= 0x41;
                fs::write(place.join(file.strip_prefix(&template)?), bad)?;
                let found = look(program, task, engine, &place)?;
                let kind = match found.as_str() {
                    "refused" | "panic" | "abort" => &*found.leak(),
                    _ if found == good => "harmless",
                    _ => "WRONG",
                };
                *counts.entry(kind).or_default() += 1;
            }
        }
        println!("single bytes flipped, then {task}: {counts:?}");
    }
    Ok(())
}

fn look(program: &Path, task: &str, engine: &str, dir: &Path) -> Outcome<String> {
    let output = Command::new("timeout")
        .arg("10")
        .arg(program)
        .args([task, engine, "rows"])
        .arg(dir)
        .stderr(Stdio::null())
        .output()?;
    Ok(match output.status.code() {
        Some(0) => String::from_utf8(output.stdout)?,
        Some(1) => "refused".to_owned(),
        Some(101) => "panic".to_owned(),
        _ => "abort".to_owned(),
    })
}

/// Prints a digest of all that is there.
fn content(store: &dyn Engine) -> Outcome {
    let mut hash = DefaultHasher::new();
    store.scan(b"", b"", &mut |key, value| {
        (key, value).hash(&mut hash);
        true
    })?;
    println!("{:x}", hash.finish());
    Ok(())
}

fn files(dir: &Path) -> Outcome<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?)
        } else {
            found.push(entry.path())
        }
    }
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> Outcome {
    for file in files(from)? {
        let target = to.join(file.strip_prefix(from)?);
        fs::create_dir_all(target.parent().ok_or("no folder")?)?;
        fs::copy(file, target)?;
    }
    Ok(())
}

fn size(dir: &Path) -> Outcome<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(files(dir)?
        .iter()
        .map(|file| fs::metadata(file).map_or(0, |data| data.blocks() * 512))
        .sum())
}

fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
