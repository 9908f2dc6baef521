//! What holds for every packet of a broker, whatever the play is about.

use std::collections::{BTreeMap, BTreeSet};

use postrider_wire::{Packet, Properties, Property, Publish, QoS, ReasonCode, Topic};

use crate::hello::Hello;

/// Watches one connection.
#[derive(Debug, Default)]
pub(crate) struct Law {
    has_properties: bool,
    asked: Option<Hello>,
    stage: Stage,
    /// QoS 1 and 2 PUBLISHes of the broker that have no last answer.
    open: BTreeSet<u16>,
    aliases: BTreeMap<u16, Topic>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Unanswered,
    Accepted,
    Over,
}

/// A statement, and how it was broken.
pub(crate) struct Breach {
    pub(crate) statement: &'static str,
    pub(crate) what: &'static str,
}

const fn breach<T>(statement: &'static str, what: &'static str) -> Result<T, Breach> {
    Err(Breach { statement, what })
}

impl Law {
    pub(crate) fn new(has_properties: bool) -> Self {
        Self { has_properties, ..Self::default() }
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.stage != Stage::Unanswered
    }

    /// What the client announced in a CONNECT.
    pub(crate) fn asked(&mut self, hello: &Hello) {
        self.asked = Some(hello.clone());
    }

    /// Packets that were sent: last answers free a place in the window. Anything else does not matter here.
    pub(crate) fn sent(&mut self, mut bytes: &[u8]) {
        while let [first, length @ 0..=0x7f, rest @ ..] = bytes {
            let Some((body, behind)) = rest.split_at_checked(usize::from(*length)) else { return };
            if let [high, low, reason @ ..] = body {
                let is_failure = reason.first().is_some_and(|reason| *reason >= 0x80);
                if matches!(first, 0x40 | 0x70) || *first == 0x50 && is_failure {
                    self.open.remove(&u16::from_be_bytes([*high, *low]));
                }
            }
            bytes = behind;
        }
    }

    /// Judges a packet of `size` bytes. The alias of a PUBLISH is resolved.
    pub(crate) fn watch(&mut self, packet: &mut Packet, size: usize) -> Result<(), Breach> {
        let asked = self.asked.clone().unwrap_or_default();
        let maximum = asked.packet_maximum.filter(|maximum| self.has_properties && *maximum > 0);
        if maximum.is_some_and(|maximum| size > usize::try_from(maximum).unwrap_or(usize::MAX)) {
            return breach("v5 MQTT-3.1.2-24", "larger than the client's Maximum Packet Size");
        }
        match (self.stage, &*packet) {
            (Stage::Over, _) => return breach("v5 MQTT-3.14.4-1", "a packet behind the last one"),
            (Stage::Unanswered, Packet::ConnAck(_) | Packet::Auth(_)) => {}
            (Stage::Unanswered, Packet::Disconnect(_)) => {
                return breach("v5 MQTT-3.14.0-1", "DISCONNECT before CONNACK");
            }
            (Stage::Unanswered, _) => {
                return breach("v5 v3.1.1 MQTT-3.2.0-1", "a packet before CONNACK");
            }
            (Stage::Accepted, Packet::ConnAck(_)) => {
                return breach("v5 MQTT-3.2.0-2", "a second CONNACK");
            }
            (Stage::Accepted, _) => {}
        }
        self.problem_information(packet, &asked)?;
        match packet {
            Packet::ConnAck(packet) => {
                self.stage = if packet.reason.is_error() { Stage::Over } else { Stage::Accepted };
                if packet.reason.is_error() && packet.session_present {
                    let statement = "v5 MQTT-3.2.2-6, v3.1.1 MQTT-3.2.2-4";
                    return breach(statement, "Session Present in a refusal");
                }
                connack_properties(&packet.properties, &asked)
            }
            Packet::Publish(packet) => self.publish(packet, &asked),
            Packet::Auth(_) if asked.method.is_none() => {
                breach("v5 MQTT-4.12.0-6", "AUTH to a client that named no method")
            }
            Packet::Disconnect(_) if !self.has_properties => {
                breach("v3.1.1 MQTT-4.8.0-1", "DISCONNECT from a server")
            }
            Packet::Disconnect(packet) => {
                self.stage = Stage::Over;
                if packet.properties.session_expiry_interval().is_some() {
                    return breach("v5 MQTT-3.14.2-2", "Session Expiry Interval from a server");
                }
                if packet.reason == ReasonCode::DisconnectWithWill {
                    return breach("v5 MQTT-3.14.2-1", "a reason code that only clients send");
                }
                Ok(())
            }
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq => {
                breach("v5 MQTT-4.13.1-1, v3.1.1 MQTT-4.8.0-1", "a packet that only clients send")
            }
            Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp
            | Packet::Auth(_) => Ok(()),
        }
    }

