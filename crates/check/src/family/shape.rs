//! Packets cut short, packets with something behind their end, and wrong flags.

use std::fmt::Write;

use super::{
    CONNECT, DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBLISH_1, PUBREC, PUBREL, SUBSCRIBE, Sample,
    UNSUBSCRIBE, WILL,
};
use crate::raw::{Fill, Raw};

/// A packet, and the lengths behind the fixed header at which it is whole, in 3.1.1 and in 5.0.
struct Row {
    sample: Sample,
    whole: [&'static [usize]; 2],
    /// Whether bytes behind the last field are a fault, and not a payload.
    has_end: bool,
}

const ROWS: [Row; 11] = [
    row(CONNECT, [&[], &[]], true),
    row(WILL, [&[], &[]], true),
    row(PUBLISH, [&[], &[]], false),
    row(PUBLISH_1, [&[], &[]], false),
    // A code may be left out with the properties, and properties behind a code.
    row(PUBACK, [&[2], &[2, 3]], true),
    row(PUBREC, [&[2], &[2, 3]], true),
    row(PUBREL, [&[2], &[2, 3]], true),
    row(PUBCOMP, [&[2], &[2, 3]], true),
    row(SUBSCRIBE, [&[], &[]], true),
    row(UNSUBSCRIBE, [&[], &[]], true),
    row(DISCONNECT, [&[0], &[0, 1]], true),
];

/// First bytes of the types whose flags are fixed, and what may stand behind them.
const FLAGS: [(&str, u8, &str); 14] = [
    ("CONNECT", 0x10, "\"MQTT\" $level 02 00 3c [ ] \"zf%\""),
    ("CONNACK", 0x20, "00 00 [ ]"),
    ("PUBACK", 0x40, "00 01"),
    ("PUBREC", 0x50, "00 01"),
    ("PUBREL", 0x62, "00 01"),
    ("PUBCOMP", 0x70, "00 01"),
    ("SUBSCRIBE", 0x82, "00 01 [ ] \"t%\" 00"),
    ("SUBACK", 0x90, "00 01 [ ] 00"),
    ("UNSUBSCRIBE", 0xa2, "00 01 [ ] \"t%\""),
    ("UNSUBACK", 0xb0, "00 01 [ ]"),
    ("PINGREQ", 0xc0, ""),
    ("PINGRESP", 0xd0, ""),
    ("DISCONNECT", 0xe0, ""),
    ("AUTH", 0xf0, ""),
];

const fn row(sample: Sample, whole: [&'static [usize]; 2], has_end: bool) -> Row {
    Row { sample, whole, has_end }
}

pub(super) fn text() -> String {
    let mut text = String::new();
    for row in &ROWS {
        for (at, whole) in row.whole.iter().enumerate() {
            cut(row, at == 1, whole, &mut text);
        }
        if row.has_end {
            let sample = &row.sample;
            // In 3.1.1 nothing may stand behind an identifier, in 5.0 nothing behind the properties.
            let old = if sample.packet.ends_with("00 [ ]") { "" } else { " 00" };
            let packet = sample.packet;
            write(
                &format!(
                    "## a byte behind the end of {}\nv5 [MQTT-4.13.1-1] v3.1.1 [MQTT-4.8.0-1]\n{}\n3: A send \
                     {packet}{old}\n5: A send {packet} 00\nA ends MalformedPacket ProtocolError\n",
                    sample.name,
                    sample.before()
                ),
                &mut text,
            );
        }
    }
    for (name, first, body) in FLAGS {
        for bit in 0..4 {
            let wrong = first ^ 1 << bit;
            let before = if name == "CONNECT" { "A open" } else { "A connect" };
            write(
                &format!(
                    "## {name} with the flags {:04b}\nv5 [MQTT-2.1.3-1] v3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2]\n\
                     {before}\nA send {wrong:02x} {body}\nA ends MalformedPacket ProtocolError\n",
                    wrong & 0x0f
                ),
                &mut text,
            );
        }
    }
    text
}

/// A case for each length at which a packet is not whole.
fn cut(row: &Row, has_properties: bool, whole: &[usize], text: &mut String) {
    let ids = std::collections::BTreeMap::new();
    let level = if has_properties { 5 } else { 4 };
    let fill = Fill { level, has_properties, word: "word", ids: &ids };
    let raw = Raw::parse(row.sample.packet).and_then(|raw| raw.bytes(&fill).map_err(|_| "no ids"));
    let bytes = raw.expect("the packets of the table are well formed");
    let (first, body) = bytes.split_first().expect("the packets of the table have a first byte");
    let (version, short, id) = if has_properties {
        ("5.0", "v5", "MQTT-4.13.1-1")
    } else {
        ("3.1.1", "v3.1.1", "MQTT-4.8.0-1")
    };
    let name = row.sample.name;
    for length in (0..body.len()).filter(|length| !whole.contains(length)) {
        let start: Vec<_> = body.iter().take(length).map(|byte| format!("{byte:02x}")).collect();
        write(
            &format!(
                "## {name} of {version} cut to {length} bytes\n{short} [{id}]\n{}\nA send {first:02x} {}\n\
                 A ends MalformedPacket ProtocolError\n",
                row.sample.before(),
                start.join(" ")
            ),
            text,
        );
    }
}

fn write(case: &str, text: &mut String) {
    writeln!(text, "{case}").expect("a String takes every text");
}
