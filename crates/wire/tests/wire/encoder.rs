//! What the encoder refuses, leaves out and shortens.

use bytes::Bytes;
use postrider_wire::{
    Ack, Auth, ClientId, ConnAck, Connect, Disconnect, EncodeError, Filter, PACKET_SIZE_MAX,
    Packet, PacketId, Properties, Property, Publish, QoS, ReasonCode, RetainHandling, SubAck,
    Subscribe, SubscribeFilter, SubscribeOptions, Text, Topic, UnsubAck, Unsubscribe, Version,
    Version::{V5, V31, V311},
    Will, encode, encode_publish, encoded_len,
};

use crate::script::{ALL, V3, bytes, refuses, to_hex, writes};

/// v5 section 3.4.2.1 and others: the shortest form goes out.
#[test]
fn acks_go_out_in_the_shortest_form() {
    writes(&ack(ReasonCode::Success, []), V5, "40 02 00 07");
    writes(&ack(ReasonCode::NotAuthorized, []), V5, "40 03 00 07 87");
    let why = Property::ReasonString(text("x"));
    writes(&ack(ReasonCode::Success, [why.clone()]), V5, "40 ( 00 07 00 ( 1f <x> ) )");
    for version in V3 {
        writes(&ack(ReasonCode::NotAuthorized, [why.clone()]), version, "40 02 00 07");
    }
    writes(&disconnect(ReasonCode::Success), V5, "e0 00");
    writes(&disconnect(ReasonCode::ServerBusy), V5, "e0 01 89");
    writes(&disconnect(ReasonCode::ServerBusy), V311, "e0 00");
}

/// v5 [MQTT-3.4.2-1] [MQTT-3.2.2-8] [MQTT-3.14.2-1]: codes out of place are the caller's mistake.
#[test]
fn codes_out_of_place_are_refused() {
    let code = ReasonCode::SessionTakenOver;
    refuses(&ack(code, []), V5, EncodeError::Invalid("session taken over"));
    refuses(&conn_ack(false, code), V5, EncodeError::Invalid("session taken over"));
    let code = ReasonCode::GrantedQoS1;
    refuses(&disconnect(code), V5, EncodeError::Invalid("granted QoS 1"));
    let reasons = vec![ReasonCode::NoSubscriptionExisted];
    let packet = SubAck { packet_id: id(), properties: Properties::new(), reasons };
    refuses(&Packet::SubAck(packet), V5, EncodeError::Invalid("no subscription existed"));
}

/// v3.1.1 [MQTT-3.2.2-6] [MQTT-3.9.3-2]: codes that 3.x does not have.
#[test]
fn codes_in_3() {
    for version in V3 {
        writes(&conn_ack(false, ReasonCode::NotAuthorized), version, "20 02 00 05");
        let refusal = EncodeError::NotInVersion("the reason code of this CONNACK");
        refuses(&conn_ack(false, ReasonCode::Banned), version, refusal);
        let reasons = vec![ReasonCode::GrantedQoS2, ReasonCode::TopicFilterInvalid];
        let packet = SubAck { packet_id: id(), properties: Properties::new(), reasons };
        writes(&Packet::SubAck(packet), version, "90 04 00 07 02 80");
        let reasons = vec![ReasonCode::Success, ReasonCode::NotAuthorized];
        let packet = UnsubAck { packet_id: id(), properties: Properties::new(), reasons };
        writes(&Packet::UnsubAck(packet), version, "b0 02 00 07");
    }
    writes(&conn_ack(true, ReasonCode::Success), V311, "20 02 01 00");
    writes(&conn_ack(true, ReasonCode::Success), V31, "20 02 00 00");
}

/// v5 [MQTT-3.2.2-6] v3.1.1 [MQTT-3.2.2-4]
#[test]
fn no_session_present_with_a_refusal() {
    for version in ALL {
        let packet = conn_ack(true, ReasonCode::NotAuthorized);
        refuses(&packet, version, EncodeError::Invalid("session present with a refusal"));
    }
}

