//! A fixed set of seeds, and those that failed once.

use postrider_sim::{Counts, run_seed};

/// Seeds of every test run; longer runs are made with the `soak` binary.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=1_000;

#[test]
fn seeds_that_failed_once_pass() {
    let kept = include_str!("../seeds/regressions.txt");
    let seeds = kept.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    for seed in seeds {
        if let Err(failure) = run_seed(seed) {
            panic!("{failure}");
        }
    }
}

/// v5 [MQTT-4.3.3-10] [MQTT-4.4.0-1] [MQTT-4.5.0-1] [MQTT-4.6.0-5], v3.1.1 [MQTT-4.3.3-1] [MQTT-4.4.0-1]
/// [MQTT-4.5.0-1] [MQTT-4.6.0-6]: whatever the network does, nothing is lost, doubled or out of order, with one hub
/// and with two.
#[test]
fn nothing_is_lost_doubled_or_out_of_order() {
    let mut counts = Counts::default();
    for seed in SEEDS {
        match run_seed(seed) {
            Ok(run) => counts.add(&run),
            Err(failure) => panic!("{failure}"),
        }
    }
    for (name, count) in counts.named() {
        println!("{count:>12} {name}");
        assert!(count > 0, "it never happened: {name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 14, 159] {
        assert_eq!(run_seed(seed), run_seed(seed));
    }
}
