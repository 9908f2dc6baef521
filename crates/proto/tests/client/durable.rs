//! A client with a store.

use postrider_proto::{
    Fact, Payload, Record, SpoolOutput,
    client::{ClientConfig, Output},
    wire::{AckKind, ReasonCode, Version},
};

use crate::desk::{Desk, Q1, Q2, config, delivery, publish};

const OK: ReasonCode = ReasonCode::Success;

fn durable(version: Version) -> ClientConfig {
    ClientConfig { is_durable: true, ..config(version) }
}

/// Nothing leaves before what it depends on is stored.
#[test]
fn outputs_wait_for_the_store() {
    for version in [Version::V311, Version::V5] {
        let mut desk = Desk::new(durable(version));
        desk.client.connect(desk.now);
        desk.open();
        desk.accept(false);
        desk.is_store_prompt = false;
        desk.log();
        desk.publish(Q2, "a").unwrap();
        desk.publish(Q1, "b").unwrap();
        desk.reply(&delivery(Q2, 7, "in", false));
        assert_eq!(desk.log(), ["Message in"]);
        desk.store_all();
        assert_eq!(desk.log(), ["> PUBREC 7", "> PUBLISH 1 q2 a", "> PUBLISH 2 q1 b"]);
        desk.ack(AckKind::PubRec, 1, OK);
        desk.ack(AckKind::PubRel, 7, OK);
        assert_eq!(desk.log(), [""; 0]);
        desk.store_all();
        assert_eq!(desk.log(), ["> PUBREL 1", "> PUBCOMP 7"]);
    }
}

/// v5 [MQTT-4.1.0-1], v3.1.1 [MQTT-4.1.0-1]: who is told of a subscription, or of its end, may die at once; a new process
/// knows of it.
#[test]
fn subscriptions_are_told_when_they_are_stored() {
    for version in [Version::V311, Version::V5] {
        let mut desk = Desk::new(durable(version));
        desk.client.connect(desk.now);
        desk.open();
        desk.accept(false);
        desk.is_store_prompt = false;
        let id = desk.subscribe(&["s"]);
        desk.log();
        desk.suback(1, &[OK]);
        assert_eq!(desk.log(), [""; 0]);
        assert!(!desk.client.is_idle());
        desk.store_all();
        assert_eq!(desk.log(), [format!("Subscribed {} [0]", id.0)]);
        desk.unsubscribe(&["s"]);
        desk.log();
        desk.unsuback(2, &[OK]);
        assert_eq!(desk.log(), [""; 0]);
        desk.store_all();
        assert!(desk.log()[0].starts_with("Unsubscribed"));
        assert!(desk.client.is_idle());
    }
}

/// v5 [MQTT-4.1.0-1], v3.1.1 [MQTT-4.1.0-1]: a new process goes on where the old one was: session, messages,
/// subscriptions, received ids.
#[test]
fn a_new_process_goes_on() {
    for version in [Version::V311, Version::V5] {
        let mut old = Desk::new(durable(version));
        old.publish(Q1, "early").unwrap();
        old.client.connect(old.now);
        old.open();
        old.accept(false);
        old.subscribe(&["s", "t"]);
        old.suback(2, &[OK, OK]);
        old.publish(Q2, "two").unwrap();
        old.ack(AckKind::PubRec, 3, OK);
        old.reply(&delivery(Q2, 7, "in", false));
        old.unsubscribe(&["t"]);
        old.unsuback(4, &[OK]);
        assert!(old.records.iter().any(|record| matches!(record.fact, Fact::Session { .. })));

        let mut new = Desk::new(durable(version));
        let facts = old.records.iter().filter(|record| {
            // A store hands back what was not deleted.
            !matches!(&record.fact, Fact::Subscription { filter, .. } if filter.as_str() == "t")
        });
        new.client.recover(facts.cloned());
        new.client.connect(new.now);
        new.open();
        new.accept(true);
        let log = new.log();
        assert!(!log[1].contains("clean"), "{log:?}");
        let expected = ["Connected present", "> PUBREL 3", "> PUBLISH 1 q1 early dup"];
        assert_eq!(log[2..], expected);
        assert_eq!(new.subscriptions(), ["s"]);
        new.reply(&delivery(Q2, 7, "in", true));
        assert_eq!(new.log(), ["> PUBREC 7"]);
        assert!(new.publish(Q1, "late").unwrap() > 2);
    }
}

/// A store that no server has heard of is claimed for its client id, and does not make the first CONNECT a resume.
#[test]
fn messages_of_a_process_that_never_connected_are_sent_as_new() {
    for version in [Version::V311, Version::V5] {
        let mut old = Desk::new(durable(version));
        old.client.connect(old.now);
        old.publish(Q2, "early").unwrap();
        let is_claim = |record: &Record| matches!(record.fact, Fact::Session { .. });
        assert!(is_claim(&old.records[0]), "{:?}", old.records);

        let mut new = Desk::new(durable(version));
        new.client.recover(old.records.iter().cloned());
        new.client.connect(new.now);
        new.open();
        new.accept(false);
        let log = new.log();
        assert!(log[1].contains("clean") || version == Version::V311, "{log:?}");
        assert!(log.contains(&"> PUBLISH 1 q2 early".to_owned()), "{log:?}");
        assert!(!new.records.iter().any(|record| record.owner != 0));
    }
}

/// A spool goes behind the record that is the last to name it: a crash in between leaves a file without a name, not a
/// name without a file.
#[test]
fn a_spool_is_dropped_behind_its_record() {
    let mut config = durable(Version::V5);
    config.session.queue_messages_max = 1;
    config.session.is_oldest_dropped = true;
    let mut desk = Desk::new(config);
    let id = desk.client.begin_spool(5).unwrap();
    let number = id.number();
    let payload = Payload::Spooled { id, len: 5 };
    desk.client.publish(publish(Q1, "big"), payload, desk.now).unwrap();
    desk.drain();
    // They share the payload.
    desk.records.clear();
    let small = Payload::Bytes(Default::default());
    desk.client.publish(publish(Q1, "small"), small, desk.now).unwrap();
    let mut outputs = Vec::new();
    loop {
        match desk.client.poll_output() {
            Output::Store(_, record) if matches!(record.fact, Fact::Finished { .. }) => {
                outputs.push("Finished".to_owned());
            }
            Output::Spool(SpoolOutput::Drop(number)) => outputs.push(format!("Drop {number}")),
            Output::Wait(_) => break,
            _ => {}
        }
    }
    assert_eq!(outputs, ["Finished".to_owned(), format!("Drop {number}")]);
}
