//! How long a broker takes to start with a full store, and how much memory:
//! `cargo bench -p postrider-broker --bench restart [-- MESSAGES]`. Each start is a process of its own.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by a panic")]

use std::{env, fs, path::Path, process::Command, sync::Arc, time::Instant};

use bytes::Bytes;
use postrider_broker::Broker;
use postrider_proto::{
    Delivery, Fact, Message, Payload, Record, Time,
    wire::{ClientId, Properties, Publish, QoS, Topic},
};
use postrider_store::{Change, Disk, DiskOptions, Mode, Store};

/// What a store is full of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Messages of so many bytes that wait for so many sessions.
    Queued(usize, u64),
    /// Retained messages of so many bytes.
    Retained(usize),
}

const KINDS: [Kind; 5] = [
    Kind::Queued(64, 100),
    Kind::Queued(64, 100_000),
    Kind::Queued(64, 1),
    Kind::Queued(1024, 100),
    Kind::Retained(1024),
];
/// Records of one batch while the store is filled.
const BATCH: u64 = 10_000;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let texts: Vec<_> = arguments.iter().map(String::as_str).collect();
    match texts[..] {
        ["fill", kind, messages, folder] => {
            fill(Path::new(folder), KINDS[number(kind) as usize], number(messages));
        }
        ["start", kind, folder, hubs] => {
            start(Path::new(folder), KINDS[number(kind) as usize], number(hubs) as u16);
        }
        [messages] => run(number(messages)),
        [] => run(1_000_000),
        _ => panic!("usage: restart [MESSAGES]"),
    }
}

fn run(messages: u64) {
    for (at, kind) in KINDS.iter().enumerate() {
        let (at, messages) = (at.to_string(), messages.to_string());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        again(&["fill", &at, &messages, path]);
        let bytes = fs::metadata(folder.path().join("records.redb")).unwrap().len();
        println!("{messages} x {kind:?}; {} MB on disk", bytes >> 20);
        for hubs in ["1", "2"] {
            again(&["start", &at, path, hubs]);
        }
    }
}

/// Runs this program again, to the end.
fn again(arguments: &[&str]) {
    let status = Command::new(env::current_exe().unwrap()).args(arguments).status().unwrap();
    assert!(status.success(), "{arguments:?}: {status}");
}

fn start(path: &Path, kind: Kind, hubs: u16) {
    let begin = Instant::now();
    let broker = Broker::builder().store(path).hubs(hubs).start().unwrap();
    let started = begin.elapsed();
    let (at_start, after) = (memory("VmHWM:"), memory("VmRSS:"));
    let stats = broker.stats();
    match kind {
        Kind::Queued(_, sessions) => assert_eq!(stats.sessions, sessions),
        Kind::Retained(_) => assert!(stats.retained > 0),
    }
    println!("  {hubs} hub(s): {started:.2?}; peak {at_start}, then {after}");
    broker.shut_down();
}

/// Writes what a broker would have written.
fn fill(path: &Path, kind: Kind, messages: u64) {
    let disk = Disk::open(path, DiskOptions::default()).unwrap();
    let mut store = disk.handle(Mode::Durable, || ());
    let mut records: Box<dyn Iterator<Item = Record>> = match kind {
        Kind::Queued(bytes, sessions) => Box::new((1..=sessions).flat_map(move |owner| {
            let client_id = ClientId::new(&format!("client-{owner}")).unwrap();
            let about = Fact::Session { client_id, expiry_s: u32::MAX, detached: Some(Time(1)) };
            let queued = (1..=messages / sessions).map(move |number| queued(owner, number, bytes));
            [about].into_iter().chain(queued).map(move |fact| Record { owner, fact })
        })),
        Kind::Retained(bytes) => Box::new((1..=messages).map(move |number| {
            let topic = format!("plant/{}/sensor/{number}/temperature", number % 1_000);
            let message = Arc::new(message(&topic, true, bytes));
            Record { owner: 0, fact: Fact::Retained { message, stamp: (1, 0, number) } }
        })),
    };
    for batch in 1.. {
        let mut changes = records.by_ref().take(BATCH as usize).map(|record| {
            let value = record.value().unwrap();
            Change::Put(record.key().into(), value.into())
        });
        let Some(first) = changes.next() else { break };
        store.write_batch(batch, &mut [first].into_iter().chain(changes)).unwrap();
        store.wait(batch).unwrap();
    }
    drop(store);
    disk.close().unwrap();
}

fn queued(owner: u64, number: u64, bytes: usize) -> Fact {
    let message = Arc::new(message(&format!("plant/{owner}/temperature"), false, bytes));
    let delivery =
        Delivery { qos: QoS::AtLeastOnce, retain: false, subscription_ids: Default::default() };
    Fact::Queued { number, message, delivery }
}

fn message(topic: &str, retain: bool, bytes: usize) -> Message {
    let publish = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain,
        topic: Some(Topic::new(topic).unwrap()),
        packet_id: None,
        properties: Properties::new(),
        payload: Bytes::new(),
    };
    Message::from_publish(publish, Payload::Bytes(Bytes::from(vec![b'x'; bytes])), Time(1))
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// A line about the memory of this process, where the system tells.
fn memory(name: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map_or_else(|| "unknown".to_owned(), |kb| format!("{} MB", kb >> 10))
}
