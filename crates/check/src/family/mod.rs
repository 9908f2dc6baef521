//! Families of cases that are made of tables, in the language of the case files.
//!
//! The tables are written from the standard and share nothing with those of the codec.

mod properties;
mod shape;
mod sizes;
mod texts;

/// The text of all families.
pub(crate) fn all() -> Vec<String> {
    vec![properties::text(), shape::text(), sizes::text(), texts::text()]
}

/// One well-formed packet of a client.
struct Sample {
    name: &'static str,
    /// How it is sent behind `send`; properties would stand in `[ ]`.
    packet: &'static str,
    /// Whether it is the first packet of a connection.
    is_first: bool,
}

impl Sample {
    const fn new(name: &'static str, packet: &'static str) -> Self {
        Self { name, packet, is_first: false }
    }

    /// The step that leads to it.
    const fn before(&self) -> &'static str {
        if self.is_first { "A open" } else { "A connect" }
    }

    /// The packet with something else inside of its last properties.
    fn with(&self, properties: &str) -> String {
        let (before, after) = self.packet.rsplit_once("[ ]").unwrap_or((self.packet, ""));
        format!("{before}[ {properties} ]{after}")
    }
}

/// CONNECT with nothing that may be left out.
const CONNECT: Sample =
    Sample { name: "CONNECT", packet: "10 \"MQTT\" $level 02 00 3c [ ] \"zz%\"", is_first: true };
/// CONNECT with everything that 3.1.1 has; its last properties are those of the will.
const WILL: Sample = Sample {
    name: "CONNECT with a will",
    packet: "10 \"MQTT\" $level 06 00 3c [ ] \"zy%\" [ ] \"w%\" \"m\"",
    is_first: true,
};
const PUBLISH: Sample = Sample::new("PUBLISH", "30 \"t%\" [ ]");
const PUBLISH_1: Sample = Sample::new("PUBLISH at QoS 1", "32 \"t%\" 00 01 [ ]");
const PUBACK: Sample = Sample::new("PUBACK", "40 00 01 00 [ ]");
const PUBREC: Sample = Sample::new("PUBREC", "50 00 01 00 [ ]");
const PUBREL: Sample = Sample::new("PUBREL", "62 00 01 00 [ ]");
const PUBCOMP: Sample = Sample::new("PUBCOMP", "70 00 01 00 [ ]");
const SUBSCRIBE: Sample = Sample::new("SUBSCRIBE", "82 00 01 [ ] \"t%\" 00");
const UNSUBSCRIBE: Sample = Sample::new("UNSUBSCRIBE", "a2 00 01 [ ] \"t%\"");
const DISCONNECT: Sample = Sample::new("DISCONNECT", "e0 00 [ ]");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    #[test]
    fn families_are_large_and_understood() {
        for text in all() {
            assert!(parse(&text).unwrap().len() > 15);
        }
    }
}