    fn problem_information(&self, packet: &Packet, asked: &Hello) -> Result<(), Breach> {
        let properties = match packet {
            Packet::PubAck(packet)
            | Packet::PubRec(packet)
            | Packet::PubRel(packet)
            | Packet::PubComp(packet) => &packet.properties,
            Packet::SubAck(packet) => &packet.properties,
            Packet::UnsubAck(packet) => &packet.properties,
            Packet::Auth(packet) => &packet.properties,
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::Publish(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_) => return Ok(()),
        };
        let tells =
            properties.reason_string().is_some() || properties.user_properties().next().is_some();
        if asked.problem_information == Some(0) && tells {
            return breach("v5 MQTT-3.1.2-29", "an explanation that the client did not want");
        }
        Ok(())
    }

    fn publish(&mut self, packet: &mut Publish, asked: &Hello) -> Result<(), Breach> {
        if packet.qos == QoS::AtMostOnce && packet.dup {
            return breach("v5 v3.1.1 MQTT-3.3.1-2", "DUP at QoS 0");
        }
        if let Some(id) = packet.packet_id {
            let is_new = self.open.insert(id.get());
            if !is_new && self.has_properties {
                return breach("v5 MQTT-2.2.1-4, MQTT-4.4.0-1", "an id that is open already");
            }
            if !is_new && !packet.dup {
                return breach("v3.1.1 MQTT-2.3.1-4", "an id that is open already");
            }
            let window = asked.receive_maximum.filter(|_| self.has_properties);
            if self.open.len() > usize::from(window.unwrap_or(u16::MAX)) {
                let statement = "v5 MQTT-3.3.4-9, MQTT-4.9.0-2";
                return breach(statement, "more open PUBLISHes than the client's Receive Maximum");
            }
        }
        match (packet.properties.topic_alias().copied(), &packet.topic) {
            (None, None) => return breach("v5 MQTT-4.7.3-1", "neither topic nor alias"),
            (None, Some(_)) => {}
            (Some(0), _) => return breach("v5 MQTT-3.3.2-8", "alias 0"),
            (Some(alias), _) if alias > asked.alias_maximum.unwrap_or(0) => {
                return breach("v5 MQTT-3.3.2-11, MQTT-3.1.2-26, MQTT-3.1.2-27", "alias too high");
            }
            (Some(alias), Some(topic)) => {
                self.aliases.insert(alias, topic.clone());
            }
            (Some(alias), None) => {
                packet.topic = self.aliases.get(&alias).cloned();
                if packet.topic.is_none() {
                    return breach("v5 MQTT-3.3.2-7", "an alias that stands for no topic");
                }
            }
        }
        packet.properties.retain(|property| !matches!(property, Property::TopicAlias(_)));
        Ok(())
    }
}