/// v5 [MQTT-3.8.3-2] [MQTT-3.10.3-2] v3.1.1 [MQTT-3.8.3-3] [MQTT-3.10.3-2]
#[test]
fn empty_lists_are_refused() {
    let (packet_id, properties) = (id(), Properties::new());
    for version in ALL {
        let filters = Vec::new();
        let packet = Subscribe { packet_id, properties: properties.clone(), filters };
        let error = EncodeError::Invalid("SUBSCRIBE without a filter");
        refuses(&Packet::Subscribe(packet), version, error);
        let filters = Vec::new();
        let packet = Unsubscribe { packet_id, properties: properties.clone(), filters };
        let error = EncodeError::Invalid("UNSUBSCRIBE without a filter");
        refuses(&Packet::Unsubscribe(packet), version, error);
        let reasons = Vec::new();
        let packet = SubAck { packet_id, properties: properties.clone(), reasons };
        refuses(&Packet::SubAck(packet), version, EncodeError::Invalid("SUBACK without a code"));
    }
    let packet = UnsubAck { packet_id, properties, reasons: Vec::new() };
    refuses(&Packet::UnsubAck(packet), V5, EncodeError::Invalid("UNSUBACK without a code"));
}

/// v5 [MQTT-3.8.3-4]; in 3.x only the QoS of the options exists.
#[test]
fn subscription_options_are_checked() {
    let subscribe = |filter, options| {
        let filter = Filter::new(filter).expect("a filter");
        let filters = vec![SubscribeFilter { filter, options }];
        Packet::Subscribe(Subscribe { packet_id: id(), properties: Properties::new(), filters })
    };
    let no_local = SubscribeOptions { no_local: true, ..SubscribeOptions::default() };
    let error = EncodeError::Invalid("no local on a shared subscription");
    refuses(&subscribe("$share/g/a", no_local), V5, error);
    writes(&subscribe("a", no_local), V5, "82 ( 00 07 00 <a> 04 )");
    let old = EncodeError::NotInVersion("subscription options besides the QoS");
    let later = SubscribeOptions { retain_handling: RetainHandling::DoNotSend, ..no_local };
    let kept = SubscribeOptions { retain_as_published: true, ..SubscribeOptions::default() };
    for version in V3 {
        for options in [no_local, later, kept] {
            refuses(&subscribe("a", options), version, old);
        }
        let plain = SubscribeOptions { qos: QoS::ExactlyOnce, ..SubscribeOptions::default() };
        writes(&subscribe("a", plain), version, "82 ( 00 07 <a> 02 )");
    }
}

/// v5 [MQTT-2.2.1-2] [MQTT-3.3.1-2] v3.1.1 [MQTT-2.3.1-1] [MQTT-2.3.1-5] [MQTT-3.3.1-2]
#[test]
fn publish_fields_fit_together() {
    for version in ALL {
        let mut packet = publish(QoS::AtLeastOnce);
        packet.packet_id = None;
        let error = EncodeError::Invalid("no packet identifier at QoS 1 or 2");
        refuses(&Packet::Publish(packet), version, error);
        let mut packet = publish(QoS::AtMostOnce);
        packet.packet_id = Some(id());
        let error = EncodeError::Invalid("packet identifier at QoS 0");
        refuses(&Packet::Publish(packet), version, error);
        let mut packet = publish(QoS::AtMostOnce);
        packet.dup = true;
        refuses(&Packet::Publish(packet), version, EncodeError::Invalid("DUP at QoS 0"));
    }
}

