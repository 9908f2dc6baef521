//! How many PUBLISHes of the peer are open: Receive Maximum, seen from the receiver.

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use postrider_wire::{Ack, AckKind, PacketId, Publish, QoS};

use super::held::Tally;

/// The peer's QoS 1/2 PUBLISHes that we have not finished with. Spec: v5 sections 3.3.4 and 4.9.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// QoS 1 PUBLISHes without a PUBACK.
    at_least_once: u32,
    /// QoS 2 PUBLISHes without a PUBCOMP (or a refusing PUBREC). By id, since a repeated PUBLISH takes no second
    /// place, and a PUBREL of an older link finishes nothing of this one. Stays empty in 3.x.
    exactly_once: HashSet<u16, FixedState>,
    /// PUBLISHes whose PUBACK or PUBREC is not written yet.
    unanswered: u32,
}

impl Window {
    /// Counts an arriving PUBLISH of 5.0.
    pub(crate) fn arrive(&mut self, publish: &Publish) {
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(_)) => self.at_least_once += 1,
            (QoS::ExactlyOnce, Some(id)) => {
                self.exactly_once.insert(id.get());
            }
            (QoS::AtMostOnce, _) | (_, None) => return,
        }
        self.unanswered += 1;
    }

    /// Counts an arriving PUBLISH of 3.x, where nothing but the answers matters.
    pub(crate) fn arrive_uncounted(&mut self, publish: &Publish) {
        self.unanswered += u32::from(publish.packet_id.is_some());
    }

    /// Counts our acknowledgement; returns what it will mean to the peer once it is written.
    pub(crate) fn acknowledge(&mut self, kind: AckKind, ack: &Ack) -> Tally {
        let (finished, answered) = match kind {
            AckKind::PubAck => {
                let is_open = self.at_least_once > 0;
                self.at_least_once = self.at_least_once.saturating_sub(1);
                (is_open, true)
            }
            AckKind::PubRec => (ack.reason.is_error() && self.finish(ack.packet_id), true),
            AckKind::PubComp => (self.finish(ack.packet_id), false),
            AckKind::PubRel => (false, false),
        };
        Tally { finished: u32::from(finished), answered: u32::from(answered) }
    }

    /// Acknowledgements were written.
    pub(crate) fn written(&mut self, tally: Tally) {
        self.unanswered = self.unanswered.saturating_sub(tally.answered);
    }

    /// How many are not finished.
    pub(crate) fn open(&self) -> u32 {
        self.at_least_once + u32::try_from(self.exactly_once.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn unanswered(&self) -> u32 {
        self.unanswered
    }

    fn finish(&mut self, id: PacketId) -> bool {
        self.exactly_once.remove(&id.get())
    }
}
