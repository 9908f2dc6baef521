//! A window that was full opens again in steps, so that messages leave several at a time.
//!
//! ```text
//! open --last place taken--> filled --time--> full
//!                               `----.         | a message waits, a place is free
//!                                    '------> since --an eighth is free, or time--> open
//! ```
//!
//! A peer that acknowledges each message by itself would otherwise get each next one by itself: a write, which is most of
//! what a small message costs. Nothing comes later for it: what waits here would wait at the peer behind the rest of the
//! window, unless the peer is done with that first; then the time is what it costs. A large message is worth a write of its
//! own.
//!
//! Nor is an acknowledgement worth a wake-up by itself, so for a while a driver may wait for as many bytes as an eighth of
//! the window is acknowledged with.

use crate::Time;

/// Whether new flights may begin. Link state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Gather {
    /// They may.
    #[default]
    Open,
    /// The last place was taken at that time; an eighth of the acknowledgements may come together.
    Filled(Time),
    /// The window was full, and nothing waits.
    Full,
    /// The window was full, and something has been waiting since then.
    Since(Time),
}

/// Longest time that a message waits for others to leave with it.
const GATHER_MS: u64 = 1;
/// Longest time that acknowledgements wait for others. Of the last millisecond nobody knows how much was left.
const ACKS_MS: u64 = 2;
/// This part of a window must be free again.
const SHARE: u32 = 8;
/// Bytes of a payload that waits for no others.
const LARGE: u32 = 4096;
/// Bytes of the shortest acknowledgement.
const ACK_LEN: u32 = 4;

impl Gather {
    /// The last place of a window was taken. A small one opens at once.
    pub(super) fn fill(&mut self, window: u32, now: Time) {
        if window / SHARE > 1 {
            *self = Self::Filled(now);
        }
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
            Self::Filled(_) | Self::Full if free < window / SHARE => *self = Self::Since(now),
            Self::Since(_) if free < window / SHARE => self.handle_time(now),
            Self::Filled(_) | Self::Full | Self::Since(_) => *self = Self::Open,
        }
        *self == Self::Open
    }

    /// Bytes that the acknowledgements of an eighth of the window have at least, without `free` places that it has; 0 if
    /// each byte counts.
    pub(super) fn awaited_len(self, free: u32, window: u32) -> u32 {
        match self {
            Self::Filled(_) | Self::Since(_) => (window / SHARE).saturating_sub(free) * ACK_LEN,
            Self::Open | Self::Full => 0,
        }
    }

    pub(super) fn handle_time(&mut self, now: Time) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            *self = if let Self::Filled(_) = self { Self::Full } else { Self::Open };
        }
    }

    pub(super) fn deadline(self) -> Option<Time> {
        match self {
            Self::Filled(since) => Some(since.plus_ms(ACKS_MS)),
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
        gather.fill(100, Time(0));
        assert!(!gather.may_begin(0, 100, 64, Time(0)));
        assert_eq!(gather.deadline(), Some(Time(2)));
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
    fn acknowledgements_of_an_eighth_may_come_together_for_a_while() {
        let mut gather = Gather::default();
        assert_eq!(gather.awaited_len(0, 100), 0);
        gather.fill(100, Time(7));
        assert_eq!(gather.awaited_len(0, 100), 12 * 4);
        assert_eq!(gather.awaited_len(11, 100), 4);
        assert_eq!(gather.awaited_len(12, 100), 0);
        assert_eq!(gather.awaited_len(100, 100), 0);
        gather.handle_time(Time(8));
        assert_eq!(gather, Gather::Filled(Time(7)));
        gather.handle_time(Time(9));
        assert_eq!((gather, gather.deadline()), (Gather::Full, None));
        assert_eq!(gather.awaited_len(0, 100), 0);
        assert!(!gather.may_begin(3, 100, 64, Time(20)));
        assert_eq!(gather.awaited_len(3, 100), 9 * 4);
        gather.handle_time(Time(21));
        assert_eq!(gather.awaited_len(3, 100), 0);
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
            let mut gather = Gather::default();
            gather.fill(window, Time(0));
            assert_eq!((gather.deadline(), gather.awaited_len(0, window)), (None, 0), "{window}");
            assert!(gather.may_begin(1, window, 64, Time(0)), "{window}");
        }
    }
}
