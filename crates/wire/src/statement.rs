//! Which statement of the standard a fault breaks, as each version numbers it.

use crate::{PacketType, Version};

/// One rule of the standard with its identifier in both families of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    v3: &'static str,
    v5: &'static str,
}

impl Statement {
    /// The identifier in `version`; 3.1 has none of its own and borrows those of 3.1.1.
    pub(crate) const fn id(self, version: Version) -> &'static str {
        match version {
            Version::V31 | Version::V311 => self.v3,
            Version::V5 => self.v5,
        }
    }

    /// The rule on the four flag bits of a packet type.
    pub(crate) const fn flags(packet: PacketType) -> Self {
        match packet {
            PacketType::PubRel => both("MQTT-3.6.1-1"),
            PacketType::Subscribe => both("MQTT-3.8.1-1"),
            PacketType::Unsubscribe => both("MQTT-3.10.1-1"),
            PacketType::Disconnect => both("MQTT-3.14.1-1"),
            PacketType::Auth => of(GENERAL.v3, "MQTT-3.15.1-1"),
            PacketType::Connect
            | PacketType::ConnAck
            | PacketType::Publish
            | PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubComp
            | PacketType::SubAck
            | PacketType::UnsubAck
            | PacketType::PingReq
            | PacketType::PingResp => of("MQTT-2.2.2-2", "MQTT-2.1.3-1"),
        }
    }

    /// The rule on the reason codes that a packet type may carry.
    pub(crate) const fn reasons(packet: PacketType) -> Self {
        match packet {
            PacketType::ConnAck => of(GENERAL.v3, "MQTT-3.2.2-8"),
            PacketType::PubAck => of(GENERAL.v3, "MQTT-3.4.2-1"),
            PacketType::PubRec => of(GENERAL.v3, "MQTT-3.5.2-1"),
            PacketType::PubRel => of(GENERAL.v3, "MQTT-3.6.2-1"),
            PacketType::PubComp => of(GENERAL.v3, "MQTT-3.7.2-1"),
            PacketType::SubAck => both("MQTT-3.9.3-2"),
            PacketType::UnsubAck => of(GENERAL.v3, "MQTT-3.11.3-2"),
            PacketType::Disconnect => of(GENERAL.v3, "MQTT-3.14.2-1"),
            PacketType::Auth => of(GENERAL.v3, "MQTT-3.15.2-1"),
            PacketType::Connect
            | PacketType::Publish
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::PingReq
            | PacketType::PingResp => GENERAL,
        }
    }

    /// The rule that the packet identifier of a packet type is not 0.
    pub(crate) const fn packet_id(packet: PacketType) -> Self {
        match packet {
            PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => {
                of("MQTT-2.3.1-6", "MQTT-2.2.1-5")
            }
            PacketType::SubAck | PacketType::UnsubAck => of("MQTT-2.3.1-7", "MQTT-2.2.1-6"),
            PacketType::Connect
            | PacketType::ConnAck
            | PacketType::Publish
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::PingReq
            | PacketType::PingResp
            | PacketType::Disconnect
            | PacketType::Auth => of("MQTT-2.3.1-1", "MQTT-2.2.1-3"),
        }
    }
}

const fn of(v3: &'static str, v5: &'static str) -> Statement {
    Statement { v3, v5 }
}

const fn both(id: &'static str) -> Statement {
    Statement { v3: id, v5: id }
}

