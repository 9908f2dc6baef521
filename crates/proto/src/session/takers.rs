//! Who has a message already, where a broker has several hubs.

use alloc::vec::Vec;

use postrider_wire::Filter;

use crate::Stamp;

/// Who has a QoS 2 message that goes to several hubs of a broker, as far as the store knew at a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Takers {
    /// Of a retained message: its place among the writers of its topic.
    pub stamp: Option<Stamp>,
    /// Sessions with greater owner numbers began after the message was published.
    pub until: u64,
    /// Owners of sessions, in ascending order.
    pub sessions: Vec<u64>,
    /// Shared groups.
    pub groups: Vec<Filter>,
}

impl Default for Takers {
    fn default() -> Self {
        Self { stamp: None, until: u64::MAX, sessions: Vec::new(), groups: Vec::new() }
    }
}

impl Takers {
    pub(super) fn add(&mut self, stamp: Option<Stamp>, until: u64, sessions: Vec<u64>) {
        self.stamp = self.stamp.or(stamp);
        self.until = self.until.min(until);
        self.sessions.extend(sessions);
        self.sessions.sort_unstable();
        self.sessions.dedup();
    }
}
