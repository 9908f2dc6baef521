//! What the wire tells of a publisher: what it sent, what the broker answered, and which rule it broke.

use std::collections::BTreeMap;

use postrider_wire::{Packet, Publish};

use super::{message::Name, presence::Presence};
use crate::flight::End;

/// The account of one publisher.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) messages: BTreeMap<Name, Sending>,
    /// What the client did and must not do.
    pub(crate) faults: Vec<String>,
    pub(crate) presence: Presence,
    connection: u64,
    /// The message that last had a packet identifier in this session.
    open: BTreeMap<u16, Name>,
    /// The greatest number that was sent, by QoS.
    latest: BTreeMap<u8, u32>,
}

/// One message of a publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sending {
    /// Exchanges that were begun for it; more than one where the broker lost the session.
    pub(crate) exchanges: u32,
    /// PUBACK or PUBCOMP was passed on to the client, or a PUBREC that refuses it; or PUBREC, before the broker lost the
    /// session.
    pub(crate) is_acknowledged: bool,
    /// A PUBREC was passed on.
    is_received: bool,
    /// The client has sent PUBREL, so it knows of the PUBREC.
    is_released: bool,
    id: u16,
    session: u64,
    /// The connection on which it was last sent.
    connection: u64,
}

impl Sent {
    /// A connection begins; what is open stays so.
    pub(crate) fn connect(&mut self) {
        self.connection += 1;
    }

    /// A packet was read from its writer, and passed on or not.
    pub(crate) fn note(&mut self, writer: End, packet: &Packet, is_passed: bool) {
        if self.presence.note(packet) {
            self.forget();
        } else if let (End::Client, Packet::Publish(publish)) = (writer, packet) {
            self.publish(publish);
        } else if let (End::Client, Packet::PubRel(ack)) = (writer, packet) {
            self.release(ack.packet_id.get(), ack.reason.is_error());
        } else if writer == End::Broker && is_passed {
            self.answer(packet);
        }
    }

    /// Whether the broker has not answered what was sent to it on the last connection.
    pub(crate) fn is_unanswered(&self, name: Name) -> bool {
        let sending = self.messages.get(&name);
        sending.is_some_and(|it| !it.is_acknowledged && it.connection == self.connection)
    }

    /// The broker has lost the session. What it had taken over with its PUBREC was its own, and is done for the client.
    fn forget(&mut self) {
        for name in std::mem::take(&mut self.open).values() {
            if let Some(sending) = self.messages.get_mut(name) {
                sending.is_acknowledged |= sending.is_received;
            }
        }
    }

    fn publish(&mut self, publish: &Publish) {
        let (Some(id), Some(name)) = (publish.packet_id, Name::read(&publish.payload)) else {
            return;
        };
        let id = id.get();
        let before = self.open.insert(id, name);
        if let Some(other) = before.filter(|other| *other != name)
            && self.messages.get(&other).is_some_and(|other| !other.is_acknowledged)
        {
            self.faults.push(format!("{name} has identifier {id}, which {other} still has"));
        }
        let session = self.presence.session;
        let known = self.messages.entry(name).or_default();
        let was = *known;
        *known = Sending { id, session, connection: self.connection, ..was };
        if was.exchanges == 0 {
            known.exchanges = 1;
            let latest = self.latest.entry(name.qos).or_default();
            if name.number <= *latest {
                self.faults.push(format!("{name} was sent after {latest}"));
            }
            *latest = name.number.max(*latest);
            return;
        }
        if was.is_released {
            self.faults.push(format!("{name} was sent again after its PUBREL"));
        }
        if was.session != session {
            known.exchanges += 1;
        } else if was.id != id {
            known.exchanges += 1;
            self.faults.push(format!("{name} was sent as {} and again as {id}", was.id));
        } else if was.connection == self.connection {
            self.faults.push(format!("{name} was sent twice on one connection"));
        } else if !publish.dup {
            self.faults.push(format!("{name} was sent again without DUP"));
        }
    }

    fn release(&mut self, id: u16, is_error: bool) {
        let Some(name) = self.open.get(&id) else { return };
        let Some(sending) = self.messages.get_mut(name) else { return };
        if !sending.is_received && !is_error {
            self.faults.push(format!("{name} was released before a PUBREC"));
        }
        sending.is_released = true;
        sending.connection = self.connection;
    }

