//! Each property in each packet: where it may stand, where not, twice, and with illegal values.

use std::fmt::Write;

use super::{
    CONNECT, DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBSCRIBE, Sample, UNSUBSCRIBE,
    WILL,
};

/// One property.
struct Row {
    name: &'static str,
    /// Identifier and a legal value.
    legal: &'static str,
    /// Packets of a client that may have it, by letter: C CONNECT, W will, P PUBLISH, A the four acknowledgements,
    /// S SUBSCRIBE, U UNSUBSCRIBE, D DISCONNECT. A small letter: nothing is said, so nothing is judged.
    places: &'static str,
    /// Identifier and an illegal value, for each of those.
    illegal: &'static [&'static str],
}

/// The twenty-seven, in the order of their identifiers.
const ROWS: [Row; 27] = [
    row("Payload Format Indicator", "01 01", "WP", &[]),
    row("Message Expiry Interval", "02 00 00 00 3c", "WP", &[]),
    row("Content Type", "03 \"a/b\"", "WP", &[]),
    row("Response Topic", "08 \"r\"", "WP", &["08 \"r/+\"", "08 \"r/#\""]),
    row("Correlation Data", "09 \"\\xff\"", "WP", &[]),
    row("Subscription Identifier", "0b 01", "S", &["0b 00", "0b 80 00", "0b ff ff ff ff 01"]),
    row("Session Expiry Interval", "11 00 00 00 00", "CD", &[]),
    row("Assigned Client Identifier", "12 \"c\"", "", &[]),
    row("Server Keep Alive", "13 00 3c", "", &[]),
    row("Authentication Method", "15 \"m\"", "C", &[]),
    row("Authentication Data", "16 \"d\"", "C", &[]),
    row("Request Problem Information", "17 01", "C", &["17 02", "17 ff"]),
    row("Will Delay Interval", "18 00 00 00 00", "W", &[]),
    row("Request Response Information", "19 00", "C", &["19 02", "19 ff"]),
    row("Response Information", "1a \"i\"", "", &[]),
    // Meant for servers, but no statement forbids it in a client's DISCONNECT.
    row("Server Reference", "1c \"s\"", "d", &[]),
    row("Reason String", "1f \"r\"", "AD", &[]),
    row("Receive Maximum", "21 00 01", "C", &["21 00 00"]),
    row("Topic Alias Maximum", "22 00 00", "C", &[]),
    row("Topic Alias", "23 00 01", "P", &["23 00 00"]),
    row("Maximum QoS", "24 01", "", &[]),
    row("Retain Available", "25 01", "", &[]),
    row("User Property", "26 \"n\" \"v\"", "CWPASUD", &[]),
    row("Maximum Packet Size", "27 00 01 00 00", "C", &["27 00 00 00 00"]),
    row("Wildcard Subscription Available", "28 01", "", &[]),
    row("Subscription Identifier Available", "29 01", "", &[]),
    row("Shared Subscription Available", "2a 01", "", &[]),
];

/// What no packet may have, and what is no property.
const BROKEN: [(&str, &str); 7] = [
    ("identifier 0", "00"),
    ("identifier 4, which no property has", "04 00"),
    ("identifier 127, which no property has", "7f 00"),
    ("an identifier not in its shortest form", "80 00"),
    ("a value that ends too early", "26 \"n\" 00"),
    ("a string that goes past the properties", "26 \"n\" 00 05 'v'"),
    ("a name without a value", "26 \"n\""),
];

/// Packets, their letters, and how they are answered when all is well.
const PACKETS: [(char, Sample, &str); 11] = [
    ('C', CONNECT, "A expect CONNACK Success*"),
    ('W', WILL, "A expect CONNACK Success*"),
    ('P', PUBLISH, "A quiet"),
    // Without an exchange an acknowledgement means nothing, but is no fault.
    ('A', PUBACK, "A quiet"),
    ('A', PUBREC, "A expect PUBREL id=1 *"),
    ('A', PUBREL, "A expect PUBCOMP id=1 *"),
    ('A', PUBCOMP, "A quiet"),
    ('S', SUBSCRIBE, "A expect SUBACK id=1 [Success]"),
    ('U', UNSUBSCRIBE, "A expect UNSUBACK id=1 [NoSubscriptionExisted]"),
    ('D', DISCONNECT, "A closed"),
    ('D', DISCONNECT_WITH_WILL, "A closed"),
];

const DISCONNECT_WITH_WILL: Sample = Sample::new("DISCONNECT with will", "e0 04 [ ]");

const fn row(
    name: &'static str,
    legal: &'static str,
    places: &'static str,
    illegal: &'static [&'static str],
) -> Row {
    Row { name, legal, places, illegal }
}

pub(super) fn text() -> String {
    let mut text = String::new();
    for (letter, sample, answer) in &PACKETS {
        for row in &ROWS {
            if row.places.contains(*letter) {
                legal(row, sample, answer, &mut text);
                illegal(row, sample, &mut text);
            } else if !row.places.contains(letter.to_ascii_lowercase()) {
                let title = format!("{} may not stand in {}", row.name, sample.name);
                fault(&title, sample, row.legal, "MalformedPacket ProtocolError", &mut text);
            }
        }
        for (what, bytes) in BROKEN {
            let title = format!("{what}, as a property of {}", sample.name);
            fault(&title, sample, bytes, "MalformedPacket ProtocolError", &mut text);
        }
    }
    text
}

fn legal(row: &Row, sample: &Sample, answer: &str, text: &mut String) {
    // These two ask for an authentication; the cases about it say what comes of that.
    if !row.name.starts_with("Authentication") {
        let title = format!("{} in {} is understood", row.name, sample.name);
        case(&title, sample, row.legal, answer, text);
    }
    let twice = format!("{} {}", row.legal, row.legal);
    if row.name == "User Property" {
        case(&format!("{} may repeat in {}", row.name, sample.name), sample, &twice, answer, text);
    } else {
        let title = format!("{} twice in {}", row.name, sample.name);
        fault(&title, sample, &twice, "ProtocolError MalformedPacket", text);
    }
}

fn illegal(row: &Row, sample: &Sample, text: &mut String) {
    for value in row.illegal {
        let title = format!("{} with the illegal value {value} in {}", row.name, sample.name);
        let codes = match row.name {
            "Topic Alias" => "TopicAliasInvalid ProtocolError MalformedPacket",
            "Response Topic" => "ProtocolError MalformedPacket TopicNameInvalid",
            _ => "ProtocolError MalformedPacket",
        };
        fault(&title, sample, value, codes, text);
    }
}

fn fault(title: &str, sample: &Sample, properties: &str, codes: &str, text: &mut String) {
    case(title, sample, properties, &format!("A ends {codes}"), text);
}

fn case(title: &str, sample: &Sample, properties: &str, answer: &str, text: &mut String) {
    let (before, packet) = (sample.before(), sample.with(properties));
    let line =
        writeln!(text, "## {title}\nv5 [MQTT-4.13.1-1]\n{before}\nA send {packet}\n{answer}\n");
    line.expect("a String takes every text");
}
