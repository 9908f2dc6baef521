//! CONNECT: who may come in, which session it gets, and what becomes of the link that had it.

use postrider_proto::{
    Durability, EmptyClientId, Fact, Gate, LinkEnd, Record, Resume, Terms,
    mutation::{Mutation, planted},
    wire::{ClientId, ConnAck, Connect, Properties, Property, ReasonCode, Text},
};

use super::{
    Hub,
    receive::{Last, Parting},
};
use crate::{
    Ask, Authentication, Event, LinkId, Output, links::Stage, registry::Subscription, will::Will,
};

/// What a CONNECT asked for, after our limits.
struct Wish {
    client_id: ClientId,
    /// Whether the client must be told its id.
    is_assigned: bool,
    session_expiry_s: u32,
    keep_alive_s: u16,
}

impl Hub {
    /// Decides about a CONNECT, or asks who can. Spec: v5 section 3.1.4, v3.1.1 section 3.1.4.
    pub(super) fn handle_connect(&mut self, at: usize, connect: Box<Connect>) {
        let Some(slot) = self.links.get_mut(at) else { return };
        let id = slot.id;
        if self.is_shut {
            return self.refuse(at, ReasonCode::ServerUnavailable);
        }
        if slot.is_surplus {
            return self.refuse(at, ReasonCode::ServerBusy);
        }
        if connect.properties.authentication_method().is_some() {
            return self.refuse(at, ReasonCode::BadAuthenticationMethod);
        }
        if connect.client_id.is_empty() {
            if Terms::of(&connect).empty_client_id == EmptyClientId::Refused {
                return self.refuse(at, ReasonCode::ClientIdentifierNotValid);
            }
        } else {
            let home = self.home(connect.client_id.text().as_bytes());
            if home != self.config.index
                && let Some(slot) = self.links.get_mut(at)
            {
                slot.stage = Stage::Moving(home, connect);
                self.moving.push(id);
                return;
            }
        }
        match self.config.authentication {
            Authentication::Anonymous => self.admit(at, *connect),
            Authentication::Ask => {
                let Some(slot) = self.links.get_mut(at) else { return };
                slot.stage = Stage::Asking(connect.clone());
                self.outputs.push_back(Output::Ask(Ask {
                    link: id,
                    client_id: connect.client_id,
                    user_name: connect.user_name,
                    password: connect.password,
                }));
            }
        }
    }

    /// Goes on with a CONNECT that was asked about.
    pub(super) fn answer(&mut self, at: usize, reason: ReasonCode) {
        let Some(slot) = self.links.get_mut(at) else { return };
        match core::mem::replace(&mut slot.stage, Stage::AwaitConnect) {
            Stage::Asking(connect) if !reason.is_error() => self.admit(at, *connect),
            Stage::Asking(_) => self.refuse(at, reason),
            other @ (Stage::AwaitConnect | Stage::Moving(..) | Stage::Open(_) | Stage::Over) => {
                slot.stage = other;
                return;
            }
        }
        self.go_on(at);
    }

    fn refuse(&mut self, at: usize, reason: ReasonCode) {
        if let Some(link) = self.links.write(at) {
            let properties = Properties::new();
            link.refuse(&ConnAck { session_present: false, reason, properties });
        }
        self.end_link(at, Parting::ours(reason));
    }

    /// Gives the link its session. Spec: v5 [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.4-3] [MQTT-3.1.4-4]
    /// [MQTT-3.1.4-5] [MQTT-3.2.2-2] [MQTT-3.2.2-3], v3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-6] [MQTT-3.1.4-2] to
    /// [MQTT-3.1.4-4] [MQTT-3.2.2-1] to [MQTT-3.2.2-3].
    fn admit(&mut self, at: usize, connect: Connect) {
        let wish = self.wish(&connect);
        let mut stored = 0;
        if let Some(old) = self.registry.find(&wish.client_id) {
            self.take_over(old);
            // Its session may have ended with its link.
            if connect.clean_start
                && !planted(Mutation::CleanStartIgnored)
                && let Some(old) = self.registry.find(&wish.client_id)
            {
                stored = self.end_session(old);
            }
        }
        let found = self.registry.find(&wish.client_id);
        if let Some(session) = found {
            // Too late to withdraw it, even if the wheel has not come to it yet.
            self.publish_due_will(session);
        }
        if found.is_none() && !planted(Mutation::GoneSessionUnstored) {
            // The client's old session may have ended a moment ago, by another link or by time. A crash must not
            // bring it back once we have said that it is gone.
            stored = stored.max(self.session_gone);
        }
        let session = found.unwrap_or_else(|| {
            let id = ClientId::from_text(wish.client_id.text().detached());
            self.registry.create(id, self.config.session)
        });
        self.registry.set_online(session);
        stored = stored.max(self.begin(at, session, connect.will, &wish));
        let Some(id) = self.open(at, session, &wish, found.is_some(), stored) else { return };
        self.tell_presence(session, true);
        let client_id = wish.client_id;
        self.outputs.push_back(Output::Event(Event::Connected {
            link: id,
            client_id,
            session_present: found.is_some(),
        }));
    }

