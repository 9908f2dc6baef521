//! Enhanced authentication: the order of its packets. What is in them is the program's business.
//!
//! ```text
//! CONNECT with method --> [ AUTH 0x18 <--> AUTH 0x18 ] --> CONNACK     --confirmed--> open
//! open --AUTH 0x19-->     [ AUTH 0x18 <--> AUTH 0x18 ] --> AUTH 0x00   --confirmed--> open
//!                              `--rejected--> over
//! ```
//!
//! Nothing that comes behind a packet of the server is looked at before the program has answered, or the stream has ended.
//! Spec: v5 section 4.12.

use alloc::string::String;

use bytes::{Bytes, BytesMut};
use postrider_wire::{
    Auth, ConnAck, Disconnect, Packet, Properties, Property, ReasonCode, Text, Will,
};

use super::{Client, Event, Phase};
use crate::{Gate, LinkEnd, Time};

/// What the next CONNECT says, where it may change from one attempt to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// User name.
    pub user_name: Option<Text>,
    /// Password.
    pub password: Option<Bytes>,
    /// Keep alive in seconds; 0 turns it off.
    pub keep_alive_s: u16,
    /// Will.
    pub will: Option<Will>,
    /// As [`super::ClientConfig::connect_properties`]. An Authentication Method among them asks for enhanced
    /// authentication.
    pub properties: Properties,
}

/// Why no re-authentication was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReauthenticateError {
    /// There is no connection.
    NotConnected,
    /// CONNECT had no Authentication Method. Spec: v5 [MQTT-4.12.0-7].
    NoMethod,
    /// One is under way.
    Busy,
}

/// Where an exchange is.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// The CONNACK of success that the program has not confirmed.
    connack: Option<ConnAck>,
    /// The program's turn.
    is_asking: bool,
    /// Between AUTH 0x19 and its end.
    is_again: bool,
    /// Nobody can be answered any more, so the program is asked nothing.
    is_cut: bool,
}

impl Client {
    /// Changes what the next CONNECT says; to be called between [`super::Output::Dial`] and
    /// [`Client::handle_connected`].
    pub fn set_connect_options(&mut self, options: ConnectOptions) {
        let config = &mut self.config;
        config.user_name = options.user_name;
        config.password = options.password;
        config.keep_alive_s = options.keep_alive_s;
        config.will = options.will;
        config.connect_properties = options.properties;
    }

    /// Begins a re-authentication (AUTH 0x19) with the first data of the method, and what is said besides: reason string
    /// and user properties. Messages go on meanwhile.
    ///
    /// # Errors
    /// [`ReauthenticateError`]; nothing was sent then.
    pub fn reauthenticate(
        &mut self,
        data: Option<Bytes>,
        besides: Properties,
        _now: Time,
    ) -> Result<(), ReauthenticateError> {
        if self.phase != Phase::Open {
            return Err(ReauthenticateError::NotConnected);
        }
        if self.method().is_none() {
            return Err(ReauthenticateError::NoMethod);
        }
        if self.exchange.is_again {
            return Err(ReauthenticateError::Busy);
        }
        self.exchange.is_again = true;
        self.send_auth(ReasonCode::ReAuthenticate, data, besides);
        Ok(())
    }

    /// Answers [`Event::Challenge`], or [`Event::ReauthenticationWanted`] with the first data of the method, and what is
    /// said besides: reason string and user properties.
    pub fn answer_challenge(&mut self, data: Option<Bytes>, besides: Properties, _now: Time) {
        if core::mem::take(&mut self.exchange.is_asking) {
            self.send_auth(ReasonCode::ContinueAuthentication, data, besides);
        }
    }

    /// Answers [`Event::Authenticated`]: the server is whom it says it is, as far as the method can tell.
    pub fn confirm_server(&mut self, now: Time) {
        if !core::mem::take(&mut self.exchange.is_asking) {
            return;
        }
        match self.exchange.connack.take() {
            Some(connack) => self.go_on(connack, now),
            None => self.exchange.is_again = false,
        }
    }

