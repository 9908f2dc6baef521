//! CONNECT and CONNACK.

use bytes::BytesMut;
use postrider_wire::{
    Event, Packet,
    Version::{V5, V31, V311},
};

use crate::script::{V3, bytes, check, decode, decoder, decodes, fails};

/// v5 [MQTT-3.1.2-1] [MQTT-3.1.3-3] v3.1.1 [MQTT-3.1.2-1] [MQTT-3.1.3-3]: name, level, flags, keep
/// alive, client id.
#[test]
fn smallest_connect_of_each_version() {
    let line = |version| format!("CONNECT {version} client_id=\"c\" keep_alive=60 clean_start");
    check(V31, "10 0f 00 06 4d 51 49 73 64 70 03 02 00 3c 00 01 63", &line("3.1"));
    check(V311, "10 0d 00 04 4d 51 54 54 04 02 00 3c 00 01 63", &line("3.1.1"));
    check(V5, "10 0e 00 04 4d 51 54 54 05 02 00 3c 00 00 01 63", &line("5.0"));
    check(V5, "10 ( <MQTT> 05 00 00 00 00 <> )", "CONNECT 5.0 client_id=\"\" keep_alive=0");
}

/// v5 [MQTT-3.1.3-1] [MQTT-3.1.2-9] [MQTT-3.1.2-17] [MQTT-3.1.2-19]
/// v3.1.1 [MQTT-3.1.3-1] [MQTT-3.1.2-9] [MQTT-3.1.2-19] [MQTT-3.1.2-21]: the order of the payload.
#[test]
fn full_connect_of_each_version() {
    let fields = "ee 00 0a <c> <w/t> 00 02 'by' <user> 00 03 00 01 02";
    for (version, head) in [(V31, "<MQIsdp> 03"), (V311, "<MQTT> 04")] {
        check(
            version,
            &format!("10 ( {head} {fields} )"),
            &format!(
                "CONNECT {version} client_id=\"c\" keep_alive=10 clean_start user_name=4B \
                 password=3B will=(\"w/t\" qos=1 retain 2B)"
            ),
        );
    }
    check(
        V5,
        "10 ( <MQTT> 05 d4 00 0a ( 11 00 00 00 78 21 00 14 ) <c> ( 18 00 00 00 05 01 01 ) \
         <w/t> 00 02 'by' <user> 00 03 00 01 02 )",
        "CONNECT 5.0 client_id=\"c\" keep_alive=10 user_name=4B password=3B \
         will=(\"w/t\" qos=2 2B {WillDelayInterval=5 PayloadFormatIndicator=1}) \
         {SessionExpiryInterval=120 ReceiveMaximum=20}",
    );
}

/// v5 [MQTT-3.1.2-16] [MQTT-3.1.2-18] [MQTT-3.1.2-11] v3.1.1 [MQTT-3.1.2-18] [MQTT-3.1.2-20]
/// [MQTT-3.1.2-11]: a field without its flag is a byte too much.
#[test]
fn fields_without_their_flag() {
    fails(V311, "10 ( <MQTT> 04 02 00 00 <c> <u> )", "0x81 at 15 MQTT-4.8.0-1 TrailingBytes");
    fails(V5, "10 ( <MQTT> 05 02 00 00 00 <c> <u> )", "0x81 at 16 MQTT-4.13.1-1 TrailingBytes");
    fails(V311, "10 ( <MQTT> 04 82 00 00 <c> )", "0x81 at 15 MQTT-4.8.0-1 Truncated");
    fails(V5, "10 ( <MQTT> 05 42 00 00 00 <c> )", "0x81 at 16 MQTT-4.13.1-1 Truncated");
    fails(V5, "10 ( <MQTT> 05 06 00 00 00 <c> )", "0x81 at 16 MQTT-4.13.1-1 Truncated");
}

