//! From records back to state.

use std::collections::BTreeMap;

use postrider_proto::{
    Fact, Record, Time,
    mutation::{Mutation, planted},
    wire::{ClientId, Filter, Publish, SubscribeOptions},
};

use super::{Hub, end::session_fact, time::Timer};
use crate::{registry::Subscription, will::Will};

/// What was recorded under one owner number.
#[derive(Default)]
struct Recorded {
    session: Option<(ClientId, u32, Option<Time>)>,
    subscriptions: Vec<(Filter, SubscribeOptions, Option<u32>)>,
    will: Option<(Publish, u32, Option<Time>)>,
    /// Messages, flights and received ids.
    facts: Vec<Fact>,
}

impl Hub {
    pub(super) fn take_records(&mut self, records: impl IntoIterator<Item = Record>) {
        let mut owners: BTreeMap<u64, Recorded> = BTreeMap::new();
        for Record { owner, fact } in records {
            if let Fact::Retained { message, stamp } = fact {
                self.keeper.take(&message, stamp, self.now);
            } else {
                owners.entry(owner).or_default().take(fact);
            }
        }
        for (owner, recorded) in owners {
            if !planted(Mutation::OwnerReused) {
                self.registry.reserve(owner);
            }
            self.restore(owner, recorded);
        }
        self.expire();
    }

    /// Rebuilds one session, if its home is here. A link that it had is gone with the process that held it.
    fn restore(&mut self, owner: u64, mut recorded: Recorded) {
        let Some((client_id, expiry_s, detached)) = recorded.session.take() else { return };
        if self.home(client_id.text().as_bytes()) != self.config.index
            || self.registry.find(&client_id).is_some()
        {
            return;
        }
        let now = self.now;
        let session = self.registry.create_owned(client_id, owner, self.config.session);
        let Some(entry) = self.registry.get_mut(session) else { return };
        entry.expiry_s = expiry_s;
        entry.is_recorded = true;
        entry.session.apply(&session_fact(entry, detached));
        for fact in &recorded.facts {
            entry.session.apply(fact);
        }
        entry.will =
            recorded.will.map(|(publish, delay_s, due)| Will::recorded(publish, delay_s, due));
        for (filter, options, identifier) in recorded.subscriptions {
            let subscription = Subscription::new(options, identifier);
            if let Some(entry) = self.registry.get_mut(session) {
                entry.subscriptions.insert(filter.clone(), subscription);
            }
            if !planted(Mutation::SubscriptionNotRecovered) {
                self.add_route(session, &filter, subscription, true);
            }
        }
        if expiry_s == 0 {
            self.end_session(session);
            return;
        }
        self.registry.set_offline(session, detached.unwrap_or(now));
        self.restore_absence(session, detached);
    }

    /// What the end of the link would have recorded, had the process lived to see it.
    fn restore_absence(&mut self, session: usize, detached: Option<Time>) {
        let now = self.now;
        let Some(entry) = self.registry.get_mut(session) else { return };
        let owner = entry.owner;
        if detached.is_none() {
            let fact = session_fact(entry, Some(now));
            self.journal.write(Record { owner, fact });
        }
        let Some(entry) = self.registry.get_mut(session) else { return };
        let expiry_s = entry.expiry_s;
        let Some(will) = &mut entry.will else { return };
        let due = will.due.unwrap_or_else(|| will.due_at(expiry_s, detached.unwrap_or(now)));
        if will.due.replace(due).is_none() {
            let fact = will.fact();
            self.journal.write(Record { owner, fact });
        }
        self.wheel.set(due, Timer::Will { session, owner });
    }
}

impl Recorded {
    fn take(&mut self, fact: Fact) {
        match fact {
            Fact::Session { client_id, expiry_s, detached } => {
                self.session = Some((client_id, expiry_s, detached));
            }
            Fact::Subscription { filter, options, identifier } => {
                self.subscriptions.push((filter, options, identifier));
            }
            Fact::Will { publish, delay_s, due } => self.will = Some((publish, delay_s, due)),
            fact @ (Fact::Queued { .. }
            | Fact::Flight { .. }
            | Fact::Requeued { .. }
            | Fact::Finished { .. }
            | Fact::Numbers { .. }
            | Fact::Received(_)
            | Fact::Released(_)) => self.facts.push(fact),
            // Deletes are not found in a store, and what belongs to no session was taken before.
            Fact::SessionGone
            | Fact::SubscriptionGone(_)
            | Fact::WillGone
            | Fact::Retained { .. }
            | Fact::RetainedGone(_) => {}
        }
    }
}
