//! Keep-alive in simulated time.

use postrider_proto::{LinkConfig, LinkEnd, Received, Role};
use postrider_wire::{Connect, Packet, Property, QoS, ReasonCode, Version};

use crate::end::{ALL, End, PLAIN, START, connack, connect, delivery, message, publish};

/// v5 [MQTT-3.1.2-20], v3.1.1 [MQTT-3.1.2-23]: a client that has nothing to say pings before three quarters of the
/// interval are over, and measures the round trip.
#[test]
fn a_quiet_client_pings() {
    for version in ALL {
        let mut end = End::open(Role::Client, version, PLAIN);
        assert_eq!(end.link.deadline(), Some(START.plus_ms(7_500)));
        assert_eq!(end.at_ms(7_499), Ok(()));
        assert_eq!(end.said(), Vec::<String>::new());
        assert_eq!(end.at_ms(7_500), Ok(()));
        assert_eq!(end.said(), ["PINGREQ"]);
        end.now = START.plus_ms(7_540);
        assert_eq!(end.takes(&Packet::PingResp), [Received::Pong(40)]);
        assert_eq!(end.link.deadline(), Some(START.plus_ms(15_000)), "counted from our PINGREQ");
    }
}

/// v5 [MQTT-3.1.2-20]: a client that only listens still says something.
#[test]
fn receiving_does_not_spare_the_ping() {
    let mut end = End::open(Role::Client, Version::V5, PLAIN);
    for second in 1..=7 {
        end.now = START.plus_s(second);
        end.takes(&Packet::Publish(publish("a", QoS::AtMostOnce, 0, "")));
    }
    assert_eq!(end.at_ms(7_500), Ok(()));
    assert_eq!(end.said(), ["PINGREQ"]);
    // The server does not answer but goes on sending: it lives, and the promise is kept with a second PINGREQ.
    for second in 8..=15 {
        end.now = START.plus_s(second);
        end.takes(&Packet::Publish(publish("a", QoS::AtMostOnce, 0, "")));
        assert_eq!(end.link.handle_time(end.now), Ok(()));
    }
    assert_eq!(end.said(), ["PINGREQ"]);
}

/// A server that answers nothing is found dead within one and a half intervals, though we send all the time.
#[test]
fn a_dead_server_is_found() {
    for version in ALL {
        for is_sending in [false, true] {
            let mut end = End::open(Role::Client, version, PLAIN);
            let mut pings = 0;
            for ms in (100..15_000).step_by(100) {
                assert_eq!(end.at_ms(ms), Ok(()));
                let message = message("a", b"", &[]);
                if is_sending {
                    let qos = delivery(QoS::AtMostOnce);
                    assert!(end.link.send_message(&message, &qos, None, false, end.now));
                }
                pings += end.said().iter().filter(|line| *line == "PINGREQ").count();
            }
            assert_eq!(pings, 1);
            assert!(end.link.deadline() <= Some(START.plus_ms(15_000)));
            assert_eq!(end.at_ms(15_000), Err(LinkEnd::Lost));
            assert!(end.link.is_over());
        }
    }
}

/// v5 [MQTT-3.1.2-22], v3.1.1 [MQTT-3.1.2-24]: a server cuts a silent client at one and a half intervals, not before.
#[test]
fn a_silent_client_is_cut() {
    for version in ALL {
        let mut end = End::open(Role::Server, version, PLAIN);
        assert_eq!(end.link.deadline(), Some(START.plus_ms(15_000)));
        end.now = START.plus_ms(5_000);
        end.takes(&Packet::PingReq);
        assert_eq!(end.said(), ["PINGRESP"]);
        assert_eq!(end.at_ms(15_000), Ok(()));
        assert_eq!(end.link.deadline(), Some(START.plus_ms(20_000)));
        assert_eq!(end.at_ms(19_999), Ok(()));
        assert_eq!(end.at_ms(20_000), Err(LinkEnd::Ours(ReasonCode::KeepAliveTimeout)));
        let is_v5 = version == Version::V5;
        let said: &[&str] = if is_v5 { &["DISCONNECT KeepAliveTimeout"] } else { &[] };
        assert_eq!(end.said(), said);
        assert!(end.link.is_over());
    }
}

/// v5 [MQTT-3.2.2-21], [MQTT-3.1.2-21]: Server Keep Alive replaces the client's.
#[test]
fn server_keep_alive_counts() {
    let said = connack(&[Property::ServerKeepAlive(2)]);
    let end = End::open_with(Role::Client, PLAIN, &connect(Version::V5), said);
    assert_eq!(end.link.deadline(), Some(START.plus_ms(1_500)));
}

/// v5 section 3.1.2.10: a keep alive of 0 turns it off.
#[test]
fn keep_alive_0_is_off() {
    for role in [Role::Client, Role::Server] {
        let asked = Connect { keep_alive: 0, ..connect(Version::V5) };
        let mut end = End::open_with(role, PLAIN, &asked, connack(&[]));
        assert_eq!(end.link.deadline(), None);
        assert_eq!(end.at_ms(1 << 40), Ok(()));
        assert!(end.link.is_open());
    }
}

/// A part of a packet is a sign of life, so that a large one may take its time; the same part again is none.
#[test]
fn bytes_are_a_sign_of_life() {
    let mut end = End::open(Role::Server, Version::V311, PLAIN);
    for (ms, byte) in [(10_000, 0x30), (20_000, 0x05), (30_000, 0x00)] {
        assert_eq!(end.at_ms(ms), Ok(()));
        end.input.extend_from_slice(&[byte]);
        assert_eq!(end.drain(), Ok(vec![]));
    }
    assert_eq!(end.drain(), Ok(vec![]));
    assert_eq!(end.at_ms(44_999), Ok(()));
    assert_eq!(end.drain(), Ok(vec![]));
    assert_eq!(end.at_ms(45_000), Err(LinkEnd::Ours(ReasonCode::KeepAliveTimeout)));
}

/// A peer that is not read, by the link or by its driver, is not blamed for its silence.
#[test]
fn a_peer_that_is_not_read_is_not_silent() {
    let config = LinkConfig { receive_maximum_unannounced: Some(1), ..PLAIN };
    let mut end = End::open(Role::Server, Version::V311, config);
    end.takes(&Packet::Publish(publish("a", QoS::AtLeastOnce, 1, "")));
    end.feed(&Packet::Publish(publish("a", QoS::AtLeastOnce, 2, "")));
    assert_eq!(end.drain(), Ok(vec![]));
    assert!(end.link.is_receive_paused());
    assert_eq!(end.at_ms(14_000), Ok(()));
    assert_eq!(end.at_ms(28_000), Ok(()));

    let mut end = End::open(Role::Server, Version::V5, PLAIN);
    end.link.excuse_silence(START.plus_ms(14_000));
    assert_eq!(end.at_ms(28_999), Ok(()));
    assert!(end.at_ms(29_000).is_err());
}
