//! PUBLISH.

use postrider_wire::{
    Event,
    Version::{V5, V31, V311},
};

use crate::script::{ALL, V3, bytes, check, config, decode, decoder, decodes, fails};

/// v5 [MQTT-3.3.2-1] [MQTT-2.2.1-2] v3.1.1 [MQTT-3.3.2-1] [MQTT-2.3.1-5]: topic, identifier only
/// above QoS 0, payload.
#[test]
fn fields_stand_in_order() {
    for version in V3 {
        check(version, "30 05 00 03 61 2f 62", "PUBLISH \"a/b\" qos=0 0B");
        check(version, "30 07 00 03 61 2f 62 68 69", "PUBLISH \"a/b\" qos=0 2B");
        check(version, "33 09 00 03 61 2f 62 00 07 68 69", "PUBLISH \"a/b\" qos=1 id=7 retain 2B");
        check(version, "3c 08 00 03 61 2f 62 ff ff 00", "PUBLISH \"a/b\" qos=2 id=65535 dup 1B");
    }
    check(V5, "30 06 00 03 61 2f 62 00", "PUBLISH \"a/b\" qos=0 0B");
    check(V5, "32 0a 00 03 61 2f 62 00 07 00 68 69", "PUBLISH \"a/b\" qos=1 id=7 2B");
    check(V5, "3d 08 00 03 61 2f 62 00 0a 00", "PUBLISH \"a/b\" qos=2 id=10 dup retain 0B");
}

/// v5 [MQTT-3.3.1-4] v3.1.1 [MQTT-3.3.1-4]: told by the first byte alone.
#[test]
fn qos_3_is_malformed() {
    for version in ALL {
        fails(version, "36", "0x81 at 0 MQTT-3.3.1-4 QoS");
        fails(version, "3f", "0x81 at 0 MQTT-3.3.1-4 QoS");
    }
}

/// v5 [MQTT-3.3.1-2]: malformed. v3.1.1 [MQTT-3.3.1-2]: old clients do it, DUP is ignored.
#[test]
fn dup_at_qos_0() {
    fails(V5, "38", "0x81 at 0 MQTT-3.3.1-2 Flags");
    for version in V3 {
        decodes(version, "38 ( <a> )", "PUBLISH \"a\" qos=0 0B");
    }
}

/// v5 [MQTT-2.2.1-3] v3.1.1 [MQTT-2.3.1-1]
#[test]
fn packet_id_0_is_malformed() {
    fails(V5, "32 ( <a> 00 00 00 )", "0x81 at 5 MQTT-2.2.1-3 PacketId");
    fails(V311, "34 ( <a> 00 00 )", "0x81 at 5 MQTT-2.3.1-1 PacketId");
}

/// v5 [MQTT-3.3.2-2] [MQTT-4.7.0-1] v3.1.1 [MQTT-3.3.2-2] [MQTT-4.7.1-1]
#[test]
fn wildcards_in_the_topic_are_refused() {
    for version in ALL {
        fails(version, "30 ( <a/+> 00 )", "0x90 at 6 MQTT-3.3.2-2 Topic");
        fails(version, "30 ( <#> 00 )", "0x90 at 4 MQTT-3.3.2-2 Topic");
        fails(version, "30 ( <long/enough/for/words/a+> 00 )", "0x90 at 27 MQTT-3.3.2-2 Topic");
    }
}

/// RabbitMQ turns `*` into `+`: a client may let it pass; the other rules of names stay.
#[test]
fn a_lenient_decoder_lets_wildcards_pass() {
    let lenient = |script: &str| {
        let mut decoder = decoder(Some(V311));
        decoder.set_config(postrider_wire::DecoderConfig { is_topic_lenient: true, ..config() });
        decoder.decode(&mut bytes::BytesMut::from(&bytes(script)[..]))
    };
    let Ok(Some(Event::Packet(packet))) = lenient("30 ( <a/+/b> )") else { panic!("refused") };
    assert_eq!(packet.to_string(), "PUBLISH \"a/+/b\" qos=0 0B");
    assert!(lenient("30 ( 00 03 'a' 00 '+' )").is_err());
    assert!(lenient("30 ( 00 00 )").is_err());
}

