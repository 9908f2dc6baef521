//! `pub` and `sub` through `broker`.

use std::{
    fs,
    io::{BufRead, BufReader, pipe},
    path::Path,
    process::Stdio,
};

use crate::process::{Broker, Program, command, run, run_with_input};

#[test]
fn messages_go_round_at_every_qos_and_version() {
    let broker = Broker::start(&[]);
    for version in ["auto", "mqttv5", "mqttv311", "mqttv31"] {
        for qos in ["0", "1", "2"] {
            let subscriber = ["-V", version, "-q", qos, "-t", "a/+", "-C", "3"];
            let mut subscriber = broker.subscriber(&subscriber);
            broker.publish(&["-V", version, "-q", qos, "-t", "a/b", "-m", "21.5"]);
            assert_eq!(subscriber.line(), "a/b 21.5", "{version} {qos}");
            broker.publish(&["-V", version, "-q", qos, "-t", "a/c", "-n"]);
            subscriber.end().check_out(&["a/c "]);
        }
    }
}

#[test]
fn a_payload_of_any_bytes_arrives_unchanged() {
    let broker = Broker::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("payload");
    let path = path.to_str().unwrap();
    let bytes: Vec<u8> =
        (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(path, &bytes).unwrap();
    broker.publish(&["-t", "file", "-f", path, "-q", "1", "-r"]);
    let input =
        run_with_input(&broker.args("pub", &["-t", "input", "-s", "-q", "2", "-r"]), &bytes);
    input.check_out(&[]);
    for topic in ["file", "input"] {
        let mut subscriber = command(&broker.args("sub", &["-t", topic, "-C", "1", "-q", "1"]));
        let mut output = subscriber.output().unwrap();
        assert_eq!(output.stdout.pop(), Some(b'\n'), "{topic}");
        assert!(output.stdout == bytes, "{topic}: {} bytes came", output.stdout.len());
        assert_eq!(output.status.code(), Some(0));
    }
}

/// What stands around a large payload stays in its place.
/// What one opening of it takes, the next one does not find again.
#[test]
#[cfg(unix)]
fn a_named_pipe_is_a_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe").to_str().unwrap().to_owned();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let broker = Broker::start(&[]);
    let mut subscriber = broker.subscriber(&["-t", "a"]);
    let publishing = Program::start(&broker.args("pub", &["-t", "a", "-f", &path]));
    fs::write(&path, "21.5").unwrap();
    publishing.end().check_out(&[]);
    assert_eq!(subscriber.line(), "a 21.5");
}

#[test]
fn a_large_payload_stands_in_its_format() {
    let broker = Broker::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("payload");
    let text = "0123456789".repeat(200_000);
    fs::write(&path, &text).unwrap();
    for (format, expected) in [
        ("%t <%p> %l", format!("a/b <{text}> 2000000")),
        ("%p%p", format!("{text}{text}")),
        ("%5p|%-p", format!("01234|{text}{}", " ".repeat(text.len()))),
    ] {
        broker.publish(&["-t", "a/b", "-f", path.to_str().unwrap(), "-q", "2", "-r"]);
        let ended = broker.run("sub", &["-t", "a/b", "-C", "1", "-q", "2", "-F", format]);
        assert!(ended.out == [expected], "{format}: {} lines", ended.out.len());
    }
}

#[test]
fn count_ends_with_status_0_and_time_with_27() {
    let broker = Broker::start(&[]);
    for number in ["1", "2", "3"] {
        broker.publish(&["-t", &format!("n/{number}"), "-m", number, "-r", "-q", "1"]);
    }
    let ended = broker.run("sub", &["-t", "n/1", "-t", "n/2", "-t", "n/3", "-C", "3", "-W", "50"]);
    ended.check_out(&["1", "2", "3"]);
    let ended = broker.run("sub", &["-t", "n/2", "-C", "2", "-W", "1"]);
    ended.check(27, &[]);
    assert_eq!((ended.out.as_slice(), ended.err.as_str()), (&["2".to_owned()][..], ""));
}

#[test]
fn a_retained_message_is_cleared_and_may_be_left_out() {
    let broker = Broker::start(&[]);
    broker.publish(&["-t", "state", "-m", "up", "-r", "-q", "1"]);
    broker.run("sub", &["-t", "state", "-C", "1"]).check_out(&["up"]);
    broker.run("sub", &["-t", "state", "-R", "-W", "1"]).check(27, &[]);
    broker.publish(&["-t", "state", "-n", "-r", "-q", "1"]);
    let ended = broker.run("sub", &["-t", "state", "-W", "1"]);
    ended.check(27, &[]);
    assert!(ended.out.is_empty(), "{ended:?}");
}

