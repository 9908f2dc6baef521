//! PUBLISH: from a client to everybody whose filter matches.

use postrider_proto::{
    Arrival, Arrived, Delivery, Durability, Envelope, Fact, Gate, Message, Record, Stamp, Takers,
    mutation::{Mutation, planted},
    wire::{PacketId, QoS, ReasonCode, Topic},
};
use smallvec::SmallVec;

use super::{Hit, Hub};
use crate::{
    crossing::Crossing,
    keep::Kept,
    peer::{Handout, Item, Leaf},
    route::{Route, Target},
    share::Member,
    stall::Publisher,
};

/// Where a message comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    /// The publisher's session on this hub; does not get what it published where it said No Local.
    pub(super) session: Option<usize>,
    /// The link to pause if a subscriber is slow.
    pub(super) publisher: Option<Publisher>,
    /// In which sense it must be stored before its publisher hears of it.
    pub(super) durability: Durability,
    /// Whether a peer sent it, so that no peer gets it again.
    pub(super) is_from_peer: bool,
    /// If a later writer of the topic is known: the order number of what that one wrote. Subscriptions made after it
    /// have seen the newer message and do not get this one.
    pub(super) overtaken: Option<u64>,
    /// What is known of a QoS 2 message that several hubs store.
    pub(super) crossing: Option<Crossing>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Routed {
    /// Whether any subscription matched.
    pub(super) is_matched: bool,
    /// What its acknowledgement waits for.
    pub(super) gate: Gate,
    /// The round of leaves that an answer to a peer waits for.
    pub(super) leaf: u64,
}

impl Origin {
    /// The will of a session, of which nobody hears.
    pub(super) fn will(session: usize) -> Self {
        Self { session: Some(session), durability: Durability::Memory, ..Self::default() }
    }
}

impl Hub {
    /// A client published. Spec: v5 section 3.3.4 [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.5.0-1],
    /// v3.1.1 [MQTT-3.3.4-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2].
    pub(super) fn handle_publish(&mut self, at: usize, arrived: Arrived) {
        self.stats.publishes_received += 1;
        let Some(slot) = self.session_of(at) else { return };
        let Some(entry) = self.registry.get(slot) else { return };
        let Arrived { publish, payload } = arrived;
        let (qos, packet_id) = (publish.qos, publish.packet_id);
        let is_repeat = entry.session.arrival(qos, packet_id) == Arrival::Duplicate;
        let before = packet_id
            .filter(|_| is_repeat)
            .and_then(|packet_id| self.registry.get_mut(slot)?.session.take_unfinished(packet_id));
        if is_repeat && (before.is_none() || planted(Mutation::CrossingNotResumed)) {
            let gate = self.registry.get(slot).map_or_else(Gate::default, |entry| entry.accepted);
            return self.acknowledge(at, slot, qos, packet_id, ReasonCode::Success, gate);
        }
        if publish.topic.as_ref().is_none_or(is_forbidden) {
            // Where no reason travels it is acknowledged as usual (v3.1.1 [MQTT-3.3.5-2]).
            let reason = ReasonCode::NotAuthorized;
            return self.acknowledge(at, slot, qos, packet_id, reason, Gate::default());
        }
        let message = Message::from_publish(publish, payload, self.now);
        self.publish_from(at, packet_id, before, Envelope::new(message));
    }

    /// Takes a message of a client, unless it has to wait: then it is left with its link. A repeat from before a restart
    /// does not wait, since what is known of it would be lost with the link.
    pub(super) fn publish_from(
        &mut self,
        at: usize,
        packet_id: Option<PacketId>,
        before: Option<Takers>,
        mut envelope: Envelope,
    ) {
        let is_repeat = before.is_some();
        let Some(session) = self.session_of(at) else { return };
        let Some(slot) = self.links.get(at) else { return };
        let origin = Origin {
            session: Some(session),
            durability: slot.durability,
            publisher: Some(Publisher { hub: self.config.index, link: slot.id }),
            crossing: self.crossing(session, envelope.message().head.qos, packet_id, before),
            ..Origin::default()
        };
        if !is_repeat && self.park(at, envelope.message(), &origin) {
            if let Some(slot) = self.links.get_mut(at) {
                slot.parked = Some((packet_id, envelope.shared()));
            }
            return;
        }
        let qos = envelope.message().head.qos;
        let routed = self.publish(&mut envelope, &origin);
        if packet_id.is_some() {
            let reason = if routed.is_matched || is_repeat {
                ReasonCode::Success
            } else {
                ReasonCode::NoMatchingSubscribers
            };
            self.acknowledge(at, session, qos, packet_id, reason, routed.gate);
        }
    }

