//! One raw connection of a play.

use std::{collections::VecDeque, time::Duration};

use bytes::BytesMut;
use postrider_net::{Dial, Endpoint, Stream, dial_with};
use postrider_wire::{
    ConnAck, Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet, Publish, QoS, Version,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use crate::{
    Surprise,
    case::Message,
    hello::Hello,
    law::Law,
    line::{self, Ids},
    raw,
};

/// One raw connection.
pub(crate) struct Actor {
    stream: Stream,
    decoder: Decoder,
    input: BytesMut,
    law: Law,
    /// PUBLISHes that came while an answer was awaited.
    early: VecDeque<Packet>,
    pub(crate) version: Version,
    pub(crate) connack: Option<ConnAck>,
}

impl Actor {
    pub(crate) async fn open(
        endpoint: &Endpoint,
        how: &Dial,
        version: Version,
    ) -> Result<Self, Surprise> {
        let stream = dial_with(endpoint, &patient(how)).await?;
        let config = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: u32::MAX,
            is_topic_lenient: false,
        };
        Ok(Self {
            stream,
            decoder: Decoder::new(config, Some(version)),
            input: BytesMut::new(),
            law: Law::new(version.has_properties()),
            early: VecDeque::new(),
            version,
            connack: None,
        })
    }

    /// A broker may close while we still write; what it said first is read afterwards, so errors do not matter here.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.law.sent(bytes);
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn hello(&mut self, hello: &Hello, bytes: &[u8]) {
        self.law.asked(hello);
        self.send(bytes).await;
    }

    /// Carries out a whole exchange; the broker may say that nobody is there to receive it.
    pub(crate) async fn publish(&mut self, topic: &str, message: &Message) -> Result<(), Surprise> {
        let flags = u8::from(message.dup) << 3 | message.qos.bits() << 1 | u8::from(message.retain);
        let mut body = Vec::new();
        raw::string(topic.as_bytes(), &mut body);
        if message.qos > QoS::AtMostOnce {
            body.extend_from_slice(&[0, 7]);
        }
        if self.version.has_properties() {
            body.push(0);
        }
        body.extend_from_slice(&message.payload);
        let mut bytes = Vec::new();
        raw::packet(0x30 | flags, &body, &mut bytes);
        self.send(&bytes).await;
        match message.qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce => {
                self.answer(&["PUBACK id=7 Success", "PUBACK id=7 NoMatchingSubscribers"]).await
            }
            QoS::ExactlyOnce => {
                self.answer(&["PUBREC id=7 Success", "PUBREC id=7 NoMatchingSubscribers"]).await?;
                self.send(&[0x62, 2, 0, 7]).await;
                self.answer(&["PUBCOMP id=7 Success"]).await
            }
        }
    }

    pub(crate) async fn subscribe(
        &mut self,
        filter: &str,
        options: u8,
        identifier: Option<u32>,
    ) -> Result<(), Surprise> {
        let mut body = vec![0, 9];
        if self.version.has_properties() {
            let mut properties = Vec::new();
            if let Some(identifier) = identifier {
                properties.push(0x0b);
                raw::var_int(usize::try_from(identifier).unwrap_or_default(), &mut properties);
            }
            raw::var_int(properties.len(), &mut body);
            body.extend(properties);
        }
        raw::string(filter.as_bytes(), &mut body);
        body.push(options);
        let mut bytes = Vec::new();
        raw::packet(0x82, &body, &mut bytes);
        self.send(&bytes).await;
        let granted = match options & 3 {
            0 => "SUBACK id=9 [Success]",
            1 => "SUBACK id=9 [GrantedQoS1]",
            _ => "SUBACK id=9 [GrantedQoS2]",
        };
        self.answer(&[granted]).await
    }

    pub(crate) async fn unsubscribe(&mut self, filter: &str) -> Result<(), Surprise> {
        let mut body = vec![0, 11];
        if self.version.has_properties() {
            body.push(0);
        }
        raw::string(filter.as_bytes(), &mut body);
        let mut bytes = Vec::new();
        raw::packet(0xa2, &body, &mut bytes);
        self.send(&bytes).await;
        let empty = "UNSUBACK id=11 []";
        let success = "UNSUBACK id=11 [Success]";
        self.answer(&[if self.version.has_properties() { success } else { empty }]).await
    }

    /// Expects a PUBLISH and carries out the exchange.
    pub(crate) async fn receive(&mut self, topic: &str, message: &Message) -> Result<(), Surprise> {
        let expected = line::message(topic, message);
        let Some(packet) = self.next(&expected).await? else {
            return Err(Surprise::Closed(expected));
        };
        self.accept(topic, message, packet).await
    }

    /// Compares a packet with a message and carries out the exchange.
    pub(crate) async fn accept(
        &mut self,
        topic: &str,
        message: &Message,
        packet: Packet,
    ) -> Result<(), Surprise> {
        let is_as_expected = matches!(&packet, Packet::Publish(publish)
            if line::of_publish(publish) == line::message(topic, message)
                && publish.payload == message.payload);
        let Packet::Publish(publish) = packet else {
            let expected = line::message(topic, message);
            return Err(Surprise::Packet { expected, got: packet.to_string() });
        };
        if !is_as_expected {
            let expected = line::message(topic, message);
            return Err(Surprise::Packet { expected, got: line::of_publish(&publish) });
        }
        self.finish(&publish).await
    }

    /// Carries out the exchange of a PUBLISH that came.
    pub(crate) async fn finish(&mut self, publish: &Publish) -> Result<(), Surprise> {
        let Some(id) = publish.packet_id else { return Ok(()) };
        let [high, low] = id.get().to_be_bytes();
        if publish.qos == QoS::AtLeastOnce {
            self.send(&[0x40, 2, high, low]).await;
            return Ok(());
        }
        self.send(&[0x50, 2, high, low]).await;
        self.answer(&[&format!("PUBREL id={id} Success")]).await?;
        self.send(&[0x70, 2, high, low]).await;
        Ok(())
    }

    /// The next packet must have one of these one-line forms.
    pub(crate) async fn expect(&mut self, lines: &[String], ids: &mut Ids) -> Result<(), Surprise> {
        let expected = lines.join(" | ");
        let Some(packet) = self.next(&expected).await? else {
            return Err(Surprise::Closed(expected));
        };
        let got = packet.to_string();
        if lines.iter().any(|line| line::fits(line, &got, ids)) {
            return Ok(());
        }
        Err(Surprise::Packet { expected, got })
    }

    /// The next bytes must be one of these rows.
    pub(crate) async fn bytes(&mut self, rows: &[Vec<u8>]) -> Result<(), Surprise> {
        let show = |bytes: &[u8]| {
            let words: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            words.join(" ")
        };
        let expected = rows.iter().map(|row| show(row)).collect::<Vec<_>>().join(" | ");
        let longest = rows.iter().map(Vec::len).max().unwrap_or_default();
        let deadline = Instant::now() + PATIENCE;
        let fitting = loop {
            if let Some(row) = rows.iter().find(|row| self.input.starts_with(row)) {
                break row;
            }
            let may_fit = rows.iter().any(|row| row.starts_with(&self.input));
            if self.input.len() >= longest || !may_fit || !self.fill(&expected, deadline).await? {
                return Err(Surprise::Packet { expected, got: show(&self.input) });
            }
        };
        let left = self.input.len() - fitting.len();
        while self.input.len() > left {
            self.next(&expected).await?;
        }
        Ok(())
    }

    /// The connection ends, with one of these reasons or without any. Returns a remark if it should have given one.
    pub(crate) async fn ends(&mut self, reasons: &[String]) -> Result<Option<String>, Surprise> {
        let name = if self.law.is_accepted() { "DISCONNECT" } else { "CONNACK" };
        let expected = format!("{name} {} or the end", reasons.join(" or "));
        let Some(packet) = self.next(&expected).await? else {
            let is_mute = self.law.is_accepted() && self.version.has_properties();
            let is_mute = is_mute && !reasons.is_empty();
            return Ok(is_mute.then(|| format!("closed without {name} {}", reasons.join(" or "))));
        };
        let got = packet.to_string();
        let is_as_expected = reasons.iter().any(|reason| {
            let line = format!("{name} {reason}");
            self.version.has_properties() && (got == line || got.starts_with(&format!("{line} {{")))
        });
        if !is_as_expected {
            return Err(Surprise::Packet { expected, got });
        }
        match self.next("the end").await? {
            None => Ok(None),
            Some(packet) => {
                Err(Surprise::Packet { expected: "the end".to_owned(), got: packet.to_string() })
            }
        }
    }

    /// SUBACK with nothing but failures, or the end.
    pub(crate) async fn rejects(&mut self, reasons: &[String]) -> Result<Option<String>, Surprise> {
        let expected = format!("SUBACK with a failure, or the end with {}", reasons.join(" or "));
        let Some(packet) = self.next(&expected).await? else { return Ok(None) };
        if let Packet::SubAck(packet) = &packet
            && packet.reasons.iter().all(|reason| reason.is_error())
        {
            return Ok(None);
        }
        self.early.push_front(packet);
        self.ends(reasons).await
    }

    /// Says that nothing follows, and waits until the broker has closed its side.
    pub(crate) async fn hang_up(mut self) -> Result<(), Surprise> {
        let _ = self.stream.shutdown().await;
        self.closed().await
    }

    /// The connection ends, whatever comes before.
    pub(crate) async fn closed(&mut self) -> Result<(), Surprise> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.input.clear();
            match self.fill("the end", deadline).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(_) => return Err(Surprise::Open(PATIENCE.as_secs())),
            }
        }
    }

    /// PINGREQ is answered and nothing comes before.
    pub(crate) async fn quiet(&mut self) -> Result<(), Surprise> {
        self.send(&[0xc0, 0]).await;
        self.expect(&["PINGRESP".to_owned()], &mut Ids::new()).await
    }

    pub(crate) async fn still(&mut self, time: Duration) -> Result<(), Surprise> {
        let expected = "nothing";
        match self.next_by(expected, Instant::now() + time).await {
            Err(Surprise::Silence { .. }) => Ok(()),
            Err(other) => Err(other),
            Ok(None) => Err(Surprise::Closed(expected.to_owned())),
            Ok(Some(packet)) => {
                Err(Surprise::Packet { expected: expected.to_owned(), got: packet.to_string() })
            }
        }
    }

    /// All PUBLISHes that come before the answer to a PINGREQ.
    pub(crate) async fn pending(&mut self) -> Result<Vec<Publish>, Surprise> {
        self.send(&[0xc0, 0]).await;
        self.answer(&["PINGRESP"]).await?;
        let publish =
            |packet| if let Packet::Publish(publish) = packet { Some(publish) } else { None };
        Ok(self.early.drain(..).filter_map(publish).collect())
    }

    /// The next packet if one comes at once.
    pub(crate) async fn glance(&mut self) -> Result<Option<Packet>, Surprise> {
        match self.next_by("anything", Instant::now() + GLANCE).await {
            Err(Surprise::Silence { .. }) => Ok(None),
            Ok(None) => Err(Surprise::Closed("anything".to_owned())),
            other => other,
        }
    }

    /// An answer; PUBLISHes that overtake it are kept for later.
    pub(crate) async fn answer(&mut self, lines: &[&str]) -> Result<(), Surprise> {
        let expected = lines.join(" or ");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(packet) = self.read(&expected, deadline).await? else {
                return Err(Surprise::Closed(expected));
            };
            if matches!(packet, Packet::Publish(_)) {
                self.early.push_back(packet);
                continue;
            }
            let got = packet.to_string();
            if lines.contains(&got.as_str()) {
                return Ok(());
            }
            return Err(Surprise::Packet { expected, got });
        }
    }

    /// The next packet, or `None` at the end of the connection, however it came.
    pub(crate) async fn next(&mut self, expected: &str) -> Result<Option<Packet>, Surprise> {
        self.next_by(expected, Instant::now() + PATIENCE).await
    }

    async fn next_by(&mut self, expected: &str, by: Instant) -> Result<Option<Packet>, Surprise> {
        match self.early.pop_front() {
            Some(packet) => Ok(Some(packet)),
            None => self.read(expected, by).await,
        }
    }

    async fn read(&mut self, expected: &str, by: Instant) -> Result<Option<Packet>, Surprise> {
        loop {
            let before = self.input.len();
            if let Some(Event::Packet(mut packet)) = self.decoder.decode(&mut self.input)? {
                let size = before - self.input.len();
                let got = packet.to_string();
                self.law.watch(&mut packet, size).map_err(|breach| Surprise::Law {
                    statement: breach.statement,
                    what: breach.what,
                    got,
                })?;
                if let Packet::ConnAck(connack) = &packet {
                    self.connack = Some(connack.clone());
                }
                return Ok(Some(packet));
            }
            if !self.fill(expected, by).await? {
                return Ok(None);
            }
        }
    }

    /// Reads what comes; false at the end of the connection.
    async fn fill(&mut self, expected: &str, by: Instant) -> Result<bool, Surprise> {
        match timeout_at(by, self.stream.read_buf(&mut self.input)).await {
            Ok(Ok(0) | Err(_)) => Ok(false),
            Ok(Ok(_)) => Ok(true),
            Err(_) => Err(Surprise::Silence {
                expected: expected.to_owned(),
                seconds: PATIENCE.as_secs(),
            }),
        }
    }
}

