//! Messages of the peer that the program acknowledges itself, when it has done with them.
//!
//! ```text
//! PUBLISH --> Arrived --acknowledge, its turn--> ArrivedGone, PUBACK           (QoS 1)
//!                `-----acknowledge, not yet----> Arrived, acknowledged --its turn--> ArrivedGone, PUBACK
//! PUBLISH --> Arrived --acknowledge------------> ArrivedGone + Received --its turn--> PUBREC   (QoS 2)
//!                `------refuse-----------------> Arrived, acknowledged --its turn--> ArrivedGone, PUBREC 0x80 or above
//! ```
//!
//! A refusal ends an exchange at QoS 2 with PUBREC, so it is done like an acknowledgement at QoS 1. What is said besides
//! is not recorded: after a restart a message is acknowledged without a word, or refused with 0x80.
//!
//! The program acknowledges in any order; PUBACKs leave in the order of their PUBLISHes, and so do PUBRECs. While
//! `Arrived` is there the peer cannot have seen the acknowledgement, so it sends the message again under the same packet
//! id when the session resumes, and the number stays the same. A PUBACK may be lost on its way: then the peer sends a
//! message again that is forgotten here, because the same id may by then stand for another one. Only QoS 2 has a third
//! packet that settles it.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec,
    vec::Vec,
};

use postrider_wire::{Ack, AckKind, PacketId, Properties, QoS, ReasonCode};

use crate::{
    Entrusted, Fact, Gate, Journal, Link, Session,
    mutation::{Mutation, planted},
};

/// The messages that wait for the program, or for their turn to be acknowledged. Most sessions have none.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Option<Box<Table>>);

#[derive(Debug, Default)]
struct Table {
    // Session: recorded.
    by_id: BTreeMap<PacketId, Entry>,
    by_number: BTreeMap<u64, PacketId>,
    // Link: reset by detach.
    /// PUBLISHes of QoS 1 on this link without PUBACK, in their order. Spec: v5 [MQTT-4.6.0-2].
    at_least_once: VecDeque<PacketId>,
    /// PUBLISHes of QoS 2 on this link without PUBREC, in their order. Spec: v5 [MQTT-4.6.0-3].
    exactly_once: VecDeque<PacketId>,
    // Session: not recorded.
    /// What acknowledgements say whose turn has not come.
    reasons: BTreeMap<PacketId, AckReason>,
}

/// What PUBACK or PUBREC, and PUBCOMP, say of a message (5.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckReason {
    /// A refusal from 0x80 on.
    pub code: ReasonCode,
    /// Reason string and user properties of PUBACK or PUBREC.
    pub properties: Properties,
    /// Those of PUBCOMP. They are left out if the PUBREL comes in another process, or those of all messages have more
    /// than 1 MiB.
    pub completion: Properties,
}

impl Default for AckReason {
    fn default() -> Self {
        Self {
            code: ReasonCode::Success,
            properties: Properties::new(),
            completion: Properties::new(),
        }
    }
}

/// What is recorded of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) qos: QoS,
    pub(super) number: u64,
    pub(super) digest: u64,
    pub(super) is_acknowledged: bool,
}

#[derive(Debug)]
struct Entry {
    arrived: Arrived,
    /// Whether the program has a copy, so that another one is not handed out. Not recorded.
    is_out: bool,
}

impl Session {
    /// Takes a PUBLISH of QoS 1 or 2 that the program acknowledges itself. `digest` tells messages under one packet id
    /// apart: not every one that is marked with `dup` is a repeat. At QoS 1 one that is not marked never is: a server that
    /// crashed may have forgotten under which id it sent a message, and use the id for another one with the same content.
    /// A QoS 2 message keeps its id, and not every server marks its repeat.
    ///
    /// Spec: v5 [MQTT-4.3.2-4] [MQTT-4.3.3-10] [MQTT-4.4.0-1].
    pub fn entrust(
        &mut self,
        qos: QoS,
        packet_id: PacketId,
        dup: bool,
        digest: u64,
        link: &mut Link,
        journal: &mut Journal,
    ) -> Entrusted {
        self.arrivals.line_up(qos, packet_id);
        let is_done = qos == QoS::ExactlyOnce && self.received.contains(packet_id);
        let known = self.arrivals.entry_mut(packet_id);
        let may_be = dup || qos == QoS::ExactlyOnce;
        let known = known
            .filter(|entry| may_be && entry.arrived.qos == qos && entry.arrived.digest == digest);
        if is_done || known.as_ref().is_some_and(|entry| entry.arrived.is_acknowledged) {
            self.answer_arrivals(link, journal);
            return Entrusted::Known;
        }
        if let Some(entry) = known {
            let number = entry.arrived.number;
            let was_out = core::mem::replace(&mut entry.is_out, true);
            return if was_out { Entrusted::Known } else { Entrusted::Again { number } };
        }
        let number = self.new_arrival(journal);
        let fact = Fact::Arrived { packet_id, qos, number, digest, is_acknowledged: false };
        let seq = self.change(fact, None, journal);
        if let Some(entry) = self.arrivals.entry_mut(packet_id) {
            entry.is_out = true;
        }
        if planted(Mutation::AckNotWithheld) {
            self.answer_arrivals(link, journal);
        }
        Entrusted::New { number, seq }
    }