    /// What is to be known of a message so that a crash between the batches of several hubs does not lose or double it.
    fn crossing(
        &self,
        slot: usize,
        qos: QoS,
        packet_id: Option<PacketId>,
        before: Option<Takers>,
    ) -> Option<Crossing> {
        let packet_id = packet_id.filter(|_| qos == QoS::ExactlyOnce)?;
        let may_cross = self.peers.are_there() || before.is_some();
        let entry = self.registry.get(slot).filter(|entry| may_cross && entry.is_recorded)?;
        self.journal.is_on().then(|| Crossing::new(entry.owner, packet_id, before))
    }

    /// Publishes a message unless clients may not publish to its topic.
    pub(super) fn publish_allowed(&mut self, envelope: &mut Envelope, origin: &Origin) -> Routed {
        match envelope.message().head.topic.as_ref().is_none_or(is_forbidden) {
            true => Routed::default(),
            false => self.publish(envelope, origin),
        }
    }

    /// Takes a message of this hub: routes it, and retains it if it says so.
    fn publish(&mut self, envelope: &mut Envelope, origin: &Origin) -> Routed {
        let is_retained = envelope.message().head.retain;
        let before = origin.crossing.as_ref().and_then(Crossing::stamp);
        let stamp = is_retained.then(|| before.unwrap_or_else(|| self.keeper.stamp(self.now)));
        // Routing comes first: who is still being sent retained messages gets the old one before this one.
        let mut routed = self.route(envelope, origin, stamp);
        if let Some(stamp) = stamp {
            routed.gate.stored = routed.gate.stored.max(self.keep(envelope, stamp));
        }
        routed
    }

    /// Delivers to every match. `stamp` is there for a retained message, which all peers get.
    pub(super) fn route(
        &mut self,
        envelope: &mut Envelope,
        origin: &Origin,
        stamp: Option<Stamp>,
    ) -> Routed {
        self.find_matches(envelope.message(), origin);
        let is_matched = !self.hits.is_empty() || !self.share_hits.is_empty();
        let mut routed =
            Routed { is_matched: is_matched || !self.peer_hits.is_empty(), ..Routed::default() };
        let mut hits = core::mem::take(&mut self.hits);
        self.turn = self.turn.saturating_add(hits.len() as u32);
        let is_repeat = origin.crossing.as_ref().is_some_and(Crossing::is_repeat);
        // At QoS 0 it may have gone out already, and nobody knows.
        hits.retain(|hit| !is_repeat || hit.delivery.qos != QoS::AtMostOnce);
        let mut for_absent = self.for_absent(envelope.message(), &hits);
        for hit in hits.drain(..) {
            if hit.is_replaying {
                self.catch_up(hit.slot, envelope.message(), &hit.delivery);
            }
            let is_exact = hit.delivery.qos == QoS::ExactlyOnce;
            let envelope = match &mut for_absent {
                Some(shared) if self.is_absent(&hit) => shared,
                _ => &mut *envelope,
            };
            let stored = self.deliver(hit.slot, envelope, hit.delivery, origin.publisher);
            routed.gate.stored = routed.gate.stored.max(stored);
            if is_exact && stored > 0 && origin.crossing.is_some() {
                self.takers.extend(self.registry.get(hit.slot).map(|entry| entry.owner));
            }
        }
        self.hits = hits;
        while let Some(share) = self.share_hits.pop() {
            self.deliver_shared(share, envelope, origin, &mut routed);
        }
        if self.peers.are_there() && !origin.is_from_peer {
            self.cross(envelope, origin, stamp, &mut routed);
        }
        self.record_takers(origin, stamp, &mut routed);
        routed
    }

