//! What the machine wants done.

use std::{sync::Arc, time::Duration};

use postrider_net::{Dial, elsewhere};
use postrider_proto::{
    Arrived, LinkEnd, Payload, Plan, SpoolOutput, Time,
    client::{Event as MachineEvent, Output, Restarted},
    wire::{ConnAck, Filter, ReasonCode},
};

use super::{
    Attempt, CLOSING_MS, Driver,
    life::Life,
    refusal::{link_reason, publish_failure},
};
use crate::{
    ConnectError, Connected, Event, LinkReason, Message, PublishError, SessionEnd, StreamEnd,
    answer::Answer, body::Body, builder::shown, connector, filling::SpoolHold, publish::Published,
    spans, tap,
};

impl Driver {
    /// Does what the machine wants, until it waits.
    pub(super) fn drain(&mut self) {
        while !self.vault.has_failed() {
            match self.machine.poll_output() {
                Output::Dial(plan) => self.dial(plan),
                // The line asks the machine for its chunks at every write.
                Output::Transmit => {}
                Output::Hangup => self.hang_up(),
                Output::Store(seq, record) => {
                    self.vault.record(seq, &record);
                }
                // One write takes all of a drain.
                Output::StoreBatch(seq, records) => {
                    records.iter().for_each(|record| self.vault.record(seq, record));
                }
                Output::Page(request) => match self.vault.page(&request) {
                    Ok(page) => self.machine.handle_page(page, self.now),
                    Err(error) => return self.fail_store(error),
                },
                Output::Spool(output) => self.spool(output),
                Output::Event(event) => self.handle_event(event),
                Output::Wait(deadline) => {
                    self.machine_deadline = deadline;
                    break;
                }
            }
        }
        if let Err(error) = self.vault.commit() {
            self.fail_store(error);
        }
    }

    /// Tells the machine what is stored.
    pub(super) fn take_stored(&mut self) {
        match self.vault.take_stored() {
            Ok(Some(seq)) => {
                self.machine.handle_stored(seq, self.now);
                while self.storing.front().is_some_and(|(waits_for, _)| *waits_for <= seq) {
                    if let Some((_, storing)) = self.storing.pop_front() {
                        storing.done();
                    }
                }
                self.feed();
            }
            Ok(None) => {}
            Err(error) => self.fail_store(error),
        }
    }

    fn dial(&mut self, plan: Plan) {
        tracing::debug!(server = %self.server, attempt = plan.attempt, "connecting");
        // Falling back to 3.1.1 and being sent on count for the attempt that they follow.
        let is_same = self.is_connecting() && self.attempt.number == plan.attempt;
        let deadline = self.attempt.deadline.filter(|_| is_same);
        let deadline = deadline.unwrap_or_else(|| self.attempt_deadline(plan.attempt));
        self.attempt = Attempt {
            number: plan.attempt,
            deadline: Some(deadline),
            #[cfg(feature = "srv")]
            is_detour: plan.detour.is_some(),
            ..Attempt::default()
        };
        self.span = spans::connection(&self.server, plan.attempt);
        self.version = plan.version;
        self.line.forget_fault();
        let server = match &plan.detour {
            Some(reference) => elsewhere(&plan.server, reference),
            None => Ok(plan.server.clone()),
        };
        match server {
            Ok(server) => self.prepare(Plan { server, ..plan }),
            Err(error) => {
                let what = format!("{} sends us on to somewhere else: {error}", self.server);
                self.line.dial(connector::refused(what));
            }
        }
    }

    /// Opens the stream of an attempt.
    pub(super) fn open_stream(&mut self, number: u32, server: String) {
        self.server = shown(&server);
        let left_ms = self.attempt.deadline.map_or(0, |deadline| deadline.ms_since(self.now));
        let timeout = Duration::from_millis(left_ms);
        let how = self.how();
        let attempt = connector::Attempt { server, number, timeout, how };
        let dialing = connector::open(self.connector.as_ref(), attempt);
        self.line.dial(tap::on(self.tap.as_ref(), &self.server, dialing));
    }

