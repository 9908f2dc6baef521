//! `check` and `bench` against our broker.

use crate::process::{Broker, Program, command, run};

#[test]
fn our_broker_passes_every_case() {
    let broker = Broker::start(&[]);
    let ended = run(&["check", "--url", &broker.url]);
    let failed: Vec<_> = ended.out.iter().filter(|line| line.starts_with("FAIL")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(ended.out.iter().any(|line| line.ends_with(" passed, 0 failed")), "{ended:?}");
    assert!(ended.out.iter().any(|line| line.starts_with("pass  5.0  ")), "{ended:?}");
    ended.check(0, &[]);
    assert_eq!(ended.err, "");
}

#[test]
fn nothing_is_lost_under_load() {
    let broker = Broker::start(&[]);
    for qos in ["0", "1", "2"] {
        let load = ["--url", &broker.url, "-q", qos, "-m", "2000"];
        run(&[&["bench", "p2p", "--pairs", "3"], &load[..]].concat()).check(0, &[]);
        run(&[&["bench", "fan-out", "--subscribers", "5"], &load[..]].concat()).check(0, &[]);
    }
}

#[test]
fn nothing_is_lost_under_load_in_sessions_that_outlive_their_connections() {
    let broker = Broker::start(&[]);
    for version in ["3.1.1", "5.0"] {
        let load = ["--url", &broker.url, "-q", "2", "-m", "2000", "-V", version, "--persistent"];
        run(&[&["bench", "p2p", "--pairs", "3"], &load[..]].concat()).check(0, &[]);
    }
}

/// As `pub`, `sub` and `rr` have it; the variable is for who gives no option.
#[test]
fn the_broker_is_named_by_host_and_port_too() {
    let broker = Broker::start(&[]);
    for verb in [
        &["check", "--only", "a second CONNECT"][..],
        &["bench", "p2p", "-m", "100"],
        &["bench", "fan-out", "-m", "100"],
    ] {
        let line = |options: &[&'static str]| {
            let mut program = command(&[verb, options].concat());
            program.env("POSTRIDER_URL", "mqtt://nowhere.invalid");
            program
        };
        let mut by_port = line(&["-h", "localhost", "-p"]);
        Program::spawn(by_port.arg(&broker.port)).end().check(0, &[]);
        let mut by_url = line(&["-L"]);
        Program::spawn(by_url.arg(&broker.url)).end().check(0, &[]);
        let mut by_variable = line(&[]);
        Program::spawn(by_variable.env("POSTRIDER_URL", &broker.url)).end().check(0, &[]);
        let unknown = Program::spawn(&mut line(&["-h", "also.invalid"])).end();
        let said = format!("{} {}", unknown.out.join(" "), unknown.err);
        assert!(said.contains("host 'also.invalid' cannot be resolved"), "{verb:?}: {said}");
        assert!(unknown.out.len() < 2, "{verb:?}: said once: {said}");
        Program::spawn(&mut line(&["-h"])).end().check(2, &["'--host <HOST>'"]);
        Program::spawn(&mut line(&["-h", "a:1"])).end().check(2, &["its own, --port"]);
        let both = ["-L", "mqtt://h", "-p", "1"];
        Program::spawn(&mut line(&both)).end().check(2, &["cannot be used with '--port"]);
    }
}
