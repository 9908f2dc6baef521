//! CPU time and memory of a process, read from `/proc`.

use std::{fs, io, time::Duration};

/// CPU time and memory of one process at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all its threads so far.
    pub(crate) cpu: Duration,
    /// Largest resident memory so far, in bytes.
    pub(crate) memory_peak: u64,
}

impl Usage {
    /// Of a process, which may be this one. The kernel counts CPU time in ticks, usually of 10 ms.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let ticks = cpu_ticks(&stat).ok_or_else(|| unreadable("stat"))?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let cpu = Duration::from_millis(ticks.saturating_mul(1_000) / per_second);
        let memory_peak = peak_kib(&status).ok_or_else(|| unreadable("status"))? * 1024;
        Ok(Self { cpu, memory_peak })
    }
}

/// Fields 14 and 15 of `stat`, counted behind the name, which may hold anything but ends at the last parenthesis.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn peak_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn unreadable(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("its {file} file has another form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4 90 0 0 0 120 30 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(150));
        assert_eq!(cpu_ticks("7 nothing"), None);
    }

    #[test]
    fn own_usage_has_memory() {
        assert!(Usage::of(std::process::id()).unwrap().memory_peak > 100 * 1024);
    }
}
