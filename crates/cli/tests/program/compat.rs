//! The options of Mosquitto's clients, and what ours have beyond them.

use std::{fs, path::Path};

use crate::process::{Broker, Program, command, run, run_with_input};

#[test]
fn each_line_is_a_message_and_a_repeat_is_several() {
    let broker = Broker::start(&[]);
    let mut subscriber = broker.subscriber(&["-t", "l", "-q", "1", "-C", "7"]);
    let lines = broker.args("pub", &["-t", "l", "-l", "-q", "1", "-M", "1"]);
    run_with_input(&lines, b"one\n\ntwo\r\nthree").check_out(&[]);
    for expected in ["l one", "l ", "l two\r", "l three"] {
        assert_eq!(subscriber.line(), expected);
    }
    let again = ["-t", "l", "-m", "again", "-q", "1", "--repeat", "2", "--repeat-delay", "0.01"];
    broker.publish(&again);
    subscriber.end().check_out(&["l again", "l again"]);
}

#[test]
fn formats_and_json_say_what_a_message_has() {
    let broker = Broker::start(&[]);
    let user = ["-D", "publish", "user-property", "a b", "-c"];
    let kind = ["-D", "publish", "content-type", "text/plain"];
    broker.publish(&[&["-t", "f", "-m", "21.5", "-r", "-q", "1"][..], &user, &kind].concat());
    let line = |args: &[&str]| {
        let ended = broker.run("sub", &[&["-t", "f", "-C", "1", "-q", "1"], args].concat());
        ended.check(0, &[]);
        ended.out.join("\n")
    };
    assert_eq!(line(&["-F", "%t|%C|%P|%6p|%x|%q%r%l|%%@@|\\t"]), FORMATTED);
    assert_eq!(line(&["-N", "-F", "%p"]), "21.5");
    let json = line(&["--json"]);
    assert!(json.starts_with("{\"tst\":\"20"), "{json}");
    assert!(json.contains(JSON), "{json}");
    assert!(line(&["-F", "%J", "--pretty"]).ends_with("\n\t\"payload\":\t21.5\n}"));
    broker.publish(&["-t", "f", "-m", "no JSON", "-r", "-q", "1"]);
    let ended = broker.run("sub", &["-t", "f", "-C", "1", "-F", "%J"]);
    ended.check(0, &["Message payload is not valid JSON on topic f."]);
}

const FORMATTED: &str = "f|text/plain|a b:-c|  21.5|32312e35|114|%@|\t";
const JSON: &str = "\"properties\":{\"user-properties\":{\"a b\":\"-c\"},\"content-type\":\"text/plain\"},\
                    \"payload\":\"21.5\"}";

#[test]
fn several_filters_are_printed_in_the_order_of_arrival() {
    let broker = Broker::start(&[]);
    let subscriber = ["-t", "a", "-t", "b", "-t", "skip", "-T", "skip", "-C", "7"];
    let subscriber = broker.subscriber(&subscriber);
    for (topic, text) in [("b", "1"), ("a", "2"), ("skip", "x"), ("b", "3"), ("a", "4")] {
        broker.publish(&["-t", topic, "-m", text, "-q", "1"]);
    }
    broker.publish(&["-t", "a", "-m", "5", "-q", "1", "--repeat", "2"]);
    subscriber.end().check_out(&["b 1", "a 2", "b 3", "a 4", "a 5", "a 5"]);
}

