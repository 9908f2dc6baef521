//! Counts of one session, for people and progress bars.

use std::time::Duration;

/// Counts of one session, as of the driver's last turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages published and not sent yet. Those at QoS 0 that a connection has yet to take are not counted.
    pub queued: u32,
    /// Messages sent whose exchange is not complete.
    pub in_flight: u32,
    /// Bytes of both.
    pub bytes: u64,
    /// Messages taken from the program.
    pub published: u64,
    /// Messages that arrived.
    pub received: u64,
    /// Messages of resumed sessions beyond [`crate::Builder::receive_maximum`], which the server should have held back (5.0).
    pub surplus: u64,
    /// Messages sent again after a connection was lost.
    pub resent: u64,
    /// Published messages dropped or refused because the queue was full.
    pub dropped_full: u64,
    /// Published messages dropped because there was no connection (QoS 0).
    pub dropped_offline: u64,
    /// Published messages dropped because they expired.
    pub dropped_expired: u64,
    /// Published messages dropped because the server takes none so large.
    pub dropped_too_large: u64,
    /// Published messages dropped because the server does not offer their QoS, or retain.
    pub dropped_not_offered: u64,
    /// Published messages dropped because the store did not give them back.
    pub dropped_unreadable: u64,
    /// Published messages dropped because a later one to their topic took their place.
    pub dropped_superseded: u64,
    /// Published messages dropped because the server closed the connection at them each time
    /// ([`crate::Event::Parked`]).
    pub dropped_parked: u64,
    /// Published messages refused when nobody waited for the answer.
    pub refused: u64,
    /// Arrived messages that a slow stream gave up: at QoS 0 past its stall budget, at any with
    /// [`crate::WhenSlow::DropOldest`] and [`crate::WhenSlow::KeepLatest`].
    pub dropped_slow: u64,
    /// Arrived messages that gave way to a later one of their topic ([`crate::WhenSlow::KeepLatest`]).
    pub dropped_outdated: u64,
    /// Arrived messages that no subscription asked for and that were kept until there were too many.
    pub dropped_unmatched: u64,
    /// Arrived messages kept because no subscription asks for them yet.
    pub unmatched: u64,
    /// Streams ended because their reader was too slow.
    pub slow_streams: u64,
    /// Bytes written to connections.
    pub bytes_sent: u64,
    /// Bytes read from connections.
    pub bytes_received: u64,
    /// Connections made.
    pub connections: u64,
    /// Attempts that failed and connections that ended.
    pub disconnections: u64,
    /// The last round trip measured by a ping.
    pub round_trip: Option<Duration>,
}

impl Stats {
    /// Published messages whose exchange is not complete.
    #[must_use]
    pub fn pending(&self) -> u64 {
        u64::from(self.queued) + u64::from(self.in_flight)
    }

    /// Connections made after the first.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.connections.saturating_sub(1)
    }
}
