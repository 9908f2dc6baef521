//! What arrives at a client.

use postrider_wire::{Ack, AckKind, Properties, Property, ReasonCode, SubAck, UnsubAck};

use super::{Client, Event, Failure, OperationId, operations::Request};
use crate::{
    AckOutcome, Arrival, Arrived, Fact, Gate, LinkEnd, Received, Time,
    mutation::{Mutation, planted},
};

impl Client {
    pub(super) fn handle_received(&mut self, received: Received, now: Time) {
        match received {
            Received::ConnAck(connack) => self.handle_connack(connack, now),
            Received::Publish(arrived) => {
                self.handle_life_sign(now);
                self.recall(&arrived.publish);
                self.handle_publish(arrived);
            }
            Received::Ack(kind, ack) => self.handle_ack(kind, ack, now),
            Received::SubAck(suback) => self.handle_suback(suback, now),
            Received::UnsubAck(unsuback) => self.handle_unsuback(unsuback, now),
            Received::Disconnect(disconnect) => {
                self.judge(disconnect.reason.is_error(), now);
                self.break_link(LinkEnd::Disconnected(disconnect), now);
            }
            Received::Auth(auth) => self.handle_auth(auth, now),
            Received::Pong(ms) => {
                self.handle_silence(now);
                self.events.push_back(Event::Pong(ms));
            }
            Received::Connect(_) | Received::Subscribe(_) | Received::Unsubscribe(_) => {
                let what = "a packet that only a client may send";
                self.accuse(ReasonCode::ProtocolError, "MQTT-4.13.1-1", what, now);
            }
        }
    }

    fn handle_publish(&mut self, arrived: Arrived) {
        let (qos, packet_id) = (arrived.publish.qos, arrived.publish.packet_id);
        // One that was left to the program by an earlier process may still be known.
        if let Some(packet_id) = packet_id
            && (self.config.is_manual || self.session.is_entrusted(packet_id))
        {
            return self.entrust(arrived, packet_id);
        }
        let Some(link) = &mut self.link else { return };
        let arrival = self.session.arrival(qos, packet_id);
        if arrival == Arrival::New {
            if qos == postrider_wire::QoS::ExactlyOnce && planted(Mutation::DeliveredTwice) {
                self.events.push_back(Event::Message(arrived.clone()));
            }
            self.events.push_back(Event::Message(arrived));
        }
        if let Some(packet_id) = packet_id {
            let (reason, gate) = (ReasonCode::Success, Gate::default());
            self.session.acknowledge(qos, packet_id, reason, gate, link, &mut self.journal);
        }
    }

    fn handle_ack(&mut self, kind: AckKind, ack: Ack, now: Time) {
        if kind == AckKind::PubRel {
            self.handle_life_sign(now);
        }
        let Some(link) = &mut self.link else { return };
        if kind == AckKind::PubRel {
            let completion = self.remarks.take_completion(ack.packet_id);
            self.session.handle_pubrel(&ack, completion, link, &mut self.journal);
            let number = self.remarks.take_number(ack.packet_id);
            if !ack.properties.is_empty() {
                let Ack { packet_id, reason, properties } = ack;
                self.events.push_back(Event::Released { packet_id, number, reason, properties });
            }
            return;
        }
        let mut release = Properties::new();
        if kind == AckKind::PubRec
            && !(ack.properties.is_empty() && self.remarks.is_empty())
            && let Some(number) = self.session.number_of(ack.packet_id)
        {
            release = self.remarks.release(number);
            self.remarks.keep_receipt(number, &ack.properties);
        }
        match self.session.handle_ack(kind, ack, link, &mut self.journal, release) {
            Ok(AckOutcome::Unknown | AckOutcome::Progress | AckOutcome::Failed) => {}
            Ok(AckOutcome::Done { number, ack, is_downgraded }) => {
                // A PUBCOMP that knows no such id answers a PUBREL that was sent again: the first one did arrive.
                let has_arrived = kind == AckKind::PubComp;
                let result = if ack.reason.is_error() && !has_arrived {
                    Err(Failure::Refused(ack.reason, ack.properties))
                } else {
                    Ok(ack)
                };
                let received = self.remarks.end(number);
                self.events.push_back(Event::Published { number, result, received, is_downgraded });
            }
            Err(fault) => {
                let what = "an acknowledgement that does not fit its exchange";
                self.accuse(fault.reason, fault.statement, what, now);
            }
        }
    }

