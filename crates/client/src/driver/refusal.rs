//! Turns the machine's words about failures into those of the program.

use std::time::Duration;

use postrider_proto::{
    LinkEnd,
    client::{Failure, OperationError, PublishError as Refusal},
    wire::{Filter, Properties, ReasonCode},
};

use super::Driver;
use crate::{
    AuthenticationError, ConnectError, LinkReason, PublishError, SessionEnd, SubscribeError,
    UnsubscribeError, line::describe, reason::explanation,
};

pub(super) fn link_reason(end: LinkEnd) -> LinkReason {
    match end {
        LinkEnd::PeerFault { what, statement, .. } => LinkReason::PeerFault { what, statement },
        LinkEnd::Refused(connack) => LinkReason::Refused {
            reason: connack.reason,
            explanation: explanation(&connack.properties),
            properties: connack.properties,
        },
        LinkEnd::Disconnected(disconnect) => LinkReason::Disconnected {
            reason: disconnect.reason,
            explanation: explanation(&disconnect.properties),
            properties: disconnect.properties,
        },
        LinkEnd::Ours(_) => LinkReason::Ours,
        LinkEnd::Unreachable(what) | LinkEnd::Certificate(what) => LinkReason::Unreachable { what },
        LinkEnd::Lost | _ => LinkReason::Lost,
    }
}

/// A publication that the machine did not take.
pub(super) fn publish_refusal(refusal: Refusal, end: SessionEnd) -> PublishError {
    match refusal {
        Refusal::QueueFull(full) => {
            PublishError::QueueFull { messages: full.messages, bytes: full.bytes }
        }
        Refusal::TooLarge { topic, payload, payload_max } => {
            PublishError::TooLarge { topic: topic.to_string(), payload, payload_max }
        }
        Refusal::NotOffered(what) => PublishError::NotOffered(what),
        Refusal::Property(what) => PublishError::Property(what),
        Refusal::Over | _ => PublishError::Over(end),
    }
}

/// A publication that the machine took and could not complete.
pub(super) fn publish_failure(failure: Failure, end: SessionEnd) -> PublishError {
    match failure {
        Failure::Refused(reason, properties) => {
            PublishError::Refused { reason, explanation: explanation(&properties), properties }
        }
        Failure::TimedOut(ms) => PublishError::TimedOut(Duration::from_millis(ms)),
        Failure::TooLarge => PublishError::TooLargeForServer,
        Failure::Expired => PublishError::Expired,
        Failure::NotOffered(what) => PublishError::NotOffered(what),
        Failure::Dropped => PublishError::Dropped,
        Failure::SessionLost => PublishError::SessionLost,
        Failure::Parked(closes) => PublishError::Parked { closes },
        Failure::Superseded => PublishError::Superseded,
        Failure::Unreadable => PublishError::Unreadable,
        Failure::Over | _ => PublishError::Over(end),
    }
}

pub(super) fn subscribe_refusal(
    error: OperationError,
    filter: &Filter,
    end: SessionEnd,
) -> SubscribeError {
    match error {
        OperationError::TooMany(count) => SubscribeError::TooMany(count),
        OperationError::NotOffered(what) => {
            SubscribeError::NotOffered { what, filter: filter.as_str().to_owned() }
        }
        OperationError::Empty | OperationError::Over | _ => SubscribeError::Over(end),
    }
}

pub(super) fn subscribe_failure(
    failure: Failure,
    filter: &Filter,
    end: SessionEnd,
) -> SubscribeError {
    let filter = filter.as_str().to_owned();
    match failure {
        Failure::Refused(reason, properties) => subscription_refused(filter, reason, properties),
        Failure::TimedOut(ms) => SubscribeError::TimedOut(Duration::from_millis(ms)),
        Failure::NotOffered(what) => SubscribeError::NotOffered { what, filter },
        Failure::TooLarge => {
            subscription_refused(filter, ReasonCode::PacketTooLarge, Properties::new())
        }
        Failure::Expired | Failure::Dropped | Failure::Unreadable | Failure::Over | _ => {
            SubscribeError::Over(end)
        }
    }
}

