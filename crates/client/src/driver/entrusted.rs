//! Messages that the program acknowledges itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_proto::{Arrived, Fact, Record, Time, client::own_key};

use super::Driver;
use crate::{
    AckError, StoredError,
    answer::Answer,
    token::{AckResult, Acknowledged, Charge, Outcome, Returned},
};

/// What the driver remembers of them.
#[derive(Debug, Default)]
pub(super) struct Entrusted {
    /// Who waits for an acknowledgement to be stored, by message number.
    answers: BTreeMap<u64, Vec<Answer<AckResult>>>,
    /// Dropped unacknowledged, by the time of their next delivery. As many as the server may leave open.
    returned: BTreeMap<(Time, u64), Returned>,
    /// Tells returns of one moment apart, in their order.
    returns: u64,
}

/// Milliseconds until a message that was dropped unacknowledged is delivered again; doubled each time.
const RETURN_MS_MIN: u64 = 100;
/// The most of that: a program that cannot do with a message is not kept busy by it.
const RETURN_MS_MAX: u64 = 10_000;

impl Entrusted {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.returned.first_key_value().map(|((at, _), _)| *at)
    }
}

impl Driver {
    pub(super) fn handle_entrusted(&mut self, arrived: Arrived, number: u64, is_redelivery: bool) {
        let charge = Charge::new(number, is_redelivery, &self.shared);
        let Some(mut message) = self.message(arrived) else { return };
        message.charge = Some(Box::new(charge));
        self.dispatch.deliver(message, self.now);
    }

    pub(super) fn handle_acknowledged(&mut self, number: u64) {
        let answers = self.entrusted.answers.remove(&number).unwrap_or_default();
        answers.into_iter().for_each(|answer| answer.give(Ok(())));
    }

    /// Takes what became of messages.
    pub(super) fn take_outcomes(&mut self) {
        for outcome in self.shared.take_outcomes() {
            match outcome {
                Outcome::Acknowledged(acknowledged) => self.acknowledge(acknowledged),
                Outcome::Returned(returned) => self.take_return(*returned),
                Outcome::Gone(number) => self.machine.take_back(number),
            }
        }
        self.deliver_returned();
    }

    fn acknowledge(&mut self, acknowledged: Acknowledged) {
        let Acknowledged { number, own, reason, answers } = acknowledged;
        match self.machine.acknowledge_with(number, own, reason) {
            Ok(()) => {
                self.entrusted.answers.insert(number, answers);
                // It may have been what the server was not read on for.
                self.feed();
            }
            Err(error) => {
                self.machine.take_back(number);
                let error = AckError::from_machine(error, &self.shared);
                answers.into_iter().for_each(|answer| answer.give(Err(error.clone())));
            }
        }
    }

    /// A copy was dropped unacknowledged.
    fn take_return(&mut self, returned: Returned) {
        let returns = returned.message.charge.as_ref().map_or(0, |charge| charge.returns);
        let wait_ms = RETURN_MS_MIN.saturating_mul(1 << returns.clamp(1, 8).saturating_sub(1));
        let at = self.now.plus_ms(wait_ms.min(RETURN_MS_MAX));
        self.entrusted.returns += 1;
        self.entrusted.returned.insert((at, self.entrusted.returns), returned);
    }

    /// Delivers again what was dropped and is due, to the same stream; if that has ended, as if it had just arrived.
    fn deliver_returned(&mut self) {
        while let Some(entry) = self.entrusted.returned.first_entry()
            && entry.key().0 <= self.now
        {
            let Returned { stream, message } = entry.remove();
            let Some(charge) = message.charge.clone() else { continue };
            if !self.machine.is_entrusted(charge.number()) {
                continue;
            }
            let is_acknowledged = charge.close_copy();
            let Some(message) = self.dispatch.restage(stream, message) else { continue };
            if is_acknowledged {
                charge.acknowledge();
            } else if !charge.has_copies() {
                self.dispatch.deliver(message, self.now);
            }
        }
    }

    /// Reads what the program stored.
    pub(super) fn read_own(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoredError> {
        if !self.vault.is_durable() {
            return Err(StoredError::NoStore);
        }
        // What was acknowledged before this was asked for counts.
        self.drain();
        let key = own_key(key);
        let Some(value) = self.vault.read(&key).map_err(StoredError::Store)? else {
            return Ok(None);
        };
        match Record::decode(&key, &value) {
            Ok(Record { fact: Fact::Own { value, .. }, .. }) => Ok(Some(value)),
            Ok(_) | Err(_) => Err(StoredError::Unreadable),
        }
    }
}