    /// Records who has a message that other hubs store too, in the batch in which these got it.
    pub(super) fn record_takers(
        &mut self,
        origin: &Origin,
        stamp: Option<Stamp>,
        routed: &mut Routed,
    ) {
        let sessions = core::mem::take(&mut self.takers);
        let groups = core::mem::take(&mut self.group_takers);
        let Some(crossing) = &origin.crossing else { return };
        // The hub of the publisher records that it crosses; if it does not, one batch has it all.
        let is_begun = !origin.is_from_peer && routed.gate.fence > 0;
        let is_elsewhere = is_begun || origin.is_from_peer || crossing.is_repeat();
        if !is_elsewhere || planted(Mutation::TakersNotRecorded) {
            return;
        }
        for (filter, session) in groups {
            let record = crossing.taken_by_group(filter, session);
            routed.gate.stored = routed.gate.stored.max(self.journal.write(record));
        }
        // This record takes the place of an earlier one of this hub, which may name sessions: a group that is handed out
        // again has none.
        if is_begun || !sessions.is_empty() {
            let record = crossing.taken(self.config.index, stamp, sessions);
            routed.gate.stored = routed.gate.stored.max(self.journal.write(record));
        }
    }

    /// Stores a retained message. Returns the record to wait for.
    pub(super) fn keep(&mut self, envelope: &mut Envelope, stamp: Stamp) -> u64 {
        let message = envelope.shared();
        let kept = self.keeper.take(&message, stamp, self.now);
        self.stats.dropped += u64::from(kept == Kept::Full);
        let Some(topic) = &message.head.topic else { return 0 };
        // All hubs know it; one of them records it, so that the store sees one order.
        let is_planted = planted(Mutation::RetainedNotRecorded);
        if self.home(topic.as_bytes()) != self.config.index || is_planted {
            return 0;
        }
        let fact = match kept {
            Kept::Stored => Fact::Retained { message, stamp },
            Kept::Cleared | Kept::Full => Fact::RetainedGone(topic.clone()),
            // A later writer was faster, whose record stands for this one and must be stored first.
            Kept::Unchanged => return self.last_retained,
        };
        self.last_retained = self.journal.write(Record { owner: 0, fact });
        self.last_retained
    }

    /// Fills the lists of hits. A session stands there once, with the highest QoS and all identifiers of its matching
    /// subscriptions. Spec: v5 [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.8.3-3] [MQTT-3.8.4-8],
    /// v3.1.1 [MQTT-3.3.5-1] [MQTT-3.8.4-6].
    pub(super) fn find_matches(&mut self, message: &Message, origin: &Origin) {
        let Self { router, registry, hits, share_hits, peer_hits, mark, .. } = self;
        hits.clear();
        share_hits.clear();
        peer_hits.clear();
        *mark += 1;
        let Some(topic) = &message.head.topic else { return };
        let head = &message.head;
        router.for_matches(topic.as_bytes(), |key, route| match Target::of(key) {
            Target::Session(slot) => {
                let is_own = route.no_local && origin.session == Some(slot);
                let is_seen = origin.overtaken.is_some_and(|order| route.since >= order);
                let Some(entry) = registry.get_mut(slot).filter(|_| !is_own && !is_seen) else {
                    return;
                };
                let crossing = origin.crossing.as_ref();
                if crossing.is_some_and(|crossing| crossing.passes_over(entry)) {
                    return;
                }
                let wanted = delivery(head.qos, head.retain, route);
                if entry.mark != *mark {
                    entry.mark = *mark;
                    entry.hit = hits.len();
                    let is_replaying = route.is_replaying;
                    hits.push(Hit { slot, delivery: wanted, is_replaying });
                } else if let Some(hit) = hits.get_mut(entry.hit) {
                    hit.delivery.qos = hit.delivery.qos.max(wanted.qos);
                    hit.delivery.retain |= wanted.retain;
                    hit.delivery.subscription_ids.extend(wanted.subscription_ids);
                    hit.is_replaying |= route.is_replaying;
                }
            }
            Target::Share(slot) => share_hits.push(slot),
            Target::Peer(hub) => {
                if !peer_hits.contains(&hub) {
                    peer_hits.push(hub);
                }
            }
        });
    }

