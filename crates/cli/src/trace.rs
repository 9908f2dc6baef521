//! `-d` under the names of Mosquitto's clients: a line on standard output for each packet, as theirs have it.

use std::collections::HashMap;

use bytes::BytesMut;
use postrider::{Stream, Watch};
use postrider_wire::{
    Ack, Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet, PacketId, Publish, ReasonCode,
    Version,
};

use crate::{out, status::Codes};

/// Tells the packets of a stream.
pub(crate) struct Tap {
    sent: Side,
    /// There when a CONNECT has said the version.
    received: Option<Side>,
    teller: Teller,
}

/// Whether a subscription is told too, which only `mosquitto_sub` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscribed {
    Told,
    Untold,
}

/// One direction.
struct Side {
    decoder: Decoder,
    input: BytesMut,
}

/// What the lines have to know of earlier packets.
#[derive(Debug)]
struct Teller {
    client_id: String,
    codes: Codes,
    /// Mosquitto numbers messages at QoS 0 too, with the identifiers of packets.
    last_number: u16,
    /// Topics that aliases stand for, each way.
    topics: HashMap<(Way, u16), String>,
    subscribed: Subscribed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    Sending,
    Received,
}

impl Tap {
    /// Tells what goes over `stream`.
    pub(crate) fn stream(stream: Stream, codes: Codes, subscribed: Subscribed) -> Stream {
        let teller = Teller {
            client_id: String::new(),
            codes,
            last_number: 0,
            topics: HashMap::new(),
            subscribed,
        };
        stream.watched(Self { sent: Side::new(None), received: None, teller })
    }
}

impl Watch for Tap {
    fn handle_sent(&mut self, pieces: &mut dyn Iterator<Item = &[u8]>) {
        let Self { sent, received, teller } = self;
        for bytes in pieces {
            sent.each(bytes, |packet, payload_len| {
                if let Packet::Connect(connect) = packet {
                    teller.client_id = connect.client_id.as_str().to_owned();
                    *received = Some(Side::new(Some(connect.version)));
                }
                teller.tell(Way::Sending, packet, payload_len);
            });
        }
    }

    fn handle_received(&mut self, bytes: &[u8]) {
        let Self { received, teller, .. } = self;
        let Some(received) = received else { return };
        received.each(bytes, |packet, len| teller.tell(Way::Received, packet, len));
    }
}

impl Side {
    fn new(version: Option<Version>) -> Self {
        // Of payloads only the length is told.
        let config = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: 0,
            is_topic_lenient: true,
        };
        Self { decoder: Decoder::new(config, version), input: BytesMut::new() }
    }

    /// Hands out each packet that these bytes complete, and the length of its payload.
    fn each(&mut self, bytes: &[u8], mut packet: impl FnMut(&Packet, u32)) {
        self.input.extend_from_slice(bytes);
        loop {
            match self.decoder.decode(&mut self.input) {
                Ok(Some(Event::Packet(whole))) => packet(&whole, 0),
                Ok(Some(Event::PublishStart(publish, len))) => {
                    packet(&Packet::Publish(publish), len);
                }
                Ok(Some(Event::PublishChunk { .. })) => {}
                Ok(None) => return,
                // The session says what is wrong with it.
                Err(_) => return self.input.clear(),
            }
        }
    }
}

impl Teller {
    fn tell(&mut self, way: Way, packet: &Packet, payload_len: u32) {
        let verb = match way {
            Way::Sending => "sending",
            Way::Received => "received",
        };
        for what in self.lines(way, packet, payload_len) {
            out::mention(&format!("Client {} {verb} {what}", self.client_id));
        }
        if let Packet::SubAck(ack) = packet
            && self.subscribed == Subscribed::Told
        {
            let codes: Vec<_> = ack.reasons.iter().map(|code| code.byte().to_string()).collect();
            out::mention(&format!(
                "Subscribed (mid: {}): {}",
                ack.packet_id.get(),
                codes.join(", ")
            ));
        }
    }

