//! What happens because time passes.

use postrider_proto::{
    Fact, Record,
    mutation::{Mutation, planted},
};

use super::{
    Hub,
    receive::{Last, Parting},
};
use crate::LinkId;

/// Who is woken by the wheel. Each looks whether its time has really come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// A link: its handshake or keep alive.
    Link(LinkId),
    /// The will of a session.
    Will { session: usize, owner: u64 },
    /// Publishers that wait for a session.
    Stall { session: usize, owner: u64 },
    /// A session for which a retained message was not in the store yet.
    Replay { session: usize, owner: u64 },
}

impl Hub {
    /// Does what is due.
    pub(super) fn expire(&mut self) {
        if !self.peers.are_known() {
            return;
        }
        self.resume_departed();
        let mut due = Vec::new();
        self.wheel.expire(self.now, &mut due);
        for timer in due {
            match timer {
                Timer::Link(id) => self.wake_link(id),
                Timer::Will { session, owner } => {
                    if self.registry.owned(session, owner).is_some() {
                        self.publish_due_will(session);
                    }
                }
                Timer::Stall { session, owner } => self.end_stall(session, owner),
                Timer::Replay { session, owner } => {
                    if self.registry.owned(session, owner).is_some() {
                        self.replay_later(session);
                    }
                }
            }
        }
        self.expire_sessions();
        self.expire_retained();
    }

    /// Links that used up their turn go on.
    pub(super) fn resume_turns(&mut self) {
        for id in core::mem::take(&mut self.turns) {
            let Some(at) = self.links.find(id) else { continue };
            let Some(slot) = self.links.get_mut(at) else { continue };
            slot.is_turn_over = false;
            self.go_on(at);
        }
    }

    /// Spec: v5 [MQTT-3.1.2-22], v3.1.1 [MQTT-3.1.2-24].
    fn wake_link(&mut self, id: LinkId) {
        let Some(at) = self.links.find(id) else { return };
        let now = self.now;
        let Some(slot) = self.links.get_mut(at) else { return };
        slot.armed = None;
        if slot.is_paused {
            // We do not listen; it may well have spoken.
            slot.link.excuse_silence(now);
        }
        let woken = slot.link.handle_time(now);
        self.links.write(at);
        match woken {
            Ok(()) => self.arm(at),
            Err(end) => self.end_link(at, Parting { end, will: Last::Published }),
        }
    }

    /// Spec: v5 [MQTT-4.1.0-2].
    fn expire_sessions(&mut self) {
        while let Some((expires, session)) = self.registry.first_offline() {
            let is_planted = planted(Mutation::SessionKeptExpired);
            if expires > self.now || expires.0 == u64::MAX || is_planted {
                return;
            }
            self.end_session(session);
        }
    }

    fn expire_retained(&mut self) {
        let mut gone = Vec::new();
        self.keeper.expire(self.now, &mut gone);
        for topic in gone {
            if self.home(topic.as_bytes()) == self.config.index {
                self.journal.write(Record { owner: 0, fact: Fact::RetainedGone(topic) });
            }
        }
    }
}
