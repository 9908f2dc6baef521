//! One message to one session, and what a slow reader means for those who publish to it.

use postrider_proto::{Delivery, Durability, Envelope, SessionStats};

use super::{Hub, time::Timer};
use crate::{
    links::{Opened, Stage},
    peer::Note,
    stall::{Publisher, Stall},
};

/// Messages a session has lost.
pub(super) fn dropped(stats: &SessionStats) -> u64 {
    stats.dropped_full
        + stats.dropped_expired
        + stats.dropped_too_large
        + stats.dropped_not_offered
        + stats.dropped_unreadable
}

impl Hub {
    /// Gives a session a message: to its link, or into its queue. Returns the record that makes it durable.
    ///
    /// A full queue is the session's loss alone: the publisher does not notice.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        slot: usize,
        envelope: &mut Envelope,
        delivery: Delivery,
        publisher: Option<Publisher>,
    ) -> u64 {
        let Some(entry) = self.registry.get_mut(slot) else { return 0 };
        let link = entry.link.and_then(|at| self.links.write(at));
        let sent = entry.session.send(envelope, delivery, link, &mut self.journal, self.now);
        self.stats.publishes_sent += u64::from(sent.is_ok());
        let is_page_due = entry.session.is_page_due();
        if let Some(publisher) = publisher
            && entry.session.is_congested()
        {
            self.stall(slot, publisher);
        }
        if is_page_due {
            self.page_later(slot);
        }
        sent.map_or(0, |sent| sent.seq)
    }

    /// Notes that a session may be able to send more.
    pub(super) fn pump_later(&mut self, slot: usize) {
        if let Some(entry) = self.registry.get_mut(slot)
            && !entry.is_pump_due
        {
            entry.is_pump_due = true;
            self.pumps.push(slot);
        }
    }

    /// Lets a session send what it may.
    pub(super) fn pump(&mut self, slot: usize) {
        let Some(entry) = self.registry.get_mut(slot) else { return };
        entry.is_pump_due = false;
        if let Some(link) = entry.link.and_then(|at| self.links.write(at)) {
            entry.session.pump(link, &mut self.journal, self.now);
        }
        let has_caught_up =
            !entry.session.is_congested() || Stall::is_short(&entry.session.stats());
        if entry.stall.is_some() && has_caught_up {
            self.release(slot);
        }
        self.page_later(slot);
        self.replay_later(slot);
    }

    /// What is stored, and what the peers have answered.
    pub(super) fn opened(&self) -> Opened {
        Opened { progress: self.journal.progress(), fence: self.peers.fenced() }
    }

    /// What a link relies on; that of none relies on nothing.
    pub(super) fn durability_of(&self, at: Option<usize>) -> Durability {
        let slot = at.and_then(|at| self.links.get(at));
        slot.map_or(Durability::Memory, |slot| slot.durability)
    }

    /// Pauses a publisher while the queue of a slow subscriber is long, for a limited time.
    fn stall(&mut self, slot: usize, publisher: Publisher) {
        let own = self.config.index;
        let Some(entry) = self.registry.get_mut(slot) else { return };
        if !Stall::is_long(&entry.session.stats()) {
            return;
        }
        let owner = entry.owner;
        let until = self.now.plus_ms(self.config.stall_ms);
        let stall = entry.stall.get_or_insert_with(|| {
            self.wheel.set(until, Timer::Stall { session: slot, owner });
            Box::new(Stall::new(until))
        });
        if stall.is_spent {
            return;
        }
        if publisher.hub != own {
            if !stall.publishers.contains(&publisher) {
                stall.publishers.push(publisher);
                self.peers.note(publisher.hub, Note::Pause(publisher.link));
            }
            return;
        }
        let Some(at) = self.links.find(publisher.link) else { return };
        let Some(link) = self.links.get_mut(at) else { return };
        // A client that does not read what it publishes itself would never be read on.
        let is_own = matches!(link.stage, Stage::Open(session) if session == slot);
        if !is_own && !link.is_stalled {
            link.is_stalled = true;
            stall.publishers.push(publisher);
            self.hold(at);
        }
    }

    /// Lets the publishers go on that wait for a session, and forgets that they did.
    pub(super) fn release(&mut self, slot: usize) {
        let Some(entry) = self.registry.get_mut(slot) else { return };
        if let Some(stall) = entry.stall.take() {
            self.resume_publishers(stall.publishers);
        }
    }

    /// The time for which publishers wait is over; they do not wait again until the session has caught up.
    pub(super) fn end_stall(&mut self, slot: usize, owner: u64) {
        let now = self.now;
        let Some(entry) = self.registry.owned(slot, owner) else { return };
        let Some(stall) = &mut entry.stall else { return };
        if stall.until <= now {
            stall.is_spent = true;
            let publishers = core::mem::take(&mut stall.publishers);
            self.resume_publishers(publishers);
        }
    }

    fn resume_publishers(&mut self, publishers: Vec<Publisher>) {
        for publisher in publishers {
            if publisher.hub == self.config.index {
                self.resume_publisher(publisher.link);
            } else {
                self.peers.note(publisher.hub, Note::Resume(publisher.link));
            }
        }
    }

    /// Lets a link go on that waited for a slow subscriber, here or on another hub.
    pub(super) fn resume_publisher(&mut self, link: crate::LinkId) {
        let Some(at) = self.links.find(link) else { return };
        let Some(slot) = self.links.get_mut(at) else { return };
        if core::mem::take(&mut slot.is_stalled) {
            self.go_on(at);
        }
    }

    /// Pauses a link for a slow subscriber on another hub.
    pub(super) fn pause_publisher(&mut self, link: crate::LinkId) {
        let Some(at) = self.links.find(link) else { return };
        let Some(slot) = self.links.get_mut(at) else { return };
        if !slot.is_stalled && matches!(slot.stage, Stage::Open(_)) {
            slot.is_stalled = true;
            self.hold(at);
        }
    }
}
