//! Both kinds of brokers, seen from a client made of bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use postrider_testing::{
    Broker, Received, Script, ScriptError, ScriptedBroker, TestBroker,
    wire::{Packet, PacketType, ReasonCode},
};

#[test]
fn a_test_broker_can_be_stopped_killed_and_started_again_at_the_same_place() {
    let mut broker = TestBroker::start().unwrap();
    let (url, port) = (broker.url().to_owned(), broker.port());
    assert_eq!(url, format!("mqtt://127.0.0.1:{port}"));
    for round in 0..4 {
        let mut client = dial(&url);
        client.write_all(CONNECT).unwrap();
        assert_eq!(read(&mut client, 4), CONNACK);
        assert_eq!(broker.broker().unwrap().stats().sessions, 1);
        match round {
            0 => broker.stop(),
            1 => broker.kill(),
            _ => broker.restart().unwrap(),
        }
        assert!(is_at_end(&mut client));
        if round < 2 {
            assert!(broker.broker().is_none());
            let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            broker.restart().unwrap();
        }
        assert_eq!((broker.url(), broker.port()), (url.as_str(), port));
    }
}

#[test]
fn a_test_broker_takes_settings() {
    let settings = Broker::builder().user("ann", "hush");
    let mut broker = TestBroker::start_with(settings).unwrap();
    for _ in 0..2 {
        let mut client = dial(broker.url());
        client.write_all(CONNECT).unwrap();
        assert_eq!(read(&mut client, 4), [0x20, 2, 0, 5]);
        broker.restart().unwrap();
    }
}

#[test]
fn a_script_is_played_and_what_came_is_told() {
    let scripts = [
        Script::new().refuse(ReasonCode::ServerUnavailable),
        Script::new()
            .accept()
            .wait("go")
            .send_bytes(&b"\xd0\x00"[..])
            .expect(PacketType::Disconnect)
            .closed(),
    ];
    let broker = ScriptedBroker::start(scripts).unwrap();
    let mut client = dial(broker.url());
    client.write_all(CONNECT).unwrap();
    assert_eq!(read(&mut client, 4), [0x20, 2, 0, 3]);
    assert!(is_at_end(&mut client));

    let mut client = dial(broker.url());
    client.write_all(CONNECT).unwrap();
    assert_eq!(read(&mut client, 4), CONNACK);
    client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(client.read(&mut [0]).is_err(), "the script waits");
    client.set_read_timeout(Some(WAIT_MAX)).unwrap();
    broker.release("go");
    assert_eq!(read(&mut client, 2), [0xd0, 0]);
    // A ping between is answered beside the script.
    client.write_all(b"\xc0\x00\xe0\x00").unwrap();
    assert_eq!(read(&mut client, 2), [0xd0, 0]);
    drop(client);

    let received = broker.finish_blocking().unwrap();
    let lines: Vec<_> = received.iter().map(line).collect();
    assert_eq!(
        lines,
        ["1 CONNECT", "2 CONNECT", "2 PINGREQ", "2 DISCONNECT"],
        "of each its first word"
    );
}

#[test]
fn a_difference_from_the_script_is_named() {
    let script = Script::new().accept().expect(PacketType::Publish);
    let broker = ScriptedBroker::start([script.clone()]).unwrap();
    let mut client = dial(broker.url());
    client.write_all(CONNECT).unwrap();
    client.write_all(b"\xe0\x00").unwrap();
    let text = broker.finish_blocking().unwrap_err().to_string();
    assert!(text.starts_with("connection 1, step 2: expected PUBLISH, got DISCONNECT"), "{text}");

    let broker = ScriptedBroker::start([script.clone()]).unwrap();
    dial(broker.url()).write_all(CONNECT).unwrap();
    let text = broker.finish_blocking().unwrap_err().to_string();
    assert_eq!(text, "connection 1, step 2: expected PUBLISH, got the end");

    let broker = ScriptedBroker::start([script]).unwrap();
    dial(broker.url()).write_all(&[0x00, 0x00]).unwrap();
    let error = broker.finish_blocking().unwrap_err();
    assert!(matches!(error, ScriptError::Unexpected { connection: 1, step: 1, .. }), "{error}");
}

#[test]
fn a_connection_without_script_is_closed() {
    let broker = ScriptedBroker::start([]).unwrap();
    assert!(is_at_end(&mut dial(broker.url())));
    assert_eq!(broker.finish_blocking().unwrap(), []);
}

#[tokio::test]
async fn a_test_can_wait_for_what_comes() {
    let broker = ScriptedBroker::start([Script::new().accept()]).unwrap();
    let mut client = dial(broker.url());
    client.write_all(CONNECT).unwrap();
    client.write_all(b"\x30\x04\x00\x01th\x30\x03\x00\x01t").unwrap();
    let is_publish = |received: &Received| matches!(received.packet, Packet::Publish(_));
    let received = broker
        .wait_for(|received| received.iter().filter(|received| is_publish(received)).count() == 2)
        .await
        .unwrap();
    assert_eq!(received.len(), 3);
    assert_eq!(broker.finish().await.unwrap(), received);
}

/// MQTT 3.1.1, clean session, keep alive 60 s, client id "c".
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c";
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const WAIT_MAX: Duration = Duration::from_secs(10);

fn dial(url: &str) -> TcpStream {
    let client = TcpStream::connect(url.strip_prefix("mqtt://").unwrap()).unwrap();
    client.set_read_timeout(Some(WAIT_MAX)).unwrap();
    client
}

fn read(client: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

fn is_at_end(client: &mut TcpStream) -> bool {
    match client.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn line(received: &Received) -> String {
    format!("{} {}", received.connection, received.packet.packet_type().name())
}
