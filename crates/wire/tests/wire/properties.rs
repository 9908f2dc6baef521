//! Properties: where each may stand, how often, with which values.

use postrider_wire::{
    Fault, PacketType, Properties, Property, PropertyKind, ReasonCode, Text, Version::V5,
};

use crate::script::{check, decode, fails};

/// Every place for properties as a script around a property section, and its name in `SPEC`.
const PLACES: [(&str, &str, &str); 14] = [
    ("CONNECT", "10 ( <MQTT> 05 02 00 00", "<c> )"),
    ("Will", "10 ( <MQTT> 05 06 00 00 00 <c>", "<w> 00 00 )"),
    ("CONNACK", "20 ( 00 00", ")"),
    ("PUBLISH", "30 ( <a>", ")"),
    ("PUBACK", "40 ( 00 01 00", ")"),
    ("PUBREC", "50 ( 00 01 00", ")"),
    ("PUBREL", "62 ( 00 01 00", ")"),
    ("PUBCOMP", "70 ( 00 01 00", ")"),
    ("SUBSCRIBE", "82 ( 00 01", "<a> 00 )"),
    ("SUBACK", "90 ( 00 01", "00 )"),
    ("UNSUBSCRIBE", "a2 ( 00 01", "<a> )"),
    ("UNSUBACK", "b0 ( 00 01", "00 )"),
    ("DISCONNECT", "e0 ( 00", ")"),
    ("AUTH", "f0 ( 18", ")"),
];

/// v5 table 2-4, written down once more: identifier, a good value, the places.
const SPEC: [(&str, &str, &str); 27] = [
    ("01", "00", "PUBLISH Will"),
    ("02", "00 00 00 00", "PUBLISH Will"),
    ("03", "<t>", "PUBLISH Will"),
    ("08", "<t>", "PUBLISH Will"),
    ("09", "00 01 00", "PUBLISH Will"),
    ("0b", "01", "PUBLISH SUBSCRIBE"),
    ("11", "ff ff ff ff", "CONNECT CONNACK DISCONNECT"),
    ("12", "<t>", "CONNACK"),
    ("13", "00 00", "CONNACK"),
    ("15", "<t>", "CONNECT CONNACK AUTH"),
    ("16", "00 01 00", "CONNECT CONNACK AUTH"),
    ("17", "01", "CONNECT"),
    ("18", "00 00 00 01", "Will"),
    ("19", "01", "CONNECT"),
    ("1a", "<t>", "CONNACK"),
    ("1c", "<t>", "CONNACK DISCONNECT"),
    ("1f", "<t>", "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"),
    ("21", "00 01", "CONNECT CONNACK"),
    ("22", "00 00", "CONNECT CONNACK"),
    ("23", "00 01", "PUBLISH"),
    ("24", "01", "CONNACK"),
    ("25", "01", "CONNACK"),
    (
        "26",
        "<n> <v>",
        "CONNECT Will CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE \
         UNSUBACK DISCONNECT AUTH",
    ),
    ("27", "00 00 00 01", "CONNECT CONNACK"),
    ("28", "00", "CONNACK"),
    ("29", "00", "CONNACK"),
    ("2a", "00", "CONNACK"),
];

/// A property section; authentication needs a method, so it gets one where it may stand.
fn section(id: &str, values: &[&str], place: &str) -> String {
    let mut inside = String::new();
    if (id == "16" || place == "AUTH") && id != "15" {
        inside.push_str("15 <m> ");
    }
    for value in values {
        inside.push_str(&format!("{id} {value} "));
    }
    format!("( {inside})")
}

/// v5 [MQTT-4.13.1-1]: every property in every packet, once and twice.
#[test]
fn each_property_in_each_place() {
    for (id, value, places) in SPEC {
        let number = u8::from_str_radix(id, 16).expect("a number");
        let kind = PropertyKind::from_byte(number).expect("a property");
        for (place, before, after) in PLACES {
            let once = decode(V5, &format!("{before} {} {after}", section(id, &[value], place)));
            let is_there = places.split(' ').any(|name| name == place);
            if place == "Will" {
                assert_eq!(kind.may_stand_in_will(), is_there, "{kind} in a will");
            } else {
                let packet = PacketType::ALL.into_iter().find(|packet| packet.name() == place);
                assert_eq!(kind.may_stand_in(packet.expect(place)), is_there, "{kind} in {place}");
            }
            if !is_there {
                // Where it may not stand, neither may the method of authentication data.
                let error = once.expect_err(place);
                assert_eq!(error.reason, ReasonCode::MalformedPacket);
                assert!(matches!(error.fault, Fault::UnknownProperty(_)), "{kind} in {place}");
                continue;
            }
            let once = once.unwrap_or_else(|error| panic!("{kind} in {place}: {error}"));
            assert!(once.to_string().contains(kind.name()), "{once}");
            let twice = section(id, &[value, value], place);
            let twice = decode(V5, &format!("{before} {twice} {after}"));
            if id == "26" || (id == "0b" && place == "PUBLISH") {
                assert!(twice.is_ok(), "{kind} twice in {place}");
            } else {
                let error = twice.expect_err(place);
                assert_eq!(error.fault, Fault::RepeatedProperty(number), "{kind} in {place}");
                assert_eq!(error.reason, ReasonCode::ProtocolError);
            }
        }
    }
}

/// The table and `SPEC` name the same properties.
#[test]
fn there_are_27_properties() {
    let ids: Vec<String> = PropertyKind::all().map(|kind| format!("{:02x}", kind.byte())).collect();
    assert_eq!(ids, SPEC.map(|(id, ..)| id));
    for id in 0..=u8::MAX {
        let is_known = ids.contains(&format!("{id:02x}"));
        assert_eq!(PropertyKind::from_byte(id).is_some(), is_known);
    }
}

