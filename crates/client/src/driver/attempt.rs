//! What comes before the stream of an attempt, and who is at its other end.
//!
//! ```text
//! plan --hook--> options, server --authenticator--> CONNECT --AUTH...--> CONNACK --judged--> open
//! ```

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use postrider_proto::{Plan, Time, client::ReauthenticateError as Refusal, wire::Properties};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Driver;
use crate::{
    AuthenticationError, AuthenticationExchange, Authenticator, LinkReason, ReauthenticateError,
    answer::Answer,
    line::Read,
    upcoming::{Hook, Preparing, Upcoming},
};

/// How each attempt is prepared.
pub(super) struct Preparation {
    /// What the builder says; `None` if it need not be looked at again.
    base: Option<Upcoming>,
    hook: Option<Hook>,
    preparing: Option<Preparing>,
    authenticator: Option<Arc<dyn Authenticator>>,
    /// Whether the version of the attempt has enhanced authentication.
    has_properties: bool,
    exchange: Option<Box<dyn AuthenticationExchange>>,
    /// Whether the server has sent a challenge in this attempt.
    was_challenged: bool,
    /// A challenge being answered; the exchange is there then.
    responding: Option<JoinHandle<Responded>>,
    /// Why it failed on our side.
    error: Option<AuthenticationError>,
    again: Option<Reauthentication>,
    /// How long a re-authentication may take.
    timeout: Duration,
}

/// An exchange whose challenge was answered.
struct Responded {
    exchange: Box<dyn AuthenticationExchange>,
    answer: Result<Option<Bytes>, AuthenticationError>,
    /// What AUTH says besides.
    properties: Properties,
}

/// With so many bytes read while a challenge is being answered no more are, since all of them stay in memory; the last
/// read may go beyond by as much again. Only a server that goes on with messages during a re-authentication sends so many.
const AHEAD_MAX: usize = 64 * 1024;

/// Who waits for a re-authentication.
struct Reauthentication {
    answer: Answer<Result<(), ReauthenticateError>>,
    deadline: Time,
}

impl Preparation {
    pub(super) fn new(base: Upcoming, hook: Option<Hook>, timeout: Duration) -> Self {
        let is_needed = hook.is_some() || base.authenticator.is_some();
        Self {
            base: Some(base).filter(|_| is_needed),
            hook,
            preparing: None,
            authenticator: None,
            has_properties: false,
            exchange: None,
            was_challenged: false,
            responding: None,
            error: None,
            again: None,
            timeout,
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.again.as_ref().map(|again| again.deadline)
    }

    /// Why authentication failed on our side.
    pub(super) fn error(&self) -> AuthenticationError {
        let unknown = || AuthenticationError::Malformed("it came at the wrong time");
        self.error.clone().unwrap_or_else(unknown)
    }

    /// Whether the server has asked something, so that it speaks MQTT.
    pub(super) fn was_challenged(&self) -> bool {
        self.was_challenged
    }

    /// What the next AUTH says besides its data.
    fn besides(&mut self) -> Properties {
        self.exchange.as_mut().map_or_else(Properties::new, |exchange| exchange.properties())
    }

    /// Whether an exchange is under way.
    fn is_under_way(&self) -> bool {
        self.exchange.is_some() || self.responding.is_some()
    }

    /// What is still being answered is answered to nobody.
    fn forget(&mut self) {
        self.exchange = None;
        self.responding = None;
    }

    fn begin(&mut self) -> Result<Option<Bytes>, AuthenticationError> {
        self.forget();
        self.was_challenged = false;
        let Some(authenticator) = &self.authenticator else { return Ok(None) };
        if !self.has_properties {
            return Err(AuthenticationError::Version);
        }
        let mut exchange = authenticator.begin()?;
        let first = exchange.first()?;
        self.exchange = Some(exchange);
        Ok(first)
    }
}

impl Driver {
    /// Does what comes before the stream.
    pub(super) fn prepare(&mut self, plan: Plan) {
        let Some(base) = &self.preparation.base else {
            return self.open_stream(plan.attempt, plan.server);
        };
        let last = Some(self.last_reason.clone()).filter(|_| self.has_tried);
        self.has_tried = true;
        self.preparation.has_properties = plan.has_properties;
        let upcoming = Upcoming { number: plan.attempt, server: plan.server, last, ..base.clone() };
        match &self.preparation.hook {
            Some(hook) => self.preparation.preparing = Some(hook.call(upcoming)),
            None => self.take_prepared(upcoming),
        }
    }

    /// Polls the hook; says whether it is done.
    pub(super) fn poll_prepare(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(preparing) = &mut self.preparation.preparing else { return false };
        let Poll::Ready(prepared) = preparing.as_mut().poll(cx) else { return false };
        self.preparation.preparing = None;
        match prepared {
            Ok(upcoming) => self.take_prepared(upcoming),
            Err(what) => self.machine.handle_dial_failed(what, self.now),
        }
        true
    }

    pub(super) fn is_dialing(&self) -> bool {
        self.preparation.preparing.is_some() || self.line.is_dialing()
    }

    /// Gives the attempt up while there is no stream.
    pub(super) fn cut_dial(&mut self) {
        self.preparation.preparing = None;
        self.line.cut();
    }

    fn take_prepared(&mut self, upcoming: Upcoming) {
        self.who = upcoming.who();
        self.preparation.authenticator.clone_from(&upcoming.authenticator);
        self.preparation.error = None;
        let first = match self.preparation.begin() {
            Ok(first) => first,
            Err(error) => return self.reject(error),
        };
        match upcoming.options(first) {
            Ok(options) => {
                self.machine.set_connect_options(options);
                self.open_stream(upcoming.number, upcoming.server);
            }
            Err(error) => self.machine.handle_dial_failed(error.to_string(), self.now),
        }
    }

