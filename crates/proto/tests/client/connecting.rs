//! The first connection, and which session it asks for.

use bytes::Bytes;
use postrider_proto::{
    ReconnectConfig,
    client::ClientConfig,
    wire::{Property, QoS, ReasonCode, Text, Topic, Version, Will},
};

use crate::desk::{Desk, Q1, VERSIONS, config, one};

/// v5 [MQTT-3.1.2-4] [MQTT-3.1.2-23]: clean at first, and then the session is resumed.
#[test]
fn a_process_starts_clean_and_resumes_later() {
    let mut desk = Desk::new(config(Version::V5));
    desk.client.connect(desk.now);
    desk.open();
    desk.accept(false);
    let expected = ["Dial one 5.0 #1", "> CONNECT 5.0 clean expiry=3600", "Connected"];
    assert_eq!(desk.log(), expected);
    desk.cut_and_open();
    desk.accept(true);
    let expected = [
        "Disconnected Lost, retry",
        "Dial one 5.0 #1",
        "> CONNECT 5.0 expiry=3600",
        "Connected present",
    ];
    assert_eq!(desk.log(), expected);
}

/// v3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-6]: a clean connection removes the old session, a second one begins the new one;
/// the program sees one.
#[test]
fn in_3_1_1_a_clean_connection_comes_first() {
    let mut desk = Desk::new(ClientConfig { clean_start: true, ..config(Version::V311) });
    desk.client.connect(desk.now);
    desk.publish(Q1, "a").unwrap();
    desk.open();
    desk.accept(false);
    let expected = [
        "Dial one 3.1.1 #1",
        "> CONNECT 3.1.1 clean",
        "> DISCONNECT 00",
        "Hangup",
        "Dial one 3.1.1 #1",
    ];
    assert_eq!(desk.log(), expected);
    desk.open();
    desk.accept(false);
    assert_eq!(desk.log(), ["> CONNECT 3.1.1", "Connected", "> PUBLISH 1 q1 a"]);
    desk.cut_and_open();
    desk.accept(true);
    let last = desk.log();
    assert_eq!(last[2..], ["> CONNECT 3.1.1", "Connected present", "> PUBLISH 1 q1 a dup"]);
}

/// The preliminary connection carries no will, and its failure is that of the attempt.
#[test]
fn the_preliminary_connection_is_bare() {
    let will = Will {
        topic: Topic::new("will").unwrap(),
        payload: Bytes::new(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: one(Property::WillDelayInterval(5)),
    };
    let start = ClientConfig { clean_start: true, will: Some(will), ..config(Version::V311) };
    let mut desk = Desk::new(start.clone());
    desk.client.connect(desk.now);
    desk.open();
    assert!(desk.connect.take().unwrap().will.is_none());
    desk.accept(false);
    desk.open();
    assert!(desk.connect.take().unwrap().will.unwrap().properties.is_empty());
    // The second connection fails: that is retried, since the server took us before.
    desk.log();
    desk.cut();
    assert_eq!(desk.log(), ["Disconnected Lost, retry"]);

    let mut desk = Desk::new(start);
    desk.client.connect(desk.now);
    desk.open();
    desk.refuse(ReasonCode::ServerUnavailable);
    let expected = ["Disconnected Refused 88", "Over Refused 88", "Hangup"];
    assert_eq!(desk.log()[2..], expected);
}

/// v3.1.1 [MQTT-3.1.2-6]: without a session expiry the Clean Session bit is always set; v5 [MQTT-3.1.2-4] likewise
/// after the first connection.
#[test]
fn a_session_without_expiry_is_never_resumed() {
    for version in VERSIONS {
        let mut desk =
            Desk::new(ClientConfig { session_expiry_s: 0, clean_start: true, ..config(version) });
        desk.client.connect(desk.now);
        for _ in 0..2 {
            desk.open();
            desk.accept(false);
            let expected = format!("> CONNECT {version} clean");
            assert!(desk.log().contains(&expected));
            desk.cut();
            desk.wake();
        }
    }
}

/// v5 [MQTT-3.2.2-4] [MQTT-3.2.2-2], v3.1.1 [MQTT-3.2.2-1]: a session after a clean start is a fault, tried again clean.
#[test]
fn session_present_after_a_clean_start_is_a_fault() {
    let mut retry = config(Version::V5);
    retry.reconnect.is_first_retried = true;
    retry.reconnect.version = None;
    let mut desk = Desk::new(retry);
    desk.client.connect(desk.now);
    desk.open();
    desk.log();
    desk.accept(true);
    let log = desk.log();
    assert!(log.contains(&"> DISCONNECT 82".into()), "{log:?}");
    assert!(log[0].starts_with("Disconnected PeerFault 82"), "{log:?}");
    desk.wake();
    desk.open();
    assert_eq!(desk.log(), ["Dial one 5.0 #2", "> CONNECT 5.0 clean expiry=3600"]);
}

/// By the user's wish an old session is taken up without memory of it.
#[test]
fn an_old_session_may_be_taken_up() {
    for version in VERSIONS {
        let mut desk = Desk::new(ClientConfig { clean_start: false, ..config(version) });
        desk.client.connect(desk.now);
        desk.open();
        desk.accept(true);
        assert_eq!(desk.log().last().unwrap(), "Connected present");
    }
}

/// v5 [MQTT-3.2.2-16]: an assigned client id is used from then on.
#[test]
fn an_assigned_client_id_is_kept() {
    let mut desk = Desk::new(ClientConfig { client_id: Default::default(), ..config(Version::V5) });
    desk.client.connect(desk.now);
    desk.open();
    let id = Property::AssignedClientIdentifier(Text::new("given").unwrap());
    desk.accept_with(false, one(id));
    desk.cut_and_open();
    assert_eq!(desk.connect.unwrap().client_id.as_str(), "given");
}

/// A CONNECT that cannot be written will not get better by trying again.
#[test]
fn an_impossible_connect_is_over_at_once() {
    let user_name = None;
    let password = Some(Bytes::from_static(b"secret"));
    let mut desk = Desk::new(ClientConfig { user_name, password, ..config(Version::V311) });
    desk.client.connect(desk.now);
    desk.open();
    let log = desk.log();
    assert!(log[1].starts_with("Over Unreachable CONNECT cannot be written"), "{log:?}");
    assert_eq!(log[2..], ["Hangup"]);
}

/// The CONNACK must come in time; the link's own deadline is ours.
#[test]
fn a_silent_server_is_left() {
    let mut desk = Desk::new(config(Version::V311));
    desk.client.connect(desk.now);
    desk.open();
    desk.log();
    desk.wake();
    assert_eq!(desk.log(), ["Disconnected Lost", "Over Lost", "Hangup"]);
}

/// Only the first call of `connect` counts, and nothing happens before it.
#[test]
fn connect_is_called_once() {
    let mut desk = Desk::new(config(Version::V5));
    assert_eq!(desk.log(), [""; 0]);
    desk.client.connect(desk.now);
    desk.client.connect(desk.now);
    assert_eq!(desk.log(), ["Dial one 5.0 #1"]);
    desk.open();
    desk.client.connect(desk.now);
    assert_eq!(desk.log(), ["> CONNECT 5.0 clean expiry=3600"]);
    assert_eq!(ReconnectConfig::default().version, None);
}
