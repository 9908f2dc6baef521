//! The bodies of all packets but PUBLISH, checked and put into any sink.

use super::{Count, Sink};
use crate::{
    Ack, ConnAck, Connect, EncodeError, Filter, Packet, PacketType, Properties, Property,
    REMAINING_LENGTH_MAX, ReasonCode, SubscribeFilter, SubscribeOptions, Version, Will,
    packet::Place,
};

type Written = Result<(), EncodeError>;

/// Writes what follows the fixed header. PUBLISH has a way of its own.
pub(super) fn write<S: Sink>(packet: &Packet, version: Version, sink: &mut S) -> Written {
    let kind = packet.packet_type();
    match packet {
        Packet::Connect(packet) => connect(packet, version, sink),
        Packet::ConnAck(packet) => conn_ack(packet, version, sink),
        Packet::Publish(_) => Err(EncodeError::Invalid("PUBLISH has its own encoder")),
        Packet::PubAck(packet)
        | Packet::PubRec(packet)
        | Packet::PubRel(packet)
        | Packet::PubComp(packet) => ack(packet, kind, version, sink),
        Packet::Subscribe(packet) => {
            not_empty(packet.filters.is_empty(), "SUBSCRIBE without a filter")?;
            sink.u16(packet.packet_id.get());
            properties(&packet.properties, kind, version, sink)?;
            packet.filters.iter().try_for_each(|line| subscribe_filter(line, version, sink))
        }
        Packet::SubAck(packet) => {
            not_empty(packet.reasons.is_empty(), "SUBACK without a code")?;
            sink.u16(packet.packet_id.get());
            properties(&packet.properties, kind, version, sink)?;
            packet.reasons.iter().try_for_each(|&code| sub_ack_code(code, version, sink))
        }
        Packet::Unsubscribe(packet) => {
            not_empty(packet.filters.is_empty(), "UNSUBSCRIBE without a filter")?;
            sink.u16(packet.packet_id.get());
            properties(&packet.properties, kind, version, sink)?;
            packet.filters.iter().map(Filter::as_bytes).for_each(|filter| sink.short(filter));
            Ok(())
        }
        Packet::UnsubAck(packet) => {
            sink.u16(packet.packet_id.get());
            if !version.has_properties() {
                return Ok(());
            }
            not_empty(packet.reasons.is_empty(), "UNSUBACK without a code")?;
            properties(&packet.properties, kind, version, sink)?;
            packet.reasons.iter().try_for_each(|&code| reason(code, kind, sink))
        }
        Packet::PingReq | Packet::PingResp => Ok(()),
        Packet::Disconnect(packet) if version.has_properties() => {
            verdict(packet.reason, &packet.properties, kind, sink)
        }
        Packet::Disconnect(_) => Ok(()),
        Packet::Auth(packet) => {
            if !version.has_properties() {
                return Err(EncodeError::NotInVersion("AUTH"));
            }
            let is_short = packet.reason == ReasonCode::Success && packet.properties.is_empty();
            if !is_short && packet.properties.authentication_method().is_none() {
                return Err(EncodeError::Invalid("AUTH without an authentication method"));
            }
            verdict(packet.reason, &packet.properties, kind, sink)
        }
    }
}

/// Checks that each property may stand here, once or repeated, with its value.
pub(super) fn check_properties<'a>(
    properties: impl Iterator<Item = &'a Property>,
    place: Place,
) -> Written {
    let mut seen: u64 = 0;
    for property in properties {
        let kind = property.kind();
        let is_repeated = seen & kind.bit() != 0 && !kind.may_repeat(place);
        if is_repeated || !kind.fits(place) || property.check().is_err() {
            return Err(EncodeError::Invalid(kind.name()));
        }
        seen |= kind.bit();
    }
    Ok(())
}

/// The length of a property section, if its own length can say it.
pub(super) fn section_len(count: u64) -> Result<u32, EncodeError> {
    u32::try_from(count)
        .ok()
        .filter(|&len| len <= REMAINING_LENGTH_MAX)
        .ok_or(EncodeError::TooLarge { size: count, limit: REMAINING_LENGTH_MAX })
}

fn connect<S: Sink>(packet: &Connect, version: Version, sink: &mut S) -> Written {
    let has_properties = version.has_properties();
    if packet.version != version {
        return Err(EncodeError::Invalid("CONNECT of another version than the link"));
    }
    if packet.password.is_some() && packet.user_name.is_none() && !has_properties {
        return Err(EncodeError::NotInVersion("a password without a user name"));
    }
    if !has_properties {
        let will = packet.will.iter().flat_map(|will| &will.properties);
        if let Some(property) = packet.properties.iter().chain(will).next() {
            return Err(EncodeError::NotInVersion(property.kind().name()));
        }
    }
    sink.short(version.protocol_name().as_bytes());
    sink.byte(version.level());
    sink.byte(connect_flags(packet));
    sink.u16(packet.keep_alive);
    properties(&packet.properties, PacketType::Connect, version, sink)?;
    sink.short(packet.client_id.as_bytes());
    if let Some(packet) = &packet.will {
        will(packet, version, sink)?;
    }
    if let Some(user_name) = &packet.user_name {
        sink.short(user_name.as_bytes());
    }
    match &packet.password {
        Some(password) => binary(password, "password longer than 65535 bytes", sink),
        None => Ok(()),
    }
}