#[test]
fn some_of_a_hundred_messages_are_drawn_by_lot() {
    let broker = Broker::start(&[]);
    let all = 2_000;
    let subscriber = ["-t", "lot", "-q", "1", "-C", "2000", "--random-filter", "50"];
    // Not every message is printed that would say it has subscribed: a kept session has what came before.
    let kept = ["-i", "lot", "-c"];
    broker.run("sub", &[&kept[..], &["-t", "lot", "-q", "1", "-E"]].concat()).check_out(&[]);
    let lines: String = (0..all).map(|number| format!("{number}\n")).collect();
    run_with_input(&broker.args("pub", &["-t", "lot", "-q", "1", "-l"]), lines.as_bytes())
        .check_out(&[]);
    let ended = broker.run("sub", &[&kept[..], &subscriber].concat());
    ended.check(0, &[]);
    // A thousand, give or take nine deviations.
    assert!((800..1_200).contains(&ended.out.len()), "{} of {all}", ended.out.len());
    let numbers: Vec<u32> = ended.out.iter().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[test]
fn a_session_is_begun_and_a_subscription_taken_out_of_it() {
    let broker = Broker::start(&[]);
    let session = ["-i", "kept", "-c", "-q", "1"];
    broker.run("sub", &[&session[..], &["-t", "a", "-t", "b", "-E"]].concat()).check_out(&[]);
    let leave = ["-U", "a", "-E", "-D", "unsubscribe", "user-property", "k", "v"];
    broker.run("sub", &[&session[..], &leave].concat()).check_out(&[]);
    broker.publish(&["-t", "a", "-m", "gone", "-q", "1"]);
    broker.publish(&["-t", "b", "-m", "kept", "-q", "1"]);
    let ended = broker.run("sub", &[&session[..], &["-t", "b", "-C", "1"]].concat());
    ended.check_out(&["kept"]);
}

#[test]
fn retained_messages_are_cleared_or_read_alone() {
    let broker = Broker::start(&[]);
    for topic in ["r/1", "r/2", "r/3"] {
        broker.publish(&["-t", topic, "-m", topic, "-r", "-q", "1"]);
    }
    let clear = ["-t", "r/#", "-T", "r/3", "--remove-retained", "-R", "-W", "1"];
    let ended = broker.run("sub", &clear);
    ended.check(27, &[]);
    assert!(ended.out.is_empty(), "{ended:?}");
    let mut only = Program::start(&broker.args("sub", &["-t", "r/#", "--retained-only"]));
    assert_eq!(only.line(), "r/3");
    broker.publish(&["-t", "r/1", "-m", "fresh", "-q", "1"]);
    only.end().check_out(&[]);
}

#[test]
fn a_retain_flag_is_kept_as_published() {
    let broker = Broker::start(&[]);
    broker.publish(&["-t", "ready", "-m", "go", "-r", "-q", "1"]);
    let args = ["-t", "rap", "-t", "ready", "--retain-as-published", "-F", "%t %p%r", "-C", "2"];
    let mut subscriber = Program::start(&broker.args("sub", &args));
    assert_eq!(subscriber.line(), "ready go1");
    broker.publish(&["-t", "rap", "-m", "on", "-r", "-q", "1"]);
    subscriber.end().check_out(&["rap on1"]);
}

/// What theirs passes over, and what it refuses.
#[test]
#[cfg(unix)]
fn half_a_will_is_taken_as_by_theirs() {
    use crate::process::command_named;

    let broker = Broker::start(&[]);
    for (options, status) in [
        (&["--will-qos", "1"][..], 0),
        (&["-D", "will", "content-type", "x"], 0),
        (&["--will-payload", "x"], 1),
        (&["--will-retain"], 1),
    ] {
        let line = [&["-p", &broker.port, "-t", "a", "-m", "x"], options].concat();
        Program::spawn(&mut command_named("mosquitto_pub", &line)).end().check(status, &[]);
    }
}

#[test]
#[cfg(unix)]
fn a_will_is_published_when_the_program_is_killed() {
    let broker = Broker::start(&[]);
    let watch = broker.subscriber(&["-t", "w", "-q", "1", "-C", "3"]);
    let will = ["--will-topic", "w", "--will-payload", "gone", "--will-qos", "1", "--will-retain"];
    let dies = broker.subscriber(&[&["-t", "none"][..], &will].concat());
    dies.signal(rustix::process::Signal::KILL);
    watch.end().check_out(&["ready go", "w gone"]);
}

#[test]
fn a_response_is_known_by_its_correlation_data() {
    let broker = Broker::start(&[]);
    let service = ["-t", "ask", "-F", "%R %D", "-C", "2", "-q", "1"];
    broker.publish(&["-t", "ready", "-m", "go", "-r", "-q", "1"]);
    let mut service =
        Program::start(&broker.args("sub", &[&service[..], &["-t", "ready"]].concat()));
    assert_eq!(service.line(), " ");
    let data = ["-D", "publish", "correlation-data", "nr-7"];
    let ask = ["-t", "ask", "-e", "answer", "-m", "time", "-q", "1", "-W", "50", "-v"];
    let ask = Program::start(&broker.args("rr", &[&ask[..], &data].concat()));
    service.end().check_out(&["answer nr-7"]);
    let other = ["-D", "publish", "correlation-data", "nr-8"];
    broker.publish(&[&["-t", "answer", "-m", "not mine", "-q", "1"][..], &other].concat());
    broker.publish(&[&["-t", "answer", "-m", "noon", "-q", "1"][..], &data].concat());
    ask.end().check_out(&["answer noon"]);
    broker.run("rr", &["-t", "ask", "-e", "none", "-m", "x", "-W", "1"]).check(27, &[]);
}

#[test]
fn a_url_may_have_a_topic_and_a_password_a_file() {
    let broker = Broker::start(&["--user", "ann:secret"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pw");
    fs::write(&path, "secret\n").unwrap();
    let url = format!("mqtt://ann@127.0.0.1:{}/a/b", broker.port);
    let pw_file = ["--pw-file", path.to_str().unwrap()];
    let publish = ["pub", "-L", &url, "-m", "x", "-r", "-q", "1"];
    run(&[&publish[..], &pw_file].concat()).check_out(&[]);
    run(&[&["sub", "-L", &url, "-C", "1", "-v"][..], &pw_file].concat()).check_out(&["a/b x"]);
}

#[test]
fn options_and_secrets_come_from_the_environment() {
    let broker = Broker::start(&["--user", "ann:secret"]);
    let mut publish = command(&["pub"]);
    publish.env("POSTRIDER_HOST", "127.0.0.1").env("POSTRIDER_PORT", &broker.port);
    publish.env("POSTRIDER_USERNAME", "ann").env("POSTRIDER_PASSWORD", "secret");
    publish.env("POSTRIDER_TOPIC", "a").env("POSTRIDER_MESSAGE", "x").env("POSTRIDER_RETAIN", "1");
    publish.env("POSTRIDER_QOS", "1").env("POSTRIDER_PROPERTY", "publish content-type t");
    Program::spawn(&mut publish).end().check_out(&[]);
    let mut subscribe = command(&broker.args("sub", &["-t", "a", "-C", "1"]));
    subscribe.env("POSTRIDER_URL", "mqtt://nowhere.invalid").env("POSTRIDER_FORMAT", "%C %p");
    subscribe.env("POSTRIDER_USERNAME", "ann").env("POSTRIDER_PASSWORD", "secret");
    Program::spawn(&mut subscribe).end().check_out(&["t x"]);
    let mut wrong = command(&["pub", "-t", "a", "-m", "x"]);
    let ended = Program::spawn(wrong.env("POSTRIDER_QOS", "3").env("POSTRIDER_PORT", "7")).end();
    ended.check(
        2,
        &["'3' for '--qos <QOS>'", "note: --qos comes from the environment variable POSTRIDER_QOS"],
    );
    assert!(!ended.err.contains("POSTRIDER_PORT"), "{}", ended.err);
}

#[test]
fn it_connects_from_the_address_it_is_told() {
    let broker = Broker::start(&[]);
    broker.publish(&["-t", "a", "-m", "x", "-q", "1", "-A", "127.0.0.1", "--nodelay", "-I", "me-"]);
    let ended = broker.run("pub", &["-t", "a", "-m", "x", "-A", "192.0.2.1"]);
    ended.check(1, &["cannot be reached: from 192.0.2.1"]);
    broker.run("pub", &["-t", "a", "-m", "x", "-A", "192.0.2.1", "--quiet"]).check(1, &[]);
}

#[test]
fn what_is_not_offered_is_refused_by_name() {
    for option in [
        "--psk",
        "--psk-identity",
        "--tls-engine",
        "--tls-engine-kpass-sha1",
        "--ciphers",
        "--tls-keylog",
    ] {
        let ended = run(&["sub", "-t", "a", option, "x"]);
        ended.check(2, &[&format!("{option}: "), " not "]);
    }
    run(&["sub", "-t", "a", "-o", "x"]).check(2, &["-o: ", "variables of the environment"]);
    run(&["pub", "-t", "a", "-m", "x", "--mptcp"]).check(2, &["--mptcp: "]);
    let broker = Broker::start(&[]);
    broker.publish(&["-t", "a", "-m", "x", "--no-tls"]);
}

#[test]
#[cfg(unix)]
fn a_link_of_the_name_of_a_program_of_mosquitto_is_that_program() {
    let broker = Broker::start(&[]);
    broker.publish(&["-t", "a", "-m", "x", "-r", "-q", "1"]);
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("mosquitto_sub");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_postrider"), &link).unwrap();
    let output = |args: &[&str]| std::process::Command::new(&link).args(args).output().unwrap();
    let ended = output(&["-p", &broker.port, "-t", "a", "-v", "-W", "1"]);
    assert_eq!(ended.stdout, b"a x\n");
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(27), &b"Timed out\n"[..]));
    assert_eq!(output(&["--no-such-option"]).status.code(), Some(1));
}

/// What the build made is there, and the program hands out the same.
#[test]
fn completions_and_man_pages_are_those_of_the_build() {
    let built = Path::new(env!("OUT_DIR"));
    for (shell, file) in [
        ("bash", "postrider.bash"),
        ("elvish", "postrider.elv"),
        ("fish", "postrider.fish"),
        ("powershell", "_postrider.ps1"),
        ("zsh", "_postrider"),
    ] {
        let ended = run(&["completions", shell]);
        ended.check(0, &[]);
        let text = fs::read_to_string(built.join("completions").join(file)).unwrap();
        assert_eq!(ended.out.join("\n"), text.trim_end(), "{shell}");
        assert!(text.contains("retained-only"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    run(&["man", folder.path().to_str().unwrap()]).check_out(&[]);
    let pages = files(folder.path());
    assert_eq!(pages, files(&built.join("man")));
    let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
    for verb in ["", "-pub", "-sub", "-rr", "-broker", "-bench", "-check", "-demo", "-man"] {
        assert!(names.contains(&format!("postrider{verb}.1").as_str()), "{names:?}");
    }
}

/// Names and contents, in the order of names.
fn files(folder: &Path) -> Vec<(String, String)> {
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read_to_string(entry.path()).unwrap())
    };
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect();
    files.sort();
    files
}
