//! Which packet may come to which end, and what breaking a rule leads to.

use postrider_proto::{LinkConfig, LinkEnd, Received, Role};
use postrider_wire::{
    Auth, Disconnect, Packet, PacketType, Properties, Property, QoS, ReasonCode, SubAck, Subscribe,
    SubscribeFilter, SubscribeOptions, UnsubAck, Unsubscribe, Version,
};

use crate::end::{
    ALL, End, PLAIN, ROLES, V3, ack, connack, connect, connect_with, id, properties, publish, text,
};

/// One packet of each type, as short as it can be.
fn sample(kind: PacketType, version: Version) -> Packet {
    let filter = || postrider_wire::Filter::new("a/+").expect("a filter");
    let none = Properties::new;
    match kind {
        PacketType::Connect => Packet::Connect(Box::new(connect(version))),
        PacketType::ConnAck => Packet::ConnAck(connack(&[])),
        PacketType::Publish => Packet::Publish(publish("a", QoS::AtMostOnce, 0, "x")),
        PacketType::PubAck => Packet::PubAck(ack(1)),
        PacketType::PubRec => Packet::PubRec(ack(1)),
        PacketType::PubRel => Packet::PubRel(ack(1)),
        PacketType::PubComp => Packet::PubComp(ack(1)),
        PacketType::Subscribe => {
            let line = SubscribeFilter { filter: filter(), options: SubscribeOptions::default() };
            let filters = vec![line];
            Packet::Subscribe(Subscribe { packet_id: id(1), properties: none(), filters })
        }
        PacketType::SubAck => {
            let reasons = vec![ReasonCode::GrantedQoS1];
            Packet::SubAck(SubAck { packet_id: id(1), properties: none(), reasons })
        }
        PacketType::Unsubscribe => {
            let filters = vec![filter()];
            Packet::Unsubscribe(Unsubscribe { packet_id: id(1), properties: none(), filters })
        }
        PacketType::UnsubAck => {
            let reasons = vec![ReasonCode::Success];
            Packet::UnsubAck(UnsubAck { packet_id: id(1), properties: none(), reasons })
        }
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => {
            let reason = ReasonCode::Success;
            Packet::Disconnect(Disconnect { reason, properties: none() })
        }
        PacketType::Auth => Packet::Auth(auth(ReasonCode::ReAuthenticate)),
    }
}

fn auth(reason: ReasonCode) -> Auth {
    Auth { reason, properties: properties(&[Property::AuthenticationMethod(text("m"))]) }
}

/// The statement that `kind` breaks on an open link, if it may not come there.
fn statement_when_open(kind: PacketType, role: Role, is_v5: bool) -> Option<&'static str> {
    let general = if is_v5 { "MQTT-4.13.1-1" } else { "MQTT-4.8.0-1" };
    match (kind, role) {
        (PacketType::Connect, Role::Server) => Some("MQTT-3.1.0-2"),
        (PacketType::Connect, Role::Client) => Some(general),
        (PacketType::ConnAck, Role::Client) if is_v5 => Some("MQTT-3.2.0-2"),
        (PacketType::ConnAck, _) => Some(general),
        (PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp, Role::Server)
        | (PacketType::Subscribe | PacketType::Unsubscribe | PacketType::PingReq, Role::Client) => {
            Some(general)
        }
        (PacketType::Disconnect, Role::Client) if !is_v5 => Some(general),
        (PacketType::Auth, _) if !is_v5 => Some(general),
        (PacketType::Auth, Role::Server) => Some("MQTT-4.12.0-7"),
        (PacketType::Auth, Role::Client) => Some("MQTT-4.12.0-6"),
        _ => None,
    }
}

/// v5 [MQTT-3.1.0-2], [MQTT-3.2.0-2], [MQTT-4.12.0-6], [MQTT-4.12.0-7], [MQTT-4.13.1-1]; v3.1.1 [MQTT-3.1.0-2],
/// [MQTT-4.8.0-1]: what a peer may not send ends the link, with DISCONNECT 0x82 in 5.0 and without a word in 3.x.
#[test]
fn every_packet_to_every_open_end() {
    for version in ALL {
        let is_v5 = version == Version::V5;
        for role in ROLES {
            for kind in PacketType::ALL {
                let mut end = End::open(role, version, PLAIN);
                let packet = sample(kind, version);
                let Some(statement) = statement_when_open(kind, role, is_v5) else {
                    let received = end.takes(&packet).len();
                    let is_private = matches!(kind, PacketType::PingReq | PacketType::PingResp);
                    assert_eq!(received, usize::from(!is_private), "{version} {kind} to {role:?}");
                    assert_eq!(end.link.is_over(), kind == PacketType::Disconnect);
                    continue;
                };
                // Type 15 is reserved before 5.0.
                let is_reserved = kind == PacketType::Auth && !is_v5;
                let reason = if is_reserved {
                    ReasonCode::MalformedPacket
                } else {
                    ReasonCode::ProtocolError
                };
                let said = if is_v5 { vec!["DISCONNECT ProtocolError".to_owned()] } else { vec![] };
                let fault = end.faults(&packet);
                assert_eq!(fault, (reason, statement, said), "{version} {kind} to {role:?}");
            }
        }
    }
}

