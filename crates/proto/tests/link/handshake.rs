//! CONNECT and CONNACK: what is announced, what is understood, and in which order things happen.

use postrider_proto::{Limits, Link, LinkConfig, LinkEnd, Received, Role};
use postrider_wire::{
    ConnAck, Connect, Disconnect, EncodeError, PACKET_SIZE_MAX, Packet, Properties, Property, QoS,
    ReasonCode, Version,
};

use crate::end::{
    ALL, End, FREE, PLAIN, START, V3, bare, connack, connect, connect_with, delivery, message,
    properties, publish, text,
};
use postrider_proto::Gate;

fn connected(config: LinkConfig, connect: &Connect) -> End {
    let mut end = End::server(config, connect.version);
    let received = end.takes(&Packet::Connect(Box::new(connect.clone())));
    assert_eq!(received, [Received::Connect(Box::new(connect.clone()))]);
    end
}

/// v5 sections 3.1.2.11 and 3.2.2.3: limits are announced where they differ from what holds without a word.
#[test]
fn both_ends_announce_their_limits() {
    let config =
        LinkConfig { packet_size_max: 5000, receive_maximum: 7, topic_alias_max: 3, ..PLAIN };
    let asked = connect_with(&[Property::SessionExpiryInterval(60)]);
    let announced = "ReceiveMaximum=7 MaximumPacketSize=5000 TopicAliasMaximum=3";

    let mut client = End::client(config, &asked);
    assert_eq!(
        client.said(),
        [format!(
            "CONNECT 5.0 client_id=\"c\" keep_alive=10 clean_start {{SessionExpiryInterval=60 {announced}}}"
        )]
    );
    let mut server = connected(config, &asked);
    server.link.accept(connack(&[]), 10, 60, FREE);
    assert_eq!(server.said(), [format!("CONNACK Success {{{announced}}}")]);

    let mut server = connected(PLAIN, &asked);
    let given = connack(&[Property::AssignedClientIdentifier(text("x"))]);
    server.link.accept(given, 20, 0, FREE);
    assert_eq!(
        server.said(),
        [
            "CONNACK Success {AssignedClientIdentifier=\"x\" SessionExpiryInterval=0 ServerKeepAlive=20}"
        ]
    );
    let mut server = connected(PLAIN, &asked);
    server.link.accept(connack(&[]), 10, 60, FREE);
    assert_eq!(server.written(), [0x20, 3, 0, 0, 0]);
}

/// v3.1.1 [MQTT-3.1.4-4]: 3.x announces nothing.
#[test]
fn nothing_is_announced_in_3_x() {
    for version in V3 {
        let mut client = End::client(LinkConfig::default(), &connect(version));
        assert_eq!(
            client.said(),
            [format!("CONNECT {version} client_id=\"c\" keep_alive=10 clean_start")]
        );
        let mut server = connected(LinkConfig::default(), &connect(version));
        let given = connack(&[Property::AssignedClientIdentifier(text("x"))]);
        server.link.accept(given, 20, 5, FREE);
        assert_eq!(server.written(), [0x20, 2, 0, 0]);
    }
}

const V5_LIMITS: Limits = Limits {
    receive_maximum: u16::MAX,
    packet_size_max: PACKET_SIZE_MAX,
    topic_alias_max: 0,
    qos_max: QoS::ExactlyOnce,
    keep_alive_s: 10,
    session_expiry_s: 0,
    has_retain: true,
    has_wildcards: true,
    has_subscription_ids: true,
    has_shared: true,
    has_properties: true,
    has_server_disconnect: true,
    has_problem_information: true,
};

const V3_LIMITS: Limits = Limits {
    has_subscription_ids: false,
    has_properties: false,
    has_server_disconnect: false,
    has_problem_information: false,
    ..V5_LIMITS
};

