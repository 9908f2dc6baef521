//! Enhanced authentication and re-authentication. Spec: v5 section 4.12.

use bytes::{Bytes, BytesMut};
use postrider_proto::{
    client::{ConnectOptions, ReauthenticateError},
    wire::{
        AckKind, Auth, ConnAck, PACKET_SIZE_MAX, Packet, Properties, Property, ReasonCode, Text,
        Version, encode,
    },
};

use crate::desk::{Desk, Q1, config, delivery};

fn properties(method: &str, data: &str) -> Properties {
    let method = Property::AuthenticationMethod(Text::new(method).unwrap());
    let data = Bytes::copy_from_slice(data.as_bytes());
    [method, Property::AuthenticationData(data)].into_iter().collect()
}

fn auth(reason: ReasonCode, data: &str) -> Packet {
    Packet::Auth(Auth { reason, properties: properties("M", data) })
}

/// CONNECT with a method is out.
fn opening() -> Desk {
    let mut desk = Desk::new(config(Version::V5));
    desk.client.connect(desk.now);
    desk.drain();
    let properties = properties("M", "first");
    desk.client.set_connect_options(ConnectOptions { properties, ..ConnectOptions::default() });
    desk.open();
    let connect = desk.connect.as_ref().unwrap();
    assert_eq!(connect.properties.authentication_data().unwrap(), "first");
    desk.publish(Q1, "a").unwrap();
    desk.log();
    desk
}

fn open() -> Desk {
    let mut desk = opening();
    desk.accept_with(false, properties("M", "last"));
    desk.client.confirm_server(desk.now);
    desk.log();
    desk.ack(AckKind::PubAck, 1, ReasonCode::Success);
    desk.log();
    desk
}

/// v5 [MQTT-3.1.2-30]: AUTH only, until the program trusts the server; then what waits.
#[test]
fn nothing_is_sent_before_the_server_is_confirmed() {
    let mut desk = opening();
    desk.reply(&auth(ReasonCode::ContinueAuthentication, "1"));
    assert_eq!(desk.log(), ["Challenge 1"]);
    assert!(desk.client.is_receive_paused());
    // Nothing is looked at out of turn, and nobody is answered twice.
    desk.client.confirm_server(desk.now);
    assert_eq!(desk.log(), [""; 0]);
    let mut desk = opening();
    desk.reply(&auth(ReasonCode::ContinueAuthentication, "1"));
    desk.client.answer_challenge(Some("2".into()), Properties::new(), desk.now);
    desk.client.answer_challenge(Some("3".into()), Properties::new(), desk.now);
    assert_eq!(desk.log(), ["Challenge 1", "> AUTH 18 2"]);
    desk.accept_with(false, properties("M", "last"));
    assert_eq!(desk.log(), ["Authenticated last"]);
    assert!(desk.client.limits().is_none());
    desk.client.confirm_server(desk.now);
    assert_eq!(desk.log(), ["Connected", "> PUBLISH 1 q1 a"]);
}

/// What comes in one piece with the CONNACK waits for the verdict.
#[test]
fn what_follows_waits_for_the_verdict() {
    let mut desk = opening();
    let connack = ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: properties("M", "last"),
    };
    let mut input = bytes_of(&[Packet::ConnAck(connack), Packet::PingResp]);
    desk.client.handle_bytes(&mut input, desk.now);
    assert_eq!(input.len(), 2);
    desk.client.reject_server("wrong".into(), desk.now);
    assert_eq!(
        desk.log(),
        [
            "Authenticated last",
            "Disconnected Untrusted wrong",
            "Published 1 Over",
            "Over Untrusted wrong",
            "> DISCONNECT 80",
            "Hangup"
        ]
    );
}

/// The server hangs up while the program thinks about a challenge: what it said before counts, but it is not believed
/// without an answer, and asks nothing more.
#[test]
fn the_last_words_of_a_server_are_heard() {
    let after = |last: &[Packet]| {
        let mut desk = opening();
        desk.reply(&auth(ReasonCode::ContinueAuthentication, "1"));
        desk.log();
        desk.client.handle_last_bytes(&mut bytes_of(last), desk.now);
        desk.cut();
        desk.client.answer_challenge(None, Properties::new(), desk.now);
        desk.log()
    };
    let connack = |reason| {
        let properties = properties("M", "last");
        Packet::ConnAck(ConnAck { session_present: false, reason, properties })
    };
    let again = auth(ReasonCode::ContinueAuthentication, "2");
    let lost = ["Disconnected Lost", "Published 1 Over", "Over Lost"];
    assert_eq!(after(&[]), lost);
    assert_eq!(after(&[again]), lost);
    assert_eq!(after(&[connack(ReasonCode::Success), delivery(Q1, 1, "a", false)]), lost);
    let refused = ["Disconnected Refused 87", "Published 1 Over", "Over Refused 87"];
    assert_eq!(after(&[connack(ReasonCode::NotAuthorized)]), refused);
    // Nor does a server have the last word that the program has not confirmed.
    let mut desk = opening();
    desk.reply(&connack(ReasonCode::Success));
    desk.log();
    desk.client.handle_last_bytes(&mut bytes_of(&[delivery(Q1, 1, "a", false)]), desk.now);
    desk.cut();
    assert_eq!(desk.log(), lost);
    // It was confirmed before.
    let mut desk = open();
    desk.client.reauthenticate(None, Properties::new(), desk.now).unwrap();
    desk.reply(&auth(ReasonCode::ContinueAuthentication, "1"));
    desk.log();
    desk.client.handle_last_bytes(&mut bytes_of(&[delivery(Q1, 1, "a", false)]), desk.now);
    desk.cut();
    assert_eq!(desk.log()[0], "Message a");
}

