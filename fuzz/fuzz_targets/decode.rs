//! Any bytes, in any split, with and without streaming: the same packets, or the same fault; and what
//! is a packet can be written and read again.
#![no_main]

use arbitrary::Arbitrary;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use postrider_wire::{
    DecodeError, Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet, Publish, Version, encode,
    encoded_len,
};

/// What the fuzzer makes up.
#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// 0 to 2 a client of that version, else a server.
    role: u8,
    is_topic_lenient: bool,
    packet_size_max: u16,
    stream_above: u8,
    /// Lengths of the pieces in which the bytes arrive, over and over.
    steps: [u8; 4],
    bytes: &'a [u8],
}

/// An event with the whole payload of a streamed PUBLISH in one piece.
#[derive(Debug, PartialEq)]
enum Seen {
    Packet(Packet),
    Streamed(Publish, u32, Vec<u8>),
}

fuzz_target!(|input: Input<'_>| {
    let steps = input.steps.map(|step| usize::from(step).max(1));
    let whole = run(&input, &[input.bytes.len().max(1)]);
    let split = run(&input, &steps);
    assert_eq!(whole, split, "the split matters");
    let (seen, error, version) = whole;
    if let Some(error) = error {
        // A head may announce too much before its packet is there: not the length of the input.
        assert!(error.offset < PACKET_SIZE_MAX);
        assert!(error.statement.starts_with("MQTT-"));
        assert!(error.reason.is_error());
    }
    for seen in seen {
        if let (Seen::Packet(packet), Some(version)) = (seen, version) {
            written_again(&input, &packet, version);
        }
    }
});

type Outcome = (Vec<Seen>, Option<DecodeError>, Option<Version>);

fn config(input: &Input<'_>) -> DecoderConfig {
    DecoderConfig {
        packet_size_max: u32::from(input.packet_size_max),
        stream_above: u32::from(input.stream_above),
        is_topic_lenient: input.is_topic_lenient,
    }
}

fn run(input: &Input<'_>, steps: &[usize]) -> Outcome {
    let version = match input.role {
        0 => Some(Version::V31),
        1 => Some(Version::V311),
        2 => Some(Version::V5),
        _ => None,
    };
    let mut decoder = Decoder::new(config(input), version);
    let mut buffer = BytesMut::new();
    let mut seen = Vec::new();
    let mut rest = input.bytes;
    for step in steps.iter().cycle() {
        let (part, tail) = rest.split_at((*step).min(rest.len()));
        buffer.extend_from_slice(part);
        rest = tail;
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(event)) => see(event, &mut seen),
                Ok(None) => break,
                Err(error) => return (seen, Some(error), decoder.version()),
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    (seen, None, decoder.version())
}

fn see(event: Event, seen: &mut Vec<Seen>) {
    match event {
        Event::Packet(packet) => seen.push(Seen::Packet(packet)),
        Event::PublishStart(publish, len) => {
            assert!(publish.payload.is_empty(), "a streamed head has no payload");
            seen.push(Seen::Streamed(publish, len, Vec::new()));
        }
        Event::PublishChunk { bytes, is_last } => {
            let Some(Seen::Streamed(_, len, payload)) = seen.last_mut() else {
                panic!("a chunk without a head");
            };
            assert!(!bytes.is_empty(), "an empty chunk");
            payload.extend_from_slice(&bytes);
            assert_eq!(is_last, payload.len() == *len as usize);
        }
    }
}

fn written_again(input: &Input<'_>, packet: &Packet, version: Version) {
    let is_connect = matches!(packet, Packet::Connect(_));
    let version = if let Packet::Connect(connect) = packet { connect.version } else { version };
    let mut out = Vec::new();
    if encode(packet, version, PACKET_SIZE_MAX, &mut out).is_err() {
        // The decoder takes what a refusing server wrongly says; the encoder does not.
        assert!(matches!(packet, Packet::ConnAck(ack) if ack.session_present), "{packet}");
        return;
    }
    assert_eq!(encoded_len(packet, version), Ok(out.len() as u64));
    if version == Version::V31 && matches!(packet, Packet::ConnAck(_)) {
        // 3.1 has no Session Present to write.
        return;
    }
    let config = DecoderConfig {
        packet_size_max: PACKET_SIZE_MAX,
        stream_above: PACKET_SIZE_MAX,
        ..config(input)
    };
    let mut decoder = Decoder::new(config, if is_connect { None } else { Some(version) });
    let again = decoder.decode(&mut BytesMut::from(&out[..]));
    assert_eq!(again, Ok(Some(Event::Packet(packet.clone()))));
}