/// v5 [MQTT-3.1.2-24], [MQTT-3.1.2-26], [MQTT-4.9.0-1]: what CONNECT says binds the server.
#[test]
fn server_limits_come_from_connect() {
    let config = LinkConfig { topic_alias_max_out: 20, ..PLAIN };
    let table = [
        (vec![], V5_LIMITS),
        (vec![Property::ReceiveMaximum(5)], Limits { receive_maximum: 5, ..V5_LIMITS }),
        (vec![Property::MaximumPacketSize(99)], Limits { packet_size_max: 99, ..V5_LIMITS }),
        (
            vec![Property::MaximumPacketSize(u32::MAX)],
            Limits { packet_size_max: PACKET_SIZE_MAX, ..V5_LIMITS },
        ),
        (vec![Property::TopicAliasMaximum(7)], Limits { topic_alias_max: 7, ..V5_LIMITS }),
        (vec![Property::TopicAliasMaximum(70)], Limits { topic_alias_max: 20, ..V5_LIMITS }),
        (
            vec![Property::RequestProblemInformation(false)],
            Limits { has_problem_information: false, ..V5_LIMITS },
        ),
    ];
    for (asked, limits) in table {
        let mut end = connected(config, &connect_with(&asked));
        assert_eq!(end.link.limits(), None);
        assert!(!end.link.is_open());
        assert_eq!(*end.link.accept(connack(&[]), 10, 0, FREE), limits, "{asked:?}");
        assert_eq!(end.limits(), limits);
    }
    for version in V3 {
        let mut end = connected(config, &connect(version));
        let limits = Limits { keep_alive_s: 9, session_expiry_s: 4, ..V3_LIMITS };
        assert_eq!(*end.link.accept(connack(&[]), 9, 4, FREE), limits);
    }
}

/// v5 [MQTT-3.2.2-11], [MQTT-3.2.2-14], [MQTT-3.2.2-15], [MQTT-3.2.2-17], [MQTT-3.2.2-21], [MQTT-3.1.2-21]: what
/// CONNACK says binds the client.
#[test]
fn client_limits_come_from_connack() {
    let config = LinkConfig { topic_alias_max_out: 20, ..PLAIN };
    let table = [
        (vec![], V5_LIMITS),
        (vec![Property::ReceiveMaximum(20)], Limits { receive_maximum: 20, ..V5_LIMITS }),
        (vec![Property::MaximumQoS(0)], Limits { qos_max: QoS::AtMostOnce, ..V5_LIMITS }),
        (vec![Property::MaximumQoS(1)], Limits { qos_max: QoS::AtLeastOnce, ..V5_LIMITS }),
        (vec![Property::RetainAvailable(false)], Limits { has_retain: false, ..V5_LIMITS }),
        (vec![Property::MaximumPacketSize(99)], Limits { packet_size_max: 99, ..V5_LIMITS }),
        (vec![Property::TopicAliasMaximum(9)], Limits { topic_alias_max: 9, ..V5_LIMITS }),
        (vec![Property::TopicAliasMaximum(65535)], Limits { topic_alias_max: 20, ..V5_LIMITS }),
        (
            vec![Property::WildcardSubscriptionAvailable(false)],
            Limits { has_wildcards: false, ..V5_LIMITS },
        ),
        (
            vec![Property::SubscriptionIdentifierAvailable(false)],
            Limits { has_subscription_ids: false, ..V5_LIMITS },
        ),
        (
            vec![Property::SharedSubscriptionAvailable(false)],
            Limits { has_shared: false, ..V5_LIMITS },
        ),
        (vec![Property::ServerKeepAlive(3)], Limits { keep_alive_s: 3, ..V5_LIMITS }),
        (vec![Property::SessionExpiryInterval(8)], Limits { session_expiry_s: 8, ..V5_LIMITS }),
    ];
    for (said, limits) in table {
        let mut end = End::client(config, &connect(Version::V5));
        assert_eq!(end.link.limits(), None);
        let received = end.takes(&Packet::ConnAck(connack(&said)));
        assert_eq!(received, [Received::ConnAck(connack(&said))]);
        assert_eq!(end.limits(), limits, "{said:?}");
    }
    for version in V3 {
        for (clean_start, session_expiry_s) in [(true, 0), (false, u32::MAX)] {
            let mut end = End::client(config, &Connect { clean_start, ..connect(version) });
            end.takes(&Packet::ConnAck(connack(&[])));
            assert_eq!(end.limits(), Limits { session_expiry_s, ..V3_LIMITS });
        }
    }
}