/// v5 [MQTT-3.3.2-1] [MQTT-4.7.3-1] v3.1.1 [MQTT-4.7.3-1]: an empty topic needs an alias, which
/// only 5.0 has.
#[test]
fn empty_topic_needs_an_alias() {
    check(V5, "30 ( 00 00 ( 23 00 03 ) 'hi' )", "PUBLISH - qos=0 2B {TopicAlias=3}");
    check(V5, "30 ( <a> ( 23 00 03 ) 'hi' )", "PUBLISH \"a\" qos=0 2B {TopicAlias=3}");
    fails(V5, "30 ( 00 00 00 'hi' )", "0x82 at 2 MQTT-4.7.3-1 Topic");
    for version in V3 {
        fails(version, "30 ( 00 00 'hi' )", "0x81 at 2 MQTT-4.7.3-1 Topic");
    }
}

/// v5 [MQTT-3.3.2-8]
#[test]
fn topic_alias_0_is_invalid() {
    fails(V5, "30 ( <a> ( 23 00 00 ) )", "0x94 at 7 MQTT-3.3.2-8 PropertyValue(35)");
}

/// v5 [MQTT-3.3.2-14] [MQTT-3.3.2-13] [MQTT-4.7.3-1]
#[test]
fn response_topic_is_a_topic_name() {
    let line = "PUBLISH \"a\" qos=0 0B {ResponseTopic=\"r/1\" CorrelationData=2B}";
    check(V5, "30 ( <a> ( 08 <r/1> 09 00 02 00 ff ) )", line);
    fails(V5, "30 ( <a> ( 08 <r/+> ) )", "0x82 at 7 MQTT-3.3.2-14 PropertyValue(8)");
    fails(V5, "30 ( <a> ( 08 00 01 ff ) )", "0x81 at 9 MQTT-1.5.4-1 Text");
    fails(V5, "30 ( <a> ( 08 00 00 ) )", "0x81 at 7 MQTT-4.7.3-1 PropertyValue(8)");
}

/// v5 [MQTT-3.3.4-4] [MQTT-3.3.2-17] [MQTT-3.3.2-18]: identifiers and user properties repeat and
/// keep their order.
#[test]
fn repeated_properties_keep_their_order() {
    check(
        V5,
        "30 ( <a> ( 0b 01 0b ff ff ff 7f 0b 01 26 <n> <v> 26 <n> <w> ) 'x' )",
        "PUBLISH \"a\" qos=0 1B {SubscriptionIdentifier=1 SubscriptionIdentifier=268435455 \
         SubscriptionIdentifier=1 UserProperty=\"n\":\"v\" UserProperty=\"n\":\"w\"}",
    );
}

/// v5 [MQTT-4.13.1-1] v3.1.1 [MQTT-4.8.0-1]
#[test]
fn fields_past_the_end_are_malformed() {
    fails(V5, "30 00", "0x81 at 2 MQTT-4.13.1-1 Truncated");
    fails(V5, "30 01 00", "0x81 at 2 MQTT-4.13.1-1 Truncated");
    fails(V5, "30 03 00 02 61", "0x81 at 2 MQTT-4.13.1-1 Truncated");
    fails(V5, "30 03 00 01 61", "0x81 at 5 MQTT-4.13.1-1 Truncated");
    fails(V5, "30 04 00 01 61 01", "0x81 at 5 MQTT-4.13.1-1 Truncated");
    fails(V5, "32 05 00 01 61 00 01", "0x81 at 7 MQTT-4.13.1-1 Truncated");
    fails(V311, "32 04 00 01 61 00", "0x81 at 5 MQTT-4.8.0-1 Truncated");
    fails(V31, "30 01 00", "0x81 at 2 MQTT-4.8.0-1 Truncated");
}

/// What a message shares is the packet, not the read buffer behind it: an empty payload holds
/// nothing.
#[test]
fn fields_share_the_bytes_of_the_packet() {
    let mut input = bytes::BytesMut::from(&bytes("30 ( <abc> 'payload' ) c0 00")[..]);
    let range = input.as_ptr() as usize..input.as_ptr() as usize + input.len();
    let Ok(Some(Event::Packet(postrider_wire::Packet::Publish(publish)))) =
        decoder(Some(V311)).decode(&mut input)
    else {
        panic!("not a PUBLISH");
    };
    let topic = publish.topic.expect("a topic");
    assert_eq!(topic, "abc");
    assert!(range.contains(&(topic.as_bytes().as_ptr() as usize)));
    assert!(range.contains(&(publish.payload.as_ptr() as usize)));
    assert_eq!(&input[..], [0xc0, 0x00]);
    let detached = topic.detached();
    assert_eq!(detached, topic);
    assert!(!range.contains(&(detached.as_bytes().as_ptr() as usize)));
    let packet = decode(V311, "30 ( <a> )").expect("a PUBLISH");
    assert!(matches!(packet, postrider_wire::Packet::Publish(p) if p.payload.is_empty()));
}