    /// Answers [`Event::Challenge`] or [`Event::Authenticated`]: ends the link, for a reason that is for people. While
    /// dialing it ends the attempt: there is nothing to say in CONNECT.
    /// Spec: v5 [MQTT-4.12.1-2].
    pub fn reject_server(&mut self, what: String, now: Time) {
        if self.phase == Phase::Dialing {
            self.had_connack = false;
            return self.end_link(LinkEnd::Untrusted(what), now);
        }
        if !core::mem::take(&mut self.exchange.is_asking) {
            return;
        }
        if let Some(link) = &mut self.link {
            // The codes that would say more are for servers.
            let reason = ReasonCode::UnspecifiedError;
            link.end(Disconnect { reason, properties: Properties::new() });
        }
        self.break_link(LinkEnd::Untrusted(what), now);
    }

    /// The stream ended while the program was asked something, and these bytes came before: its answer is of no use, and
    /// what the server said last is looked at, a refusal above all. [`Client::handle_closed`] must follow.
    ///
    /// A server that the program has not confirmed is not believed anything.
    pub fn handle_last_bytes(&mut self, input: &mut BytesMut, now: Time) {
        if self.exchange.connack.is_none() {
            self.exchange.is_asking = false;
            self.exchange.is_cut = true;
            self.handle_bytes(input, now);
        }
    }

    /// Whether the program must say something before more of the server's packets are looked at.
    pub(super) fn is_asking(&self) -> bool {
        self.exchange.is_asking
    }

    /// A CONNACK of success: the program judges it first if there is a method.
    pub(super) fn take_success(&mut self, connack: ConnAck, now: Time) {
        if self.method().is_none() {
            return self.go_on(connack, now);
        }
        let properties = connack.properties.clone();
        let data = properties.authentication_data().cloned();
        self.exchange.connack = Some(connack);
        self.ask(Event::Authenticated { data, properties });
    }

    /// The link has checked that there is a method, that it is the same, and that the code may come from a server.
    pub(super) fn handle_auth(&mut self, auth: Auth, now: Time) {
        if auth.reason == ReasonCode::ReAuthenticate && !self.exchange.is_again {
            self.exchange.is_again = true;
            return self.ask(Event::ReauthenticationWanted);
        }
        let is_out_of_turn = !self.exchange.is_again || auth.reason == ReasonCode::ReAuthenticate;
        if self.phase == Phase::Open && is_out_of_turn {
            let what = "AUTH that no AUTH of ours asked for";
            return self.accuse(ReasonCode::ProtocolError, "MQTT-4.12.1-1", what, now);
        }
        let data = auth.properties.authentication_data().cloned();
        let properties = auth.properties;
        let event = if auth.reason == ReasonCode::Success {
            Event::Authenticated { data, properties }
        } else {
            Event::Challenge { data, properties }
        };
        self.ask(event);
    }

    /// It is the program's turn.
    fn ask(&mut self, question: Event) {
        self.exchange.is_asking = true;
        if !self.exchange.is_cut {
            self.events.push_back(question);
        }
    }

    fn method(&self) -> Option<&Text> {
        self.config.connect_properties.authentication_method()
    }

    fn send_auth(&mut self, reason: ReasonCode, data: Option<Bytes>, besides: Properties) {
        let Some(method) = self.method().cloned() else { return };
        let mut properties = besides;
        properties
            .retain(|it| matches!(it, Property::ReasonString(_) | Property::UserProperty(..)));
        properties.push(Property::AuthenticationMethod(method));
        if let Some(data) = data {
            properties.push(Property::AuthenticationData(data));
        }
        let packet = Packet::Auth(Auth { reason, properties });
        if let Some(link) = &mut self.link {
            // What does not fit cannot be said; the server's timeout ends it.
            let _ = link.send(&packet, Gate::default());
        }
    }
}