/// v5 [MQTT-3.3.2-1]: no topic without an alias; 3.x has no alias.
#[test]
fn empty_topic_needs_an_alias() {
    let mut packet = publish(QoS::AtMostOnce);
    packet.topic = None;
    let error = EncodeError::Invalid("neither topic name nor topic alias");
    refuses(&Packet::Publish(packet.clone()), V5, error);
    packet.properties.push(Property::TopicAlias(2));
    writes(&Packet::Publish(packet.clone()), V5, "30 ( 00 00 ( 23 00 02 ) 'hi' )");
    for version in V3 {
        let packet = Packet::Publish(packet.clone());
        refuses(&packet, version, EncodeError::NotInVersion("topic alias"));
    }
}

/// The messages of a 5.0 publisher go to 3.x subscribers without their properties.
#[test]
fn properties_are_left_out_in_3() {
    let mut packet = publish(QoS::AtMostOnce);
    packet.properties.push(Property::ContentType(text("t")));
    writes(&Packet::Publish(packet.clone()), V5, "30 ( <a> ( 03 <t> ) 'hi' )");
    for version in V3 {
        writes(&Packet::Publish(packet.clone()), version, "30 05 00 01 61 68 69");
    }
}

/// A CONNECT whose properties cannot be carried is refused by name: they are what the user asked
/// for.
#[test]
fn connect_properties_are_refused_in_3() {
    for version in V3 {
        let mut packet = connect(version);
        packet.properties.push(Property::SessionExpiryInterval(5));
        let error = EncodeError::NotInVersion("SessionExpiryInterval");
        refuses(&Packet::Connect(Box::new(packet)), version, error);
        let mut packet = connect(version);
        packet.will = Some(will(Property::WillDelayInterval(1)));
        let error = EncodeError::NotInVersion("WillDelayInterval");
        refuses(&Packet::Connect(Box::new(packet)), version, error);
        let mut packet = connect(version);
        packet.password = Some(Bytes::from_static(b"x"));
        let error = EncodeError::NotInVersion("a password without a user name");
        refuses(&Packet::Connect(Box::new(packet)), version, error);
    }
    let error = EncodeError::Invalid("CONNECT of another version than the link");
    refuses(&Packet::Connect(Box::new(connect(V5))), V311, error);
}

/// Two length bytes cannot say more than 65,535.
#[test]
fn long_fields_are_refused() {
    let long = Bytes::from(vec![0; 65_536]);
    let mut packet = connect(V5);
    packet.password = Some(long.clone());
    let error = EncodeError::Invalid("password longer than 65535 bytes");
    refuses(&Packet::Connect(Box::new(packet)), V5, error);
    let mut packet = connect(V5);
    packet.will = Some(Will { payload: long.clone(), ..will(Property::WillDelayInterval(1)) });
    let error = EncodeError::Invalid("will payload longer than 65535 bytes");
    refuses(&Packet::Connect(Box::new(packet)), V5, error);
    let mut packet = publish(QoS::AtMostOnce);
    packet.properties.push(Property::CorrelationData(long));
    refuses(&Packet::Publish(packet), V5, EncodeError::Invalid("CorrelationData"));
}

/// v5 [MQTT-4.13.1-1] [MQTT-3.3.2-8] [MQTT-3.3.2-14] [MQTT-4.7.3-1]: properties out of place, repeated, or with a
/// wrong value.
#[test]
fn properties_are_checked() {
    let cases = [
        (vec![Property::ReceiveMaximum(1)], "ReceiveMaximum"),
        (vec![Property::TopicAlias(1), Property::TopicAlias(2)], "TopicAlias"),
        (vec![Property::TopicAlias(0)], "TopicAlias"),
        (vec![Property::PayloadFormatIndicator(2)], "PayloadFormatIndicator"),
        (vec![Property::SubscriptionIdentifier(0)], "SubscriptionIdentifier"),
        (vec![Property::SubscriptionIdentifier(268_435_456)], "SubscriptionIdentifier"),
        (vec![Property::ResponseTopic(text("a/#"))], "ResponseTopic"),
        (vec![Property::ResponseTopic(text(""))], "ResponseTopic"),
    ];
    for (properties, name) in cases {
        let mut packet = publish(QoS::AtMostOnce);
        packet.properties = properties.into_iter().collect();
        refuses(&Packet::Publish(packet), V5, EncodeError::Invalid(name));
    }
    let data = Property::AuthenticationData(Bytes::from_static(b"x"));
    let mut packet = connect(V5);
    packet.properties.push(data);
    let error = EncodeError::Invalid("authentication data without a method");
    refuses(&Packet::Connect(Box::new(packet)), V5, error);
}