    /// How to open the stream.
    fn how(&self) -> Arc<Dial> {
        #[cfg(feature = "srv")]
        if self.attempt.is_detour && self.dial.srv.is_some() {
            // Who sends us on names a server, not a domain whose servers are to be looked up.
            return Arc::new(Dial { srv: None, ..Dial::clone(&self.dial) });
        }
        Arc::clone(&self.dial)
    }

    /// When an attempt that begins now is given up. One timeout bounds the whole of the first connection: each server has
    /// its share of what is left, so that one that is silent leaves time for those behind it.
    fn attempt_deadline(&mut self, number: u32) -> Time {
        let until = self.now.plus_ms(crate::builder::ms(self.connect_timeout));
        if !self.is_connecting() {
            return until;
        }
        let until = *self.connecting_until.get_or_insert(until);
        let tried = number.saturating_sub(1);
        let servers = self.servers.saturating_sub(tried).max(1);
        self.now.plus_ms(until.ms_since(self.now) / u64::from(servers))
    }

    /// Whether the first connection has not been made.
    fn is_connecting(&self) -> bool {
        matches!(self.life, Life::Connecting(_))
    }

    fn hang_up(&mut self) {
        self.line.hang_up();
        if self.line.is_closing() {
            self.closing_until = Some(self.now.plus_ms(CLOSING_MS));
        }
    }

    fn spool(&mut self, output: SpoolOutput) {
        if let Err(error) = self.vault.spool(output) {
            self.fail_store(error);
        }
    }

    fn handle_event(&mut self, event: MachineEvent) {
        match event {
            MachineEvent::Connected { connack, limits, resubscribed, resent, restarted } => {
                let restarted = restarted.map(|restarted| *restarted);
                self.handle_connected(connack, limits, resubscribed, resent, restarted);
            }
            MachineEvent::Disconnected { end, retry_at } => {
                self.handle_disconnected(end, retry_at);
            }
            MachineEvent::Challenge { data, properties } => {
                self.handle_challenge(data, properties);
            }
            MachineEvent::ReauthenticationWanted => self.handle_reauthentication_wanted(),
            MachineEvent::Authenticated { data, properties } => {
                self.handle_authenticated(data, &properties);
            }
            MachineEvent::Settled { resubscriptions } => self.handle_settled(resubscriptions),
            MachineEvent::Parked(parked) => self.handle_parked(parked),
            MachineEvent::Message(arrived) => self.handle_message(arrived),
            MachineEvent::Entrusted { arrived, number, is_redelivery } => {
                self.handle_entrusted(arrived, number, is_redelivery);
            }
            MachineEvent::Acknowledged(number) => self.handle_acknowledged(number),
            MachineEvent::Published { number, result, received, is_downgraded } => {
                let result = match result {
                    Ok(ack) => Ok(Published {
                        number,
                        reason: ack.reason,
                        properties: ack.properties,
                        pubrec_properties: received,
                        is_downgraded,
                    }),
                    Err(failure) => Err(publish_failure(failure, self.end_or_ours())),
                };
                self.complete(number, result);
            }
            MachineEvent::Released { packet_id, number, reason, properties } => {
                let packet_id = packet_id.get();
                self.shared.tell(&Event::Released { packet_id, number, reason, properties });
            }
            MachineEvent::Subscribed(id, result) => self.handle_subscribed(id, result),
            MachineEvent::Unsubscribed(id, result) => self.handle_unsubscribed(id, result),
            MachineEvent::SubscriptionLost { filter, reason } => self.lose(&filter, reason),
            MachineEvent::MayBeDouble(number) => self.shared.tell(&Event::MayBeDouble { number }),
            MachineEvent::Unreadable(error) => {
                tracing::error!(server = %self.server, %error, "queued messages are lost");
            }
            MachineEvent::Pong(ms) => self.stats.round_trip = Some(Duration::from_millis(ms)),
            MachineEvent::Over(end) => {
                let end = match (&self.life, end) {
                    (Life::Draining(..) | Life::Leaving(_), LinkEnd::Ours(_)) => {
                        SessionEnd::Disconnected
                    }
                    (_, end) => SessionEnd::Link(self.reason_of(end)),
                };
                self.handle_over(end);
            }
            _ => {}
        }
    }