impl Actor {
    /// Uses each alias up to the broker's maximum, first with its topic and then without.
    pub(crate) async fn aliases(&mut self, topic: &str) -> Result<(), Surprise> {
        let maximum = self.connack.as_ref().and_then(|it| it.properties.topic_alias_maximum());
        let maximum = maximum.copied().unwrap_or(0).min(ALIASES_MAX);
        self.subscribe(&format!("{topic}/#"), 0, None).await?;
        for has_topic in [true, false] {
            for alias in 1..=maximum {
                let [high, low] = alias.to_be_bytes();
                let name = format!("{topic}/{alias}");
                let mut body = Vec::new();
                raw::string(if has_topic { name.as_bytes() } else { b"" }, &mut body);
                body.extend_from_slice(&[3, 0x23, high, low, b'x']);
                let mut bytes = Vec::new();
                raw::packet(0x30, &body, &mut bytes);
                self.send(&bytes).await;
                let (qos, payload) = (QoS::AtMostOnce, b"x".to_vec());
                let message = Message { topic: name, qos, retain: false, dup: false, payload };
                self.receive(&message.topic, &message).await?;
            }
        }
        Ok(())
    }

    /// One open QoS 2 exchange more than the broker allows.
    pub(crate) async fn overrun(&mut self, topic: &str) -> Result<Option<String>, Surprise> {
        let maximum = self.connack.as_ref().and_then(|it| it.properties.receive_maximum());
        // Without a maximum there are not enough packet identifiers to exceed it.
        let Some(maximum) = maximum.copied().filter(|maximum| *maximum < u16::MAX) else {
            return Ok(None);
        };
        for id in 1..=maximum + 1 {
            let [high, low] = id.to_be_bytes();
            let mut body = Vec::new();
            raw::string(topic.as_bytes(), &mut body);
            body.extend_from_slice(&[high, low, 0]);
            let mut bytes = Vec::new();
            raw::packet(0x34, &body, &mut bytes);
            self.send(&bytes).await;
            if id <= maximum {
                let line = |reason| format!("PUBREC id={id} {reason}");
                self.answer(&[&line("Success"), &line("NoMatchingSubscribers")]).await?;
            }
        }
        self.ends(&["ReceiveMaximumExceeded".to_owned()]).await
    }
}

/// With our own patience for the way to a broker.
pub(crate) fn patient(how: &Dial) -> Dial {
    Dial { timeout: PATIENCE, ..how.clone() }
}

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long one of several actors is looked at.
const GLANCE: Duration = Duration::from_millis(5);
/// Aliases that are tried if the broker offers more.
const ALIASES_MAX: u16 = 300;