/// v5 section 3.15.2.2.2; 3.x has no AUTH.
#[test]
fn auth_has_a_method() {
    let auth = |reason, properties| Packet::Auth(Auth { reason, properties });
    writes(&auth(ReasonCode::Success, Properties::new()), V5, "f0 00");
    let method = Properties::from_iter([Property::AuthenticationMethod(text("m"))]);
    writes(&auth(ReasonCode::Success, method), V5, "f0 ( 00 ( 15 <m> ) )");
    let bare = auth(ReasonCode::ContinueAuthentication, Properties::new());
    refuses(&bare, V5, EncodeError::Invalid("AUTH without an authentication method"));
    for version in V3 {
        refuses(&bare, version, EncodeError::NotInVersion("AUTH"));
    }
}

/// v5 [MQTT-3.1.2-24] [MQTT-3.2.2-15]: at the limit and one byte above it, for every packet.
#[test]
fn limits_hold_for_every_packet() {
    for version in ALL {
        let mut packets = vec![
            Packet::Connect(Box::new(connect(version))),
            conn_ack(false, ReasonCode::Success),
            Packet::Publish(publish(QoS::ExactlyOnce)),
            ack(ReasonCode::Success, []),
            Packet::PingReq,
            disconnect(ReasonCode::Success),
        ];
        if version == V5 {
            packets.push(ack(ReasonCode::NotAuthorized, []));
        }
        for packet in packets {
            let size = encoded_len(&packet, version).expect("a good packet");
            let limit = size as u32;
            let mut out = Vec::new();
            assert_eq!(encode(&packet, version, limit, &mut out), Ok(()));
            assert_eq!(out.len() as u64, size);
            let error = EncodeError::TooLarge { size, limit: limit - 1 };
            assert_eq!(encode(&packet, version, limit - 1, &mut out), Err(error));
            assert_eq!(out.len() as u64, size, "the output is as before");
        }
    }
}

/// Nothing is larger than the standard allows, whatever the limit; the payload need not exist to
/// know.
#[test]
fn the_largest_packet() {
    let packet = publish(QoS::AtMostOnce);
    let head = packet.head();
    let mut out = Vec::new();
    // Three bytes of topic, in 5.0 one of properties; five of header.
    let most = 268_435_455 - 3;
    let found = encode_publish(head, most, V311, u32::MAX, &mut out);
    assert_eq!(found.map(|encoded| encoded.head_len), Ok(8));
    assert_eq!(to_hex(&out), "30 ff ff ff 7f 00 01 61");
    let size = 268_435_461;
    let error = EncodeError::TooLarge { size, limit: PACKET_SIZE_MAX };
    let found = encode_publish(head, most + 1, V311, u32::MAX, &mut out);
    assert_eq!(found, Err(error));
    let found = encode_publish(head, most, V5, PACKET_SIZE_MAX, &mut out);
    assert_eq!(found, Err(error));
    let found = encode_publish(head, u32::MAX, V5, u32::MAX, &mut out);
    assert!(matches!(found, Err(EncodeError::TooLarge { .. })));
    assert_eq!(out.len(), 8);
}

