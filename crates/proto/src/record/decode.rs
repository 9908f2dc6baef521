//! Facts from keys and values. What a store gives back is not trusted: every fault is an error.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use bytes::{Buf, Bytes, BytesMut};
use postrider_wire::{
    ClientId, Decoder, DecoderConfig, Event, Filter, PACKET_SIZE_MAX, Packet, PacketId, Publish,
    QoS, RetainHandling, SubscribeOptions, Text, Topic, Version,
};
use smallvec::SmallVec;

use crate::{
    Delivery, Fact, FlightState, Message, Payload, Record, RecordError, SpoolId, Stamp, Time,
    mutation::{Mutation, planted},
    record::{FORMAT, kind},
};

impl Record {
    /// Reads a put back from key and value. A payload shares `value`.
    ///
    /// # Errors
    /// [`RecordError`] says what is wrong.
    pub fn decode(key: &[u8], value: &Bytes) -> Result<Self, RecordError> {
        let mut key = Reader { bytes: Bytes::copy_from_slice(key) };
        let mut value = Reader { bytes: value.clone() };
        let owner = key.u64()?;
        let kind = key.u8()?;
        if value.u8()? != FORMAT {
            return fault("unknown format version");
        }
        let fact = match kind {
            kind::ARRIVED => {
                let packet_id = key.packet_id()?;
                let (qos, is_acknowledged) = value.flags()?;
                let (number, digest) = (value.u64()?, value.u64()?);
                if qos == QoS::AtMostOnce {
                    return fault("an arrived message of QoS 0");
                }
                Fact::Arrived { packet_id, qos, number, digest, is_acknowledged }
            }
            kind::OWN => {
                let len = key.u16()?;
                let key = key.split(usize::from(len))?;
                Fact::Own { key, value: value.payload()? }
            }
            kind::RECEIVED => read_received_or_taken(&mut key, &mut value)?,
            kind::MESSAGE => read_message_or_flight(&mut key, &mut value)?,
            kind::NUMBERS => Fact::Numbers { reserved: value.u64()? },
            kind::RETAINED => {
                let topic = key.topic()?;
                let stamp = value.stamp()?;
                let message = Arc::new(value.message()?);
                if message.head.topic.as_ref() != Some(&topic) {
                    return fault("retained message of another topic");
                }
                Fact::Retained { message, stamp }
            }
            kind::SESSION => Fact::Session {
                client_id: ClientId::from_text(value.text()?),
                expiry_s: value.u32()?,
                detached: value.time()?,
            },
            kind::SUBSCRIPTION => {
                let filter = key.filter()?;
                let options = value.options()?;
                let identifier = Some(value.u32()?).filter(|id| *id != 0);
                Fact::Subscription { filter, options, identifier }
            }
            kind::WILL => value.will()?,
            _ => return fault("unknown kind of key"),
        };
        key.end("bytes behind the key")?;
        value.end("bytes behind the value")?;
        Ok(Self { owner, fact })
    }
}

fn read_message_or_flight(key: &mut Reader, value: &mut Reader) -> Result<Fact, RecordError> {
    let number = key.u64()?;
    if key.bytes.is_empty() {
        let delivery = value.delivery()?;
        let message = Arc::new(value.message()?);
        return Ok(Fact::Queued { number, message, delivery });
    }
    if key.u8()? != kind::FLIGHT {
        return fault("unknown kind of key");
    }
    let packet_id = value.packet_id()?;
    let state = match value.u8()? {
        0 => FlightState::AwaitAck,
        1 => FlightState::AwaitRec,
        2 if planted(Mutation::StateMisread) => FlightState::AwaitRec,
        2 => FlightState::AwaitComp,
        3 => FlightState::GivenUp,
        _ => return fault("unknown state of a flight"),
    };
    Ok(Fact::Flight { number, packet_id, state })
}

fn read_received_or_taken(key: &mut Reader, value: &mut Reader) -> Result<Fact, RecordError> {
    let packet_id = key.packet_id()?;
    if key.bytes.is_empty() {
        return Ok(Fact::Received(packet_id));
    }
    match key.u8()? {
        kind::TAKEN => {
            let hub = key.u16()?;
            let stamp = match value.u8()? {
                0 => None,
                1 => Some(value.stamp()?),
                _ => return fault("stamp is not valid"),
            };
            let until = value.u64()?;
            let count = value.u32()?;
            if value.bytes.len() as u64 != u64::from(count) * 8 {
                return fault("a list is shorter or longer than it says");
            }
            let sessions =
                (0..count).map(|_| value.u64()).collect::<Result<Vec<_>, RecordError>>()?;
            Ok(Fact::Taken { packet_id, hub, stamp, until, sessions })
        }
        kind::GROUP => {
            let filter = key.filter()?;
            Ok(Fact::TakenByGroup { packet_id, filter, session: value.u64()? })
        }
        _ => fault("unknown kind of key"),
    }
}

/// Bytes that are read from the front.
struct Reader {
    bytes: Bytes,
}

