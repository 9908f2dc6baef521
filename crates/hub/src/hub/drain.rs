//! What the driver has to do: gathered once per drain, then handed out one by one.

use postrider_proto::{Durability, Gate, SpoolOutput, Time};

use super::Hub;
use crate::{
    MovedLink, Output,
    links::{LinkSlot, Stage},
};

impl Hub {
    /// The next output; `Wait` ends the drain.
    pub(super) fn next_output(&mut self) -> Output {
        if !self.is_draining {
            self.is_draining = true;
            self.flush();
        }
        if let Some(output) = self.appends.pop_front() {
            return Output::Spool(output);
        }
        // From the journal one by one, without a queue in between: they are many.
        if self.is_fetching {
            if let Some((seq, record)) = self.journal.poll_record() {
                return Output::Store(seq, record);
            }
            self.is_fetching = false;
        }
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        self.is_draining = false;
        Output::Wait(self.deadline())
    }

    /// The driver wrote output of a link.
    pub(super) fn written_out(&mut self, at: usize, bytes: u64) {
        let Some(slot) = self.links.get_mut(at) else { return };
        slot.link.outbox_mut().consume(bytes);
        let is_held = slot.is_held;
        let Some(session) = self.session_of(at) else { return };
        if is_held {
            // The next drain looks whether it can be read on.
            self.links.write(at);
        }
        let entry = self.registry.get(session);
        if entry.is_some_and(|e| e.session.is_congested() || !e.replay.is_empty()) {
            self.pump_later(session);
        }
    }

    /// Does all that was put off, so that outputs of a batch come together.
    fn flush(&mut self) {
        self.turn = 0;
        self.take_arrived();
        self.bound_offline();
        self.peers.advance(&self.journal);
        if self.peers.begin() {
            self.begin_work();
        }
        self.end_departures();
        self.open_gates();
        for session in core::mem::take(&mut self.pumps) {
            self.pump(session);
        }
        for session in core::mem::take(&mut self.replays) {
            self.replay(session);
        }
        // A record may name a spool: what is appended comes before records, what is dropped behind them.
        while let Some(output) = self.spools.poll_output() {
            match output {
                SpoolOutput::Append(..) => self.appends.push_back(output),
                SpoolOutput::Drop(_) => self.outputs.push_back(Output::Spool(output)),
            }
        }
        self.is_fetching = true;
        self.ask_pages();
        self.awaits_sync = self.peers.flush(&self.journal, &mut self.outputs);
        self.transmit();
        self.close();
        self.hand_over();
    }

    /// The store or the peers have moved on: writes what waited for them.
    pub(super) fn open_gates(&mut self) {
        let opened = self.opened();
        if opened == self.opened {
            return;
        }
        self.opened = opened;
        for at in self.links.take_gated(opened) {
            let gate = opened.gate(self.durability_of(Some(at)));
            if let Some(link) = self.links.write(at) {
                link.open_gates(gate);
            }
            if let Some(session) = self.session_of(at) {
                self.pump_later(session);
            }
        }
    }

    /// Announces output, and notes which links wait for the store or the peers.
    fn transmit(&mut self) {
        let opened = self.opened();
        // What was written up to now may wait for all of this.
        let last = Gate { stored: self.journal.last(), fence: self.peers.fence() - 1 };
        let is_gated = self.config.is_durable || self.peers.are_there();
        let dirty = self.links.take_dirty();
        for &at in &dirty {
            let Some(slot) = self.links.get_mut(at) else { continue };
            if is_gated {
                slot.link.open_gates(opened.gate(slot.durability));
            }
            let is_waiting = !opened.is_open(last, slot.durability);
            let awaits_sync = last.stored > opened.progress.stored(Durability::Durable);
            if awaits_sync && slot.durability == Durability::Durable {
                self.awaits_sync = true;
            }
            if !slot.link.outbox().is_empty() {
                self.outputs.push_back(Output::Transmit(slot.id));
            }
            if slot.is_released() {
                slot.is_held = false;
                self.go_on(at);
            }
            if is_waiting {
                self.links.wait(at, last);
            }
        }
        self.links.reuse_dirty(dirty);
    }

    fn close(&mut self) {
        for id in core::mem::take(&mut self.closing) {
            let Some(at) = self.links.find(id) else { continue };
            if self.links.get(at).is_some() {
                self.outputs.push_back(Output::Close(id));
            }
        }
    }

    /// Hands links to the hubs where their sessions live.
    fn hand_over(&mut self) {
        for id in core::mem::take(&mut self.moving) {
            let Some(at) = self.links.find(id) else { continue };
            let Some(slot) = self.links.take_moving(at) else { continue };
            let LinkSlot { link, durability, stage: Stage::Moving(to, connect), .. } = slot else {
                continue;
            };
            let moved = Box::new(MovedLink { link, durability, connect });
            self.outputs.push_back(Output::Move { link: id, to, moved });
        }
    }

    /// When something has to be done, whatever arrives.
    fn deadline(&self) -> Option<Time> {
        let is_busy = !self.pumps.is_empty()
            || !self.paging.is_empty()
            || self.pages.is_asking()
            || !self.replays.is_empty()
            || !self.turns.is_empty()
            || !self.arrived.is_empty()
            || !self.closing.is_empty()
            || !self.moving.is_empty()
            || self.links.is_any_dirty()
            || self.peers.is_work_due();
        if is_busy {
            return Some(self.now);
        }
        if !self.peers.are_known() {
            return None;
        }
        let expiry = self.registry.first_offline().map(|(expires, _)| expires);
        let times = [self.wheel.next(), expiry, self.keeper.deadline()];
        times.into_iter().flatten().filter(|time| *time < Time(u64::MAX)).min()
    }
}