/// One head serves many receivers: the places of the identifier and of the payload are told.
#[test]
fn heads_tell_where_the_packet_id_stands() {
    let mut packet = publish(QoS::AtLeastOnce);
    packet.packet_id = None;
    packet.properties.push(Property::ContentType(text("t")));
    packet.properties.push(Property::SubscriptionIdentifier(5));
    packet.properties.push(Property::SubscriptionIdentifier(6));
    packet.properties.push(Property::TopicAlias(3));
    for (version, payload_len, head) in [
        (V311, 2, "32 07 00 01 61 00 00"),
        (V311, 200, "32 cd 01 00 01 61 00 00"),
        (V5, 2, "32 13 00 01 61 00 00 0b 03 00 01 74 0b 05 0b 06 23 00 03"),
        (V5, 20_000, "32 b1 9c 01 00 01 61 00 00 0b 03 00 01 74 0b 05 0b 06 23 00 03"),
    ] {
        let mut out = b"before".to_vec();
        let encoded = encode_publish(packet.head(), payload_len, version, 30_000, &mut out)
            .expect("a good packet");
        let written = &mut out[6..];
        assert_eq!(to_hex(written), head);
        assert_eq!(encoded.head_len as usize, written.len());
        let at = encoded.packet_id_at.expect("an identifier") as usize;
        written[at..at + 2].copy_from_slice(&[0x12, 0x34]);
        packet.packet_id = PacketId::new(0x1234);
        let mut whole = Vec::new();
        encode_publish(packet.head(), payload_len, version, 30_000, &mut whole).expect("good");
        assert_eq!(to_hex(written), to_hex(&whole));
        packet.packet_id = None;
    }
}

/// v5 [MQTT-2.2.1-2] [MQTT-3.3.1-2]: a head of QoS 0 has neither identifier nor DUP, whatever was
/// received.
#[test]
fn heads_of_qos_0_are_plain() {
    let mut packet = publish(QoS::AtMostOnce);
    packet.packet_id = Some(id());
    packet.dup = true;
    let mut out = Vec::new();
    let found = encode_publish(packet.head(), 2, V311, 100, &mut out);
    assert_eq!(found.map(|encoded| encoded.packet_id_at), Ok(None));
    assert_eq!(out, bytes("30 05 00 01 61"));
}

/// The text names what was refused.
#[test]
fn errors_read_well() {
    let error = EncodeError::TooLarge { size: 12, limit: 10 };
    assert_eq!(error.to_string(), "packet of 12 bytes is larger than the limit of 10");
    let error = EncodeError::NotInVersion("AUTH");
    assert_eq!(error.to_string(), "this version cannot carry AUTH");
    let error = EncodeError::Invalid("TopicAlias");
    assert_eq!(error.to_string(), "not allowed by the standard: TopicAlias");
}

fn id() -> PacketId {
    PacketId::new(7).expect("not 0")
}

fn text(text: &str) -> Text {
    Text::new(text).expect("a text")
}

fn ack<const N: usize>(reason: ReasonCode, properties: [Property; N]) -> Packet {
    let properties = properties.into_iter().collect();
    Packet::PubAck(Ack { packet_id: id(), reason, properties })
}

fn conn_ack(session_present: bool, reason: ReasonCode) -> Packet {
    Packet::ConnAck(ConnAck { session_present, reason, properties: Properties::new() })
}

fn disconnect(reason: ReasonCode) -> Packet {
    Packet::Disconnect(Disconnect { reason, properties: Properties::new() })
}

fn publish(qos: QoS) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(Topic::new("a").expect("a topic")),
        packet_id: (qos != QoS::AtMostOnce).then(id),
        properties: Properties::new(),
        payload: Bytes::from_static(b"hi"),
    }
}

fn connect(version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        client_id: ClientId::new("c").expect("a client id"),
        user_name: None,
        password: None,
        will: None,
        properties: Properties::new(),
    }
}

fn will(property: Property) -> Will {
    Will {
        topic: Topic::new("w").expect("a topic"),
        payload: Bytes::new(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Properties::from_iter([property]),
    }
}
