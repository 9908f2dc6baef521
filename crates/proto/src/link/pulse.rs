//! Signs of life: when something was sent and received last, and what follows from silence.

use crate::Time;

/// Keep-alive of one link. Packets store a time; deadlines are computed when they are asked for.
///
/// The client pings when it has sent, or heard, nothing for three quarters of the interval: the first keeps the promise
/// of Keep Alive with room for a slow network (some servers allow no grace), the second finds a dead server within one
/// and a half intervals though we send all the time. Spec: v5 section 3.1.2.10, v3.1.1 section 3.1.2.10.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// The time we were told last; outputs without a time of their own count from it, so at worst a ping is early.
    now: Time,
    /// When the handshake must be through; `None` once it is.
    handshake: Option<Time>,
    /// Keep alive in seconds; 0 is off.
    keep_alive_s: u16,
    sent: Time,
    received: Time,
    /// Client: when the PINGREQ was sent that has no PINGRESP yet.
    ping: Option<Time>,
}

/// A link that has sent nothing for so many milliseconds needs no buffer.
const QUIET_MS: u64 = 1000;

/// What silence asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Send PINGREQ.
    Ping,
    /// The peer is gone.
    Dead,
    /// The handshake took too long.
    Handshake,
}

impl Pulse {
    pub(crate) fn new(now: Time, handshake_ms: u64) -> Self {
        let handshake = Some(now.plus_ms(handshake_ms));
        Self { now, handshake, keep_alive_s: 0, sent: now, received: now, ping: None }
    }

    /// The handshake waits for us, not for the peer.
    pub(crate) fn stop(&mut self) {
        self.handshake = None;
    }

    /// The handshake is through.
    pub(crate) fn start(&mut self, keep_alive_s: u16) {
        self.handshake = None;
        self.keep_alive_s = keep_alive_s;
        (self.sent, self.received) = (self.now, self.now);
    }

    pub(crate) fn set_now(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    pub(crate) fn sent(&mut self) {
        self.sent = self.now;
    }

    pub(crate) fn received(&mut self) {
        self.received = self.now;
    }

    pub(crate) fn pinged(&mut self) {
        self.sent = self.now;
        // If one is open already, the next PINGRESP answers that one.
        self.ping.get_or_insert(self.now);
    }

    /// A PINGRESP: milliseconds since its PINGREQ, `None` if none was sent.
    pub(crate) fn ponged(&mut self) -> Option<u64> {
        self.ping.take().map(|at| self.now.ms_since(at))
    }

    /// Whether nothing was sent lately.
    pub(crate) fn is_quiet(&self) -> bool {
        self.now.ms_since(self.sent) >= QUIET_MS
    }

    /// What is due for a client.
    pub(crate) fn due_client(&self) -> Due {
        match self.handshake {
            Some(at) if self.now >= at => Due::Handshake,
            None if self.keep_alive_s > 0 && self.now >= self.dead_at() => Due::Dead,
            None if self.keep_alive_s > 0 && self.now >= self.ping_at() => Due::Ping,
            Some(_) | None => Due::Nothing,
        }
    }

    /// What is due for a server.
    pub(crate) fn due_server(&self) -> Due {
        match self.handshake {
            Some(at) if self.now >= at => Due::Handshake,
            None if self.keep_alive_s > 0 && self.now >= self.dead_at() => Due::Dead,
            Some(_) | None => Due::Nothing,
        }
    }

    pub(crate) fn deadline_client(&self) -> Option<Time> {
        let alive = || (self.keep_alive_s > 0).then(|| self.dead_at().min(self.ping_at()));
        self.handshake.or_else(alive)
    }

    pub(crate) fn deadline_server(&self) -> Option<Time> {
        self.handshake.or_else(|| (self.keep_alive_s > 0).then(|| self.dead_at()))
    }

    /// One and a half intervals after the last sign of life.
    fn dead_at(&self) -> Time {
        self.received.plus_ms(u64::from(self.keep_alive_s) * 1500)
    }

    fn ping_at(&self) -> Time {
        // One open PINGREQ is enough to find out about the peer; a second one only keeps our promise to send.
        let quiet_since =
            if self.ping.is_some() { self.sent } else { self.sent.min(self.received) };
        quiet_since.plus_ms(u64::from(self.keep_alive_s) * 750)
    }
}