/// v5 [MQTT-3.1.4-1], [MQTT-3.1.2-3], v3.1.1 [MQTT-3.1.4-1], [MQTT-3.1.2-3]: a malformed CONNECT is answered by CONNACK
/// in 5.0, and by nothing in 3.x.
#[test]
fn malformed_connects() {
    let mut end = End::server(PLAIN, Version::V5);
    let (reason, statement, said) =
        end.faults_on("10 0e 00 04 4d 51 54 54 05 03 00 0a 00 00 01 63");
    assert_eq!((reason, statement), (ReasonCode::MalformedPacket, "MQTT-3.1.2-3"));
    assert_eq!(said, ["CONNACK MalformedPacket"]);
    // Receive Maximum 0.
    let mut end = End::server(PLAIN, Version::V5);
    let (_, _, said) = end.faults_on("10 11 00 04 4d 51 54 54 05 02 00 0a 03 21 00 00 00 01 63");
    assert_eq!(said, ["CONNACK ProtocolError"]);
    let mut end = End::server(PLAIN, Version::V311);
    let (_, _, said) = end.faults_on("10 0d 00 04 4d 51 54 54 04 03 00 0a 00 01 63");
    assert_eq!(said, Vec::<String>::new());
}

/// v3.1.1 [MQTT-3.1.2-2], v5 [MQTT-3.1.2-2]: an unknown level gets return code 1. v3.1.1 [MQTT-3.1.2-1], [MQTT-3.1.4-1],
/// v5 [MQTT-3.1.2-1]: an unknown name gets nothing, whatever its level.
#[test]
fn unknown_versions() {
    for (hex, answer) in [
        ("10 0d 00 04 4d 51 54 54 06 02 00 0a 00 01 63", &[0x20, 2, 0, 1][..]),
        ("10 0d 00 04 4d 51 54 54 02 02 00 0a 00 01 63", &[0x20, 2, 0, 1]),
        ("10 0d 00 04 4d 51 54 55 04 02 00 0a 00 01 63", &[]),
        ("10 0e 00 04 4d 51 54 55 05 02 00 0a 00 00 01 63", &[]),
    ] {
        let mut end = End::server(PLAIN, Version::V311);
        end.input.extend_from_slice(&crate::end::bytes_of(hex));
        let fault = end.drain().expect_err("a fault");
        let LinkEnd::PeerFault { reason, .. } = fault else { panic!("{fault:?}") };
        assert_eq!(reason, ReasonCode::UnsupportedProtocolVersion);
        assert_eq!(end.written(), answer, "{hex}");
    }
}

/// v5 [MQTT-3.2.2-6], [MQTT-3.2.2-7], v3.1.1 [MQTT-3.2.2-4], [MQTT-3.2.2-5], [MQTT-3.2.2-6]: refusals, and what 3.x makes
/// of reasons it does not know.
#[test]
fn refusals() {
    let table = [
        (ReasonCode::BadUserNameOrPassword, Some("BadUserNameOrPassword")),
        (ReasonCode::ServerBusy, Some("ServerUnavailable")),
        (ReasonCode::Banned, Some("NotAuthorized")),
        (ReasonCode::UseAnotherServer, Some("ServerUnavailable")),
        (ReasonCode::PacketTooLarge, None),
    ];
    for (reason, code) in table {
        let connack = ConnAck { session_present: true, reason, properties: Properties::new() };
        for version in ALL {
            let mut end = connected(PLAIN, &connect(version));
            end.link.refuse(&connack);
            assert!(end.link.is_over());
            let said = match (version, code) {
                (Version::V5, _) => vec![format!("CONNACK {reason:?}")],
                (_, Some(code)) => vec![format!("CONNACK {code}")],
                (_, None) => vec![],
            };
            assert_eq!(end.said(), said);
        }
    }
}

/// v5 [MQTT-4.13.2-1]: a refused client's link is over; it says nothing more.
#[test]
fn a_refused_client_is_told() {
    for version in ALL {
        let mut end = End::client(PLAIN, &connect(version));
        end.said();
        let mut refusal = connack(&[]);
        refusal.reason = ReasonCode::NotAuthorized;
        let received = end.takes(&Packet::ConnAck(refusal.clone()));
        assert_eq!(received, [Received::ConnAck(refusal)]);
        assert!(end.link.is_over());
        assert_eq!(end.said(), Vec::<String>::new());
        assert_eq!(end.link.deadline(), None);
    }
}

