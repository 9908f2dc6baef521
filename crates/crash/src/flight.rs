//! Which exchanges are open between two processes, seen from the wire between them.

use std::{collections::BTreeMap, fmt};

use postrider_wire::{Packet, PacketId, QoS};

/// One of the two connections, by the way its messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    /// From the publisher to the broker.
    Inbound,
    /// From the broker to the subscriber.
    Outbound,
}

/// Who wrote a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The publisher or the subscriber.
    Client,
    Broker,
}

/// What an open exchange waits for.
///
/// ```text
/// QoS 1:  PUBLISH--> Ack --PUBACK--> done
/// QoS 2:  PUBLISH--> Rec --PUBREC--> Rel --PUBREL--> Comp --PUBCOMP--> done
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    Ack,
    Rec,
    Rel,
    Comp,
}

pub(crate) const SIDES: [Side; 2] = [Side::Inbound, Side::Outbound];
pub(crate) const STAGES: [Stage; 4] = [Stage::Ack, Stage::Rec, Stage::Rel, Stage::Comp];

/// What a packet does to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) side: Side,
    pub(crate) id: u16,
    pub(crate) from: Option<Stage>,
    pub(crate) to: Option<Stage>,
}

/// The open exchanges of both connections. They outlive connections, as sessions do.
#[derive(Debug, Default)]
pub(crate) struct Flights(BTreeMap<(Side, u16), Stage>);

impl Flights {
    /// What a packet is about to do; `None` if it is no part of an exchange of this side.
    pub(crate) fn step(&self, side: Side, writer: End, packet: &Packet) -> Option<Step> {
        let sender = if side == Side::Inbound { End::Client } else { End::Broker };
        let (id, to) = if writer == sender { sent(packet) } else { answered(packet) }?;
        let id = id.get();
        Some(Step { side, id, from: self.0.get(&(side, id)).copied(), to })
    }

    pub(crate) fn apply(&mut self, step: Step) {
        match step.to {
            Some(stage) => self.0.insert((step.side, step.id), stage),
            None => self.0.remove(&(step.side, step.id)),
        };
    }

    /// The two ends have agreed that there is no session.
    pub(crate) fn clear(&mut self, side: Side) {
        self.0.retain(|key, _| key.0 != side);
    }

    pub(crate) fn stage(&self, side: Side, id: u16) -> Option<Stage> {
        self.0.get(&(side, id)).copied()
    }

    /// What is open on some of the sides.
    pub(crate) fn open(&self, sides: &[Side]) -> Vec<(Side, Stage)> {
        let open = self.0.iter().filter(|(key, _)| sides.contains(&key.0));
        open.map(|(key, stage)| (key.0, *stage)).collect()
    }
}

/// What a packet of a message's sender begins.
fn sent(packet: &Packet) -> Option<(PacketId, Option<Stage>)> {
    if let Packet::PubRel(ack) = packet {
        return Some((ack.packet_id, Some(Stage::Comp)));
    }
    let Packet::Publish(publish) = packet else { return None };
    let stage = match publish.qos {
        QoS::AtMostOnce => return None,
        QoS::AtLeastOnce => Stage::Ack,
        QoS::ExactlyOnce => Stage::Rec,
    };
    Some((publish.packet_id?, Some(stage)))
}

/// What a packet of a message's receiver begins, or ends.
fn answered(packet: &Packet) -> Option<(PacketId, Option<Stage>)> {
    if let Packet::PubRec(ack) = packet
        && !ack.reason.is_error()
    {
        return Some((ack.packet_id, Some(Stage::Rel)));
    }
    let (Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack)) = packet else {
        return None;
    };
    Some((ack.packet_id, None))
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inbound => "publisher to broker",
            Self::Outbound => "broker to subscriber",
        })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ack => "QoS 1, before PUBACK",
            Self::Rec => "QoS 2, before PUBREC",
            Self::Rel => "QoS 2, between PUBREC and PUBREL",
            Self::Comp => "QoS 2, between PUBREL and PUBCOMP",
        })
    }
}

#[cfg(test)]
mod tests {
    use postrider_wire::{Ack, Bytes, Properties, Publish, ReasonCode, Topic};

    use super::*;

    #[test]
    fn an_exchange_goes_through_its_stages_and_ends() {
        for (side, sender, receiver) in
            [(Side::Inbound, End::Client, End::Broker), (Side::Outbound, End::Broker, End::Client)]
        {
            let mut flights = Flights::default();
            let walk = [
                (sender, publish(QoS::ExactlyOnce), Some(Stage::Rec)),
                (receiver, Packet::PubRec(ack(ReasonCode::Success)), Some(Stage::Rel)),
                (sender, Packet::PubRel(ack(ReasonCode::Success)), Some(Stage::Comp)),
                (receiver, Packet::PubComp(ack(ReasonCode::Success)), None),
                (sender, publish(QoS::AtLeastOnce), Some(Stage::Ack)),
                (receiver, Packet::PubAck(ack(ReasonCode::Success)), None),
                (sender, publish(QoS::ExactlyOnce), Some(Stage::Rec)),
                (receiver, Packet::PubRec(ack(ReasonCode::QuotaExceeded)), None),
            ];
            let mut before = None;
            for (writer, packet, to) in walk {
                let step = flights.step(side, writer, &packet).unwrap();
                assert_eq!(step, Step { side, id: 7, from: before, to });
                // The other end writes no such packet in this exchange.
                let other = if writer == sender { receiver } else { sender };
                assert_eq!(flights.step(side, other, &packet), None);
                flights.apply(step);
                assert_eq!(flights.stage(side, 7), to);
                assert_eq!(flights.open(&[side]).len(), usize::from(to.is_some()));
                before = to;
            }
        }
    }

    #[test]
    fn a_lost_session_takes_the_exchanges_of_its_side_with_it() {
        let mut flights = Flights::default();
        for (side, writer) in [(Side::Inbound, End::Client), (Side::Outbound, End::Broker)] {
            let step = flights.step(side, writer, &publish(QoS::AtLeastOnce)).unwrap();
            flights.apply(step);
        }
        flights.clear(Side::Inbound);
        assert_eq!(flights.open(&SIDES), [(Side::Outbound, Stage::Ack)]);
        assert_eq!(flights.step(Side::Inbound, End::Client, &publish(QoS::AtMostOnce)), None);
    }

    fn publish(qos: QoS) -> Packet {
        Packet::Publish(Publish {
            dup: false,
            qos,
            retain: false,
            topic: Topic::new("a").ok(),
            packet_id: PacketId::new(7),
            properties: Properties::new(),
            payload: Bytes::new(),
        })
    }

    fn ack(reason: ReasonCode) -> Ack {
        Ack { packet_id: PacketId::new(7).unwrap(), reason, properties: Properties::new() }
    }
}
