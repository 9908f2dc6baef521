//! A CONNECT whose answer did not come, or was not stored: whose session does the server have?

use postrider_proto::{
    Fact,
    client::ClientConfig,
    wire::{AckKind, Packet, ReasonCode, RetainHandling, Version},
};

use crate::desk::{Desk, Q2, VERSIONS, config, delivery};

const OK: ReasonCode = ReasonCode::Success;

fn durable(version: Version) -> ClientConfig {
    ClientConfig { is_durable: true, ..config(version) }
}

/// Connected with a store, subscribed to `in`, and with the received id 7. The store holds the first records returned.
fn received(version: Version) -> Desk {
    let mut desk = Desk::new(durable(version));
    desk.client.connect(desk.now);
    desk.open();
    desk.accept(false);
    desk.subscribe(&["in"]);
    desk.suback(1, &[OK]);
    desk.reply(&delivery(Q2, 7, "in", false));
    desk.log();
    desk
}

/// [`received`], and then a CONNECT without an answer, and one with the answer "session present".
fn unsure(version: Version) -> Desk {
    let mut desk = received(version);
    desk.cut_and_open();
    desk.cut_and_open();
    desk.log();
    desk.accept(true);
    assert_eq!(desk.log(), ["Connected present", "> PINGREQ"]);
    desk
}

/// CONNECT leaves when the store knows that its answer is open; if nothing depends on the answer, at once.
#[test]
fn connect_waits_for_its_mark() {
    for version in VERSIONS {
        let mut desk = received(version);
        desk.is_store_prompt = false;
        desk.cut_and_open();
        let log = desk.log();
        assert!(!log.iter().any(|line| line.starts_with("> CONNECT")), "{log:?}");
        let marked = desk.records.last().map(|record| record.fact.clone());
        assert!(matches!(marked, Some(Fact::Session { detached: Some(_), .. })), "{marked:?}");
        desk.store_all();
        assert!(desk.log()[0].starts_with("> CONNECT"));

        let mut desk = Desk::new(durable(version));
        desk.client.connect(desk.now);
        desk.open();
        desk.accept(false);
        let before = desk.records.len();
        desk.is_store_prompt = false;
        desk.cut_and_open();
        assert!(desk.log().iter().any(|line| line.starts_with("> CONNECT")));
        assert_eq!(desk.records.len(), before);
    }
}

/// The stream may end, or the program leave, while CONNECT waits.
#[test]
fn a_stream_that_ends_before_connect_was_no_connection() {
    let mut desk = received(Version::V5);
    desk.is_store_prompt = false;
    desk.cut_and_open();
    desk.log();
    desk.cut();
    let log = desk.log();
    assert!(log[0].starts_with("Disconnected Unreachable") && log[0].ends_with("retry"), "{log:?}");
    desk.wake();
    desk.open();
    desk.log();
    let properties = Default::default();
    desk.client.disconnect(postrider_proto::wire::Disconnect { reason: OK, properties }, desk.now);
    assert!(desk.log().contains(&"Hangup".to_owned()));
    desk.store_all();
    assert_eq!(desk.log(), [""; 0]);
}

/// v5 [MQTT-4.4.0-1], v3.1.1 [MQTT-4.4.0-1]: a server that has the old session first sends what is not finished there.
#[test]
fn what_is_sent_again_proves_the_old_session() {
    for version in VERSIONS {
        let packets = [delivery(Q2, 7, "in", true), delivery(Q2, 7, "in", false)];
        for packet in packets {
            let mut desk = unsure(version);
            desk.reply(&packet);
            assert_eq!(desk.log(), ["> SUBSCRIBE 2 in", "> PUBREC 7"]);
            desk.reply(&Packet::PingResp);
            assert_eq!(desk.log(), ["Pong 0"]);
            desk.ack(AckKind::PubRel, 7, OK);
            desk.reply(&delivery(Q2, 7, "in", false));
            assert_eq!(desk.log(), ["> PUBCOMP 7", "Message in", "> PUBREC 7"]);
        }
        let mut desk = unsure(version);
        desk.ack(AckKind::PubRel, 7, OK);
        assert_eq!(desk.log(), ["> SUBSCRIBE 2 in", "> PUBCOMP 7"]);
    }
}

