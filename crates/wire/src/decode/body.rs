//! The bodies of all packets but CONNECT.

use alloc::vec::Vec;

use super::{Decoder, Header, Reader};
use crate::{
    Ack, AckKind, Auth, ConnAck, DecodeError, Disconnect, Fault, Packet, PacketId, PacketType,
    Properties, Publish, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter,
    SubscribeOptions, UnsubAck, Unsubscribe,
    packet::Place,
    statement::{self, Statement},
};

impl Decoder {
    /// Reads a packet that needs no bytes of the input afterwards: short acknowledgements and
    /// pings.
    pub(super) fn tiny(&self, header: Header, input: &[u8]) -> Result<Option<Packet>, DecodeError> {
        let kind = match header.packet {
            PacketType::PubAck => AckKind::PubAck,
            PacketType::PubRec => AckKind::PubRec,
            PacketType::PubRel => AckKind::PubRel,
            PacketType::PubComp => AckKind::PubComp,
            PacketType::PingReq if header.remaining == 0 => return Ok(Some(Packet::PingReq)),
            PacketType::PingResp if header.remaining == 0 => return Ok(Some(Packet::PingResp)),
            PacketType::Connect
            | PacketType::ConnAck
            | PacketType::Publish
            | PacketType::Subscribe
            | PacketType::SubAck
            | PacketType::Unsubscribe
            | PacketType::UnsubAck
            | PacketType::PingReq
            | PacketType::PingResp
            | PacketType::Disconnect
            | PacketType::Auth => return Ok(None),
        };
        let body = input.get(header.len as usize..).unwrap_or_default();
        match (header.remaining, body.first_chunk::<2>()) {
            (2, Some(&id)) => {
                let Some(packet_id) = PacketId::new(u16::from_be_bytes(id)) else {
                    let rule = Statement::packet_id(header.packet);
                    let reason = ReasonCode::MalformedPacket;
                    let at = header.len;
                    return Err(self.fault(at, header.packet, Fault::PacketId, rule, reason));
                };
                let properties = Properties::new();
                let reason = ReasonCode::Success;
                Ok(Some(kind.packet(Ack { packet_id, reason, properties })))
            }
            _ => Ok(None),
        }
    }

    /// Reads a packet body.
    pub(super) fn body(
        &mut self,
        header: Header,
        mut reader: Reader,
    ) -> Result<Packet, DecodeError> {
        let packet = match header.packet {
            PacketType::Publish => return self.publish(header, reader).map(Packet::Publish),
            PacketType::Connect => return self.connect(header, reader).map(Packet::Connect),
            PacketType::ConnAck => Packet::ConnAck(reader.conn_ack()?),
            PacketType::PubAck => Packet::PubAck(reader.ack(header.packet)?),
            PacketType::PubRec => Packet::PubRec(reader.ack(header.packet)?),
            PacketType::PubRel => Packet::PubRel(reader.ack(header.packet)?),
            PacketType::PubComp => Packet::PubComp(reader.ack(header.packet)?),
            PacketType::Subscribe => {
                let mut subscribe = reader.subscribe()?;
                if self.is_bridge {
                    as_bridge(&mut subscribe.filters);
                }
                Packet::Subscribe(subscribe)
            }
            PacketType::SubAck => Packet::SubAck(reader.sub_ack()?),
            PacketType::Unsubscribe => Packet::Unsubscribe(reader.unsubscribe()?),
            PacketType::UnsubAck => Packet::UnsubAck(reader.unsub_ack()?),
            PacketType::PingReq => Packet::PingReq,
            PacketType::PingResp => Packet::PingResp,
            PacketType::Disconnect => Packet::Disconnect(reader.disconnect()?),
            PacketType::Auth => Packet::Auth(reader.auth()?),
        };
        reader.end()?;
        Ok(packet)
    }

