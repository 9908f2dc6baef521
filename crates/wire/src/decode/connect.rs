//! CONNECT. Spec: v5 section 3.1, v3.1.1 section 3.1.

use alloc::boxed::Box;

use super::{Decoder, Header, Reader};
use crate::{
    Connect, DecodeError, Fault, PacketType, QoS, ReasonCode, Version, Will, packet::Place,
    statement,
};

/// The connect flags, checked. Spec: v5 section 3.1.2.3.
struct Flags {
    has_user_name: bool,
    has_password: bool,
    will_retain: bool,
    will_qos: QoS,
    has_will: bool,
    clean_start: bool,
}

impl Decoder {
    /// Reads a CONNECT body. The version is fixed as soon as it is read, so that a fault behind it
    /// can be answered.
    pub(super) fn connect(
        &mut self,
        header: Header,
        mut reader: Reader,
    ) -> Result<Box<Connect>, DecodeError> {
        let version = self.protocol(&mut reader)?;
        reader.set_version(version);
        if self.version.is_none() {
            self.version = Some(version);
        }
        if header.is_padded && version == Version::V5 {
            return Err(self.var_int_fault(PacketType::Connect, 1));
        }
        let flags = Flags::read(&mut reader)?;
        let keep_alive = reader.u16()?;
        let place = Place::Packet(PacketType::Connect);
        let properties = reader.properties_of(place)?;
        let client_id = reader.client_id()?;
        let will = if flags.has_will { Some(flags.will(&mut reader)?) } else { None };
        let user_name = if flags.has_user_name { Some(reader.text()?) } else { None };
        let password = if flags.has_password { Some(reader.binary()?) } else { None };
        reader.end()?;
        let clean_start = flags.clean_start;
        Ok(Box::new(Connect {
            version,
            clean_start,
            keep_alive,
            client_id,
            user_name,
            password,
            will,
            properties,
        }))
    }

    /// Reads protocol name and level. Mosquitto's bridges set bit 7 of the levels 3 and 4.
    fn protocol(&mut self, reader: &mut Reader) -> Result<Version, DecodeError> {
        let name_at = reader.at();
        let name = reader.binary()?;
        let is_old = match &name[..] {
            b"MQTT" => false,
            b"MQIsdp" => true,
            _ => {
                let reason = ReasonCode::UnsupportedProtocolVersion;
                let rule = statement::PROTOCOL_NAME;
                return Err(reader.fault(name_at, Fault::ProtocolName, rule, reason));
            }
        };
        let level_at = reader.at();
        let byte = reader.byte()?;
        self.is_bridge = matches!(byte, 0x83 | 0x84);
        let level = if self.is_bridge { byte & 0x7f } else { byte };
        self.connect_level = Some(level);
        match (is_old, level) {
            (true, 3) => Ok(Version::V31),
            (false, 4) => Ok(Version::V311),
            (false, 5) => Ok(Version::V5),
            _ => {
                let reason = ReasonCode::UnsupportedProtocolVersion;
                let rule = statement::PROTOCOL_LEVEL;
                Err(reader.fault(level_at, Fault::ProtocolLevel, rule, reason))
            }
        }
    }
}

impl Flags {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let at = reader.at();
        let byte = reader.byte()?;
        let has_will = byte & 0x04 != 0;
        let has_user_name = byte & 0x80 != 0;
        let has_password = byte & 0x40 != 0;
        let will_retain = byte & 0x20 != 0;
        if byte & 0x01 != 0 {
            return Err(reader.malformed(at, Fault::ConnectFlags, statement::CONNECT_RESERVED));
        }
        if !has_will && byte & 0x18 != 0 {
            return Err(reader.malformed(at, Fault::ConnectFlags, statement::NO_WILL_QOS));
        }
        if !has_will && will_retain {
            return Err(reader.malformed(at, Fault::ConnectFlags, statement::NO_WILL_RETAIN));
        }
        let Some(will_qos) = QoS::from_bits(byte >> 3 & 3) else {
            return Err(reader.malformed(at, Fault::QoS, statement::WILL_QOS));
        };
        // 5.0 allows a password without a user name: a token.
        if has_password && !has_user_name && !reader.version().has_properties() {
            return Err(reader.malformed(at, Fault::ConnectFlags, statement::PASSWORD));
        }
        let clean_start = byte & 0x02 != 0;
        Ok(Self { has_user_name, has_password, will_retain, will_qos, has_will, clean_start })
    }

    fn will(&self, reader: &mut Reader) -> Result<Will, DecodeError> {
        let properties = reader.properties_of(Place::Will)?;
        let topic = reader.topic(statement::TOPIC_WILDCARD)?;
        let payload = reader.binary()?;
        Ok(Will { topic, payload, qos: self.will_qos, retain: self.will_retain, properties })
    }
}
