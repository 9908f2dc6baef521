//! A kept session loses nothing, however `sub` ends: what was not written stays with the broker.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, PipeReader, Read, pipe},
    process::{Child, Stdio},
};

use crate::process::{Broker, Ended, command, run, run_with_input};

#[test]
fn what_was_not_printed_comes_to_the_next_one() {
    let broker = Broker::start(&[]);
    for (version, qos) in [("5", "1"), ("5", "2"), ("311", "1"), ("311", "2")] {
        let session = Session::filled(&broker, version, qos, &["1", "2", "3", "4", "5"]);
        session.check(&["-C", "1"], &["1"]);
        // Nothing is printed, and nothing taken.
        session.check(&["-E"], &[]);
        session.check(&["--retained-only"], &[]);
        session.check(&["-C", "4"], &["2", "3", "4", "5"]);
        session.check_empty();
    }
}

/// They are over as if they were printed; else they would hold up what comes behind them.
#[test]
fn what_is_left_out_does_not_come_again() {
    let broker = Broker::start(&["--receive-maximum", "9"]);
    for qos in ["1", "2"] {
        let session = Session::filled(&broker, "5", qos, &["1", "2"]);
        for (topic, text) in [("kept/hidden", "x"), ("kept/other", "y"), ("kept", "3")] {
            broker.publish(&["-t", topic, "-m", text, "-q", qos]);
        }
        // Both of these filters have the message.
        let both = ["-t", "kept/#", "-t", "+/hidden", "-T", "kept/hidden"];
        session.check(&[&both[..], &["-C", "4"]].concat(), &["1", "2", "y", "3"]);
        for (topic, text) in [("kept/other", "x"), ("kept", "4"), ("kept/hidden", "z")] {
            broker.publish(&["-t", topic, "-m", text, "-q", qos]);
        }
        // It is still subscribed to more than this run names.
        let ended = session.run(&["-t", "kept", "-C", "1"]);
        ended.check(0, &["no --topic names, or that have ended: 1\n"]);
        assert_eq!(ended.out, ["4"]);
        // What came behind the last one was left.
        session.check(&["-t", "kept/#", "-C", "1"], &["z"]);
        session.check_empty();
    }
}

/// With more messages than 3.1.1 can have on their way, and than one run may leave unacknowledged.
#[test]
fn a_long_queue_is_read_a_part_at_a_time() {
    let broker = Broker::start(&[]);
    let numbers: Vec<_> = (0..3_000).map(|number| number.to_string()).collect();
    let texts: Vec<_> = numbers.iter().map(String::as_str).collect();
    for version in ["5", "311"] {
        let session = Session::filled(&broker, version, "1", &texts);
        session.check(&["-E"], &[]);
        session.check(&["-C", "1"], &texts[..1]);
        session.check(&["-C", "1999"], &texts[1..2_000]);
        // The broker may have few of them on their way.
        let few: &[&str] = match version {
            "5" => &["-C", "1000", "-D", "connect", "receive-maximum", "5"],
            _ => &["-C", "1000"],
        };
        session.check(few, &texts[2_000..]);
        session.check_empty();
    }
}

#[test]
fn a_closed_pipe_loses_nothing() {
    let broker = Broker::start(&[]);
    for (version, qos) in [("5", "1"), ("311", "2")] {
        let texts = ["1", "2", "3", "4"].map(|text| text.repeat(MORE_THAN_A_PIPE));
        let texts = texts.each_ref().map(String::as_str);
        let session = Session::filled(&broker, version, qos, &texts);
        let (reader, first) = session.start_piped();
        check_first(&reader, texts[0]);
        drop(reader);
        let ended = first.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
        assert_eq!(ended.status.code(), Some(0));
        session.check(&["-C", "3"], &texts[1..]);
        session.check_empty();
    }
}

