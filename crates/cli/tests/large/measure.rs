//! One message from a publisher through a broker to many subscribers, and what memory that takes.

use std::time::Instant;

use crate::{Place, process::Running};

/// Fails unless every subscriber gets what was published. Memory is printed, not judged.
pub(crate) fn run(len: u64, subscribers: u32) {
    let place = Place::new(len).unwrap();
    let (broker, at) = Running::broker(&place.path("broker"));
    let url = format!("mqtt://{at}");
    let store = |name| place.path(name).to_str().unwrap().to_owned();
    let idle = broker.peak_kb_so_far();
    let subscriber = Running::role("subscribe", &[&url, &store("subscriber")]);
    subscriber.says("subscribed");
    let others = subscribers.saturating_sub(1);
    let crowd = Running::role("crowd", &[&at, &others.to_string()]);
    crowd.says("subscribed");
    let begun = Instant::now();
    let publisher = Running::role("publish", &[&url, &store("publisher"), &store("payload")]);
    println!("publisher: {}", publisher.line());
    println!("publisher: {}", publisher.line());
    subscriber.says(&place.sha256);
    println!("subscriber: whole after {:.1} s", begun.elapsed().as_secs_f64());
    subscriber.says("end");
    for _ in 0..others {
        crowd.says(&place.sum.to_string());
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{len} bytes at QoS 2 to {subscribers} subscribers in {took:.1} s, SHA-256 equal; peak \
         memory: publisher {}, broker {} (idle {}), subscriber {}",
        megabytes(publisher.peak_kb()),
        megabytes(broker.peak_kb_so_far()),
        megabytes(idle),
        megabytes(subscriber.peak_kb()),
    );
}

fn megabytes(kb: u64) -> String {
    format!("{:.1} MB", kb as f64 * 1024.0 / 1e6)
}
