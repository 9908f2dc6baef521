//! Every packet on every pipe, when it is sent and when it is taken: held against the standard and against the disk.

use std::collections::BTreeSet;

use postrider_proto::{
    Durability,
    wire::{Ack, AckKind, Filter, Packet, Publish, QoS, ReasonCode},
};

use super::{Asked, World};
use crate::{
    Violation,
    disk::Image,
    facts::{self, Content},
    model::violation,
};

impl World {
    pub(super) fn see_sent_by_client(
        &mut self,
        pipe: usize,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        for packet in self.pipes[pipe].to_hub.sent.see(bytes)? {
            self.counts.note("packets looked at");
            self.note(|| format!("pipe {pipe} > {}", brief(&packet)));
            self.sent_by_client(pipe, packet)?;
        }
        Ok(())
    }

    pub(super) fn see_sent_by_hub(&mut self, pipe: usize, bytes: &[u8]) -> Result<(), Violation> {
        for packet in self.pipes[pipe].to_client.sent.see(bytes)? {
            self.counts.note("packets looked at");
            self.note(|| format!("pipe {pipe} < {}", brief(&packet)));
            self.sent_by_hub(pipe, packet)?;
        }
        Ok(())
    }

    pub(super) fn see_taken_by_client(
        &mut self,
        pipe: usize,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        for packet in self.pipes[pipe].to_client.taken.see(bytes)? {
            self.taken_by_client(pipe, packet);
        }
        Ok(())
    }

    pub(super) fn see_taken_by_hub(&mut self, pipe: usize, bytes: &[u8]) -> Result<(), Violation> {
        for packet in self.pipes[pipe].to_hub.taken.see(bytes)? {
            self.taken_by_hub(pipe, packet);
        }
        Ok(())
    }

    /// Counts what was lost with a connection, once.
    pub(super) fn settle(&mut self, pipe: usize) {
        let found = &mut self.pipes[pipe];
        if std::mem::replace(&mut found.is_settled, true) {
            return;
        }
        let names =
            ["lost: PUBLISH", "lost: PUBACK", "lost: PUBREC", "lost: PUBREL", "lost: PUBCOMP"];
        for side in [&found.up, &found.down] {
            for (name, count) in names.iter().zip(side.under_way) {
                self.counts.more(name, u64::from(count > 0));
            }
        }
        let is_full = [found.up.was_full, found.down.was_full];
        self.counts.more("window full towards the broker", u64::from(is_full[0]));
        self.counts.more("window full towards a client", u64::from(is_full[1]));
    }