fn bytes_of(packets: &[Packet]) -> BytesMut {
    let mut bytes = Vec::new();
    for packet in packets {
        encode(packet, Version::V5, PACKET_SIZE_MAX, &mut bytes).unwrap();
    }
    BytesMut::from(&bytes[..])
}

/// v5 [MQTT-4.12.1-1] [MQTT-4.12.0-3].
#[test]
fn reauthentication_is_an_exchange_of_its_own() {
    let mut desk = open();
    assert_eq!(
        desk.client.reauthenticate(Some("again".into()), Properties::new(), desk.now),
        Ok(())
    );
    let busy = desk.client.reauthenticate(None, Properties::new(), desk.now);
    assert_eq!(busy, Err(ReauthenticateError::Busy));
    assert_eq!(desk.log(), ["> AUTH 19 again"]);
    desk.reply(&auth(ReasonCode::ContinueAuthentication, "1"));
    desk.client.answer_challenge(None, Properties::new(), desk.now);
    desk.publish(Q1, "b").unwrap();
    assert_eq!(desk.log(), ["Challenge 1", "> AUTH 18 -", "> PUBLISH 2 q1 b"]);
    desk.reply(&auth(ReasonCode::Success, "done"));
    desk.client.confirm_server(desk.now);
    assert_eq!(desk.log(), ["Authenticated done"]);
    assert_eq!(desk.client.reauthenticate(None, Properties::new(), desk.now), Ok(()));
}

/// v5 [MQTT-4.12.1-1]: it is the client that begins.
#[test]
fn auth_out_of_the_blue_ends_it() {
    for reason in [ReasonCode::ContinueAuthentication, ReasonCode::Success] {
        let mut desk = open();
        desk.reply(&auth(reason, "now"));
        let log = desk.log();
        assert_eq!(log[0], "Disconnected PeerFault 82 MQTT-4.12.1-1, retry");
        assert!(log.contains(&"> DISCONNECT 82".to_owned()), "{log:?}");
    }
}

/// v5 [MQTT-4.12.0-5] [MQTT-4.12.0-6].
#[test]
fn another_method_ends_it() {
    let mut desk = opening();
    desk.accept_with(false, properties("N", "last"));
    assert!(desk.log()[0].contains("PeerFault 82 MQTT-4.12.0-5"));
    let mut desk = opening();
    let properties = properties("N", "1");
    let reason = ReasonCode::ContinueAuthentication;
    desk.reply(&Packet::Auth(Auth { reason, properties }));
    assert!(desk.log()[0].contains("PeerFault 82 MQTT-4.12.0-5"));
}

/// v5 [MQTT-4.12.0-7].
#[test]
fn there_is_no_auth_without_a_method() {
    let mut desk = Desk::connected(Version::V5);
    let refused = desk.client.reauthenticate(None, Properties::new(), desk.now);
    assert_eq!(refused, Err(ReauthenticateError::NoMethod));
    desk.cut();
    let refused = desk.client.reauthenticate(None, Properties::new(), desk.now);
    assert_eq!(refused, Err(ReauthenticateError::NotConnected));
}

/// A new connection begins a new exchange, whatever the old one was in.
#[test]
fn an_exchange_ends_with_its_connection() {
    let mut desk = open();
    desk.client.reauthenticate(None, Properties::new(), desk.now).unwrap();
    desk.reply(&auth(ReasonCode::ContinueAuthentication, "1"));
    desk.cut_and_open();
    assert!(!desk.client.is_receive_paused());
    desk.accept_with(true, properties("M", "last"));
    desk.client.confirm_server(desk.now);
    assert!(desk.log().contains(&"Connected present".to_owned()));
    assert_eq!(desk.client.reauthenticate(None, Properties::new(), desk.now), Ok(()));
}
