//! Programs that acknowledge messages themselves.

use postrider_proto::{
    Arrived, Payload,
    client::{AcknowledgeError, OwnChange},
    wire::{Bytes, QoS, Topic},
};

use super::{Happening, World};
use crate::{Seen, Violation, disk::Fall, facts, script::Answer};

/// A message that a program has and has not acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    topic: Topic,
    qos: QoS,
    retain: bool,
    pub(crate) tag: u64,
    size: usize,
    /// When it arrived, in steps of the model.
    step: u64,
}

impl Held {
    fn seen(&self, kept_by: u64, order: Option<(u64, u64)>) -> Seen<'_> {
        let Self { topic, qos, retain, tag, size, .. } = self;
        let (qos, retain, publication, size) = (*qos, *retain, *tag, *size);
        Seen { topic, qos, retain, publication, size, kept_by, order, is_late: true }
    }
}

impl World {
    /// A message for the program, which does something with it for a while.
    pub(super) fn entrusted(
        &mut self,
        client: usize,
        arrived: &Arrived,
        number: u64,
        is_redelivery: bool,
    ) -> Result<(), Violation> {
        let sim = &mut self.clients[client];
        let payload = sim.disk.shelf.payload(&arrived.payload);
        let Some(topic) = arrived.publish.topic.clone() else {
            let what = "a message without a topic".to_owned();
            return Err(Violation { statement: "MQTT-3.3.2-1", what });
        };
        let is_spooled = matches!(arrived.payload, Payload::Spooled { .. });
        self.counts.more("payload spooled", u64::from(is_spooled));
        let tag = facts::tag_of(&payload).unwrap_or(u64::MAX);
        let (qos, retain) = (arrived.publish.qos, arrived.publish.retain);
        let mut held = Held { topic, qos, retain, tag, size: payload.len(), step: 0 };
        held.step = self.model.arrived(client, held.seen(0, None))?;
        let sim = &mut self.clients[client];
        let seen = sim.first_seen.len() as u64;
        sim.first_seen.entry(tag).or_insert(seen);
        if let Some(before) = sim.held.insert(number, held) {
            let what = format!("client {client} got {number} twice: {} and {tag}", before.tag);
            return Err(Violation { statement: "numbers", what });
        }
        self.counts.more("program: redelivered", u64::from(is_redelivery));
        let process = self.clients[client].process;
        let longest = if self.random.chance(8) { 6_000 } else { 400 };
        let at = self.now + self.random.between(0, longest);
        // Once nothing goes wrong any more, nothing is dropped, since it would not come again.
        let is_dropped = self.now < self.over() && self.random.chance(12);
        let next = if is_dropped { Happening::Drop } else { Happening::Acknowledge };
        self.at(at, next(client, process, number));
        Ok(())
    }

    /// The program has done with a message, and stores that with its acknowledgement.
    pub(super) fn acknowledge(
        &mut self,
        client: usize,
        process: u32,
        number: u64,
    ) -> Result<(), Violation> {
        let sim = &mut self.clients[client];
        if !sim.is_up || sim.process != process {
            return Ok(());
        }
        let Some(held) = sim.held.remove(&number) else { return Ok(()) };
        let is_first = sim.held.keys().next().is_none_or(|first| *first > number);
        let own = if sim.actor.has_store {
            let key = Bytes::from(held.tag.to_string());
            vec![OwnChange::Put(key, Bytes::from_static(b"done"))]
        } else {
            Vec::new()
        };
        match sim.machine.acknowledge(number, own) {
            Ok(()) => {
                self.counts.note("program: acknowledged");
                self.counts.more("program: acknowledged out of order", u64::from(!is_first));
                if self.clients[client].actor.has_store {
                    // It is done once the record has a number.
                    self.clients[client].done.insert(held.tag, held);
                } else {
                    self.done(client, &held, 0)?;
                }
            }
            Err(AcknowledgeError::Stale(_)) => {
                self.counts.note("program: acknowledged too late");
            }
            Err(AcknowledgeError::Over) => {}
            Err(error) => {
                let what = format!("client {client} could not acknowledge: {error:?}");
                return Err(Violation { statement: "bounds", what });
            }
        }
        self.drain_client(client)
    }

    /// The record of what a program has done leaves its machine.
    pub(super) fn own_record(
        &mut self,
        client: usize,
        key: &[u8],
        seq: u64,
    ) -> Result<(), Violation> {
        let tag = std::str::from_utf8(key).ok().and_then(|text| text.parse::<u64>().ok());
        let held = tag.and_then(|tag| self.clients[client].done.remove(&tag));
        held.map_or(Ok(()), |held| self.done(client, &held, seq))
    }

    fn done(&mut self, client: usize, held: &Held, kept_by: u64) -> Result<(), Violation> {
        let order = self.clients[client].first_seen.get(&held.tag).map(|order| (*order, held.step));
        self.count_delivery(client, held.tag, held.retain);
        self.model.delivered(client, held.seen(kept_by, order))
    }

    /// The program drops a message. To get it again it connects again, some time later.
    pub(super) fn drop_message(
        &mut self,
        client: usize,
        process: u32,
        number: u64,
    ) -> Result<(), Violation> {
        let sim = &mut self.clients[client];
        if !sim.is_up || sim.process != process || sim.held.remove(&number).is_none() {
            return Ok(());
        }
        self.counts.note("program: dropped");
        sim.machine.take_back(number);
        let at = self.now + self.random.between(1, 3_000);
        self.at(at, Happening::Redial(client, process));
        self.drain_client(client)
    }

    pub(super) fn redial(&mut self, client: usize, process: u32) -> Result<(), Violation> {
        if self.clients[client].process != process {
            return Ok(());
        }
        let Some(pipe) = self.clients[client].pipe else { return Ok(()) };
        self.client_end_closes(pipe)?;
        self.hub_end_closes(pipe)
    }

    /// When the last action is.
    pub(super) fn over(&self) -> u64 {
        self.script.actions.last().map_or(0, |(at, _)| *at)
    }

    /// A client is away for a while; then the next CONNACK meets its fate.
    pub(super) fn send_away(
        &mut self,
        client: usize,
        ms: u64,
        answer: Answer,
    ) -> Result<(), Violation> {
        self.clients[client].away_until = self.now + ms;
        self.clients[client].answer = answer;
        match self.clients[client].pipe {
            Some(pipe) => {
                self.client_end_closes(pipe)?;
                self.hub_end_closes(pipe)
            }
            None => Ok(()),
        }
    }

    /// Whether the CONNACK that arrives at a client is lost.
    pub(super) fn is_answer_lost(&mut self, pipe: usize) -> Result<bool, Violation> {
        let client = self.pipes[pipe].client;
        let is_lost = self.clients[client].answer == Answer::Lost && !self.pipes[pipe].is_answered;
        if is_lost {
            self.clients[client].answer = Answer::Kept;
            self.counts.note("session: answer lost");
            self.client_end_closes(pipe)?;
            self.hub_end_closes(pipe)?;
        }
        Ok(is_lost)
    }

    /// A client has read CONNACK, and may crash over that.
    pub(super) fn answer_read(&mut self, pipe: usize) -> Result<(), Violation> {
        let client = self.pipes[pipe].client;
        let is_crash = self.clients[client].answer == Answer::Crash;
        if std::mem::replace(&mut self.pipes[pipe].is_answered, true) || !is_crash {
            return Ok(());
        }
        self.clients[client].answer = Answer::Kept;
        self.counts.note("session: crash over the answer");
        self.crash_client(client, Fall::PowerCut)
    }
}
