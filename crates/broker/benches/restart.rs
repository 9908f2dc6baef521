//! How long a broker takes to start with a full store: `cargo bench -p postrider-broker --bench restart -- MESSAGES`.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by a panic")]

use std::{fs, path::Path, sync::Arc, time::Instant};

use bytes::Bytes;
use postrider_broker::Broker;
use postrider_proto::{
    Delivery, Fact, Message, Payload, Record, Time,
    wire::{ClientId, Properties, Publish, QoS, Topic},
};
use postrider_store::{Change, Disk, DiskOptions, Mode, Store};

/// Sessions that share the messages.
const SESSIONS: u64 = 100;
/// Bytes of a payload.
const PAYLOAD: usize = 64;

fn main() {
    // Cargo adds `--bench`.
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let messages: u64 = asked.unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), messages);
    let bytes = fs::metadata(folder.path().join("records.redb")).unwrap().len();
    println!(
        "{messages} messages of {PAYLOAD} B in {SESSIONS} sessions; {} MB on disk",
        bytes >> 20
    );
    for hubs in [1, 2, 1] {
        let begin = Instant::now();
        let broker = Broker::builder().store(folder.path()).hubs(hubs).start().unwrap();
        let started = begin.elapsed();
        assert_eq!(broker.stats().sessions, SESSIONS);
        let per_million = started.as_secs_f64() * 1e6 / messages as f64;
        println!("{hubs} hub(s): {started:.2?}, {per_million:.2} s per million; peak {}", peak());
        broker.shut_down();
    }
}

/// Writes what a broker would have written for sessions whose clients are away.
fn fill(path: &Path, messages: u64) {
    let disk = Disk::open(path, DiskOptions::default()).unwrap();
    let mut store = disk.handle(Mode::Durable, || ());
    for session in 1..=SESSIONS {
        let client_id = ClientId::new(&format!("client-{session}")).unwrap();
        let about = Fact::Session { client_id, expiry_s: u32::MAX, detached: Some(Time(1)) };
        let queued = (1..=messages / SESSIONS).map(|number| queued(session, number));
        let records = [about].into_iter().chain(queued);
        let mut changes = records.map(|fact| {
            let record = Record { owner: session, fact };
            Change::Put(record.key().into(), record.value().unwrap().into())
        });
        store.write_batch(session, &mut changes).unwrap();
        store.wait(session).unwrap();
    }
    drop(store);
    disk.close().unwrap();
}

fn queued(session: u64, number: u64) -> Fact {
    let publish = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: Some(Topic::new(&format!("plant/{session}/temperature")).unwrap()),
        packet_id: None,
        properties: Properties::new(),
        payload: Bytes::new(),
    };
    let payload = Payload::Bytes(Bytes::from(vec![number as u8; PAYLOAD]));
    let message = Arc::new(Message::from_publish(publish, payload, Time(1)));
    let delivery =
        Delivery { qos: QoS::AtLeastOnce, retain: false, subscription_ids: Default::default() };
    Fact::Queued { number, message, delivery }
}

/// The most memory that this process has used, where the system tells.
fn peak() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |kb| kb.trim().to_owned())
}
