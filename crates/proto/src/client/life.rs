//! How a client gets a link, and what happens when that ends.

use alloc::{boxed::Box, format, vec::Vec};

use postrider_wire::{Ack, ConnAck, Connect, Disconnect, Properties, Property, ReasonCode, Will};

use super::{Client, Event, Failure, Phase, Restarted, authentication::Exchange};
use crate::{
    Fate, Link, LinkEnd, Plan, Resume, Time, Verdict,
    mutation::{Mutation, planted},
};

impl Client {
    /// Asks the driver for a stream.
    pub(super) fn dial(&mut self, plan: Plan, now: Time) {
        self.mark_connect(now);
        self.plan = Some(plan);
        self.phase = Phase::Dialing;
        self.must_dial = true;
    }

    /// There is a stream: writes CONNECT.
    pub(super) fn open_link(&mut self, now: Time) {
        let Some(plan) = self.plan.clone() else { return };
        self.is_preliminary = self.must_wipe(&plan);
        self.had_connack = false;
        self.exchange = Exchange::default();
        self.consumed = 0;
        self.announced = 0;
        let connect = self.connect_packet(&plan);
        match Link::client(self.config.link, &connect, now) {
            Ok(link) => {
                self.link = Some(link);
                self.phase = Phase::Opening;
                if !self.is_preliminary {
                    self.answers.asked();
                }
            }
            Err(error) => {
                // No attempt could do better, so it is over.
                self.link = None;
                self.must_hang_up = true;
                let what = format!("CONNECT cannot be written: {error}");
                self.finish(LinkEnd::Unreachable(what), now);
            }
        }
    }

    /// The server answered CONNECT.
    pub(super) fn handle_connack(&mut self, connack: ConnAck, now: Time) {
        self.had_connack = true;
        if connack.reason.is_error() {
            self.answers.refused();
            return self.break_link(LinkEnd::Refused(connack), now);
        }
        if self.is_preliminary {
            self.reconnect.handle_open(now);
            return self.leave_preliminary(now);
        }
        self.take_success(connack, now);
    }

    /// The link is open, and trusted.
    pub(super) fn go_on(&mut self, connack: ConnAck, now: Time) {
        self.reconnect.handle_open(now);
        let Some(limits) = self.link.as_ref().and_then(Link::limits).copied() else { return };
        if let Some(id) = connack.properties.assigned_client_identifier() {
            self.client_id = postrider_wire::ClientId::from_text(id.detached());
        }
        self.phase = Phase::Open;
        self.has_session = true;
        let resume = if connack.session_present { Resume::Present } else { Resume::Lost };
        let flights = self.session.stats().flights;
        let has_received = self.session.has_received();
        let resume = if planted(Mutation::LostSessionResumed) { Resume::Present } else { resume };
        self.session.attach(&limits, resume, self.config.is_durable, &mut self.journal);
        if resume == Resume::Lost {
            self.remarks.forget_completions();
        }
        let restarted = self.restarted(flights).filter(|_| resume == Resume::Lost);
        self.open_gates();
        let is_own = resume == Resume::Present && self.is_own_session(now);
        let is_lacking = !is_own && !self.is_doubting() && !planted(Mutation::NotSubscribedAgain);
        let resubscribed = if is_lacking { self.subscriptions.doubt_all() } else { 0 };
        if !self.is_doubting() {
            self.settle(has_received && !is_own);
        }
        let resent = restarted.as_ref().map_or(flights, |restarted| restarted.resent);
        self.events.push_back(Event::Connected {
            connack,
            limits,
            resubscribed,
            resent,
            restarted,
        });
        self.resubscriptions = Some(Vec::new());
        self.resubscribe(&limits, resume == Resume::Present);
        self.send_operations(now);
        self.tell_settled();
        self.pump(now);
    }

    /// What became of our exchanges, `flights` of them, when the server had lost the session; `None` if there were none.
    fn restarted(&self, flights: u32) -> Option<Box<Restarted>> {
        let mut restarted = Restarted::default();
        for (number, fate) in self.session.fates() {
            match fate {
                Fate::Completed(_) => restarted.completed.push(number),
                Fate::Lost => restarted.failed.push(number),
                Fate::MayBeDouble => restarted.may_be_double.push(number),
                Fate::Dropped
                | Fate::Expired
                | Fate::NotOffered(_)
                | Fate::Parked(_)
                | Fate::Superseded
                | Fate::TooLarge
                | Fate::Unreadable => {}
            }
        }
        let ended = restarted.completed.len() + restarted.failed.len();
        restarted.resent = flights.saturating_sub(u32::try_from(ended).unwrap_or(u32::MAX));
        Some(Box::new(restarted)).filter(|_| flights > 0)
    }

    /// Tells how resubscribing went, once all of it is answered.
    pub(super) fn tell_settled(&mut self) {
        if self.is_doubting() || self.operations.has_internal() {
            return;
        }
        if let Some(resubscriptions) = self.resubscriptions.take() {
            self.events.push_back(Event::Settled { resubscriptions });
        }
    }

    /// The link ended from our side, or must: what is in its outbox is still flushed.
    pub(super) fn break_link(&mut self, end: LinkEnd, now: Time) {
        self.must_hang_up = true;
        self.end_link(end, now);
    }