    fn handle_suback(&mut self, suback: SubAck, now: Time) {
        let Some((id, request)) = self.operations.answered(suback.packet_id, &mut self.session)
        else {
            return;
        };
        let is_internal = matches!(request, Request::Resubscribe { .. });
        let (Request::Subscribe { filters, properties, .. }
        | Request::Resubscribe { filters, properties }) = &request
        else {
            return self.accuse_answer(id, request, "SUBACK for an UNSUBSCRIBE", now);
        };
        if filters.len() != suback.reasons.len() {
            return self.accuse_answer(id, request, "SUBACK with a wrong number of codes", now);
        }
        let mut seq = 0;
        for (filter, reason) in filters.iter().zip(&suback.reasons) {
            if let Some(answers) = self.resubscriptions.as_mut().filter(|_| is_internal) {
                answers.push((filter.filter.clone(), *reason));
            }
            if !reason.is_error() && is_internal {
                self.subscriptions.confirm(&filter.filter);
            } else if !reason.is_error() {
                let mut properties = properties.clone();
                if let Some(mark) = request.mark() {
                    properties.push(Property::SubscriptionIdentifier(mark));
                }
                let fact = self.subscriptions.put(filter, &properties);
                seq = self.session.record(fact, &mut self.journal);
            } else if is_internal {
                self.forget(&filter.filter);
                let (filter, reason) = (filter.filter.clone(), *reason);
                self.events.push_back(Event::SubscriptionLost { filter, reason });
            }
        }
        if !is_internal {
            self.tell_after(seq, Event::Subscribed(id, Ok(suback)));
        }
        self.answered();
        self.send_operations(now);
        self.tell_settled();
    }

    fn handle_unsuback(&mut self, unsuback: UnsubAck, now: Time) {
        let Some((id, request)) = self.operations.answered(unsuback.packet_id, &mut self.session)
        else {
            return;
        };
        let Request::Unsubscribe { filters, .. } = &request else {
            return self.accuse_answer(id, request, "UNSUBACK for a SUBSCRIBE", now);
        };
        // In 3.x there are no codes, and no failure.
        if !unsuback.reasons.is_empty() && filters.len() != unsuback.reasons.len() {
            return self.accuse_answer(id, request, "UNSUBACK with a wrong number of codes", now);
        }
        let mut seq = 0;
        for (at, filter) in filters.iter().enumerate() {
            if unsuback.reasons.get(at).is_none_or(|reason| !reason.is_error()) {
                seq = seq.max(self.forget(filter));
            }
        }
        self.tell_after(seq, Event::Unsubscribed(id, Ok(unsuback)));
        self.answered();
        self.send_operations(now);
    }

    /// Forgets a subscription. Returns the record of that, or 0.
    pub(super) fn forget(&mut self, filter: &postrider_wire::Filter) -> u64 {
        if self.subscriptions.remove(filter) {
            self.session.record(Fact::SubscriptionGone(filter.clone()), &mut self.journal)
        } else {
            0
        }
    }

    /// The answer to an operation breaks a rule. The operation stays and is sent again on the next link.
    fn accuse_answer(&mut self, id: OperationId, request: Request, what: &str, now: Time) {
        self.operations.put_back(id, request);
        self.accuse(ReasonCode::ProtocolError, "MQTT-3.8.4-6", what, now);
    }
}
