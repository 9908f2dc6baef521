//! A PUBLISH whose payload comes in chunks.

use bytes::BytesMut;
use postrider_wire::{
    Decoder, DecoderConfig, Event, Version,
    Version::{V5, V31, V311},
};

use crate::script::{ALL, bytes, config, error_line};

/// The head comes first, the payload as it arrives, then the next packet.
#[test]
fn head_first_then_chunks() {
    for version in ALL {
        let mut decoder = streaming(version, 4);
        let none = if version == V5 { "00" } else { "" };
        let mut input = BytesMut::new();
        let script = format!("33 ( <a/b> 00 07 {none} 'payload' ) d0 00");
        let all = bytes(&script);
        let head = all.len() - 2 - 7;
        input.extend_from_slice(&all[..head - 1]);
        assert_eq!(decoder.decode(&mut input), Ok(None));
        input.extend_from_slice(&all[head - 1..head]);
        assert_eq!(
            show(&mut decoder, &mut input),
            ["PUBLISH \"a/b\" qos=1 id=7 retain 0B + 7"],
            "{version}"
        );
        assert_eq!(decoder.decode(&mut input), Ok(None));
        input.extend_from_slice(&all[head..head + 3]);
        assert_eq!(show(&mut decoder, &mut input), ["chunk pay"]);
        input.extend_from_slice(&all[head + 3..]);
        assert_eq!(show(&mut decoder, &mut input), ["last chunk load", "PINGRESP"]);
    }
}

/// At the limit whole, one byte above it streamed; the head does not count.
#[test]
fn only_the_payload_counts() {
    for version in ALL {
        let none = if version == V5 { "( 26 <name> <value> )" } else { "" };
        for (payload, is_streamed) in [("", false), ("1234", false), ("12345", true)] {
            let mut decoder = streaming(version, 4);
            let script = format!("30 ( <a/long/topic/name> {none} '{payload}' )");
            let mut input = BytesMut::from(&bytes(&script)[..]);
            let shown = show(&mut decoder, &mut input);
            assert_eq!(shown.len(), if is_streamed { 2 } else { 1 }, "{shown:?}");
            assert!(input.is_empty());
        }
    }
}

/// With the limit 0 every payload is streamed, but for an empty one.
#[test]
fn limit_0_streams_all_but_the_empty() {
    let mut decoder = streaming(V311, 0);
    let mut input = BytesMut::from(&bytes("30 ( <a> ) 30 ( <b> 'x' ) c0 00")[..]);
    let line = ["PUBLISH \"a\" qos=0 0B", "PUBLISH \"b\" qos=0 0B + 1", "last chunk x", "PINGREQ"];
    assert_eq!(show(&mut decoder, &mut input), line);
}

/// v5 [MQTT-4.13.1-1] [MQTT-1.5.5-1] v3.1.1 [MQTT-4.8.0-1]: a broken head is told before the
/// payload is there, the same for any part of it.
#[test]
fn broken_heads() {
    let cases = [
        (V5, "30 09 00 08 'payload'", "0x81 at 2 MQTT-4.13.1-1 Truncated"),
        (V311, "30 09 00 08 'payload'", "0x81 at 2 MQTT-4.8.0-1 Truncated"),
        (V31, "32 09 00 06 'payload'", "0x81 at 10 MQTT-4.8.0-1 Truncated"),
        (V5, "32 09 00 06 'payload'", "0x81 at 10 MQTT-4.13.1-1 Truncated"),
        (V5, "30 09 00 07 'payload'", "0x81 at 11 MQTT-4.13.1-1 Truncated"),
        (V5, "30 0a 00 07 'payload' 80", "0x81 at 11 MQTT-4.13.1-1 Truncated"),
        (V5, "30 0b 00 07 'payload' 80 00", "0x81 at 11 MQTT-1.5.5-1 VarInt"),
        (V5, "30 7f 00 01 'a' ff ff ff ff 01", "0x81 at 5 MQTT-1.5.5-1 VarInt"),
        (V5, "30 0a 00 03 'a/b' 7f 'rest'", "0x81 at 7 MQTT-4.13.1-1 Truncated"),
        (V5, "30 7f 00 02 'a+' 00", "0x90 at 5 MQTT-3.3.2-2 Topic"),
        (V5, "30 7f 00 01 'a' 03 23 00 00", "0x94 at 7 MQTT-3.3.2-8 PropertyValue(35)"),
        (V311, "32 7f 00 01 'a' 00 00", "0x81 at 5 MQTT-2.3.1-1 PacketId"),
        (V311, "30 7f 00 00", "0x81 at 2 MQTT-4.7.3-1 Topic"),
    ];
    for (version, script, line) in cases {
        let bytes = bytes(script);
        for step in 1..=bytes.len() {
            let mut decoder = streaming(version, 1);
            let mut input = BytesMut::new();
            let mut found = None;
            for part in bytes.chunks(step) {
                input.extend_from_slice(part);
                if let Err(error) = decoder.decode(&mut input) {
                    found = Some(error_line(&error));
                    break;
                }
            }
            assert_eq!(found.as_deref(), Some(line), "{script} in steps of {step}");
        }
    }
}

/// A whole and a streamed PUBLISH with the same fault give the same error.
#[test]
fn streamed_or_not_the_fault_is_the_same() {
    for script in ["30 09 00 08 'payload'", "32 09 00 06 'payload'", "30 0a 00 03 'a/b' 7f 'rest'"]
    {
        let error = |stream_above| {
            let mut input = BytesMut::from(&bytes(script)[..]);
            streaming(V5, stream_above).decode(&mut input).expect_err(script)
        };
        assert_eq!(error(0), error(1000));
    }
}

/// What is not there is not waited for in memory: the payload is handed on, the input stays small.
#[test]
fn input_stays_small() {
    let mut decoder = streaming(V311, 1024);
    let mut input = BytesMut::from(&bytes("30 ff ff ff 7f 00 01 'a'")[..]);
    assert!(matches!(decoder.decode(&mut input), Ok(Some(Event::PublishStart(_, 268_435_452)))));
    let mut left = 268_435_452_u32;
    let piece = vec![0; 1 << 20];
    while left > 0 {
        let len = piece.len().min(left as usize);
        input.extend_from_slice(&piece[..len]);
        let Ok(Some(Event::PublishChunk { bytes, is_last })) = decoder.decode(&mut input) else {
            panic!("not a chunk");
        };
        assert_eq!(bytes.len(), len);
        left -= len as u32;
        assert_eq!(is_last, left == 0);
        assert!(input.is_empty());
    }
    input.extend_from_slice(&[0xc0, 0]);
    assert_eq!(show(&mut decoder, &mut input), ["PINGREQ"]);
}

fn streaming(version: Version, stream_above: u32) -> Decoder {
    Decoder::new(DecoderConfig { stream_above, ..config() }, Some(version))
}

fn show(decoder: &mut Decoder, input: &mut BytesMut) -> Vec<String> {
    let mut shown = Vec::new();
    while let Some(event) = decoder.decode(input).expect("no fault") {
        shown.push(match event {
            Event::Packet(packet) => packet.to_string(),
            Event::PublishStart(publish, len) => {
                format!("{} + {len}", postrider_wire::Packet::Publish(publish))
            }
            Event::PublishChunk { bytes, is_last } => {
                let last = if is_last { "last " } else { "" };
                format!("{last}chunk {}", String::from_utf8_lossy(&bytes))
            }
        });
    }
    shown
}