    /// The program has done with a message. Records that together with `own`, facts of the program, and answers the
    /// peer when it is the message's turn, with `reason` if the version has codes. Returns the sequence number of the
    /// records, or `None` if there is no such message (any more): nothing is recorded then.
    ///
    /// Spec: v5 [MQTT-4.3.3-8] [MQTT-4.3.3-9].
    pub fn acknowledge_entrusted(
        &mut self,
        number: u64,
        own: Vec<Fact>,
        reason: AckReason,
        link: Option<&mut Link>,
        journal: &mut Journal,
    ) -> Option<u64> {
        let (packet_id, arrived) = self.arrivals.unacknowledged(number)?;
        let mut facts = own;
        match arrived.qos {
            QoS::ExactlyOnce if !reason.code.is_error() => {
                facts.extend([Fact::ArrivedGone(packet_id), self.received_fact(packet_id)]);
            }
            QoS::AtMostOnce | QoS::AtLeastOnce | QoS::ExactlyOnce => {
                let is_next = link.is_some() && self.arrivals.is_next(packet_id);
                facts.push(if is_next {
                    Fact::ArrivedGone(packet_id)
                } else {
                    Arrived { is_acknowledged: true, ..arrived }.fact(packet_id)
                });
            }
        }
        let seq = self.change_together(facts, journal);
        self.inbound_seq = self.inbound_seq.max(seq);
        self.arrivals.remember(packet_id, reason);
        if let Some(link) = link {
            self.answer_arrivals(link, journal);
        }
        Some(seq)
    }

    /// The program has no copy of a message any more and has not acknowledged it: if the peer sends it again, it is
    /// handed out again.
    pub fn take_back(&mut self, number: u64) {
        if let Some((packet_id, _)) = self.arrivals.unacknowledged(number)
            && let Some(entry) = self.arrivals.entry_mut(packet_id)
        {
            entry.is_out = planted(Mutation::DroppedNotAgain);
        }
    }

    /// Whether a message under this id waits for the program or for its turn.
    #[must_use]
    pub fn is_entrusted(&self, packet_id: PacketId) -> bool {
        self.arrivals.get(packet_id).is_some()
    }

    /// Whether the message of this number waits for the program.
    #[must_use]
    pub fn is_entrusted_number(&self, number: u64) -> bool {
        self.arrivals.unacknowledged(number).is_some()
    }

    /// The id of the PUBREL of a message that the program has not acknowledged; at QoS 1 there is none.
    #[must_use]
    pub fn release_id(&self, number: u64) -> Option<PacketId> {
        let (packet_id, arrived) = self.arrivals.unacknowledged(number)?;
        Some(packet_id).filter(|_| arrived.qos == QoS::ExactlyOnce)
    }

    /// Messages that the program has not acknowledged.
    #[must_use]
    pub fn entrusted_len(&self) -> usize {
        self.arrivals.0.as_ref().map_or(0, |table| {
            table.by_id.values().filter(|entry| !entry.arrived.is_acknowledged).count()
        })
    }

    /// Sends the acknowledgements whose turn has come.
    fn answer_arrivals(&mut self, link: &mut Link, journal: &mut Journal) {
        while let Some((kind, packet_id)) = self.arrivals.take_ready() {
            let mut reason = self.arrivals.recall(packet_id);
            if let Some(entry) = self.arrivals.get(packet_id) {
                let is_refused = kind == AckKind::PubRec && entry.arrived.is_acknowledged;
                // Recorded before the PUBACK leaves: behind it the id may stand for another message.
                let mut facts = vec![Fact::ArrivedGone(packet_id)];
                if is_refused && !self.has_codes() {
                    // A refusal that cannot be said: PUBREL follows.
                    facts.push(Fact::Received(packet_id));
                } else if is_refused && !reason.code.is_error() {
                    reason.code = ReasonCode::UnspecifiedError;
                }
                let seq = self.change_together(facts, journal);
                self.inbound_seq = self.inbound_seq.max(seq);
            }
            if !self.has_codes() {
                reason = AckReason::default();
            }
            let AckReason { code, properties, .. } = reason;
            let is_early = planted(Mutation::OwnAckBeforeStore) && kind == AckKind::PubAck;
            let stored = if is_early { 0 } else { self.inbound_seq };
            let gate = Gate { stored, fence: 0 };
            link.send_ack(kind, Ack { packet_id, reason: code, properties }, gate);
        }
    }
}