    fn sent_by_client(&mut self, pipe: usize, packet: Packet) -> Result<(), Violation> {
        let client = self.pipes[pipe].client;
        match packet {
            Packet::Publish(publish) => self.publish_by_client(pipe, &publish),
            Packet::PubRel(ack) => {
                let is_first = self.talks[client].up.pubrel_sent(&mut self.pipes[pipe].up, &ack)?;
                if let Some(content) = self.kept_by_client(client).filter(|_| is_first) {
                    let name = &self.clients[client].name;
                    self.released(facts::flights(content, 0), &ack, name)?;
                }
                Ok(())
            }
            Packet::PubAck(ack) => self.ack_by_client(pipe, AckKind::PubAck, &ack),
            Packet::PubRec(ack) => self.ack_by_client(pipe, AckKind::PubRec, &ack),
            Packet::PubComp(ack) => self.ack_by_client(pipe, AckKind::PubComp, &ack),
            Packet::Subscribe(subscribe) => {
                self.nothing_stale(client)?;
                let mut asked = Asked::default();
                for line in subscribe.filters {
                    let qos = line.options.qos;
                    asked.sent = self.model.subscribe_sent(client, &line.filter, qos);
                    asked.filters.push(line.filter);
                }
                self.talks[client].asked.insert((pipe, subscribe.packet_id), asked);
                Ok(())
            }
            Packet::Unsubscribe(unsubscribe) => {
                let mut asked = Asked::default();
                for filter in unsubscribe.filters {
                    asked.sent = self.model.unsubscribe_sent(client, &filter);
                    asked.filters.push(filter);
                }
                self.talks[client].asked.insert((pipe, unsubscribe.packet_id), asked);
                Ok(())
            }
            Packet::Connect(_) | Packet::PingReq | Packet::Disconnect(_) | Packet::Auth(_) => {
                Ok(())
            }
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                violation("MQTT-4.13.1-1", format!("client {client} sent {packet:?}"))
            }
        }
    }

    fn publish_by_client(&mut self, pipe: usize, publish: &Publish) -> Result<(), Violation> {
        let client = self.pipes[pipe].client;
        let tag = facts::tag_of(&publish.payload).unwrap_or(u64::MAX);
        let side = &mut self.pipes[pipe].up;
        let is_first = self.talks[client].up.publish_sent(side, publish, tag)?;
        self.counts.more("sent again by a client", u64::from(publish.dup));
        let is_first = is_first && publish.qos == QoS::ExactlyOnce;
        if let Some(content) = self.kept_by_client(client).filter(|_| is_first) {
            let name = &self.clients[client].name;
            self.flying(facts::flights(content, 0), publish, tag, name)?;
        }
        Ok(())
    }

    fn ack_by_client(&mut self, pipe: usize, kind: AckKind, ack: &Ack) -> Result<(), Violation> {
        let client = self.pipes[pipe].client;
        let confirmed = self.talks[client].down.ack_sent(&mut self.pipes[pipe].down, kind, ack)?;
        // To who did not hear that its session is new, another message under an old id is a repeat.
        let is_owed = kind != AckKind::PubComp && !self.model.is_confused(client);
        if is_owed && !self.model.has(client, confirmed.tag) {
            let what = format!("client {client}: {kind:?} before {} is delivered", confirmed.tag);
            return violation("MQTT-4.3.2-4", what);
        }
        let Some(content) = self.kept_by_client(client).filter(|_| !confirmed.is_again) else {
            return Ok(());
        };
        let sim = &self.clients[client];
        let is_done = kind == AckKind::PubComp || facts::has_own(content, confirmed.tag);
        if sim.actor.is_manual && is_owed && !is_done {
            let what = format!("{}: {kind:?} before {} is done with", sim.name, confirmed.tag);
            return violation("MQTT-4.3.2-4", what);
        }
        self.kept(kind, facts::has_received(content, 0, ack.packet_id.get()), &sim.name)
    }

    fn sent_by_hub(&mut self, pipe: usize, packet: Packet) -> Result<(), Violation> {
        let client = self.pipes[pipe].client;
        match packet {
            Packet::ConnAck(connack) => self.connack_by_hub(pipe, &connack),
            Packet::Publish(publish) => self.publish_by_hub(pipe, &publish),
            Packet::PubRel(ack) => {
                let side = &mut self.pipes[pipe].down;
                let is_first = self.talks[client].down.pubrel_sent(side, &ack)?;
                if let Some((content, owner)) = self.owner(client).filter(|_| is_first) {
                    self.released(facts::flights(content, owner), &ack, "the broker")?;
                }
                Ok(())
            }
            Packet::PubAck(ack) => self.ack_by_hub(pipe, AckKind::PubAck, &ack),
            Packet::PubRec(ack) => self.ack_by_hub(pipe, AckKind::PubRec, &ack),
            Packet::PubComp(ack) => self.ack_by_hub(pipe, AckKind::PubComp, &ack),
            Packet::SubAck(suback) => {
                let asked = self.talks[client].asked.get(&(pipe, suback.packet_id));
                let Some(Asked { mut filters, .. }) = asked.cloned() else {
                    return violation("MQTT-3.8.4-2", format!("SUBACK to {client} for nothing"));
                };
                // What was asked for since may have changed them.
                let others = self.talks[client].asked.iter();
                let others = others.filter(|((_, id), _)| *id != suback.packet_id);
                let changing: Vec<_> = others.flat_map(|(_, asked)| &asked.filters).collect();
                filters.retain(|filter| !changing.contains(&filter));
                self.subscriptions_kept(client, &filters)
            }
            Packet::UnsubAck(unsuback) => {
                if !self.talks[client].asked.contains_key(&(pipe, unsuback.packet_id)) {
                    return violation("MQTT-3.10.4-4", format!("UNSUBACK to {client} for nothing"));
                }
                Ok(())
            }
            Packet::PingResp | Packet::Disconnect(_) | Packet::Auth(_) => Ok(()),
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq => violation("MQTT-4.13.1-1", format!("the broker sent {packet:?}")),
        }
    }

    fn publish_by_hub(&mut self, pipe: usize, publish: &Publish) -> Result<(), Violation> {
        let client = self.pipes[pipe].client;
        let tag = facts::tag_of(&publish.payload).unwrap_or(u64::MAX);
        let side = &mut self.pipes[pipe].down;
        let is_first = self.talks[client].down.publish_sent(side, publish, tag)?;
        self.counts.more("sent again by the broker", u64::from(publish.dup));
        if is_first
            && publish.qos == QoS::ExactlyOnce
            && let Some((content, owner)) = self.owner(client)
        {
            self.flying(facts::flights(content, owner), publish, tag, "the broker")?;
        }
        Ok(())
    }

    fn ack_by_hub(&mut self, pipe: usize, kind: AckKind, ack: &Ack) -> Result<(), Violation> {
        let client = self.pipes[pipe].client;
        let confirmed = self.talks[client].up.ack_sent(&mut self.pipes[pipe].up, kind, ack)?;
        if !self.script.is_durable || confirmed.is_again || ack.reason.is_error() {
            return Ok(());
        }
        if let Some((content, owner)) = self.owner(client) {
            let is_there = facts::has_received(content, owner, ack.packet_id.get());
            self.kept(kind, is_there, "the broker")?;
        }
        let durability = self.clients[client].actor.durability;
        // What was released may have come back with a loss that the mode allows, and the next message is a repeat then.
        let is_owed = kind != AckKind::PubComp && !self.talks[client].is_loose;
        match self.broker.disk.image(durability).filter(|_| is_owed) {
            Some(image) => self.taken_over(confirmed.tag, image),
            None => Ok(()),
        }
    }

    /// An acknowledged message is durable in every session that it is for, or finished there, and as retained. Spec: v5 [MQTT-4.3.2-4]
    /// [MQTT-4.3.3-8], v3.1.1 [MQTT-4.3.2-2] [MQTT-4.3.3-2].
    fn taken_over(&self, tag: u64, image: &Image) -> Result<(), Violation> {
        let index = tag as usize;
        if self.script.queue_max_hub >= super::QUEUE_SMALL {
            for client in self.model.owed(index) {
                if self.talks[client].presence.is_there(self.now) != Some(true) {
                    continue;
                }
                if self.talks[client].down.is_finished(tag) {
                    continue;
                }
                if self.clients[client].actor.durability == Durability::Memory {
                    continue;
                }
                let owners = facts::owners(&image.content, &self.clients[client].name);
                if !owners.iter().any(|owner| image.taken.contains(&(*owner, tag))) {
                    let what = format!("{tag} acknowledged, not stored for client {client}");
                    return violation("MQTT-4.3.2-4", what);
                }
            }
        }
        if self.model.is_retained(index) {
            let rivals = self.model.rivals(index);
            if !rivals.iter().any(|rival| image.retained.contains(&(*rival as u64))) {
                let what = format!("{tag} acknowledged, not stored as retained");
                return violation("MQTT-4.3.2-4", what);
            }
        }
        Ok(())
    }

    fn taken_by_hub(&mut self, pipe: usize, packet: Packet) {
        let found = &mut self.pipes[pipe];
        let talk = &mut self.talks[found.client];
        match packet {
            Packet::Connect(connect) => self.connect_taken(pipe, connect),
            Packet::Publish(publish) => {
                let tag = facts::tag_of(&publish.payload).unwrap_or(u64::MAX);
                talk.up.publish_taken(&mut found.up, &publish, tag);
            }
            Packet::PubRel(ack) => talk.up.pubrel_taken(&mut found.up, &ack),
            Packet::PubAck(ack) => talk.down.ack_taken(&mut found.down, AckKind::PubAck, &ack),
            Packet::PubRec(ack) => talk.down.ack_taken(&mut found.down, AckKind::PubRec, &ack),
            Packet::PubComp(ack) => talk.down.ack_taken(&mut found.down, AckKind::PubComp, &ack),
            Packet::ConnAck(_)
            | Packet::Subscribe(_)
            | Packet::SubAck(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Auth(_) => {}
            Packet::Disconnect(disconnect) => {
                if disconnect.reason == ReasonCode::Success {
                    self.will_withdrawn(pipe);
                }
            }
        }
    }

    fn taken_by_client(&mut self, pipe: usize, packet: Packet) {
        let found = &mut self.pipes[pipe];
        let client = found.client;
        let talk = &mut self.talks[client];
        match packet {
            Packet::ConnAck(connack) => {
                talk.unheard = None;
                if !connack.session_present {
                    talk.up.sender_cleared(found.up.turn);
                    talk.down.receiver_cleared();
                }
            }
            Packet::Publish(publish) => {
                let tag = facts::tag_of(&publish.payload).unwrap_or(u64::MAX);
                talk.down.publish_taken(&mut found.down, &publish, tag);
            }
            Packet::PubRel(ack) => talk.down.pubrel_taken(&mut found.down, &ack),
            Packet::PubAck(ack) => talk.up.ack_taken(&mut found.up, AckKind::PubAck, &ack),
            Packet::PubRec(ack) => talk.up.ack_taken(&mut found.up, AckKind::PubRec, &ack),
            Packet::PubComp(ack) => talk.up.ack_taken(&mut found.up, AckKind::PubComp, &ack),
            Packet::SubAck(suback) => {
                let asked = talk.asked.remove(&(pipe, suback.packet_id)).unwrap_or_default();
                for (filter, reason) in asked.filters.iter().zip(&suback.reasons) {
                    if !reason.is_error() {
                        self.model.subscribed(client, filter, asked.sent);
                    }
                }
            }
            Packet::UnsubAck(unsuback) => {
                let asked = talk.asked.remove(&(pipe, unsuback.packet_id)).unwrap_or_default();
                for filter in &asked.filters {
                    self.model.unsubscribed(client, filter, asked.sent);
                }
            }
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => {}
        }
    }

    /// A SUBSCRIBE leaves only when the ids of an older session are durably forgotten: what follows may have the same.
    fn nothing_stale(&self, client: usize) -> Result<(), Violation> {
        let content = self.kept_by_client(client).filter(|_| !self.model.is_confused(client));
        let stored = content.map(|content| facts::received(content, 0)).unwrap_or_default();
        let known: BTreeSet<u16> = self.talks[client].down.got().map(|(id, _)| id).collect();
        if let Some(id) = stored.into_iter().find(|id| !known.contains(id)) {
            let what = format!("client {client} subscribes before {id} is forgotten");
            return violation("MQTT-3.2.2-5", what);
        }
        Ok(())
    }

    /// A QoS 2 PUBLISH leaves only when message, id and state are durable.
    fn flying(
        &self,
        stored: Vec<facts::StoredFlight>,
        publish: &Publish,
        tag: u64,
        who: &str,
    ) -> Result<(), Violation> {
        let id = publish.packet_id.map_or(0, |id| id.get());
        let is_it = |flight: &facts::StoredFlight| {
            flight.packet_id == id
                && flight.state == facts::AWAIT_REC
                && flight.tag.is_none_or(|stored| stored == tag)
        };
        if stored.iter().any(is_it) {
            return Ok(());
        }
        let what = format!("{who} sends QoS 2 PUBLISH {id} of {tag} before it is stored");
        violation("MQTT-4.3.3-1", what)
    }

    /// A PUBREL leaves only when it is durable that PUBREC came.
    fn released(
        &self,
        stored: Vec<facts::StoredFlight>,
        ack: &Ack,
        who: &str,
    ) -> Result<(), Violation> {
        let id = ack.packet_id.get();
        let is_it = |f: &facts::StoredFlight| f.packet_id == id && f.state == facts::AWAIT_COMP;
        if stored.iter().any(is_it) {
            return Ok(());
        }
        violation("MQTT-4.3.3-4", format!("{who} sends PUBREL {id} before PUBREC is stored"))
    }

    /// A PUBREC leaves only when its id is durable, a PUBCOMP only when it is durably gone.
    fn kept(&self, kind: AckKind, is_there: bool, who: &str) -> Result<(), Violation> {
        match (kind, is_there) {
            (AckKind::PubRec, false) => {
                violation("MQTT-4.3.3-8", format!("{who} sends PUBREC before its id is stored"))
            }
            (AckKind::PubComp, true) => violation(
                "MQTT-4.3.3-11",
                format!("{who} sends PUBCOMP before the release is stored"),
            ),
            (AckKind::PubAck | AckKind::PubRec | AckKind::PubRel | AckKind::PubComp, _) => Ok(()),
        }
    }

    /// A SUBACK leaves only when its subscriptions are durable.
    fn subscriptions_kept(&self, client: usize, filters: &[Filter]) -> Result<(), Violation> {
        let Some((content, owner)) = self.owner(client) else { return Ok(()) };
        for filter in filters {
            let is_stored = facts::has_subscription(content, owner, filter.as_str());
            if !is_stored && self.model.is_wanted(client, filter) {
                let what = format!("SUBACK to {client} before {filter} is stored");
                return violation("MQTT-3.8.4-1", what);
            }
        }
        Ok(())
    }

    /// What must be stored at the broker before a client hears of it, and the owner number of its session there.
    fn owner(&self, client: usize) -> Option<(&Content, u64)> {
        let sim = &self.clients[client];
        let image = self.broker.disk.image(sim.actor.durability)?;
        let owner = *facts::owners(&image.content, &sim.name).first()?;
        Some((&image.content, owner)).filter(|_| self.script.is_durable)
    }

    /// What must be stored at a client before the broker hears of it.
    fn kept_by_client(&self, client: usize) -> Option<&Content> {
        let sim = &self.clients[client];
        let image = sim.disk.image(sim.actor.keeps).filter(|_| sim.actor.has_store);
        image.map(|image| &image.content)
    }
}

/// A packet for people, without its padding.
fn brief(packet: &Packet) -> String {
    if let Packet::Publish(publish) = packet {
        let tag = facts::tag_of(&publish.payload);
        let Publish { dup, qos, retain, packet_id, .. } = publish;
        return format!("PUBLISH {tag:?} {qos:?} {packet_id:?} dup {dup} retain {retain}");
    }
    let mut text = format!("{packet:?}");
    text.truncate(160);
    text
}
