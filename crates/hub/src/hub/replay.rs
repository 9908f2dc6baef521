//! Retained messages for new subscriptions, a budget at a time.

use std::sync::Arc;

use postrider_proto::{
    Delivery, Envelope, Message, RecordError, Stamp,
    mutation::{Mutation, planted},
    wire::{Bytes, Filter, QoS, Text, Topic},
};
use smallvec::SmallVec;

use super::{Hub, time::Timer};
use crate::{
    Event, Output,
    cursor::{Cursor, Loan, Row},
    keep::Found,
    route::{Route, Target},
};

/// Messages looked up at once.
const STEP: usize = 64;
/// Messages of a session that may wait for the client before no further retained message is added.
const QUEUED_MAX: u32 = 1_000;
/// Bytes read back from the store at once for a session, or one message.
const READ_BYTES_MAX: u64 = 64 * 1024;
/// Milliseconds until the store is asked again for a message that another hub has not handed to it yet.
const RETRY_MS: u64 = 10;
/// How often it is asked; after about five seconds the message counts as lost.
const TRIES_MAX: u32 = 500;

/// Why a replay stops.
enum Pause {
    /// Something must happen first that will call it again: room, an acknowledgement, a link, an open gate.
    Blocked,
    /// Others have their turn first.
    TurnOver,
    /// Nothing is left.
    Done,
}

/// A topic that matches, and where its message is.
#[derive(Clone, Debug)]
struct Next {
    topic: Bytes,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Resident(Arc<Message>),
    /// In the store, with this stamp; it counts for so many bytes.
    Stored(Stamp, u64),
}

/// What a session has of a message that is in the store only.
enum Borrowed {
    /// It, or nothing if the message cannot or need not be sent.
    There(Option<Arc<Message>>),
    /// The page is on its way, or it is too early to ask again.
    Awaited,
    /// It was not asked for.
    Unknown,
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
    ///
    /// One that is in the store only was read back before ([`Hub::park`]). If it was not, which happens with a will, or
    /// if the store lacks it, a message that replaces it stands for it; behind any other message it comes in its turn.
    pub(super) fn catch_up(&mut self, session: usize, live: &Message, delivery: &Delivery) {
        let Some(topic) = &live.head.topic else { return };
        let old = match self.keeper.get(topic.as_bytes(), self.now).map(Place::of) {
            None => None,
            Some(Place::Resident(old)) => Some(old),
            Some(Place::Stored(stamp, _)) => match self.read_back(session, topic, stamp) {
                Some(old) => Some(old),
                None if live.head.retain => None,
                None => return,
            },
        };
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
        let found = self.next_matches(cursor);
        let is_last = found.len() < STEP;
        for (at, next) in found.iter().enumerate() {
            let entry = self.registry.get(session)?;
            let is_due = entry.replay.is_due(&next.topic);
            if is_due && !entry.session.has_room_for(next.bytes()) {
                return Some(Pause::Blocked);
            }
            let message = match &next.place {
                Place::Resident(message) => Some(Arc::clone(message)),
                Place::Stored(..) if !is_due => None,
                Place::Stored(stamp, _) => match self.borrow(session, &next.topic, *stamp) {
                    Borrowed::There(message) => message,
                    Borrowed::Awaited => return Some(Pause::Blocked),
                    Borrowed::Unknown => {
                        self.ask_ahead(session, found.get(at..).unwrap_or_default());
                        return Some(Pause::Blocked);
                    }
                },
            };
            if self.registry.get_mut(session)?.replay.pass(next.topic.clone())
                && let Some(message) = message
            {
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

    /// The next topics that a cursor would send.
    fn next_matches(&self, cursor: &Cursor) -> SmallVec<[Next; STEP]> {
        let mut found = SmallVec::new();
        let path = cursor.filter.path_bytes();
        self.keeper.for_matches_after(path, cursor.after(), self.now, |topic, place| {
            let topic = match place {
                Found::Resident(message) => message.head.topic.as_ref().map(Topic::text).cloned(),
                Found::Stored(..) => None,
            }
            .map_or_else(|| Bytes::copy_from_slice(topic), |text: Text| text.bytes().clone());
            found.push(Next { topic, place: Place::of(place) });
            found.len() < STEP
        });
        found
    }

    /// What was read back for the message of a topic that has this stamp.
    fn borrow(&mut self, session: usize, topic: &[u8], stamp: Stamp) -> Borrowed {
        let is_home = self.home(topic) == self.config.index;
        let Some(entry) = self.registry.get_mut(session) else { return Borrowed::Awaited };
        if entry.replay.retry_at.is_some_and(|at| at > self.now) {
            return Borrowed::Awaited;
        }
        let Some(Loan { wanted, row }) = entry.replay.loan(topic).cloned() else {
            return Borrowed::Unknown;
        };
        let what = match row {
            Row::Asked(_) => return Borrowed::Awaited,
            Row::Message(found, message) if found == stamp => {
                return Borrowed::There(Some(message));
            }
            // Another hub has a newer one. It is on its way here, and to all who are subscribed.
            Row::Message(found, _) if found > stamp => return Borrowed::There(None),
            // It was replaced since it was asked for.
            _ if wanted != stamp => return Borrowed::Unknown,
            Row::Unreadable(error) => error,
            Row::Message(..) | Row::Nothing if is_home || entry.replay.tries >= TRIES_MAX => {
                RecordError { what: "a retained message is missing" }
            }
            Row::Message(..) | Row::Nothing => {
                entry.replay.try_again(topic, self.now.plus_ms(RETRY_MS));
                let owner = entry.owner;
                self.wheel.set(self.now.plus_ms(RETRY_MS), Timer::Replay { session, owner });
                return Borrowed::Awaited;
            }
        };
        self.stats.dropped += 1;
        let client_id = entry.client_id.clone();
        self.outputs.push_back(Output::Event(Event::Unreadable { client_id, error: what }));
        Borrowed::There(None)
    }

    /// Asks for the first of these messages, and for more that are in the store too, up to a number of bytes.
    fn ask_ahead(&mut self, session: usize, found: &[Next]) {
        let mut bytes = 0_u64;
        for Next { topic, place } in found {
            let Place::Stored(stamp, cost) = *place else { continue };
            let Some(entry) = self.registry.get(session) else { return };
            let is_asked = entry.replay.loan(topic).is_some_and(|loan| loan.wanted == stamp);
            if is_asked || !entry.replay.is_due(topic) {
                continue;
            }
            if bytes > 0 && bytes.saturating_add(cost) > READ_BYTES_MAX {
                return;
            }
            bytes = bytes.saturating_add(cost);
            let Ok(topic) = Topic::from_bytes(topic.clone()) else { continue };
            self.ask_retained(session, topic, stamp);
        }
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

impl Place {
    fn of(found: Found<'_>) -> Self {
        match found {
            Found::Resident(message) => Self::Resident(Arc::clone(message)),
            Found::Stored(stamp, bytes) => Self::Stored(stamp, bytes),
        }
    }
}

impl Next {
    /// What the message counts for in a queue.
    fn bytes(&self) -> u64 {
        match &self.place {
            Place::Resident(message) => message.cost_bytes(),
            Place::Stored(_, bytes) => *bytes,
        }
    }
}
