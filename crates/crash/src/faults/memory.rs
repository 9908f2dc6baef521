//! How much memory a process has.

use std::fs;

use anyhow::{Context, Result};

/// Memory of a process in KiB, of Linux.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All that is resident.
    pub(crate) resident: u64,
    /// Of it, what belongs to no file: the heap and stacks.
    pub(crate) anonymous: u64,
}

impl Memory {
    /// Of a process that runs.
    pub(crate) fn of(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
        Self::parse(&text).with_context(|| format!("{path} does not tell the memory"))
    }

    fn parse(status: &str) -> Option<Self> {
        let kib = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        Some(Self { resident: kib("VmRSS:")?, anonymous: kib("RssAnon:")? })
    }
}

/// Memory over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Course {
    pub(crate) start: Memory,
    /// After a minute, or after a quarter of a shorter run.
    pub(crate) warm: Memory,
    pub(crate) peak: Memory,
    pub(crate) end: Memory,
}

impl Course {
    pub(crate) fn note(&mut self, memory: Memory) {
        self.peak.resident = self.peak.resident.max(memory.resident);
        self.peak.anonymous = self.peak.anonymous.max(memory.anonymous);
        self.end = memory;
    }

    /// A generous bound: what grows with the run passes it.
    pub(crate) fn is_flat(&self) -> bool {
        self.end.anonymous < 2 * self.warm.anonymous + ALLOWANCE_KIB
    }
}

const ALLOWANCE_KIB: u64 = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_status_of_a_process() {
        let status = "Name:\tx\nVmRSS:\t   12345 kB\nRssAnon:\t    2345 kB\nRssFile:\t 10000 kB\n";
        let memory = Memory { resident: 12345, anonymous: 2345 };
        assert_eq!(Memory::parse(status), Some(memory));
        assert_eq!(Memory::parse("Name:\tx\n"), None);
    }

    #[test]
    fn what_grows_is_not_flat() {
        let kib = |anonymous| Memory { resident: anonymous + 5000, anonymous };
        let mut course = Course { start: kib(3000), warm: kib(4000), ..Course::default() };
        for anonymous in [4000, 40_000, 5000] {
            course.note(kib(anonymous));
        }
        assert_eq!((course.peak, course.end), (kib(40_000), kib(5000)));
        assert!(course.is_flat());
        course.note(kib(4000 * 2 + ALLOWANCE_KIB));
        assert!(!course.is_flat());
    }
}