    /// Reads a PUBLISH body; all that follows the properties is its payload. Spec: v5 section 3.3.
    pub(super) fn publish(
        &self,
        header: Header,
        mut reader: Reader,
    ) -> Result<Publish, DecodeError> {
        let start = reader.at();
        let topic = reader.publish_topic(self.config.is_topic_lenient)?;
        let qos = header.qos();
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Some(reader.packet_id()?),
        };
        let properties = reader.properties_of(Place::Packet(PacketType::Publish))?;
        if topic.is_none() && properties.topic_alias().is_none() {
            // In 5.0 the alias is what is missing; in 3.x, where no codes are sent, the form is
            // wrong.
            let (fault, rule) = (Fault::Topic, statement::NOT_EMPTY);
            return Err(if reader.version().has_properties() {
                reader.protocol_error(start, fault, rule)
            } else {
                reader.malformed(start, fault, rule)
            });
        }
        let dup = header.flags & 0b1000 != 0 && qos != QoS::AtMostOnce;
        let retain = header.flags & 0b0001 != 0;
        let payload = reader.remainder();
        Ok(Publish { dup, qos, retain, topic, packet_id, properties, payload })
    }
}

/// Gives the subscriptions of a bridge the options that it cannot write.
fn as_bridge(filters: &mut [SubscribeFilter]) {
    for SubscribeFilter { filter, options } in filters {
        options.retain_as_published = true;
        // On a shared subscription it would be a fault.
        options.no_local = !filter.is_shared();
    }
}

impl Reader {
    /// Reads the properties of a packet in versions that have them.
    pub(super) fn properties_of(&mut self, place: Place) -> Result<Properties, DecodeError> {
        if self.version().has_properties() { self.properties(place) } else { Ok(Properties::new()) }
    }

    /// Spec: v5 section 3.2, v3.1.1 sections 3.1.2.2 and 3.2.
    fn conn_ack(&mut self) -> Result<ConnAck, DecodeError> {
        let at = self.at();
        let flags = self.byte()?;
        if flags & !1 != 0 {
            return Err(self.malformed(at, Fault::ReservedBits, statement::CONNACK_FLAGS));
        }
        let session_present = flags == 1;
        // A server that does not know 5.0 refuses in the form of 3.x. Its codes mean nothing in 5.0.
        let is_old_refusal = flags == 0 && matches!(self.rest(), [1..=5]);
        if self.version().has_properties() && !is_old_refusal {
            let reason = self.reason()?;
            let properties = self.properties(Place::Packet(PacketType::ConnAck))?;
            return Ok(ConnAck { session_present, reason, properties });
        }
        let at = self.at();
        let code = self.byte()?;
        let Some(reason) = ReasonCode::from_return_code(code) else {
            return Err(self.bad_reason(at, code, false));
        };
        Ok(ConnAck { session_present, reason, properties: Properties::new() })
    }

    /// PUBACK, PUBREC, PUBREL, PUBCOMP. Code and properties may be left out. Spec: v5 sections 3.4
    /// to 3.7.
    fn ack(&mut self, packet: PacketType) -> Result<Ack, DecodeError> {
        let packet_id = self.packet_id()?;
        let (reason, properties) = self.verdict(packet)?;
        Ok(Ack { packet_id, reason, properties })
    }

    /// Spec: v5 section 3.14, v3.1.1 section 3.14.
    fn disconnect(&mut self) -> Result<Disconnect, DecodeError> {
        let (reason, properties) = self.verdict(PacketType::Disconnect)?;
        Ok(Disconnect { reason, properties })
    }

    /// Spec: v5 section 3.15. Only the empty form goes without a method.
    fn auth(&mut self) -> Result<Auth, DecodeError> {
        let is_short = self.is_empty();
        let at = self.at();
        let (reason, properties) = self.verdict(PacketType::Auth)?;
        if !is_short && properties.authentication_method().is_none() {
            return Err(self.missing_method(at));
        }
        Ok(Auth { reason, properties })
    }

    /// Reads a reason code and properties that may be left out from the end.
    fn verdict(&mut self, packet: PacketType) -> Result<(ReasonCode, Properties), DecodeError> {
        let mut reason = ReasonCode::Success;
        let mut properties = Properties::new();
        if self.version().has_properties() && !self.is_empty() {
            reason = self.reason()?;
            if !self.is_empty() {
                properties = self.properties(Place::Packet(packet))?;
            }
        }
        Ok((reason, properties))
    }

