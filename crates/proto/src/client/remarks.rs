//! Properties of the second half of QoS 2 exchanges: what the program says with PUBREL and PUBCOMP, and what the server
//! said with PUBREC; and whose PUBREL it is. In memory only: they explain, and nothing depends on them. Spec: v5 sections
//! 3.5 to 3.7.

use alloc::collections::BTreeMap;

use postrider_wire::{PacketId, Properties};

use crate::message::{detached_properties, property_bytes};

/// Most bytes of all of them together, 1 MiB: some kilobytes for each of a hundred open exchanges.
const REMARK_BYTES_MAX: u64 = 1024 * 1024;

/// What stands beside open exchanges.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    /// For the PUBREL of a message of ours, by its number.
    releases: BTreeMap<u64, Properties>,
    /// Of the PUBREC for a message of ours, by its number.
    receipts: BTreeMap<u64, Properties>,
    /// For the PUBCOMP of a message of the server.
    completions: BTreeMap<PacketId, Properties>,
    /// The numbers of messages that the program has acknowledged, until their PUBREL.
    numbers: BTreeMap<PacketId, u64>,
    /// Of all; 0 if there are none.
    bytes: u64,
}

impl Remarks {
    /// Says this with the PUBREL of the message `number`. There must be room.
    pub(super) fn set_release(&mut self, number: u64, properties: Properties) {
        if !properties.is_empty() {
            self.bytes += cost(&properties);
            self.releases.insert(number, properties);
        }
    }

    /// Keeps what came with the PUBREC for the message `number`, if there is room.
    pub(super) fn keep_receipt(&mut self, number: u64, properties: &Properties) {
        if !properties.is_empty() && self.has_room_for(properties) {
            self.bytes += cost(properties);
            let before = self.receipts.insert(number, detached_properties(properties));
            self.forget(before);
        }
    }

    /// Says this with the PUBCOMP of a message of the server, if there is room.
    pub(super) fn set_completion(&mut self, packet_id: PacketId, properties: Properties) {
        if !properties.is_empty() && self.has_room_for(&properties) {
            self.bytes += cost(&properties);
            let before = self.completions.insert(packet_id, properties);
            self.forget(before);
        }
    }

    /// The program knows the message under this id by this number.
    pub(super) fn set_number(&mut self, packet_id: PacketId, number: u64) {
        self.numbers.insert(packet_id, number);
    }

    /// The number of the message that is released.
    pub(super) fn take_number(&mut self, packet_id: PacketId) -> Option<u64> {
        self.numbers.remove(&packet_id)
    }

    /// What to say with the PUBCOMP of this message.
    pub(super) fn take_completion(&mut self, packet_id: PacketId) -> Properties {
        if self.bytes == 0 {
            return Properties::new();
        }
        let found = self.completions.remove(&packet_id);
        self.forget(found)
    }

    /// The server has begun the session anew: it releases nothing that came before.
    pub(super) fn forget_completions(&mut self) {
        self.numbers.clear();
        for (_, properties) in core::mem::take(&mut self.completions) {
            self.bytes -= cost(&properties);
        }
    }

    /// The exchange of the message `number` is over. Returns what came with its PUBREC.
    pub(super) fn end(&mut self, number: u64) -> Properties {
        if self.bytes == 0 {
            return Properties::new();
        }
        let release = self.releases.remove(&number);
        self.forget(release);
        let receipt = self.receipts.remove(&number);
        self.forget(receipt)
    }

    /// What to say with the PUBREL of the message `number`; it may have to be said again.
    pub(super) fn release(&self, number: u64) -> Properties {
        self.releases.get(&number).cloned().unwrap_or_default()
    }

    /// Whether there is nothing to say, and nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(super) fn has_room_for(&self, properties: &Properties) -> bool {
        self.bytes + cost(properties) <= REMARK_BYTES_MAX
    }

    fn forget(&mut self, properties: Option<Properties>) -> Properties {
        let properties = properties.unwrap_or_default();
        self.bytes -= cost(&properties);
        properties
    }
}

fn cost(properties: &Properties) -> u64 {
    properties.iter().map(property_bytes).sum::<usize>() as u64
}
