//! What one match, insertion and removal costs, in nanoseconds.
//!
//! `cargo bench -p postrider-hub --bench router`; add a number to stop at that many filters. It
//! builds the sources itself, because they are private to the crate.
#![allow(dead_code, reason = "a part of each type is enough to measure it")]
#![allow(unused_imports, reason = "the sources come with their tests, which run elsewhere")]

#[path = "../src/entries.rs"]
mod entries;
#[path = "../src/hash.rs"]
mod hash;
#[path = "../src/retained.rs"]
mod retained;
#[path = "../src/router.rs"]
mod router;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use retained::Retained;
use router::Router;

fn main() {
    let mut arguments = std::env::args().skip(1);
    // Without the flag this is `cargo test --benches`: see that it works.
    let limit = if arguments.any(|argument| argument == "--bench") {
        std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000)
    } else {
        10
    };
    for count in [1, 10_000, 1_000_000].into_iter().filter(|&count| count <= limit) {
        println!("router, {count} filters");
        for shape in SHAPES {
            measure_router(shape, count);
        }
    }
    measure_fan_out(limit.min(10_000));
    for count in [10_000, 1_000_000].into_iter().filter(|&count| count <= limit) {
        measure_retained(count);
    }
}

/// Filters of one kind. `{}` stands for a number; every topic is `plant/{}/temp`.
struct Shape {
    name: &'static str,
    filter: &'static str,
}

const SHAPES: [Shape; 5] = [
    Shape { name: "exact", filter: "plant/{}/temp" },
    Shape { name: "+ last", filter: "plant/{}/+" },
    Shape { name: "+ first", filter: "+/{}/temp" },
    Shape { name: "#", filter: "plant/{}/#" },
    Shape { name: "all four", filter: "" },
];

fn measure_router(shape: Shape, count: usize) {
    let filters: Vec<String> = (0..count)
        .map(|n| {
            let pattern = if shape.filter.is_empty() { SHAPES[n % 4].filter } else { shape.filter };
            pattern.replace("{}", &spread(n, count).to_string())
        })
        .collect();
    let topics: Vec<String> =
        shuffled(count).map(|n| format!("plant/{}/temp", spread(n, count))).collect();
    let others: Vec<String> = shuffled(count).map(|n| format!("plant/{n}x/temp")).collect();
    let mut router = Router::new(7);
    let start = Instant::now();
    for (key, filter) in (0..).zip(&filters) {
        router.insert(filter.as_bytes(), key, key);
    }
    let insert = start.elapsed();
    let mut found = 0_u64;
    let hit = per_call(&topics, |topic| {
        router.for_matches(topic.as_bytes(), |_, value| found = found.wrapping_add(*value));
    });
    let miss = per_call(&others, |topic| {
        router.for_matches(topic.as_bytes(), |_, value| found = found.wrapping_add(*value));
    });
    black_box(found);
    let start = Instant::now();
    for n in shuffled(count) {
        assert!(router.remove(filters[n].as_bytes(), n as u64).is_some());
    }
    let remove = start.elapsed();
    println!(
        "  {:<9} hit {hit:>5} ns, miss {miss:>5} ns, insert {:>5} ns, remove {:>5} ns",
        shape.name,
        nanos(insert, count),
        nanos(remove, count)
    );
}

/// One filter with many subscribers.
fn measure_fan_out(count: usize) {
    let mut router = Router::new(7);
    for key in 0..count as u64 {
        router.insert(b"plant/+/temp", key, key);
    }
    let mut found = 0_u64;
    let match_all = per_call(&["plant/7/temp"], |topic| {
        router.for_matches(topic.as_bytes(), |_, value| found = found.wrapping_add(*value));
    });
    black_box(found);
    let start = Instant::now();
    for n in shuffled(count) {
        assert!(router.remove(b"plant/+/temp", n as u64).is_some());
    }
    let remove = nanos(start.elapsed(), count);
    println!("fan-out of one filter to {count}: match {match_all} ns, remove {remove} ns each");
}

/// Ten topics for each plant.
fn measure_retained(count: usize) {
    let topics: Vec<String> =
        shuffled(count).map(|n| format!("plant/{}/sensor{}", n / 10, n % 10)).collect();
    let mut retained = Retained::new(7);
    let start = Instant::now();
    for topic in &topics {
        retained.insert(topic.as_bytes(), 1_u64);
    }
    let insert = nanos(start.elapsed(), count);
    let replace = per_call(&topics, |topic| {
        retained.insert(topic.as_bytes(), 2);
    });
    println!("retained, {count} topics: insert {insert} ns, replace {replace} ns");
    for filter in ["plant/77/sensor7", "plant/77/+", "plant/77/#", "plant/+/sensor7", "#", "+/x"] {
        let mut found = 0_u64;
        let time = per_call(&[filter], |filter| {
            found = 0;
            retained.for_matches(filter.as_bytes(), |_, _| found += 1);
        });
        println!("  {filter:<16} {time:>9} ns, {found} found, {} ns each", time / found.max(1));
    }
    let start = Instant::now();
    for topic in &topics {
        retained.remove(topic.as_bytes());
    }
    println!("  remove {} ns", nanos(start.elapsed(), count));
}

/// Calls with every argument in turn for a while; the mean time of a call in nanoseconds.
fn per_call<T: AsRef<str>>(arguments: &[T], mut call: impl FnMut(&str)) -> u64 {
    let mut measure = |rounds: u128| {
        let start = Instant::now();
        for _ in 0..rounds {
            for argument in arguments {
                call(black_box(argument.as_ref()));
            }
        }
        start.elapsed()
    };
    // The first round says how many are worth it. No clock between rounds: it costs as much as a
    // call.
    let rounds = (100_000_000 / measure(1).as_nanos().max(1)).clamp(1, 1_000_000);
    nanos(measure(rounds), rounds as usize * arguments.len())
}

fn nanos(time: Duration, count: usize) -> u64 {
    (time.as_nanos() / count.max(1) as u128) as u64
}

/// All numbers below `count`, in an order that the memory of the machine does not guess.
fn shuffled(count: usize) -> impl Iterator<Item = usize> {
    // A step that has no divisor in common with powers of ten.
    (0..count).map(move |n| n.wrapping_mul(387_420_489) % count)
}

/// Numbers of one width, so that all paths are of one length.
fn spread(n: usize, count: usize) -> usize {
    10 * count + n
}
