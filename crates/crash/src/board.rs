//! What the proxies see and what the controller asks of them: the one place where both meet.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use postrider_wire::Packet;

use crate::flight::{End, Flights, Side, Stage};

/// Where and how a kill is to hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aim {
    pub(crate) side: Side,
    pub(crate) stage: Stage,
    pub(crate) manner: Manner,
    /// Exchanges of this side that end first.
    pub(crate) after: u64,
}

/// How an exchange is caught in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The packet that begins the stage has been seen and passed on.
    Seen,
    /// The packet that begins the stage is held back: its receiver does not know of it yet.
    HeldAtEntry,
    /// The packet that would end the stage is held back: its writer has done its part.
    HeldAtExit,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Forward,
    /// It is lost, and its connection with it.
    Cut,
}

/// Flights, an aim, and who was caught.
#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    flights: Flights,
    aim: Option<Aim>,
    /// Packet identifier of the exchange that was caught.
    caught: Option<u16>,
    /// Aims so far.
    aims: u64,
    /// The last aim of which the controller has let go, and what becomes of what was held for it.
    verdict: Option<(u64, Fate)>,
}

impl Board {
    /// Asked by a proxy for every packet, before it is passed on. Returns when the packet's fate is known.
    pub(crate) fn pass(&self, side: Side, writer: End, packet: &Packet) -> Fate {
        let mut state = self.lock();
        if let Packet::ConnAck(connack) = packet
            && !connack.session_present
            && !connack.reason.is_error()
        {
            state.flights.clear(side);
        }
        let Some(step) = state.flights.step(side, writer, packet) else { return Fate::Forward };
        if let Some(aim) = &mut state.aim
            && aim.side == side
            && step.to.is_none()
        {
            aim.after = aim.after.saturating_sub(1);
        }
        let is_due = |aim: &Aim| aim.side == side && aim.after == 0 && state.caught.is_none();
        let aim = state.aim.filter(is_due);
        let begins = |aim: &Aim| step.to == Some(aim.stage);
        let ends = |aim: &Aim| step.from == Some(aim.stage) && step.to != step.from;
        let manner = aim.and_then(|aim| match aim.manner {
            Manner::Seen | Manner::HeldAtEntry if begins(&aim) => Some(aim.manner),
            Manner::HeldAtExit if ends(&aim) => Some(aim.manner),
            Manner::Seen | Manner::HeldAtEntry | Manner::HeldAtExit => None,
        });
        let Some(manner) = manner else {
            state.flights.apply(step);
            return Fate::Forward;
        };
        state.caught = Some(step.id);
        self.changed.notify_all();
        if manner != Manner::HeldAtExit {
            state.flights.apply(step);
        }
        if manner == Manner::Seen {
            return Fate::Forward;
        }
        let aimed = state.aims;
        let fate = loop {
            if let Some((_, fate)) = state.verdict.filter(|(last, _)| *last >= aimed) {
                break fate;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        if manner == Manner::HeldAtExit && fate == Fate::Forward {
            state.flights.apply(step);
        }
        fate
    }

    /// Catches the next exchange that comes to a stage. Returns whether one did in time.
    pub(crate) fn catch(&self, aim: Aim, patience: Duration) -> bool {
        let mut state = self.lock();
        state.aims += 1;
        (state.aim, state.caught) = (Some(aim), None);
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.caught.is_some() || left.is_zero() {
                return state.caught.is_some();
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Strikes while no packet passes. Returns the stage in which the caught exchange was, or else any that was open on
    /// these sides; `None` if none was.
    pub(crate) fn strike(
        &self,
        sides: &[Side],
        pick: u64,
        kill: impl FnOnce(),
    ) -> Option<(Side, Stage)> {
        let state = self.lock();
        kill();
        let caught = state.aim.zip(state.caught);
        let caught = caught
            .and_then(|(aim, id)| state.flights.stage(aim.side, id).map(|stage| (aim.side, stage)));
        caught.or_else(|| {
            let open = state.flights.open(sides);
            let at = pick.checked_rem(open.len() as u64)?;
            open.get(at as usize).copied()
        })
    }

    /// Lets go of what is held, for good.
    pub(crate) fn release(&self, verdict: Fate) {
        let mut state = self.lock();
        (state.aim, state.caught) = (None, None);
        state.verdict = Some((state.aims, verdict));
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use postrider_wire::{Ack, PacketId, Properties, Publish, QoS, ReasonCode, Topic};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_held_packet_waits_for_the_kill_and_its_verdict() {
        for (stage, manner, then) in [
            (Stage::Rec, Manner::HeldAtEntry, Stage::Rec),
            (Stage::Rec, Manner::HeldAtExit, Stage::Rel),
            (Stage::Rec, Manner::Seen, Stage::Rel),
        ] {
            for fate in [Fate::Forward, Fate::Cut] {
                let board = Arc::new(Board::default());
                let proxy = thread::spawn({
                    let board = Arc::clone(&board);
                    move || {
                        while board.lock().aim.is_none() {
                            thread::yield_now();
                        }
                        let first = board.pass(Side::Inbound, End::Client, &publish());
                        let second = board.pass(Side::Inbound, End::Broker, &pubrec());
                        [first, second]
                    }
                });
                assert!(board.catch(aim(Side::Inbound, stage, manner), PATIENCE));
                let hit = board.strike(&[Side::Inbound], 0, || ());
                if manner == Manner::Seen {
                    // Nothing is held: it may have gone on.
                    assert_eq!(hit.unwrap().0, Side::Inbound);
                } else {
                    assert_eq!(hit, Some((Side::Inbound, stage)));
                }
                board.release(fate);
                let fates = proxy.join().unwrap();
                let held = [manner == Manner::HeldAtEntry, manner == Manner::HeldAtExit];
                for (found, held) in fates.into_iter().zip(held) {
                    assert_eq!(found, if held { fate } else { Fate::Forward });
                }
                let is_lost = manner == Manner::HeldAtExit && fate == Fate::Cut;
                let after = if is_lost { stage } else { Stage::Rel };
                assert!(
                    then == stage || board.lock().flights.stage(Side::Inbound, 7) == Some(after)
                );
            }
        }
    }

    #[test]
    fn what_does_not_come_is_not_waited_for_for_ever() {
        let board = Board::default();
        let never = aim(Side::Outbound, Stage::Ack, Manner::HeldAtEntry);
        assert!(!board.catch(never, Duration::from_millis(1)));
        assert_eq!(board.strike(&[Side::Outbound], 3, || ()), None);
        board.release(Fate::Cut);
        assert_eq!(board.pass(Side::Inbound, End::Client, &publish()), Fate::Forward);
        assert_eq!(board.strike(&[Side::Outbound], 3, || ()), None);
        let hit = board.strike(&[Side::Inbound], 3, || ());
        assert_eq!(hit, Some((Side::Inbound, Stage::Rec)));
    }

    #[test]
    fn an_aim_waits_until_enough_exchanges_have_ended() {
        let board = Arc::new(Board::default());
        let first = Aim { after: 1, ..aim(Side::Inbound, Stage::Rec, Manner::Seen) };
        let catcher = thread::spawn({
            let board = Arc::clone(&board);
            move || board.catch(first, PATIENCE)
        });
        while board.lock().aim.is_none() {
            thread::yield_now();
        }
        for packet in [publish(), pubrec(), publish()] {
            let writer =
                if matches!(packet, Packet::Publish(_)) { End::Client } else { End::Broker };
            assert_eq!(board.pass(Side::Inbound, writer, &packet), Fate::Forward);
        }
        assert_eq!(board.lock().caught, None);
        let Packet::PubRec(ack) = pubrec() else { unreachable!() };
        board.pass(Side::Inbound, End::Broker, &Packet::PubComp(ack));
        board.pass(Side::Inbound, End::Client, &publish());
        assert!(catcher.join().unwrap());
        assert_eq!(board.lock().caught, Some(7));
    }

    fn aim(side: Side, stage: Stage, manner: Manner) -> Aim {
        Aim { side, stage, manner, after: 0 }
    }

    fn publish() -> Packet {
        Packet::Publish(Publish {
            dup: false,
            qos: QoS::ExactlyOnce,
            retain: false,
            topic: Topic::new("a").ok(),
            packet_id: PacketId::new(7),
            properties: Properties::new(),
            payload: postrider_wire::Bytes::new(),
        })
    }

    fn pubrec() -> Packet {
        let packet_id = PacketId::new(7).unwrap();
        Packet::PubRec(Ack {
            packet_id,
            reason: ReasonCode::Success,
            properties: Properties::new(),
        })
    }
}
