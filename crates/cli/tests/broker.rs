//! `postrider broker`, as a process.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

#[test]
fn it_says_where_it_listens_serves_and_ends_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut broker = Running::start(&["--port", "0"]);
        let place = broker.place();
        assert!(place.starts_with("127.0.0.1:"), "{place}");
        let line = broker.line();
        assert!(line.starts_with("open files: "), "{line}");
        let mut client = TcpStream::connect(&place).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.write_all(CONNECT).unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0]);
        broker.signal(signal);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert_eq!(broker.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn each_listener_has_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let url = format!("unix:{}", path.display());
    let mut broker = Running::start(&["--listen", "tcp://127.0.0.1:0", "--listen", &url]);
    broker.place();
    assert_eq!(broker.line(), format!("listening on {url}"));
    assert!(path.exists());
    broker.signal(Signal::TERM);
    assert_eq!(broker.child.wait().unwrap().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn users_come_from_the_environment_and_anonymous_clients_are_refused_then() {
    let mut broker = Running::start_with("POSTRIDER_USERS", "ann:hush\nbob:x", &["--port", "0"]);
    for (connect, code) in [(CONNECT, 5), (CONNECT_ANN, 0)] {
        let mut client = TcpStream::connect(broker.place()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.write_all(connect).unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x20, 2, 0, code]);
    }
    broker.signal(Signal::TERM);
    assert_eq!(broker.child.wait().unwrap().code(), Some(0));
}

/// Its log goes to a full disk, or to nobody.
#[test]
#[cfg(target_os = "linux")]
fn a_log_that_cannot_be_written_ends_no_broker() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (reader, nobody) = std::io::pipe().unwrap();
    drop(reader);
    for log in [Stdio::from(full), Stdio::from(nobody)] {
        let mut broker =
            Running::spawn(command(&["--port", "0"]).env("RUST_LOG", "debug").stderr(log));
        let mut client = dial(&mut broker);
        exchange(&mut client, CONNECT, &[0x20, 2, 0, 0]);
        broker.signal(Signal::TERM);
        assert_eq!(broker.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_port_in_use_is_named() {
    let mut broker = Running::start(&["--port", "0"]);
    let place = broker.place();
    let output = run(&["--listen", &format!("tcp://{place}")]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("tcp://{place} is in use")), "{text}");
    broker.signal(Signal::TERM);
    assert_eq!(broker.child.wait().unwrap().code(), Some(0));
}

/// A file that is no socket is left there.
#[test]
fn a_path_that_is_taken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "mine").unwrap();
    check(&["--listen", &format!("unix:{}", path.display())], 1, "or choose another path");
    assert_eq!(std::fs::read(path).unwrap(), b"mine");
}

#[test]
fn what_cannot_work_is_refused_with_a_way_out() {
    check(&["--listen", "tcp://0.0.0.0:0"], 2, "--anonymous if that is what you want");
    check(&["--listen", "quic://127.0.0.1:0"], 2, "scheme 'quic' is not offered");
    check(&["--listen", "tcp://127.0.0.1:0?mode=x"], 2, "mode 'x' is none of");
    check(&["--listen", "tcp://127.0.0.1:0?mode=durable"], 2, "mode durable needs a store");
    check(&["--listen", "tcp://ann:x@127.0.0.1:0"], 2, "the URL of a listener has no user");
    check(&["--port", "0", "--user", "ann"], 2, "write NAME:PASSWORD");
    check(&["--port", "0", "--user", ":x"], 2, "write NAME:PASSWORD");
    check(&["--port", "70000"], 2, "--port");
    check(&["--port", "1", "--listen", "tcp://127.0.0.1:0"], 2, "cannot be used with");
    check(&["--hubs", "0"], 2, "--hubs");
    check(&["--receive-maximum", "0"], 2, "--receive-maximum");
    check(&["--max-packet-size", "1"], 2, "--max-packet-size");
    check(&["--max-keepalive", "x"], 2, "--max-keepalive");
}