/// v5 [MQTT-3.2.2-19], [MQTT-3.2.2-20]: texts go first when CONNACK would be too large; then there is no link.
#[test]
fn connack_fits_into_what_the_client_accepts() {
    let given = || {
        connack(&[
            Property::ReasonString(text("hello")),
            Property::UserProperty(text("a"), text("b")),
            Property::AssignedClientIdentifier(text("x")),
        ])
    };
    let accept = |size| {
        let mut end = connected(PLAIN, &connect_with(&[Property::MaximumPacketSize(size)]));
        end.link.accept(given(), 10, 0, FREE);
        end
    };
    let mut end = accept(24);
    assert_eq!(
        end.said(),
        [
            "CONNACK Success {ReasonString=\"hello\" UserProperty=\"a\":\"b\" AssignedClientIdentifier=\"x\"}"
        ]
    );
    let mut end = accept(23);
    assert_eq!(
        end.said(),
        ["CONNACK Success {UserProperty=\"a\":\"b\" AssignedClientIdentifier=\"x\"}"]
    );
    let mut end = accept(15);
    assert_eq!(end.said(), ["CONNACK Success {AssignedClientIdentifier=\"x\"}"]);
    let mut end = accept(8);
    assert!(end.link.is_over());
    assert_eq!(end.said(), Vec::<String>::new());
}

/// v5 [MQTT-3.2.2-2], v3.1.1 [MQTT-3.2.2-1]: a clean start finds no session.
#[test]
fn session_present_after_a_clean_start_is_a_fault() {
    for (version, statement) in [(Version::V311, "MQTT-3.2.2-1"), (Version::V5, "MQTT-3.2.2-2")] {
        let mut end = End::client(PLAIN, &connect(version));
        end.said();
        let packet = Packet::ConnAck(ConnAck { session_present: true, ..connack(&[]) });
        assert_eq!(end.faults(&packet).1, statement);
        let mut end = End::client(PLAIN, &Connect { clean_start: false, ..connect(version) });
        assert_eq!(end.takes(&packet).len(), 1);
        assert!(end.link.is_open());
    }
}

/// v5 [MQTT-3.1.4-6], v3.1.1 [MQTT-3.1.4-5]: what comes right behind CONNECT is read when that is accepted.
#[test]
fn packets_behind_connect_wait_for_the_verdict() {
    for version in ALL {
        let mut end = connected(PLAIN, &connect(version));
        end.feed(&Packet::Publish(publish("a", QoS::AtMostOnce, 0, "x")));
        end.feed(&Packet::PingReq);
        assert_eq!(end.drain(), Ok(vec![]));
        assert_eq!(end.link.deadline(), None, "it is the server's turn");
        end.link.accept(connack(&[]), 10, 0, FREE);
        assert!(matches!(end.drain().as_deref(), Ok([Received::Publish(_)])));
        let said: Vec<String> = end.said().iter().map(|line| bare(line)).collect();
        assert_eq!(said, ["CONNACK Success", "PINGRESP"]);

        let mut end = connected(PLAIN, &connect(version));
        end.feed(&Packet::PingReq);
        let mut refusal = connack(&[]);
        refusal.reason = ReasonCode::NotAuthorized;
        end.link.refuse(&refusal);
        assert_eq!(end.drain(), Ok(vec![]));
        assert_eq!(end.said(), ["CONNACK NotAuthorized"]);
    }
}

/// v5 [MQTT-3.2.0-1], v3.1.1 [MQTT-3.2.0-1]: nothing passes a CONNACK that waits for its gate.
#[test]
fn connack_waits_for_its_gate_and_everything_else_behind_it() {
    let gate = Gate { stored: 5, fence: 2 };
    for version in ALL {
        let mut end = connected(PLAIN, &connect(version));
        end.link.accept(connack(&[]), 10, 0, gate);
        assert!(end.link.is_open());
        assert!(!end.link.has_room());
        assert!(end.link.outbox().is_empty());
        let large = message("t", &[7; 5000], &[]);
        assert!(end.link.send_message(&large, &delivery(QoS::AtMostOnce), None, false, START));
        assert!(end.takes(&Packet::PingReq).is_empty());
        assert!(end.link.outbox().is_empty());
        assert_eq!(end.link.outbox().chunks().count(), 0);
        end.link.open_gates(Gate { stored: 5, fence: 1 });
        end.link.open_gates(Gate { stored: 4, fence: 2 });
        assert_eq!(end.link.outbox().chunks().count(), 3, "each number only grows");
        assert_eq!(end.said(), ["CONNACK Success", "PUBLISH \"t\" qos=0 5000B", "PINGRESP"]);
        assert!(end.link.has_room());
    }
}