    fn answer(&mut self, packet: &Packet) {
        let (Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack)) = packet else {
            return;
        };
        let name = self.open.get(&ack.packet_id.get());
        let Some(sending) = name.and_then(|name| self.messages.get_mut(name)) else { return };
        if matches!(packet, Packet::PubRec(_)) && !ack.reason.is_error() {
            sending.is_received = true;
        } else if !matches!(packet, Packet::PubComp(_)) || sending.is_released {
            sending.is_acknowledged = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::script::{connack, play, publish};

    fn sent(script: &str) -> Sent {
        let mut sent = Sent::default();
        sent.connect();
        sent.note(End::Broker, &connack(false), true);
        play(script, |step| match step {
            None => sent.connect(),
            Some((writer, packet, is_passed)) => sent.note(writer, &packet, is_passed),
        });
        sent
    }

    fn sending(sent: &Sent, qos: u8, number: u32) -> Sending {
        sent.messages[&Name { publisher: 0, qos, number }]
    }

    #[test]
    fn exchanges_by_the_rules_are_no_faults() {
        for script in [
            "c:pub1(5,1) b:ack(5) c:pub1(5,2) b:ack(5)",
            "c:pub1(5,1) cut c:dup1(5,1) b:ack(5)",
            // The PUBACK was passed on and did not arrive.
            "c:pub1(5,1) b:ack(5) cut c:dup1(5,1) b:ack(5)",
            "c:pub2(5,1) b:rec(5) c:rel(5) b:comp(5)",
            "c:pub2(5,1) b:rec(5) cut c:dup2(5,1) b:rec(5) c:rel(5) cut c:rel(5) b:comp(5)",
            // A lost session: again as a new message.
            "c:pub2(5,1) b:rec(5) cut b:new c:pub2(6,1) b:rec(6) c:rel(6) b:comp(6)",
        ] {
            let sent = sent(script);
            assert_eq!(sent.faults, [""; 0], "{script}");
            assert!(sent.messages.values().all(|it| it.is_acknowledged), "{script}");
        }
    }

    #[test]
    fn each_broken_rule_is_told() {
        for (script, fault) in [
            (
                "c:pub2(5,1) b:rec(5) c:rel(5) cut c:dup2(5,1)",
                "0 2 1 was sent again after its PUBREL",
            ),
            ("c:pub2(5,1) cut c:dup2(6,1)", "0 2 1 was sent as 5 and again as 6"),
            ("c:pub1(5,1) b:ack(5) cut c:pub1(6,1)", "0 1 1 was sent as 5 and again as 6"),
            ("c:pub1(5,1) c:dup1(5,1)", "0 1 1 was sent twice on one connection"),
            ("c:pub1(5,1) cut c:pub1(5,1)", "0 1 1 was sent again without DUP"),
            ("c:pub1(5,1) c:pub1(5,2)", "0 1 2 has identifier 5, which 0 1 1 still has"),
            ("c:pub2(5,1) c:rel(5)", "0 2 1 was released before a PUBREC"),
            // What is not passed on does not count.
            ("c:pub2(5,1) lost:rec(5) c:rel(5)", "0 2 1 was released before a PUBREC"),
            ("c:pub1(5,2) c:pub1(6,1)", "0 1 1 was sent after 2"),
            (
                "c:pub2(5,1) b:rec(5) c:rel(5) b:comp(5) cut b:new c:pub2(6,1)",
                "0 2 1 was sent again after its PUBREL",
            ),
        ] {
            assert_eq!(sent(script).faults, [fault], "{script}");
        }
    }

    #[test]
    fn only_the_last_answer_acknowledges() {
        for (script, is_acknowledged) in [
            ("c:pub1(5,1)", false),
            ("c:pub1(5,1) lost:ack(5)", false),
            ("c:pub1(5,1) b:ack(5)", true),
            ("c:pub1(5,1) cut b:new", false),
        ] {
            assert_eq!(sending(&sent(script), 1, 1).is_acknowledged, is_acknowledged, "{script}");
        }
        let open = sent("c:pub2(5,1) b:rec(5) c:rel(5)");
        assert!(!sending(&open, 2, 1).is_acknowledged);
        let name = Name { publisher: 0, qos: 2, number: 1 };
        assert!(open.is_unanswered(name));
        assert!(!sent("c:pub2(5,1) b:rec(5) c:rel(5) cut").is_unanswered(name));
        assert!(sending(&sent("c:pub2(5,1) b:refuse(5)"), 2, 1).is_acknowledged);
        // The broker's own, which it lost with the session.
        assert!(sending(&sent("c:pub2(5,1) b:rec(5) cut b:new"), 2, 1).is_acknowledged);
        assert!(!sending(&sent("c:pub2(5,1) cut b:new"), 2, 1).is_acknowledged);
        let lost = sent("c:pub2(5,1) cut b:new c:pub2(5,1)");
        assert_eq!(sending(&lost, 2, 1).exchanges, 2);
    }

    #[test]
    fn other_messages_are_nobodys() {
        let mut sent = sent("");
        let Packet::Publish(mut other) = publish(1, 5, 1, false) else { unreachable!() };
        other.payload = "something else".into();
        sent.note(End::Client, &Packet::Publish(other), true);
        assert!(sent.messages.is_empty());
    }
}
