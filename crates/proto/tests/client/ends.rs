//! How it ends: by our wish, by final reasons, by giving up.

use postrider_proto::{
    client::{OperationError, PublishError},
    wire::{AckKind, Disconnect, Properties, Property, ReasonCode, Version},
};

use crate::desk::{Desk, Q1, Q2, VERSIONS, config, one, subscription};

fn bye() -> Disconnect {
    Disconnect { reason: ReasonCode::Success, properties: Properties::new() }
}

/// v5 [MQTT-3.14.4-1] [MQTT-3.14.4-2], v3.1.1 [MQTT-3.14.4-1] [MQTT-3.14.4-2]: DISCONNECT is the last packet, behind
/// what was written; then the stream is closed.
#[test]
fn disconnect_comes_last() {
    for version in VERSIONS {
        let mut desk = Desk::connected(version);
        desk.is_writable = false;
        desk.publish(Q1, "a").unwrap();
        desk.publish(Q2, "b").unwrap();
        desk.ack(AckKind::PubRec, 2, ReasonCode::Success);
        let id = desk.subscribe(&["s"]).0;
        desk.is_writable = true;
        desk.client.disconnect(bye(), desk.now);
        let expected = [
            "Published 1 Over".to_string(),
            "Published 2 Over".into(),
            format!("Subscribed {id} Over"),
            "Over Ours 00".into(),
            "> PUBLISH 1 q1 a".into(),
            "> PUBLISH 2 q2 b".into(),
            "> PUBREL 2".into(),
            "> SUBSCRIBE 3 s".into(),
            "> DISCONNECT 00".into(),
            "Hangup".into(),
        ];
        assert_eq!(desk.log(), expected);
        assert_eq!(desk.deadline, None);
        desk.cut();
        desk.client.disconnect(bye(), desk.now);
        assert_eq!(desk.log(), [""; 0]);
    }
}

#[test]
fn nothing_is_taken_after_the_end() {
    let mut desk = Desk::connected(Version::V5);
    desk.client.disconnect(bye(), desk.now);
    assert_eq!(desk.publish(Q1, "a"), Err(PublishError::Over));
    let lines = vec![subscription("a")];
    let refused = desk.client.subscribe(lines, Default::default(), desk.now);
    assert_eq!(refused, Err(OperationError::Over));
    assert_eq!(desk.client.limits(), None);
}

#[test]
fn disconnect_carries_what_it_was_given() {
    let mut desk = Desk::connected(Version::V5);
    let disconnect = Disconnect {
        reason: ReasonCode::DisconnectWithWill,
        properties: one(Property::SessionExpiryInterval(7)),
    };
    desk.client.disconnect(disconnect, desk.now);
    assert_eq!(desk.log(), ["Over Ours 04", "> DISCONNECT 04", "Hangup"]);
}

/// Without a connection there is nobody to tell.
#[test]
fn disconnect_without_a_connection_is_over_at_once() {
    for version in VERSIONS {
        let mut desk = Desk::new(config(version));
        desk.client.disconnect(bye(), desk.now);
        assert_eq!(desk.log(), ["Over Ours 00"]);
        desk.client.connect(desk.now);
        assert_eq!(desk.log(), [""; 0]);

        // A stream that opens too late is closed.
        let mut desk = Desk::new(config(version));
        desk.client.connect(desk.now);
        desk.drain();
        desk.client.disconnect(bye(), desk.now);
        desk.log();
        desk.client.handle_connected(desk.now);
        assert_eq!(desk.log(), ["Hangup"]);

        let mut desk = Desk::connected(version);
        desk.cut();
        desk.log();
        desk.client.disconnect(bye(), desk.now);
        assert_eq!(desk.log(), ["Over Ours 00"]);
        assert_eq!(desk.deadline, None);
    }
}

/// v5 [MQTT-3.1.4-3]: a take-over is final, else two clients would chase each other away for ever.
#[test]
fn final_reasons_are_not_retried() {
    let mut desk = Desk::connected(Version::V5);
    desk.publish(Q1, "a").unwrap();
    desk.log();
    desk.reply_bytes(&[0xE0, 0x02, 0x8E, 0x00]);
    let expected = ["Disconnected Told 8E", "Published 1 Over", "Over Told 8E", "Hangup"];
    assert_eq!(desk.log(), expected);
    for (version, reason) in [
        (Version::V311, ReasonCode::BadUserNameOrPassword),
        (Version::V311, ReasonCode::NotAuthorized),
        (Version::V5, ReasonCode::Banned),
    ] {
        let mut retry = config(version);
        retry.reconnect.is_first_retried = true;
        let mut desk = Desk::new(retry);
        desk.client.connect(desk.now);
        desk.open();
        desk.log();
        desk.refuse(reason);
        let code = format!("{:02X}", reason.byte());
        let expected = [format!("Disconnected Refused {code}"), format!("Over Refused {code}")];
        assert_eq!(desk.log()[..2], expected);
    }
}

/// A will that the server does not take is reported as it is, never lowered behind the program's back.
#[test]
fn a_refused_will_is_reported() {
    for reason in [ReasonCode::QoSNotSupported, ReasonCode::RetainNotSupported] {
        let mut desk = Desk::new(config(Version::V5));
        desk.client.connect(desk.now);
        desk.open();
        desk.log();
        desk.refuse(reason);
        let code = format!("{:02X}", reason.byte());
        assert_eq!(desk.log()[1], format!("Over Refused {code}"));
    }
}

#[test]
fn a_failed_first_dial_is_over() {
    let mut desk = Desk::new(config(Version::V5));
    desk.client.connect(desk.now);
    desk.drain();
    desk.client.handle_dial_failed("no route".into(), desk.now);
    let expected =
        ["Dial one 5.0 #1", "Disconnected Unreachable no route", "Over Unreachable no route"];
    assert_eq!(desk.log(), expected);
}

#[test]
fn dials_are_retried_after_a_success() {
    let mut desk = Desk::connected(Version::V311);
    desk.cut();
    desk.wake();
    desk.client.handle_dial_failed("no route".into(), desk.now);
    desk.drain();
    desk.wake();
    let expected = [
        "Disconnected Lost, retry",
        "Dial one 3.1.1 #1",
        "Disconnected Unreachable no route, retry",
        "Dial one 3.1.1 #2",
    ];
    assert_eq!(desk.log(), expected);
}

/// The server says why it goes; we come back.
#[test]
fn a_shutdown_of_the_server_is_retried() {
    let mut desk = Desk::connected(Version::V5);
    desk.reply_bytes(&[0xE0, 0x02, 0x8B, 0x00]);
    assert_eq!(desk.log(), ["Disconnected Told 8B, retry", "Hangup"]);
    desk.wake();
    assert_eq!(desk.log(), ["Dial one 5.0 #1"]);
}

/// v5 [MQTT-4.13.1-1]: bytes that are no packet end the link with the right code.
#[test]
fn broken_bytes_end_the_link() {
    for (version, says) in [(Version::V311, false), (Version::V5, true)] {
        let mut desk = Desk::connected(version);
        desk.reply_bytes(&[0x00, 0x00]);
        let log = desk.log();
        assert!(log[0].starts_with("Disconnected PeerFault 81"), "{log:?}");
        assert_eq!(log.contains(&"> DISCONNECT 81".to_string()), says);
        assert_eq!(log.last().unwrap(), "Hangup");
        // Bytes behind the end are nobody's.
        desk.reply_bytes(&[0x00, 0x00]);
        assert_eq!(desk.log(), [""; 0]);
    }
}
