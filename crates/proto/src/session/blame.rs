//! A message at which the peer closes the link each time.
//!
//! ```text
//! link closed at once --again--> careful: one message at a time --closed again and again--> parked
//!                                                `--all answered--> as before
//! ```
//!
//! Some servers say what they think of a message by closing (AWS IoT, Azure IoT Hub, size limits), and a message that
//! is sent again after each reconnect would keep the session from ever getting further.

use alloc::{sync::Arc, vec::Vec};

use super::Session;
use crate::{Fact, Journal, Message, Time, session::Fate, session::flights::Chain};

/// What is held against messages in flight. Not recorded: a new process begins with none of it.
#[derive(Debug, Default)]
pub(super) struct Blame {
    /// Links in a row that the peer closed right after messages were sent.
    closed_in_a_row: u32,
    /// The message that was alone on its way when the peer closed, and how often.
    suspect: Option<(u64, u32)>,
    /// When a PUBLISH of QoS 1 or 2 was written last.
    last_sent: Option<Time>,
    // Link: reset by attach.
    /// One message at a time until all up to this number are answered.
    careful_until: Option<u64>,
    /// The window to go on with then.
    window: u32,
    parked: Vec<Parked>,
}

/// A message that is not sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Its number.
    pub number: u64,
    /// How often the peer closed the link right after it was sent.
    pub closes: u32,
    /// The message.
    pub message: Arc<Message>,
}

/// Closed links in a row after which messages are sent one at a time, to see which it is.
const CAREFUL_AFTER: u32 = 2;
/// Milliseconds after a PUBLISH within which a close is held against it.
const SOON_MS: u64 = 10_000;

impl Session {
    /// The link ended, before [`Session::detach`]. `is_closed_by_peer` says whether the peer ended it, other than by
    /// silence. Messages that are given up for it are told by [`Session::poll_parked`], besides their fate.
    pub fn judge(&mut self, is_closed_by_peer: bool, journal: &mut Journal, now: Time) {
        let closes_max = self.config.closes_max;
        let is_soon = self.blame.last_sent.is_some_and(|at| now.ms_since(at) < SOON_MS);
        let mut open = self.flights.walk(Chain::Publishes).filter(|(_, flight)| flight.is_counted);
        let first = open.next();
        let is_alone = open.next().is_none();
        drop(open);
        let Some((slot, flight)) = first.filter(|_| is_closed_by_peer && is_soon && closes_max > 0)
        else {
            self.blame.closed_in_a_row = 0;
            return;
        };
        let (number, message) = (flight.number, flight.message.clone());
        self.blame.closed_in_a_row = self.blame.closed_in_a_row.saturating_add(1);
        if !is_alone {
            return;
        }
        let closes = match self.blame.suspect {
            Some((suspect, closes)) if suspect == number => closes.saturating_add(1),
            Some(_) | None => 1,
        };
        self.blame.suspect = Some((number, closes));
        if closes >= closes_max {
            self.change(Fact::Finished { number }, Some(slot), journal);
            self.give_up(number, Fate::Parked(closes));
            self.blame.suspect = None;
            self.blame.closed_in_a_row = 0;
            let parked = message.map(|message| Parked { number, closes, message });
            self.blame.parked.extend(parked);
        }
    }

    /// The next message that was given up because the peer closed the link at it each time.
    pub fn poll_parked(&mut self) -> Option<Parked> {
        self.blame.parked.pop()
    }

    /// The window of a new link: one message at a time if the last ones were closed.
    pub(super) fn careful_window(&mut self, window: u32) -> u32 {
        self.blame.window = window;
        self.blame.careful_until = None;
        let is_careful =
            self.blame.closed_in_a_row >= CAREFUL_AFTER || self.blame.suspect.is_some();
        if self.config.closes_max == 0 || !is_careful || self.flights.is_empty() {
            return window;
        }
        self.blame.careful_until = Some(self.flights.number_max());
        1
    }

    pub(super) fn note_sent(&mut self, now: Time) {
        self.blame.last_sent = Some(now);
    }

    /// A message was answered: it is under no suspicion, and the window opens when all that were have been.
    pub(super) fn absolve(&mut self, number: u64) {
        if self.blame.suspect.is_some_and(|(suspect, _)| suspect == number) {
            self.blame.suspect = None;
        }
        let Some(until) = self.blame.careful_until else { return };
        let first = self.flights.walk(Chain::Publishes).next();
        if first.is_none_or(|(_, flight)| flight.number > until) {
            self.blame.careful_until = None;
            if let Some(facing) = &mut self.link {
                facing.window = self.blame.window;
            }
        }
    }
}