/// Messages that are read from files while they are printed.
#[test]
fn a_closed_pipe_loses_no_large_message() {
    let broker = Broker::start(&[]);
    let texts = ["1", "2", "3"].map(|text| text.repeat(2_000_000));
    let texts = texts.each_ref().map(String::as_str);
    let session = Session::filled(&broker, "5", "1", &texts);
    let (mut reader, first) = session.start_piped();
    reader.read_exact(&mut [0; 100_000]).unwrap();
    drop(reader);
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(0));
    session.check(&["-C", "3"], &texts);
    session.check_empty();
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_loses_nothing() {
    let broker = Broker::start(&[]);
    let session = Session::filled(&broker, "5", "2", &["1", "2", "3"]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut program = command(&session.args(&[]));
    let output = program.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    session.check(&["-C", "3"], &["1", "2", "3"]);
    session.check_empty();
}

/// The reader has paused, so that the end does not wait for it.
#[test]
#[cfg(unix)]
fn a_signal_and_the_time_lose_nothing() {
    use rustix::process::{Pid, Signal, kill_process};

    let broker = Broker::start(&[]);
    let texts = ["1", "2", "3", "4"].map(|text| text.repeat(MORE_THAN_A_PIPE));
    let texts = texts.each_ref().map(String::as_str);
    for (args, status) in [(&[][..], 0), (&["-W", "2"][..], 27)] {
        let session = Session::filled(&broker, "5", "2", &texts);
        let (reader, first) = session.start_piped_with(args);
        check_first(&reader, texts[0]);
        if status == 0 {
            kill_process(Pid::from_child(&first), Signal::INT).unwrap();
        }
        assert_eq!(first.wait_with_output().unwrap().status.code(), Some(status));
        drop(reader);
        session.check(&["-C", "3"], &texts[1..]);
        session.check_empty();
    }
}

/// What was printed may come again.
#[test]
fn a_kill_loses_nothing() {
    let broker = Broker::start(&[]);
    let texts: Vec<_> = (0..3_000).map(|number| format!("{number:0>90}")).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    for (version, qos) in [("5", "1"), ("311", "1"), ("5", "2")] {
        let session = Session::filled(&broker, version, qos, &texts);
        let (reader, mut first) = session.start_piped();
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        let mut printed: Vec<_> = lines.by_ref().take(3).collect();
        first.kill().unwrap();
        first.wait().unwrap();
        // Written and not read yet; the last line may be a part of one.
        printed.extend(lines);
        assert!(printed.len() < texts.len());
        broker.publish(&["-t", "kept", "-m", "end", "-q", qos]);
        let (reader, mut second) = session.start_piped();
        let lines = BufReader::new(reader).lines().map(Result::unwrap);
        printed.extend(lines.take_while(|line| line != "end"));
        second.kill().unwrap();
        second.wait().unwrap();
        let printed: HashSet<_> = printed.iter().map(String::as_str).collect();
        let missing = texts.iter().filter(|text| !printed.contains(**text)).count();
        assert_eq!(missing, 0, "{version} {qos}");
        session.clear();
    }
}

/// So that one after the other is written.
const MORE_THAN_A_PIPE: usize = 300_000;

/// Reads one message, and the first byte of the next: the first one is done with then.
fn check_first(mut reader: &PipeReader, text: &str) {
    let mut came = vec![0; text.len() + 2];
    reader.read_exact(&mut came).unwrap();
    assert!(came.starts_with(text.as_bytes()));
}

/// A kept session on `kept/#`.
struct Session<'a> {
    broker: &'a Broker,
    options: [&'a str; 7],
}

impl<'a> Session<'a> {
    /// With these messages to `kept`.
    fn filled(broker: &'a Broker, version: &'a str, qos: &'a str, texts: &[&str]) -> Self {
        let options = ["-c", "-i", "kept", "-V", version, "-q", qos];
        let session = Self { broker, options };
        session.check(&["-E", "-t", "kept/#"], &[]);
        let folder = tempfile::tempdir().unwrap();
        for text in texts.iter().filter(|text| text.len() > 100) {
            let path = folder.path().join("payload");
            fs::write(&path, text).unwrap();
            broker.publish(&["-t", "kept", "-f", path.to_str().unwrap(), "-q", qos]);
        }
        let lines: Vec<_> = texts.iter().copied().filter(|text| text.len() <= 100).collect();
        let lines = lines.join("\n");
        run_with_input(&broker.args("pub", &["-t", "kept", "-q", qos, "-l"]), lines.as_bytes())
            .check_out(&[]);
        session
    }

    fn args<'b>(&'b self, args: &'b [&'b str]) -> Vec<&'b str> {
        let topic: &[&str] = if args.contains(&"-t") { &[] } else { &["-t", "kept/#"] };
        self.broker.args("sub", &[&self.options[..], topic, args].concat())
    }

    fn run(&self, args: &[&str]) -> Ended {
        run(&self.args(args))
    }

    /// Runs `sub` to its end, which prints these.
    fn check(&self, args: &[&str], lines: &[&str]) {
        let ended = self.run(args);
        ended.check(0, &[]);
        assert_eq!(ended.err, "", "{args:?}");
        assert!(ended.out == lines, "{args:?}: {} lines", ended.out.len());
    }

    /// Nothing waits any more.
    fn check_empty(&self) {
        let qos = self.options[6];
        self.broker.publish(&["-t", "kept", "-m", "the last", "-q", qos]);
        self.check(&["-C", "1"], &["the last"]);
        self.clear();
    }

    /// Ends it.
    fn clear(&self) {
        let id = ["-i", "kept", "-E", "-t", "none"];
        self.broker.run("sub", &id).check_out(&[]);
    }

    /// Starts `sub` with a pipe to read from.
    fn start_piped(&self) -> (PipeReader, Child) {
        self.start_piped_with(&[])
    }

    fn start_piped_with(&self, args: &[&str]) -> (PipeReader, Child) {
        let (output, input) = pipe().unwrap();
        let mut program = command(&self.args(args));
        let child = program.stdout(input).stderr(Stdio::piped()).spawn().unwrap();
        (output, child)
    }
}
