//! What the wire tells of a subscriber: what the broker sent to it, and what it acknowledged.

use std::collections::BTreeMap;

use postrider_wire::{Packet, Publish, QoS};

use super::{message::Name, presence::Presence};
use crate::flight::End;

/// The account of one subscriber. Of the broker's packets only those count that were passed on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handed {
    pub(crate) messages: BTreeMap<Name, Handing>,
    pub(crate) presence: Presence,
    /// Filters that were subscribed in this session.
    pub(crate) filters: usize,
    /// Counts PUBLISH packets.
    place: u64,
    /// The broker's exchanges, each until its PUBREL.
    open: BTreeMap<u16, Name>,
    /// What the client may still have under an identifier at QoS 2.
    kept: BTreeMap<u16, Name>,
    /// What was sent on this connection and not acknowledged.
    unanswered: BTreeMap<u16, Copy>,
}

/// One message for a subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handing {
    /// PUBLISH packets with it.
    pub(crate) copies: u32,
    /// Exchanges in which the broker sent it; at QoS 2 the program may get one copy of each.
    pub(crate) exchanges: u32,
    /// Of them, those of which the client's PUBCOMP was passed on to the broker.
    pub(crate) finished: u32,
    /// Place of the first PUBLISH with it.
    pub(crate) first: u64,
    /// Place of the first PUBLISH with it that the client acknowledged and must have given to the program.
    pub(crate) taken: Option<u64>,
}

/// One PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Copy {
    name: Name,
    place: u64,
    /// Another message at QoS 2 may still have had its identifier: then the client rightly takes this one for that one.
    is_mistakable: bool,
}

impl Handed {
    /// A connection begins; what is open stays so.
    pub(crate) fn connect(&mut self) {
        self.unanswered.clear();
    }

    /// A packet was read from its writer, and passed on or not.
    pub(crate) fn note(&mut self, writer: End, packet: &Packet, is_passed: bool) {
        if self.presence.note(packet) {
            self.filters = 0;
            self.open.clear();
            self.kept.clear();
            self.unanswered.clear();
        } else if writer == End::Client {
            self.answer(packet, is_passed);
            if let Packet::Subscribe(subscribe) = packet {
                self.filters += subscribe.filters.len();
            }
        } else if is_passed && let Packet::Publish(publish) = packet {
            self.publish(publish);
        } else if is_passed && let Packet::PubRel(ack) = packet {
            self.open.remove(&ack.packet_id.get());
        }
    }

    /// Whether the client has not acknowledged a message that was sent to it on the last connection.
    pub(crate) fn is_unanswered(&self, name: Name) -> bool {
        self.unanswered.values().any(|copy| copy.name == name)
    }

    fn publish(&mut self, publish: &Publish) {
        let (Some(id), Some(name)) = (publish.packet_id, Name::read(&publish.payload)) else {
            return;
        };
        let id = id.get();
        self.place += 1;
        let handing = self.messages.entry(name).or_default();
        handing.copies += 1;
        if handing.copies == 1 {
            handing.first = self.place;
        }
        if self.open.insert(id, name) != Some(name) {
            handing.exchanges += 1;
        }
        // Whoever has it keeps it until PUBCOMP.
        let is_mistakable =
            publish.qos == QoS::ExactlyOnce && *self.kept.entry(id).or_insert(name) != name;
        self.unanswered.insert(id, Copy { name, place: self.place, is_mistakable });
    }

