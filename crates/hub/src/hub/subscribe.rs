//! SUBSCRIBE and UNSUBSCRIBE.

use postrider_proto::{
    Fact, Gate, Record,
    mutation::{Mutation, planted},
    wire::{
        Filter, Packet, Properties, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter,
        UnsubAck, Unsubscribe,
    },
};

use super::Hub;
use crate::{
    cursor::Cursor,
    peer::{Item, Note, Told},
    registry::Subscription,
    route::{Route, Target},
    share::Member,
};

impl Hub {
    /// Spec: v5 section 3.8.4 [MQTT-3.8.4-1] to [MQTT-3.8.4-7], v3.1.1 [MQTT-3.8.4-1] to [MQTT-3.8.4-5].
    pub(super) fn handle_subscribe(&mut self, at: usize, subscribe: Subscribe) {
        let Some(session) = self.session_of(at) else { return };
        let identifier = subscribe.properties.subscription_identifier().copied();
        let mut gate = Gate::default();
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let mut cursors = Vec::new();
        for SubscribeFilter { filter, options } in subscribe.filters {
            let subscription = Subscription::new(options, identifier);
            let Some(is_new) = self.subscribe(session, &filter, subscription, &mut gate) else {
                reasons.push(ReasonCode::QuotaExceeded);
                continue;
            };
            reasons.push(ReasonCode::granted(options.qos));
            let is_replayed = match options.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => is_new,
                RetainHandling::DoNotSend => false,
            };
            // No Local does not hold them back: who published what is retained is not recorded (v5 section 3.8.3.1 speaks of
            // the publishing connection, which may be long gone).
            if is_replayed && !filter.is_shared() {
                cursors.push((detached(&filter), options.qos));
            }
        }
        if planted(Mutation::SubAckBeforeStore) {
            gate.stored = 0;
        }
        let properties = Properties::new();
        let packet_id = subscribe.packet_id;
        self.reply(at, &Packet::SubAck(SubAck { packet_id, properties, reasons }), gate);
        for (filter, qos) in cursors {
            self.begin_replay(session, Cursor::new(filter, qos, identifier, gate));
        }
    }

    /// Spec: v5 section 3.10.4 [MQTT-3.10.4-1] to [MQTT-3.10.4-6], v3.1.1 [MQTT-3.10.4-1] to [MQTT-3.10.4-6].
    pub(super) fn handle_unsubscribe(&mut self, at: usize, unsubscribe: Unsubscribe) {
        let Some(session) = self.session_of(at) else { return };
        let mut gate = Gate::default();
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            reasons.push(if self.unsubscribe(session, filter, &mut gate) {
                ReasonCode::Success
            } else {
                ReasonCode::NoSubscriptionExisted
            });
        }
        if !self.has_properties(at) {
            reasons.clear();
        }
        let (packet_id, properties) = (unsubscribe.packet_id, Properties::new());
        self.reply(at, &Packet::UnsubAck(UnsubAck { packet_id, properties, reasons }), gate);
    }

    /// Whether reasons travel on this link.
    pub(super) fn has_properties(&self, at: usize) -> bool {
        let limits = self.links.get(at).and_then(|slot| slot.link.limits());
        limits.is_some_and(|limits| limits.has_properties)
    }

    /// Adds a subscription or replaces it. Returns whether it is new; `None` if there are too many.
    fn subscribe(
        &mut self,
        session: usize,
        filter: &Filter,
        subscription: Subscription,
        gate: &mut Gate,
    ) -> Option<bool> {
        let entry = self.registry.get_mut(session)?;
        let is_new = !entry.subscriptions.contains_key(filter);
        if is_new && entry.subscriptions.len() >= self.config.subscriptions_max as usize {
            return None;
        }
        let filter = detached(filter);
        // Retained messages that are on their way because of the old one still come.
        let cursor = entry.subscriptions.get(&filter).map_or(0, |old| old.cursor);
        let subscription = Subscription { cursor, ..subscription };
        entry.subscriptions.insert(filter.clone(), subscription);
        let Subscription { options, identifier, .. } = subscription;
        let owner = entry.owner;
        if entry.is_recorded {
            let fact = Fact::Subscription { filter: filter.clone(), options, identifier };
            gate.stored = gate.stored.max(self.journal.write(Record { owner, fact }));
        }
        let standing = if is_new { Standing::New } else { Standing::Changed };
        let fence = self.add_route(session, &filter, subscription, standing);
        gate.fence = gate.fence.max(fence);
        Some(is_new)
    }

    fn unsubscribe(&mut self, session: usize, filter: &Filter, gate: &mut Gate) -> bool {
        let Some(entry) = self.registry.get_mut(session) else { return false };
        let owner = entry.owner;
        let Some((filter, _)) = entry.subscriptions.swap_remove_entry(filter) else {
            return false;
        };
        if entry.is_recorded {
            let fact = Fact::SubscriptionGone(filter.clone());
            gate.stored = gate.stored.max(self.journal.write(Record { owner, fact }));
        }
        if !planted(Mutation::UnsubscribeIgnored) {
            self.remove_route(session, owner, &filter);
        }
        true
    }

    /// Lets messages find a session by a filter. Returns the fence behind which all hubs know of it.
    pub(super) fn add_route(
        &mut self,
        session: usize,
        filter: &Filter,
        subscription: Subscription,
        standing: Standing,
    ) -> u64 {
        let is_new = standing != Standing::Changed;
        self.stats.subscriptions += u64::from(is_new);
        let since = if standing == Standing::Recovered { 0 } else { self.keeper.order() };
        let mut route = Route::new(subscription.options, subscription.identifier, since);
        if filter.is_shared() {
            return self.add_shared_route(session, filter, route, is_new);
        }
        let (path, key) = (filter.path_bytes(), Target::Session(session).key());
        if let Some(old) = self.router.get(path, key) {
            route.since = old.since;
            route.is_replaying = old.is_replaying;
        }
        self.router.insert(path, key, route);
        if is_new { self.peers.need(path).fence } else { self.peers.told(path).fence }
    }

    /// No message finds a session by this filter any more.
    pub(super) fn remove_route(&mut self, session: usize, owner: u64, filter: &Filter) {
        self.stats.subscriptions = self.stats.subscriptions.saturating_sub(1);
        if !filter.is_shared() {
            let path = filter.path_bytes();
            if self.router.remove(path, Target::Session(session).key()).is_some() {
                self.peers.need_not(path);
            }
            return;
        }
        if let Some(entry) = self.registry.get_mut(session) {
            entry.shared = entry.shared.saturating_sub(1);
        }
        match self.home(filter.text().as_bytes()) {
            home if home == self.config.index => self.leave(filter, owner),
            home => self.peers.tell(home, Item::Leave(filter.clone(), owner)),
        }
    }

    /// A session of any hub joins a group whose home is here, or changes what it wants.
    pub(super) fn join(&mut self, filter: &Filter, member: Member) -> Told {
        let (share, is_new) = self.shares.join(filter, member);
        let path = filter.path_bytes();
        if is_new {
            self.router.insert(path, Target::Share(share).key(), Route::any());
            self.peers.need(path)
        } else {
            self.peers.told(path)
        }
    }

    /// A session of any hub leaves a group whose home is here.
    pub(super) fn leave(&mut self, filter: &Filter, owner: u64) {
        if let Some(share) = self.shares.leave(filter, owner) {
            let path = filter.path_bytes();
            self.router.remove(path, Target::Share(share).key());
            self.peers.need_not(path);
        }
    }

    /// Tells the homes of a session's groups whether it has a link.
    pub(super) fn tell_presence(&mut self, session: usize, is_online: bool) {
        if !self.peers.are_there() {
            return;
        }
        let Some(entry) = self.registry.get(session).filter(|entry| entry.shared > 0) else {
            return;
        };
        for filter in entry.subscriptions.keys().filter(|filter| filter.is_shared()) {
            let home = self.home(filter.text().as_bytes());
            if home != self.config.index {
                let note = Note::Presence(filter.clone(), entry.owner, is_online);
                self.peers.note(home, note);
            }
        }
    }

    fn add_shared_route(
        &mut self,
        session: usize,
        filter: &Filter,
        route: Route,
        is_new: bool,
    ) -> u64 {
        let (hub, home) = (self.config.index, self.home(filter.text().as_bytes()));
        let Some(entry) = self.registry.get_mut(session) else { return 0 };
        entry.shared += u32::from(is_new);
        let is_online = entry.link.is_some();
        let member = Member { hub, slot: session, owner: entry.owner, route, is_online };
        if home == hub {
            return self.join(filter, member).fence;
        }
        self.peers.tell(home, Item::Join(filter.clone(), member));
        self.peers.fence()
    }

    /// Sends an answer; a client that cannot take it is let go.
    fn reply(&mut self, at: usize, packet: &Packet, gate: Gate) {
        let Some(link) = self.links.write(at) else { return };
        if link.send(packet, gate).is_err() {
            let what = "the answer is larger than the client accepts";
            self.fault(at, ReasonCode::PacketTooLarge, "MQTT-3.1.2-24", what);
        }
    }
}

/// Where a subscription comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    New,
    /// Its options changed.
    Changed,
    /// A store held it, so it is older than all that this process does.
    Recovered,
}

/// A filter that holds nothing of the read buffer.
fn detached(filter: &Filter) -> Filter {
    Filter::from_text(filter.text().detached()).unwrap_or_else(|_| filter.clone())
}
