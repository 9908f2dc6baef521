//! Help, and what is said about each mistake.

use std::net::TcpListener;

use crate::process::{Program, command, run};

#[test]
fn every_subcommand_has_help_with_an_example() {
    for verb in
        ["demo", "pub", "sub", "rr", "broker", "check", "packets", "bench p2p", "bench fan-out"]
    {
        let args: Vec<_> = verb.split(' ').chain(["--help"]).collect();
        let ended = run(&args);
        ended.check(0, &[]);
        let text = ended.out.join("\n");
        assert!(text.contains("Example"), "{text}");
        assert!(text.contains(&format!("postrider {verb}")), "{text}");
        let has_host = !["demo", "broker", "packets"].contains(&verb);
        assert_eq!(text.contains("-h, --host"), has_host, "{text}");
    }
    let text = run(&["--help"]).out.join("\n");
    for verb in ["demo", "pub", "sub", "rr", "broker", "bench", "check", "completions", "man"] {
        assert!(text.contains(&format!("\n  {verb} ")), "{text}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    run(&["--version"]).check_out(&[concat!("postrider ", env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn help_of_pub_and_sub_tells_the_exit_status() {
    for verb in ["pub", "sub", "rr"] {
        let text = run(&[verb, "--help"]).out.join(" ");
        assert!(text.contains("exit status is 0"), "{text}");
        assert!(text.contains("-h, --host"), "{text}");
    }
}

#[test]
fn a_wrong_option_is_named_and_the_status_is_2() {
    for (args, part) in [
        (&["pub", "-m", "x"][..], "--topic <TOPIC> is needed"),
        (
            &["pub", "-t", "a"],
            "<--message <TEXT>|--file <PATH>|--null-message|--stdin|--stdin-line|--flush>",
        ),
        (&["pub", "-m", "x", "-t", ""], "'--topic <TOPIC>': topic name is empty"),
        (&["pub", "-m", "x", "-t", "a/+/b"], "wildcard at byte 2; a message goes to one topic"),
        (&["pub", "-m", "x", "-t", "a/b/#"], "'a/b/#' for '--topic <TOPIC>'"),
        (
            &["pub", "-t", "a", "-m", "x", "-f", "y"],
            "'--message <TEXT>' cannot be used with '--file",
        ),
        (&["pub", "-t", "a", "-n", "-s"], "'--null-message' cannot be used with '--stdin'"),
        (&["pub", "-t", "a", "-m", "x", "-q", "3"], "'3' for '--qos <QOS>'"),
        (&["pub", "-t", "a", "-m", "x", "-p", "0"], "'0' for '--port <PORT>'"),
        (&["pub", "-t", "a", "-m", "x", "-p", "70000"], "'70000' for '--port <PORT>'"),
        (&["pub", "-t", "a", "-m", "x", "-k", "65536"], "'65536' for '--keepalive <SECONDS>'"),
        (&["pub", "-t", "a", "-m", "x", "-P", "secret"], "--username <NAME>"),
        (&["pub", "-t", "a", "-m", "x", "-V", "6"], "possible values: auto, mqttv31"),
        (&["pub", "-t", "a", "-m", "x", "-h"], "'--host <HOST>'"),
        (
            &["pub", "-t", "a", "-m", "x", "--url", "mqtt://h", "-p", "1"],
            "cannot be used with '--port",
        ),
        (&["sub"], "--topic <FILTER>"),
        (&["sub", "-t", "a/#/b"], "'#' at byte 2 that is not the whole last level"),
        (&["sub", "-t", "a", "-c"], "--id <CLIENT_ID>"),
        (&["sub", "-t", "a", "-C", "0"], "'0' for '--count <MESSAGES>'"),
        (&["sub", "-t", "a", "-W", "0"], "'0' for '--timeout <SECONDS>'"),
        (&["sub", "-t", "a", "-c", "-i", ""], "--id <CLIENT_ID> that is not empty"),
        (&["sub", "-t", "a", "-x", "-2"], "'-2' for '--session-expiry-interval <SECONDS>'"),
        (&["sub", "-t", "a", "-F", "%k"], "invalid format specifier '%k'"),
        (&["sub", "-t", "a", "--random-filter", "101"], "within 0.1 and 100"),
        (&["sub", "-t", "a", "--will-qos", "1"], "--will-qos needs a --will-topic <TOPIC>"),
        (&["sub", "-t", "a", "--will-payload", "x"], "--will-topic <TOPIC>"),
        (&["sub", "-t", "a", "--will-retain"], "--will-topic <TOPIC>"),
        (
            &["sub", "-t", "a", "-D", "will", "content-type", "x"],
            "--property will needs a --will-topic <TOPIC>",
        ),
        (&["sub", "-t", "a", "--will-topic", "a/#"], "'a/#' for '--will-topic <TOPIC>'"),
        (&["sub", "-t", "a", "-i", "a", "-I", "b"], "'--id-prefix <TEXT>'"),
        (&["pub", "-t", "a", "-m", "x", "--repeat", "0"], "'0' for '--repeat <TIMES>'"),
        (
            &["pub", "-t", "a", "-l", "--repeat", "2"],
            "'--stdin-line' cannot be used with '--repeat",
        ),
        (&["pub", "-t", "a", "-m", "x", "--repeat-delay", "x"], "'--repeat-delay <SECONDS>'"),
        (&["pub", "-t", "a", "-m", "x", "-M", "0"], "'0' for '--max-inflight <MESSAGES>'"),
        (&["pub", "-L", "mqtt://h/a/#", "-m", "x"], "--url: topic 'a/#'"),
        (&["rr", "-t", "a", "-m", "x"], "--response-topic <TOPIC>"),
        (&["rr", "-t", "a", "-e", "b"], "--message <TEXT>"),
        (
            &["pub", "-t", "a", "-m", "x", "-D", "publish", "colour", "red"],
            "'colour' is no property",
        ),
        (&["pub", "-t", "a", "-m", "x", "-D", "puback", "reason-string", "x"], "of PUBACK cannot"),
        (&["pub", "-t", "a", "-m", "x", "-V", "311", "-D", "publish", "topic-alias", "1"], "5.0"),
        (&["demo", "--messages", "0"], "'0' for '--messages <MESSAGES>'"),
        (&["demo", "--largest", "268435456"], "'268435456' for '--largest <BYTES>'"),
        (&["bench"], "p2p"),
        (&["flood"], "'flood'"),
    ] {
        let ended = run(args);
        ended.check(2, &[part]);
        assert!(!ended.err.contains("secret"), "{}", ended.err);
    }
}

#[test]
fn a_place_or_a_property_that_cannot_be_is_a_wrong_option() {
    for (args, part) in [
        (&["pub", "-t", "a", "-m", "x", "--url", "quic://h"][..], "--url: scheme 'quic' is not"),
        (&["pub", "-t", "a", "-m", "x", "--url", "h:1883"], "--url: scheme 'h'"),
        (&["pub", "-t", "a", "-m", "x", "-h", "mqtt://h"], "--host 'mqtt://h': this is a URL"),
        (&["pub", "-t", "a", "-m", "x", "-h", ""], "--host '': the name is empty"),
        (&["pub", "-t", "a", "-m", "x", "-A", "a b"], "--bind 'a b': not a host name"),
        (&["sub", "-t", "a", "--ws-header", "A: b"], "--ws-header is for WebSocket: add --ws"),
        (&["sub", "-t", "a", "--ws-path", "/a"], "--ws-path is for WebSocket: add --ws"),
        (&["sub", "-t", "a", "--ws", "--ws-path", "a"], "--ws-path: 'a' must begin with '/'"),
        (
            &["pub", "-t", "a", "-m", "x", "-D", "publish", "topic-alias", "x"],
            "'publish topic-alias x' for '--property",
        ),
        (&["demo", "--url", "quic://h"], "connect: scheme 'quic' is not offered"),
        (&["check", "--url", "quic://h"], "--url: scheme 'quic' is not offered"),
    ] {
        run(args).check(2, &[part]);
    }
}

#[test]
fn what_cannot_be_used_is_named_before_anything_is_sent() {
    for (args, part) in [
        (&["pub", "-t", "a", "-f", "no/such/file"][..], "--file 'no/such/file': "),
        (&["pub", "-t", "a", "-m", "x", "--tap", "no/such/file"], "--tap 'no/such/file': "),
        (&["pub", "-t", "a", "-f", "."], "--file '.': "),
        (
            &["pub", "-t", "a", "-m", "x", "-u", "n", "--pw-file", "/dev/null"],
            "--pw-file '/dev/null': its first line is empty",
        ),
        (&["check", "--only", "no such case"], "--only 'no such case' fits none"),
        (&["broker", "--listen", "mqtts://127.0.0.1:0"], "needs a certificate and its key"),
    ] {
        let ended = run(args);
        ended.check(1, &["error: ", part]);
    }
}

#[test]
#[cfg(unix)]
fn an_argument_that_is_not_utf_8_is_shown() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let mut line = command(&["pub", "-m", "x", "-t"]);
    line.arg(OsStr::from_bytes(b"plant/\xff"));
    let expected = ["invalid UTF-8", "note: 'plant/\u{fffd}' is not UTF-8"];
    Program::spawn(&mut line).end().check(2, &expected);
}

#[test]
#[cfg(unix)]
fn a_socket_or_proxy_that_is_not_there_is_not_taken_for_a_host() {
    let ended = run(&["pub", "--unix", "/no/such/socket", "-t", "a", "-m", "x"]);
    ended.check(1, &["unix:/no/such/socket cannot be reached", "is the path right?"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ended = run(&["pub", "--proxy", &proxy, "-t", "a", "-m", "x"]);
    ended.check(1, &["the proxy http://127.0.0.1", "is the proxy running there"]);
    let ended = run(&["pub", "--proxy", "http://no-such.invalid:1", "-t", "a", "-m", "x"]);
    let place = "the proxy http://no-such.invalid:1 cannot be reached: its host cannot be resolved";
    ended.check(1, &[place, "is the proxy running there"]);
    let ended = run(&["pub", "-A", "no-such.invalid", "-t", "a", "-m", "x"]);
    ended.check(1, &["tcp://127.0.0.1:1883 cannot be reached: from no-such.invalid: "]);
}

/// Nobody can read what is wrong, but the status says that something is.
#[test]
#[cfg(target_os = "linux")]
fn a_wrong_option_has_its_status_whatever_becomes_of_the_words() {
    for args in [
        &["pub", "-m", "x"][..],
        &["pub", "-t", "a", "-m", "x", "-q", "3"],
        &["pub", "-t", "a", "-m", "x", "--profile", "p", "--config", "no/such/file"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let status = command(args).env("POSTRIDER_PORT", "0").stderr(full).status().unwrap();
        assert_eq!(status.code(), Some(2), "{args:?}");
    }
}

#[test]
#[cfg(unix)]
fn a_file_without_end_is_not_read_to_the_end() {
    let ended = run(&["pub", "-t", "a", "-f", "/dev/zero"]);
    ended.check(1, &["--file '/dev/zero': it goes on after 268435455 bytes"]);
}

#[test]
fn nobody_at_the_port_is_said_with_host_and_port() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let place = format!("tcp://127.0.0.1:{port} cannot be reached");
    let expected = ["error: ", place.as_str(), "is the broker running there"];
    run(&["pub", "-p", &port, "-t", "a", "-m", "x"]).check(1, &expected);
    run(&["sub", "-p", &port, "-t", "a"]).check(1, &expected);
    let url = format!("mqtt://127.0.0.1:{port}");
    let mut from_environment = command(&["sub", "-t", "a"]);
    from_environment.env("POSTRIDER_URL", &url);
    Program::spawn(&mut from_environment).end().check(1, &expected);
    run(&["demo", "--url", &url]).check(1, &expected);
}

#[test]
fn a_host_that_does_not_exist_is_named() {
    let ended = run(&["pub", "-h", "nowhere.invalid", "-t", "a", "-m", "x"]);
    ended.check(1, &["host 'nowhere.invalid' cannot be resolved"]);
}

#[test]
fn what_does_not_answer_is_not_waited_for_after_the_time_is_over() {
    // It takes connections and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    run(&["sub", "-p", &port, "-t", "a", "-W", "1"]).check(27, &[]);
}
