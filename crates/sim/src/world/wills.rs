//! Wills: each CONNECT has one of its own, so that every message says which connection it stands for.

use postrider_proto::wire::Topic;

use super::World;
use crate::{NewMessage, client::WILL_TOPIC, facts};

impl World {
    /// The next CONNECT of a client gets a new will.
    pub(super) fn renew_will(&mut self, client: usize) {
        let Some((qos, _)) = self.clients[client].actor.will else { return };
        let topic = Topic::new(WILL_TOPIC).expect("a topic");
        let payload = self.payload(16);
        let (retain, may_expire, size) = (false, false, payload.len());
        let new = NewMessage { publisher: client, topic, qos, retain, may_expire, size };
        let index = self.model.will(new);
        self.wills.insert(index as u64);
        self.clients[client].set_will(&self.script, payload);
    }

    /// The broker wrote CONNACK: it has the will, for as long as the session of a durable client.
    pub(super) fn will_accepted(&mut self, pipe: usize) {
        let found = &mut self.pipes[pipe];
        if found.is_will_withdrawn {
            return;
        }
        let will = found.connect.as_ref().and_then(|connect| connect.will.as_ref());
        found.will = will.and_then(|will| facts::tag_of(&will.payload)).map(|tag| tag as usize);
    }

    /// The broker took a DISCONNECT that says goodbye. What it forgets then may come back with a crash.
    ///
    /// Spec: v5 [MQTT-3.14.4-3], v3.1.1 [MQTT-3.14.4-3].
    pub(super) fn will_withdrawn(&mut self, pipe: usize) {
        self.pipes[pipe].is_will_withdrawn = true;
        if let Some(will) = self.pipes[pipe].will.take() {
            self.model.will_withdrawn(will);
        }
    }

    /// The broker took a CONNECT, in time perhaps for wills that wait for their delay.
    ///
    /// Spec: v5 [MQTT-3.1.3-9].
    pub(super) fn wills_called_off(&mut self, client: usize, but: usize) {
        let is_delayed = self.clients[client].actor.will.is_some_and(|(_, delay_s)| delay_s > 0);
        let all = 0..self.pipes.len();
        for pipe in all.filter(|pipe| is_delayed && *pipe != but) {
            if self.pipes[pipe].client == client {
                self.will_withdrawn(pipe);
            }
        }
    }

    /// The broker noticed the end of a connection, or ended with it.
    pub(super) fn will_due(&mut self, pipe: usize) {
        if let Some(will) = self.pipes[pipe].will {
            self.note(|| format!("pipe {pipe} has ended, will {will} is due"));
            self.model.will_due(will);
        }
    }
}
