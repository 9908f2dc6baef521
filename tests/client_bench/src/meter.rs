//! Time, CPU time, allocations and latencies from the end of the warm-up on.

use std::{
    collections::VecDeque,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use cpu_time::ProcessTime;
use hdrhistogram::Histogram;

#[cfg(feature = "allocations")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

/// Measures one direction of traffic.
pub struct Meter {
    warm_up: u64,
    begun: u64,
    done: u64,
    start: Option<Start>,
    open: VecDeque<Instant>,
    latencies: Histogram<u64>,
}

struct Start {
    at: Instant,
    cpu: ProcessTime,
    allocations: usize,
}

impl Meter {
    /// Begins after `warm_up` messages.
    ///
    /// # Errors
    /// None that can be met.
    pub fn new(warm_up: u64) -> Result<Self> {
        let latencies = Histogram::new_with_max(60_000_000_000, 3)?;
        Ok(Self { warm_up, begun: 0, done: 0, start: None, open: VecDeque::new(), latencies })
    }

    /// A message is handed to the client.
    pub fn begin(&mut self) {
        self.begun += 1;
        self.open.push_back(Instant::now());
    }

    /// The oldest of the messages that were begun is complete.
    pub fn complete(&mut self) {
        let begun = self.open.pop_front();
        if self.start.is_some()
            && let Some(begun) = begun
        {
            self.latencies.saturating_record(nanos(begun.elapsed()));
        }
        self.count();
    }

    /// A message was received, or handed over at QoS 0.
    pub fn count(&mut self) {
        self.done += 1;
        if self.done == self.warm_up {
            self.start = Some(Start {
                at: Instant::now(),
                cpu: ProcessTime::now(),
                allocations: allocations(),
            });
        }
    }

    /// Messages so far.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// Prints what was measured, to the error output: the other one may be a pipe to the sender.
    ///
    /// # Errors
    /// If nothing was measured.
    pub fn report(&self) -> Result<()> {
        let start = self.start.as_ref().context("the warm-up has not ended")?;
        let seconds = start.at.elapsed().as_secs_f64();
        let cpu = start.cpu.elapsed().as_secs_f64();
        let allocations = allocations() - start.allocations;
        let messages = (self.done - self.warm_up) as f64;
        eprintln!("messages_per_s={:.0}", messages / seconds);
        eprintln!("messages_per_cpu_s={:.0}", messages / cpu);
        if cfg!(feature = "allocations") {
            eprintln!("allocations_per_message={:.3}", allocations as f64 / messages);
        }
        for (name, quantile) in [("p50_us", 0.5), ("p99_us", 0.99)] {
            let nanos = self.latencies.value_at_quantile(quantile) as f64;
            eprintln!("{name}={:.1}", nanos / 1000.0);
        }
        Ok(())
    }
}

#[cfg(feature = "allocations")]
fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

#[cfg(not(feature = "allocations"))]
const fn allocations() -> usize {
    0
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Resident memory of this process, KiB.
///
/// # Errors
/// If `/proc` does not say.
pub fn resident_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.and_then(|line| line.trim().strip_suffix("kB")).context("no VmRSS")?;
    Ok(text.trim().parse()?)
}
