//! Acknowledgements: gates, order, size, and how many PUBLISHes may be open.

use postrider_proto::{Gate, LinkConfig, Received, Role};
use postrider_wire::{
    Ack, AckKind, ConnAck, Connect, EncodeError, Packet, Property, QoS, ReasonCode, SubAck,
    Subscribe, Version,
};

use crate::end::{
    ALL, End, FREE, PLAIN, ROLES, START, V3, ack, connack, connect, connect_with, delivery, id,
    message, properties, publish, text,
};

const fn stored(stored: u64) -> Gate {
    Gate { stored, fence: 0 }
}

/// v5 [MQTT-4.6.0-2], [MQTT-4.6.0-3], [MQTT-4.6.0-4], v3.1.1 [MQTT-4.6.0-2], [MQTT-4.6.0-3], [MQTT-4.6.0-4]:
/// acknowledgements keep their order, whatever they wait for.
#[test]
fn acknowledgements_wait_in_order() {
    for version in ALL {
        let mut end = End::open(Role::Server, version, PLAIN);
        end.acks(AckKind::PubAck, 1, FREE);
        end.acks(AckKind::PubAck, 2, stored(10));
        end.acks(AckKind::PubRec, 3, stored(12));
        end.acks(AckKind::PubComp, 4, FREE);
        end.acks(AckKind::PubRel, 5, Gate { stored: 11, fence: 7 });
        end.acks(AckKind::PubAck, 6, stored(5));
        assert_eq!(end.said(), ["PUBACK id=1 Success"]);
        end.link.open_gates(stored(9));
        assert_eq!(end.said(), Vec::<String>::new());
        end.link.open_gates(stored(11));
        assert_eq!(end.said(), ["PUBACK id=2 Success"]);
        end.link.open_gates(stored(12));
        assert_eq!(end.said(), ["PUBREC id=3 Success", "PUBCOMP id=4 Success"]);
        end.link.open_gates(Gate { stored: 0, fence: 7 });
        assert_eq!(end.said(), ["PUBREL id=5 Success", "PUBACK id=6 Success"]);
        end.acks(AckKind::PubAck, 7, Gate { stored: 12, fence: 7 });
        assert_eq!(end.said(), ["PUBACK id=7 Success"]);
    }
}

/// QoS 0 messages and pings never wait; what shares the queue of acknowledgements does.
#[test]
fn only_acknowledgements_wait() {
    let mut end = End::open(Role::Server, Version::V5, PLAIN);
    end.acks(AckKind::PubAck, 1, stored(1));
    let reasons = vec![ReasonCode::GrantedQoS1];
    let suback = SubAck { packet_id: id(9), properties: properties(&[]), reasons };
    end.link.send(&Packet::SubAck(suback), FREE).expect("fits");
    let qos = delivery(QoS::AtMostOnce);
    assert!(end.link.send_message(&message("a", b"", &[]), &qos, None, false, START));
    end.takes(&Packet::PingReq);
    assert_eq!(end.said(), ["PUBLISH \"a\" qos=0 0B", "PINGRESP"]);
    end.link.open_gates(stored(1));
    assert_eq!(end.said(), ["PUBACK id=1 Success", "SUBACK id=9 [GrantedQoS1]"]);
}

/// A link that ends forgets what it could not confirm in time.
#[test]
fn what_waits_is_forgotten_at_the_end() {
    let mut end = End::open(Role::Server, Version::V5, PLAIN);
    end.acks(AckKind::PubAck, 1, stored(1));
    end.faults(&Packet::PingResp);
    end.link.open_gates(stored(1));
    assert_eq!(end.said(), Vec::<String>::new());
}

/// v5 [MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-3.5.2-2], [MQTT-3.5.2-3], [MQTT-3.6.2-2], [MQTT-3.6.2-3], [MQTT-3.7.2-2],
/// [MQTT-3.7.2-3]: first the reason string goes, then the user properties.
#[test]
fn acknowledgements_shed_texts_to_fit() {
    let explained = |reason| Ack {
        packet_id: id(1),
        reason,
        properties: properties(&[
            Property::ReasonString(text("because")),
            Property::UserProperty(text("k"), text("v")),
        ]),
    };
    let kinds = [
        (AckKind::PubAck, "PUBACK", ReasonCode::NotAuthorized),
        (AckKind::PubRec, "PUBREC", ReasonCode::NotAuthorized),
        (AckKind::PubRel, "PUBREL", ReasonCode::PacketIdentifierNotFound),
        (AckKind::PubComp, "PUBCOMP", ReasonCode::PacketIdentifierNotFound),
    ];
    for (kind, name, reason) in kinds {
        let both =
            format!("{name} id=1 {reason:?} {{ReasonString=\"because\" UserProperty=\"k\":\"v\"}}");
        let one = format!("{name} id=1 {reason:?} {{UserProperty=\"k\":\"v\"}}");
        let none = format!("{name} id=1 {reason:?}");
        for (size, line) in [
            (23, Some(&both)),
            (22, Some(&one)),
            (13, Some(&one)),
            (12, Some(&none)),
            (5, Some(&none)),
            (4, None),
        ] {
            let said = connack(&[Property::MaximumPacketSize(size)]);
            let mut end = End::open_with(Role::Client, PLAIN, &connect(Version::V5), said);
            end.link.send_ack(kind, explained(reason), FREE);
            assert_eq!(end.said(), Vec::from_iter(line.cloned()), "{name} in {size}");
        }
    }
}

