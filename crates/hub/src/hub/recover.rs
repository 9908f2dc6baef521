//! From records back to state.

use postrider_proto::{
    Fact, Payload, Record, Session, SessionConfig, SpoolId, Time,
    mutation::{Mutation, planted},
    wire::{ClientId, Filter, Publish, SubscribeOptions},
};

use super::{Hub, end::session_fact, subscribe::Standing, time::Timer};
use crate::{registry::Subscription, will::Will};

/// What was recorded under one owner number.
struct Recorded {
    owner: u64,
    /// Messages, flights and received ids. Its client is known last, since keys have an order.
    state: Session,
    session: Option<(ClientId, u32, Option<Time>)>,
    subscriptions: Vec<(Filter, SubscribeOptions, Option<u32>)>,
    will: Option<(Publish, u32, Option<Time>)>,
    /// Large payloads that messages name, also one whose message is over but for PUBCOMP.
    spools: Vec<(SpoolId, u32)>,
}

impl Hub {
    /// One owner after the other, so that no more is in memory than will stay there.
    pub(super) fn take_records(&mut self, records: impl IntoIterator<Item = Record>) {
        let mut current: Option<Recorded> = None;
        let mut given_out = 0;
        for Record { owner, fact } in records {
            if let Fact::Retained { mut message, stamp } = fact {
                self.spools.adopt_in(&mut message);
                self.keeper.take(&message, stamp, self.now);
                self.keeper.see(stamp);
                continue;
            }
            if let Fact::Numbers { reserved } = fact
                && owner == 0
            {
                given_out = reserved;
                self.registry.reserve(reserved.saturating_sub(1));
                continue;
            }
            if let Some(last) = current.take_if(|current| current.owner != owner) {
                debug_assert!(last.owner < owner, "records come in the order of their keys");
                self.restore(last);
            }
            let config = self.config.session;
            current.get_or_insert_with(|| Recorded::new(owner, config)).take(fact);
        }
        if let Some(last) = current {
            self.restore(last);
        }
        self.bound_owners(given_out);
        self.expire();
    }

    /// Sessions that begin from now on have owner numbers above all that there are: notes which these are, so that it
    /// stays true when they are gone.
    fn bound_owners(&mut self, given_out: u64) {
        let last = self.registry.reserved();
        let index = self.config.index;
        if index == 0 && last >= given_out.max(1) {
            let fact = Fact::Numbers { reserved: last + 1 };
            self.journal.write(Record { owner: 0, fact });
        }
        self.bound_departed(last);
        for (_, entry) in self.registry.iter_mut() {
            entry.session.bound_unfinished(index, last, &mut self.journal);
        }
    }

    /// Rebuilds one session, if its home is here. A link that it had is gone with the process that held it.
    fn restore(&mut self, recorded: Recorded) {
        let Recorded { owner, mut state, session, subscriptions, will, spools } = recorded;
        if !planted(Mutation::OwnerReused) {
            self.registry.reserve(owner);
        }
        let will = will.map(|(publish, delay_s, due)| Will::recorded(publish, delay_s, due));
        let Some((client_id, expiry_s, detached)) = session else {
            let home = owner % u64::from(self.config.hubs.max(1));
            if owner == 0 || home != u64::from(self.config.index) {
                return;
            }
            match will.filter(|_| !planted(Mutation::WillNotResumed)) {
                Some(will) => self.find_departed(owner, will, state),
                // What a peer stored late for a session that had ended. One hub deletes it.
                None => {
                    self.journal.write(Record { owner, fact: Fact::SessionGone });
                }
            }
            return;
        };
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
        state.adopt_spools(&mut self.spools);
        // What nobody holds is dropped with this.
        spools.iter().for_each(|(id, len)| drop(self.spools.adopt(id, *len)));
        state.set_config(self.config.session);
        entry.session = state;
        entry.will = will;
        let has_will = entry.will.is_some();
        for (filter, options, identifier) in subscriptions {
            let subscription = Subscription::new(options, identifier);
            if let Some(entry) = self.registry.get_mut(session) {
                entry.subscriptions.insert(filter.clone(), subscription);
            }
            if !planted(Mutation::SubscriptionNotRecovered) {
                self.add_route(session, &filter, subscription, Standing::Recovered);
            }
        }
        // A will waits until all who may want it are known.
        if expiry_s == 0 && !has_will {
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
    /// Of a queue only the first message is taken into memory: nobody knows which clients will come, and when.
    fn new(owner: u64, config: SessionConfig) -> Self {
        let config = SessionConfig { queue_resident_bytes_max: 0, ..config };
        let state = Session::new(owner, config);
        Self {
            owner,
            state,
            session: None,
            subscriptions: Vec::new(),
            will: None,
            spools: Vec::new(),
        }
    }

    fn take(&mut self, fact: Fact) {
        self.state.apply(&fact);
        if let Fact::Queued { message, .. } = &fact
            && let Payload::Spooled { id, len } = &message.payload
        {
            self.spools.push((id.clone(), *len));
        }
        match fact {
            Fact::Session { client_id, expiry_s, detached } => {
                self.session = Some((client_id, expiry_s, detached));
            }
            Fact::Subscription { filter, options, identifier } => {
                self.subscriptions.push((filter, options, identifier));
            }
            Fact::Will { publish, delay_s, due } => self.will = Some((*publish, delay_s, due)),
            // The session's state has them.
            Fact::Queued { .. }
            | Fact::Flight { .. }
            | Fact::Requeued { .. }
            | Fact::Finished { .. }
            | Fact::Numbers { .. }
            | Fact::Received(_)
            | Fact::ReceivedFirst(_)
            | Fact::Taken { .. }
            | Fact::TakenByGroup { .. }
            | Fact::Released(_) => {}
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