    /// Spec: v5 section 3.8, v3.1.1 section 3.8.
    fn subscribe(&mut self) -> Result<Subscribe, DecodeError> {
        let packet_id = self.packet_id()?;
        let properties = self.properties_of(Place::Packet(PacketType::Subscribe))?;
        let mut filters = Vec::new();
        if self.is_empty() {
            return Err(self.protocol_error(self.at(), Fault::Empty, statement::SUBSCRIBE_EMPTY));
        }
        while !self.is_empty() {
            let filter = self.filter()?;
            let at = self.at();
            let options = self.subscribe_options()?;
            if options.no_local && filter.is_shared() {
                let rule = statement::SHARED_NO_LOCAL;
                return Err(self.protocol_error(at, Fault::SharedNoLocal, rule));
            }
            filters.push(SubscribeFilter { filter, options });
        }
        Ok(Subscribe { packet_id, properties, filters })
    }

    fn subscribe_options(&mut self) -> Result<SubscribeOptions, DecodeError> {
        let at = self.at();
        let byte = self.byte()?;
        let has_options = self.version().has_properties();
        let reserved = if has_options { 0b1100_0000 } else { 0b1111_1100 };
        if byte & reserved != 0 {
            return Err(self.malformed(at, Fault::ReservedBits, statement::SUBSCRIBE_RESERVED));
        }
        let Some(qos) = QoS::from_bits(byte & 3) else {
            let rule = statement::SUBSCRIBE_QOS;
            return Err(if has_options {
                self.protocol_error(at, Fault::QoS, rule)
            } else {
                self.malformed(at, Fault::QoS, rule)
            });
        };
        let Some(retain_handling) = RetainHandling::from_bits(byte >> 4 & 3) else {
            return Err(self.protocol_error(at, Fault::ReservedBits, statement::GENERAL));
        };
        let no_local = byte & 0b0100 != 0;
        let retain_as_published = byte & 0b1000 != 0;
        Ok(SubscribeOptions { qos, no_local, retain_as_published, retain_handling })
    }

    /// Spec: v5 section 3.9, v3.1.1 section 3.9.
    fn sub_ack(&mut self) -> Result<SubAck, DecodeError> {
        let packet_id = self.packet_id()?;
        let properties = self.properties_of(Place::Packet(PacketType::SubAck))?;
        let reasons = self.reasons(statement::SUBACK_EMPTY)?;
        Ok(SubAck { packet_id, properties, reasons })
    }

    /// Spec: v5 section 3.10, v3.1.1 section 3.10.
    fn unsubscribe(&mut self) -> Result<Unsubscribe, DecodeError> {
        let packet_id = self.packet_id()?;
        let properties = self.properties_of(Place::Packet(PacketType::Unsubscribe))?;
        let mut filters = Vec::new();
        if self.is_empty() {
            return Err(self.protocol_error(self.at(), Fault::Empty, statement::UNSUBSCRIBE_EMPTY));
        }
        while !self.is_empty() {
            filters.push(self.filter()?);
        }
        Ok(Unsubscribe { packet_id, properties, filters })
    }

    /// Spec: v5 section 3.11. In 3.x it has no codes.
    fn unsub_ack(&mut self) -> Result<UnsubAck, DecodeError> {
        let packet_id = self.packet_id()?;
        let properties = self.properties_of(Place::Packet(PacketType::UnsubAck))?;
        let reasons = if self.version().has_properties() {
            self.reasons(statement::UNSUBACK_EMPTY)?
        } else {
            Vec::new()
        };
        Ok(UnsubAck { packet_id, properties, reasons })
    }

    /// Reads one reason code per byte to the end; at least one.
    fn reasons(&mut self, empty: Statement) -> Result<Vec<ReasonCode>, DecodeError> {
        if self.is_empty() {
            return Err(self.protocol_error(self.at(), Fault::Empty, empty));
        }
        let mut reasons = Vec::with_capacity(self.len());
        while !self.is_empty() {
            let at = self.at();
            let reason = self.reason()?;
            // 3.x has one code for every failure.
            let is_old = !self.version().has_properties();
            if is_old && reason.is_error() && reason != ReasonCode::UnspecifiedError {
                return Err(self.bad_reason(at, reason.byte(), true));
            }
            reasons.push(reason);
        }
        Ok(reasons)
    }
}
