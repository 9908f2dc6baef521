//! What the peer sends, checked against role, state and limits.

use alloc::string::{String, ToString};

use bytes::{Bytes, BytesMut};
use postrider_wire::{
    Ack, AckKind, Auth, ConnAck, DecodeError, Disconnect, Event, Fault, Packet, PacketType,
    Properties, Property, Publish, ReasonCode, Text,
};

use super::{Arrived, Link, LinkEnd, Received, Role, State, pulse::Due};
use crate::{Payload, SpoolId, Spools};

/// A PUBLISH whose payload goes to a spool.
#[derive(Debug)]
pub(crate) struct Spooling {
    publish: Publish,
    id: SpoolId,
    len: u32,
}

type Taken = Result<Option<Received>, LinkEnd>;

impl Link {
    /// Decodes until there is something to tell.
    pub(super) fn receive_next(&mut self, input: &mut BytesMut, spools: &mut Spools) -> Taken {
        while self.may_read(input) {
            let event = match self.decoder.decode(input) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => return Err(self.malformed(&error)),
            };
            let taken = match event {
                // Most packets of a busy link: on this way they are moved least.
                Event::Packet(Packet::Publish(publish)) if self.state == State::Open => {
                    return Ok(Some(Received::Publish(self.take_publish(publish)?)));
                }
                Event::Packet(packet) => self.take_packet(packet)?,
                Event::PublishStart(publish, len) => {
                    self.begin_spool(publish, len, spools)?;
                    None
                }
                Event::PublishChunk { bytes, is_last } => {
                    self.take_chunk(bytes, is_last, spools)?
                }
            };
            if taken.is_some() {
                return Ok(taken);
            }
        }
        Ok(None)
    }

    /// Follows from silence.
    pub(super) fn handle_silence(&mut self) -> Result<(), LinkEnd> {
        if self.state == State::Over {
            return Ok(());
        }
        let due = match self.role {
            Role::Client => self.pulse.due_client(),
            Role::Server => self.pulse.due_server(),
        };
        match (due, self.role) {
            (Due::Nothing, _) => Ok(()),
            (Due::Ping, _) => {
                self.write_now(&Packet::PingReq);
                self.pulse.pinged();
                Ok(())
            }
            (Due::Dead, Role::Server) => {
                let reason = ReasonCode::KeepAliveTimeout;
                self.end(Disconnect { reason, properties: Properties::new() });
                Err(LinkEnd::Ours(reason))
            }
            (Due::Dead, Role::Client) | (Due::Handshake, _) => {
                self.finish();
                Err(LinkEnd::Lost)
            }
        }
    }

    /// The peer broke a rule: says so where that is possible, and ends the link.
    #[cold]
    pub(super) fn fault(
        &mut self,
        reason: ReasonCode,
        statement: &'static str,
        what: impl Into<String>,
    ) -> LinkEnd {
        let what = what.into();
        let mut properties = Properties::new();
        if let Ok(text) = Text::new(&what) {
            properties.push(Property::ReasonString(text));
        }
        match (self.role, self.state) {
            (_, State::Over) => {}
            // 3.1.1 asks for silence about a malformed CONNECT. Spec: v3.1.1 [MQTT-3.1.4-1].
            (Role::Server, State::AwaitConnect | State::Deciding) if self.has_properties() => {
                self.write_refusal(&ConnAck { session_present: false, reason, properties });
            }
            (Role::Server, State::AwaitConnect | State::Deciding) => {}
            (Role::Server | Role::Client, _) => {
                self.write_disconnect(Disconnect { reason, properties });
            }
        }
        self.finish();
        LinkEnd::PeerFault { reason, statement, what }
    }

    /// The statement of this link's version.
    pub(super) fn statement(&self, v3: &'static str, v5: &'static str) -> &'static str {
        if self.has_properties() { v5 } else { v3 }
    }

    /// Whether the next packet may be taken off the input.
    fn may_read(&mut self, input: &[u8]) -> bool {
        self.is_message_next = input.first().is_some_and(|first| begins_message(*first));
        match self.state {
            State::AwaitConnect | State::AwaitConnAck => true,
            // A client may send on behind its CONNECT; that is read when it is accepted. In an authentication exchange
            // the next AUTH is read.
            State::Deciding => self.asked.authentication_method.is_some(),
            State::Open => !self.is_receive_paused(),
            State::Over => false,
        }
    }

    #[cold]
    fn malformed(&mut self, error: &DecodeError) -> LinkEnd {
        // Under another name there is no peer that could read a CONNACK. Spec: v3.1.1 [MQTT-3.1.2-1], [MQTT-3.1.4-1].
        if error.fault == Fault::ProtocolLevel && self.state == State::AwaitConnect {
            self.write_unsupported_version();
        }
        self.fault(error.reason, error.statement, error.to_string())
    }

    /// Sorts one packet by role and state.
    fn take_packet(&mut self, packet: Packet) -> Taken {
        if self.state != State::Open {
            return self.take_early(packet);
        }
        let received = match (self.role, packet) {
            (_, Packet::PubAck(ack)) => self.take_ack(AckKind::PubAck, ack)?,
            (_, Packet::PubRec(ack)) => self.take_ack(AckKind::PubRec, ack)?,
            (_, Packet::PubRel(ack)) => self.take_ack(AckKind::PubRel, ack)?,
            (_, Packet::PubComp(ack)) => self.take_ack(AckKind::PubComp, ack)?,
            (Role::Server, Packet::Subscribe(packet)) => Received::Subscribe(packet),
            (Role::Server, Packet::Unsubscribe(packet)) => Received::Unsubscribe(packet),
            (Role::Client, Packet::SubAck(packet)) => {
                self.check_problem_information(&packet.properties)?;
                Received::SubAck(packet)
            }
            (Role::Client, Packet::UnsubAck(packet)) => {
                self.check_problem_information(&packet.properties)?;
                Received::UnsubAck(packet)
            }
            (Role::Server, Packet::PingReq) => {
                self.write_now(&Packet::PingResp);
                return Ok(None);
            }
            // One that answers nothing is ignored.
            (Role::Client, Packet::PingResp) => return Ok(self.pulse.ponged().map(Received::Pong)),
            (_, Packet::Disconnect(packet)) => self.take_disconnect(packet)?,
            (_, Packet::Auth(packet)) => self.take_auth(packet)?,
            (_, packet) => return Err(self.misplaced(packet.packet_type())),
        };
        Ok(Some(received))
    }

    /// Sorts a packet that comes before the link is open.
    fn take_early(&mut self, packet: Packet) -> Taken {
        let received = match (self.state, packet) {
            (State::AwaitConnect, Packet::Connect(connect)) => {
                self.take_connect(&connect);
                Received::Connect(connect)
            }
            (State::AwaitConnAck, Packet::ConnAck(connack)) => self.take_connack(connack)?,
            (State::Deciding | State::AwaitConnAck, Packet::Auth(auth)) => self.take_auth(auth)?,
            (State::Deciding | State::AwaitConnAck, Packet::Disconnect(packet)) => {
                self.take_disconnect(packet)?
            }
            (_, packet) => return Err(self.misplaced(packet.packet_type())),
        };
        Ok(Some(received))
    }

    /// A packet that this peer may not send, or not at this point.
    #[cold]
    fn misplaced(&mut self, packet: PacketType) -> LinkEnd {
        let statement = match (self.state, self.role, packet) {
            (State::Open, Role::Server, PacketType::Connect) => "MQTT-3.1.0-2",
            (State::Open, Role::Client, PacketType::ConnAck) => {
                self.statement("MQTT-4.8.0-1", "MQTT-3.2.0-2")
            }
            (State::AwaitConnect, _, _) => "MQTT-3.1.0-1",
            (State::AwaitConnAck, _, _) => "MQTT-3.2.0-1",
            (State::Deciding, _, _) => "MQTT-3.1.2-30",
            _ => self.statement("MQTT-4.8.0-1", "MQTT-4.13.1-1"),
        };
        let sender = match self.role {
            Role::Client => "a server",
            Role::Server => "a client",
        };
        let what = alloc::format!("{} may not come from {sender} here", packet.name());
        self.fault(ReasonCode::ProtocolError, statement, what)
    }

    #[inline]
    fn take_publish(&mut self, mut publish: Publish) -> Result<Arrived, LinkEnd> {
        self.admit(&mut publish)?;
        let payload = Payload::Bytes(core::mem::take(&mut publish.payload));
        Ok(Arrived { publish, payload })
    }

    /// Checks a PUBLISH against what we announced, and gives it its topic.
    fn admit(&mut self, publish: &mut Publish) -> Result<(), LinkEnd> {
        if !self.has_properties() {
            self.window.arrive_uncounted(publish);
            return Ok(());
        }
        if !publish.properties.is_empty() || publish.topic.is_none() {
            self.resolve(publish)?;
        }
        let (has_qos, has_retain) = self.offers(publish.qos, publish.retain);
        if !has_qos {
            let what = alloc::format!("QoS {} is more than announced", publish.qos);
            return Err(self.fault(ReasonCode::QoSNotSupported, "MQTT-3.2.2-11", what));
        }
        if !has_retain {
            let what = "RETAIN is not available here";
            return Err(self.fault(ReasonCode::RetainNotSupported, "MQTT-3.2.2-14", what));
        }
        self.window.arrive(publish);
        if publish.packet_id.is_some()
            && self.open_of_peer() > u32::from(self.config.receive_maximum)
        {
            // To hang up would bring those of a session again. The next one waits ([`Link::is_receive_paused`]).
            if self.is_resumed {
                self.surplus += 1;
                return Ok(());
            }
            let statement = match self.role {
                Role::Client => "MQTT-3.3.4-9",
                Role::Server => "MQTT-3.3.4-7",
            };
            let what = alloc::format!(
                "more open QoS 1 and 2 messages than Receive Maximum {}",
                self.config.receive_maximum
            );
            return Err(self.fault(ReasonCode::ReceiveMaximumExceeded, statement, what));
        }
        Ok(())
    }

    /// Checks properties that depend on the direction, and resolves a topic alias. Spec: v5 section 3.3.2.3.4.
    fn resolve(&mut self, publish: &mut Publish) -> Result<(), LinkEnd> {
        let properties = &publish.properties;
        if self.role == Role::Server && properties.subscription_identifier().is_some() {
            let what = "subscription identifier in a PUBLISH of a client";
            return Err(self.fault(ReasonCode::ProtocolError, "MQTT-3.3.4-6", what));
        }
        let Some(&alias) = properties.topic_alias() else {
            if publish.topic.is_none() {
                let what = "PUBLISH with neither topic name nor topic alias";
                return Err(self.fault(ReasonCode::ProtocolError, "MQTT-3.3.2-1", what));
            }
            return Ok(());
        };
        self.check_alias(alias)?;
        match &publish.topic {
            Some(topic) => self.aliases_in.set(alias, topic),
            None => publish.topic = self.aliases_in.topic(alias).cloned(),
        }
        if publish.topic.is_none() {
            let what = alloc::format!("topic alias {alias} has no topic on this connection");
            return Err(self.fault(ReasonCode::ProtocolError, "MQTT-3.3.2-7", what));
        }
        publish.properties.retain(|property| !matches!(property, Property::TopicAlias(_)));
        Ok(())
    }

    fn check_alias(&mut self, alias: u16) -> Result<(), LinkEnd> {
        let alias_max = self.config.topic_alias_max;
        if (1..=alias_max).contains(&alias) {
            return Ok(());
        }
        let statement = match (alias, self.role, alias_max) {
            (0, _, _) => "MQTT-3.3.2-8",
            (_, Role::Client, 0) => "MQTT-3.1.2-27",
            (_, Role::Server, 0) => "MQTT-3.2.2-18",
            (_, Role::Client, _) => "MQTT-3.3.2-11",
            (_, Role::Server, _) => "MQTT-3.3.2-9",
        };
        let what = alloc::format!("topic alias {alias} is not within 1 to {alias_max}");
        Err(self.fault(ReasonCode::TopicAliasInvalid, statement, what))
    }

    fn begin_spool(
        &mut self,
        mut publish: Publish,
        len: u32,
        spools: &mut Spools,
    ) -> Result<(), LinkEnd> {
        if self.state != State::Open {
            return Err(self.misplaced(PacketType::Publish));
        }
        self.admit(&mut publish)?;
        let Some(id) = spools.begin(len) else {
            // Not the peer's fault, but there is no place for what it is already sending.
            return Err(self.no_room(len));
        };
        self.spooling = Some(Spooling { publish, id, len }.into());
        Ok(())
    }

    fn take_chunk(&mut self, bytes: Bytes, is_last: bool, spools: &mut Spools) -> Taken {
        let Some(spooling) = self.spooling.as_ref() else { return Ok(None) };
        if spools.has_failed(&spooling.id) {
            return Err(self.no_room(spooling.len));
        }
        spools.append(&spooling.id, bytes);
        if !is_last {
            return Ok(None);
        }
        let Some(Spooling { publish, id, len }) = self.spooling.take().map(|it| *it) else {
            return Ok(None);
        };
        let payload = Payload::Spooled { id, len };
        Ok(Some(Received::Publish(Arrived { publish, payload })))
    }

    /// There is no place for a large payload, which ends the link.
    fn no_room(&mut self, len: u32) -> LinkEnd {
        let what = alloc::format!("no room for a payload of {len} bytes");
        let statement = self.statement("MQTT-4.8.0-2", "MQTT-4.13.1-1");
        self.fault(ReasonCode::QuotaExceeded, statement, what)
    }

    fn take_ack(&mut self, kind: AckKind, ack: Ack) -> Result<Received, LinkEnd> {
        self.check_problem_information(&ack.properties)?;
        Ok(Received::Ack(kind, ack))
    }

    /// Client: a server that was asked not to explain itself must not. Spec: v5 [MQTT-3.1.2-29].
    fn check_problem_information(&mut self, properties: &Properties) -> Result<(), LinkEnd> {
        let is_unwanted = self.role == Role::Client
            && !self.asked.has_problem_information
            && (properties.reason_string().is_some()
                || properties.user_properties().next().is_some());
        if is_unwanted {
            let what = "reason string or user property though CONNECT asked for none";
            return Err(self.fault(ReasonCode::ProtocolError, "MQTT-3.1.2-29", what));
        }
        Ok(())
    }

    fn take_disconnect(&mut self, disconnect: Disconnect) -> Result<Received, LinkEnd> {
        let expiry_s = disconnect.properties.session_expiry_interval().copied();
        match self.role {
            Role::Client if !self.has_properties() => {
                return Err(self.misplaced(PacketType::Disconnect));
            }
            Role::Client if expiry_s.is_some() => {
                let what = "session expiry in a DISCONNECT of a server";
                return Err(self.fault(ReasonCode::ProtocolError, "MQTT-3.14.2-2", what));
            }
            Role::Server if self.asked.session_expiry_s == 0 && expiry_s.is_some_and(|s| s > 0) => {
                let what = "DISCONNECT raises a session expiry of 0";
                return Err(self.fault(ReasonCode::ProtocolError, "MQTT-4.13.1-1", what));
            }
            Role::Client | Role::Server => {}
        }
        self.finish();
        Ok(Received::Disconnect(disconnect))
    }

    /// Checks an AUTH: only with a method, the method of CONNECT, and a code that this sender may use now.
    /// Spec: v5 sections 3.15 and 4.12.
    fn take_auth(&mut self, auth: Auth) -> Result<Received, LinkEnd> {
        if self.asked.authentication_method.is_none() {
            let statement = match self.role {
                Role::Client => "MQTT-4.12.0-6",
                Role::Server => "MQTT-4.12.0-7",
            };
            let what = "AUTH though CONNECT has no authentication method";
            return Err(self.fault(ReasonCode::ProtocolError, statement, what));
        }
        let is_open = self.state == State::Open;
        let is_allowed = match (auth.reason, self.role) {
            (ReasonCode::ContinueAuthentication, _) => true,
            // Success ends a re-authentication; the first exchange is ended by CONNACK.
            (ReasonCode::Success, Role::Client) => is_open,
            (ReasonCode::ReAuthenticate, Role::Server) => is_open,
            (ReasonCode::ReAuthenticate, Role::Client) => {
                is_open && self.config.is_server_reauthentication_allowed
            }
            _ => false,
        };
        if !is_allowed {
            let what = alloc::format!("AUTH with {} may not come here", auth.reason);
            return Err(self.fault(ReasonCode::ProtocolError, "MQTT-3.15.2-1", what));
        }
        // The short form of success names none.
        let is_short = auth.reason == ReasonCode::Success && auth.properties.is_empty();
        if !is_short {
            let missing = "AUTH without an authentication method";
            self.check_method(auth.properties.authentication_method(), missing)?;
        }
        Ok(Received::Auth(auth))
    }
}

/// Whether a packet with this first byte is a message at QoS 1 or 2.
fn begins_message(first: u8) -> bool {
    first >> 4 == 3 && first & 0b0110 != 0
}
