//! Queues that are too long for memory: what was asked of the store, and what came back.

use std::collections::BTreeMap;

use postrider_proto::PageRows;

use super::Hub;
use crate::{Event, Output};

/// Pages on their way, at most one for each session.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// The ticket given last.
    ticket: u64,
    /// Slot and owner number of the session that waits, by ticket.
    waiting: BTreeMap<u64, (usize, u64)>,
}

impl Hub {
    /// Looks with the next drain whether a session wants a part of its queue back.
    pub(super) fn page_later(&mut self, slot: usize) {
        if let Some(entry) = self.registry.get_mut(slot)
            && !entry.is_paging_due
            && entry.session.is_page_due()
        {
            entry.is_paging_due = true;
            self.paging.push(slot);
        }
    }

    /// Asks for pages. Behind all records, since those are what it reads.
    pub(super) fn ask_pages(&mut self) {
        for slot in core::mem::take(&mut self.paging) {
            let Some(entry) = self.registry.get_mut(slot) else { continue };
            entry.is_paging_due = false;
            let Some(request) = entry.session.poll_page() else { continue };
            self.pages.ticket += 1;
            let ticket = self.pages.ticket;
            self.pages.waiting.insert(ticket, (slot, entry.owner));
            self.outputs.push_back(Output::Page { ticket, request });
        }
    }

    /// A page came. Harmless if its session has ended meanwhile.
    pub(super) fn take_page(&mut self, ticket: u64, page: PageRows) {
        let now = self.now;
        let Some((slot, owner)) = self.pages.waiting.remove(&ticket) else { return };
        let Some(entry) = self.registry.owned(slot, owner) else { return };
        if let Err(error) = entry.session.handle_page(page, &mut self.journal, now) {
            let client_id = entry.client_id.clone();
            self.outputs.push_back(Output::Event(Event::Unreadable { client_id, error }));
        }
        self.pump_later(slot);
    }
}
