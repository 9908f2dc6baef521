//! What a run found.

use std::{fmt, time::Duration};

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Messages that publishers sent.
    pub sent: u64,
    /// Different messages that subscribers received, added over subscribers.
    pub received: u64,
    /// Messages that never came, added over subscribers.
    pub lost: u64,
    /// Messages that came again.
    pub doubled: u64,
    /// Messages that came after a later one.
    pub reordered: u64,
    /// From the first send to the last receive.
    pub elapsed: Duration,
    /// Half of the messages took at most this from sending to receiving.
    pub latency_p50: Duration,
    /// 99 of 100 messages took at most this.
    pub latency_p99: Duration,
    /// CPU time that this process used.
    pub own_cpu: Duration,
    /// CPU time that the broker used, if its pid was given.
    pub broker_cpu: Option<Duration>,
    /// Largest resident memory of the broker in bytes, if its pid was given.
    pub broker_memory_peak: Option<u64>,
}

impl Report {
    /// Deliveries per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.received as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Deliveries per CPU second of the broker, if known.
    #[must_use]
    pub fn rate_per_cpu(&self) -> Option<f64> {
        self.broker_cpu.map(|cpu| self.received as f64 / cpu.as_secs_f64().max(1e-9))
    }

    /// Whether every message came once and in order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.reordered == 0
    }
}

impl fmt::Display for Report {
    /// One `name=value` per line, times in milliseconds, memory in MiB: for people and for scripts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        writeln!(f, "sent={}", self.sent)?;
        writeln!(f, "received={}", self.received)?;
        writeln!(f, "lost={}", self.lost)?;
        writeln!(f, "doubled={}", self.doubled)?;
        writeln!(f, "reordered={}", self.reordered)?;
        writeln!(f, "elapsed_ms={:.0}", ms(self.elapsed))?;
        writeln!(f, "messages_per_s={:.0}", self.rate())?;
        writeln!(f, "latency_p50_ms={:.3}", ms(self.latency_p50))?;
        writeln!(f, "latency_p99_ms={:.3}", ms(self.latency_p99))?;
        write!(f, "own_cpu_ms={:.0}", ms(self.own_cpu))?;
        if let (Some(cpu), Some(rate)) = (self.broker_cpu, self.rate_per_cpu()) {
            write!(f, "\nbroker_cpu_ms={:.0}\nmessages_per_broker_cpu_s={rate:.0}", ms(cpu))?;
        }
        if let Some(bytes) = self.broker_memory_peak {
            write!(f, "\nbroker_memory_peak_mib={:.1}", bytes as f64 / 1024.0 / 1024.0)?;
        }
        Ok(())
    }
}