/// v5 [MQTT-3.1.2-3] [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13]
/// v3.1.1 [MQTT-3.1.2-3] [MQTT-3.1.2-13] [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT-3.1.2-22]
#[test]
fn flags_that_contradict_each_other() {
    let v5 = |flags| format!("10 ( <MQTT> 05 {flags} 00 00 00 <c> )");
    fails(V5, &v5("01"), "0x81 at 9 MQTT-3.1.2-3 ConnectFlags");
    fails(V5, &v5("08"), "0x81 at 9 MQTT-3.1.2-11 ConnectFlags");
    fails(V5, &v5("18"), "0x81 at 9 MQTT-3.1.2-11 ConnectFlags");
    fails(V5, &v5("20"), "0x81 at 9 MQTT-3.1.2-13 ConnectFlags");
    fails(V5, &v5("1c"), "0x81 at 9 MQTT-3.1.2-12 QoS");
    let v311 = |flags| format!("10 ( <MQTT> 04 {flags} 00 00 <c> )");
    fails(V311, &v311("03"), "0x81 at 9 MQTT-3.1.2-3 ConnectFlags");
    fails(V311, &v311("10"), "0x81 at 9 MQTT-3.1.2-13 ConnectFlags");
    fails(V311, &v311("22"), "0x81 at 9 MQTT-3.1.2-15 ConnectFlags");
    fails(V311, &v311("1e"), "0x81 at 9 MQTT-3.1.2-14 QoS");
    fails(V311, &v311("42"), "0x81 at 9 MQTT-3.1.2-22 ConnectFlags");
}

/// v5 [MQTT-3.1.2-19]: 5.0 allows a password alone.
#[test]
fn password_without_user_name() {
    check(
        V5,
        "10 ( <MQTT> 05 42 00 00 00 <c> 00 01 ff )",
        "CONNECT 5.0 client_id=\"c\" keep_alive=0 clean_start password=1B",
    );
}

/// v5 [MQTT-3.1.2-1] [MQTT-3.1.2-2] v3.1.1 [MQTT-3.1.2-1] [MQTT-3.1.2-2]
#[test]
fn unknown_name_or_level() {
    let line = "0x84 at 2 MQTT-3.1.2-1 ProtocolName";
    fails(V5, "10 ( <MQTX> 05 02 00 00 00 <c> )", line);
    fails(V5, "10 ( <mqtt> 05 02 00 00 00 <c> )", line);
    fails(V5, "10 ( <> 05 02 00 00 00 <c> )", line);
    let level = "0x84 at 8 MQTT-3.1.2-2 ProtocolLevel";
    for script in ["03", "06", "00", "ff", "85"] {
        fails(V5, &format!("10 ( <MQTT> {script} 02 00 00 00 <c> )"), level);
    }
    fails(V5, "10 ( <MQIsdp> 04 02 00 00 <c> )", "0x84 at 10 MQTT-3.1.2-2 ProtocolLevel");
}

/// A link must know which form of CONNACK a client of an unknown level can read.
#[test]
fn level_is_kept_when_it_is_unknown() {
    let mut server = decoder(None);
    assert_eq!(server.connect_level(), None);
    let mut input = BytesMut::from(&bytes("10 ( <MQTT> 07 02 00 00 <c> )")[..]);
    assert!(server.decode(&mut input).is_err());
    assert_eq!((server.connect_level(), server.version()), (Some(7), None));
}

/// A fault behind the level is answered in the client's version.
#[test]
fn version_is_known_when_the_rest_is_malformed() {
    for (version, level) in [(V311, "04"), (V5, "05")] {
        let mut server = decoder(None);
        let script = format!("10 ( <MQTT> {level} 03 00 00 <c> )");
        assert!(server.decode(&mut BytesMut::from(&bytes(&script)[..])).is_err());
        assert_eq!(server.version(), Some(version));
    }
}

/// Mosquitto's bridges set bit 7 of the level.
#[test]
fn bridges_are_understood() {
    let line = "CONNECT 3.1.1 client_id=\"c\" keep_alive=0 clean_start";
    decodes(V311, "10 ( <MQTT> 84 02 00 00 <c> )", line);
    let line = "CONNECT 3.1 client_id=\"c\" keep_alive=0 clean_start";
    decodes(V31, "10 ( <MQIsdp> 83 02 00 00 <c> )", line);
}

