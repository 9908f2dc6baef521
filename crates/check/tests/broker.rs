//! The judge against our broker: every case in every version, with one hub and with two.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use postrider_broker::Broker;
use postrider_check::{Verdict, cases, judge_all};
use postrider_net::{Address, Dial};

/// The cases in text cite their statements themselves. Those made of tables are about these:
/// - strings: v5 [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.4-3] [MQTT-1.5.7-1] [MQTT-3.1.3-4] [MQTT-3.1.3-11]
///   [MQTT-3.1.3-12] [MQTT-3.3.2-1] [MQTT-3.3.2-13] [MQTT-3.3.2-19] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.7.3-2]
///   [MQTT-4.8.2-2], v3.1.1 [MQTT-1.5.3-1] [MQTT-1.5.3-2] [MQTT-1.5.3-3] [MQTT-3.1.3-4] [MQTT-3.1.3-10]
///   [MQTT-3.1.3-11] [MQTT-3.3.2-1] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.7.3-2];
/// - flags: v5 [MQTT-2.1.3-1], v3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2];
/// - properties, and packets cut short or too long: v5 [MQTT-4.13.1-1], v3.1.1 [MQTT-4.8.0-1];
/// - lengths: v5 [MQTT-1.5.5-1] [MQTT-3.3.4-1] [MQTT-4.7.3-3] [MQTT-3.8.4-5] [MQTT-3.8.4-6], v3.1.1 [MQTT-3.3.4-1]
///   [MQTT-4.7.3-3] [MQTT-3.8.4-4] [MQTT-3.8.4-5].
#[test]
fn one_hub_conforms() {
    assert_eq!(faults(1), Vec::<String>::new());
}

/// As above: what a client sees does not depend on the number of hubs.
#[test]
fn two_hubs_conform() {
    assert_eq!(faults(2), Vec::<String>::new());
}

/// Cases that the broker failed, and what it should have done better.
fn faults(hubs: u16) -> Vec<String> {
    let broker = Broker::builder().hubs(hubs).listen("tcp://127.0.0.1:0").start().unwrap();
    let address = Address::parse(&broker.endpoints()[0].to_string()).unwrap();
    let plays = cases().unwrap().into_iter().flat_map(|case| {
        let versions = case.versions.clone();
        versions.into_iter().map(move |version| (case.clone(), version))
    });
    let plays: Vec<_> = plays.collect();
    let (count, mut told) = (plays.len(), 0);
    let mut faults = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(judge_all(
        &address,
        &Dial::default(),
        plays,
        |case, version, verdict: &Verdict| {
            told += 1;
            if let Some((step, surprise)) = &verdict.surprise {
                faults.push(format!("{version} {}: step {step}: {surprise}", case.name));
            }
            faults
                .extend(verdict.remarks.iter().map(|it| format!("{version} {}: {it}", case.name)));
        },
    ));
    assert_eq!(told, count, "each play has a verdict");
    broker.shut_down();
    faults
}