/// Whatever is malformed without a statement of its own: close the connection.
pub(crate) const GENERAL: Statement = of("MQTT-4.8.0-1", "MQTT-4.13.1-1");
/// Strings are UTF-8.
pub(crate) const UTF8: Statement = of("MQTT-1.5.3-1", "MQTT-1.5.4-1");
/// Strings have no U+0000.
pub(crate) const NUL: Statement = of("MQTT-1.5.3-2", "MQTT-1.5.4-2");
/// Variable byte integers have the shortest form.
pub(crate) const VAR_INT: Statement = of(GENERAL.v3, "MQTT-1.5.5-1");
/// CONNECT comes first.
pub(crate) const FIRST: Statement = both("MQTT-3.1.0-1");
/// The protocol name is known.
pub(crate) const PROTOCOL_NAME: Statement = both("MQTT-3.1.2-1");
/// The protocol level is known.
pub(crate) const PROTOCOL_LEVEL: Statement = both("MQTT-3.1.2-2");
/// Bit 0 of the connect flags is 0.
pub(crate) const CONNECT_RESERVED: Statement = both("MQTT-3.1.2-3");
/// Without a will its QoS is 0.
pub(crate) const NO_WILL_QOS: Statement = of("MQTT-3.1.2-13", "MQTT-3.1.2-11");
/// Without a will its RETAIN is 0.
pub(crate) const NO_WILL_RETAIN: Statement = of("MQTT-3.1.2-15", "MQTT-3.1.2-13");
/// The QoS of a will is not 3.
pub(crate) const WILL_QOS: Statement = of("MQTT-3.1.2-14", "MQTT-3.1.2-12");
/// No password without a user name (5.0 allows it).
pub(crate) const PASSWORD: Statement = of("MQTT-3.1.2-22", "MQTT-3.1.2-19");
/// Bits 7 to 1 of the acknowledge flags are 0.
pub(crate) const CONNACK_FLAGS: Statement = of(GENERAL.v3, "MQTT-3.2.2-1");
/// DUP is 0 at QoS 0.
pub(crate) const DUP: Statement = both("MQTT-3.3.1-2");
/// QoS bits are not 3.
pub(crate) const QOS: Statement = both("MQTT-3.3.1-4");
/// No wildcards in the topic of a PUBLISH.
pub(crate) const PUBLISH_WILDCARD: Statement = both("MQTT-3.3.2-2");
/// No wildcards in any topic name.
pub(crate) const TOPIC_WILDCARD: Statement = of("MQTT-4.7.1-1", "MQTT-4.7.0-1");
/// Topic names and filters are not empty.
pub(crate) const NOT_EMPTY: Statement = both("MQTT-4.7.3-1");
/// No wildcards in a Response Topic.
pub(crate) const RESPONSE_TOPIC: Statement = of(GENERAL.v3, "MQTT-3.3.2-14");
/// A Topic Alias is not 0.
pub(crate) const TOPIC_ALIAS: Statement = of(GENERAL.v3, "MQTT-3.3.2-8");
/// `#` is the whole last level.
pub(crate) const MULTI_LEVEL: Statement = of("MQTT-4.7.1-2", "MQTT-4.7.1-1");
/// `+` is a whole level.
pub(crate) const SINGLE_LEVEL: Statement = of("MQTT-4.7.1-3", "MQTT-4.7.1-2");
/// Shared filters look like `$share/name/filter`.
pub(crate) const SHARE_FORM: Statement = of(GENERAL.v3, "MQTT-4.8.2-1");
/// Share names have no wildcards, and a filter follows.
pub(crate) const SHARE_NAME: Statement = of(GENERAL.v3, "MQTT-4.8.2-2");
/// SUBSCRIBE has a filter.
pub(crate) const SUBSCRIBE_EMPTY: Statement = of("MQTT-3.8.3-3", "MQTT-3.8.3-2");
/// Reserved bits of the subscription options are 0.
pub(crate) const SUBSCRIBE_RESERVED: Statement = of("MQTT-3.8.3-4", "MQTT-3.8.3-5");
/// The requested QoS is not 3.
pub(crate) const SUBSCRIBE_QOS: Statement = of("MQTT-3.8.3-4", GENERAL.v5);
/// No Local does not stand with a shared filter.
pub(crate) const SHARED_NO_LOCAL: Statement = of(GENERAL.v3, "MQTT-3.8.3-4");
/// SUBACK has one code per filter.
pub(crate) const SUBACK_EMPTY: Statement = of("MQTT-3.8.4-5", "MQTT-3.8.4-6");
/// UNSUBSCRIBE has a filter.
pub(crate) const UNSUBSCRIBE_EMPTY: Statement = both("MQTT-3.10.3-2");
/// UNSUBACK has one code per filter.
pub(crate) const UNSUBACK_EMPTY: Statement = of(GENERAL.v3, "MQTT-3.11.3-2");
/// The client keeps to the server's maximum packet size.
pub(crate) const SERVER_SIZE: Statement = of(GENERAL.v3, "MQTT-3.2.2-15");
/// The server keeps to the client's maximum packet size.
pub(crate) const CLIENT_SIZE: Statement = of(GENERAL.v3, "MQTT-3.1.2-24");