/// A bridge must not get its own messages back, and needs the retain flag; 3.x has no options to
/// say so.
#[test]
fn bridges_subscribe_as_they_would_in_5_0() {
    for (level, options) in
        [("04", ["", ""]), ("84", [",no_local,retain_as_published", ",retain_as_published"])]
    {
        let mut server = decoder(None);
        let connect =
            format!("10 ( <MQTT> {level} 02 00 00 <c> ) 82 ( 00 01 <a> 01 <$share/g/a> 02 )");
        let mut input = BytesMut::from(&bytes(&connect)[..]);
        let connected = server.decode(&mut input);
        assert!(matches!(connected, Ok(Some(Event::Packet(Packet::Connect(_))))));
        let Ok(Some(Event::Packet(packet))) = server.decode(&mut input) else { panic!("{level}") };
        let [plain, shared] = options;
        let line = format!("SUBSCRIBE id=1 \"a\"=1{plain} \"$share/g/a\"=2{shared}");
        assert_eq!(packet.to_string(), line);
    }
}

/// v5 [MQTT-3.1.3-11] [MQTT-3.1.3-12] [MQTT-3.1.3-4] [MQTT-4.7.0-1]
/// v3.1.1 [MQTT-3.1.3-10] [MQTT-3.1.3-11] [MQTT-3.1.3-4] [MQTT-4.7.1-1]
#[test]
fn strings_of_connect_are_checked() {
    fails(V5, "10 ( <MQTT> 05 02 00 00 00 00 01 ff )", "0x81 at 15 MQTT-1.5.4-1 Text");
    fails(V311, "10 ( <MQTT> 04 02 00 00 00 02 'a' 00 )", "0x81 at 15 MQTT-1.5.3-2 Text");
    fails(V5, "10 ( <MQTT> 05 82 00 00 00 <c> 00 01 80 )", "0x81 at 18 MQTT-1.5.4-1 Text");
    fails(V5, "10 ( <MQTT> 05 06 00 00 00 <c> 00 <w/#> 00 00 )", "0x90 at 21 MQTT-4.7.0-1 Topic");
    fails(V311, "10 ( <MQTT> 04 06 00 00 <c> <+> 00 00 )", "0x90 at 17 MQTT-4.7.1-1 Topic");
    fails(V5, "10 ( <MQTT> 05 06 00 00 00 <c> 00 <> 00 00 )", "0x81 at 17 MQTT-4.7.3-1 Topic");
}

/// 5.0 section 3.1.2.11.9: authentication data needs a method; v5 [MQTT-4.13.1-1].
#[test]
fn authentication_data_needs_a_method() {
    check(
        V5,
        "10 ( <MQTT> 05 02 00 00 ( 15 <m> 16 00 02 01 02 ) <c> )",
        "CONNECT 5.0 client_id=\"c\" keep_alive=0 clean_start \
         {AuthenticationMethod=\"m\" AuthenticationData=2B}",
    );
    let line = "0x82 at 13 MQTT-4.13.1-1 MissingProperty(21)";
    fails(V5, "10 ( <MQTT> 05 02 00 00 ( 16 00 02 01 02 ) <c> )", line);
}

/// v5 [MQTT-3.1.0-2] v3.1.1 [MQTT-3.1.0-2]: the decoder reads a second CONNECT, for the link to
/// refuse it.
#[test]
fn second_connect_keeps_the_version() {
    let mut server = decoder(None);
    let script = "10 ( <MQTT> 05 02 00 00 00 <c> ) 10 ( <MQTT> 04 02 00 00 <d> ) c0 00";
    let mut input = BytesMut::from(&bytes(script)[..]);
    for _ in 0..3 {
        assert!(server.decode(&mut input).expect("a packet").is_some());
        assert_eq!(server.version(), Some(V5));
    }
}

