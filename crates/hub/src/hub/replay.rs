//! Retained messages for new subscriptions, a budget at a time.

use std::sync::Arc;

use postrider_proto::{
    Delivery, Envelope, Message,
    wire::{Bytes, QoS},
};
use smallvec::SmallVec;

use super::Hub;
use crate::cursor::Cursor;

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
        entry.cursors.retain(|other| other.filter != cursor.filter);
        entry.cursors.push_back(cursor);
        self.replay(session);
    }

    /// Goes on with the next drain, if anything is left.
    pub(super) fn replay_later(&mut self, session: usize) {
        if let Some(entry) = self.registry.get_mut(session)
            && !entry.cursors.is_empty()
            && !entry.is_replay_due
        {
            entry.is_replay_due = true;
            self.cursors.push(session);
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
    pub(super) fn catch_up(&mut self, session: usize, live: &Message) {
        let Some(topic) = &live.head.topic else { return };
        let Self { registry, keeper, .. } = self;
        let Some(entry) = registry.get_mut(session) else { return };
        let old = keeper.get(topic.as_bytes(), self.now);
        if old.is_none() && !live.head.retain {
            return;
        }
        let mut late: SmallVec<[(QoS, Option<u32>); 1]> = SmallVec::new();
        for cursor in &mut entry.cursors {
            if cursor.is_ahead(topic.as_bytes()) && cursor.filter.matches(topic) {
                cursor.skip(Bytes::copy_from_slice(topic.as_bytes()));
                late.push((cursor.qos, cursor.identifier));
            }
        }
        if let Some(old) = old.cloned() {
            for (qos, identifier) in late {
                self.send_retained(session, &old, qos, identifier);
            }
        }
    }

    fn replay_step(&mut self, session: usize) -> Option<Pause> {
        let Some(entry) = self.registry.get_mut(session) else { return Some(Pause::Done) };
        let is_busy = entry.session.is_congested() || entry.session.stats().queued > QUEUED_MAX;
        let Some(cursor) = entry.cursors.front() else { return Some(Pause::Done) };
        let (qos, identifier, gate) = (cursor.qos, cursor.identifier, cursor.gate);
        if entry.link.is_none() || is_busy || !self.is_open(gate) {
            return Some(Pause::Blocked);
        }
        if self.turn >= self.config.turn_deliveries {
            return Some(Pause::TurnOver);
        }
        let mut found: SmallVec<[Arc<Message>; STEP]> = SmallVec::new();
        let cursor = self.registry.get(session)?.cursors.front()?;
        let path = cursor.filter.path_bytes();
        self.keeper.for_matches_after(path, cursor.after(), self.now, |message| {
            found.push(Arc::clone(message));
            found.len() < STEP
        });
        let is_last = found.len() < STEP;
        for message in found {
            let topic = message.head.topic.as_ref()?.text().bytes().clone();
            let cursor = self.registry.get_mut(session)?.cursors.front_mut()?;
            if cursor.pass(topic) {
                self.send_retained(session, &message, qos, identifier);
            }
        }
        if is_last {
            self.registry.get_mut(session)?.cursors.pop_front();
        }
        None
    }

    /// Spec: v3.1.1 [MQTT-3.3.1-8]; in v5 section 3.3.1.3.
    fn send_retained(
        &mut self,
        session: usize,
        message: &Arc<Message>,
        qos: QoS,
        identifier: Option<u32>,
    ) {
        let delivery = Delivery {
            qos: qos.min(message.head.qos),
            retain: true,
            subscription_ids: identifier.into_iter().collect(),
        };
        let mut envelope = Envelope::from_shared(Arc::clone(message));
        self.turn = self.turn.saturating_add(1);
        self.hand_over(session, &mut envelope, delivery, None);
    }
}
