//! `demo`, small enough for a test.

use crate::process::{Broker, run};

const SMALL: [&str; 5] = ["demo", "--messages", "3000", "--largest", "3000000"];

const STEPS: [&str; 18] = [
    "connect",
    "subscribe QoS 0",
    "subscribe QoS 1",
    "subscribe QoS 2",
    "publish QoS 0",
    "publish QoS 1",
    "publish QoS 2",
    "retain",
    "late subscriber",
    "clear retained",
    "3,000 at QoS 0",
    "3,000 at QoS 1",
    "3,000 at QoS 2",
    "largest message",
    "SHA-256",
    "unsubscribe",
    "unsubscribe all",
    "disconnect",
];

#[test]
fn it_shows_each_step_with_a_broker_of_its_own() {
    check(&[], "MQTT 5.0, session new");
}

#[test]
fn it_speaks_the_version_it_is_told() {
    check(&["-V", "mqttv311"], "MQTT 3.1.1, session new");
    check(&["-V", "mqttv31"], "MQTT 3.1, session new");
}

#[test]
fn it_leaves_nothing_behind_at_another_broker() {
    let broker = Broker::start(&[]);
    check(&["--url", &broker.url], &format!("tcp://127.0.0.1:{}", broker.port));
    let ended = broker.run("sub", &["-t", "postrider/#", "-C", "1", "-W", "1"]);
    ended.check(27, &[]);
    assert!(ended.out.is_empty(), "{ended:?}");
}

#[test]
fn a_step_that_fails_is_named_and_the_status_is_1() {
    let broker = Broker::start(&["--max-packet-size", "100000"]);
    let ended = run(&[&SMALL[..], &["--url", &broker.url]].concat());
    ended.check(1, &["error: largest message: ", "3000000 bytes is too large"]);
    assert!(ended.out.iter().any(|line| line.contains("3,000 at QoS 2")), "{ended:?}");
    assert!(!ended.out.iter().any(|line| line.contains("disconnect")), "{ended:?}");
}

fn check(args: &[&str], connected: &str) {
    let ended = run(&[&SMALL[..], args].concat());
    ended.check(0, &[]);
    // Two spaces before each step, at least two behind it.
    let steps = ended.out.iter().filter_map(|line| line.strip_prefix("  "));
    let steps: Vec<_> = steps.map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(steps, STEPS);
    assert!(ended.out.iter().any(|line| line.contains(connected)), "{ended:?}");
    assert!(ended.out.last().unwrap().starts_with("All there, in order, once, and unchanged."));
}
