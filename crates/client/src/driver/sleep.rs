//! Notices that the machine slept: the clock that tells the time of day has gone on, the one that drives us has not.
//!
//! Whoever is at the other end may have given us up meanwhile, and nothing would say so before the next ping.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use postrider_proto::Time;

/// The time of day, since any moment that stays the same.
#[derive(Clone)]
pub(crate) struct WallClock(Arc<dyn Fn() -> Duration + Send + Sync>);

/// Compares two clocks from time to time.
#[derive(Debug)]
pub(super) struct Sleep {
    wall_clock: WallClock,
    last: Option<(Time, Duration)>,
}

/// Milliseconds by which the time of day must have jumped; a clock that is set right moves less.
const JUMP_MS: u64 = 5_000;
/// Milliseconds between comparisons at least, so that a busy driver does not ask for the time of day all the time.
const COMPARE_MS: u64 = 1_000;
/// Milliseconds between them at most while there is a connection.
const TICK_MS: u64 = 15_000;

impl WallClock {
    #[cfg(test)]
    pub(crate) fn new(read: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self(Arc::new(|| {
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
        }))
    }
}

impl Sleep {
    pub(super) fn new(wall_clock: WallClock) -> Self {
        Self { wall_clock, last: None }
    }

    /// Whether the machine has slept since the last look.
    pub(super) fn has_slept(&mut self, now: Time) -> bool {
        if self.last.is_some_and(|(then, _)| now.ms_since(then) < COMPARE_MS) {
            return false;
        }
        let wall = (self.wall_clock.0)();
        let Some((then, wall_then)) = self.last.replace((now, wall)) else { return false };
        let driven = Duration::from_millis(now.ms_since(then) + JUMP_MS);
        wall.saturating_sub(wall_then) > driven
    }

    /// When to look next.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.last.map(|(then, _)| then.plus_ms(TICK_MS))
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_jump_of_the_time_of_day_is_a_sleep() {
        let seconds = Arc::new(AtomicU64::new(1_000));
        let read = Arc::clone(&seconds);
        let mut sleep =
            Sleep::new(WallClock::new(move || Duration::from_secs(read.load(Ordering::Relaxed))));
        let mut at = |now_s: u64, wall_s: u64| {
            seconds.store(wall_s, Ordering::Relaxed);
            sleep.has_slept(Time(now_s * 1000))
        };
        assert!(!at(0, 1_000), "the first look");
        assert!(!at(15, 1_015), "both went on");
        assert!(!at(30, 1_035), "five seconds are no sleep");
        assert!(at(45, 1_056), "six are");
        assert!(!at(60, 1_071), "told once");
        assert!(!at(75, 900), "set back");
        assert!(at(90, 5_000), "slept for an hour");
    }
    /// Issue 5, section 3: sleep and resume of the machine is noticed: the server is asked for a sign of life at once.
    #[tokio::test]
    async fn a_session_asks_for_a_sign_of_life_after_a_sleep() {
        let seconds = Arc::new(AtomicU64::new(1_000));
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let stream = std::sync::Mutex::new(Some(ours));
        let mut builder = crate::Session::builder("mqtt://peer", "me")
            .version(crate::Protocol::V311)
            .session_expiry(Duration::MAX)
            .clean_start(false)
            // No ping but the one that is asked for comes before the test has failed.
            .keep_alive(Duration::from_secs(65_535))
            .connector(move |_| {
                let stream = stream.lock().unwrap().take().map(crate::Stream::new);
                async move { stream.ok_or_else(|| std::io::Error::other("one only")) }
            });
        let read = Arc::clone(&seconds);
        builder.extras.wall_clock =
            WallClock::new(move || Duration::from_secs(read.load(Ordering::Relaxed)));
        let (session, ()) = tokio::join!(builder.connect(), async {
            let mut head = [0; 2];
            theirs.read_exact(&mut head).await.unwrap();
            let mut rest = vec![0; usize::from(head[1])];
            theirs.read_exact(&mut rest).await.unwrap();
            theirs.write_all(&[0x20, 2, 0, 0]).await.unwrap();
        });
        let session = session.unwrap();
        seconds.fetch_add(3_600, Ordering::Relaxed);
        // The driver looks at the clock when it wakes, a second after the last look at the earliest.
        let mut ping = [0; 2];
        let mut read = std::pin::pin!(theirs.read_exact(&mut ping));
        let asked = async {
            loop {
                tokio::select! {
                    done = &mut read => break done.unwrap(),
                    _ = session.pending() => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), asked).await.expect("a sign of life");
        assert_eq!(ping, [0xc0, 0]);
    }
}