    /// Has a challenge answered on a thread that may take its time: pings and messages to the server go on meanwhile.
    pub(super) fn handle_challenge(&mut self, data: Option<Bytes>, properties: Properties) {
        tracing::trace!(server = %self.server, count = properties.iter().count(), "challenge");
        self.preparation.was_challenged = true;
        let Some(mut exchange) = self.preparation.exchange.take() else {
            return self.reject(AuthenticationError::Malformed("a challenge at the wrong time"));
        };
        self.preparation.responding = Some(spawn_blocking(move || {
            exchange.handle_properties(&properties);
            let answer = exchange.respond(&data.unwrap_or_default());
            let properties = match answer {
                Ok(_) => exchange.properties(),
                Err(_) => Properties::new(),
            };
            Responded { exchange, answer, properties }
        }));
    }

    /// Polls the answer to a challenge; says whether there is one.
    pub(super) fn poll_respond(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(responding) = &mut self.preparation.responding else { return false };
        let Poll::Ready(responded) = Pin::new(responding).poll(cx) else { return false };
        self.preparation.responding = None;
        match responded {
            Ok(Responded { exchange, answer: Ok(data), properties }) => {
                self.preparation.exchange = Some(exchange);
                self.machine.answer_challenge(data, properties, self.now);
                self.feed();
            }
            Ok(Responded { answer: Err(error), .. }) => self.reject(error),
            Err(_) => {
                let what = "the authentication method panicked".to_owned();
                self.reject(AuthenticationError::Other(what));
            }
        }
        true
    }

    /// While a challenge is being answered the machine takes nothing. Reads on all the same, up to a bound, so that the end
    /// of the connection is noticed; says whether that has come.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> bool {
        while self.preparation.responding.is_some() && self.line.input.bytes.len() < AHEAD_MAX {
            match self.line.poll_read(cx) {
                Poll::Ready(Read::Some) => {}
                Poll::Ready(Read::End) => {
                    if self.line.fault().is_none() {
                        self.machine.handle_last_bytes(&mut self.line.input.bytes, self.now);
                    }
                    self.close();
                    return true;
                }
                Poll::Pending => break,
            }
        }
        false
    }

    /// The server begins a re-authentication.
    pub(super) fn handle_reauthentication_wanted(&mut self) {
        match self.preparation.begin() {
            Ok(first) => {
                let besides = self.preparation.besides();
                self.machine.answer_challenge(first, besides, self.now);
                self.feed();
            }
            Err(error) => self.reject(error),
        }
    }

    pub(super) fn handle_authenticated(&mut self, data: Option<Bytes>, properties: &Properties) {
        let judged = match &mut self.preparation.exchange {
            Some(exchange) => {
                exchange.handle_properties(properties);
                exchange.finish(&data.unwrap_or_default())
            }
            None => Ok(()),
        };
        self.preparation.exchange = None;
        if let Err(error) = judged {
            return self.reject(error);
        }
        self.machine.confirm_server(self.now);
        if let Some(again) = self.preparation.again.take() {
            tracing::debug!(server = %self.server, "authenticated again");
            again.answer.give(Ok(()));
        }
        self.feed();
    }

    pub(super) fn reauthenticate(&mut self, answer: Answer<Result<(), ReauthenticateError>>) {
        // The server may have begun one, too.
        let busy = self.preparation.again.is_some() || self.preparation.is_under_way();
        let error = if !self.is_connected {
            ReauthenticateError::NotConnected
        } else if self.preparation.authenticator.is_none() {
            ReauthenticateError::NoAuthenticator
        } else if busy {
            ReauthenticateError::Busy
        } else {
            match self.preparation.begin() {
                Ok(first) => {
                    let besides = self.preparation.besides();
                    match self.machine.reauthenticate(first, besides, self.now) {
                        Ok(()) => {
                            let ms = crate::builder::ms(self.preparation.timeout);
                            let deadline = self.now.plus_ms(ms);
                            self.preparation.again = Some(Reauthentication { answer, deadline });
                            return;
                        }
                        Err(Refusal::NotConnected) => ReauthenticateError::NotConnected,
                        Err(Refusal::NoMethod) => ReauthenticateError::NoAuthenticator,
                        Err(Refusal::Busy) => ReauthenticateError::Busy,
                    }
                }
                Err(error) => ReauthenticateError::Failed(error),
            }
        };
        answer.give(Err(error));
    }

    /// Ends a connection whose server does not answer a re-authentication. Spec: v5 [MQTT-4.12.1-2].
    pub(super) fn expire_reauthentication(&mut self) {
        if self.preparation.deadline().is_none_or(|deadline| deadline > self.now) {
            return;
        }
        if let Some(again) = self.preparation.again.take() {
            again.answer.give(Err(ReauthenticateError::TimedOut(self.preparation.timeout)));
            self.close();
        }
    }

    /// The connection ended.
    pub(super) fn end_authentication(&mut self, reason: &LinkReason) {
        self.preparation.forget();
        if let Some(again) = self.preparation.again.take() {
            again.answer.give(Err(if let LinkReason::Authentication(error) = reason {
                ReauthenticateError::Failed(error.clone())
            } else {
                ReauthenticateError::Disconnected(reason.clone())
            }));
        }
    }

    /// Ends a connection, or an attempt, whose exchange failed on our side.
    fn reject(&mut self, error: AuthenticationError) {
        let what = error.to_string();
        self.preparation.error = Some(error);
        self.machine.reject_server(what, self.now);
    }
}
