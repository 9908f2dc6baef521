//! CONNECTs whose answer is not known, and what follows for the session.
//!
//! A server that has no session begins one at CONNECT. If its CONNACK is lost, or we die before what it says is stored, the
//! next CONNACK says "session present" and means the new session, while ours is the old one: its received ids would make
//! new messages look like repeats, and the new session has no subscriptions. The standard has no word for this. So:
//!
//! ```text
//! store: "asked" --stored--> CONNECT --> CONNACK, no session -----> ids forgotten --stored--> SUBSCRIBE
//!                                  `---> CONNACK, session present
//!                                          | every CONNECT before was answered: go on
//!                                          | not: PINGREQ --> PUBLISH or PUBREL: the old session, go on
//!                                          |           `----> PINGRESP: a new one, ids forgotten --stored--> SUBSCRIBE
//! store: "answered" once every subscription is granted again
//! ```
//!
//! A session that we do not know of has no subscriptions, because SUBSCRIBE waits; so whatever the server sends before is
//! sent from the old session. And if it has the old one it sends first what is not finished there
//! (v5 [MQTT-4.4.0-1]), which is at least one packet for each received id.

use postrider_wire::Publish;

use super::{Client, Phase};
use crate::{
    Durability, Fact, Link, Time,
    mutation::{Mutation, planted},
};

/// What is known of the answers to our CONNECTs.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Whether a CONNECT may have left whose answer we do not know.
    is_open: bool,
    /// Whether there was such a one before the CONNECT of this link.
    was_open: bool,
    /// The record that says so; `None` if there is none.
    mark: Option<u64>,
    /// Operations wait until this record is stored, on whatever link.
    settled: u64,
    // Link.
    /// Whether PINGRESP will tell.
    is_asking: bool,
}

impl Answers {
    /// The store says that there was a CONNECT and no answer.
    pub(super) fn recover(&mut self, is_open: bool) {
        self.is_open = is_open;
        self.mark = is_open.then_some(0);
    }

    /// CONNECT is written.
    pub(super) fn asked(&mut self) {
        self.was_open = self.is_open;
        self.is_open = true;
        self.is_asking = false;
    }

    /// CONNACK said no, so the server began nothing.
    pub(super) fn refused(&mut self) {
        self.is_open = self.was_open;
    }
}

impl Client {
    /// Records that a CONNECT is about to leave, if anything depends on its answer.
    pub(super) fn mark_connect(&mut self, now: Time) {
        let is_at_stake = self.session.has_received() || !self.subscriptions.is_empty();
        let expiry_s = self.config.session_expiry_s;
        if self.answers.mark.is_none() && self.has_session && is_at_stake && expiry_s > 0 {
            let (client_id, detached) = (self.client_id.clone(), Some(now));
            let asked = Fact::Session { client_id, expiry_s, detached };
            let is_planted = planted(Mutation::ConnectNotMarked);
            let seq = if is_planted { 0 } else { self.session.record(asked, &mut self.journal) };
            self.answers.mark = Some(seq);
        }
    }

    /// Whether the store knows that CONNECT leaves, as far as it must.
    pub(super) fn may_connect(&self) -> bool {
        self.journal.is_stored(self.answers.mark.unwrap_or_default(), Durability::Durable)
    }

    /// The server says that it has the session. Returns whether that is certainly ours; otherwise it may be a new one, and
    /// if anything depends on that the server is asked.
    pub(super) fn is_own_session(&mut self, now: Time) -> bool {
        if !self.answers.was_open || planted(Mutation::NewSessionTrusted) {
            return true;
        }
        if self.session.doubt_received() {
            self.answers.is_asking = true;
            if let Some(link) = &mut self.link {
                link.ping(now);
            }
        }
        false
    }

    /// Whether it is not known yet which session the server has.
    pub(super) fn is_doubting(&self) -> bool {
        self.answers.is_asking
    }

    /// It is known which session the server has. `is_discarding` says whether the last records discard what was received:
    /// operations wait for them.
    pub(super) fn settle(&mut self, is_discarding: bool) {
        self.answers.is_asking = false;
        if is_discarding {
            self.answers.settled = self.journal.last();
        }
        self.answered();
    }

    /// Records that no answer is open, once the server certainly has every subscription.
    pub(super) fn answered(&mut self) {
        let Some(limits) = self.limits().filter(|_| !self.answers.is_asking) else { return };
        if self.answers.is_open && self.subscriptions.is_certain() {
            let (client_id, expiry_s) = (self.client_id.clone(), limits.session_expiry_s);
            let known = Fact::Session { client_id, expiry_s, detached: None };
            self.session.record(known, &mut self.journal);
            (self.answers.is_open, self.answers.mark) = (false, None);
        }
    }

    /// Whether a SUBSCRIBE may leave: messages that follow from it must not meet received ids of an older session, in
    /// memory or in the store.
    pub(super) fn may_operate(&self) -> bool {
        let is_early = planted(Mutation::SubscribedInDoubt);
        let is_settled = self.journal.is_stored(self.answers.settled, Durability::Durable);
        is_early || is_settled && !self.answers.is_asking
    }

    /// The server sent something from the session: a new one would have nothing to send.
    pub(super) fn handle_life_sign(&mut self, now: Time) {
        if self.answers.is_asking {
            self.session.trust_received();
            self.end_doubt(false, now);
        }
    }

    /// PINGRESP came, and nothing of the session before it.
    pub(super) fn handle_silence(&mut self, now: Time) {
        if self.answers.is_asking {
            self.session.discard_received(&mut self.journal);
            self.remarks.forget_completions();
            self.end_doubt(true, now);
        }
    }

    /// A PUBLISH is sent again, although it looked as if the server had another session: it answered PINGREQ first.
    pub(super) fn recall(&mut self, publish: &Publish) {
        if let Some(packet_id) = publish.packet_id.filter(|_| publish.dup) {
            self.session.recall(packet_id, &mut self.journal);
        }
    }

    fn end_doubt(&mut self, is_discarding: bool, now: Time) {
        let Some(limits) = self.link.as_ref().and_then(Link::limits).copied() else { return };
        // Of an old session not all of them may have been granted again when the last link ended.
        self.subscriptions.doubt_all();
        self.settle(is_discarding);
        self.resubscribe(&limits, true);
        self.send_operations(now);
        self.tell_settled();
    }

    /// The stream waited for the store.
    pub(super) fn connect_marked(&mut self, now: Time) {
        if self.phase == Phase::Ready && self.may_connect() {
            self.open_link(now);
        }
    }
}
