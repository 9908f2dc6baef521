//! The fixed header: type, flags, remaining length, maximum packet size.

use bytes::BytesMut;
use postrider_wire::{
    DecodeError, Decoder, DecoderConfig, Event, Fault, PACKET_SIZE_MAX, PacketType, Version,
    Version::{V5, V31, V311},
};

use crate::script::{ALL, V3, bytes, check, config, decoder, error_line, fails};

/// v5 [MQTT-4.13.1-1] v3.1.1 [MQTT-4.8.0-1]: type 0 never, type 15 only in 5.0.
#[test]
fn reserved_types() {
    fails(V5, "00", "0x81 at 0 MQTT-4.13.1-1 ReservedType");
    fails(V311, "00 00", "0x81 at 0 MQTT-4.8.0-1 ReservedType");
    for version in V3 {
        fails(version, "f0 00", "0x81 at 0 MQTT-4.8.0-1 ReservedType");
    }
    check(V5, "f0 00", "AUTH Success");
}

/// v5 [MQTT-2.1.3-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1]
/// v3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1]:
/// every wrong nibble of every type is told by the first byte.
#[test]
fn flags_are_checked_at_once() {
    for version in ALL {
        for packet in PacketType::ALL {
            if packet == PacketType::Publish || (packet == PacketType::Auth && version != V5) {
                continue;
            }
            let fixed = fixed_flags(packet);
            for flags in 0..16 {
                let is_old_dup = version == V31 && fixed == 2 && flags == 10;
                let result = first_byte(Some(version), packet.nibble() << 4 | flags);
                if flags == fixed || is_old_dup {
                    assert_eq!(result, Ok(None));
                } else {
                    let error = result.expect_err("wrong flags");
                    assert_eq!((error.fault, error.offset), (Fault::Flags, 0));
                    assert_eq!(error.packet, Some(packet));
                }
            }
        }
    }
    fails(V5, "80", "0x81 at 0 MQTT-3.8.1-1 Flags");
    fails(V5, "a0", "0x81 at 0 MQTT-3.10.1-1 Flags");
    fails(V5, "e1", "0x81 at 0 MQTT-3.14.1-1 Flags");
    fails(V5, "f2", "0x81 at 0 MQTT-3.15.1-1 Flags");
    fails(V311, "c1", "0x81 at 0 MQTT-2.2.2-2 Flags");
}

/// v5 [MQTT-3.1.0-1] v3.1.1 [MQTT-3.1.0-1]: on a server nothing comes before CONNECT.
#[test]
fn connect_comes_first() {
    for packet in PacketType::ALL {
        let result = first_byte(None, packet.nibble() << 4 | fixed_flags(packet));
        if packet == PacketType::Connect {
            assert_eq!(result, Ok(None));
        } else {
            let line = error_line(&result.expect_err("not CONNECT"));
            assert_eq!(line, "0x82 at 0 MQTT-3.1.0-1 Unexpected");
        }
    }
    let line = error_line(&first_byte(None, 0x00).expect_err("reserved"));
    assert_eq!(line, "0x81 at 0 MQTT-4.13.1-1 ReservedType");
    let line = error_line(&first_byte(None, 0x11).expect_err("flags"));
    assert_eq!(line, "0x81 at 0 MQTT-2.1.3-1 Flags");
}

/// v5 [MQTT-1.5.5-1]: one to four bytes, shortest form. v3.1.1 section 2.2.3: any form of at most
/// four bytes.
#[test]
fn remaining_length_forms() {
    for version in ALL {
        let tail = if version == V5 { "80 80 80 80" } else { "ff ff ff ff" };
        let statement = if version == V5 { "MQTT-1.5.5-1" } else { "MQTT-4.8.0-1" };
        fails(version, &format!("d0 {tail}"), &format!("0x81 at 1 {statement} VarInt"));
    }
    fails(V5, "d0 80 00", "0x81 at 1 MQTT-1.5.5-1 VarInt");
    fails(V5, "40 82 80 00 00 07", "0x81 at 1 MQTT-1.5.5-1 VarInt");
    for version in V3 {
        let packet = crate::script::decode(version, "40 82 80 80 00 00 07").expect("a long form");
        assert_eq!(packet.to_string(), "PUBACK id=7 Success");
    }
}

/// v5 [MQTT-1.5.5-1]: a CONNECT tells its version only behind the length that has to be short.
#[test]
fn remaining_length_of_connect_is_checked_afterwards() {
    fails(V5, "10 8d 00 <MQTT> 05 02 00 00 00 <>", "0x81 at 1 MQTT-1.5.5-1 VarInt");
    let packet = crate::script::decode(V311, "10 8c 00 <MQTT> 04 02 00 00 <>");
    assert!(packet.is_ok());
}

/// The four sizes of the remaining length, at both ends of each. Spec: v5 table 2-1.
#[test]
fn remaining_length_borders() {
    for len in [3_usize, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
        let payload = "x".repeat(len - 3);
        let script = format!("30 ( <a> '{payload}' )");
        check(V311, &script, &format!("PUBLISH \"a\" qos=0 {}B", len - 3));
    }
}

