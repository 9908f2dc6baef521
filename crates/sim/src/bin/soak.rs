//! Runs seeds for a while: `cargo run --release -p postrider-sim --bin soak -- --seconds 60 [--from SEED] [--seeds N]`.
//! With `--plain 1` without what was added to runs later.
#![forbid(unsafe_code)]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut most, mut run) = (60, 1, u64::MAX, FULL);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        match (name.as_str(), value) {
            ("--seconds", Some(value)) => seconds = value,
            ("--from", Some(value)) => seed = value,
            ("--seeds", Some(value)) => most = value,
            ("--plain", Some(1)) => run = postrider_sim::run_plain,
            _ => {
                eprintln!(
                    "usage: soak [--seconds N] [--from SEED] [--seeds N] [--plain 1]; not understood: {name}"
                );
                return ExitCode::from(2);
            }
        }
    }
    let start = Instant::now();
    let mut counts = postrider_sim::Counts::default();
    let mut seeds = 0_u64;
    while seeds < most && start.elapsed() < Duration::from_secs(seconds) {
        match run(seed) {
            Ok(run) => counts.add(&run),
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        }
        seed += 1;
        seeds += 1;
    }
    for (name, count) in counts.named() {
        println!("{count:>12} {name}");
    }
    let rate = seeds as f64 / start.elapsed().as_secs_f64();
    println!("{seeds} seeds, {rate:.0} a second, no failure");
    ExitCode::SUCCESS
}

const FULL: fn(u64) -> Result<postrider_sim::Counts, String> = postrider_sim::run_seed;
