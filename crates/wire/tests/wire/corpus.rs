//! Hand-written packets of every type and version, cut and changed in every way: an error or a
//! packet, nothing else.

use bytes::BytesMut;
use postrider_wire::{
    DecodeError, Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet, Version,
    Version::{V5, V31, V311},
    encode,
};

use crate::script::{bytes, config};

/// Packets that 3.1, 3.1.1 and 5.0 read the same way.
const EVERY: [&str; 8] = [
    "40 02 00 01",
    "50 02 00 02",
    "62 02 00 03",
    "70 02 00 04",
    "c0 00",
    "d0 00",
    "e0 00",
    "30 ( <a> 00 )",
];

const OLD: [&str; 9] = [
    "20 02 00 00",
    "20 02 00 05",
    "30 ( <a/b> 'payload' )",
    "3d ( <a/b> 00 09 'payload' )",
    "32 ( <caf> 00 09 )",
    "82 ( 00 01 <a/+> 01 <$share/g/#> 02 )",
    "90 ( 00 01 00 01 02 80 )",
    "a2 ( 00 01 <a/+> <b> )",
    "b0 02 00 01",
];

const CONNECT_OLD: [&str; 2] = ["04 c2 00 3c <id> <user> <pass>", "04 36 00 00 <id> <w/t> <gone>"];

const NEW: [&str; 22] = [
    "10 ( <MQTT> 05 c2 00 3c 00 <id> <user> <pass> )",
    "10 ( <MQTT> 05 36 00 00 ( 11 00 00 00 0a 21 00 05 22 00 09 27 00 01 00 00 17 01 19 00 \
     15 <m> 16 <d> 26 <k> <v> ) <id> ( 18 00 00 00 01 01 01 02 00 00 00 09 03 <t> 08 <r> \
     09 <c> ) <w/t> <gone> )",
    "20 03 01 00 00",
    "20 ( 00 00 ( 11 00 00 00 01 12 <id> 13 00 05 15 <m> 16 <d> 1a <i> 1c <s> 1f <r> \
     21 00 01 22 00 01 24 01 25 01 26 <k> <v> 27 00 00 00 01 28 01 29 01 2a 01 ) )",
    "30 ( <a/b> 00 'payload' )",
    "3b ( <a/b> 00 09 ( 01 01 02 00 00 00 05 03 <t> 08 <r/t> 09 <c> 0b 05 0b ff 7f 23 00 07 \
     26 <k> <v> ) 'payload' )",
    "34 ( 00 00 00 09 ( 23 00 07 ) )",
    "40 03 00 01 10",
    "40 ( 00 01 87 ( 1f <no> 26 <k> <v> ) )",
    "50 03 00 02 91",
    "62 ( 00 03 92 ( 1f <no> ) )",
    "70 04 00 04 00 00",
    "82 ( 00 01 ( 0b 80 01 26 <k> <v> ) <a/+> 2d <$share/g/#> 02 )",
    "90 ( 00 01 ( 1f <ok> ) 00 01 02 80 a2 )",
    "a2 ( 00 01 ( 26 <k> <v> ) <a/+> <b> )",
    "b0 ( 00 01 00 00 11 )",
    "e0 01 04",
    "e0 ( 00 ( 11 00 00 00 00 ) )",
    "e0 ( 9d ( 1c <s> 1f <r> 26 <k> <v> ) )",
    "f0 00",
    "f0 ( 18 ( 15 <m> 16 <d> ) )",
    "f0 ( 19 ( 15 <m> 1f <r> 26 <k> <v> ) )",
];

/// Every packet of the corpus is good, and every type of every version is in it.
#[test]
fn corpus_is_good_and_complete() {
    let mut seen = std::collections::BTreeSet::new();
    for (version, packet) in corpus() {
        let events = run(version, &packet, PACKET_SIZE_MAX).expect("a good packet");
        let [Event::Packet(packet)] = &events[..] else { panic!("{events:?}") };
        seen.insert((version, packet.packet_type()));
    }
    assert_eq!(seen.len(), 14 + 14 + 15);
}

/// v5 [MQTT-4.13.1-1] v3.1.1 [MQTT-4.8.0-1]: a packet that is cut short is waited for; if its
/// length says that nothing more comes, it is an error or another packet.
#[test]
fn every_truncation() {
    for (version, packet) in corpus() {
        for len in 0..packet.len() {
            let cut = &packet[..len];
            assert_eq!(run(version, cut, PACKET_SIZE_MAX), Ok(Vec::new()), "waits for the rest");
            if len >= 2 {
                // The corpus has no packet above 127 bytes with more than two length bytes.
                let header = if packet[1] & 0x80 == 0 { 2 } else { 3 };
                let body = packet.get(header..len).unwrap_or_default();
                let mut shorter = vec![packet[0]];
                length(body.len(), &mut shorter);
                shorter.extend_from_slice(body);
                judge(version, &shorter);
            }
        }
    }
}