    /// Tells those who wait for a publication, or everybody that it failed if nobody does.
    fn complete(&mut self, number: u64, result: Result<Published, PublishError>) {
        let mut is_heard = false;
        for claim in self.claims.remove(&number).into_iter().flatten() {
            is_heard |= claim.is_awaited();
            // The answer of the publication itself comes last.
            let _ = claim.done(result.clone());
        }
        let unheard = match self.pending.take(number) {
            Some(answer) => answer.done(result),
            None => result.err(),
        };
        if let Some(error) = unheard.filter(|_| !is_heard) {
            self.shared.tell(&Event::PublishFailed { number, error });
        }
    }

    fn handle_connected(
        &mut self,
        connack: ConnAck,
        limits: postrider_proto::Limits,
        resubscribed: u32,
        resent: u32,
        restarted: Option<Restarted>,
    ) {
        self.attempt.deadline = None;
        self.is_connected = true;
        self.limits = Some(limits);
        self.stats.connections += 1;
        if !connack.session_present {
            self.dispatch.restart();
        }
        // Others are not held up for long, unless the program wants them to be.
        let keep_alive_ms = u64::from(limits.keep_alive_s) * 1000;
        let is_bounded = keep_alive_ms > 0 && self.stall_budget_ms < u64::MAX;
        let stall_max = if is_bounded { keep_alive_ms / 4 } else { u64::MAX };
        self.dispatch.set_stall_ms(self.stall_budget_ms.min(stall_max));
        let connected = Connected {
            server: self.server.clone(),
            client_id: self.machine.client_id().as_str().to_owned(),
            version: self.version,
            session_present: connack.session_present,
            limits,
            resubscribed,
            resent,
            restarted,
            properties: connack.properties,
        };
        tracing::info!(
            server = %self.server,
            version = %self.version,
            session_present = connected.session_present,
            resubscribed,
            "connected"
        );
        spans::connected(&self.span, self.version, connected.session_present);
        self.shared.set_connected(Some(connected.clone()));
        self.shared.tell(&Event::Connected(Box::new(connected)));
        if let Some(answer) = self.take_connecting() {
            answer.give(Ok(()));
        }
    }

    fn handle_disconnected(&mut self, end: LinkEnd, retry_at: Option<Time>) {
        let reason = self.reason_of(end);
        // Who waits for the first connection does not wait for an attempt that begins too late.
        let until = self.connecting_until.filter(|_| self.is_connecting());
        let in_time = |at: &Time| until.is_none_or(|until| *at < until);
        let is_too_late = !retry_at.iter().all(in_time);
        let retry_at = retry_at.filter(in_time);
        self.is_connected = false;
        self.attempt.deadline = self.attempt.deadline.filter(|_| retry_at.is_some());
        self.stats.disconnections += 1;
        self.shared.set_connected(None);
        self.span.record("reason", tracing::field::display(&reason));
        self.span = tracing::Span::none();
        let retry_in = retry_at.map(|retry_at| Duration::from_millis(retry_at.ms_since(self.now)));
        tracing::info!(server = %self.server, ?retry_in, "disconnected: {reason}");
        if self.is_connecting() && retry_in.is_none() {
            let error = self.connect_error(reason.clone());
            self.fail_connect(error);
        }
        if is_too_late {
            self.stop_connecting();
        }
        self.end_authentication(&reason);
        self.last_reason = reason.clone();
        self.shared.tell(&Event::Disconnected { reason, retry_in });
    }

