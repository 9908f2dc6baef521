//! From records back to state.

use std::sync::Arc;

use postrider_proto::{
    Fact, Message, Payload, Record, Spools, Time,
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
        let mut session = None;
        for Record { owner, fact } in records {
            if let Fact::Retained { mut message, stamp } = fact {
                adopt_spool(&mut self.spools, &mut message);
                self.keeper.take(&message, stamp, self.now);
                continue;
            }
            let (of, recorded) = session.get_or_insert_with(|| (owner, Recorded::default()));
            if *of == owner {
                recorded.take(fact);
                continue;
            }
            let mut next = Recorded::default();
            next.take(fact);
            if let Some((owner, recorded)) = session.replace((owner, next)) {
                self.restore(owner, recorded);
            }
        }
        if let Some((owner, recorded)) = session {
            self.restore(owner, recorded);
        }
        self.expire();
    }

    /// Rebuilds one session, if its home is here. A link that it had is gone with the process that held it.
    fn restore(&mut self, owner: u64, mut recorded: Recorded) {
        self.registry.reserve(owner);
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
        for mut fact in recorded.facts {
            if let Fact::Queued { message, .. } = &mut fact {
                adopt_spool(&mut self.spools, message);
            }
            entry.session.apply(&fact);
        }
        entry.will =
            recorded.will.map(|(publish, delay_s, due)| Will::recorded(publish, delay_s, due));
        for (filter, options, identifier) in recorded.subscriptions {
            let subscription = Subscription::new(options, identifier);
            if let Some(entry) = self.registry.get_mut(session) {
                entry.subscriptions.insert(filter.clone(), subscription);
            }
            self.add_route(session, &filter, subscription, true);
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

/// A large payload is this hub's from now on, so that it goes with the last message that has it.
fn adopt_spool(spools: &mut Spools, message: &mut Arc<Message>) {
    if let Payload::Spooled { id, len } = &message.payload {
        let payload = Payload::Spooled { id: spools.adopt(id, *len), len: *len };
        Arc::make_mut(message).payload = payload;
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
            // Deletes are not found in a store, what belongs to no session was taken before, and clients alone record
            // what their programs do.
            Fact::SessionGone
            | Fact::SubscriptionGone(_)
            | Fact::Arrived { .. }
            | Fact::ArrivedGone(_)
            | Fact::Own { .. }
            | Fact::OwnGone(_)
            | Fact::WillGone
            | Fact::Retained { .. }
            | Fact::RetainedGone(_) => {}
        }
    }
}