/// v5 [MQTT-3.14.0-1]: a link that ends before its CONNACK was stored closes without a word.
#[test]
fn a_link_that_ends_before_its_connack_says_nothing() {
    for version in ALL {
        let mut end = connected(PLAIN, &connect(version));
        end.link.accept(connack(&[]), 10, 0, Gate { stored: 5, fence: 0 });
        assert!(end.takes(&Packet::PingReq).is_empty());
        let reason = ReasonCode::SessionTakenOver;
        end.link.end(Disconnect { reason, properties: Properties::new() });
        assert!(end.link.is_over());
        end.link.open_gates(Gate { stored: 9, fence: 9 });
        assert_eq!(end.said(), Vec::<String>::new());
    }
}

/// v5 sections 3.1.4 and 3.2: no CONNECT, or no CONNACK, in reasonable time ends the link.
#[test]
fn handshakes_take_no_longer_than_allowed() {
    let mut server = End::server(PLAIN, Version::V5);
    let mut client = End::client(PLAIN, &connect(Version::V5));
    client.said();
    for end in [&mut server, &mut client] {
        assert_eq!(end.link.deadline(), Some(START.plus_ms(10_000)));
        assert_eq!(end.at_ms(9_999), Ok(()));
        assert_eq!(end.at_ms(10_000), Err(LinkEnd::Lost));
        assert!(end.link.is_over());
        assert_eq!(end.said(), Vec::<String>::new());
        assert_eq!(end.at_ms(99_999), Ok(()));
    }
}

/// A CONNECT that its version cannot carry is the caller's fault.
#[test]
fn a_connect_that_cannot_be_written_is_an_error() {
    let connect = Connect {
        properties: properties(&[Property::SessionExpiryInterval(1)]),
        ..connect(Version::V311)
    };
    let error = Link::client(PLAIN, &connect, START).expect_err("3.1.1 has no properties");
    assert!(matches!(error, EncodeError::NotInVersion(_)));
}

/// v5 [MQTT-3.14.4-1], v3.1.1 [MQTT-3.14.4-2]: DISCONNECT is the last packet. In 3.x it would drop the will, so it is
/// said on a normal end only; a 3.x server has none. v5 [MQTT-3.14.2-2].
#[test]
fn ending_a_link() {
    let expiry = properties(&[Property::SessionExpiryInterval(5)]);
    let table = [
        (Role::Client, Version::V5, ReasonCode::Success, vec!["DISCONNECT Success"]),
        (
            Role::Client,
            Version::V5,
            ReasonCode::DisconnectWithWill,
            vec!["DISCONNECT DisconnectWithWill"],
        ),
        (
            Role::Server,
            Version::V5,
            ReasonCode::ServerShuttingDown,
            vec!["DISCONNECT ServerShuttingDown"],
        ),
        (Role::Client, Version::V311, ReasonCode::Success, vec!["DISCONNECT Success"]),
        (Role::Client, Version::V311, ReasonCode::DisconnectWithWill, vec![]),
        (Role::Client, Version::V31, ReasonCode::ProtocolError, vec![]),
        (Role::Server, Version::V311, ReasonCode::ServerShuttingDown, vec![]),
    ];
    for (role, version, reason, said) in table {
        let mut end = End::open(role, version, PLAIN);
        end.link.end(Disconnect { reason, properties: expiry.clone() });
        assert_eq!(end.said(), said, "{role:?} {version}");
        assert!(end.link.is_over());
        let late = message("t", b"", &[]);
        assert!(end.link.send_message(&late, &delivery(QoS::AtMostOnce), None, false, START));
        end.link.end(Disconnect { reason, properties: Properties::new() });
        assert_eq!(end.said(), Vec::<String>::new());
    }
    let asked = connect_with(&[Property::SessionExpiryInterval(1)]);
    let mut end = End::open_with(Role::Client, PLAIN, &asked, connack(&[]));
    end.link.end(Disconnect { reason: ReasonCode::Success, properties: expiry });
    assert_eq!(end.said(), ["DISCONNECT Success {SessionExpiryInterval=5}"]);
}