    /// The first attempt failed. With a store it is told when that is closed, so that the program can open it again.
    pub(super) fn fail_connect(&mut self, error: ConnectError) {
        let Some(answer) = self.take_connecting() else { return };
        if self.vault.is_durable() {
            self.refused = Some((answer, error));
        } else {
            answer.give(Err(error));
        }
    }

    /// Who waits for the first connection, whose time is over.
    fn take_connecting(&mut self) -> Option<Answer<Result<(), ConnectError>>> {
        match std::mem::replace(&mut self.life, Life::Running) {
            Life::Connecting(answer) => Some(answer),
            other @ (Life::Running | Life::Draining(..) | Life::Leaving(_) | Life::Over(_)) => {
                self.life = other;
                None
            }
        }
    }

    /// The connect timeout passed.
    pub(super) fn time_out_attempt(&mut self) {
        self.attempt.deadline = None;
        let is_under_way = self.is_dialing() || self.line.is_open();
        if !is_under_way {
            return;
        }
        self.attempt.has_timed_out = true;
        if self.is_dialing() {
            self.cut_dial();
        } else {
            // There is nobody to take leave of.
            self.line.close();
        }
        self.machine.handle_dial_failed(LinkReason::TimedOut.to_string(), self.now);
        self.machine.handle_closed(self.now);
    }

    #[inline]
    fn handle_message(&mut self, arrived: Arrived) {
        if let Some(message) = self.message(arrived) {
            self.dispatch.deliver(message, self.now);
        }
    }

    /// The message for the program; `None` if its payload cannot be had, which ends the session without an
    /// acknowledgement.
    #[inline]
    pub(super) fn message(&mut self, arrived: Arrived) -> Option<Message> {
        self.stats.received += 1;
        let body = match arrived.payload {
            Payload::Bytes(bytes) => Body::Whole(bytes),
            Payload::Spooled { id, len } => match self.vault.spool_open(id.number()) {
                Ok(file) => Body::spooled(file, len, SpoolHold::new(id, &self.shared)),
                Err(error) => {
                    self.fail_store(error);
                    return None;
                }
            },
        };
        let asks = arrived.publish.properties.response_topic().is_some();
        let mut message = Message::new(arrived.publish, body, self.stats.received);
        message.session = asks.then(|| Arc::clone(&self.shared));
        Some(message)
    }

    /// The server does not take a subscription again.
    fn lose(&mut self, filter: &Filter, reason: ReasonCode) {
        for stream in self.dispatch.streams(filter) {
            self.dispatch.detach(stream, StreamEnd::Refused);
        }
        self.dispatch.forget(filter);
        let (filter, why) = (filter.as_str().to_owned(), reason.to_string());
        tracing::warn!(server = %self.server, filter, why, "subscription lost");
        self.shared.tell(&Event::SubscriptionLost { filter, why });
    }

    fn reason_of(&self, end: LinkEnd) -> LinkReason {
        let may_be_late = matches!(end, LinkEnd::Lost | LinkEnd::Unreachable(_));
        if may_be_late && self.attempt.has_timed_out && !self.is_connected {
            return LinkReason::TimedOut;
        }
        // The line knows more than the machine.
        match (&end, self.line.fault()) {
            (LinkEnd::Untrusted(_), _) => LinkReason::Authentication(self.preparation.error()),
            (LinkEnd::Lost | LinkEnd::Unreachable(_) | LinkEnd::Certificate(_), Some(fault)) => {
                fault.clone()
            }
            _ => link_reason(end),
        }
    }

    /// Why the session is over, as far as is known while it ends.
    pub(super) fn end_or_ours(&self) -> SessionEnd {
        match &self.life {
            Life::Draining(..) | Life::Leaving(_) => SessionEnd::Disconnected,
            Life::Connecting(_) | Life::Running | Life::Over(_) => {
                self.shared.over().unwrap_or_else(|| SessionEnd::Link(self.last_reason.clone()))
            }
        }
    }
}