/// v5 [MQTT-3.1.2-29]: a client that wants no problem information gets none. v3.1.1 section 3.4: there is none.
#[test]
fn acknowledgements_are_bare_where_nothing_else_is_wanted() {
    let explained = || Ack {
        packet_id: id(1),
        reason: ReasonCode::NotAuthorized,
        properties: properties(&[Property::ReasonString(text("because"))]),
    };
    let asked = connect_with(&[Property::RequestProblemInformation(false)]);
    let mut end = End::open_with(Role::Server, PLAIN, &asked, connack(&[]));
    end.link.send_ack(AckKind::PubAck, explained(), FREE);
    end.link.send_ack(AckKind::PubAck, explained(), stored(1));
    end.link.open_gates(stored(1));
    assert_eq!(end.said(), ["PUBACK id=1 NotAuthorized"; 2]);
    for version in V3 {
        let mut end = End::open(Role::Server, version, PLAIN);
        end.link.send_ack(AckKind::PubAck, explained(), FREE);
        assert_eq!(end.written(), [0x40, 2, 0, 1]);
    }
}

/// v5 [MQTT-3.9.2-1], [MQTT-3.11.2-1]: SUBACK sheds its texts; a SUBSCRIBE keeps what it says, or is refused.
#[test]
fn requests_and_answers_that_do_not_fit() {
    let reasons = vec![ReasonCode::GrantedQoS1];
    let list = properties(&[Property::UserProperty(text("key"), text("value"))]);
    let asked = connect_with(&[Property::MaximumPacketSize(10)]);
    let mut end = End::open_with(Role::Server, PLAIN, &asked, connack(&[]));
    let suback = SubAck { packet_id: id(9), properties: list.clone(), reasons };
    assert_eq!(end.link.send(&Packet::SubAck(suback.clone()), FREE), Ok(()));
    assert_eq!(end.said(), ["SUBACK id=9 [GrantedQoS1]"]);
    let long = SubAck { reasons: vec![ReasonCode::GrantedQoS1; 9], ..suback };
    let sent = end.link.send(&Packet::SubAck(long), FREE);
    assert_eq!(sent, Err(EncodeError::TooLarge { size: 14, limit: 10 }));

    let said = connack(&[Property::MaximumPacketSize(10)]);
    let mut end = End::open_with(Role::Client, PLAIN, &connect(Version::V5), said);
    let filters = vec![postrider_wire::SubscribeFilter {
        filter: postrider_wire::Filter::new("a").expect("a filter"),
        options: Default::default(),
    }];
    let subscribe = Subscribe { packet_id: id(1), properties: list, filters };
    let sent = end.link.send(&Packet::Subscribe(subscribe), FREE);
    assert!(matches!(sent, Err(EncodeError::TooLarge { .. })));
    assert!(matches!(end.link.send(&Packet::PingReq, FREE), Err(EncodeError::Invalid(_))));
    assert_eq!(end.said(), Vec::<String>::new());
}

fn sends(end: &mut End, qos: QoS, packet_id: u16) {
    end.feed(&Packet::Publish(publish("a", qos, packet_id, "")));
}

