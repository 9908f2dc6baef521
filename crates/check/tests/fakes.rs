//! The judge against brokers that are wrong: it must say so.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use postrider_check::{Surprise, Verdict, cases, judge};
use postrider_net::{Address, Dial};
use postrider_wire::Version;

#[test]
fn a_broker_that_closes_at_once_is_seen() {
    let verdict = judge_fake("PINGREQ is answered, each one", Version::V311, &[]);
    assert!(matches!(verdict.surprise, Some((1, Surprise::Closed(_)))), "{verdict:?}");
}

#[test]
fn a_packet_before_connack_is_seen() {
    let verdict = judge_fake("PINGREQ is answered, each one", Version::V311, b"\xd0\x00");
    assert!(matches!(verdict.surprise, Some((1, Surprise::Law { .. }))), "{verdict:?}");
}

#[test]
fn bytes_that_are_no_packet_are_seen() {
    let verdict = judge_fake("PINGREQ is answered, each one", Version::V5, b"\x20\x02\x00\x00");
    assert!(matches!(verdict.surprise, Some((1, Surprise::Decode(_)))), "{verdict:?}");
}

#[test]
fn a_wrong_answer_is_seen() {
    let accepted = b"\x20\x03\x00\x00\x00\xd0\x00\xd0\x00\x40\x02\x00\x01";
    let verdict = judge_fake("PINGREQ is answered, each one", Version::V5, accepted);
    assert!(matches!(verdict.surprise, Some((3, Surprise::Packet { .. }))), "{verdict:?}");
}

/// A broker may close without DISCONNECT, but it should not.
#[test]
fn a_silent_end_is_remarked_on() {
    let accepted = b"\x20\x03\x00\x00\x00";
    let name = "a second CONNECT ends the connection";
    let verdict = judge_fake(name, Version::V5, accepted);
    assert!(verdict.surprise.is_none(), "{verdict:?}");
    assert_eq!(verdict.remarks, ["closed without DISCONNECT ProtocolError"]);
    let said = b"\x20\x03\x00\x00\x00\xe0\x01\x82";
    let verdict = judge_fake(name, Version::V5, said);
    assert!(verdict.surprise.is_none() && verdict.remarks.is_empty(), "{verdict:?}");
    let wrong = b"\x20\x03\x00\x00\x00\xe0\x01\x8d";
    let verdict = judge_fake(name, Version::V5, wrong);
    assert!(matches!(verdict.surprise, Some((3, Surprise::Packet { .. }))), "{verdict:?}");
}

/// Plays one case at a broker that answers the first packet with these bytes, and hangs up at the second.
fn judge_fake(name: &str, version: Version, answer: &'static [u8]) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let fake = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4096];
        let _ = stream.read(&mut bytes);
        let _ = stream.write_all(answer);
        if !answer.is_empty() {
            let _ = stream.read(&mut bytes);
        }
    });
    let all = cases().unwrap();
    let case = all.iter().find(|case| case.name == name).expect("a case of this name");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let verdict = runtime.block_on(judge(
        &Address::parse(&address).unwrap(),
        &Dial::default(),
        case,
        version,
    ));
    fake.join().unwrap();
    verdict
}
