//! What was added to runs later. It is drawn apart, so that a run without it is what it was for every seed.

use postrider_proto::{Durability, wire::QoS};

use super::{Action, Actor, Answer, Script, Who};
use crate::Random;

impl Script {
    /// Draws what was added to runs later: programs that acknowledge themselves, links and stores that do not wait for
    /// the sync, processes that are killed where the machine goes on, large payloads that survive restarts, clients
    /// that are away until their sessions expire and then miss the answer, and wills that the broker is publishing when
    /// it ends.
    pub(super) fn extend(&mut self) {
        let mut random = Random::new(self.seed ^ APART);
        self.has_stages = true;
        if random.chance(50) {
            self.spool_above = *random.pick(&[64, 300]);
        }
        let has_modes = random.chance(35);
        let has_programs = random.chance(50);
        for actor in self.clients.iter_mut().filter(|actor| !actor.is_auditor) {
            actor.is_manual = has_programs && random.chance(60);
            if has_modes {
                actor.durability = *random.pick(&MODES);
                actor.keeps = *random.pick(&KEEPS);
            }
            if actor.has_properties && actor.expiry_s == u32::MAX && random.chance(25) {
                actor.expiry_s = random.between(1, 4) as u32;
            }
        }
        for (_, action) in &mut self.actions {
            if let Action::Crash(who) = *action
                && random.chance(50)
            {
                *action = Action::Kill(who);
            } else if let Action::CrashBoth(client) = *action
                && random.chance(50)
            {
                *action = Action::KillBoth(client);
            }
        }
        self.send_away(&mut random);
        self.fall_over_wills();
    }

    /// Clients with wills lose their connections, and the broker falls a moment later.
    fn fall_over_wills(&mut self) {
        let mut random = Random::new(self.seed ^ APART_TOO);
        if !self.is_durable || !random.chance(25) {
            return;
        }
        self.hubs = self.hubs.max(random.between(2, 3) as u16);
        let mut departing = Vec::new();
        for (client, actor) in self.clients.iter_mut().enumerate() {
            if !actor.is_auditor && random.chance(70) {
                actor.will = Some((*random.pick(&[QoS::AtLeastOnce, QoS::ExactlyOnce]), 0));
                departing.push(client);
            }
        }
        let over = self.actions.last().map_or(0, |(at, _)| *at).max(5_000);
        for _ in 0..if departing.is_empty() { 0 } else { random.between(1, 5) } {
            let at = random.between(5_000, over);
            self.actions.push((at, Action::Reset(*random.pick(&departing))));
            let is_kill = random.chance(50);
            let fall = if is_kill { Action::Kill(Who::Broker) } else { Action::Crash(Who::Broker) };
            self.actions.push((at + random.between(0, 40), fall));
        }
        self.actions.sort_by_key(|(at, _)| *at);
    }

    /// Clients whose sessions are short are away for longer, now and then.
    fn send_away(&mut self, random: &mut Random) {
        let over = self.actions.last().map_or(0, |(at, _)| *at);
        let expiry_of = |actor: &Actor| u64::from(actor.expiry_s) * 1000;
        let short: Vec<_> = (0..self.clients.len())
            .filter(|client| expiry_of(&self.clients[*client]) < SHORT_MS)
            .collect();
        for client in short {
            for _ in 0..random.between(0, 3) {
                let at = random.between(5_000, over.max(5_000));
                let ms = expiry_of(&self.clients[client]) + random.between(0, 400);
                let answer = *random.pick(&[Answer::Kept, Answer::Lost, Answer::Crash]);
                self.actions.push((at, Action::Away { client, ms, answer }));
            }
        }
        self.actions.sort_by_key(|(at, _)| *at);
    }

    /// Whether records of this client may be lost that were handed to the operating system.
    pub(crate) fn is_unsynced(&self, who: Who, client: usize) -> bool {
        let actor = &self.clients[client];
        match who {
            Who::Client(_) => actor.keeps != Durability::Durable,
            Who::Broker => actor.durability != Durability::Durable,
        }
    }
}

/// Draws of the extras are not those of the rest.
const APART: u64 = 0x5EED_0FE7_0A57_0001;
const APART_TOO: u64 = 0x5EED_0FE7_0A57_0002;
const MODES: [Durability; 4] =
    [Durability::Memory, Durability::Process, Durability::Process, Durability::Durable];
const KEEPS: [Durability; 2] = [Durability::Process, Durability::Durable];
/// Sessions that expire sooner than this, in milliseconds.
const SHORT_MS: u64 = 10_000;