/// v5 [MQTT-3.3.4-7], [MQTT-3.3.4-9], [MQTT-4.9.0-3]: as many PUBLISHes as announced may be open, and not one more; other
/// packets still pass.
#[test]
fn receive_maximum_binds_the_peer() {
    for role in ROLES {
        let config = LinkConfig { receive_maximum: 2, ..PLAIN };
        let mut end = End::open(role, Version::V5, config);
        sends(&mut end, QoS::AtLeastOnce, 1);
        sends(&mut end, QoS::ExactlyOnce, 2);
        // The same exchange again takes no second place, QoS 0 none.
        sends(&mut end, QoS::ExactlyOnce, 2);
        sends(&mut end, QoS::AtMostOnce, 0);
        assert_eq!(end.drain().map(|all| all.len()), Ok(4));
        assert!(!end.link.is_receive_paused());
        end.acks(AckKind::PubAck, 1, FREE);
        // A QoS 2 exchange holds its place until PUBCOMP.
        end.acks(AckKind::PubRec, 2, FREE);
        sends(&mut end, QoS::AtLeastOnce, 3);
        assert_eq!(end.drain().map(|all| all.len()), Ok(1));
        end.acks(AckKind::PubComp, 2, FREE);
        sends(&mut end, QoS::ExactlyOnce, 4);
        assert_eq!(end.drain().map(|all| all.len()), Ok(1));
        // A refusing PUBREC ends the exchange.
        end.link.send_ack(
            AckKind::PubRec,
            Ack { reason: ReasonCode::QuotaExceeded, ..ack(4) },
            FREE,
        );
        sends(&mut end, QoS::AtLeastOnce, 5);
        assert_eq!(end.drain().map(|all| all.len()), Ok(1));
        end.said();
        let statement = if role == Role::Server { "MQTT-3.3.4-7" } else { "MQTT-3.3.4-9" };
        let fault = end.faults(&Packet::Publish(publish("a", QoS::AtLeastOnce, 6, "")));
        let said = vec!["DISCONNECT ReceiveMaximumExceeded".to_owned()];
        assert_eq!(fault, (ReasonCode::ReceiveMaximumExceeded, statement, said));
    }
}

/// v5 [MQTT-3.3.4-9]: a server that sends more of a session than was announced is read on at the pace of our answers, so
/// that it fills no memory. What we have answered and it has not released takes none.
#[test]
fn a_surplus_waits_for_answers() {
    let config = LinkConfig { receive_maximum: 2, ..PLAIN };
    for (qos, kind) in [(QoS::AtLeastOnce, AckKind::PubAck), (QoS::ExactlyOnce, AckKind::PubRec)] {
        let connect = Connect { clean_start: false, ..connect(Version::V5) };
        let connack = ConnAck { session_present: true, ..connack(&[]) };
        let mut end = End::open_with(Role::Client, config, &connect, connack);
        for id in 1..=6 {
            sends(&mut end, qos, id);
        }
        // One more than announced shows that the server breaks the rule.
        assert_eq!(end.drain().map(|all| all.len()), Ok(3));
        assert!(end.link.is_receive_paused());
        // Of an answer that waits for the store the server cannot know.
        end.acks(kind, 1, stored(1));
        assert_eq!(end.drain().map(|all| all.len()), Ok(0));
        end.link.open_gates(stored(1));
        assert_eq!(end.drain().map(|all| all.len()), Ok(1));
        assert!(end.link.is_receive_paused());
        for id in 2..=6 {
            end.acks(kind, id, FREE);
            end.drain().unwrap();
        }
        assert!(!end.link.is_receive_paused());
        assert_eq!(end.link.take_surplus(), 4);
    }
}

/// v5 [MQTT-3.3.4-7]: an acknowledgement that waits has freed nothing yet, since the peer cannot know of it.
#[test]
fn a_waiting_acknowledgement_frees_nothing() {
    let config = LinkConfig { receive_maximum: 1, ..PLAIN };
    for opens in [false, true] {
        let mut end = End::open(Role::Server, Version::V5, config);
        sends(&mut end, QoS::AtLeastOnce, 1);
        assert_eq!(end.drain().map(|all| all.len()), Ok(1));
        end.acks(AckKind::PubAck, 1, stored(3));
        if opens {
            end.link.open_gates(stored(3));
        }
        sends(&mut end, QoS::AtLeastOnce, 2);
        assert_eq!(end.drain().is_ok(), opens);
    }
}

/// A PUBREL of an older connection finishes nothing of this one.
#[test]
fn a_pubrel_of_an_older_link_frees_nothing() {
    let config = LinkConfig { receive_maximum: 1, ..PLAIN };
    let mut end = End::open(Role::Server, Version::V5, config);
    sends(&mut end, QoS::AtLeastOnce, 1);
    end.feed(&Packet::PubRel(ack(9)));
    assert_eq!(end.drain().map(|all| all.len()), Ok(2));
    end.acks(AckKind::PubComp, 9, FREE);
    sends(&mut end, QoS::AtLeastOnce, 2);
    assert!(end.drain().is_err());
}

