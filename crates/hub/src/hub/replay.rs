//! Retained messages for new subscriptions, a budget at a time.

use std::sync::Arc;

use postrider_proto::{
    Delivery, Envelope, Message,
    mutation::{Mutation, planted},
    wire::{Filter, QoS},
};
use smallvec::SmallVec;

use super::Hub;
use crate::{
    cursor::Cursor,
    route::{Route, Target},
};

/// Messages looked up at once.
const STEP: usize = 64;
/// Messages of a session that may wait for the client before no further retained message is added.
const QUEUED_MAX: u32 = 1_000;

/// Why a replay stops.
enum Pause {
    /// Something must happen first that will call it again: room, an acknowledgement, a link, an open gate.
    Blocked,
    /// Others have their turn first.
    TurnOver,
    /// Nothing is left.
    Done,
}

impl Hub {
    /// Begins to send retained messages for a new subscription. Spec: v5 section 3.3.1.3 [MQTT-3.3.1-9], v3.1.1
    /// [MQTT-3.3.1-6].
    pub(super) fn begin_replay(&mut self, session: usize, cursor: Cursor) {
        let Some(entry) = self.registry.get_mut(session) else { return };
        let filter = cursor.filter.clone();
        let serial = entry.replay.begin(cursor);
        if let Some(subscription) = entry.subscriptions.get_mut(&filter) {
            subscription.cursor = serial;
        }
        self.replay(session);
        let entry = self.registry.get(session);
        // If nothing is left of it, as is usual, live messages need not look after it.
        if entry.is_some_and(|entry| entry.replay.is_pending(serial)) {
            self.set_replaying(session, &filter, true);
        }
    }

    /// Goes on with the next drain, if anything is left.
    pub(super) fn replay_later(&mut self, session: usize) {
        if let Some(entry) = self.registry.get_mut(session)
            && !entry.replay.is_empty()
            && !entry.is_replay_due
        {
            entry.is_replay_due = true;
            self.replays.push(session);
        }
    }

    /// Sends retained messages until none is left, the client must be waited for, or the turn is over.
    pub(super) fn replay(&mut self, session: usize) {
        if let Some(entry) = self.registry.get_mut(session) {
            entry.is_replay_due = false;
        }
        loop {
            match self.replay_step(session) {
                None => {}
                Some(Pause::TurnOver) => return self.replay_later(session),
                Some(Pause::Blocked | Pause::Done) => return,
            }
        }
    }

    /// Before a live message goes to a session: the retained message of its topic that is still on its way.
    pub(super) fn catch_up(&mut self, session: usize, live: &Message, delivery: &Delivery) {
        let Some(topic) = &live.head.topic else { return };
        let old = self.keeper.get(topic.as_bytes(), self.now).cloned();
        if old.is_none() && !live.head.retain {
            return;
        }
        let Some(entry) = self.registry.get_mut(session) else { return };
        if let Some(granted) = entry.replay.overtake(topic)
            && let Some(old) = old
        {
            let ids = delivery.subscription_ids.clone();
            let granted = if planted(Mutation::RetainedLowQos) { delivery.qos } else { granted };
            self.send_retained(session, &old, granted, ids);
        }
    }

    fn replay_step(&mut self, session: usize) -> Option<Pause> {
        let Some(entry) = self.registry.get(session) else { return Some(Pause::Done) };
        let Some(cursor) = entry.replay.front() else { return Some(Pause::Done) };
        let subscription = entry.subscriptions.get(&cursor.filter);
        if subscription.is_none_or(|subscription| subscription.cursor != cursor.serial) {
            // Unsubscribed, or subscribed again, meanwhile.
            self.registry.get_mut(session)?.replay.end_front();
            return None;
        }
        let is_busy = entry.session.is_congested() || entry.session.stats().queued > QUEUED_MAX;
        let durability = self.durability_of(entry.link);
        if entry.link.is_none() || is_busy || !self.opened().is_open(cursor.gate, durability) {
            return Some(Pause::Blocked);
        }
        if self.turn >= self.config.turn_deliveries {
            return Some(Pause::TurnOver);
        }
        let (qos, identifier) = (cursor.qos, cursor.identifier);
        let mut found: SmallVec<[Arc<Message>; STEP]> = SmallVec::new();
        let path = cursor.filter.path_bytes();
        self.keeper.for_matches_after(path, cursor.after(), self.now, |message| {
            found.push(Arc::clone(message));
            found.len() < STEP
        });
        let is_last = found.len() < STEP;
        for message in found {
            let topic = message.head.topic.as_ref()?.text().bytes().clone();
            if self.registry.get_mut(session)?.replay.pass(topic) {
                let ids = identifier.into_iter().collect();
                self.send_retained(session, &message, qos, ids);
            }
        }
        if is_last {
            let cursor = self.registry.get_mut(session)?.replay.end_front()?;
            self.set_replaying(session, &cursor.filter, false);
        }
        None
    }

    /// Notes in the router whether live messages must look after retained ones.
    fn set_replaying(&mut self, session: usize, filter: &Filter, is_replaying: bool) {
        let (path, key) = (filter.path_bytes(), Target::Session(session).key());
        if let Some(&route) = self.router.get(path, key)
            && route.is_replaying != is_replaying
        {
            self.router.insert(path, key, Route { is_replaying, ..route });
        }
    }

    /// Spec: v3.1.1 [MQTT-3.3.1-8]; in v5 section 3.3.1.3.
    fn send_retained(
        &mut self,
        session: usize,
        message: &Arc<Message>,
        qos: QoS,
        subscription_ids: SmallVec<[u32; 1]>,
    ) {
        let qos = qos.min(message.head.qos);
        let delivery = Delivery { qos, retain: true, subscription_ids };
        let mut envelope = Envelope::from_shared(Arc::clone(message));
        self.turn = self.turn.saturating_add(1);
        self.deliver(session, &mut envelope, delivery, None);
    }
}