/// v5 [MQTT-4.13.1-1]: identifiers that nobody assigned, also in more than one byte.
#[test]
fn unknown_identifiers() {
    fails(V5, "20 ( 00 00 ( 00 00 ) )", "0x81 at 5 MQTT-4.13.1-1 UnknownProperty(0)");
    fails(V5, "20 ( 00 00 ( 2b 00 ) )", "0x81 at 5 MQTT-4.13.1-1 UnknownProperty(43)");
    fails(V5, "20 ( 00 00 ( ff 7f ) )", "0x81 at 5 MQTT-4.13.1-1 UnknownProperty(16383)");
    fails(V5, "20 ( 00 00 ( a1 02 00 01 ) )", "0x81 at 5 MQTT-4.13.1-1 UnknownProperty(289)");
    fails(V5, "20 ( 00 00 ( a1 00 00 01 ) )", "0x81 at 5 MQTT-1.5.5-1 VarInt");
}

/// v5 section 3: the values that a property may not have.
#[test]
fn illegal_values() {
    let conn_ack = |property: &str, id: u8| {
        let line = format!("0x82 at 6 MQTT-4.13.1-1 PropertyValue({id})");
        fails(V5, &format!("20 ( 00 00 ( {property} ) )"), &line);
    };
    conn_ack("21 00 00", 0x21);
    conn_ack("24 02", 0x24);
    conn_ack("25 02", 0x25);
    conn_ack("27 00 00 00 00", 0x27);
    conn_ack("28 ff", 0x28);
    conn_ack("29 02", 0x29);
    conn_ack("2a 02", 0x2a);
    let connect = |property: &str, id: u8| {
        let line = format!("0x82 at 14 MQTT-4.13.1-1 PropertyValue({id})");
        fails(V5, &format!("10 ( <MQTT> 05 02 00 00 ( {property} ) <c> )"), &line);
    };
    connect("17 02", 0x17);
    connect("19 02", 0x19);
    connect("21 00 00", 0x21);
    connect("27 00 00 00 00", 0x27);
    fails(V5, "82 ( 00 01 ( 0b 00 ) <a> 00 )", "0x82 at 6 MQTT-4.13.1-1 PropertyValue(11)");
    fails(V5, "30 ( <a> ( 0b 00 ) )", "0x82 at 7 MQTT-4.13.1-1 PropertyValue(11)");
    fails(V5, "30 ( <a> ( 01 02 ) )", "0x81 at 7 MQTT-4.13.1-1 PropertyValue(1)");
}

/// v5 [MQTT-1.5.5-1] [MQTT-4.13.1-1] [MQTT-2.2.2-1]: the length of the section.
#[test]
fn section_length() {
    fails(V5, "20 ( 00 00 80 00 )", "0x81 at 4 MQTT-1.5.5-1 VarInt");
    fails(V5, "20 ( 00 00 80 80 80 80 00 )", "0x81 at 4 MQTT-1.5.5-1 VarInt");
    fails(V5, "20 ( 00 00 80 )", "0x81 at 4 MQTT-4.13.1-1 Truncated");
    fails(V5, "20 ( 00 00 04 21 00 01 )", "0x81 at 4 MQTT-4.13.1-1 Truncated");
    // A value may not go on behind its section, though the packet does.
    fails(V5, "20 ( 00 00 02 21 00 01 )", "0x81 at 6 MQTT-4.13.1-1 Truncated");
    fails(V5, "30 ( <a> 03 03 00 05 'payload' )", "0x81 at 7 MQTT-4.13.1-1 Truncated");
    check(V5, "20 ( 00 00 00 )", "CONNACK Success");
}

/// v5 [MQTT-1.5.7-1]: both parts of a pair are strings.
#[test]
fn both_parts_of_a_pair_are_checked() {
    fails(V5, "40 ( 00 01 00 ( 26 00 01 ff <v> ) )", "0x81 at 9 MQTT-1.5.4-1 Text");
    fails(V5, "40 ( 00 01 00 ( 26 <n> 00 01 00 ) )", "0x81 at 12 MQTT-1.5.4-2 Text");
    check(V5, "40 ( 00 01 00 ( 26 <> <> ) )", "PUBACK id=1 Success {UserProperty=\"\":\"\"}");
}

/// `set` replaces in place or adds; the accessors find the first.
#[test]
fn set_replaces() {
    let mut list = Properties::new();
    assert!(list.is_empty());
    list.set(Property::ReceiveMaximum(10));
    list.set(Property::TopicAliasMaximum(5));
    list.set(Property::ReceiveMaximum(20));
    assert_eq!(list.iter().count(), 2);
    assert_eq!(list.receive_maximum(), Some(&20));
    assert_eq!(list.topic_alias_maximum(), Some(&5));
    list.retain(|property| PropertyKind::of(property).name() != "ReceiveMaximum");
    assert_eq!(list.receive_maximum(), None);
    let text = |text| Text::new(text).expect("a text");
    list.push(Property::UserProperty(text("a"), text("b")));
    list.push(Property::SubscriptionIdentifier(3));
    list.push(Property::SubscriptionIdentifier(4));
    assert_eq!(list.user_properties().count(), 1);
    assert_eq!(list.subscription_identifiers().collect::<Vec<_>>(), [3, 4]);
    assert_eq!(list.subscription_identifier(), Some(&3));
    assert_eq!(Property::TopicAlias(1).kind().to_string(), "TopicAlias");
}
