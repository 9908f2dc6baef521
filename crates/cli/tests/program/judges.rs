//! `check` and `bench` against our broker.

use crate::process::{Broker, run};

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