    fn answer(&mut self, packet: &Packet, is_passed: bool) {
        if let Packet::PubComp(ack) = packet
            && let Some(name) = self.kept.remove(&ack.packet_id.get())
            && let Some(handing) = self.messages.get_mut(&name)
        {
            handing.finished += u32::from(is_passed);
        }
        let (Packet::PubAck(ack) | Packet::PubRec(ack)) = packet else { return };
        let Some(copy) = self.unanswered.remove(&ack.packet_id.get()) else { return };
        if matches!(packet, Packet::PubAck(_)) {
            self.open.remove(&ack.packet_id.get());
        }
        if let Some(handing) = self.messages.get_mut(&copy.name)
            && !copy.is_mistakable
        {
            handing.taken.get_or_insert(copy.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::script::{connack, play};

    fn handed(script: &str) -> Handed {
        let mut handed = Handed::default();
        handed.note(End::Broker, &connack(false), true);
        play(script, |step| match step {
            None => handed.connect(),
            Some((writer, packet, is_passed)) => handed.note(writer, &packet, is_passed),
        });
        handed
    }

    fn handing(handed: &Handed, qos: u8, number: u32) -> Handing {
        handed.messages[&Name { publisher: 0, qos, number }]
    }

    #[test]
    fn copies_of_one_exchange_are_one() {
        for (script, copies, exchanges) in [
            ("b:pub2(5,1) c:rec(5) b:rel(5) c:comp(5)", 1, 1),
            ("b:pub2(5,1) cut b:dup2(5,1) c:rec(5) cut b:dup2(5,1) c:rec(5) b:rel(5)", 3, 1),
            // Lost on its way: not a copy.
            ("lost:pub2(5,1) cut b:dup2(5,1) c:rec(5)", 1, 1),
            // After its PUBREL, under another identifier, or in another session: once more.
            ("b:pub2(5,1) c:rec(5) b:rel(5) c:comp(5) cut b:pub2(5,1)", 2, 2),
            ("b:pub2(5,1) cut b:dup2(6,1)", 2, 2),
            ("b:pub2(5,1) cut b:new b:pub2(5,1)", 2, 2),
        ] {
            let found = handing(&handed(script), 2, 1);
            assert_eq!((found.copies, found.exchanges), (copies, exchanges), "{script}");
        }
    }

    #[test]
    fn what_the_client_acknowledged_it_took() {
        for (script, taken) in [
            ("b:pub1(5,1)", None),
            ("b:pub1(5,1) c:ack(5)", Some(1)),
            ("b:pub1(5,1) cut c:ack(5)", None),
            ("b:pub1(5,1) cut b:dup1(5,1) c:ack(5)", Some(2)),
            ("lost:pub1(5,1) c:ack(5)", None),
        ] {
            let handed = handed(script);
            let found = handed.messages.values().next().and_then(|it| it.taken);
            assert_eq!(found, taken, "{script}");
        }
        for (script, filters) in
            [("c:sub c:sub", 2), ("c:sub cut b:old", 1), ("c:sub cut b:new", 0)]
        {
            assert_eq!(handed(script).filters, filters, "{script}");
        }
        let twice = "b:pub2(5,1) c:rec(5) b:rel(5) c:comp(5) cut b:pub2(6,1) c:rec(6) b:rel(6)";
        assert_eq!(handing(&handed(twice), 2, 1).finished, 1);
        let name = Name { publisher: 0, qos: 1, number: 1 };
        assert!(handed("b:pub1(5,1)").is_unanswered(name));
        assert!(!handed("b:pub1(5,1) c:ack(5)").is_unanswered(name));
        assert!(!handed("b:pub1(5,1) cut").is_unanswered(name));
    }

    #[test]
    fn under_an_identifier_that_is_in_use_nothing_is_taken() {
        for (script, is_taken) in [
            ("b:pub2(5,1) c:rec(5) cut b:pub2(5,2) c:rec(5)", false),
            ("b:pub2(5,1) c:rec(5) b:rel(5) cut b:pub2(5,2) c:rec(5)", false),
            ("b:pub2(5,1) cut b:pub2(5,2) c:rec(5) cut b:dup2(5,2) c:rec(5)", false),
            ("b:pub2(5,1) c:rec(5) b:rel(5) c:comp(5) b:pub2(5,2) c:rec(5)", true),
            ("b:pub2(5,1) c:rec(5) cut b:new b:pub2(5,2) c:rec(5)", true),
        ] {
            assert_eq!(handing(&handed(script), 2, 2).taken.is_some(), is_taken, "{script}");
        }
    }
}
