//! Each string of each packet, spoilt.

use std::fmt::Write;

/// What is not UTF-8, or what no string may hold.
const BAD: [(&str, &str); 10] = [
    ("U+0000", "\\x00"),
    ("a byte that goes on without a beginning", "\\x80"),
    ("U+0000 in two bytes", "\\xc0\\x80"),
    ("a slash in two bytes", "\\xc0\\xaf"),
    ("two bytes of three", "\\xe2\\x82"),
    ("the surrogate U+D800", "\\xed\\xa0\\x80"),
    ("the surrogate U+DFFF", "\\xed\\xbf\\xbf"),
    ("a pair of surrogates", "\\xed\\xa0\\x81\\xed\\xb0\\x80"),
    ("U+110000", "\\xf4\\x90\\x80\\x80"),
    ("the byte ff", "\\xff"),
];

/// What is legal, however strange.
const GOOD: [(&str, &str); 6] = [
    ("U+FEFF at the beginning", "\\xef\\xbb\\xbf"),
    ("U+FEFF in the middle", "x\\xef\\xbb\\xbfy"),
    ("two, three and four bytes", "\\xc3\\xa9\\xe2\\x82\\xac\\xf0\\x9f\\x90\\x99"),
    ("the last character before the surrogates", "\\xed\\x9f\\xbf"),
    ("the first character behind the surrogates", "\\xee\\x80\\x80"),
    ("a space", "x y"),
];

/// A field, the statements in 5.0 and in 3.1.1 (if it has the field), the packet with `@` for the string, and whether
/// it is the first packet.
const FIELDS: [(&str, &str, &str, &str, bool); 16] = [
    (
        "the client id",
        "[MQTT-3.1.3-4]",
        "[MQTT-3.1.3-4]",
        "10 \"MQTT\" $level 02 00 3c [ ] @",
        true,
    ),
    (
        "the will topic",
        "[MQTT-3.1.3-11]",
        "[MQTT-3.1.3-10]",
        "10 \"MQTT\" $level 06 00 3c [ ] \"zt%\" [ ] @ \"m\"",
        true,
    ),
    (
        "the user name",
        "[MQTT-3.1.3-12]",
        "[MQTT-3.1.3-11]",
        "10 \"MQTT\" $level 82 00 3c [ ] \"zt%\" @",
        true,
    ),
    ("a topic", "[MQTT-3.3.2-1]", "[MQTT-3.3.2-1]", "30 @ [ ]", false),
    ("a topic filter", "[MQTT-3.8.3-1]", "[MQTT-3.8.3-1]", "82 00 01 [ ] @ 00", false),
    ("a topic filter to end", "[MQTT-3.10.3-1]", "[MQTT-3.10.3-1]", "a2 00 01 [ ] @", false),
    ("the name of a User Property", "[MQTT-1.5.7-1]", "", "30 \"t%\" [ 26 @ \"v\" ]", false),
    ("the value of a User Property", "[MQTT-1.5.7-1]", "", "30 \"t%\" [ 26 \"n\" @ ]", false),
    ("a Content Type", "[MQTT-3.3.2-19]", "", "30 \"t%\" [ 03 @ ]", false),
    ("a Response Topic", "[MQTT-3.3.2-13]", "", "30 \"t%\" [ 08 @ ]", false),
    (
        "an Authentication Method",
        "[MQTT-1.5.4-1]",
        "",
        "10 \"MQTT\" $level 02 00 3c [ 15 @ ] \"zt%\"",
        true,
    ),
    (
        "a User Property of CONNECT",
        "[MQTT-1.5.7-1]",
        "",
        "10 \"MQTT\" $level 02 00 3c [ 26 \"n\" @ ] \"zt%\"",
        true,
    ),
    (
        "the Content Type of a will",
        "[MQTT-1.5.4-1]",
        "",
        "10 \"MQTT\" $level 06 00 3c [ ] \"zt%\" [ 03 @ ] \"w%\" \"m\"",
        true,
    ),
    ("the Reason String of PUBREL", "[MQTT-1.5.4-1]", "", "62 00 01 00 [ 1f @ ]", false),
    ("the Reason String of DISCONNECT", "[MQTT-1.5.4-1]", "", "e0 00 [ 1f @ ]", false),
    ("a share name", "[MQTT-4.8.2-2] [MQTT-3.8.3-1]", "", "82 00 01 [ ] $share 00", false),
];

pub(super) fn text() -> String {
    let mut text = String::new();
    for (field, new, old, packet, is_first) in FIELDS {
        for (what, bytes) in BAD {
            let string = format!("\"x{bytes}y\"");
            let packet = packet.replace('@', &string);
            let packet = packet.replace("$share", &format!("\"$share/x{bytes}y/t%\""));
            let old = if old.is_empty() {
                String::new()
            } else {
                format!(" v3.1.1 [MQTT-1.5.3-1] [MQTT-1.5.3-2] [MQTT-4.7.3-2] {old}")
            };
            let before = if is_first { "A open" } else { "A connect" };
            write(
                &format!(
                    "## {what} in {field}\nv5 [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-4.7.3-2] {new}{old}\n{before}\n\
                     A send {packet}\nA ends MalformedPacket ProtocolError TopicNameInvalid TopicFilterInvalid\n"
                ),
                &mut text,
            );
        }
    }
    for (what, bytes) in GOOD {
        write(
            &format!(
                "## {what} in a topic and its filter\nv5 [MQTT-1.5.4-3] [MQTT-4.7.3-4] v3.1.1 [MQTT-1.5.3-3] \
                 [MQTT-4.7.3-4]\nA connect\nA send 82 00 01 [ ] \"{bytes}/%/+\" 00\nA expect SUBACK id=1 [Success]\n\
                 A send 30 \"{bytes}/%/{bytes}\" [ ]\nA comes 30 \"{bytes}/%/{bytes}\" [ ]\nA quiet\n"
            ),
            &mut text,
        );
    }
    text
}

fn write(case: &str, text: &mut String) {
    writeln!(text, "{case}").expect("a String takes every text");
}
