//! One line in, one line out: packets as scripts of bytes.

use bytes::BytesMut;
use postrider_wire::{
    DecodeError, Decoder, DecoderConfig, EncodeError, Event, PACKET_SIZE_MAX, Packet, Version,
    encode, encoded_len,
};

pub(crate) const V3: [Version; 2] = [Version::V31, Version::V311];
pub(crate) const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// Decodes `hex`, compares the one-line form, encodes the packet and compares the bytes.
#[track_caller]
pub(crate) fn check(version: Version, hex: &str, line: &str) {
    let packet = decodes(version, hex, line);
    let mut out = Vec::new();
    encode(&packet, version, PACKET_SIZE_MAX, &mut out).expect("it was decoded");
    assert_eq!(to_hex(&out), to_hex(&bytes(hex)), "encoded again");
    assert_eq!(encoded_len(&packet, version), Ok(out.len() as u64));
}

/// Decodes `hex` and compares the one-line form; the encoder writes it another way.
#[track_caller]
pub(crate) fn decodes(version: Version, hex: &str, line: &str) -> Packet {
    let packet = decode(version, hex).expect(hex);
    assert_eq!(packet.to_string(), line);
    packet
}

/// Decodes `hex`, which must fail with `reason byte, offset, statement, fault` in this form:
/// `0x81 at 2 MQTT-1.5.4-2 Text`.
#[track_caller]
pub(crate) fn fails(version: Version, hex: &str, line: &str) {
    let error = decode(version, hex).expect_err(hex);
    assert_eq!(error_line(&error), line, "{hex}");
}

/// Encodes a packet and compares the bytes.
#[track_caller]
pub(crate) fn writes(packet: &Packet, version: Version, hex: &str) {
    let mut out = Vec::new();
    encode(packet, version, PACKET_SIZE_MAX, &mut out).expect("a good packet");
    assert_eq!(to_hex(&out), to_hex(&bytes(hex)));
    assert_eq!(encoded_len(packet, version), Ok(out.len() as u64));
}

/// Encodes a packet, which must fail and leave the output as it was.
#[track_caller]
pub(crate) fn refuses(packet: &Packet, version: Version, error: EncodeError) {
    let mut out = b"before".to_vec();
    assert_eq!(encode(packet, version, PACKET_SIZE_MAX, &mut out), Err(error), "{packet}");
    assert_eq!(out, b"before");
    assert_eq!(encoded_len(packet, version), Err(error));
}

pub(crate) fn error_line(error: &DecodeError) -> String {
    let DecodeError { offset, fault, statement, reason, .. } = error;
    format!("0x{:02x} at {offset} {statement} {fault:?}", reason.byte())
}

/// The one packet in `hex`, all of it. CONNECT comes to a server, all else to a client.
#[track_caller]
pub(crate) fn decode(version: Version, hex: &str) -> Result<Packet, DecodeError> {
    let mut input = BytesMut::from(&bytes(hex)[..]);
    let is_connect = input.first().is_some_and(|first| first >> 4 == 1);
    let mut decoder = decoder(if is_connect { None } else { Some(version) });
    match decoder.decode(&mut input)? {
        Some(Event::Packet(packet)) => {
            assert!(input.is_empty(), "bytes left behind {packet}");
            assert_eq!(decoder.version(), Some(version));
            Ok(packet)
        }
        other => panic!("{hex} is not one whole packet but {other:?}"),
    }
}

pub(crate) fn decoder(version: Option<Version>) -> Decoder {
    Decoder::new(config(), version)
}

pub(crate) fn config() -> DecoderConfig {
    DecoderConfig {
        packet_size_max: PACKET_SIZE_MAX,
        stream_above: PACKET_SIZE_MAX,
        is_topic_lenient: false,
    }
}

/// Reads a script of bytes: two hexadecimal digits each, `'text'` for the characters, `<text>` for
/// a string behind its two length bytes, and `( ... )` for bytes behind their length as a variable
/// byte integer.
#[track_caller]
pub(crate) fn bytes(script: &str) -> Vec<u8> {
    let mut groups = vec![Vec::new()];
    let mut rest = script.trim_start();
    while !rest.is_empty() {
        let mut out = groups.pop().expect("an open group");
        if let Some(tail) = rest.strip_prefix('(') {
            groups.push(out);
            out = Vec::new();
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix(')') {
            let group = out;
            out = groups.pop().expect("an opening parenthesis");
            var_int(group.len(), &mut out);
            out.extend_from_slice(&group);
            rest = tail;
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            let (text, tail) = quoted.split_once('\'').expect("an ending quote");
            out.extend_from_slice(text.as_bytes());
            rest = tail;
        } else if let Some(quoted) = rest.strip_prefix('<') {
            let (text, tail) = quoted.split_once('>').expect("an ending bracket");
            out.extend_from_slice(&(text.len() as u16).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
            rest = tail;
        } else {
            let (byte, tail) = rest.split_at(2);
            out.push(u8::from_str_radix(byte, 16).expect("two hexadecimal digits"));
            rest = tail;
        }
        groups.push(out);
        rest = rest.trim_start();
    }
    assert_eq!(groups.len(), 1, "a group is open");
    groups.pop().expect("one group")
}

/// Written for the tests alone, so that they do not lean on the encoder.
fn var_int(mut value: usize, out: &mut Vec<u8>) {
    while value >= 128 {
        out.push((value % 128) as u8 | 0x80);
        value /= 128;
    }
    out.push(value as u8);
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
