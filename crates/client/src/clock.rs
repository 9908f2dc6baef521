//! What time it is for the machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postrider_proto::Time;

/// Wall clock at start plus the time since boot: a step of the wall clock changes nothing, and time in suspend counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Wall clock minus the time since boot, at start.
    origin: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: wall.saturating_sub(boot::time()) }
    }

    pub(crate) fn now(&self) -> Time {
        let ms = (self.origin + boot::time()).as_millis();
        Time(u64::try_from(ms).unwrap_or(u64::MAX))
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