/// Passwords do not reach logs, not even through `Debug`.
#[test]
fn debug_hides_the_password() {
    let packet = decode(V311, "10 ( <MQTT> 04 c2 00 00 <c> <u> <secret> )").expect("a CONNECT");
    for shown in [format!("{packet:?}"), format!("{packet}")] {
        assert!(!shown.contains("secret"), "{shown}");
    }
    assert!(matches!(packet, Packet::Connect(c) if c.password.as_deref() == Some(b"secret")));
}

/// v5 [MQTT-3.2.2-1] [MQTT-3.2.2-8]
#[test]
fn conn_ack_of_5_0() {
    check(V5, "20 03 00 00 00", "CONNACK Success");
    check(V5, "20 03 01 00 00", "CONNACK session_present Success");
    check(V5, "20 03 00 87 00", "CONNACK NotAuthorized");
    check(
        V5,
        "20 ( 00 00 ( 12 <id-1> 13 00 1e 24 01 25 00 27 00 00 10 00 28 01 29 01 2a 00 ) )",
        "CONNACK Success {AssignedClientIdentifier=\"id-1\" ServerKeepAlive=30 MaximumQoS=1 \
         RetainAvailable=false MaximumPacketSize=4096 WildcardSubscriptionAvailable=true \
         SubscriptionIdentifierAvailable=true SharedSubscriptionAvailable=false}",
    );
    fails(V5, "20 03 02 00 00", "0x81 at 2 MQTT-3.2.2-1 ReservedBits");
    fails(V5, "20 03 00 8e 00", "0x82 at 3 MQTT-3.2.2-8 Reason(142)");
    fails(V5, "20 03 00 05 00", "0x81 at 3 MQTT-3.2.2-8 Reason(5)");
    fails(V5, "20 02 00 00", "0x81 at 4 MQTT-4.13.1-1 Truncated");
}

/// v3.1.1 [MQTT-3.2.2-4] [MQTT-3.2.2-6]: six codes, and no others.
#[test]
fn conn_ack_of_3() {
    let names = [
        "Success",
        "UnsupportedProtocolVersion",
        "ClientIdentifierNotValid",
        "ServerUnavailable",
        "BadUserNameOrPassword",
        "NotAuthorized",
    ];
    for version in V3 {
        for (code, name) in names.iter().enumerate() {
            check(version, &format!("20 02 00 {code:02x}"), &format!("CONNACK {name}"));
        }
        fails(version, "20 02 00 06", "0x81 at 3 MQTT-4.8.0-1 Reason(6)");
        fails(version, "20 02 80 00", "0x81 at 2 MQTT-4.8.0-1 ReservedBits");
        fails(version, "20 03 00 00 00", "0x81 at 4 MQTT-4.8.0-1 TrailingBytes");
        fails(version, "20 01 00", "0x81 at 3 MQTT-4.8.0-1 Truncated");
    }
    check(V311, "20 02 01 00", "CONNACK session_present Success");
    decodes(V31, "20 02 01 00", "CONNACK session_present Success");
}

/// v3.1.1 [MQTT-3.1.2-2]: a client of 5.0 can read why a server that does not know 5.0 says no.
#[test]
fn refusal_in_the_old_form_is_read_in_5_0() {
    decodes(V5, "20 02 00 01", "CONNACK UnsupportedProtocolVersion");
    decodes(V5, "20 02 00 05", "CONNACK NotAuthorized");
    for (hex, error) in [
        ("20 02 00 00", "0x81 at 4 MQTT-4.13.1-1 Truncated"),
        ("20 02 00 06", "0x81 at 3 MQTT-3.2.2-8 Reason(6)"),
        ("20 02 00 87", "0x81 at 4 MQTT-4.13.1-1 Truncated"),
        ("20 02 01 01", "0x82 at 3 MQTT-3.2.2-8 Reason(1)"),
        ("20 03 00 01 00", "0x82 at 3 MQTT-3.2.2-8 Reason(1)"),
    ] {
        fails(V5, hex, error);
    }
}
