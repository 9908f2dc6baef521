//! A message at which the server closes the connection each time.

use postrider_proto::{
    client::ClientConfig,
    wire::{AckKind, Disconnect, Packet, Properties, ReasonCode, Version},
};

use crate::desk::{Desk, Q1, Q2, VERSIONS, config};

/// A client that parks after `closes_max`, connected, with messages on their way.
fn desk(version: Version, closes_max: u32, topics: &[&str]) -> Desk {
    let mut config: ClientConfig = config(version);
    config.session.closes_max = closes_max;
    let mut desk = Desk::new(config);
    desk.client.connect(desk.now);
    desk.open();
    desk.accept(false);
    for topic in topics {
        desk.publish(Q1, topic).unwrap();
    }
    desk.log();
    desk
}

fn resume(desk: &mut Desk) -> Vec<String> {
    desk.cut_and_open();
    desk.accept(true);
    let is_ours = |line: &String| line.starts_with("> PUBLISH") || line.contains("Park");
    desk.log().into_iter().filter(is_ours).collect()
}

/// Alone on its way, it is to blame at once.
#[test]
fn a_message_alone_is_parked_after_so_many_closes() {
    for version in VERSIONS {
        let mut desk = desk(version, 3, &["a"]);
        assert_eq!(resume(&mut desk), ["> PUBLISH 1 q1 a dup"]);
        assert_eq!(resume(&mut desk), ["> PUBLISH 1 q1 a dup"]);
        assert_eq!(resume(&mut desk), ["Parked 1 3", "Published 1 Parked(3)"]);
        assert!(desk.client.is_idle());
        assert_eq!(desk.client.stats().dropped_parked, 1);
    }
}

/// Among others, it is found by sending one at a time; the others lose nothing but time.
#[test]
fn the_one_among_many_is_found() {
    let mut desk = desk(Version::V5, 2, &["a", "bad", "c"]);
    let all = ["> PUBLISH 1 q1 a dup", "> PUBLISH 2 q1 bad dup", "> PUBLISH 3 q1 c dup"];
    assert_eq!(resume(&mut desk), all);
    assert_eq!(resume(&mut desk), all[..1]);
    // The answer to the first one had been lost with the connections before.
    desk.ack(AckKind::PubAck, 1, ReasonCode::Success);
    assert!(desk.log().contains(&all[1].to_owned()));
    assert_eq!(resume(&mut desk), all[1..2]);
    assert_eq!(resume(&mut desk), ["Parked 2 2", "Published 2 Parked(2)", all[2]]);
    assert!(!desk.client.is_open(2) && desk.client.is_open(3));
}

/// One at a time only until what was open is answered; then the window is what the server allows.
#[test]
fn the_window_opens_again() {
    let mut desk = desk(Version::V5, 5, &["a", "b"]);
    resume(&mut desk);
    assert_eq!(resume(&mut desk), ["> PUBLISH 1 q1 a dup"]);
    assert_eq!(desk.publish(Q1, "c"), Ok(3));
    desk.ack(AckKind::PubAck, 1, ReasonCode::Success);
    let log = desk.log();
    assert!(!log.contains(&"> PUBLISH 3 q1 c".to_owned()), "{log:?}");
    desk.ack(AckKind::PubAck, 2, ReasonCode::Success);
    desk.publish(Q1, "d").unwrap();
    let log = desk.log();
    assert!(log.iter().any(|line| line.ends_with("q1 c")), "{log:?}");
    assert!(log.iter().any(|line| line.ends_with("q1 d")), "{log:?}");
}

/// An answer, a close that comes late, and an end that is ours are held against nobody.
#[test]
fn only_closes_right_after_it_count() {
    let mut desk = desk(Version::V5, 2, &["a"]);
    resume(&mut desk);
    desk.now = desk.now.plus_ms(10_000);
    assert_eq!(resume(&mut desk), ["> PUBLISH 1 q1 a dup"]);
    let (reason, properties) = (ReasonCode::ServerShuttingDown, Properties::new());
    desk.now = desk.now.plus_ms(10_000);
    desk.reply(&Packet::Disconnect(Disconnect { reason, properties }));
    assert!(desk.client.is_open(1));
    // A second one right behind it counts as the second.
    desk.cut();
    desk.wake();
    desk.open();
    desk.accept(true);
    desk.cut();
    assert!(!desk.client.is_open(1));
}

/// v5 [MQTT-4.3.3-5]: once PUBREC has come the server has the message, and nothing is held against it.
#[test]
fn a_message_that_was_received_is_not_to_blame() {
    let mut desk = desk(Version::V5, 1, &[]);
    desk.publish(Q2, "a").unwrap();
    desk.ack(AckKind::PubRec, 1, ReasonCode::Success);
    desk.cut_and_open();
    desk.accept(true);
    assert!(desk.client.is_open(1));
    desk.ack(AckKind::PubComp, 1, ReasonCode::Success);
    assert!(desk.client.is_idle());
}

/// Without the option nothing is ever given up.
#[test]
fn nothing_is_parked_unasked() {
    let mut desk = desk(Version::V5, 0, &["a"]);
    for _ in 0..20 {
        assert_eq!(resume(&mut desk), ["> PUBLISH 1 q1 a dup"]);
    }
}