/// MQTT 3.1.1, clean session, keep alive 60 s, client id "c".
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c";
/// The same with client id "s" and a session that stays.
const CONNECT_SUB: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01s";
/// The same with user name "ann" and password "hush".
const CONNECT_ANN: &[u8] = b"\x10\x18\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x03ann\x00\x04hush";

/// SIGKILL at any moment loses nothing that was acknowledged, in mode durable and process.
#[test]
fn what_was_acknowledged_survives_a_kill() {
    for mode in ["durable", "process"] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().to_str().unwrap();
        let args = ["--port", "0", "--store", store, "--mode", mode, "--hubs", "2"];
        let mut broker = Running::start(&args);
        let mut sub = dial(&mut broker);
        exchange(&mut sub, CONNECT_SUB, &[0x20, 2, 0, 0]);
        exchange(&mut sub, b"\x82\x06\0\x01\0\x01t\x01", &[0x90, 3, 0, 1, 1]);
        drop(sub);
        for round in 0..3_u8 {
            let mut sender = dial(&mut broker);
            exchange(&mut sender, CONNECT, &[0x20, 2, 0, 0]);
            for number in 0..50 {
                let publish = [0x32, 7, 0, 1, b't', 0, number + 1, round, number];
                exchange(&mut sender, &publish, &[0x40, 2, 0, number + 1]);
            }
            broker.signal(Signal::KILL);
            broker.child.wait().unwrap();
            broker = Running::start(&args);
        }
        let mut sub = dial(&mut broker);
        exchange(&mut sub, CONNECT_SUB, &[0x20, 2, 1, 0]);
        let mut found = Vec::new();
        for id in 1..=150_u8 {
            let mut message = [0; 9];
            sub.read_exact(&mut message).unwrap();
            assert_eq!(message[..7], [0x32, 7, 0, 1, b't', 0, id], "{mode}");
            found.push((message[7], message[8]));
        }
        let sent: Vec<_> =
            (0..3).flat_map(|round| (0..50).map(move |number| (round, number))).collect();
        assert_eq!(found, sent, "{mode}");
        broker.signal(Signal::TERM);
        assert_eq!(broker.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_store_in_use_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let mut broker = Running::start_with("POSTRIDER_STORE", store, &["--port", "0"]);
    broker.place();
    check(&["--port", "0", "--store", store], 1, "stop that one, or choose another folder");
    check(&["--port", "0", "--mode", "process"], 2, "--store");
    broker.signal(Signal::TERM);
    assert_eq!(broker.child.wait().unwrap().code(), Some(0));
    let file = folder.path().join("format");
    std::fs::write(&file, "?").unwrap();
    check(&["--port", "0", "--store", store], 1, "--quarantine");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "?", "nothing was wiped");
}

/// v5 v3.1.1 [MQTT-4.1.0-1]: a disk without room ends the broker, which says what is full and what to do. With room it
/// goes on, and nothing that it acknowledged is lost.
#[test]
fn a_full_disk_ends_it_with_a_way_out_and_loses_nothing() {
    for mode in ["durable", "process"] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().to_str().unwrap();
        let args = ["--port", "0", "--store", store, "--mode", mode];
        let mut broker = Running::start(&args);
        let mut sub = dial(&mut broker);
        exchange(&mut sub, CONNECT_SUB, &[0x20, 2, 0, 0]);
        exchange(&mut sub, b"\x82\x06\0\x01\0\x01t\x01", &[0x90, 3, 0, 1, 1]);
        drop(sub);
        broker.signal(Signal::TERM);
        assert_eq!(broker.child.wait().unwrap().code(), Some(0));

        let mut broker = Running::within(ROOM_KIB, &args);
        let mut sender = dial_as_sender(&mut broker);
        let mut acknowledged = 0_u16;
        while publishes(&mut sender, acknowledged + 1) {
            acknowledged += 1;
        }
        assert!(acknowledged > 0);
        assert_eq!(broker.child.wait().unwrap().code(), Some(1));
        let mut text = String::new();
        broker.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        let last = text.lines().last().unwrap();
        for part in
            ["error: no room on the disk for the store ", store, "make room and start it again"]
        {
            assert!(last.contains(part), "{text}");
        }

        let mut broker = Running::start(&args);
        let mut sub = dial(&mut broker);
        exchange(&mut sub, CONNECT_SUB, &[0x20, 2, 1, 0]);
        for number in 1..=acknowledged {
            let mut message = [0; 3 + 5 + PAYLOAD_LEN];
            sub.read_exact(&mut message).unwrap();
            assert!(message == *large(number), "{mode}: {number} of {acknowledged}");
            let [high, low] = number.to_be_bytes();
            sub.write_all(&[0x40, 2, high, low]).unwrap();
        }
        assert!(publishes(&mut dial_as_sender(&mut broker), 1));
        broker.signal(Signal::TERM);
        assert_eq!(broker.child.wait().unwrap().code(), Some(0));
    }
}

