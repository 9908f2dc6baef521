//! Large payloads that the store does not give back.

use postrider_proto::{Fact, Record, RecordError, Time};

use super::Hub;
use crate::{Event, LinkId, Output};

impl Hub {
    /// A spool that [`Hub::chunks`] of this link names is damaged. The link ends, since half a PUBLISH cannot be taken
    /// back; its session loses the message, and if it is retained, its topic does too. Other sessions with it find out
    /// for themselves.
    pub fn handle_spool_damaged(&mut self, link: LinkId, spool: u64, now: Time) {
        self.advance(now);
        let session = self.links.find(link).and_then(|at| self.session_of(at));
        let owned = session.and_then(|slot| Some((slot, self.registry.get(slot)?.owner)));
        self.handle_closed(link, now);
        if let Some((slot, owner)) = owned
            && let Some(entry) = self.registry.owned(slot, owner)
        {
            if entry.session.lose_spool(spool, &mut self.journal) == 0 {
                // At QoS 0 it went with the link.
                self.stats.dropped += 1;
            }
            let client_id = entry.client_id.clone();
            let error = RecordError { what: "the payload of a large message is damaged" };
            self.outputs.push_back(Output::Event(Event::Unreadable { client_id, error }));
        }
        for topic in self.keeper.forget_spool(spool) {
            if self.home(topic.as_bytes()) == self.config.index {
                self.journal.write(Record { owner: 0, fact: Fact::RetainedGone(topic) });
            }
        }
    }
}
