//! How a session begins and ends.
//!
//! ```text
//! Connecting --CONNACK--> Running --disconnect, no handles--> Draining --idle, too late--> Leaving --> Over
//!      `--failed, too late, given up------------------------------------------------------------------^
//! ```

use postrider_proto::{
    Time,
    wire::{Disconnect, Properties, Property, ReasonCode},
};

use postrider_store::StoreError;

use super::Driver;
use crate::{
    ConnectError, DisconnectError, SessionEnd, answer::Answer, builder::ms,
    command::DisconnectCommand,
};

/// Where a session is in its life.
pub(super) enum Life {
    /// The first attempt is under way.
    Connecting(Answer<Result<(), ConnectError>>),
    Running,
    /// Publications complete; then the session ends.
    Draining(Leave, Time),
    /// DISCONNECT is on its way.
    Leaving(Leave),
    /// For good.
    Over(Leave),
}

/// Who wants to know how the session was left.
#[derive(Default)]
pub(super) struct Leave {
    disconnect: Option<Disconnect>,
    session_expiry_s: Option<u32>,
    answers: Vec<Answer<Result<(), DisconnectError>>>,
    /// Publications that were not complete.
    unfinished: u64,
}

impl Life {
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over(_))
    }

    /// Whether new requests are taken.
    pub(super) fn takes_commands(&self) -> bool {
        matches!(self, Self::Connecting(_) | Self::Running)
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            Self::Draining(_, until) => Some(*until),
            Self::Connecting(_) | Self::Running | Self::Leaving(_) | Self::Over(_) => None,
        }
    }
}

/// Milliseconds for which a session without handles still tries to complete its publications.
const ABANDONED_FLUSH_MS: u64 = 10_000;

impl Driver {
    /// Begins to leave, or joins those who do.
    pub(super) fn leave(&mut self, command: DisconnectCommand) {
        match &mut self.life {
            Life::Connecting(_) | Life::Running => {
                let until = self.now.plus_ms(ms(command.flush));
                let leave = Leave {
                    disconnect: Some(command.disconnect),
                    session_expiry_s: command.session_expiry_s,
                    answers: vec![command.answer],
                    unfinished: 0,
                };
                // What it waited behind publishers counts.
                let until = self.leaving_until.map_or(until, |noted| noted.min(until));
                self.life = Life::Draining(leave, until);
            }
            Life::Draining(leave, until) => {
                *until = (*until).min(self.now.plus_ms(ms(command.flush)));
                leave.answers.push(command.answer);
            }
            Life::Leaving(leave) | Life::Over(leave) => leave.answers.push(command.answer),
        }
    }

    /// Notes that somebody leaves, before the command that says so has its turn.
    pub(super) fn note_leaving(&mut self) {
        if let Some(flush_ms) = self.shared.take_leaving_ms() {
            let until = self.now.plus_ms(flush_ms);
            self.leaving_until = Some(self.leaving_until.map_or(until, |noted| noted.min(until)));
        } else if self.is_abandoned {
            self.leaving_until.get_or_insert_with(|| self.now.plus_ms(ABANDONED_FLUSH_MS));
        }
    }

    /// Whether commands wait for room, and with them perhaps who leaves.
    pub(super) fn is_held_up(&self) -> bool {
        !self.inbox.is_empty() && self.life.takes_commands()
    }

    /// Whether publications are waited for before the session ends.
    pub(super) fn is_draining(&self) -> bool {
        matches!(self.life, Life::Draining(..))
    }

    /// Takes the next step of a life.
    pub(super) fn step_life(&mut self) {
        if self.is_abandoned && self.inbox.is_empty() && self.shared.mailbox.is_empty() {
            match self.life {
                Life::Connecting(_) => self.life = Life::Draining(Leave::default(), self.now),
                Life::Running => {
                    let until = self.leaving_until.unwrap_or(self.now);
                    self.life = Life::Draining(Leave::default(), until);
                }
                Life::Draining(..) | Life::Leaving(_) | Life::Over(_) => {}
            }
        }
        let Life::Draining(leave, until) = &mut self.life else { return };
        // What is written last has only a moment until the connection is closed.
        let is_done = self.machine.is_idle() && self.machine.is_written() && self.line.is_flushed();
        if self.is_connected && !is_done && self.now < *until {
            return;
        }
        let mut leave = std::mem::take(leave);
        let stats = self.machine.stats();
        leave.unfinished = u64::from(stats.queued) + u64::from(stats.flights);
        if self.vault.is_durable() {
            // They wait in the store.
            leave.unfinished = 0;
        } else if leave.unfinished > 0 {
            let messages = leave.unfinished;
            tracing::warn!(server = %self.server, messages, "disconnecting with open publications");
        }
        let disconnect = self.goodbye(leave.disconnect.take(), leave.session_expiry_s);
        self.life = Life::Leaving(leave);
        self.machine.disconnect(disconnect, self.now);
        if self.is_dialing() {
            self.cut_dial();
        }
    }

