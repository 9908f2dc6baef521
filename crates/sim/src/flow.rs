//! The exchanges of one direction of one session, as both ends may see them on the wire. Written from the standard.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use postrider_proto::wire::{Ack, AckKind, Publish, QoS};

use crate::{Violation, model::violation};

/// Exchanges from one sender to one receiver.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    open: BTreeMap<u16, Exchange>,
    /// QoS 2 messages that the receiver has taken and not released, by id.
    got: BTreeMap<u16, Got>,
    order: u64,
    /// The turn of the connection with which the present session began.
    since: u64,
    /// Whether there may be exchanges that are not known.
    is_unknown: bool,
    /// Messages whose PUBACK the sender took.
    finished: BTreeSet<u64>,
}

/// One exchange, seen from its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) qos: QoS,
    pub(crate) tag: u64,
    /// Place among all exchanges of this flow.
    order: u64,
    /// The turn of the connection on which its PUBLISH was written last.
    turn: Option<u64>,
    /// Whether its PUBLISH was written to any connection.
    pub(crate) was_sent: bool,
    pub(crate) has_pubrec: bool,
    pub(crate) has_pubrel: bool,
    /// The sender took the last acknowledgement.
    pub(crate) is_closed: bool,
}

/// One QoS 2 message, seen from its receiver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Got {
    pub(crate) is_pubrec_sent: bool,
    pub(crate) is_released: bool,
}

/// What a flow knows of one connection.
#[derive(Debug)]
pub(crate) struct Side {
    /// Place of the connection among those of the sender: the later one is higher. A client's are in the order in which
    /// it dialed, the broker's in the order in which it took their CONNECTs.
    pub(crate) turn: u64,
    /// Most PUBLISHes that the receiver lets be open.
    pub(crate) receive_maximum: u32,
    last_order: u64,
    /// Whether the connection goes on with an old session.
    pub(crate) is_resumed: bool,
    /// Whether a PUBLISH was sent here for the first time.
    has_new: bool,
    /// Ids of messages that the receiver took here, with their tags, in order; front is answered first.
    acks: VecDeque<(u16, u64)>,
    recs: VecDeque<(u16, u64)>,
    comps: VecDeque<u16>,
    /// Ids for which the sender took a PUBREC here.
    pubrecs: BTreeSet<u16>,
    /// PUBLISH (with id), PUBACK, PUBREC, PUBREL, PUBCOMP of this flow under way.
    pub(crate) under_way: [i64; 5],
    /// Whether the window was full once.
    pub(crate) was_full: bool,
}

impl Side {
    pub(crate) fn new(turn: u64) -> Self {
        Self {
            turn,
            receive_maximum: 65_535,
            last_order: 0,
            is_resumed: false,
            has_new: false,
            acks: VecDeque::new(),
            recs: VecDeque::new(),
            comps: VecDeque::new(),
            pubrecs: BTreeSet::new(),
            under_way: [0; 5],
            was_full: false,
        }
    }
}

/// What an acknowledgement of the receiver confirms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmed {
    pub(crate) tag: u64,
    /// Whether it was confirmed before.
    pub(crate) is_again: bool,
}

impl Flow {
    /// The sender begins a new session, with a connection of this turn.
    pub(crate) fn sender_cleared(&mut self, turn: u64) {
        self.since = turn;
        self.open.clear();
        self.is_unknown = false;
    }

    /// The sender may have begun a new session, or not.
    pub(crate) fn sender_unknown(&mut self) {
        self.open.clear();
        self.is_unknown = true;
    }

    /// The receiver begins a new session.
    pub(crate) fn receiver_cleared(&mut self) {
        self.got.clear();
    }

    /// Exchanges that are not over, by id.
    pub(crate) fn open(&self) -> impl Iterator<Item = (u16, &Exchange)> {
        self.open.iter().filter(|(_, exchange)| !exchange.is_closed).map(|(id, e)| (*id, e))
    }

    /// Messages taken and not released.
    pub(crate) fn got(&self) -> impl Iterator<Item = (u16, &Got)> {
        self.got.iter().map(|(id, got)| (*id, got))
    }