    /// A link or an attempt ended: decides what comes next.
    pub(super) fn end_link(&mut self, end: LinkEnd, now: Time) {
        self.exchange = Exchange::default();
        self.resubscriptions = None;
        if self.phase == Phase::Open {
            self.session.detach();
            self.operations.suspend(&mut self.session, now);
        }
        match self.reconnect.handle_end(&end, self.had_connack, now) {
            Verdict::Retry(plan, at) => {
                self.events.push_back(Event::Disconnected { end, retry_at: Some(at) });
                if at <= now {
                    self.dial(plan, now);
                } else {
                    self.plan = Some(plan);
                    self.phase = Phase::Waiting(at);
                }
            }
            Verdict::GiveUp => {
                self.events.push_back(Event::Disconnected { end: end.clone(), retry_at: None });
                self.finish(end, now);
            }
        }
    }

    /// The server broke a rule that the link does not know about.
    pub(super) fn accuse(
        &mut self,
        reason: ReasonCode,
        statement: &'static str,
        what: &str,
        now: Time,
    ) {
        if let Some(link) = &mut self.link {
            link.end(Disconnect { reason, properties: Properties::new() });
        }
        self.break_link(LinkEnd::PeerFault { reason, statement, what: what.into() }, now);
    }

    /// The end: what is still open is reported, and nothing follows.
    pub(super) fn finish(&mut self, end: LinkEnd, now: Time) {
        if self.phase == Phase::Open {
            self.session.detach();
            self.operations.suspend(&mut self.session, now);
        }
        self.collect_fates();
        // With a store there may be millions of them, and none has failed.
        let lost = if self.config.is_durable { Vec::new() } else { self.session.open_numbers() };
        for number in lost {
            self.end_exchange(number, Err(Failure::Over));
        }
        for (id, request) in self.operations.drain() {
            self.events.push_back(request.failed(id, Failure::Over));
        }
        self.phase = Phase::Over;
        self.gated.clear();
        self.must_dial = false;
        self.events.push_back(Event::Over(end));
    }

    /// Turns what the session reports into events.
    pub(super) fn collect_fates(&mut self) {
        while let Some((number, fate)) = self.session.poll_fate() {
            let result = match fate {
                Fate::MayBeDouble => {
                    self.events.push_back(Event::MayBeDouble(number));
                    continue;
                }
                Fate::Completed(packet_id) => {
                    let properties = Properties::new();
                    Ok(Ack { packet_id, reason: ReasonCode::Success, properties })
                }
                Fate::Dropped => Err(Failure::Dropped),
                Fate::Expired => Err(Failure::Expired),
                Fate::Lost => Err(Failure::SessionLost),
                Fate::NotOffered(what) => Err(Failure::NotOffered(what)),
                Fate::Parked(closes) => Err(Failure::Parked(closes)),
                Fate::Superseded => Err(Failure::Superseded),
                Fate::TooLarge => Err(Failure::TooLarge),
                Fate::Unreadable => Err(Failure::Unreadable),
            };
            self.end_exchange(number, result);
        }
    }

    fn end_exchange(&mut self, number: u64, result: Result<Ack, Failure>) {
        let received = self.remarks.end(number);
        self.events.push_back(Event::Published { number, result, received, is_downgraded: false });
    }

    /// Whether a clean connection must come first: 3.x cannot say "start clean, but keep what follows".
    fn must_wipe(&self, plan: &Plan) -> bool {
        !plan.has_properties
            && self.config.clean_start
            && self.config.session_expiry_s > 0
            && !self.has_session
            && self.wiped.as_ref() != Some(&plan.server)
    }

    /// The old session is gone; connects again to begin the real one.
    fn leave_preliminary(&mut self, now: Time) {
        let Some(plan) = self.plan.clone() else { return };
        self.wiped = Some(plan.server.clone());
        if let Some(link) = &mut self.link {
            let reason = ReasonCode::Success;
            link.end(Disconnect { reason, properties: Properties::new() });
        }
        self.must_hang_up = true;
        self.dial(plan, now);
    }

    fn connect_packet(&self, plan: &Plan) -> Connect {
        let config = &self.config;
        let has_expiry = config.session_expiry_s > 0;
        let clean_start = if self.is_preliminary {
            true
        } else if self.has_session {
            // A session that ends with its link cannot be resumed.
            !has_expiry
        } else if plan.has_properties {
            config.clean_start
        } else {
            !has_expiry
        };
        let mut properties = Properties::new();
        if plan.has_properties {
            properties = config.connect_properties.clone();
            if has_expiry {
                properties.set(Property::SessionExpiryInterval(config.session_expiry_s));
            }
        }
        let mut will = config.will.clone().filter(|_| !self.is_preliminary);
        if let (false, Some(Will { properties, .. })) = (plan.has_properties, &mut will) {
            *properties = Properties::new();
        }
        Connect {
            version: plan.version,
            clean_start,
            keep_alive: config.keep_alive_s,
            client_id: self.client_id.clone(),
            user_name: config.user_name.clone(),
            password: config.password.clone(),
            will,
            properties,
        }
    }
}
