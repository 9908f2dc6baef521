//! A publisher with a store, killed with SIGKILL again and again: nothing that was stored is lost, nothing at QoS 2 comes
//! twice, and the order holds.
//!
//! The victim is this program again, with arguments. It says every message on its output once that is stored.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use postrider::{Mode, Protocol, QoS, blocking};
use postrider_testing::TestBroker;
use tempfile::TempDir;

/// Victims that are killed, for each mode.
const ROUNDS: usize = 12;
/// Longest wait for a message.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["victim", url, store, mode, round] => victim(url, Path::new(store), mode, round),
        ["last", url, store, mode] => drain(url, Path::new(store), mode),
        // What `cargo test` passes on is for its own harness.
        _ => {
            for mode in ["durable", "process"] {
                let doubled = nothing_stored_is_lost(mode);
                println!("{mode}: {ROUNDS} kills, {doubled} messages at QoS 1 came again, ok");
            }
        }
    }
}

/// v5 v3.1.1 [MQTT-4.1.0-1]. Returns how many messages at QoS 1 came twice.
fn nothing_stored_is_lost(mode: &str) -> usize {
    let broker = TestBroker::start().unwrap();
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("victim.state");
    let listener = blocking::Session::builder(broker.url(), "listener").connect().unwrap();
    let mut arriving = listener.subscribe_with("k/+", QoS::ExactlyOnce).open().unwrap();
    let mut stored = Vec::new();
    for round in 0..ROUNDS {
        // In every third round there is no broker.
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let nowhere = format!("mqtt://{}", closed.local_addr().unwrap());
        let url = if round % 3 == 0 { nowhere.as_str() } else { broker.url() };
        drop(closed);
        let round_word = round.to_string();
        let words = ["victim", url, store.to_str().unwrap(), mode, &round_word];
        let mut victim = start(&words);
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        stored.extend(lines.take(20 + 37 * round % 90).map(Result::unwrap));
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    let last = start(&["last", broker.url(), store.to_str().unwrap(), mode]).wait().unwrap();
    assert!(last.success(), "what was open is finished: {last}");
    check(&stored, || Some(arriving.next_within(PATIENCE)?.text().unwrap().to_owned()))
}

fn check(stored: &[String], mut next: impl FnMut() -> Option<String>) -> usize {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut order: Vec<String> = Vec::new();
    while !stored.iter().all(|name| seen.contains_key(name)) {
        let name = next().expect("every stored message arrives");
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 {
            order.push(name);
        }
    }
    for qos in ["q1", "q2"] {
        let of = |names: &[String]| -> Vec<String> {
            names.iter().filter(|name| name.ends_with(qos)).cloned().collect()
        };
        let (sent, came) = (of(stored), of(&order));
        assert!(!sent.is_empty());
        let places: Vec<_> =
            sent.iter().map(|name| came.iter().position(|other| other == name)).collect();
        assert!(places.is_sorted(), "in the order in which they were published");
    }
    let doubled =
        |qos: &str| seen.iter().filter(|(name, count)| name.ends_with(qos) && **count > 1).count();
    assert_eq!(doubled("q2"), 0, "nothing at QoS 2 comes twice");
    doubled("q1")
}

fn start(words: &[&str]) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(words).stdout(Stdio::piped()).spawn().unwrap()
}

/// Publishes until it is killed.
fn victim(url: &str, store: &Path, mode: &str, round: &str) {
    let (mode, version) = settings(mode);
    let builder = blocking::Session::builder(url, "victim").store(store).store_mode(mode);
    let session = builder.version(version).start().unwrap();
    for number in 0.. {
        let (qos, name) =
            if number % 2 == 0 { (QoS::AtLeastOnce, "q1") } else { (QoS::ExactlyOnce, "q2") };
        let payload = format!("{round}:{number}:{name}");
        session.publish(format!("k/{name}"), &payload).qos(qos).stored().unwrap();
        println!("{payload}");
    }
}

/// Both modes and both versions have their turn.
fn settings(mode: &str) -> (Mode, Protocol) {
    if mode == "process" { (Mode::Process, Protocol::V311) } else { (Mode::Durable, Protocol::V5) }
}

/// Finishes what the others left.
fn drain(url: &str, store: &Path, mode: &str) {
    let (mode, version) = settings(mode);
    let builder = blocking::Session::builder(url, "victim").store(store).store_mode(mode);
    let session = builder.version(version).connect().unwrap();
    for message in session.pending().unwrap() {
        match session.complete(message.number) {
            Ok(_) | Err(postrider::PublishError::NotOpen(_)) => {}
            Err(error) => panic!("{message:?}: {error}"),
        }
    }
    session.disconnect().unwrap();
}
