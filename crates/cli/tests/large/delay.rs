//! What a small message has to wait while a large one passes through the same hub.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use postrider::{QoS, blocking::Session};

use crate::{Place, process::Running};

/// Prints round trips of small messages through the broker, alone and beside a large message. At QoS 1 sessions that
/// outlive their connections wait for the disk.
pub(crate) fn run(len: u64) {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        compare(len, qos);
    }
}

fn compare(len: u64, qos: QoS) {
    println!("{qos:?}");
    let place = Place::new(len).unwrap();
    let (_broker, at) = Running::broker(&place.path("broker"));
    let url = format!("mqtt://{at}");
    let store = |name: &str| place.path(name).to_str().unwrap().to_owned();
    let subscriber = Running::role("subscribe", &[&url, &store("subscriber")]);
    subscriber.says("subscribed");
    let session = Session::builder(url.as_str(), "small").connect().unwrap();
    let begun = Instant::now();
    let alone = round_trips(&session, qos, || begun.elapsed() < Duration::from_secs(10));
    show("alone", alone);
    let is_done = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&is_done);
    let words = [url.clone(), store("publisher"), store("payload")];
    let sha256 = place.sha256.clone();
    let large = thread::spawn(move || {
        let publisher = Running::role("publish", &words.each_ref().map(String::as_str));
        println!("publisher: {}", publisher.line());
        subscriber.says(&sha256);
        done.store(true, Ordering::Release);
        println!("publisher: {}", publisher.line());
        publisher.peak_kb();
    });
    let beside = round_trips(&session, qos, || !is_done.load(Ordering::Acquire));
    show("beside", beside);
    large.join().unwrap();
}

fn round_trips(session: &Session, qos: QoS, mut goes_on: impl FnMut() -> bool) -> Vec<Duration> {
    let mut stream = session.subscribe_with("small", qos).open().unwrap();
    let mut times = Vec::new();
    while goes_on() {
        let begun = Instant::now();
        session.publish("small", "x").qos(qos).wait().unwrap();
        stream.next().unwrap();
        times.push(begun.elapsed());
    }
    times
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 1000].as_secs_f64() * 1000.0;
    println!(
        "{what}: {} round trips, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.2} ms",
        times.len(),
        at(500),
        at(990),
        at(999),
        at(1000)
    );
}
