//! The end of links and of sessions.

use postrider_proto::{Durability, Fact, Link, Record, wire::ReasonCode};

use super::{
    Hub, deliver,
    receive::{Last, Parting},
};
use crate::{Event, LinkId, Output, links::Stage, registry::Entry};

impl Hub {
    /// Adds a link.
    pub(super) fn add_link(&mut self, link: Link, durability: Durability) -> LinkId {
        let is_surplus = self.links.len() >= self.config.links_max as usize;
        let id = self.links.add(link, durability);
        let at = id.slot as usize;
        if let Some(slot) = self.links.get_mut(at) {
            slot.is_surplus = is_surplus;
        }
        self.arm(at);
        id
    }

    /// Ends a link: lets go of its session, flushes and closes the stream. What it says last is in its outbox.
    pub(super) fn end_link(&mut self, at: usize, parting: Parting) {
        let Some(slot) = self.links.get_mut(at) else { return };
        let id = slot.id;
        let session = match core::mem::replace(&mut slot.stage, Stage::Over) {
            Stage::Over => return,
            Stage::Open(session) => Some(session),
            Stage::AwaitConnect | Stage::Asking(_) | Stage::Moving(..) => None,
        };
        self.links.write(at);
        self.closing.push(id);
        let entry = session.and_then(|session| self.registry.get(session));
        let client_id = entry.map(|entry| entry.client_id.clone());
        if let Some(session) = session {
            self.detach(session, parting.will);
        }
        let end = parting.end;
        self.outputs.push_back(Output::Event(Event::Disconnected { link: id, client_id, end }));
    }

    /// Forgets a link: the driver has closed its stream.
    pub(super) fn forget_link(&mut self, at: usize) {
        self.links.remove(at);
    }

    /// Ends all links; sessions stay as they are.
    pub(super) fn end_all_links(&mut self) {
        self.is_shut = true;
        for id in self.links.ids() {
            let reason = ReasonCode::ServerShuttingDown;
            let at = id.slot as usize;
            if self.session_of(at).is_some() {
                self.say_goodbye(at, reason);
            }
            self.end_link(at, Parting { will: Last::Pending, ..Parting::ours(reason) });
        }
    }

    /// A session lost its link. Spec: v5 [MQTT-3.1.2-8] [MQTT-3.1.2-23] [MQTT-4.1.0-2], v3.1.1 [MQTT-3.1.2-4]
    /// [MQTT-3.1.2-6] [MQTT-3.1.2-8].
    fn detach(&mut self, session: usize, last: Last) {
        let now = self.now;
        let Some(entry) = self.registry.get_mut(session) else { return };
        entry.link = None;
        entry.session.detach();
        if last == Last::Forgotten && entry.will.take().is_some() && entry.is_recorded {
            let owner = entry.owner;
            self.journal.write(Record { owner, fact: Fact::WillGone });
        }
        self.release(session);
        self.tell_presence(session, false);
        let Some(entry) = self.registry.get_mut(session) else { return };
        // What is recorded of it ends with the next start, behind its will.
        let is_put_off = last == Last::Pending && entry.is_recorded && entry.will.is_some();
        if entry.expiry_s == 0 && !is_put_off {
            if last == Last::Pending {
                entry.will = None;
            }
            self.end_session(session);
            return;
        }
        if entry.is_recorded {
            let owner = entry.owner;
            let fact = session_fact(entry, Some(now));
            self.journal.write(Record { owner, fact });
        }
        self.registry.set_offline(session, now);
        self.set_will_due(session, last);
    }

    /// Ends a session without a link, its will first. Returns the record to wait for.
    pub(super) fn end_session(&mut self, session: usize) -> u64 {
        self.publish_will(session);
        self.release(session);
        let Some(entry) = self.registry.get_mut(session) else { return 0 };
        debug_assert!(entry.link.is_none(), "a session does not end while its link is open");
        let (owner, is_recorded) = (entry.owner, entry.is_recorded);
        let subscriptions = core::mem::take(&mut entry.subscriptions);
        for (filter, _) in subscriptions {
            self.remove_route(session, owner, &filter);
        }
        if let Some(entry) = self.registry.remove(session) {
            self.stats.dropped += deliver::dropped(&entry.session.stats());
        }
        if !is_recorded {
            return 0;
        }
        self.session_gone = self.journal.write(Record { owner, fact: Fact::SessionGone });
        self.session_gone
    }

    /// Ends the sessions that would expire first while there are too many without a link.
    pub(super) fn bound_offline(&mut self) {
        while self.registry.offline_len() > self.config.sessions_offline_max as usize {
            let Some((_, session)) = self.registry.first_offline() else { return };
            self.end_session(session);
        }
    }
}

/// What is recorded of a session itself.
pub(super) fn session_fact(entry: &Entry, detached: Option<postrider_proto::Time>) -> Fact {
    Fact::Session { client_id: entry.client_id.clone(), expiry_s: entry.expiry_s, detached }
}
