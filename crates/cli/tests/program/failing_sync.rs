//! A disk that does not sync any more, under the real program.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::process::{Broker, Ended, Program, command, run};

/// v5 v3.1.1 [MQTT-4.1.0-1]: a failed sync ends the broker, which names the file and says what to do. Started again on a
/// disk that syncs it has all that it acknowledged.
#[test]
fn a_failed_sync_ends_the_broker_and_loses_nothing() {
    for mode in ["durable", "process"] {
        let disk = Disk::new();
        let store = disk.path("broker");
        let args = ["--store", &store, "--mode", mode];
        let listen = ["broker", "--listen", "tcp://127.0.0.1:0"];
        let mut program = Program::spawn(&mut disk.command(&[&listen[..], &args].concat()));
        let line = program.line();
        let port = line.strip_prefix("listening on tcp://127.0.0.1:").expect(&line).to_owned();
        let subscriber = ["-i", "sub", "-c", "-q", "1", "-t", "a"];
        run(&[&["sub", "-p", &port], &subscriber[..], &["-E"]].concat()).check(0, &[]);
        let publish =
            |message: &str| run(&["pub", "-p", &port, "-t", "a", "-q", "1", "-m", message]);
        for message in ["1", "2", "3"] {
            publish(message).check_out(&[]);
        }

        disk.fail();
        let ended = if mode == "durable" {
            let refused = publish("4");
            assert!(refused.status != Some(0), "it is not acknowledged: {refused:?}");
            program.end()
        } else {
            // Nobody waits for a sync but the end.
            publish("4").check_out(&[]);
            program.signal(rustix::process::Signal::TERM);
            program.end()
        };
        told(&ended, &store, "see to the disk and start it again");

        // All that was acknowledged is there, and perhaps more.
        let broker = Broker::start(&args);
        let expected = if mode == "durable" { &["1", "2", "3"][..] } else { &["1", "2", "3", "4"] };
        let count = expected.len().to_string();
        let ended = broker.run("sub", &[&subscriber[..], &["-C", &count]].concat());
        ended.check(0, &[]);
        assert_eq!(ended.out, expected, "{mode}");
    }
}

/// Whichever sync of `pub --store` fails that the message needs, it does not say that it is stored. All that it said so of is
/// delivered later, in order, also when the store could not be closed.
#[test]
fn a_failed_sync_ends_a_publisher_and_loses_nothing() {
    let disk = Disk::new();
    let store = disk.path("spool");
    let publish = |number: usize, syncs: usize| {
        let message = number.to_string();
        let publish = ["pub", "--store", &store, "-t", "a", "-m", &message];
        let mut command = disk.command(&publish);
        Program::spawn(command.env("SYNCS_BEFORE", syncs.to_string())).end()
    };
    publish(0, 0).check_out(&[]);
    disk.fail();
    let mut number = 1;
    loop {
        let ended = publish(number, number - 1);
        if ended.status == Some(0) {
            ended.check(0, &["all is stored, but the store cannot be closed: ", "(os error 5)"]);
            break;
        }
        told(&ended, &store, "look at the disk and its permissions, then open it again");
        number += 1;
    }
    assert!(number > 2, "it syncs to open the store and to store the message");

    let broker = Broker::start(&[]);
    let mut subscriber = broker.subscriber(&["-t", "a", "-q", "1"]);
    run(&["pub", "-p", &broker.port, "--store", &store, "--flush"]).check(0, &[]);
    assert_eq!(subscriber.line(), "a 0");
    // Those in between were perhaps stored, and perhaps not.
    let mut before = 0;
    while before < number {
        let line = subscriber.line();
        let came = line.strip_prefix("a ").and_then(|number| number.parse().ok()).expect(&line);
        assert!(came > before, "{came} after {before}");
        before = came;
    }
}

/// Fails unless the program ended over its store, with what the system said of which file, and a way out.
fn told(ended: &Ended, store: &str, way_out: &str) {
    let failed = format!("the store {store} failed: ");
    ended.check(1, &[&failed, "(os error 5)", way_out]);
    let rest = ended.err.split(&failed).nth(1).unwrap();
    let file = PathBuf::from(store).join(rest.split(' ').next().unwrap());
    let is_named = rest.starts_with("its folder ") || fs::exists(file).unwrap();
    assert!(is_named, "{}", ended.err);
}

/// A folder whose files cannot be synced once it says so.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let source = disk.path("sync.c");
        fs::write(&source, SYNC).unwrap();
        // What links Rust programs here.
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o", &disk.path("sync.so"), &source]);
        let output = compiler.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        disk
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// The program, on this disk.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(args);
        command.env("LD_PRELOAD", self.path("sync.so")).env("SYNC_FAILS", self.path("fails"));
        command
    }

    fn fail(&self) {
        fs::write(self.path("fails"), "").unwrap();
    }
}

/// Takes the place of the system's two functions while the file exists that the environment names, from the first call
/// or a later one on.
const SYNC: &str = r#"
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(void) {
    static int calls;
    const char *path = getenv("SYNC_FAILS");
    const char *before = getenv("SYNCS_BEFORE");
    if (!path || access(path, F_OK) != 0) return 0;
    return __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST) >= (before ? atoi(before) : 0);
}

int fsync(int file) {
    if (fails()) { errno = EIO; return -1; }
    return syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    if (fails()) { errno = EIO; return -1; }
    return syscall(SYS_fdatasync, file);
}
"#;
