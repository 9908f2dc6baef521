//! What is too much for memory, of queues and of retained messages: what was asked of the store, and what came back.

use std::collections::BTreeMap;

use postrider_proto::{Fact, PageRequest, PageRows, Record, Stamp, wire::Topic};

use super::{Hub, park::Parked};
use crate::{Event, Output, cursor::Row};

/// Pages on their way.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// The ticket given last.
    ticket: u64,
    /// Who waits, by ticket.
    waiting: BTreeMap<u64, Waiter>,
    /// Retained messages to ask for with this drain, by their tickets.
    asking: Vec<(u64, PageRequest)>,
}

/// Who waits for a page. Sessions by slot and owner number.
#[derive(Debug)]
enum Waiter {
    /// A session, for a part of its queue; one page at a time.
    Queue(usize, u64),
    /// A session, for the retained message of a topic.
    Retained(usize, u64, Topic),
    /// A publish, for the retained message with this stamp.
    Publish(Parked, Stamp),
}

impl Pages {
    /// Whether something is to be asked for.
    pub(super) fn is_asking(&self) -> bool {
        !self.asking.is_empty()
    }

    /// Asks for the row of a retained message, with the next drain.
    fn ask(&mut self, topic: Topic, waiter: Waiter) -> u64 {
        let prefix = Record { owner: 0, fact: Fact::RetainedGone(topic) }.key();
        let ticket = self.expect(waiter);
        self.asking.push((ticket, PageRequest { prefix, after: Vec::new(), bytes_max: 1 }));
        ticket
    }

    fn expect(&mut self, waiter: Waiter) -> u64 {
        self.ticket += 1;
        self.waiting.insert(self.ticket, waiter);
        self.ticket
    }
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
            let ticket = self.pages.expect(Waiter::Queue(slot, entry.owner));
            self.outputs.push_back(Output::Page { ticket, request });
        }
        for (ticket, request) in self.pages.asking.drain(..) {
            self.outputs.push_back(Output::Page { ticket, request });
        }
    }

    /// Asks, with the next drain, for the retained message of a topic, which is in the store only. One row for each,
    /// since rows are not in the order in which a subscription wants them.
    pub(super) fn ask_retained(&mut self, slot: usize, topic: Topic, wanted: Stamp) {
        let Some(entry) = self.registry.get_mut(slot) else { return };
        let name = topic.text().bytes().clone();
        let waiter = Waiter::Retained(slot, entry.owner, topic.clone());
        let ticket = self.pages.ask(topic, waiter);
        entry.replay.ask(name, wanted, ticket);
    }

    /// As [`Hub::ask_retained`], for a publish that it must precede.
    pub(super) fn ask_before(&mut self, parked: Parked, topic: Topic, wanted: Stamp) {
        self.pages.ask(topic, Waiter::Publish(parked, wanted));
    }

    /// A page came. Harmless if its session has ended meanwhile.
    pub(super) fn take_page(&mut self, ticket: u64, page: PageRows) {
        match self.pages.waiting.remove(&ticket) {
            Some(Waiter::Queue(slot, owner)) => self.take_queue(slot, owner, page),
            Some(Waiter::Retained(slot, owner, topic)) => {
                let row = read(page);
                if let Some(entry) = self.registry.owned(slot, owner) {
                    entry.replay.lend(topic.as_bytes(), ticket, row);
                    self.replay_later(slot);
                }
            }
            Some(Waiter::Publish(parked, wanted)) => self.unpark(parked, wanted, read(page)),
            None => {}
        }
    }

    fn take_queue(&mut self, slot: usize, owner: u64, page: PageRows) {
        let now = self.now;
        let Some(entry) = self.registry.owned(slot, owner) else { return };
        if let Err(error) = entry.session.handle_page(page, &mut self.journal, now) {
            let client_id = entry.client_id.clone();
            self.outputs.push_back(Output::Event(Event::Unreadable { client_id, error }));
        }
        self.pump_later(slot);
    }
}

/// Reads the row of a retained message.
fn read(page: PageRows) -> Row {
    let Some((key, value)) = page.into_rows().next() else { return Row::Nothing };
    match Record::decode(&key, &value) {
        Ok(Record { fact: Fact::Retained { message, stamp }, .. }) => Row::Message(stamp, message),
        Ok(_) => Row::Nothing,
        Err(error) => Row::Unreadable(error),
    }
}