    /// What is said of a packet: one line, or one for each filter.
    fn lines(&mut self, way: Way, packet: &Packet, payload_len: u32) -> Vec<String> {
        let one = |text: &str| vec![text.to_owned()];
        match packet {
            Packet::Connect(_) => one("CONNECT"),
            Packet::ConnAck(ack) => vec![format!("CONNACK ({})", self.code(ack.reason))],
            Packet::Publish(publish) => vec![self.publish(way, publish, payload_len)],
            Packet::PubAck(ack) => vec![acknowledged("PUBACK", way, ack, true)],
            Packet::PubRec(ack) => {
                vec![acknowledged("PUBREC", way, ack, way == Way::Sending)]
            }
            Packet::PubRel(ack) => vec![acknowledged("PUBREL", way, ack, false)],
            Packet::PubComp(ack) => {
                vec![acknowledged("PUBCOMP", way, ack, way == Way::Received)]
            }
            Packet::Subscribe(subscribe) => {
                self.last_number = subscribe.packet_id.get();
                let line = |line: &postrider_wire::SubscribeFilter| {
                    let (id, filter, qos) = (self.last_number, &line.filter, line.options.qos);
                    let options = options(line.options);
                    let qos = qos.bits();
                    format!(
                        "SUBSCRIBE (Mid: {id}, Topic: {filter}, QoS: {qos}, Options: 0x{options:02x})"
                    )
                };
                subscribe.filters.iter().map(line).collect()
            }
            Packet::SubAck(_) => one("SUBACK"),
            Packet::Unsubscribe(unsubscribe) => {
                self.last_number = unsubscribe.packet_id.get();
                let line =
                    |filter| format!("UNSUBSCRIBE (Mid: {}, Topic: {filter})", self.last_number);
                unsubscribe.filters.iter().map(line).collect()
            }
            Packet::UnsubAck(_) => one("UNSUBACK"),
            Packet::PingReq => one("PINGREQ"),
            Packet::PingResp => one("PINGRESP"),
            Packet::Disconnect(disconnect) => match way {
                Way::Sending => one("DISCONNECT"),
                Way::Received => vec![format!("DISCONNECT ({})", disconnect.reason.byte())],
            },
            Packet::Auth(_) => one("AUTH"),
        }
    }

    fn publish(&mut self, way: Way, publish: &Publish, payload_len: u32) -> String {
        let id = publish.packet_id.map(PacketId::get);
        let number = match way {
            Way::Sending => {
                self.last_number = id.unwrap_or_else(|| self.last_number.wrapping_add(1));
                self.last_number
            }
            Way::Received => id.unwrap_or(0),
        };
        let topic = self.topic(way, publish);
        let (dup, retain) = (u8::from(publish.dup), u8::from(publish.retain));
        let qos = publish.qos.bits();
        format!(
            "PUBLISH (d{dup}, q{qos}, r{retain}, m{number}, '{topic}', ... ({payload_len} bytes))"
        )
    }

    fn topic(&mut self, way: Way, publish: &Publish) -> String {
        let alias = publish.properties.topic_alias().map(|alias| (way, *alias));
        match (&publish.topic, alias) {
            (Some(topic), Some(alias)) => {
                self.topics.insert(alias, topic.as_str().to_owned());
                topic.as_str().to_owned()
            }
            (Some(topic), None) => topic.as_str().to_owned(),
            (None, alias) => {
                alias.and_then(|alias| self.topics.get(&alias)).cloned().unwrap_or_default()
            }
        }
    }

    /// The code of a CONNACK as it came.
    fn code(&self, reason: ReasonCode) -> u8 {
        match self.codes {
            Codes::V3 => reason.return_code().unwrap_or_else(|| reason.byte()),
            Codes::V5 => reason.byte(),
        }
    }
}

fn acknowledged(name: &str, way: Way, ack: &Ack, has_code: bool) -> String {
    let (id, code) = (ack.packet_id.get(), ack.reason.byte());
    match (way, has_code) {
        (Way::Sending, true) => format!("{name} (m{id}, rc{code})"),
        (Way::Sending, false) => format!("{name} (m{id})"),
        (Way::Received, true) => format!("{name} (Mid: {id}, RC:{code})"),
        (Way::Received, false) => format!("{name} (Mid: {id})"),
    }
}

/// The options of a subscription as on the wire, without its QoS. Spec: v5 section 3.8.3.1.
fn options(options: postrider_wire::SubscribeOptions) -> u8 {
    use postrider_wire::RetainHandling;

    let handling = match options.retain_handling {
        RetainHandling::Send => 0,
        RetainHandling::SendIfNew => 1,
        RetainHandling::DoNotSend => 2,
    };
    u8::from(options.no_local) << 2 | u8::from(options.retain_as_published) << 3 | handling << 4
}