    /// The sender crashed and goes on with these exchanges: id, QoS 2 or 1, message, whether PUBREC was stored. If it is
    /// loose, it may be further back than what it said.
    pub(crate) fn sender_recovered(
        &mut self,
        stored: &[(u16, QoS, Option<u64>, bool)],
        is_loose: bool,
    ) {
        let old = std::mem::take(&mut self.open);
        for &(id, qos, tag, has_pubrec) in stored {
            self.order += 1;
            // Without a tag it is taken for the last one under this id, unless the store may hold an older one.
            let known = old.get(&id).filter(|old| tag.map_or(!is_loose, |tag| tag == old.tag));
            self.open.insert(
                id,
                Exchange {
                    qos,
                    tag: tag.or_else(|| known.map(|old| old.tag)).unwrap_or(u64::MAX),
                    order: self.order,
                    turn: None,
                    was_sent: known.is_some_and(|old| old.was_sent),
                    has_pubrec,
                    has_pubrel: known.is_some_and(|old| old.has_pubrel)
                        && (has_pubrec || !is_loose),
                    is_closed: false,
                },
            );
        }
    }

    /// The receiver crashed and goes on with these ids.
    pub(crate) fn receiver_recovered(&mut self, stored: impl Fn(u16) -> bool) {
        self.got.retain(|id, _| stored(*id));
        for got in self.got.values_mut() {
            got.is_released = false;
        }
    }

    /// The sender writes a PUBLISH. Says whether it is the first time.
    pub(crate) fn publish_sent(
        &mut self,
        side: &mut Side,
        publish: &Publish,
        tag: u64,
    ) -> Result<bool, Violation> {
        let Some(id) = publish.packet_id.map(|id| id.get()) else { return Ok(false) };
        side.under_way[0] += 1;
        let mut old = self.open.get(&id).copied();
        // What a store holds of a large payload does not tell which message it is.
        if let Some(unknown) = old.as_mut().filter(|old| old.tag == u64::MAX) {
            unknown.tag = tag;
        }
        let resent = old.filter(|old| !old.is_closed || (publish.dup && old.tag == tag));
        let Some(old) = resent else {
            if side.turn < self.since {
                // The rest of what a connection of the session before had to say.
                return Ok(false);
            }
            // An attempt that left no byte is an attempt; but nothing new goes before what is sent again.
            if publish.dup && (!side.is_resumed || side.has_new) {
                return violation("MQTT-3.3.1-1", format!("DUP at first, id {id}, message {tag}"));
            }
            side.has_new |= !publish.dup;
            self.order += 1;
            let exchange = Exchange {
                qos: publish.qos,
                tag,
                order: self.order,
                turn: Some(side.turn),
                was_sent: true,
                has_pubrec: false,
                has_pubrel: false,
                is_closed: false,
            };
            self.open.insert(id, exchange);
            self.in_order(side, exchange.order, id)?;
            self.within(side)?;
            return Ok(true);
        };
        if old.tag != tag || old.qos != publish.qos {
            let what = format!("id {id} of open message {} used for {tag}", old.tag);
            return violation("MQTT-2.2.1-3", what);
        }
        if old.turn > Some(side.turn) {
            // The rest of what an older connection had to say.
            return Ok(false);
        }
        if old.turn == Some(side.turn) {
            return violation("MQTT-4.4.0-1", format!("id {id} sent again on the same connection"));
        }
        if old.was_sent && !publish.dup {
            return violation("MQTT-3.3.1-1", format!("id {id}, message {tag} again without DUP"));
        }
        if old.has_pubrel {
            return violation("MQTT-4.3.3-6", format!("PUBLISH {id} again after its PUBREL"));
        }
        let exchange = Exchange { turn: Some(side.turn), was_sent: true, is_closed: false, ..old };
        self.open.insert(id, exchange);
        self.in_order(side, exchange.order, id)?;
        self.within(side)?;
        Ok(!old.was_sent)
    }

    /// The sender writes PUBREL. Says whether it is the first time for an exchange that is open.
    pub(crate) fn pubrel_sent(&mut self, side: &mut Side, ack: &Ack) -> Result<bool, Violation> {
        let id = ack.packet_id.get();
        side.under_way[3] += 1;
        match self.open.get_mut(&id) {
            Some(open) if !open.is_closed && open.qos == QoS::ExactlyOnce => {
                if !open.has_pubrec {
                    return violation("MQTT-4.3.3-4", format!("PUBREL {id} without a PUBREC"));
                }
                Ok(!std::mem::replace(&mut open.has_pubrel, true))
            }
            Some(_) | None if self.is_unknown || side.pubrecs.contains(&id) => Ok(false),
            Some(_) | None => violation("MQTT-4.3.3-4", format!("PUBREL {id} for nothing")),
        }
    }