impl Arrivals {
    pub(super) fn put(&mut self, packet_id: PacketId, arrived: Arrived) {
        let table = self.0.get_or_insert_default();
        let old = table.by_id.get(&packet_id);
        let is_out = old.is_some_and(|old| old.is_out && old.arrived.number == arrived.number);
        if let Some(old) = table.by_id.insert(packet_id, Entry { arrived, is_out }) {
            table.by_number.remove(&old.arrived.number);
        }
        if !arrived.is_acknowledged {
            table.reasons.remove(&packet_id);
        }
        table.by_number.insert(arrived.number, packet_id);
    }

    pub(super) fn remove(&mut self, packet_id: PacketId) {
        let Some(table) = &mut self.0 else { return };
        if let Some(old) = table.by_id.remove(&packet_id) {
            table.by_number.remove(&old.arrived.number);
        }
    }

    /// All that is recorded, as facts.
    pub(super) fn facts(&self) -> impl Iterator<Item = (PacketId, Fact)> {
        let entries = self.0.iter().flat_map(|table| &table.by_id);
        entries.map(|(packet_id, entry)| (*packet_id, entry.arrived.fact(*packet_id)))
    }

    /// What the acknowledgement will say, unless it is nothing.
    fn remember(&mut self, packet_id: PacketId, reason: AckReason) {
        if reason != AckReason::default()
            && let Some(table) = &mut self.0
        {
            table.reasons.insert(packet_id, reason);
        }
    }

    /// What the acknowledgement says.
    fn recall(&mut self, packet_id: PacketId) -> AckReason {
        let said = self.0.as_mut().and_then(|table| table.reasons.remove(&packet_id));
        said.unwrap_or_default()
    }

    /// The peer has begun the session anew: nothing is said of messages of the older one.
    pub(super) fn forget_reasons(&mut self) {
        if let Some(table) = &mut self.0 {
            table.reasons.clear();
        }
    }

    pub(super) fn reset_link(&mut self) {
        if let Some(table) = &mut self.0 {
            table.at_least_once.clear();
            table.exactly_once.clear();
        }
    }

    fn get(&self, packet_id: PacketId) -> Option<&Entry> {
        self.0.as_ref()?.by_id.get(&packet_id)
    }

    fn entry_mut(&mut self, packet_id: PacketId) -> Option<&mut Entry> {
        self.0.as_mut()?.by_id.get_mut(&packet_id)
    }

    fn unacknowledged(&self, number: u64) -> Option<(PacketId, Arrived)> {
        let table = self.0.as_ref()?;
        let packet_id = *table.by_number.get(&number)?;
        let arrived = table.by_id.get(&packet_id)?.arrived;
        (!arrived.is_acknowledged).then_some((packet_id, arrived))
    }

    /// A PUBLISH takes its place in the order of answers.
    fn line_up(&mut self, qos: QoS, packet_id: PacketId) {
        let table = self.0.get_or_insert_default();
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => table.at_least_once.push_back(packet_id),
            QoS::ExactlyOnce => table.exactly_once.push_back(packet_id),
        }
    }

    /// Whether the next PUBACK is the one for this id.
    fn is_next(&self, packet_id: PacketId) -> bool {
        self.0.as_ref().is_some_and(|table| table.at_least_once.front() == Some(&packet_id))
    }

    /// The next PUBLISH that may be answered.
    fn take_ready(&mut self) -> Option<(AckKind, PacketId)> {
        let Table { by_id, at_least_once, exactly_once, .. } = &mut **self.0.as_mut()?;
        let is_ready = |packet_id: &mut PacketId| {
            by_id.get(packet_id).is_none_or(|entry| entry.arrived.is_acknowledged)
                || planted(Mutation::AckNotWithheld)
        };
        if planted(Mutation::AcksOutOfOrder)
            && let Some(at) = at_least_once.iter().position(|id| is_ready(&mut id.clone()))
        {
            return at_least_once.remove(at).map(|id| (AckKind::PubAck, id));
        }
        let puback = at_least_once.pop_front_if(is_ready).map(|id| (AckKind::PubAck, id));
        puback.or_else(|| exactly_once.pop_front_if(is_ready).map(|id| (AckKind::PubRec, id)))
    }
}

impl Arrived {
    fn fact(self, packet_id: PacketId) -> Fact {
        let Self { qos, number, digest, is_acknowledged } = self;
        Fact::Arrived { packet_id, qos, number, digest, is_acknowledged }
    }
}