/// v5 [MQTT-3.1.0-1], v3.1.1 [MQTT-3.1.0-1]: anything before CONNECT is a plain close.
#[test]
fn nothing_comes_before_connect() {
    for kind in PacketType::ALL.into_iter().filter(|kind| *kind != PacketType::Connect) {
        let mut end = End::server(PLAIN, Version::V5);
        let fault = end.faults(&sample(kind, Version::V5));
        assert_eq!(fault, (ReasonCode::ProtocolError, "MQTT-3.1.0-1", vec![]), "{kind}");
    }
}

/// v5 [MQTT-3.2.0-1], v3.1.1 [MQTT-3.2.0-1]: before CONNACK a server sends nothing (5.0: AUTH, when there is a method).
#[test]
fn a_client_takes_nothing_else_before_connack() {
    for version in ALL {
        for kind in PacketType::ALL {
            let mut end = End::client(PLAIN, &connect(version));
            end.said();
            let packet = sample(kind, version);
            let is_v5 = version == Version::V5;
            if kind == PacketType::ConnAck {
                assert!(matches!(end.takes(&packet)[..], [Received::ConnAck(_)]));
                assert!(end.link.is_open());
            } else if kind == PacketType::Disconnect && is_v5 {
                assert!(matches!(end.takes(&packet)[..], [Received::Disconnect(_)]));
                assert!(end.link.is_over());
            } else if kind == PacketType::Auth {
                let statement = if is_v5 { "MQTT-4.12.0-6" } else { "MQTT-4.8.0-1" };
                assert_eq!(end.faults(&packet).1, statement);
            } else {
                let (reason, statement, said) = end.faults(&packet);
                assert_eq!((reason, statement), (ReasonCode::ProtocolError, "MQTT-3.2.0-1"));
                let words: &[&str] = if is_v5 { &["DISCONNECT ProtocolError"] } else { &[] };
                assert_eq!(said, words, "{version} {kind}");
            }
        }
    }
}

/// v5 [MQTT-2.1.3-1], [MQTT-3.3.1-4], [MQTT-3.8.3-2], [MQTT-3.8.3-4], [MQTT-1.5.4-1]: malformed packets are answered with
/// the code of the fault. v3.1.1 [MQTT-2.2.2-2], [MQTT-3.3.1-4], [MQTT-3.8.3-3], [MQTT-1.5.3-1]: they are not answered.
#[test]
fn malformed_packets_end_an_open_link() {
    // Bytes in 3.1.1 (none where the fault does not exist), bytes in 5.0, reason.
    let table = [
        ("c1 00", "c1 00", ReasonCode::MalformedPacket),
        ("36 05 00 01 61 00 01", "36 06 00 01 61 00 01 00", ReasonCode::MalformedPacket),
        ("82 02 00 01", "82 03 00 01 00", ReasonCode::ProtocolError),
        ("", "82 11 00 01 00 00 0b 24 73 68 61 72 65 2f 67 2f 61 62 05", ReasonCode::ProtocolError),
        ("82 06 00 01 00 01 c0 00", "82 07 00 01 00 00 01 c0 00", ReasonCode::MalformedPacket),
    ];
    for (v3, v5, reason) in table {
        let mut end = End::open(Role::Server, Version::V5, PLAIN);
        let (code, _, said) = end.faults_on(v5);
        assert_eq!((code, said), (reason, vec![format!("DISCONNECT {reason:?}")]), "{v5}");
        if !v3.is_empty() {
            let mut end = End::open(Role::Server, Version::V311, PLAIN);
            assert_eq!(end.faults_on(v3).2, Vec::<String>::new(), "{v3}");
        }
    }
}