    /// Whether the receiver has taken this message over at QoS 1, and the sender knows.
    pub(crate) fn is_finished(&self, tag: u64) -> bool {
        self.finished.contains(&tag)
    }

    /// The sender takes PUBACK, PUBREC or PUBCOMP.
    pub(crate) fn ack_taken(&mut self, side: &mut Side, kind: AckKind, ack: &Ack) {
        let id = ack.packet_id.get();
        side.under_way[place(kind)] -= 1;
        if kind == AckKind::PubRec {
            side.pubrecs.insert(id);
        }
        let Some(open) = self.open.get_mut(&id) else { return };
        match kind {
            AckKind::PubAck => {
                open.is_closed |= open.qos == QoS::AtLeastOnce;
                self.finished.insert(open.tag);
            }
            AckKind::PubRec if ack.reason.is_error() => open.is_closed = true,
            AckKind::PubRec => open.has_pubrec = true,
            AckKind::PubComp => open.is_closed |= open.has_pubrel,
            AckKind::PubRel => {}
        }
    }

    /// The receiver takes a PUBLISH.
    pub(crate) fn publish_taken(&mut self, side: &mut Side, publish: &Publish, tag: u64) {
        let Some(id) = publish.packet_id.map(|id| id.get()) else { return };
        side.under_way[0] -= 1;
        if publish.qos == QoS::AtLeastOnce {
            side.acks.push_back((id, tag));
        } else {
            side.recs.push_back((id, tag));
            self.got.entry(id).or_default();
        }
    }

    /// The receiver takes a PUBREL.
    pub(crate) fn pubrel_taken(&mut self, side: &mut Side, ack: &Ack) {
        let id = ack.packet_id.get();
        side.under_way[3] -= 1;
        side.comps.push_back(id);
        if let Some(got) = self.got.get_mut(&id) {
            got.is_released = true;
        }
    }

    /// The receiver writes PUBACK, PUBREC or PUBCOMP. Acknowledgements keep the order of what they acknowledge.
    pub(crate) fn ack_sent(
        &mut self,
        side: &mut Side,
        kind: AckKind,
        ack: &Ack,
    ) -> Result<Confirmed, Violation> {
        let id = ack.packet_id.get();
        side.under_way[place(kind)] += 1;
        let front = match kind {
            AckKind::PubAck => side.acks.pop_front(),
            AckKind::PubRec => side.recs.pop_front(),
            AckKind::PubComp | AckKind::PubRel => side.comps.pop_front().map(|id| (id, 0)),
        };
        let Some((_, tag)) = front.filter(|(expected, _)| *expected == id) else {
            let what = format!("{kind:?} {id}, where {front:?} is next");
            return violation("MQTT-4.6.0-2", what);
        };
        let mut is_again = false;
        match (kind, self.got.get_mut(&id)) {
            (AckKind::PubRec, Some(_)) if ack.reason.is_error() => {
                self.got.remove(&id);
            }
            (AckKind::PubRec, Some(got)) => {
                is_again = std::mem::replace(&mut got.is_pubrec_sent, true);
            }
            (AckKind::PubComp, Some(got)) if got.is_released => {
                self.got.remove(&id);
            }
            _ => {}
        }
        Ok(Confirmed { tag, is_again })
    }

    /// Spec: v5 [MQTT-4.6.0-1], v3.1.1 [MQTT-4.6.0-1].
    fn in_order(&self, side: &mut Side, order: u64, id: u16) -> Result<(), Violation> {
        if std::mem::replace(&mut side.last_order, order) > order {
            return violation("MQTT-4.6.0-1", format!("id {id} sent again behind a younger one"));
        }
        Ok(())
    }

    /// Spec: v5 [MQTT-3.3.4-7] [MQTT-3.3.4-9].
    fn within(&self, side: &mut Side) -> Result<(), Violation> {
        let here = |(_, exchange): &(u16, &Exchange)| exchange.turn == Some(side.turn);
        let count = self.open().filter(here).count() as u32;
        if count > side.receive_maximum {
            let what = format!("{count} open, receive maximum {}", side.receive_maximum);
            return violation("MQTT-3.3.4-9", what);
        }
        side.was_full |= count == side.receive_maximum;
        Ok(())
    }
}

fn place(kind: AckKind) -> usize {
    match kind {
        AckKind::PubAck => 1,
        AckKind::PubRec => 2,
        AckKind::PubRel => 3,
        AckKind::PubComp => 4,
    }
}