/// Every byte of every packet set to every value.
#[test]
fn every_mutation_of_one_byte() {
    for (version, packet) in corpus() {
        let mut changed = packet.clone();
        for at in 0..packet.len() {
            for value in 0..=u8::MAX {
                changed[at] = value;
                judge(version, &changed);
            }
            changed[at] = packet[at];
        }
    }
}

/// A packet with a byte more or less in the middle.
#[test]
fn every_insertion_and_removal() {
    for (version, packet) in corpus() {
        for at in 0..packet.len() {
            let mut shorter = packet.clone();
            shorter.remove(at);
            judge(version, &shorter);
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut longer = packet.clone();
                longer.insert(at, value);
                judge(version, &longer);
            }
        }
    }
}

/// The decoder gives the same for the bytes at once and one by one, with and without streaming;
/// errors point into the packet and have a statement; what is a packet can be written and read
/// again.
#[track_caller]
fn judge(version: Version, bytes: &[u8]) {
    for stream_above in [PACKET_SIZE_MAX, 2] {
        let whole = run(version, bytes, stream_above);
        let split = run_in_steps(version, bytes, stream_above, 1);
        assert_eq!(joined(&whole), joined(&split), "{bytes:02x?}");
        match whole {
            Err(error) => {
                assert!(error.offset as usize <= bytes.len(), "{error} in {bytes:02x?}");
                assert!(error.statement.starts_with("MQTT-"));
                assert!(error.reason.is_error());
            }
            Ok(events) => events.iter().for_each(|event| {
                if let Event::Packet(packet) = event {
                    written_again(version, packet);
                }
            }),
        }
    }
}

#[track_caller]
fn written_again(version: Version, packet: &Packet) {
    let version = if let Packet::Connect(connect) = packet { connect.version } else { version };
    let mut out = Vec::new();
    if encode(packet, version, PACKET_SIZE_MAX, &mut out).is_err() {
        // The decoder takes what a refusing server wrongly says; the encoder does not.
        assert!(matches!(packet, Packet::ConnAck(ack) if ack.session_present), "{packet}");
        return;
    }
    let again = run(version, &out, PACKET_SIZE_MAX).expect("it was written");
    if version == V31 && matches!(packet, Packet::ConnAck(ack) if ack.session_present) {
        return;
    }
    assert_eq!(again, [Event::Packet(packet.clone())]);
}

fn corpus() -> Vec<(Version, Vec<u8>)> {
    let mut corpus = Vec::new();
    for version in [V31, V311, V5] {
        corpus.extend(EVERY.iter().map(|script| (version, bytes(script))));
    }
    for version in [V31, V311] {
        corpus.extend(OLD.iter().map(|script| (version, bytes(script))));
        for fields in CONNECT_OLD {
            let head = if version == V31 { "<MQIsdp> 03" } else { "<MQTT> 04" };
            let fields = fields.trim_start_matches("04");
            corpus.push((version, bytes(&format!("10 ( {head} {fields} )"))));
        }
    }
    corpus.extend(NEW.iter().map(|script| (V5, bytes(script))));
    corpus
}

fn run(version: Version, bytes: &[u8], stream_above: u32) -> Result<Vec<Event>, DecodeError> {
    run_in_steps(version, bytes, stream_above, bytes.len().max(1))
}

fn run_in_steps(
    version: Version,
    bytes: &[u8],
    stream_above: u32,
    step: usize,
) -> Result<Vec<Event>, DecodeError> {
    let is_connect = bytes.first().is_some_and(|first| first >> 4 == 1);
    let config = DecoderConfig { stream_above, ..config() };
    let mut decoder = Decoder::new(config, if is_connect { None } else { Some(version) });
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    for part in bytes.chunks(step) {
        input.extend_from_slice(part);
        while let Some(event) = decoder.decode(&mut input)? {
            events.push(event);
        }
    }
    Ok(events)
}

/// Events with neighbouring chunks made one: where they are cut depends on the input.
fn joined(events: &Result<Vec<Event>, DecodeError>) -> Result<Vec<(String, Vec<u8>)>, DecodeError> {
    let mut joined: Vec<(String, Vec<u8>)> = Vec::new();
    for event in events.as_ref().map_err(|error| *error)? {
        match event {
            Event::PublishChunk { bytes, .. } => {
                let (_, payload) = joined.last_mut().expect("a chunk follows a head");
                payload.extend_from_slice(bytes);
            }
            other @ (Event::Packet(_) | Event::PublishStart(..)) => {
                joined.push((format!("{other:?}"), Vec::new()));
            }
        }
    }
    Ok(joined)
}

fn length(mut value: usize, out: &mut Vec<u8>) {
    while value >= 128 {
        out.push((value % 128) as u8 | 0x80);
        value /= 128;
    }
    out.push(value as u8);
}
