//! A window that was full opens again in steps, so that messages leave several at a time.
//!
//! ```text
//! open --last place taken--> full --a message waits, a place is free--> gathering --an eighth is free, or time--> open
//! ```
//!
//! A peer that acknowledges each message by itself would otherwise get each next one by itself: a write, which is most of
//! what a small message costs. Nothing comes later for it: what waits here would wait at the peer behind the rest of the
//! window, unless the peer is done with that first; then the time is what it costs. A large message is worth a write of its
//! own.

use crate::Time;

/// Whether new flights may begin. Link state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Gather {
    /// They may.
    #[default]
    Open,
    /// The window was full, and nothing waits.
    Full,
    /// The window was full, and something has been waiting since then.
    Since(Time),
}

/// Longest time that a message waits for others to leave with it.
const GATHER_MS: u64 = 1;
/// This part of a window must be free again.
const SHARE: u32 = 8;
/// Bytes of a payload that waits for no others.
const LARGE: u32 = 4096;

impl Gather {
    /// The last place of the window was taken.
    pub(super) fn fill(&mut self) {
        *self = Self::Full;
    }

    /// Whether a message that waits, with so long a payload, may take one of `free` places of a window.
    pub(super) fn may_begin(
        &mut self,
        free: u32,
        window: u32,
        payload_len: u32,
        now: Time,
    ) -> bool {
        match *self {
            _ if free == 0 => return false,
            Self::Open => return true,
            _ if payload_len >= LARGE => *self = Self::Open,
            Self::Full if free < window / SHARE => *self = Self::Since(now),
            Self::Since(_) if free < window / SHARE => self.handle_time(now),
            Self::Full | Self::Since(_) => *self = Self::Open,
        }
        *self == Self::Open
    }

    pub(super) fn handle_time(&mut self, now: Time) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            *self = Self::Open;
        }
    }

    pub(super) fn deadline(self) -> Option<Time> {
        match self {
            Self::Since(since) => Some(since.plus_ms(GATHER_MS)),
            Self::Open | Self::Full => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_of_the_window_opens_it() {
        let mut gather = Gather::default();
        assert!(gather.may_begin(1, 100, 64, Time(0)));
        gather.fill();
        assert!(!gather.may_begin(0, 100, 64, Time(0)));
        assert_eq!(gather.deadline(), None);
        assert!(!gather.may_begin(1, 100, 64, Time(0)));
        assert!(!gather.may_begin(11, 100, 64, Time(0)));
        assert_eq!(gather.deadline(), Some(Time(1)));
        assert!(gather.may_begin(12, 100, 64, Time(0)));
        assert_eq!(gather.deadline(), None);
        assert!(gather.may_begin(1, 100, 64, Time(0)));
    }

    #[test]
    fn time_opens_it() {
        let mut gather = Gather::Full;
        assert!(!gather.may_begin(1, 100, 64, Time(7)));
        gather.handle_time(Time(7));
        assert!(!gather.may_begin(1, 100, 64, Time(7)));
        assert!(gather.may_begin(1, 100, 64, Time(8)));
        gather = Gather::Since(Time(7));
        gather.handle_time(Time(8));
        assert_eq!(gather, Gather::Open);
    }

    #[test]
    fn a_large_message_waits_for_no_others() {
        let mut gather = Gather::Full;
        assert!(!gather.may_begin(1, 100, LARGE - 1, Time(0)));
        assert!(gather.may_begin(1, 100, LARGE, Time(0)));
        assert_eq!(gather, Gather::Open);
    }

    #[test]
    fn a_small_window_is_never_held() {
        for window in 1..16 {
            let mut gather = Gather::Full;
            assert!(gather.may_begin(1, window, 64, Time(0)), "{window}");
        }
    }
}
