//! What a client's events have brought, and waiting for it.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::message::Message;

/// How long a condition may take to become true.
pub const WAIT_MAX: Duration = Duration::from_secs(20);

/// What has happened on one connection.
#[derive(Debug, Default)]
pub struct State {
    /// The session present flag of the CONNACK.
    pub resumed: Option<bool>,
    /// The client id that the broker assigned.
    pub assigned_id: Option<String>,
    /// Messages that came.
    pub messages: Vec<Message>,
    /// Codes of SUBACKs that nobody has waited for.
    pub granted: VecDeque<u8>,
    /// UNSUBACKs.
    pub unsubscribed: usize,
    /// PUBACKs and PUBCOMPs.
    pub completed: usize,
    /// Why the connection is over.
    pub ended: Option<String>,
}

/// The state, shared by a library's thread and the case's.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

impl Inbox {
    /// Changes the state and wakes who waits.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until `find` finds something.
    pub fn until<R>(&self, what: &str, mut find: impl FnMut(&mut State) -> Option<R>) -> Result<R> {
        let deadline = Instant::now() + WAIT_MAX;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find(&mut state) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let texts: Vec<String> = state.messages.iter().map(Message::text).collect();
                bail!("waited in vain for {what}; ended: {:?}; messages: {texts:?}", state.ended);
            }
            (state, _) =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for an answer; fails at once if the connection is over.
    pub fn answer<R>(
        &self,
        what: &str,
        mut find: impl FnMut(&mut State) -> Option<R>,
    ) -> Result<R> {
        self.until(what, |state| match (find(state), &state.ended) {
            (Some(found), _) => Some(Ok(found)),
            (None, Some(why)) => Some(Err(anyhow::anyhow!("{what}: the connection ended: {why}"))),
            (None, None) => None,
        })?
    }
}
