//! Whether the broker has a session of a client, as the standard says. Uses only the packet types of `wire`.

use postrider_proto::wire::Connect;

/// What is known of a client's session at the broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presence {
    state: State,
    expiry_ms: Option<u64>,
    /// When its last connection ended: not before, and not after.
    offline: Option<(u64, u64)>,
    /// Whether it may have expired before the last CONNECT.
    pub(crate) may_have_lapsed: bool,
    /// The connection that it has, or had last.
    pub(crate) pipe: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    No,
    Yes,
    Maybe,
}

impl Presence {
    pub(crate) fn none() -> Self {
        Self {
            state: State::No,
            expiry_ms: None,
            offline: None,
            may_have_lapsed: false,
            pipe: None,
        }
    }

    /// The broker takes a CONNECT. Returns what CONNACK must say, if that is certain.
    pub(crate) fn connect(&mut self, pipe: usize, connect: &Connect, now: u64) -> Option<bool> {
        let is_there = self.is_there(now);
        let answer = if connect.clean_start { Some(false) } else { is_there };
        if connect.clean_start && is_there != Some(false) || is_there != Some(true) {
            // Old, new or none: nobody can say before CONNACK.
            self.state = State::Maybe;
        }
        self.pipe = Some(pipe);
        let first_end = self.offline.zip(self.expiry_ms).map(|((early, _), expiry)| early + expiry);
        self.may_have_lapsed = first_end.is_some_and(|end| end <= now);
        // Until CONNACK a crash may bring back the time at which the connection before this one ended.
        let early = self.offline.map_or(now, |(early, _)| early);
        self.offline = Some((early, NOT_YET));
        answer
    }

    /// The broker wrote CONNACK: the session exists, and outlives the connection if `expiry_s` is not 0.
    pub(crate) fn accepted(&mut self, expiry_s: u32) {
        self.state = if expiry_s == 0 { State::No } else { State::Yes };
        self.offline = None;
        self.expiry_ms = (expiry_s != u32::MAX).then(|| u64::from(expiry_s) * 1000);
    }

    /// The broker noticed the end of a connection.
    pub(crate) fn closed(&mut self, pipe: usize, now: u64) {
        if self.pipe == Some(pipe) && self.offline.is_none_or(|(_, late)| late == NOT_YET) {
            let early = self.offline.map_or(now, |(early, _)| early);
            self.offline = Some((early, now));
        }
    }

    /// The broker was started again; when the connection ended may not have been stored.
    pub(crate) fn restarted(&mut self, crashed: u64, now: u64) {
        let early = self.offline.map_or(crashed, |(early, _)| early);
        self.offline = Some((early, now));
    }

    /// Nobody knows.
    pub(crate) fn forget(&mut self) {
        self.state = State::Maybe;
    }

    /// Whether the session is there, if that is certain.
    pub(crate) fn is_there(&self, now: u64) -> Option<bool> {
        match (self.state, self.expiry_ms, self.offline) {
            (State::No, ..) => Some(false),
            (State::Maybe, ..) => None,
            (State::Yes, None, _) | (State::Yes, _, None) => Some(true),
            (State::Yes, Some(expiry), Some((early, late))) => {
                if now < early + expiry {
                    Some(true)
                } else if now > late.saturating_add(expiry + SLACK_MS) {
                    Some(false)
                } else {
                    None
                }
            }
        }
    }
}

/// How late a session may expire.
const SLACK_MS: u64 = 100;
/// The end of a connection that has not ended.
const NOT_YET: u64 = u64::MAX;