/// v5 [MQTT-3.2.2-5], v3.1.1 section 3.2.2.2: ids of a session that the server does not have stand for nothing. SUBSCRIBE
/// waits until that is stored, since what follows from it may have the same ids.
#[test]
fn nothing_sent_again_proves_a_new_session() {
    for version in VERSIONS {
        let mut desk = unsure(version);
        desk.is_store_prompt = false;
        desk.reply(&Packet::PingResp);
        assert_eq!(desk.log(), ["Pong 0"]);
        assert!(desk.records.iter().any(|record| matches!(record.fact, Fact::Released(_))));
        desk.store_all();
        assert_eq!(desk.log(), ["> SUBSCRIBE 2 in"]);
        desk.is_store_prompt = true;
        desk.suback(2, &[OK]);
        desk.reply(&delivery(Q2, 7, "in", false));
        assert_eq!(desk.log(), ["Message in", "> PUBREC 7"]);
        // All is known again.
        desk.cut_and_open();
        desk.log();
        desk.accept(true);
        assert_eq!(desk.log(), ["Connected present"]);
    }
}

/// What is not stored yet when the link ends is waited for on the next one.
#[test]
fn a_new_link_does_not_hurry_the_store() {
    for version in VERSIONS {
        let mut desk = received(version);
        desk.cut_and_open();
        desk.log();
        desk.is_store_prompt = false;
        desk.accept(false);
        assert_eq!(desk.log(), ["Connected again=1"]);
        desk.cut_and_open();
        desk.log();
        desk.accept(true);
        assert_eq!(desk.log(), ["Connected present again=1"]);
        desk.store_all();
        assert_eq!(desk.log(), ["> SUBSCRIBE 2 in"]);
    }
}

/// Some servers answer PINGREQ before they have read what a session left. A repeat is then marked as one: the new
/// session would send everything for the first time.
#[test]
fn a_repeat_behind_pingresp_is_still_a_repeat() {
    for version in VERSIONS {
        let mut desk = unsure(version);
        desk.reply(&Packet::PingResp);
        desk.log();
        desk.reply(&delivery(Q2, 7, "in", true));
        assert_eq!(desk.log(), ["> PUBREC 7"]);
        desk.ack(AckKind::PubRel, 7, OK);
        assert_eq!(desk.log(), ["> PUBCOMP 7"]);
    }
}

/// The process dies when CONNACK has said "no session", and nothing of that is stored.
#[test]
fn a_new_process_knows_that_an_answer_is_open() {
    for version in VERSIONS {
        let mut old = received(version);
        old.cut_and_open();
        let stored = old.records.len();
        old.is_store_prompt = false;
        old.log();
        old.accept(false);
        // What follows waits for the store.
        assert_eq!(old.log(), ["Connected again=1"]);

        let mut new = Desk::new(durable(version));
        new.client.recover(old.records[..stored].iter().cloned());
        new.client.connect(new.now);
        new.open();
        new.log();
        new.accept(true);
        assert_eq!(new.log(), ["Connected present", "> PINGREQ"]);
        new.reply(&Packet::PingResp);
        new.reply(&delivery(Q2, 7, "in", false));
        assert_eq!(new.log(), ["Pong 0", "> SUBSCRIBE 1 in", "Message in", "> PUBREC 7"]);
    }
}

/// Without received ids there is nothing to ask. v5 [MQTT-3.3.1-10]: what is retained comes only if the subscription is
/// new.
#[test]
fn subscriptions_are_made_certain() {
    let mut desk = Desk::new(durable(Version::V5));
    desk.client.connect(desk.now);
    desk.open();
    desk.accept(false);
    desk.subscribe(&["in"]);
    desk.suback(1, &[OK]);
    desk.cut_and_open();
    desk.cut_and_open();
    desk.log();
    desk.accept(true);
    assert_eq!(desk.log(), ["Connected present again=1", "> SUBSCRIBE 2 in"]);
    assert_eq!(desk.subscribe_options, Some(RetainHandling::SendIfNew));
    // Until it is granted the next process would have to ask again.
    let marks = |desk: &Desk| {
        let last = desk.records.iter().rev().find_map(|record| match &record.fact {
            Fact::Session { detached, .. } => Some(detached.is_some()),
            _ => None,
        });
        last == Some(true)
    };
    assert!(marks(&desk));
    desk.suback(2, &[OK]);
    assert!(!marks(&desk));
    let handling = |line: &postrider_proto::wire::SubscribeFilter| line.options.retain_handling;
    assert_eq!(desk.client.subscriptions().map(handling).next(), Some(RetainHandling::Send));
}

/// A refused CONNECT begins nothing.
#[test]
fn a_refusal_is_an_answer() {
    for version in VERSIONS {
        let mut desk = received(version);
        desk.cut_and_open();
        desk.refuse(ReasonCode::ServerUnavailable);
        desk.wake();
        desk.open();
        desk.log();
        desk.accept(true);
        assert_eq!(desk.log(), ["Connected present"]);
    }
}