#[test]
fn a_message_that_fits_several_filters_is_printed_once() {
    let broker = Broker::start(&[]);
    for version in ["5", "311"] {
        let filters =
            ["-V", version, "-t", "a/#", "-t", "a/b", "-t", "+/b", "-t", "a/#", "-C", "4"];
        let subscriber = broker.subscriber(&filters);
        for (topic, text) in [("a/b", "1"), ("a/c", "2"), ("c/b", "3")] {
            broker.publish(&["-t", topic, "-m", text]);
        }
        subscriber.end().check_out(&["a/b 1", "a/c 2", "c/b 3"]);
    }
}

#[test]
fn a_kept_session_has_what_came_meanwhile() {
    let broker = Broker::start(&[]);
    for version in ["5", "311"] {
        let topic = format!("kept/{version}");
        let session = ["-V", version, "-c", "-i", version, "-q", "1", "-t", &topic];
        broker.run("sub", &[&session[..], &["-W", "1"]].concat()).check(27, &[]);
        for text in ["1", "2", "3"] {
            broker.publish(&["-t", &topic, "-m", text, "-q", "1"]);
        }
        let ended = broker.run("sub", &[&session[..], &["-C", "3", "-W", "30"]].concat());
        ended.check(0, &[]);
        assert_eq!(ended.out, ["1", "2", "3"], "{ended:?}");
    }
}

/// They come before the program has subscribed again.
#[test]
fn a_kept_session_has_thousands_of_messages() {
    let broker = Broker::start(&[]);
    let session = ["-c", "-i", "many", "-q", "1", "-t", "many"];
    broker.run("sub", &[&session[..], &["-E"]].concat()).check_out(&[]);
    let numbers: Vec<_> = (0..5_000).map(|number| number.to_string()).collect();
    let lines = broker.args("pub", &["-t", "many", "-q", "1", "-l"]);
    run_with_input(&lines, numbers.join("\n").as_bytes()).check_out(&[]);
    let ended = broker.run("sub", &[&session[..], &["-C", "5000"]].concat());
    ended.check(0, &[]);
    assert_eq!(ended.out, numbers);
}

#[test]
fn a_wrong_password_is_said_with_the_user() {
    let broker = Broker::start(&["--user", "ann:secret"]);
    let args = ["-t", "a", "-m", "x", "-q", "1"];
    broker.publish(&[&args[..], &["-u", "ann", "-P", "secret"]].concat());
    let url = format!("mqtt://ann:secret@127.0.0.1:{}", broker.port);
    run(&[&["pub", "--url", &url], &args[..]].concat()).check_out(&[]);
    let wrong = broker.run("pub", &[&args[..], &["-u", "ann", "-P", "hush"]].concat());
    wrong.check(134, &["error: ", "refused user 'ann'", "check user name and password"]);
    assert!(!wrong.err.contains("hush"), "{}", wrong.err);
    let nobody = broker.run("sub", &["-t", "a"]);
    nobody.check(135, &["error: ", "refused a connection without user name"]);
}

#[test]
fn a_message_the_broker_does_not_take_is_an_error() {
    let broker = Broker::start(&["--max-packet-size", "1000"]);
    let text = "x".repeat(2000);
    let ended = broker.run("pub", &["-t", "a", "-m", &text, "-q", "1", "-V", "5"]);
    ended.check(1, &["'a' was not published", "2000 bytes is too large"]);
    // Before 5.0 the broker can only hang up.
    let ended = broker.run("pub", &["-t", "a", "-m", &text, "-q", "1", "-V", "311"]);
    ended.check(1, &["'a' was not published"]);
}

/// A payload above 1 MiB comes in pieces: before 5.0 the broker must read on although it takes no other message.
#[test]
fn a_large_message_passes_a_broker_that_takes_one_at_a_time() {
    let broker = Broker::start(&["--receive-maximum", "1"]);
    let input = vec![b'x'; 2_000_000];
    for version in ["5", "311"] {
        let args = ["-V", version, "-q", "2", "-t", "large", "-s", "-r"];
        run_with_input(&broker.args("pub", &args), &input).check_out(&[]);
        let ended = broker.run("sub", &["-t", "large", "-C", "1", "-q", "2"]);
        ended.check(0, &[]);
        assert_eq!(ended.out.first().map(String::len), Some(2_000_000), "{version}");
    }
}