    /// Gives a message to one member of a group, if possible to one that can take it now. Spec: v5 section 4.8.2
    /// [MQTT-4.8.2-3].
    pub(super) fn deliver_shared(
        &mut self,
        share: usize,
        envelope: &mut Envelope,
        origin: &Origin,
        routed: &mut Routed,
    ) {
        let own = self.config.index;
        let Self { shares, registry, .. } = self;
        let Some(share) = shares.get_mut(share) else { return };
        if let Some(crossing) = &origin.crossing
            && crossing.passes_over_group(&share.filter)
        {
            return;
        }
        let is_fit = |_, member: &Member| {
            if member.hub != own {
                return member.is_online;
            }
            let entry = registry.get(member.slot).filter(|entry| entry.owner == member.owner);
            entry.is_some_and(|entry| entry.link.is_some() && !entry.session.is_congested())
        };
        let Some((_, member)) = share.members.pick(is_fit) else { return };
        let (hub, slot, owner) = (member.hub, member.slot, member.owner);
        let head = &envelope.message().head;
        let delivery = delivery(head.qos, head.retain, &member.route);
        let filter = share.filter.clone();
        self.turn = self.turn.saturating_add(1);
        if hub == own {
            if origin.crossing.is_some() && delivery.qos == QoS::ExactlyOnce {
                self.group_takers.push((filter, owner));
            }
            let stored = self.deliver(slot, envelope, delivery, origin.publisher);
            routed.gate.stored = routed.gate.stored.max(stored);
            return;
        }
        let handout = Handout {
            filter,
            slot,
            owner,
            message: envelope.shared(),
            delivery,
            publisher: origin.publisher,
            durability: origin.durability,
            crossing: origin.crossing.clone(),
        };
        self.peers.tell_leaf(hub, Leaf::Deliver(handout));
        routed.leaf = self.peers.leaf();
        routed.gate.fence = self.peers.fence();
    }

    /// Sends a message to the peers that need it, once to each.
    fn cross(
        &mut self,
        envelope: &mut Envelope,
        origin: &Origin,
        stamp: Option<Stamp>,
        routed: &mut Routed,
    ) {
        for hub in self.peers.others() {
            if stamp.is_none() && !self.peer_hits.contains(&hub) || planted(Mutation::NotCrossing) {
                continue;
            }
            let (message, publisher) = (envelope.shared(), origin.publisher);
            let (durability, crossing) = (origin.durability, origin.crossing.clone());
            let item = Item::Publish { message, publisher, stamp, durability, crossing };
            self.peers.tell(hub, item);
            routed.gate.fence = self.peers.fence();
        }
    }

    fn acknowledge(
        &mut self,
        at: usize,
        slot: usize,
        qos: QoS,
        packet_id: Option<PacketId>,
        reason: ReasonCode,
        mut gate: Gate,
    ) {
        if planted(Mutation::FenceIgnored) {
            gate.fence = 0;
        }
        let Some(packet_id) = packet_id else { return };
        let Some(entry) = self.registry.get_mut(slot) else { return };
        let Some(link) = self.links.write(at) else { return };
        entry.accepted.stored = entry.accepted.stored.max(gate.stored);
        entry.accepted.fence = entry.accepted.fence.max(gate.fence);
        entry.session.acknowledge(qos, packet_id, reason, gate, link, &mut self.journal);
    }
}

/// How a subscriber gets a message. Spec: v5 [MQTT-3.3.1-12] [MQTT-3.3.1-13], v3.1.1 [MQTT-3.3.1-9].
fn delivery(qos: QoS, is_retained: bool, route: &Route) -> Delivery {
    let mut subscription_ids = SmallVec::new();
    if route.identifier != 0 {
        subscription_ids.push(route.identifier);
    }
    Delivery {
        qos: if planted(Mutation::QosRaised) { route.qos } else { qos.min(route.qos) },
        retain: is_retained && (route.retain_as_published || planted(Mutation::RetainKept)),
        subscription_ids,
    }
}

/// Whether only the server publishes to this topic.
fn is_forbidden(topic: &Topic) -> bool {
    let name = topic.as_bytes();
    name.strip_prefix(b"$SYS").is_some_and(|rest| rest.first().is_none_or(|&byte| byte == b'/'))
}