/// Longest file, in KiB.
const ROOM_KIB: u32 = 1024;
const PAYLOAD_LEN: usize = 4096;

/// PUBLISH at QoS 1 to "t", with its number as packet identifier and in its payload.
fn large(number: u16) -> Box<[u8]> {
    let [high, low] = number.to_be_bytes();
    let mut packet = vec![0x32, 0x85, 0x20, 0, 1, b't', high, low];
    packet.extend([high, low].repeat(PAYLOAD_LEN / 2));
    packet.into()
}

/// Whether it is acknowledged.
fn publishes(sender: &mut TcpStream, number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    let mut answer = [0; 4];
    let is_answered =
        sender.write_all(&large(number)).and_then(|()| sender.read_exact(&mut answer)).is_ok();
    assert!(!is_answered || answer == [0x40, 2, high, low], "{answer:?}");
    is_answered
}

fn dial_as_sender(broker: &mut Running) -> TcpStream {
    let mut sender = dial(broker);
    exchange(&mut sender, CONNECT, &[0x20, 2, 0, 0]);
    sender
}

fn dial(broker: &mut Running) -> TcpStream {
    let client = TcpStream::connect(broker.place()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

/// Sends a packet and waits for this answer.
fn exchange(client: &mut TcpStream, packet: &[u8], expected: &[u8]) {
    client.write_all(packet).unwrap();
    let mut answer = vec![0; expected.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expected);
}

/// A broker process; killed if the test fails.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    place: Option<String>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        Self::start_with("RUST_LOG", "warn", args)
    }

    fn start_with(name: &str, value: &str, args: &[&str]) -> Self {
        Self::spawn(command(args).env(name, value))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines, place: None }
    }

    /// With a limit on the length of its files, beyond which a write fails as on a full disk.
    fn within(room_kib: u32, args: &[&str]) -> Self {
        let whole = command(args);
        // The unit of `ulimit -f` is 512 bytes in POSIX. Without the trap the signal would end the process.
        let script = "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"";
        let mut limited = Command::new("sh");
        limited.args(["-c", script, &(2 * room_kib).to_string()]).arg(whole.get_program());
        limited.args(whole.get_args()).env_remove("POSTRIDER_USERS").env_remove("POSTRIDER_STORE");
        limited.env("RUST_LOG", "warn").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = limited.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines, place: None }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Host and port of the first line.
    fn place(&mut self) -> String {
        if let Some(place) = &self.place {
            return place.clone();
        }
        let line = self.line();
        let place = line.strip_prefix("listening on tcp://").expect(&line).to_owned();
        self.place.insert(place).clone()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command
        .arg("broker")
        .args(args)
        .env_remove("POSTRIDER_USERS")
        .env_remove("RUST_LOG")
        .env_remove("POSTRIDER_STORE");
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn check(args: &[&str], status: i32, expected: &str) {
    let output = run(args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
    assert!(text.contains(expected), "{args:?}: {text}");
}
