//! Messages of the server.

use postrider_proto::wire::{AckKind, ReasonCode, Version};

use crate::desk::{Desk, Q0, Q1, Q2, VERSIONS, delivery};

const OK: ReasonCode = ReasonCode::Success;

/// v5 [MQTT-3.3.4-1] [MQTT-4.5.0-2] [MQTT-4.6.0-2] [MQTT-4.6.0-3], v3.1.1 [MQTT-3.3.4-1] [MQTT-4.5.0-2].
#[test]
fn messages_are_delivered_and_acknowledged() {
    for version in VERSIONS {
        let mut desk = Desk::connected(version);
        desk.reply(&delivery(Q0, 0, "a", false));
        desk.reply(&delivery(Q1, 1, "b", false));
        desk.reply(&delivery(Q2, 2, "c", false));
        desk.ack(AckKind::PubRel, 2, OK);
        let expected =
            ["Message a", "Message b", "> PUBACK 1", "Message c", "> PUBREC 2", "> PUBCOMP 2"];
        assert_eq!(desk.log(), expected);
    }
}

/// v5 [MQTT-4.3.3-10], v3.1.1 [MQTT-4.3.3-2]: a repeat is answered, not delivered, on the next link too, with or
/// without DUP (aedes leaves it out).
#[test]
fn a_repeated_qos_2_message_is_delivered_once() {
    for version in VERSIONS {
        for dup in [false, true] {
            let mut desk = Desk::connected(version);
            desk.reply(&delivery(Q2, 2, "c", false));
            desk.cut_and_open();
            desk.accept(true);
            desk.log();
            desk.reply(&delivery(Q2, 2, "c", dup));
            assert_eq!(desk.log(), ["> PUBREC 2"]);
            desk.ack(AckKind::PubRel, 2, OK);
            desk.reply(&delivery(Q2, 2, "d", false));
            assert_eq!(desk.log(), ["> PUBCOMP 2", "Message d", "> PUBREC 2"]);
        }
    }
}

/// v5 [MQTT-3.2.2-5]: with "no session" the ids are forgotten, also where the server then goes on with its old
/// session (ActiveMQ): delivered twice, never lost.
#[test]
fn messages_of_a_denied_session_are_taken() {
    let mut desk = Desk::connected(Version::V311);
    desk.reply(&delivery(Q2, 2, "c", false));
    desk.cut_and_open();
    desk.accept(false);
    desk.log();
    desk.reply(&delivery(Q2, 2, "c", true));
    assert_eq!(desk.log(), ["Message c", "> PUBREC 2"]);
    // A PUBREL of the old session is answered as well.
    desk.ack(AckKind::PubRel, 9, OK);
    assert_eq!(desk.log(), ["> PUBCOMP 9"]);
}

/// Delivery above the granted QoS, before the SUBACK, or without a subscription: servers do it all.
#[test]
fn unexpected_messages_are_taken() {
    for version in VERSIONS {
        let mut desk = Desk::connected(version);
        desk.subscribe(&["a"]);
        desk.reply(&delivery(Q2, 1, "a", true));
        desk.suback(1, &[OK]);
        let log = desk.log();
        assert_eq!(log[1..3], ["Message a", "> PUBREC 1"]);
    }
}

/// v5 section 4.12: AUTH without enhanced authentication ends the link.
#[test]
fn auth_is_refused() {
    let mut desk = Desk::connected(Version::V5);
    desk.reply_bytes(&[0xF0, 0x00]);
    let log = desk.log();
    assert!(log[0].starts_with("Disconnected"), "{log:?}");
    assert_eq!(log.last().unwrap(), "Hangup");
}

/// v5 [MQTT-3.1.2-20]: pings are answered inside the link; their time reaches the program.
#[test]
fn pings_are_measured() {
    for version in VERSIONS {
        let mut config = crate::desk::config(version);
        config.keep_alive_s = 10;
        let mut desk = Desk::new(config);
        desk.client.connect(desk.now);
        desk.open();
        desk.accept(false);
        desk.log();
        desk.wake();
        assert_eq!(desk.log(), ["> PINGREQ"]);
        desk.now = desk.now.plus_ms(30);
        desk.reply_bytes(&[0xD0, 0x00]);
        assert_eq!(desk.log(), ["Pong 30"]);
    }
}