fn connect_flags(packet: &Connect) -> u8 {
    let will = packet.will.as_ref();
    let will = will.map_or(0, |will| u8::from(will.retain) << 5 | will.qos.bits() << 3 | 0x04);
    u8::from(packet.user_name.is_some()) << 7
        | u8::from(packet.password.is_some()) << 6
        | will
        | u8::from(packet.clean_start) << 1
}

fn will<S: Sink>(packet: &Will, version: Version, sink: &mut S) -> Written {
    if version.has_properties() {
        section(&packet.properties, Place::Will, sink)?;
    }
    sink.short(packet.topic.as_bytes());
    binary(&packet.payload, "will payload longer than 65535 bytes", sink)
}

fn conn_ack<S: Sink>(packet: &ConnAck, version: Version, sink: &mut S) -> Written {
    if packet.session_present && packet.reason != ReasonCode::Success {
        return Err(EncodeError::Invalid("session present with a refusal"));
    }
    // 3.1 has no Session Present: its flags byte is reserved.
    let has_flag = version != Version::V31;
    sink.byte(u8::from(packet.session_present && has_flag));
    if version.has_properties() {
        reason(packet.reason, PacketType::ConnAck, sink)?;
        return properties(&packet.properties, PacketType::ConnAck, version, sink);
    }
    let code = packet.reason.return_code();
    sink.byte(code.ok_or(EncodeError::NotInVersion("the reason code of this CONNACK"))?);
    Ok(())
}

fn ack<S: Sink>(packet: &Ack, kind: PacketType, version: Version, sink: &mut S) -> Written {
    sink.u16(packet.packet_id.get());
    if !version.has_properties() {
        return Ok(());
    }
    verdict(packet.reason, &packet.properties, kind, sink)
}

/// Writes reason code and properties in the shortest form: nothing, the code, or both. AUTH has no
/// form with a code alone, but there a code never stands without properties.
fn verdict<S: Sink>(
    code: ReasonCode,
    list: &Properties,
    kind: PacketType,
    sink: &mut S,
) -> Written {
    if list.is_empty() && code == ReasonCode::Success {
        return Ok(());
    }
    reason(code, kind, sink)?;
    if list.is_empty() { Ok(()) } else { section(list, Place::Packet(kind), sink) }
}

fn reason<S: Sink>(code: ReasonCode, kind: PacketType, sink: &mut S) -> Written {
    if !code.may_stand_in(kind) {
        return Err(EncodeError::Invalid(code.text()));
    }
    sink.byte(code.byte());
    Ok(())
}

/// 3.x has one code for every failure.
fn sub_ack_code<S: Sink>(code: ReasonCode, version: Version, sink: &mut S) -> Written {
    let is_old_failure = code.is_error() && !version.has_properties();
    let code = if is_old_failure { ReasonCode::UnspecifiedError } else { code };
    reason(code, PacketType::SubAck, sink)
}

fn subscribe_filter<S: Sink>(line: &SubscribeFilter, version: Version, sink: &mut S) -> Written {
    let options = line.options;
    let plain = SubscribeOptions { qos: options.qos, ..SubscribeOptions::default() };
    if !version.has_properties() && options != plain {
        return Err(EncodeError::NotInVersion("subscription options besides the QoS"));
    }
    if options.no_local && line.filter.is_shared() {
        return Err(EncodeError::Invalid("no local on a shared subscription"));
    }
    sink.short(line.filter.as_bytes());
    sink.byte(
        options.qos.bits()
            | u8::from(options.no_local) << 2
            | u8::from(options.retain_as_published) << 3
            | options.retain_handling.bits() << 4,
    );
    Ok(())
}

fn properties<S: Sink>(
    list: &Properties,
    kind: PacketType,
    version: Version,
    sink: &mut S,
) -> Written {
    if version.has_properties() { section(list, Place::Packet(kind), sink) } else { Ok(()) }
}

/// Writes properties behind their length.
fn section<S: Sink>(list: &Properties, place: Place, sink: &mut S) -> Written {
    if list.is_empty() {
        sink.byte(0);
        return Ok(());
    }
    check_properties(list.iter(), place)?;
    if list.authentication_data().is_some() && list.authentication_method().is_none() {
        return Err(EncodeError::Invalid("authentication data without a method"));
    }
    let mut count = Count::default();
    list.iter().for_each(|property| property.write(&mut count));
    sink.var_int(section_len(count.0)?);
    list.iter().for_each(|property| property.write(sink));
    Ok(())
}

fn binary<S: Sink>(bytes: &[u8], too_long: &'static str, sink: &mut S) -> Written {
    if bytes.len() > usize::from(u16::MAX) {
        return Err(EncodeError::Invalid(too_long));
    }
    sink.short(bytes);
    Ok(())
}

fn not_empty(is_empty: bool, what: &'static str) -> Written {
    if is_empty { Err(EncodeError::Invalid(what)) } else { Ok(()) }
}