    /// Makes no further attempt at the first connection.
    pub(super) fn stop_connecting(&mut self) {
        self.life = Life::Leaving(Leave::default());
        let disconnect = self.goodbye(None, None);
        self.machine.disconnect(disconnect, self.now);
    }

    /// The DISCONNECT to send. A session that began clean serves nobody after us, so a server need not keep it.
    fn goodbye(&self, wanted: Option<Disconnect>, expiry_s: Option<u32>) -> Disconnect {
        let mut disconnect = wanted
            .unwrap_or(Disconnect { reason: ReasonCode::Success, properties: Properties::new() });
        let limits = self.limits.filter(|limits| limits.has_properties);
        match limits {
            Some(limits) => {
                let expiry_s = expiry_s.or_else(|| self.clean_start.then_some(0));
                if let Some(expiry_s) = expiry_s.filter(|wanted| *wanted != limits.session_expiry_s)
                {
                    disconnect.properties.set(Property::SessionExpiryInterval(expiry_s));
                }
            }
            None => {
                disconnect.reason = ReasonCode::Success;
                disconnect.properties = Properties::new();
            }
        }
        disconnect
    }

    /// The machine says that the session is over; the line may still have to be flushed.
    pub(super) fn handle_over(&mut self, end: SessionEnd) {
        tracing::info!(server = %self.server, "session over: {end}");
        self.fail_connect(ConnectError::Ended(end.clone()));
        let leave = match std::mem::replace(&mut self.life, Life::Running) {
            Life::Connecting(_) | Life::Running => Leave::default(),
            Life::Draining(leave, _) | Life::Leaving(leave) | Life::Over(leave) => leave,
        };
        self.life = Life::Over(leave);
        self.attempt.deadline = None;
        self.shared.set_end(end);
        if self.is_dialing() {
            self.cut_dial();
        }
    }

    /// The store has failed: what waits for it never leaves, and the session ends.
    pub(super) fn fail_store(&mut self, error: StoreError) {
        tracing::error!(server = %self.server, "{error}");
        self.line.cut();
        self.is_connected = false;
        self.shared.set_connected(None);
        if !self.life.is_over() {
            self.handle_over(SessionEnd::Store(error));
        }
    }

    /// Closes the store, with all that was written synced.
    pub(super) async fn close_store(&mut self) {
        let Some(disk) = self.vault.take_disk() else { return };
        let closed = tokio::task::spawn_blocking(move || disk.close()).await;
        // A runtime that shuts down closes it all the same, and nobody is there to hear how.
        if let Ok(Err(error)) = closed {
            tracing::error!(server = %self.server, "{error}");
            self.close_error = Some(error);
        }
    }

    /// Tells everybody that nothing more will come. Harmless when called again.
    pub(super) fn finish(&mut self) {
        self.shared.set_end(SessionEnd::Stopped);
        self.shared.close_outcomes();
        self.shared.requests.close();
        let end = self.shared.end();
        let late = self.shared.mailbox.close();
        for command in std::mem::take(&mut self.inbox).into_iter().chain(late) {
            self.refuse(command, &end);
        }
        for answer in self.pending.drain() {
            // Nobody waits for an answer that comes back; the session's end was told already.
            let _ = answer.done(Err(crate::PublishError::Over(end.clone())));
        }
        for claim in std::mem::take(&mut self.claims).into_values().flatten() {
            let _ = claim.done(Err(crate::PublishError::Over(end.clone())));
        }
        for operation in std::mem::take(&mut self.operations).into_values() {
            operation.refuse(&end);
        }
        self.dispatch.end_all(&end);
        if let Life::Over(leave) | Life::Leaving(leave) | Life::Draining(leave, _) = &mut self.life
        {
            let result = match (&end, self.close_error.take(), leave.unfinished) {
                (SessionEnd::Disconnected, None, 0) => Ok(()),
                (SessionEnd::Disconnected, None, messages) => {
                    Err(DisconnectError::Unfinished { messages })
                }
                (SessionEnd::Disconnected, Some(error), _) => {
                    Err(DisconnectError::Over(SessionEnd::Store(error)))
                }
                (end, _, _) => Err(DisconnectError::Over(end.clone())),
            };
            leave.answers.drain(..).for_each(|answer| answer.give(result.clone()));
        }
        if let Some((answer, error)) = self.refused.take() {
            answer.give(Err(error));
        }
    }
}