/// v5 [MQTT-3.2.2-15] [MQTT-3.1.2-24] v3.1.1 [MQTT-4.8.0-1]: from the fixed header alone, at the
/// limit and above it.
#[test]
fn packet_size_max_is_checked_before_the_body() {
    let config = DecoderConfig { packet_size_max: 20, ..config() };
    let mut decoder = Decoder::new(config, Some(V5));
    // Two bytes of header and 18 more are 20.
    assert_eq!(feed(&mut decoder, "30 12"), Ok(None));
    let mut decoder = Decoder::new(config, Some(V5));
    let line = error_line(&feed(&mut decoder, "30 13").expect_err("21 bytes"));
    assert_eq!(line, "0x95 at 1 MQTT-3.1.2-24 TooLarge(21)");
    let mut decoder = Decoder::new(config, None);
    let line = error_line(&feed(&mut decoder, "10 13").expect_err("21 bytes"));
    assert_eq!(line, "0x95 at 1 MQTT-3.2.2-15 TooLarge(21)");
    let mut decoder = Decoder::new(config, Some(V311));
    let line = error_line(&feed(&mut decoder, "30 ff ff ff 7f").expect_err("the largest"));
    assert_eq!(line, "0x95 at 1 MQTT-4.8.0-1 TooLarge(268435460)");
}

/// The largest packet of the standard is within the largest limit.
#[test]
fn the_largest_packet_is_legal() {
    let mut decoder = decoder(Some(V5));
    assert_eq!(feed(&mut decoder, "30 ff ff ff 7f"), Ok(None));
    assert_eq!(PACKET_SIZE_MAX, 268_435_460);
}

/// An announced length is not believed: the decoder asks for no room, and waiting bytes stay with
/// the caller.
#[test]
fn announced_lengths_allocate_nothing() {
    for version in ALL {
        for script in
            ["30 ff ff ff 7f 00 01 'a'", "82 ff ff ff 7f 00 01 ff ff", "40 ff ff ff 7f 00"]
        {
            let mut input = BytesMut::from(&bytes(script)[..]);
            let (len, capacity) = (input.len(), input.capacity());
            let mut decoder = decoder(Some(version));
            for _ in 0..3 {
                assert_eq!(decoder.decode(&mut input), Ok(None));
                assert_eq!((input.len(), input.capacity()), (len, capacity));
            }
        }
    }
}

/// A decoder that found a fault finds it again; it does not go on behind it.
#[test]
fn a_fault_is_final() {
    let mut decoder = decoder(Some(V5));
    let error = feed(&mut decoder, "00").expect_err("type 0");
    assert_eq!(feed(&mut decoder, "c0 00"), Err(error));
}

/// The text names packet, fault, place and statement.
#[test]
fn errors_read_well() {
    let text = |version, script| {
        let mut decoder = decoder(Some(version));
        feed(&mut decoder, script).expect_err("a fault").to_string()
    };
    assert_eq!(text(V5, "00"), "reserved packet type at byte 0 [MQTT-4.13.1-1]");
    assert_eq!(text(V5, "40 02 00 00"), "PUBACK: packet identifier is 0 at byte 2 [MQTT-2.2.1-5]");
    assert_eq!(
        text(V5, "20 ( 00 00 ( 21 00 01 21 00 01 ) )"),
        "CONNACK: property ReceiveMaximum (0x21) stands twice at byte 8 [MQTT-4.13.1-1]"
    );
    assert_eq!(
        text(V5, "40 ( 00 01 00 ( 7f ) )"),
        "PUBACK: property 0x7F may not stand here at byte 6 [MQTT-4.13.1-1]"
    );
    assert_eq!(
        text(V5, "40 ( 00 01 03 )"),
        "PUBACK: reason code 0x03 may not stand here at byte 4 [MQTT-3.4.2-1]"
    );
    let mut small = Decoder::new(DecoderConfig { packet_size_max: 9, ..config() }, Some(V5));
    let error = feed(&mut small, "30 10").expect_err("too large");
    assert_eq!(
        error.to_string(),
        "PUBLISH: packet of 18 bytes is too large at byte 1 [MQTT-3.1.2-24]"
    );
}

/// The low nibble of a type, 0 for PUBLISH. Spec: v5 table 2-2.
fn fixed_flags(packet: PacketType) -> u8 {
    let has_bit =
        matches!(packet, PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe);
    if has_bit { 2 } else { 0 }
}

fn first_byte(version: Option<Version>, first: u8) -> Result<Option<Event>, DecodeError> {
    decoder(version).decode(&mut BytesMut::from(&[first][..]))
}

fn feed(decoder: &mut Decoder, script: &str) -> Result<Option<Event>, DecodeError> {
    decoder.decode(&mut BytesMut::from(&bytes(script)[..]))
}