/// v5 [MQTT-3.2.2-15], [MQTT-3.1.2-24]: a packet of more than the announced bytes, at, under and over the limit.
#[test]
fn larger_packets_than_announced_are_refused() {
    for role in ROLES {
        let config = LinkConfig { packet_size_max: 20, ..PLAIN };
        for payload in ["0123456789", "0123456789a"] {
            let mut end = End::open(role, Version::V5, config);
            let packet = Packet::Publish(publish("abcd", QoS::AtMostOnce, 0, payload));
            assert!(matches!(end.takes(&packet)[..], [Received::Publish(_)]), "{}", payload.len());
        }
        let mut end = End::open(role, Version::V5, config);
        let (reason, _, said) =
            end.faults(&Packet::Publish(publish("abcd", QoS::AtMostOnce, 0, "0123456789ab")));
        assert_eq!(reason, ReasonCode::PacketTooLarge);
        assert_eq!(said, ["DISCONNECT PacketTooLarge"]);
    }
}

/// v5 [MQTT-3.3.4-6]: a client puts no subscription identifier into a PUBLISH; a server does.
#[test]
fn subscription_identifiers_come_from_servers_only() {
    let mut packet = publish("a", QoS::AtMostOnce, 0, "");
    packet.properties = properties(&[Property::SubscriptionIdentifier(7)]);
    let mut client = End::open(Role::Client, Version::V5, PLAIN);
    let received = client.takes(&Packet::Publish(packet.clone()));
    let [Received::Publish(arrived)] = &received[..] else { panic!("{received:?}") };
    assert_eq!(arrived.publish.properties, packet.properties);
    let mut server = End::open(Role::Server, Version::V5, PLAIN);
    let fault = server.faults(&Packet::Publish(packet));
    let said = vec!["DISCONNECT ProtocolError".to_owned()];
    assert_eq!(fault, (ReasonCode::ProtocolError, "MQTT-3.3.4-6", said));
}

/// v5 [MQTT-3.2.2-11], [MQTT-3.2.2-14]: what CONNACK excluded may not be used.
#[test]
fn what_is_not_offered_is_refused() {
    let open =
        |property| End::open_with(Role::Server, PLAIN, &connect(Version::V5), connack(&[property]));
    let mut end = open(Property::MaximumQoS(1));
    assert_eq!(end.takes(&Packet::Publish(publish("a", QoS::AtLeastOnce, 1, ""))).len(), 1);
    let fault = end.faults(&Packet::Publish(publish("a", QoS::ExactlyOnce, 2, "")));
    let said = vec!["DISCONNECT QoSNotSupported".to_owned()];
    assert_eq!(fault, (ReasonCode::QoSNotSupported, "MQTT-3.2.2-11", said));

    let mut end = open(Property::RetainAvailable(false));
    let mut packet = publish("a", QoS::AtMostOnce, 0, "");
    assert_eq!(end.takes(&Packet::Publish(packet.clone())).len(), 1);
    packet.retain = true;
    let fault = end.faults(&Packet::Publish(packet));
    let said = vec!["DISCONNECT RetainNotSupported".to_owned()];
    assert_eq!(fault, (ReasonCode::RetainNotSupported, "MQTT-3.2.2-14", said));
}

/// v5 [MQTT-3.14.2-2]: a server's DISCONNECT has no session expiry. A client's may not raise it from 0.
#[test]
fn session_expiry_in_disconnect() {
    let disconnect = |seconds| {
        let properties = properties(&[Property::SessionExpiryInterval(seconds)]);
        Packet::Disconnect(Disconnect { reason: ReasonCode::Success, properties })
    };
    let mut client = End::open(Role::Client, Version::V5, PLAIN);
    assert_eq!(client.faults(&disconnect(0)).1, "MQTT-3.14.2-2");

    let mut server = End::open(Role::Server, Version::V5, PLAIN);
    assert!(matches!(server.takes(&disconnect(0))[..], [Received::Disconnect(_)]));
    let mut server = End::open(Role::Server, Version::V5, PLAIN);
    assert_eq!(server.faults(&disconnect(5)).0, ReasonCode::ProtocolError);
    let asked = connect_with(&[Property::SessionExpiryInterval(1)]);
    let mut server = End::open_with(Role::Server, PLAIN, &asked, connack(&[]));
    assert!(matches!(server.takes(&disconnect(5))[..], [Received::Disconnect(_)]));
    assert!(server.link.is_over());
    assert_eq!(server.said(), Vec::<String>::new());
}

