//! The receiver: messages of the peer on their way to us.
//!
//! A QoS 2 message is delivered at PUBLISH (method B of the standard); its id is kept until PUBREL, so that a repeat is
//! recognised. Spec: v5 section 4.3.3, figure 4.3.

use alloc::{boxed::Box, vec::Vec};

use postrider_wire::{Ack, AckKind, PacketId, Properties, QoS, ReasonCode};

use crate::{
    Arrival, Fact, Gate, Journal, Link, Session, Takers,
    mutation::{Mutation, planted},
    session::ids::IdSet,
};

impl Session {
    /// Tells whether an arriving PUBLISH is new. QoS 0 and 1 always are.
    ///
    /// Spec: v5 [MQTT-4.3.2-5] [MQTT-4.3.3-10], v3.1.1 [MQTT-4.3.3-2].
    #[must_use]
    pub fn arrival(&self, qos: QoS, packet_id: Option<PacketId>) -> Arrival {
        match packet_id {
            Some(_) if planted(Mutation::DuplicateDelivered) => Arrival::New,
            Some(id) if qos == QoS::ExactlyOnce && self.received.contains(id) => Arrival::Duplicate,
            Some(_) | None => Arrival::New,
        }
    }

    /// Who has the message of this received id, if it was received before a restart and may not have reached every hub of
    /// a broker. Such a repeat must be routed once more, to all others. Says so once.
    pub fn take_unfinished(&mut self, packet_id: PacketId) -> Option<Takers> {
        self.unfinished.remove(&packet_id)
    }

    /// To be called when all is recovered: sessions with owner numbers above `until` begin from now on, so they are not
    /// among those that messages received before are for. Hub `hub` records that.
    pub fn bound_unfinished(&mut self, hub: u16, until: u64, journal: &mut Journal) {
        let mut facts = Vec::new();
        for (&packet_id, takers) in &mut self.unfinished {
            if takers.until == u64::MAX {
                takers.until = until;
                let Takers { stamp, sessions, .. } = takers.clone();
                facts.push(Fact::Taken { packet_id, hub, stamp, until, sessions });
            }
        }
        for fact in facts {
            self.record(fact, journal);
        }
    }

    /// Acknowledges an arrived PUBLISH: QoS 1 PUBACK, QoS 2 PUBREC (its id is recorded if `reason` is a success).
    /// The acknowledgement waits for `gate` and for its own record. Where the version has no reason codes, a refusal is
    /// acknowledged like a success (v3.1.1 [MQTT-3.3.5-2]).
    ///
    /// Spec: v5 [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-9].
    pub fn acknowledge(
        &mut self,
        qos: QoS,
        packet_id: PacketId,
        reason: ReasonCode,
        mut gate: Gate,
        link: &mut Link,
        journal: &mut Journal,
    ) {
        let kind = match qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => AckKind::PubAck,
            QoS::ExactlyOnce => AckKind::PubRec,
        };
        if kind == AckKind::PubRec && !reason.is_error() {
            if !self.received.contains(packet_id) {
                let seq = self.change(self.received_fact(packet_id), None, journal);
                self.inbound_seq = self.inbound_seq.max(seq);
            }
            // A repeat may overtake the record of the first, so it waits for the last one too.
            gate.stored = gate.stored.max(self.inbound_seq);
        }
        let is_early = [Mutation::PubAckBeforeStore, Mutation::PubRecBeforeStore].map(planted);
        gate = if is_early[usize::from(qos == QoS::ExactlyOnce)] { Gate::default() } else { gate };
        let reason = if self.has_codes() { reason } else { ReasonCode::Success };
        link.send_ack(kind, Ack { packet_id, reason, properties: Properties::new() }, gate);
    }

    /// Handles PUBREL: forgets the id, answers PUBCOMP with these properties (0x92 if the id is unknown and the version has codes).
    ///
    /// Spec: v5 [MQTT-4.3.3-11] [MQTT-4.3.3-12], v3.1.1 [MQTT-4.3.3-2].
    pub fn handle_pubrel(
        &mut self,
        ack: &Ack,
        completion: Properties,
        link: &mut Link,
        journal: &mut Journal,
    ) {
        let packet_id = ack.packet_id;
        let mut reason = ReasonCode::Success;
        if planted(Mutation::ReleaseForgotten) {
            // Planted: the id stays.
        } else if self.received.contains(packet_id) {
            let seq = self.change(Fact::Released(packet_id), None, journal);
            self.inbound_seq = self.inbound_seq.max(seq);
        } else if self.has_codes() {
            reason = ReasonCode::PacketIdentifierNotFound;
        }
        let answer = Ack { packet_id, reason, properties: completion };
        let is_early = planted(Mutation::PubCompBeforeStore);
        let stored = if is_early { 0 } else { self.inbound_seq };
        link.send_ack(AckKind::PubComp, answer, Gate { stored, fence: 0 });
    }

    /// The peer may have begun the session anew without our knowledge, so that ids and messages received belong to an
    /// older one. Returns whether there are any.
    pub fn doubt_received(&mut self) -> bool {
        let mut doubted = IdSet::new();
        self.received.iter().for_each(|id| doubted.insert(id));
        self.doubted = Some(Box::new(doubted));
        self.has_received()
    }

    /// What was doubted belongs to this session.
    pub fn trust_received(&mut self) {
        self.doubted = None;
    }

    /// The peer has begun the session anew: ids and messages received belong to an older one.
    pub fn discard_received(&mut self, journal: &mut Journal) {
        let released = self.received.iter().map(Fact::Released);
        let gone = self.arrivals.facts().map(|(packet_id, _)| Fact::ArrivedGone(packet_id));
        let facts: Vec<_> = released.chain(gone).collect();
        for fact in facts {
            let seq = self.change(fact, None, journal);
            self.inbound_seq = self.inbound_seq.max(seq);
        }
        self.arrivals.forget_reasons();
    }

    /// A PUBLISH with DUP came: if its id was doubted and discarded on this link, the peer has the old session after all,
    /// since a new one sends everything for the first time here.
    pub fn recall(&mut self, packet_id: PacketId, journal: &mut Journal) {
        let was_doubted = self.doubted.as_ref().is_some_and(|doubted| doubted.contains(packet_id));
        if was_doubted && !self.received.contains(packet_id) {
            let seq = self.change(self.received_fact(packet_id), None, journal);
            self.inbound_seq = self.inbound_seq.max(seq);
        }
        if let Some(doubted) = &mut self.doubted {
            doubted.remove(packet_id);
        }
    }

    /// Whether there is a message of the peer whose exchange is not over.
    #[must_use]
    pub fn has_received(&self) -> bool {
        !self.received.is_empty() || self.arrivals.facts().next().is_some()
    }

    /// What says that an id was received that is not known.
    pub(super) fn received_fact(&self, packet_id: PacketId) -> Fact {
        let is_noted = self.config.is_noted_elsewhere || self.unfinished.contains_key(&packet_id);
        if is_noted && !planted(Mutation::FirstDespiteTakers) {
            Fact::Received(packet_id)
        } else {
            Fact::ReceivedFirst(packet_id)
        }
    }

    /// Whether acknowledgements have reason codes (5.0).
    pub(super) fn has_codes(&self) -> bool {
        self.link.is_some_and(|facing| facing.has_codes)
    }
}
