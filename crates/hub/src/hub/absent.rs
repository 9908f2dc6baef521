//! Messages for several sessions that are away: the payload is stored once, in a spool, and each record only names it.

use postrider_proto::{Envelope, Message, Payload, wire::QoS};

use super::{Hit, Hub};

impl Hub {
    /// The message with its payload in a spool, if its copies in the records of absent sessions would take more room than
    /// a file is worth. `None` also if spools are full: then each has its copy.
    ///
    /// Sessions with a link are not asked: most messages for them are finished before they are stored.
    pub(super) fn for_absent(&mut self, message: &Message, hits: &[Hit]) -> Option<Envelope> {
        let Payload::Bytes(bytes) = &message.payload else { return None };
        let config = &self.config;
        let len =
            u32::try_from(bytes.len()).ok().filter(|len| *len >= config.shared_payload_min)?;
        let absent = hits.iter().filter(|hit| self.is_absent(hit)).count() as u64;
        let copied = absent.saturating_sub(1).saturating_mul(u64::from(len));
        if copied == 0 || copied < config.shared_bytes_min || !self.journal.is_on() {
            return None;
        }
        let id = self.spools.begin_kept(len)?;
        self.spools.append(&id, bytes.clone());
        let payload = Payload::Spooled { id, len };
        Some(Envelope::new(Message { payload, ..message.clone() }))
    }

    /// Whether the message waits in the store for this session.
    pub(super) fn is_absent(&self, hit: &Hit) -> bool {
        let entry = self.registry.get(hit.slot);
        let is_away = entry.is_some_and(|entry| entry.is_recorded && entry.link.is_none());
        is_away && hit.delivery.qos != QoS::AtMostOnce
    }
}
