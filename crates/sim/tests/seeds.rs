//! A fixed set of seeds, and those that failed once.

use std::thread;

use postrider_sim::{Counts, run_plain, run_seed};

/// Seeds of every test run; longer runs are made with the `soak` binary.
const SEEDS: u64 = 2_400;
const THREADS: u64 = 2;

#[test]
fn seeds_that_failed_once_pass() {
    let kept = include_str!("../seeds/regressions.txt");
    for line in kept.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let (word, run): (_, fn(u64) -> _) = match words.next() {
            Some("plain") => (words.next(), run_plain),
            word => (word, run_seed),
        };
        let seed = word.and_then(|word| word.parse().ok()).expect("a seed begins each line");
        if let Err(failure) = run(seed) {
            panic!("{failure}");
        }
    }
}

/// v5 [MQTT-2.2.1-3] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-3.3.1-1] [MQTT-3.3.4-9] [MQTT-4.3.2-4] [MQTT-4.3.3-1]
/// [MQTT-4.3.3-4] [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.4.0-1] [MQTT-4.5.0-1] [MQTT-4.6.0-1]
/// [MQTT-4.6.0-2] [MQTT-4.6.0-5], v3.1.1 [MQTT-4.3.3-1] [MQTT-4.4.0-1] [MQTT-4.5.0-1] [MQTT-4.6.0-6]: whatever
/// network, machines and disks do, nothing is lost, doubled or out of order, and nothing is said before it is stored.
/// Each situation of the list occurs.
#[test]
fn nothing_is_lost_doubled_or_out_of_order() {
    let run = |first: u64| {
        let mut counts = Counts::default();
        for seed in (first..=SEEDS).step_by(THREADS as usize) {
            match run_seed(seed) {
                Ok(run) => counts.add(&run),
                Err(failure) => panic!("{failure}"),
            }
        }
        counts
    };
    let mut counts = Counts::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (1..=THREADS).map(|first| scope.spawn(move || run(first))).collect();
        for thread in threads {
            match thread.join() {
                Ok(run) => counts.add(&run),
                Err(failure) => std::panic::resume_unwind(failure),
            }
        }
    });
    for (name, count) in counts.named() {
        println!("{count:>12} {name}");
    }
    let missing: Vec<_> = counts.named().filter(|(_, count)| *count == 0).collect();
    assert!(missing.is_empty(), "they never happened: {missing:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 14, 159] {
        assert_eq!(run_seed(seed), run_seed(seed));
    }
}
