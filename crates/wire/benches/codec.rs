//! Nanoseconds per packet for encoding and decoding, printed as a table: `cargo bench -p
//! postrider-wire`.
//!
//! One operation is one packet of a full buffer of 64 KiB, as a busy connection has it. Encoding
//! appends head and payload to a buffer that is kept; "head" leaves the payload out, as a broker
//! does that shares it.

use std::{hint::black_box, time::Instant};

use bytes::{Bytes, BytesMut};
use postrider_wire::{
    Ack, Decoder, DecoderConfig, Event, Filter, PACKET_SIZE_MAX, Packet, PacketId, Properties,
    Property, Publish, QoS, ReasonCode, Text, Topic, Version, encode, encode_publish,
};

/// Rounds per row; the median counts.
const ROUNDS: usize = 31;
/// Bytes of packets that one round decodes.
const BUFFER: usize = 64 * 1024;
/// Packets that one round encodes.
const ENCODES: u32 = 2_000;
const TOPIC: &str = "plant/7/line/3/temp";

fn main() {
    println!("{:<34} {:>10} {:>10} {:>10}", "packet", "encode ns", "head ns", "decode ns");
    for version in [Version::V311, Version::V5] {
        for payload in [64, 1024] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
                let name = format!("PUBLISH {version} qos {qos} {payload} B");
                row(&name, version, &Packet::Publish(publish(qos, payload)));
            }
        }
        let reason = ReasonCode::Success;
        let ack = Ack { packet_id: id(), reason, properties: Properties::new() };
        row(&format!("PUBACK {version}"), version, &Packet::PubAck(ack));
    }
    let mut rich = publish(QoS::AtLeastOnce, 64);
    rich.properties.push(Property::MessageExpiryInterval(60));
    rich.properties.push(Property::ContentType(Text::new("text/plain").expect("a text")));
    row("PUBLISH 5.0 qos 1 64 B, 2 properties", Version::V5, &Packet::Publish(rich));
    matching();
}

fn row(name: &str, version: Version, packet: &Packet) {
    let encode_ns = median(|| time_encode(version, packet));
    let head_ns = if let Packet::Publish(publish) = packet {
        format!("{:.1}", median(|| time_head(version, publish)))
    } else {
        String::from("-")
    };
    let decode_ns = median(|| time_decode(version, packet));
    println!("{name:<34} {encode_ns:>10.1} {head_ns:>10} {decode_ns:>10.1}");
}

fn matching() {
    let topic = Topic::new(TOPIC).expect("a topic");
    for filter in ["plant/7/line/3/temp", "plant/+/line/+/temp", "plant/#"] {
        let filter = Filter::new(filter).expect("a filter");
        let ns = median(|| {
            let start = Instant::now();
            for _ in 0..ENCODES {
                black_box(black_box(&filter).matches(black_box(&topic)));
            }
            start.elapsed().as_nanos() as f64 / f64::from(ENCODES)
        });
        println!("{:<34} {ns:>10.1}", format!("match {filter}"));
    }
}

fn time_encode(version: Version, packet: &Packet) -> f64 {
    let mut out = Vec::with_capacity(BUFFER);
    let start = Instant::now();
    for _ in 0..ENCODES {
        out.clear();
        encode(black_box(packet), version, PACKET_SIZE_MAX, &mut out).expect("a good packet");
        black_box(&out);
    }
    start.elapsed().as_nanos() as f64 / f64::from(ENCODES)
}

fn time_head(version: Version, publish: &Publish) -> f64 {
    let len = publish.payload.len() as u32;
    let mut out = Vec::with_capacity(BUFFER);
    let start = Instant::now();
    for _ in 0..ENCODES {
        out.clear();
        let publish = black_box(publish);
        encode_publish(publish.head(), len, version, PACKET_SIZE_MAX, &mut out).expect("good");
        black_box(&out);
    }
    start.elapsed().as_nanos() as f64 / f64::from(ENCODES)
}

fn time_decode(version: Version, packet: &Packet) -> f64 {
    let mut one = Vec::new();
    encode(packet, version, PACKET_SIZE_MAX, &mut one).expect("a good packet");
    let count = BUFFER / one.len();
    let mut input = BytesMut::from(&one.repeat(count)[..]);
    let config = DecoderConfig {
        packet_size_max: PACKET_SIZE_MAX,
        stream_above: 1 << 20,
        is_topic_lenient: false,
    };
    let mut decoder = Decoder::new(config, Some(version));
    let start = Instant::now();
    let mut decoded = 0_u32;
    while let Some(event) = decoder.decode(&mut input).expect("a good packet") {
        black_box::<Event>(event);
        decoded += 1;
    }
    let elapsed = start.elapsed().as_nanos() as f64;
    assert_eq!(decoded as usize, count);
    elapsed / f64::from(decoded)
}

fn median(mut time: impl FnMut() -> f64) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| time()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn publish(qos: QoS, payload: usize) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(Topic::new(TOPIC).expect("a topic")),
        packet_id: (qos != QoS::AtMostOnce).then(id),
        properties: Properties::new(),
        payload: Bytes::from(vec![b'x'; payload]),
    }
}

fn id() -> PacketId {
    PacketId::new(7).expect("not 0")
}