impl Reader {
    fn delivery(&mut self) -> Result<Delivery, RecordError> {
        let (qos, retain) = self.flags()?;
        let count = self.u16()?;
        if self.bytes.len() < usize::from(count) * 4 {
            return fault(SHORT);
        }
        let subscription_ids =
            (0..count).map(|_| self.u32()).collect::<Result<SmallVec<_>, RecordError>>()?;
        Ok(Delivery { qos, retain, subscription_ids })
    }

    fn message(&mut self) -> Result<Message, RecordError> {
        let (qos, retain) = self.flags()?;
        let arrived = Time(self.u64()?);
        let expires = self.time()?;
        let head = Publish { qos, retain, ..self.head()? };
        let payload = match self.u8()? {
            0 => Payload::Bytes(self.payload()?),
            1 => {
                let id = SpoolId::stored(self.u64()?);
                Payload::Spooled { id, len: self.u32()? }
            }
            _ => return fault("unknown kind of payload"),
        };
        Ok(Message { head, payload, arrived, expires })
    }

    fn will(&mut self) -> Result<Fact, RecordError> {
        let (qos, retain) = self.flags()?;
        let delay_s = self.u32()?;
        let due = self.time()?;
        let head = self.head()?;
        if self.u8()? != 0 {
            return fault("unknown kind of payload");
        }
        let payload = self.payload()?;
        let publish = Box::new(Publish { qos, retain, payload, ..head });
        Ok(Fact::Will { publish, delay_s, due })
    }

    fn payload(&mut self) -> Result<Bytes, RecordError> {
        let len = self.u32()?;
        self.split(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn head(&mut self) -> Result<Publish, RecordError> {
        let len = self.u32()?;
        let head = self.split(usize::try_from(len).unwrap_or(usize::MAX))?;
        let config = DecoderConfig {
            packet_size_max: PACKET_SIZE_MAX,
            stream_above: u32::MAX,
            is_topic_lenient: true,
        };
        let mut input = BytesMut::from(&head[..]);
        let event = Decoder::new(config, Some(Version::V5)).decode(&mut input);
        match event {
            Ok(Some(Event::Packet(Packet::Publish(publish))))
                if input.is_empty()
                    && publish.topic.is_some()
                    && publish.payload.is_empty()
                    && publish.qos == QoS::AtMostOnce
                    && !publish.dup
                    && !publish.retain =>
            {
                Ok(publish)
            }
            Ok(_) | Err(_) => fault("head of a message is not a PUBLISH"),
        }
    }

    fn options(&mut self) -> Result<SubscribeOptions, RecordError> {
        let byte = self.u8()?;
        let (Some(qos), Some(retain_handling), 0) =
            (QoS::from_bits(byte & 3), RetainHandling::from_bits(byte >> 4 & 3), byte >> 6)
        else {
            return fault("subscription options are not valid");
        };
        Ok(SubscribeOptions {
            qos,
            no_local: byte & 4 != 0,
            retain_as_published: byte & 8 != 0,
            retain_handling,
        })
    }

    fn flags(&mut self) -> Result<(QoS, bool), RecordError> {
        let byte = self.u8()?;
        match (QoS::from_bits(byte & 3), byte >> 3) {
            (Some(qos), 0) => Ok((qos, byte & 4 != 0)),
            (Some(_) | None, _) => fault("flags are not valid"),
        }
    }

    fn time(&mut self) -> Result<Option<Time>, RecordError> {
        match self.u8()? {
            0 => Ok(None),
            1 => Ok(Some(Time(self.u64()?))),
            _ => fault("time is not valid"),
        }
    }

    fn packet_id(&mut self) -> Result<PacketId, RecordError> {
        PacketId::new(self.u16()?).ok_or(RecordError { what: "packet id 0" })
    }

    fn topic(&mut self) -> Result<Topic, RecordError> {
        Topic::from_text(self.text()?).or_else(|_| fault("topic is not valid"))
    }

    fn filter(&mut self) -> Result<Filter, RecordError> {
        Filter::from_text(self.text()?).or_else(|_| fault("filter is not valid"))
    }

    fn stamp(&mut self) -> Result<Stamp, RecordError> {
        Ok((self.u64()?, self.u16()?, self.u64()?))
    }

    fn text(&mut self) -> Result<Text, RecordError> {
        let len = self.u16()?;
        Text::from_bytes(self.split(usize::from(len))?).or_else(|_| fault("text is not valid"))
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.bytes.try_get_u8().or_else(|_| fault(SHORT))
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        self.bytes.try_get_u16().or_else(|_| fault(SHORT))
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.bytes.try_get_u32().or_else(|_| fault(SHORT))
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.bytes.try_get_u64().or_else(|_| fault(SHORT))
    }

    fn split(&mut self, len: usize) -> Result<Bytes, RecordError> {
        if self.bytes.len() < len {
            return fault(SHORT);
        }
        Ok(self.bytes.split_to(len))
    }

    fn end(&self, what: &'static str) -> Result<(), RecordError> {
        if self.bytes.is_empty() { Ok(()) } else { fault(what) }
    }
}

fn fault<T>(what: &'static str) -> Result<T, RecordError> {
    Err(RecordError { what })
}

const SHORT: &str = "ends too early";