/// v5 [MQTT-3.1.2-29]: a server that was asked for no problem information gives none.
#[test]
fn unwanted_problem_information_is_a_fault() {
    let asked = connect_with(&[Property::RequestProblemInformation(false)]);
    let explained = properties(&[Property::ReasonString(text("why"))]);
    let open = || End::open_with(Role::Client, PLAIN, &asked, connack(&[]));
    let mut suback = SubAck { packet_id: id(1), properties: explained.clone(), reasons: vec![] };
    suback.reasons.push(ReasonCode::GrantedQoS1);
    let mut puback = ack(1);
    puback.properties = explained;
    for packet in [Packet::SubAck(suback), Packet::PubAck(puback.clone())] {
        assert_eq!(open().faults(&packet).1, "MQTT-3.1.2-29");
    }
    let mut end = End::open(Role::Client, Version::V5, PLAIN);
    assert!(matches!(end.takes(&Packet::PubAck(puback))[..], [Received::Ack(..)]));
}

/// v5 [MQTT-3.15.2-1], [MQTT-4.12.0-5], [MQTT-3.1.2-30]: AUTH repeats the method, with the codes of its sender.
#[test]
fn auth_follows_its_rules() {
    let asked = connect_with(&[Property::AuthenticationMethod(text("m"))]);
    let method = connack(&[Property::AuthenticationMethod(text("m"))]);
    let open = |role| End::open_with(role, PLAIN, &asked, method.clone());
    let other = Auth {
        reason: ReasonCode::ContinueAuthentication,
        properties: properties(&[Property::AuthenticationMethod(text("n"))]),
    };
    for role in ROLES {
        let go_on = Packet::Auth(auth(ReasonCode::ContinueAuthentication));
        assert!(matches!(open(role).takes(&go_on)[..], [Received::Auth(_)]));
        assert_eq!(open(role).faults(&Packet::Auth(other.clone())).1, "MQTT-4.12.0-5");
    }
    let begin = Packet::Auth(auth(ReasonCode::ReAuthenticate));
    assert!(matches!(open(Role::Server).takes(&begin)[..], [Received::Auth(_)]));
    assert_eq!(open(Role::Client).faults(&begin).1, "MQTT-3.15.2-1");
    let done = Packet::Auth(auth(ReasonCode::Success));
    assert!(matches!(open(Role::Client).takes(&done)[..], [Received::Auth(_)]));
    assert_eq!(open(Role::Server).faults(&done).1, "MQTT-3.15.2-1");

    // Before CONNACK: only AUTH 0x18 and DISCONNECT.
    let mut server = End::server(PLAIN, Version::V5);
    server.takes(&Packet::Connect(Box::new(asked.clone())));
    let go_on = Packet::Auth(auth(ReasonCode::ContinueAuthentication));
    assert!(matches!(server.takes(&go_on)[..], [Received::Auth(_)]));
    let fault = server.faults(&Packet::PingReq);
    let said = vec!["CONNACK ProtocolError".to_owned()];
    assert_eq!(fault, (ReasonCode::ProtocolError, "MQTT-3.1.2-30", said));
    let mut client = End::client(PLAIN, &asked);
    assert_eq!(client.faults(&Packet::ConnAck(connack(&[]))).1, "MQTT-4.12.0-5");
}

/// What people read says what happened, and what to do where that is known.
#[test]
fn ends_explain_themselves() {
    let disconnect = Disconnect {
        reason: ReasonCode::SessionTakenOver,
        properties: properties(&[Property::ReasonString(text("new link"))]),
    };
    assert_eq!(
        LinkEnd::Disconnected(disconnect).to_string(),
        "the peer disconnected: session taken over (0x8E), \"new link\"; make sure that no other client uses the \
         same client identifier"
    );
    let mut refused = connack(&[]);
    refused.reason = ReasonCode::BadUserNameOrPassword;
    assert_eq!(
        LinkEnd::Refused(refused).to_string(),
        "the server refused the connection: bad user name or password (0x86); check user name, password and \
         authentication method"
    );
    let mut end = End::open(Role::Server, Version::V311, PLAIN);
    end.feed(&Packet::PingResp);
    assert_eq!(
        end.drain().expect_err("a fault").to_string(),
        "the peer broke the protocol: PINGRESP may not come from a client here; protocol error (0x82), MQTT-4.8.0-1"
    );
}

/// v3.1.1 [MQTT-4.8.0-1]: a 3.x link ends without a word, also a client's.
#[test]
fn nobody_explains_a_fault_in_3_x() {
    for version in V3 {
        for role in ROLES {
            let mut end = End::open(role, version, PLAIN);
            assert_eq!(end.faults_on("00 00").2, Vec::<String>::new(), "{version} {role:?}");
        }
    }
}