pub(super) fn unsubscribe_refusal(error: &OperationError, end: SessionEnd) -> UnsubscribeError {
    match error {
        OperationError::TooMany(count) => UnsubscribeError::TooMany(*count),
        OperationError::Empty | OperationError::NotOffered(_) | OperationError::Over | _ => {
            UnsubscribeError::Over(end)
        }
    }
}

pub(super) fn unsubscribe_failure(
    failure: Failure,
    filter: String,
    end: SessionEnd,
) -> UnsubscribeError {
    match failure {
        Failure::Refused(reason, properties) => unsubscribe_refused(filter, reason, properties),
        Failure::TooLarge => {
            unsubscribe_refused(filter, ReasonCode::PacketTooLarge, Properties::new())
        }
        Failure::TimedOut(ms) => UnsubscribeError::TimedOut(Duration::from_millis(ms)),
        Failure::Expired | Failure::NotOffered(_) | Failure::Dropped | Failure::Over | _ => {
            UnsubscribeError::Over(end)
        }
    }
}

pub(super) fn subscription_refused(
    filter: String,
    reason: ReasonCode,
    properties: Properties,
) -> SubscribeError {
    let explanation = explanation(&properties);
    SubscribeError::Refused { filter, reason, explanation, properties }
}

pub(super) fn unsubscribe_refused(
    filter: String,
    reason: ReasonCode,
    properties: Properties,
) -> UnsubscribeError {
    let explanation = explanation(&properties);
    UnsubscribeError::Refused { filter, reason, explanation, properties }
}

impl Driver {
    /// Why the first attempt failed, in the words of the program.
    pub(super) fn connect_error(&self, end: LinkReason) -> ConnectError {
        let server = self.server.clone();
        if self.attempt.has_timed_out {
            return self.connect_timed_out();
        }
        let had_answer = !self.line.first_bytes().is_empty();
        match end {
            LinkReason::Refused { reason, explanation, properties }
                if is_about_credentials(reason) =>
            {
                let who = self.who.clone();
                ConnectError::Credentials { server, who, reason, explanation, properties }
            }
            LinkReason::Refused { reason, explanation, properties }
            | LinkReason::Disconnected { reason, explanation, properties } => {
                ConnectError::Refused { server, reason, explanation, properties }
            }
            LinkReason::Authentication(error) => ConnectError::Authentication { server, error },
            LinkReason::Unreachable { what } => ConnectError::Unreachable { what },
            LinkReason::Proxy(error) => ConnectError::Proxy { server, error },
            LinkReason::Tls(error) => ConnectError::Tls { server, error },
            LinkReason::WebSocket(error) => ConnectError::WebSocket { server, error },
            LinkReason::PeerFault { .. } => {
                ConnectError::NotMqtt { server, what: describe(self.line.first_bytes()) }
            }
            LinkReason::Lost if self.preparation.was_challenged() => {
                let error = AuthenticationError::Closed;
                ConnectError::Authentication { server, error }
            }
            LinkReason::Lost if had_answer => {
                ConnectError::NotMqtt { server, what: describe(self.line.first_bytes()) }
            }
            LinkReason::Lost => ConnectError::Closed { server },
            LinkReason::TimedOut => self.connect_timed_out(),
            end @ LinkReason::Ours => ConnectError::Ended(SessionEnd::Link(end)),
        }
    }

    pub(super) fn connect_timed_out(&self) -> ConnectError {
        let stage = if self.attempt.had_stream {
            "it accepted the connection and did not answer; is it an MQTT broker?"
        } else {
            "no answer from there; are host and port right, and is no firewall in between?"
        };
        ConnectError::TimedOut { server: self.server.clone(), after: self.connect_timeout, stage }
    }
}

fn is_about_credentials(reason: ReasonCode) -> bool {
    [
        ReasonCode::BadUserNameOrPassword,
        ReasonCode::NotAuthorized,
        ReasonCode::BadAuthenticationMethod,
    ]
    .contains(&reason)
}
