//! The one-line form of a packet, for tests and traces. Payloads, passwords and user names are
//! shown as lengths only.

use core::fmt::{Display, Formatter, Result};

use crate::{
    Ack, Connect, Packet, Properties, Publish, ReasonCode, RetainHandling, SubscribeFilter, Will,
};

/// Writes a packet in one line, such as `PUBACK id=7 Success`.
///
/// ```text
/// CONNECT 5.0 client_id="c" keep_alive=60 clean_start user_name=3B password=6B will=("w" qos=1 5B)
/// CONNACK session_present Success {ReceiveMaximum=20}
/// PUBLISH "a/b" qos=1 id=7 dup retain 5B {TopicAlias=3}
/// SUBSCRIBE id=1 "a/+"=2 "b"=0,no_local,retain_as_published,retain_handling=1
/// SUBACK id=1 [GrantedQoS2 NotAuthorized]
/// ```
impl Display for Packet {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.packet_type().name())?;
        match self {
            Self::Connect(packet) => connect(packet, f),
            Self::ConnAck(packet) => {
                flag(packet.session_present, "session_present", f)?;
                write!(f, " {:?}", packet.reason)?;
                properties(&packet.properties, f)
            }
            Self::Publish(packet) => publish(packet, f),
            Self::PubAck(packet)
            | Self::PubRec(packet)
            | Self::PubRel(packet)
            | Self::PubComp(packet) => ack(packet, f),
            Self::Subscribe(packet) => {
                write!(f, " id={}", packet.packet_id)?;
                packet.filters.iter().try_for_each(|line| subscribe_filter(line, f))?;
                properties(&packet.properties, f)
            }
            Self::SubAck(packet) => {
                write!(f, " id={}", packet.packet_id)?;
                reasons(&packet.reasons, f)?;
                properties(&packet.properties, f)
            }
            Self::Unsubscribe(packet) => {
                write!(f, " id={}", packet.packet_id)?;
                packet.filters.iter().try_for_each(|filter| write!(f, " {filter:?}"))?;
                properties(&packet.properties, f)
            }
            Self::UnsubAck(packet) => {
                write!(f, " id={}", packet.packet_id)?;
                reasons(&packet.reasons, f)?;
                properties(&packet.properties, f)
            }
            Self::PingReq | Self::PingResp => Ok(()),
            Self::Disconnect(packet) => {
                write!(f, " {:?}", packet.reason)?;
                properties(&packet.properties, f)
            }
            Self::Auth(packet) => {
                write!(f, " {:?}", packet.reason)?;
                properties(&packet.properties, f)
            }
        }
    }
}

fn connect(packet: &Connect, f: &mut Formatter<'_>) -> Result {
    write!(f, " {} client_id={:?}", packet.version, packet.client_id)?;
    write!(f, " keep_alive={}", packet.keep_alive)?;
    flag(packet.clean_start, "clean_start", f)?;
    if let Some(user_name) = &packet.user_name {
        write!(f, " user_name={}B", user_name.as_bytes().len())?;
    }
    if let Some(password) = &packet.password {
        write!(f, " password={}B", password.len())?;
    }
    if let Some(packet) = &packet.will {
        will(packet, f)?;
    }
    properties(&packet.properties, f)
}

fn will(packet: &Will, f: &mut Formatter<'_>) -> Result {
    write!(f, " will=({:?} qos={}", packet.topic, packet.qos)?;
    flag(packet.retain, "retain", f)?;
    write!(f, " {}B", packet.payload.len())?;
    properties(&packet.properties, f)?;
    f.write_str(")")
}

fn publish(packet: &Publish, f: &mut Formatter<'_>) -> Result {
    match &packet.topic {
        Some(topic) => write!(f, " {topic:?}")?,
        None => f.write_str(" -")?,
    }
    write!(f, " qos={}", packet.qos)?;
    if let Some(id) = packet.packet_id {
        write!(f, " id={id}")?;
    }
    flag(packet.dup, "dup", f)?;
    flag(packet.retain, "retain", f)?;
    write!(f, " {}B", packet.payload.len())?;
    properties(&packet.properties, f)
}

fn ack(packet: &Ack, f: &mut Formatter<'_>) -> Result {
    write!(f, " id={} {:?}", packet.packet_id, packet.reason)?;
    properties(&packet.properties, f)
}

fn subscribe_filter(line: &SubscribeFilter, f: &mut Formatter<'_>) -> Result {
    write!(f, " {:?}={}", line.filter, line.options.qos)?;
    if line.options.no_local {
        f.write_str(",no_local")?;
    }
    if line.options.retain_as_published {
        f.write_str(",retain_as_published")?;
    }
    if line.options.retain_handling != RetainHandling::Send {
        write!(f, ",retain_handling={}", line.options.retain_handling.bits())?;
    }
    Ok(())
}

fn reasons(codes: &[ReasonCode], f: &mut Formatter<'_>) -> Result {
    f.write_str(" [")?;
    for (index, code) in codes.iter().enumerate() {
        let space = if index == 0 { "" } else { " " };
        write!(f, "{space}{code:?}")?;
    }
    f.write_str("]")
}

fn properties(list: &Properties, f: &mut Formatter<'_>) -> Result {
    for (index, property) in list.iter().enumerate() {
        write!(f, "{}{property}", if index == 0 { " {" } else { " " })?;
    }
    if list.is_empty() { Ok(()) } else { f.write_str("}") }
}

fn flag(is_set: bool, name: &str, f: &mut Formatter<'_>) -> Result {
    if is_set { write!(f, " {name}") } else { Ok(()) }
}
