//! The hub: everything that happens to a broker, in order.

use postrider_proto::{
    Chunk, Record, Time,
    wire::{Bytes, ReasonCode},
};

use bytes::BytesMut;

use crate::{HubConfig, LinkId, MovedLink, Output, PeerMessage};

/// Counts of one hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubStats {
    /// Links open now.
    pub links: u64,
    /// Sessions, with and without a link.
    pub sessions: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Retained messages.
    pub retained: u64,
    /// PUBLISH packets received.
    pub publishes_received: u64,
    /// PUBLISH packets sent or queued for subscribers.
    pub publishes_sent: u64,
    /// Messages dropped (queue full, expired, too large).
    pub dropped: u64,
}

/// A broker's brain.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
}

impl Hub {
    /// A hub with nothing in it.
    #[must_use]
    pub fn new(config: HubConfig, _now: Time) -> Self {
        Self { config }
    }

    /// Rebuilds state from what the store held, before the first link. Records come in any order.
    pub fn recover(&mut self, _records: impl IntoIterator<Item = Record>, _now: Time) {
        let _ = self.config.index;
        todo!()
    }

    /// A stream was accepted.
    pub fn accept(&mut self, _now: Time) -> LinkId {
        todo!()
    }

    /// A link arrives from another hub. Call `handle_bytes` next, also without new bytes.
    pub fn adopt(&mut self, _moved: MovedLink, _now: Time) -> LinkId {
        todo!()
    }

    /// Bytes arrived. Whole packets are taken from `input`; the rest stays there for the next call.
    pub fn handle_bytes(&mut self, _link: LinkId, _input: &mut BytesMut, _now: Time) {
        todo!()
    }

    /// The stream ended or failed. Harmless for a link that is gone.
    pub fn handle_closed(&mut self, _link: LinkId, _now: Time) {
        todo!()
    }

    /// The answer to [`Output::Ask`]: `Success`, or the reason to refuse with.
    pub fn handle_answer(&mut self, _link: LinkId, _reason: ReasonCode, _now: Time) {
        todo!()
    }

    /// A peer hub said something.
    pub fn handle_peer(&mut self, _from: u16, _message: PeerMessage, _now: Time) {
        todo!()
    }

    /// Records up to `seq` are durable.
    pub fn handle_stored(&mut self, _seq: u64, _now: Time) {
        todo!()
    }

    /// Answers a `Load`; `None` if the key is not there.
    pub fn handle_loaded(&mut self, _ticket: u64, _bytes: Option<Bytes>, _now: Time) {
        todo!()
    }

    /// Time passed.
    pub fn handle_time(&mut self, _now: Time) {
        todo!()
    }

    /// Ends all links with 0x8B Server shutting down; sessions and records stay. Wills stay pending as the standard allows.
    pub fn shut_down(&mut self, _now: Time) {
        todo!()
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Output {
        todo!()
    }

    /// The bytes to write to a link now, in order.
    pub fn chunks(&self, _link: LinkId) -> impl Iterator<Item = Chunk<'_>> {
        core::iter::empty()
    }

    /// Says that the first `bytes` of [`Hub::chunks`] were written.
    pub fn consume(&mut self, _link: LinkId, _bytes: u64, _now: Time) {
        todo!()
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> HubStats {
        todo!()
    }
}
