//! What to run.

use std::time::Duration;

use postrider_net::{Address, Dial};
use postrider_wire::{QoS, Version};

/// How publishers and subscribers are tied together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// This many pairs, each with a topic of its own.
    Pairs(u32),
    /// One publisher, this many subscribers on one topic.
    FanOut(u32),
}

/// One run of the load generator.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Broker.
    pub address: Address,
    /// How to get there; its timeout counts for nothing.
    pub how: Dial,
    /// Protocol version.
    pub version: Version,
    /// Who talks to whom.
    pub shape: Shape,
    /// QoS of publishing and of the subscriptions.
    pub qos: QoS,
    /// Payload size in bytes; at least [`Plan::SIZE_MIN`].
    pub size: u32,
    /// Messages per publisher, at least 1.
    pub messages: u32,
    /// Most QoS 1/2 messages open per publisher, 1 to 65,535; the broker's Receive Maximum may lower it.
    pub window: u16,
    /// Most messages a publisher may be ahead of its slowest subscriber.
    pub ahead: u32,
    /// How long to wait without any progress before what is missing counts as lost.
    pub patience: Duration,
    /// Whether all sessions outlive their connections, so that a broker with a store must keep them; they are removed
    /// at the end.
    pub is_persistent: bool,
    /// Process whose CPU time and memory are measured: the broker's.
    pub pid: Option<u32>,
}

impl Plan {
    /// Smallest payload in bytes: publisher, sequence number, time of sending.
    pub const SIZE_MIN: u32 = 20;

    /// Publishers and subscribers per publisher.
    pub(crate) fn counts(&self) -> (u32, u32) {
        match self.shape {
            Shape::Pairs(pairs) => (pairs, 1),
            Shape::FanOut(subscribers) => (1, subscribers),
        }
    }
}