    /// The old link of a session makes way. Spec: v5 [MQTT-3.1.4-3], v3.1.1 [MQTT-3.1.4-2].
    fn take_over(&mut self, session: usize) {
        let Some(at) = self.registry.get(session).and_then(|entry| entry.link) else { return };
        let reason = ReasonCode::SessionTakenOver;
        self.say_goodbye(at, reason);
        self.end_link(at, Parting { end: LinkEnd::Ours(reason), will: Last::Published });
    }

    /// Sets what CONNECT says about the session, and records it. Returns what CONNACK waits for.
    fn begin(
        &mut self,
        at: usize,
        session: usize,
        will: Option<postrider_proto::wire::Will>,
        wish: &Wish,
    ) -> u64 {
        let is_worth_it =
            wish.session_expiry_s > 0 && self.durability_of(Some(at)) != Durability::Memory;
        let Some(entry) = self.registry.get_mut(session) else { return 0 };
        let owner = entry.owner;
        let had_will = entry.will.take().is_some();
        entry.will = will.map(|will| Will::new(will, self.now));
        entry.expiry_s = wish.session_expiry_s;
        // A stored session that will end with this link is recorded as one that ends at once.
        let was_recorded = core::mem::replace(&mut entry.is_recorded, true);
        if !was_recorded && !is_worth_it {
            entry.is_recorded = false;
            return 0;
        }
        let fact = Fact::Session {
            client_id: entry.client_id.clone(),
            expiry_s: entry.expiry_s,
            detached: None,
        };
        let mut stored = self.journal.write(Record { owner, fact });
        let fact = match &entry.will {
            Some(will) => Some(will.fact()),
            None => had_will.then_some(Fact::WillGone),
        };
        if let Some(fact) = fact {
            stored = stored.max(self.journal.write(Record { owner, fact }));
        }
        if !was_recorded {
            for (filter, Subscription { options, identifier, .. }) in &entry.subscriptions {
                let (filter, options, identifier) = (filter.clone(), *options, *identifier);
                let fact = Fact::Subscription { filter, options, identifier };
                stored = stored.max(self.journal.write(Record { owner, fact }));
            }
        }
        stored
    }

    /// Opens the link: CONNACK, then what waits for the client.
    fn open(
        &mut self,
        at: usize,
        session: usize,
        wish: &Wish,
        session_present: bool,
        stored: u64,
    ) -> Option<LinkId> {
        let opened = self.opened();
        let slot = self.links.get_mut(at)?;
        slot.stage = Stage::Open(session);
        let (id, durability) = (slot.id, slot.durability);
        let mut properties = Properties::new();
        if wish.is_assigned {
            let id = wish.client_id.text().clone();
            properties.push(Property::AssignedClientIdentifier(id));
        }
        let session_present = session_present || planted(Mutation::SessionPresentWrong);
        let connack = ConnAck { session_present, reason: ReasonCode::Success, properties };
        let entry = self.registry.get_mut(session)?;
        entry.link = Some(at);
        let link = self.links.write(at)?;
        link.open_gates(opened.gate(durability));
        let stored = if planted(Mutation::ConnAckBeforeStore) { 0 } else { stored };
        let connack_gate = Gate { stored, fence: 0 };
        let limits = *link.accept(connack, wish.keep_alive_s, wish.session_expiry_s, connack_gate);
        let is_over = link.is_over();
        let is_persistent = wish.session_expiry_s > 0 && entry.is_recorded;
        entry.session.rely_on(durability);
        entry.session.attach(&limits, Resume::Present, is_persistent, &mut self.journal);
        entry.session.pump(link, &mut self.journal, self.now);
        self.page_later(session);
        self.replay_later(session);
        self.arm(at);
        if is_over {
            // Not even CONNACK fits into what the client accepts.
            self.end_link(at, Parting::ours(ReasonCode::PacketTooLarge));
            return None;
        }
        Some(id)
    }

    fn wish(&mut self, connect: &Connect) -> Wish {
        let terms = Terms::of(connect);
        let is_empty = connect.client_id.is_empty();
        let client_id = if is_empty { self.invent_id() } else { connect.client_id.clone() };
        let keep_alive_s = match self.config.keep_alive_s_max {
            Some(max) if connect.keep_alive == 0 || connect.keep_alive > max => max,
            Some(_) | None => connect.keep_alive,
        };
        Wish {
            client_id,
            is_assigned: is_empty && terms.empty_client_id == EmptyClientId::Told,
            session_expiry_s: terms.session_expiry_s.min(self.config.session_expiry_s_max),
            keep_alive_s,
        }
    }

    /// A client id that nobody has and whose home is here. Spec: v5 [MQTT-3.1.3-6] [MQTT-3.2.2-16].
    fn invent_id(&mut self) -> ClientId {
        loop {
            self.assigned += 1;
            let low = self.homes.pair(self.assigned, self.now.0);
            let high = self.homes.pair(low, u64::from(self.config.index));
            let name = format!("auto-{high:016x}{low:016x}");
            let Ok(text) = Text::new(&name) else { continue };
            let id = ClientId::from_text(text);
            if self.home(name.as_bytes()) == self.config.index && self.registry.find(&id).is_none()
            {
                return id;
            }
        }
    }
}
