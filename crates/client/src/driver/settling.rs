//! What is told once a new connection has settled.

use postrider_proto::{
    Parked, Payload,
    wire::{Filter, QoS, ReasonCode},
};

use super::Driver;
use crate::{
    Event,
    event::{Resubscription, Settled},
};

/// What was counted up to the last time.
#[derive(Debug, Default)]
pub(super) struct Settling {
    expired: u64,
}

impl Driver {
    pub(super) fn handle_settled(&mut self, resubscriptions: Vec<(Filter, ReasonCode)>) {
        let Some(connected) = self.shared.connected() else { return };
        let expired = self.machine.stats().dropped_expired;
        let before = std::mem::replace(&mut self.settling.expired, expired);
        let resubscriptions = resubscriptions.into_iter().map(|(filter, reason)| Resubscription {
            filter: filter.as_str().to_owned(),
            result: QoS::from_bits(reason.byte()).ok_or(reason),
        });
        self.shared.tell(&Event::Settled(Box::new(Settled {
            connected,
            resubscriptions: resubscriptions.collect(),
            expired: expired.saturating_sub(before),
        })));
    }

    pub(super) fn handle_parked(&mut self, parked: Parked) {
        let Parked { number, closes, message } = parked;
        let topic = message.head.topic.as_ref().map_or_else(String::new, ToString::to_string);
        let payload = match &message.payload {
            Payload::Bytes(bytes) => Some(bytes.clone()),
            Payload::Spooled { .. } => None,
        };
        tracing::warn!(server = %self.server, topic, closes, "a message is parked");
        self.shared.tell(&Event::Parked { number, closes, topic, payload });
    }
}
