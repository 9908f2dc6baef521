//! A publish that waits for the older, retained message of its topic, which must reach a subscriber first and is in the
//! store only.
//!
//! A subscriber whose retained messages are still on their way gets that of a topic out of turn before a live message of
//! the topic. If the store has to be asked for it, the publish waits: that of a client stops its link, that of a peer
//! stops what the peers say. A will does not wait, since its client is not there to be stopped: see [`Hub::catch_up`].

use std::{collections::VecDeque, sync::Arc};

use postrider_proto::{Envelope, Message, Stamp, wire::Topic};

use super::{Hub, peers::Batch, publish::Origin};
use crate::{LinkId, cursor::Row, keep::Found, peer::Parcel};

/// Who waits with a publish.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parked {
    Link(LinkId),
    Peer,
}

/// What the peers say, while it waits.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    /// The items of a parcel; the first one waits.
    batch: Option<Batch>,
    /// Parcels behind it, with their senders.
    parcels: VecDeque<(u16, Parcel)>,
}

/// What was read back for a publish; while it is handled.
#[derive(Debug)]
pub(super) struct Lent {
    stamp: Stamp,
    /// `None` if the store had it not.
    message: Option<Arc<Message>>,
}

impl Hub {
    /// If a publish must wait: the topic and stamp of the message that goes first.
    fn wanted_before(&mut self, message: &Message, origin: &Origin) -> Option<(Topic, Stamp)> {
        let topic = message.head.topic.as_ref()?;
        let Found::Stored(stamp, _) = self.keeper.get(topic.as_bytes(), self.now)? else {
            return None;
        };
        if self.lent.as_ref().is_some_and(|lent| lent.stamp == stamp) {
            return None;
        }
        self.find_matches(message, origin);
        let mut hits = self.hits.iter().filter(|hit| hit.is_replaying);
        let is_wanted = hits.any(|hit| {
            let entry = self.registry.get(hit.slot);
            let is_first = entry.is_some_and(|entry| entry.replay.is_overtaken_by(topic));
            is_first && self.loan_of(hit.slot, topic, stamp).is_none()
        });
        is_wanted.then(|| (topic.detached(), stamp))
    }

    /// Whether a publish of a client must wait, and its link with it.
    pub(super) fn park(&mut self, at: usize, message: &Message, origin: &Origin) -> bool {
        let Some((topic, stamp)) = self.wanted_before(message, origin) else { return false };
        let Some(id) = self.links.get(at).map(|slot| slot.id) else { return false };
        self.ask_before(Parked::Link(id), topic, stamp);
        true
    }

    /// As [`Hub::park`], for a publish of a peer.
    pub(super) fn park_peer(&mut self, message: &Message, origin: &Origin) -> bool {
        let Some((topic, stamp)) = self.wanted_before(message, origin) else { return false };
        self.ask_before(Parked::Peer, topic, stamp);
        true
    }

    /// The retained message with this stamp, if it was read back.
    pub(super) fn read_back(
        &self,
        session: usize,
        topic: &Topic,
        stamp: Stamp,
    ) -> Option<Arc<Message>> {
        let lent = self.lent.as_ref().filter(|lent| lent.stamp == stamp);
        let lent = lent.and_then(|lent| lent.message.clone());
        lent.or_else(|| self.loan_of(session, topic, stamp))
    }

    /// What was read back for the replay of a session.
    fn loan_of(&self, session: usize, topic: &Topic, stamp: Stamp) -> Option<Arc<Message>> {
        let loan = self.registry.get(session)?.replay.loan(topic.as_bytes())?;
        match &loan.row {
            Row::Message(found, message) if *found == stamp => Some(Arc::clone(message)),
            Row::Message(..) | Row::Asked(_) | Row::Nothing | Row::Unreadable(_) => None,
        }
    }

    /// The page came: the publish goes on. If the topic has another message by now, it may wait again.
    pub(super) fn unpark(&mut self, parked: Parked, wanted: Stamp, row: Row) {
        let message = match row {
            Row::Message(found, message) if found == wanted => Some(message),
            Row::Message(..) | Row::Asked(_) | Row::Nothing | Row::Unreadable(_) => None,
        };
        self.lent = Some(Lent { stamp: wanted, message });
        match parked {
            Parked::Link(id) => self.unpark_link(id),
            Parked::Peer => {
                if let Some(batch) = self.stuck.batch.take() {
                    self.handle_items(batch);
                }
            }
        }
        self.lent = None;
        while self.stuck.batch.is_none()
            && let Some((from, parcel)) = self.stuck.parcels.pop_front()
        {
            self.handle_parcel(from, parcel);
        }
    }

    fn unpark_link(&mut self, id: LinkId) {
        let Some(at) = self.links.find(id) else { return };
        let parked = self.links.get_mut(at).and_then(|slot| slot.parked.take());
        let Some((packet_id, message)) = parked else { return };
        self.turn = 0;
        self.publish_from(at, packet_id, None, Envelope::from_shared(message));
        self.go_on(at);
    }
}

impl Stuck {
    /// What is left of a parcel waits.
    pub(super) fn stop(&mut self, batch: Batch) {
        debug_assert!(self.batch.is_none(), "nothing is handled behind what waits");
        self.batch = Some(batch);
    }

    /// Takes a parcel that must wait behind another one; gives it back if there is none.
    pub(super) fn put_behind(&mut self, from: u16, parcel: Parcel) -> Option<Parcel> {
        if self.batch.is_none() {
            return Some(parcel);
        }
        self.parcels.push_back((from, parcel));
        None
    }
}
