//! `pub --store`: messages of scripts that wait for a broker, and their delivery.

use std::{net::TcpListener, path::Path};

use postrider_testing::{
    Script, ScriptedBroker,
    wire::{Ack, AckKind, Packet, PacketId, PacketType, Properties, ReasonCode},
};

use crate::process::{Broker, Program, command, run, run_with_input};

/// A folder for a store that is not there yet.
struct Spool(tempfile::TempDir);

impl Spool {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> String {
        self.0.path().join("spool").to_str().unwrap().to_owned()
    }

    /// Stores a message, with no broker anywhere.
    fn put(&self, args: &[&str]) {
        run(&[&["pub", "--store", &self.path()], args].concat()).check_out(&[]);
    }

    fn flush(&self, port: &str) -> Vec<String> {
        ["pub", "-p", port, "--store", &self.path(), "--flush"].map(str::to_owned).into()
    }

    fn flushed(&self, port: &str) -> crate::process::Ended {
        let args = self.flush(port);
        run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// A port where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

#[test]
fn messages_are_stored_without_a_broker_and_flushed_in_their_order() {
    let spool = Spool::new();
    spool.put(&["-t", "a/1", "-m", "one"]);
    spool.put(&["-t", "a/2", "-m", "two", "-q", "2", "-r"]);
    spool.put(&["-t", "a/3", "-m", "three", "--repeat", "2"]);
    let lines = ["pub", "--store", &spool.path(), "-t", "a/4", "-l"];
    run_with_input(&lines, b"four\nfive\n").check_out(&[]);
    let large = "x".repeat(3 << 20);
    let path = spool.0.path().join("large");
    std::fs::write(&path, &large).unwrap();
    spool.put(&["-t", "a/5", "-f", path.to_str().unwrap()]);

    let nobody = nobody();
    let ended = spool.flushed(&nobody);
    ended.check(1, &["7 messages wait in '", &nobody]);
    let broker = Broker::start(&[]);
    let mut subscriber = broker.subscriber(&["-t", "a/#", "-q", "2"]);
    let ended = spool.flushed(&broker.port);
    ended.check(0, &[]);
    assert_eq!(ended.out, [""; 0]);
    let large = format!("a/5 {large}");
    for line in ["a/1 one", "a/2 two", "a/3 three", "a/3 three", "a/4 four", "a/4 five", &large] {
        assert!(subscriber.line() == line, "{}", &line[..7]);
    }
    // It is empty; that is no error.
    spool.flushed(&broker.port).check(0, &[]);
    // And it goes on.
    let mut subscriber = broker.subscriber(&["-t", "b"]);
    spool.put(&["-t", "b", "-m", "later"]);
    spool.flushed(&broker.port).check(0, &[]);
    assert_eq!(subscriber.line(), "b later");
}

/// A typo must not look like an empty store for ever.
#[test]
fn a_store_that_is_not_there_is_said_and_not_made() {
    let spool = Spool::new();
    let path = spool.path() + "/typo";
    let args = ["pub", "-p", &nobody(), "--store", &path, "--flush"];
    let said = format!("--store '{path}' is not there: nothing to deliver");
    Program::start(&args).end().check(0, &[&said]);
    assert!(!Path::new(&path).exists());
}

/// What it says is stored survives the death of the process that said so, and of the one that flushes.
#[cfg(unix)]
#[test]
fn a_flush_that_is_killed_loses_nothing() {
    let spool = Spool::new();
    for turn in 0..3 {
        spool.put(&["-t", "a", "-m", &turn.to_string(), "-q", "2"]);
    }
    // It takes the messages and answers nothing.
    let publish = PacketType::Publish;
    let script = Script::new().accept().expect(publish).expect(publish).expect(publish);
    let silent = ScriptedBroker::start([script]).unwrap();
    let port = silent.url().rsplit(':').next().unwrap().to_owned();
    let flushing =
        Program::start(&spool.flush(&port).iter().map(String::as_str).collect::<Vec<_>>());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let is_publish = |packet: &Packet| packet.packet_type() == PacketType::Publish;
    let came = silent.wait_for(|all| all.iter().filter(|it| is_publish(&it.packet)).count() == 3);
    runtime.block_on(came).unwrap();
    flushing.signal(rustix::process::Signal::KILL);
    flushing.end();
    let broker = Broker::start(&[]);
    let mut subscriber = broker.subscriber(&["-t", "a", "-q", "2"]);
    spool.flushed(&broker.port).check(0, &[]);
    assert_eq!([subscriber.line(), subscriber.line(), subscriber.line()], ["a 0", "a 1", "a 2"]);
}

#[test]
fn a_refused_message_is_named_and_its_reason_is_the_status() {
    let spool = Spool::new();
    spool.put(&["-t", "secret", "-m", "1"]);
    let packet_id = PacketId::new(1).unwrap();
    let (reason, properties) = (ReasonCode::NotAuthorized, Properties::new());
    let refused = AckKind::PubAck.packet(Ack { packet_id, reason, properties });
    let script = Script::new().accept().expect(PacketType::Publish).send(refused);
    let broker = ScriptedBroker::start([script]).unwrap();
    let port = broker.url().rsplit(':').next().unwrap();
    spool.flushed(port).check(
        135,
        &[
            "0 messages wait in '",
            "message 1 to 'secret' was not delivered and is given up",
            "not authorized",
        ],
    );
    // It is out of the store.
    let broker = Broker::start(&[]);
    spool.flushed(&broker.port).check(0, &[]);
}

#[test]
fn a_refused_connection_has_its_own_status_and_keeps_the_message() {
    let spool = Spool::new();
    spool.put(&["-t", "a", "-m", "1"]);
    let script = Script::new().refuse(ReasonCode::NotAuthorized);
    let broker = ScriptedBroker::start([script]).unwrap();
    let port = broker.url().rsplit(':').next().unwrap();
    spool.flushed(port).check(135, &["1 message waits in '"]);
    let broker = Broker::start(&[]);
    let mut subscriber = broker.subscriber(&["-t", "a"]);
    spool.flushed(&broker.port).check(0, &[]);
    assert_eq!(subscriber.line(), "a 1");
}

/// Scripts that run at the same time wait for each other.
#[test]
fn many_scripts_store_at_the_same_time() {
    let spool = Spool::new();
    let scripts: Vec<_> = (0..4)
        .map(|turn: i32| {
            let turn = turn.to_string();
            Program::start(&["pub", "--store", &spool.path(), "-t", "a", "-m", &turn])
        })
        .collect();
    scripts.into_iter().for_each(|script| script.end().check_out(&[]));
    let broker = Broker::start(&[]);
    let mut subscriber = broker.subscriber(&["-t", "a"]);
    spool.flushed(&broker.port).check(0, &[]);
    let mut lines: Vec<_> = (0..4).map(|_| subscriber.line()).collect();
    lines.sort();
    assert_eq!(lines, (0..4).map(|turn| format!("a {turn}")).collect::<Vec<_>>());
}

#[test]
fn options_that_do_not_go_with_a_store_are_named() {
    let spool = Spool::new();
    let path = spool.path();
    let qos_0 = run(&["pub", "--store", &path, "-t", "a", "-m", "x", "-q", "0"]);
    qos_0.check(2, &["--store needs --qos 1 or 2"]);
    run(&["pub", "--flush"]).check(2, &["--store <DIR>"]);
    run(&["pub", "--store", &path, "--flush", "-m", "x"]).check(2, &["--flush", "cannot be used"]);
    assert!(!Path::new(&path).exists(), "nothing was made");
    // The variable of the broker is not ours.
    let broker = Broker::start(&[]);
    let mut publish = command(&broker.args("pub", &["-t", "a", "-m", "x"]));
    publish.env("POSTRIDER_STORE", &path);
    Program::spawn(&mut publish).end().check_out(&[]);
    assert!(!Path::new(&path).exists());
    publish.env("POSTRIDER_SPOOL", &path);
    Program::spawn(&mut publish).end().check_out(&[]);
    assert!(Path::new(&path).exists());
}

/// Under the name of Mosquitto's program too.
#[cfg(unix)]
#[test]
fn a_store_serves_mosquitto_pub_too() {
    let spool = Spool::new();
    let args = ["--store", &spool.path(), "-t", "a", "-m", "x"];
    let mut publish = crate::process::command_named("mosquitto_pub", &args);
    Program::spawn(&mut publish).end().check_out(&[]);
    let broker = Broker::start(&[]);
    let mut subscriber = broker.subscriber(&["-t", "a"]);
    spool.flushed(&broker.port).check(0, &[]);
    assert_eq!(subscriber.line(), "a x");
}

/// It would end the session there, and the messages would be gone.
#[test]
fn a_broker_leaves_the_store_of_scripts_alone() {
    let spool = Spool::new();
    spool.put(&["-t", "a", "-m", "1"]);
    for options in [&[][..], &["--hubs", "2"], &["--quarantine"]] {
        let listen = ["broker", "--listen", "tcp://127.0.0.1:0", "--store", &spool.path()];
        let refused = run(&[&listen, options].concat());
        refused.check(1, &["is a client's: choose another folder"]);
    }
    let broker = Broker::start(&[]);
    let mut subscriber = broker.subscriber(&["-t", "a"]);
    spool.flushed(&broker.port).check(0, &[]);
    assert_eq!(subscriber.line(), "a 1");
}
