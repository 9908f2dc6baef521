//! Plants one fault after the other and shows that each is found, and after how many seeds:
//! `cargo run --release -p postrider-sim --features mutations --bin mutants [-- --seeds N] [--only NUMBER]`.
#![forbid(unsafe_code)]

use std::{
    panic,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use postrider_sim::mutation::{Mutation, plant};

fn main() -> ExitCode {
    let (mut seeds, mut only) = (SEEDS, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        match (name.as_str(), value) {
            ("--seeds", Some(value)) => seeds = value,
            ("--only", Some(value)) => only = Some(value),
            _ => {
                eprintln!("usage: mutants [--seeds N] [--only NUMBER]; not understood: {name}");
                return ExitCode::from(2);
            }
        }
    }
    // A machine may notice a fault itself and panic, which is as good as being caught.
    panic::set_hook(Box::new(|_| {}));
    plant(None);
    if let Some((seed, what)) = first_failure(seeds.min(SEEDS_CLEAN)) {
        println!("seed {seed} fails with nothing planted: {what}");
        return ExitCode::FAILURE;
    }
    let mut survivors = 0;
    for (number, (mutation, sentence)) in (1..).zip(Mutation::ALL) {
        if only.is_some_and(|only| only != number) {
            continue;
        }
        plant(Some(*mutation));
        let start = Instant::now();
        let found = first_failure(seeds);
        let ms = start.elapsed().as_millis();
        let name = format!("{mutation:?}");
        match found {
            Some((seed, what)) => {
                println!(
                    "{number:>2} {name:<24} caught at seed {seed:>5}, {ms:>5} ms: {sentence} [{what}]"
                );
            }
            None => {
                survivors += 1;
                println!("{number:>2} {name:<24} NOT CAUGHT by {seeds} seeds, {ms} ms: {sentence}");
            }
        }
    }
    println!("{} mutations, {survivors} not caught", Mutation::ALL.len());
    if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first seed that fails, and the statement it names.
fn first_failure(seeds: u64) -> Option<(u64, String)> {
    let (next, found) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
    let work = || {
        let mut first = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > seeds || seed > found.load(Ordering::Relaxed) {
                return first;
            }
            if let Some(what) = failure(seed) {
                found.fetch_min(seed, Ordering::Relaxed);
                first.get_or_insert((seed, what));
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok().flatten()).min()
    })
}

fn failure(seed: u64) -> Option<String> {
    match panic::catch_unwind(|| postrider_sim::run_seed(seed)) {
        Ok(Ok(_)) => None,
        Ok(Err(text)) => {
            let statement = text.split('[').nth(1).and_then(|rest| rest.split(']').next());
            Some(statement.unwrap_or("?").to_owned())
        }
        Err(_) => Some("panic".to_owned()),
    }
}

/// Seeds after which a fault counts as not found.
const SEEDS: u64 = 20_000;
/// Seeds that must pass with nothing planted.
const SEEDS_CLEAN: u64 = 300;
const THREADS: usize = 2;
