//! CONNECT and CONNACK: what is announced, and what follows for the link.

use postrider_wire::{
    ConnAck, Connect, EncodeError, PACKET_SIZE_MAX, Packet, Properties, Property, QoS, ReasonCode,
    Text, Version, encode,
};

use super::{Link, LinkEnd, Received, Role, State, send::encode_fitting};
use crate::{Gate, Limits, LinkConfig, Terms};

/// What CONNECT (and, for a server, its CONNACK) said, as far as the link needs it later.
#[derive(Debug)]
pub(crate) struct Asked {
    clean_start: bool,
    keep_alive_s: u16,
    /// Asked for in CONNECT; 0 may not be raised by DISCONNECT.
    pub(crate) session_expiry_s: u32,
    receive_maximum: u16,
    packet_size_max: u32,
    topic_alias_max: u16,
    /// Request Problem Information.
    pub(crate) has_problem_information: bool,
    pub(crate) authentication_method: Option<Text>,
    /// Server: Maximum QoS and Retain Available of our CONNACK.
    pub(crate) qos_max_offered: QoS,
    pub(crate) has_retain_offered: bool,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            clean_start: false,
            keep_alive_s: 0,
            session_expiry_s: 0,
            receive_maximum: u16::MAX,
            packet_size_max: PACKET_SIZE_MAX,
            topic_alias_max: 0,
            has_problem_information: true,
            authentication_method: None,
            qos_max_offered: QoS::ExactlyOnce,
            has_retain_offered: true,
        }
    }
}

impl Asked {
    fn of(connect: &Connect) -> Self {
        let properties = &connect.properties;
        Self {
            clean_start: connect.clean_start,
            keep_alive_s: connect.keep_alive,
            session_expiry_s: Terms::of(connect).session_expiry_s,
            receive_maximum: properties.receive_maximum().copied().unwrap_or(u16::MAX),
            packet_size_max: packet_size_max(properties),
            topic_alias_max: properties.topic_alias_maximum().copied().unwrap_or(0),
            has_problem_information: properties
                .request_problem_information()
                .copied()
                .unwrap_or(true),
            authentication_method: properties.authentication_method().map(Text::detached),
            ..Self::default()
        }
    }

    /// Server: what we may do towards the client that asked for this.
    pub(crate) fn limits(
        &self,
        config: &LinkConfig,
        has_properties: bool,
        keep_alive_s: u16,
        session_expiry_s: u32,
    ) -> Limits {
        Limits {
            receive_maximum: self.receive_maximum,
            packet_size_max: self.packet_size_max,
            topic_alias_max: self.topic_alias_max.min(config.topic_alias_max_out),
            qos_max: QoS::ExactlyOnce,
            keep_alive_s,
            session_expiry_s,
            has_retain: true,
            has_wildcards: true,
            has_subscription_ids: has_properties,
            has_shared: true,
            has_properties,
            has_server_disconnect: has_properties,
            has_problem_information: has_properties && self.has_problem_information,
        }
    }

    /// Client: what we may do towards the server that answers this.
    fn limits_by(
        &self,
        config: &LinkConfig,
        has_properties: bool,
        properties: &Properties,
    ) -> Limits {
        let is_available = |flag: Option<&bool>| flag.copied().unwrap_or(true);
        let alias_max = properties.topic_alias_maximum().copied().unwrap_or(0);
        let expiry_s = properties.session_expiry_interval().copied();
        Limits {
            receive_maximum: properties.receive_maximum().copied().unwrap_or(u16::MAX),
            packet_size_max: packet_size_max(properties),
            topic_alias_max: alias_max.min(config.topic_alias_max_out),
            qos_max: qos_max(properties),
            keep_alive_s: properties.server_keep_alive().copied().unwrap_or(self.keep_alive_s),
            session_expiry_s: expiry_s.unwrap_or(self.session_expiry_s),
            has_retain: is_available(properties.retain_available()),
            has_wildcards: is_available(properties.wildcard_subscription_available()),
            has_subscription_ids: has_properties
                && is_available(properties.subscription_identifier_available()),
            has_shared: is_available(properties.shared_subscription_available()),
            has_properties,
            has_server_disconnect: has_properties,
            // Request Problem Information binds servers only. Spec: v5 section 3.1.2.11.7.
            has_problem_information: has_properties,
        }
    }

    /// Largest packet the peer accepts before there are limits.
    pub(crate) fn packet_size_max_of_peer(&self, role: Role) -> u32 {
        match role {
            // Ours is about the other direction, and the server has not spoken yet.
            Role::Client => PACKET_SIZE_MAX,
            Role::Server => self.packet_size_max,
        }
    }
}

impl Link {
    /// Client: adds our limits to CONNECT and writes it.
    pub(super) fn write_connect(&mut self, connect: &Connect) -> Result<(), EncodeError> {
        self.asked = Asked::of(connect);
        let mut connect = connect.clone();
        if connect.version.has_properties() {
            announce(&self.config, &mut connect.properties);
        }
        let version = connect.version;
        let packet = Packet::Connect(connect.into());
        encode(&packet, version, PACKET_SIZE_MAX, self.outbox.buffer_mut())
    }

    /// Server: takes a CONNECT.
    pub(super) fn take_connect(&mut self, connect: &Connect) {
        self.asked = Asked::of(connect);
        self.state = State::Deciding;
        if self.asked.authentication_method.is_none() {
            // It is our turn; the client need not say anything more.
            self.pulse.stop();
        }
    }

