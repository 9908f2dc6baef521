//! Both kinds of brokers, seen from a client made of bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use postrider_testing::{
    Broker, Received, Script, ScriptError, ScriptedBroker, TestBroker,
    wire::{Packet, PacketType, QoS, ReasonCode},
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

/// What a broker does when all is well, step by step.
#[test]
fn a_script_answers_and_delivers() {
    let script = Script::new()
        .accept()
        .grant()
        .deliver("t", "x", QoS::AtMostOnce)
        .and_then(|script| script.deliver("t", "x", QoS::AtLeastOnce))
        .and_then(|script| script.deliver("t", "x", QoS::ExactlyOnce))
        .unwrap()
        .acknowledge()
        .acknowledge()
        .release()
        .refuse_subscribe(ReasonCode::NotAuthorized)
        .serve();
    assert!(Script::new().deliver("a/+", "x", QoS::AtMostOnce).is_err());
    let broker = ScriptedBroker::start([script]).unwrap();
    let mut client = dial(broker.url());
    let mut exchange = |send: &[u8], expected: &[u8]| {
        client.write_all(send).unwrap();
        assert_eq!(read(&mut client, expected.len()), expected, "after {send:02x?}");
    };
    exchange(CONNECT, &CONNACK);
    exchange(
        b"\x82\x06\0\x05\0\x01t\x02",
        b"\x90\x03\0\x05\x02\x30\x04\0\x01tx\x32\x06\0\x01t\0\x01x",
    );
    exchange(b"\x40\x02\0\x01", b"\x34\x06\0\x01t\0\x02x");
    exchange(b"\x50\x02\0\x02", b"\x62\x02\0\x02");
    exchange(b"\x70\x02\0\x02\x32\x06\0\x01t\0\x07x", b"\x40\x02\0\x07");
    exchange(b"\x34\x06\0\x01t\0\x08x", b"\x50\x02\0\x08");
    exchange(b"\x62\x02\0\x08", b"\x70\x02\0\x08");
    exchange(b"\xa2\x05\0\x09\0\x01t", b"\xb0\x02\0\x09");
    exchange(b"\x82\x06\0\x0a\0\x01t\x02", b"\x90\x03\0\x0a\x80");
    // From here on anything.
    exchange(b"\x82\x06\0\x0b\0\x01t\x01", b"\x90\x03\0\x0b\x01");
    exchange(b"\x30\x03\0\x01t\x34\x05\0\x01t\0\x0c", b"\x50\x02\0\x0c");
    exchange(b"\x62\x02\0\x0c\xc0\0", b"\x70\x02\0\x0c\xd0\0");
    drop(client);
    assert_eq!(broker.finish_blocking().unwrap().len(), 15);
}

/// Drops, delays and cuts: the client sees no answer, a late one, a reset.
#[test]
fn a_script_drops_delays_and_cuts() {
    let scripts = [
        Script::new().accept().expect(PacketType::Publish).delay(Duration::from_millis(1)).cut(),
        Script::new().accept().cut_after(5),
        Script::new().accept().cut_after(500),
    ];
    let broker = ScriptedBroker::start(scripts).unwrap();
    for bytes in [&b"\x32\x05\0\x01t\0\x01"[..], b"\x32\x64\0\x01t"] {
        let mut client = dial(broker.url());
        client.write_all(CONNECT).unwrap();
        assert_eq!(read(&mut client, 4), CONNACK);
        client.write_all(bytes).unwrap();
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let mut client = dial(broker.url());
    client.write_all(CONNECT).unwrap();
    assert_eq!(read(&mut client, 4), CONNACK);
    drop(client);
    let text = broker.finish_blocking().unwrap_err().to_string();
    assert_eq!(text, "connection 3, step 2: expected 500 bytes more, got the end");
}

#[test]
fn a_refused_message_is_told_its_reason() {
    let script = Script::new().accept().refuse_publish(ReasonCode::QuotaExceeded);
    let broker = ScriptedBroker::start([script]).unwrap();
    let mut client = dial(broker.url());
    // The same in 5.0.
    client.write_all(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c").unwrap();
    assert_eq!(read(&mut client, 5), [0x20, 3, 0, 0, 0]);
    client.write_all(b"\x34\x06\0\x01t\0\x07\0").unwrap();
    assert_eq!(read(&mut client, 5), [0x50, 3, 0, 7, 0x97]);
    broker.finish_blocking().unwrap();
}

/// A client may close the connection without hearing the answers.
#[test]
fn a_broker_that_serves_does_not_mind_a_client_that_hangs_up() {
    let scripts = [
        Script::new().wait("gone").serve(),
        Script::new().wait("gone").closed(),
        Script::new().accept().cut_after(0),
    ];
    let broker = ScriptedBroker::start(scripts).unwrap();
    for asked in [&b"\x32\x05\0\x01t\0\x01"[..], b"\xc0\0"] {
        let mut client = dial(broker.url());
        client.write_all(CONNECT).unwrap();
        client.write_all(&asked.repeat(1000)).unwrap();
    }
    let mut client = dial(broker.url());
    client.write_all(CONNECT).unwrap();
    assert_eq!(read(&mut client, 4), CONNACK);
    assert!(is_at_end(&mut client));
    broker.release("gone");
    broker.finish_blocking().unwrap();
}
