//! Publishers that wait because a subscriber reads slowly.

use postrider_proto::{SessionStats, Time};

use crate::LinkId;

/// A link of this hub or of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publisher {
    /// Index of its hub.
    pub(crate) hub: u16,
    pub(crate) link: LinkId,
}

/// What happens while the queue of a slow subscriber is long.
///
/// ```text
/// none --queue long--> Waiting (publishers paused) --queue short--> none (publishers go on)
///                         `--stall budget over--> Spent (publishers go on) --queue short--> none
/// ```
#[derive(Debug)]
pub(crate) struct Stall {
    /// When the publishers go on whatever the subscriber does.
    pub(crate) until: Time,
    /// Whether that time has come: the bound of the queue is the only one then.
    pub(crate) is_spent: bool,
    /// Who waits. A link waits for one subscriber at a time, so all lists together are as long as there are links.
    pub(crate) publishers: Vec<Publisher>,
}

impl Stall {
    /// Messages that wait for a slow link before its publishers must wait.
    const MESSAGES: u32 = 1_000;
    /// Bytes that wait for a slow link before its publishers must wait.
    const BYTES: u64 = 4 * 1024 * 1024;

    /// Begins now and ends at `until`.
    pub(crate) fn new(until: Time) -> Self {
        Self { until, is_spent: false, publishers: Vec::new() }
    }

    /// Whether so much waits that publishers should wait.
    pub(crate) fn is_long(stats: &SessionStats) -> bool {
        stats.queued > Self::MESSAGES || stats.bytes > Self::BYTES
    }

    /// Whether so little waits that publishers may go on.
    pub(crate) fn is_short(stats: &SessionStats) -> bool {
        stats.queued <= Self::MESSAGES / 2 && stats.bytes <= Self::BYTES / 2
    }
}