/// 3.x cannot announce a receive maximum: the peer waits instead, until it is answered.
#[test]
fn a_3_x_peer_waits_at_the_limit() {
    for version in V3 {
        let config = LinkConfig { receive_maximum_unannounced: Some(2), ..PLAIN };
        let mut end = End::open(Role::Server, version, config);
        sends(&mut end, QoS::AtLeastOnce, 1);
        sends(&mut end, QoS::ExactlyOnce, 2);
        sends(&mut end, QoS::AtLeastOnce, 3);
        sends(&mut end, QoS::AtLeastOnce, 4);
        end.feed(&Packet::PubRel(ack(2)));
        assert_eq!(end.drain().map(|all| all.len()), Ok(2));
        assert!(end.link.is_receive_paused());
        end.acks(AckKind::PubAck, 1, stored(1));
        end.acks(AckKind::PubRec, 2, stored(2));
        assert_eq!(end.drain(), Ok(vec![]), "answers that wait are no answers");
        end.link.open_gates(stored(1));
        assert!(!end.link.is_receive_paused());
        assert_eq!(end.drain().map(|all| all.len()), Ok(1));
        assert!(end.link.is_receive_paused());
        // PUBREC is enough: the PUBREL behind it must be read.
        end.link.open_gates(stored(2));
        let rest = end.drain();
        let [Received::Publish(_), Received::Ack(AckKind::PubRel, _)] = &rest.unwrap()[..] else {
            panic!()
        };
    }
}

/// Only messages that want an answer wait at the limit, and what is behind them.
#[test]
fn what_needs_no_answer_passes_at_the_limit() {
    let config = LinkConfig { receive_maximum: 1, receive_maximum_unannounced: Some(2), ..PLAIN };
    for version in ALL {
        let connect = Connect { clean_start: false, ..connect(version) };
        let connack = ConnAck { session_present: true, ..connack(&[]) };
        let mut end = End::open_with(Role::Client, config, &connect, connack);
        for id in 1..=2 {
            sends(&mut end, QoS::AtLeastOnce, id);
        }
        sends(&mut end, QoS::AtMostOnce, 0);
        end.feed(&Packet::PubAck(ack(7)));
        assert_eq!(end.drain().map(|all| all.len()), Ok(4));
        assert!(!end.link.is_receive_paused(), "nothing waits");
        sends(&mut end, QoS::AtLeastOnce, 3);
        let rest = end.input.split_off(1);
        end.feed(&Packet::PubAck(ack(8)));
        let behind = end.input.split_off(1);
        assert_eq!(end.drain(), Ok(vec![]));
        assert!(end.link.is_receive_paused(), "one byte tells");
        end.input.unsplit(rest);
        end.input.unsplit(behind);
        assert_eq!(end.drain(), Ok(vec![]));
        end.acks(AckKind::PubAck, 1, FREE);
        assert_eq!(end.drain().map(|all| all.len()), Ok(2));
    }
}

/// The last PUBLISH that a 3.x peer may send is read to its end, however long it is: it could not be answered otherwise.
#[test]
fn a_3_x_peer_at_the_limit_finishes_its_packet() {
    for version in V3 {
        let config = LinkConfig { receive_maximum_unannounced: Some(1), spool_above: 100, ..PLAIN };
        let mut end = End::open(Role::Server, version, config);
        let packet = publish("a", QoS::AtLeastOnce, 1, &"x".repeat(5000));
        end.feed(&Packet::Publish(packet));
        let rest = end.input.split_off(1000);
        assert_eq!(end.drain(), Ok(vec![]));
        assert!(!end.link.is_receive_paused());
        end.input.unsplit(rest);
        assert_eq!(end.drain().map(|all| all.len()), Ok(1));
        sends(&mut end, QoS::AtLeastOnce, 2);
        assert_eq!(end.drain(), Ok(vec![]));
        assert!(end.link.is_receive_paused());
    }
}

/// Without a limit 3.x goes on and on, but not further than 65,535.
#[test]
fn a_3_x_peer_without_a_limit() {
    let mut end = End::open(Role::Server, Version::V311, PLAIN);
    for packet_id in 1..=u16::MAX {
        assert!(!end.link.is_receive_paused());
        sends(&mut end, QoS::AtLeastOnce, packet_id);
        assert_eq!(end.drain().map(|all| all.len()), Ok(1));
    }
    sends(&mut end, QoS::AtLeastOnce, 1);
    assert_eq!(end.drain(), Ok(vec![]));
    assert!(end.link.is_receive_paused());
}

/// A peer that asks and asks but does not read the answers is not read on.
#[test]
fn a_peer_that_does_not_read_is_not_read() {
    let config = LinkConfig { outbox_high_bytes: 1000, ..PLAIN };
    let mut end = End::open(Role::Server, Version::V311, config);
    let mut pings = 0;
    while !end.link.is_receive_paused() {
        assert!(pings < 200_000, "bounded");
        end.takes(&Packet::PingReq);
        pings += 1;
    }
    end.feed(&Packet::PingReq);
    let before = end.link.outbox().len();
    assert_eq!(end.drain(), Ok(vec![]));
    assert_eq!(end.link.outbox().len(), before);
    end.link.outbox_mut().consume(before);
    assert_eq!(end.drain(), Ok(vec![]));
    assert_eq!(end.said(), ["PINGRESP"]);
}