    /// Client: takes a CONNACK.
    pub(super) fn take_connack(&mut self, connack: ConnAck) -> Result<Received, LinkEnd> {
        if connack.reason.is_error() {
            self.finish();
            return Ok(Received::ConnAck(connack));
        }
        if connack.session_present && self.asked.clean_start {
            let what = "CONNACK with session present after a clean start";
            let statement = self.statement("MQTT-3.2.2-1", "MQTT-3.2.2-2");
            return Err(self.fault(ReasonCode::ProtocolError, statement, what));
        }
        let missing = "CONNACK without the authentication method of CONNECT: the server knows no enhanced \
                       authentication, or not this method";
        self.check_method(connack.properties.authentication_method(), missing)?;
        let has_properties = self.has_properties();
        let limits = self.asked.limits_by(&self.config, has_properties, &connack.properties);
        self.pulse.start(limits.keep_alive_s);
        self.limits = Some(limits);
        self.is_resumed = connack.session_present;
        self.state = State::Open;
        Ok(Received::ConnAck(connack))
    }

    /// Server: writes the CONNACK of success.
    pub(super) fn write_accept(&mut self, mut connack: ConnAck, limits: &Limits, gate: Gate) {
        debug_assert_eq!(self.state, State::Deciding);
        let Some(version) = self.version().filter(|_| self.state == State::Deciding) else {
            return;
        };
        let properties = &mut connack.properties;
        announce(&self.config, properties);
        if limits.session_expiry_s != self.asked.session_expiry_s {
            properties.set(Property::SessionExpiryInterval(limits.session_expiry_s));
        }
        if limits.keep_alive_s != self.asked.keep_alive_s {
            properties.set(Property::ServerKeepAlive(limits.keep_alive_s));
        }
        self.asked.qos_max_offered = qos_max(properties);
        self.asked.has_retain_offered = properties.retain_available().copied().unwrap_or(true);
        self.state = State::Open;
        self.pulse.start(limits.keep_alive_s);
        if !self.held.is_open(gate) {
            self.outbox.hold();
            self.connack_gate = Some(gate);
        }
        let packet = Packet::ConnAck(connack);
        let limit = limits.packet_size_max;
        if encode_fitting(&packet, version, limit, self.outbox.buffer_mut()).is_err() {
            self.finish();
        }
    }

    /// Server: writes the CONNACK of a refusal, if there is one that says it.
    pub(super) fn write_refusal(&mut self, connack: &ConnAck) {
        debug_assert!(connack.reason.is_error(), "a refusal needs a reason");
        let Some(version) = self.version() else { return };
        let reason = if version.has_properties() || connack.reason.return_code().is_some() {
            connack.reason
        } else {
            nearest_return_code(connack.reason)
        };
        let properties = connack.properties.clone();
        let packet = Packet::ConnAck(ConnAck { session_present: false, reason, properties });
        let limit = self.asked.packet_size_max;
        // What cannot be written is not said; the connection is closed all the same.
        let _ = encode_fitting(&packet, version, limit, self.outbox.buffer_mut());
    }

    /// Server: answers a CONNECT of a version that we do not know, in the form of 3.1.1 as other servers do: clients of
    /// any version find a return code that is not 0 there. Spec: v3.1.1 [MQTT-3.1.2-2], v5 [MQTT-3.1.2-2].
    pub(super) fn write_unsupported_version(&mut self) {
        let reason = ReasonCode::UnsupportedProtocolVersion;
        let connack = ConnAck { session_present: false, reason, properties: Properties::new() };
        let out = self.outbox.buffer_mut();
        let _ = encode(&Packet::ConnAck(connack), Version::V311, PACKET_SIZE_MAX, out);
    }

    /// Checks that the peer repeats the authentication method of CONNECT; `missing` says what it means if it has none.
    /// Spec: v5 [MQTT-4.12.0-5].
    pub(super) fn check_method(
        &mut self,
        method: Option<&Text>,
        missing: &'static str,
    ) -> Result<(), LinkEnd> {
        let what = match (self.asked.authentication_method.as_ref(), method) {
            (asked, given) if asked == given => return Ok(()),
            (Some(_), None) => missing,
            (None, _) => "an authentication method though CONNECT has none",
            (Some(_), Some(_)) => "another authentication method than that of CONNECT",
        };
        Err(self.fault(ReasonCode::ProtocolError, "MQTT-4.12.0-5", what))
    }
}

/// Announces what we accept, where it is not what holds without a word.
fn announce(config: &LinkConfig, properties: &mut Properties) {
    if config.receive_maximum != u16::MAX {
        properties.set(Property::ReceiveMaximum(config.receive_maximum));
    }
    if config.packet_size_max < PACKET_SIZE_MAX {
        properties.set(Property::MaximumPacketSize(config.packet_size_max.max(1)));
    }
    if config.topic_alias_max > 0 {
        properties.set(Property::TopicAliasMaximum(config.topic_alias_max));
    }
}

fn packet_size_max(properties: &Properties) -> u32 {
    properties.maximum_packet_size().copied().unwrap_or(PACKET_SIZE_MAX).min(PACKET_SIZE_MAX)
}

fn qos_max(properties: &Properties) -> QoS {
    properties.maximum_qos().and_then(|bits| QoS::from_bits(*bits)).unwrap_or(QoS::ExactlyOnce)
}

/// The reason with a return code in 3.x that comes nearest to one without; itself if none is near.
fn nearest_return_code(reason: ReasonCode) -> ReasonCode {
    match reason.byte() {
        // Server busy, shutting down, quota exceeded, moved, connection rate exceeded.
        0x89 | 0x8B | 0x97 | 0x9C | 0x9D | 0x9F => ReasonCode::ServerUnavailable,
        // Banned, bad authentication method.
        0x8A | 0x8C => ReasonCode::NotAuthorized,
        _ => reason,
    }
}