fn connack_properties(properties: &Properties, asked: &Hello) -> Result<(), Breach> {
    if properties.response_information().is_some() && asked.response_information != Some(1) {
        return breach("v5 MQTT-3.1.2-28", "Response Information that nobody asked for");
    }
    if asked.method.is_none() && properties.authentication_method().is_some() {
        return breach("v5 MQTT-4.12.0-6", "Authentication Method to a client that named none");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use postrider_wire::{Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Version};

    use super::*;

    /// Watches packets that follow each other, after a CONNECT with these words; gives the first breach.
    fn watch(words: &[&str], version: Version, bytes: &[u8]) -> Option<&'static str> {
        let mut law = Law::new(version.has_properties());
        law.asked(&Hello::parse(words).unwrap());
        let config = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: u32::MAX,
            is_topic_lenient: false,
        };
        let mut decoder = Decoder::new(config, Some(version));
        let mut input = BytesMut::from(bytes);
        loop {
            let before = input.len();
            let Some(Event::Packet(mut packet)) = decoder.decode(&mut input).unwrap() else {
                return None;
            };
            if let Err(breach) = law.watch(&mut packet, before - input.len()) {
                return Some(breach.statement);
            }
        }
    }

    #[test]
    fn each_breach_is_seen() {
        const ACCEPTED: &[u8] = b"\x20\x03\x00\x00\x00";
        for (words, bytes, statement) in [
            (&["packet=8"][..], &b"\x30\x07\x00\x01a\x00abc"[..], "v5 MQTT-3.1.2-24"),
            (&[], b"\x20\x03\x00\x00\x00", "v5 MQTT-3.2.0-2"),
            (&[], b"\xe0\x01\x8b\xd0\x00", "v5 MQTT-3.14.4-1"),
            (&[], b"\xe0\x07\x00\x05\x11\x00\x00\x00\x01", "v5 MQTT-3.14.2-2"),
            (&[], b"\xe0\x01\x04", "v5 MQTT-3.14.2-1"),
            (&["problem=0"], b"\x40\x08\x00\x01\x10\x04\x1f\x00\x01x", "v5 MQTT-3.1.2-29"),
            (&[], b"\xc0\x00", "v5 MQTT-4.13.1-1, v3.1.1 MQTT-4.8.0-1"),
            (&[], b"\xf0\x07\x18\x05\x15\x00\x02ab", "v5 MQTT-4.12.0-6"),
            (&["alias=1"], b"\x30\x06\x00\x00\x03\x23\x00\x01", "v5 MQTT-3.3.2-7"),
            (
                &["alias=1"],
                b"\x30\x07\x00\x01a\x03\x23\x00\x02",
                "v5 MQTT-3.3.2-11, MQTT-3.1.2-26, MQTT-3.1.2-27",
            ),
            (
                &["receive=1"],
                b"\x32\x06\x00\x01a\x00\x01\x00\x32\x06\x00\x01a\x00\x02\x00",
                "v5 MQTT-3.3.4-9, MQTT-4.9.0-2",
            ),
            (
                &[],
                b"\x32\x06\x00\x01a\x00\x01\x00\x3a\x06\x00\x01a\x00\x01\x00",
                "v5 MQTT-2.2.1-4, MQTT-4.4.0-1",
            ),
        ] {
            let bytes = [ACCEPTED, bytes].concat();
            assert_eq!(watch(words, Version::V5, &bytes), Some(statement));
        }
        assert_eq!(watch(&[], Version::V311, b"\xd0\x00"), Some("v5 v3.1.1 MQTT-3.2.0-1"));
        assert_eq!(watch(&[], Version::V5, b"\xe0\x00"), Some("v5 MQTT-3.14.0-1"));
        let disconnect = b"\x20\x02\x00\x00\xe0\x00";
        assert_eq!(watch(&[], Version::V311, disconnect), Some("v3.1.1 MQTT-4.8.0-1"));
        let properties = b"\x20\x07\x00\x00\x04\x1a\x00\x01x";
        assert_eq!(watch(&[], Version::V5, properties), Some("v5 MQTT-3.1.2-28"));
        assert_eq!(watch(&["response=1"], Version::V5, properties), None);
    }

    #[test]
    fn an_alias_is_resolved_and_an_answer_frees_a_place() {
        let mut law = Law::new(true);
        law.asked(&Hello::parse(&["alias=1", "receive=1"]).unwrap());
        law.stage = Stage::Accepted;
        let mut publish = |topic: Option<&str>, id: u16| {
            let mut packet = Packet::Publish(Publish {
                dup: false,
                qos: QoS::AtLeastOnce,
                retain: false,
                topic: topic.map(|topic| Topic::new(topic).unwrap()),
                packet_id: postrider_wire::PacketId::new(id),
                properties: [Property::TopicAlias(1)].into_iter().collect(),
                payload: postrider_wire::Bytes::new(),
            });
            assert!(law.watch(&mut packet, 10).is_ok());
            law.sent(&[0xc0, 0, 0x40, 2, 0, 1]);
            law.sent(&[0x50, 3, 0, 2, 0x80]);
            packet.to_string()
        };
        assert_eq!(publish(Some("a"), 1), "PUBLISH \"a\" qos=1 id=1 0B");
        assert_eq!(publish(None, 2), "PUBLISH \"a\" qos=1 id=2 0B");
        assert_eq!(publish(None, 1), "PUBLISH \"a\" qos=1 id=1 0B");
    }
}
