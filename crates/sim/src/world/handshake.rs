//! CONNECT and CONNACK: what they say of a session, and whether that is so.

use postrider_proto::wire::{ConnAck, Connect, QoS};

use super::World;
use crate::{Violation, facts, model::violation};

impl World {
    pub(super) fn connack_by_hub(
        &mut self,
        pipe: usize,
        connack: &ConnAck,
    ) -> Result<(), Violation> {
        let found = &mut self.pipes[pipe];
        let client = found.client;
        if connack.reason.is_error() {
            return violation("MQTT-3.2.2-6", format!("client {client} refused: {connack:?}"));
        }
        let Some(connect) = found.connect.clone() else {
            return violation("MQTT-3.2.0-1", format!("CONNACK to {client} without CONNECT"));
        };
        let said = connack.session_present;
        if found.session_present.is_some_and(|known| known != said) {
            let what = format!("session present is {said} for client {client}");
            return violation("MQTT-3.2.2-3", what);
        }
        found.session_present = Some(said);
        found.is_accepted = true;
        self.will_accepted(pipe);
        let found = &mut self.pipes[pipe];
        found.up.is_resumed = said;
        found.down.is_resumed = said;
        if let Some(maximum) = connack.properties.receive_maximum() {
            found.up.receive_maximum = u32::from(*maximum);
        }
        if let Some(maximum) = connect.properties.receive_maximum() {
            found.down.receive_maximum = u32::from(*maximum);
        }
        let expiry_s = self.expiry_s(client, &connect);
        let talk = &mut self.talks[client];
        // One that was taken over before its CONNACK left says nothing of the session that there is.
        if talk.presence.pipe == Some(pipe) {
            talk.presence.accepted(expiry_s);
        }
        if said {
            if talk.presence.may_have_lapsed {
                self.model.lapsed(client);
            }
            if let Some(first) = talk.unheard.filter(|first| *first != pipe) {
                // It may have begun for an earlier CONNECT, whose CONNACK the client did not get. The standard has no
                // word for it. A client knows of its own CONNECTs, and finds out; but not of those of a stranger.
                talk.unheard = None;
                talk.down.sender_unknown();
                talk.up.receiver_cleared();
                if self.pipes[first].is_stranger {
                    self.counts.note("session: new, and the client not told");
                    self.model.confused(client);
                } else {
                    self.counts.note("session: new, and CONNACK lost");
                    self.model.doubted(client);
                }
            }
            self.counts.note("session: resumed");
            self.count_resume(client);
        } else {
            // What is open is published anew, whether or not the client lives to say so.
            let open: Vec<_> = talk.up.open().map(|(_, open)| open.tag).collect();
            open.iter().for_each(|tag| self.model.may_repeat(*tag as usize));
            talk.down.sender_cleared(self.pipes[pipe].down.turn);
            talk.up.receiver_cleared();
            self.model.session_began(client);
        }
        self.session_stored(client, expiry_s, said)
    }

    /// What CONNACK says is durable. Spec: v5 section 3.2.2.1.1.
    fn session_stored(&self, client: usize, expiry_s: u32, said: bool) -> Result<(), Violation> {
        let durability = self.clients[client].actor.durability;
        let Some(image) = self.broker.disk.image(durability).filter(|_| self.script.is_durable)
        else {
            return Ok(());
        };
        let owners = facts::owners(&image.content, &self.clients[client].name);
        if expiry_s == 0 && !said && !owners.is_empty() {
            let what = format!("CONNACK to {client}, old sessions on the disk: {owners:?}");
            return violation("MQTT-3.2.2-2", what);
        }
        if expiry_s > 0 {
            let is_stored = matches!(owners[..], [owner]
                if facts::has_session(&image.content, owner));
            if !is_stored {
                let what = format!("CONNACK to {client}, sessions on the disk: {owners:?}");
                return violation("MQTT-3.2.2-2", what);
            }
        }
        Ok(())
    }

    fn count_resume(&mut self, client: usize) {
        let names = [
            [
                "resume: client awaits PUBACK",
                "resume: client awaits PUBREC",
                "resume: client awaits PUBCOMP",
            ],
            [
                "resume: broker awaits PUBACK",
                "resume: broker awaits PUBREC",
                "resume: broker awaits PUBCOMP",
            ],
        ];
        let talk = &self.talks[client];
        for (flow, names) in [&talk.up, &talk.down].into_iter().zip(names) {
            for (_, open) in flow.open() {
                let state = match (open.qos, open.has_pubrel || open.has_pubrec) {
                    (QoS::ExactlyOnce, true) => 2,
                    (QoS::ExactlyOnce, false) => 1,
                    (QoS::AtMostOnce | QoS::AtLeastOnce, _) => 0,
                };
                self.counts.note(names[state]);
            }
        }
        let waiting = [&talk.down, &talk.up].map(|flow| flow.got().count() as u64);
        self.counts.more("resume: client awaits PUBREL", waiting[0]);
        self.counts.more("resume: broker awaits PUBREL", waiting[1]);
    }

    pub(super) fn connect_taken(&mut self, pipe: usize, connect: Box<Connect>) {
        let found = &mut self.pipes[pipe];
        let (client, is_stranger) = (found.client, found.is_stranger);
        self.wills_called_off(client, pipe);
        let found = &mut self.pipes[pipe];
        let talk = &mut self.talks[client];
        talk.connects += 1;
        found.down.turn = talk.connects;
        let presence = &mut talk.presence;
        let old = presence.pipe.filter(|old| *old != pipe);
        let was_there = presence.is_there(self.now);
        found.session_present = presence.connect(pipe, &connect, self.now);
        if connect.clean_start || was_there != Some(true) {
            talk.unheard.get_or_insert(pipe);
        }
        if connect.clean_start && was_there == Some(true) {
            self.counts.note("session: clean start over an old one");
        }
        if !connect.clean_start && found.session_present == Some(false) {
            self.counts.note("session: expired at the broker");
        }
        found.connect = Some(connect);
        if old.is_some_and(|old| self.pipes[old].is_hub_open) {
            let name = if is_stranger {
                "link: taken over by a stranger"
            } else {
                "link: taken over by its own client"
            };
            self.counts.note(name);
            let talk = &self.talks[client];
            if talk.down.open().next().is_some() || talk.up.open().next().is_some() {
                self.counts.note("link: taken over with open flights");
            }
        }
    }

    fn expiry_s(&self, client: usize, connect: &Connect) -> u32 {
        match connect.clean_start {
            _ if self.clients[client].actor.has_properties => {
                connect.properties.session_expiry_interval().copied().unwrap_or(0)
            }
            true => 0,
            false => u32::MAX,
        }
    }
}
