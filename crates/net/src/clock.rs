//! What time it is for a machine that has no clock of its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Wall clock at start plus the time since boot, so that a step of the wall clock changes nothing and time in suspend
/// counts (on Linux). One clock serves everything that compares times.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Wall clock minus the time since boot, at start.
    origin: Duration,
}

impl Clock {
    /// A clock that begins with the wall clock.
    #[must_use]
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: wall.saturating_sub(boot::time()) }
    }

    /// Milliseconds since the Unix epoch; never goes back.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let ms = (self.origin + boot::time()).as_millis();
        u64::try_from(ms).unwrap_or(u64::MAX)
    }
}

#[cfg(target_os = "linux")]
mod boot {
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    /// Time since boot, suspend included.
    pub(super) fn time() -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}

#[cfg(not(target_os = "linux"))]
mod boot {
    use std::{
        sync::OnceLock,
        time::{Duration, Instant},
    };

    /// Time since the first call; the standard library has no clock that counts suspend.
    pub(super) fn time() -> Duration {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        FIRST.get_or_init(Instant::now).elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_the_wall_clock_and_never_goes_back() {
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let before = wall();
        let clock = Clock::start();
        let (first, second) = (clock.now_ms(), clock.now_ms());
        assert!(first <= second);
        assert!(first + 1000 >= before, "{first} against {before}");
        assert!(second <= wall() + 1000);
    }
}