#[test]
fn the_environment_names_the_broker_and_a_port_goes_before_it() {
    let (broker, other) = (Broker::start(&[]), Broker::start(&[]));
    let mut by_environment = command(&["pub", "-t", "a", "-m", "here", "-r", "-q", "1"]);
    Program::spawn(by_environment.env("POSTRIDER_URL", &broker.url)).end().check_out(&[]);
    let mut by_port = command(&other.args("pub", &["-t", "a", "-m", "there", "-r", "-q", "1"]));
    Program::spawn(by_port.env("POSTRIDER_URL", &broker.url)).end().check_out(&[]);
    broker.run("sub", &["-t", "a", "-C", "1"]).check_out(&["here"]);
    other.run("sub", &["-t", "a", "-C", "1"]).check_out(&["there"]);
}

#[test]
fn nobody_reading_the_output_is_no_error() {
    let broker = Broker::start(&[]);
    broker.publish(&["-t", "ready", "-m", "go", "-r", "-q", "1"]);
    let (output, input) = pipe().unwrap();
    let mut subscriber = command(&broker.args("sub", &["-t", "a", "-t", "ready"]));
    let subscriber = subscriber.stdout(input).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(output);
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "go\n");
    drop(output);
    broker.publish(&["-t", "a", "-m", "to nobody", "-q", "1"]);
    let ended = subscriber.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error() {
    let broker = Broker::start(&[]);
    broker.publish(&["-t", "a", "-m", "x", "-r", "-q", "1"]);
    for args in [
        broker.args("sub", &["-t", "a", "-C", "1"]),
        broker.args("rr", &["-t", "ask", "-e", "a", "-m", "x"]),
        vec!["completions", "bash"],
        vec!["man", "--help"],
        vec!["--version"],
        broker.args("check", &["--only", "a second CONNECT"]),
        vec!["bench", "p2p", "-m", "100", "-p", &broker.port],
        vec!["demo", "--messages", "100", "--largest", "100000"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command(&args).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.starts_with("error: cannot write to standard output: No space"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
}

/// As with `| true`.
#[test]
#[cfg(unix)]
fn a_reader_that_went_away_is_no_error() {
    let broker = Broker::start(&[]);
    for args in [
        vec!["completions", "bash"],
        vec!["--help"],
        broker.args("check", &["--only", "a second CONNECT"]),
        vec!["bench", "p2p", "-m", "100", "-p", &broker.port],
        vec!["demo", "--messages", "100", "--largest", "100000"],
    ] {
        let (reader, nobody) = pipe().unwrap();
        drop(reader);
        let output = command(&args).stdout(nobody).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}

#[test]
#[cfg(unix)]
fn signals_end_a_subscriber_with_status_0() {
    use rustix::process::Signal;

    let broker = Broker::start(&[]);
    for signal in [Signal::TERM, Signal::INT] {
        let subscriber = broker.subscriber(&["-t", "a"]);
        subscriber.signal(signal);
        subscriber.end().check_out(&[]);
    }
}

#[test]
#[cfg(unix)]
fn a_unix_socket_works_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mqtt.sock");
    let path = path.to_str().unwrap();
    let url = format!("unix:{path}");
    let _broker = Broker::start(&["--listen", &url]);
    for (place, other) in [(["--url", &url], ["--unix", path]), (["--unix", path], ["--url", &url])]
    {
        run(&[&["pub", "-t", "a", "-m", place[0], "-r", "-q", "1"], &place[..]].concat())
            .check_out(&[]);
        run(&[&["sub", "-t", "a", "-C", "1"], &other[..]].concat()).check_out(&[place[0]]);
    }
    let relative = Path::new(path).file_name().unwrap();
    let mut subscriber = command(&["sub", "-t", "a", "-C", "1", "--unix"]);
    subscriber.arg(relative).current_dir(folder.path());
    Program::spawn(&mut subscriber).end().check_out(&["--unix"]);
    let ended = run(&["rr", "-t", "a", "-e", "b", "-m", "x", "--unix", path, "-W", "1"]);
    ended.check(27, &[]);
    let ended = run(&["sub", "-t", "a", "--unix", "/no/such.sock"]);
    ended.check(1, &["error: ", "/no/such.sock"]);
}
