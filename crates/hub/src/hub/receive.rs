//! Bytes of a link: what arrives, in order, until its turn is over.

use bytes::BytesMut;
use postrider_proto::{
    Arrived, LinkEnd, Payload, Received,
    wire::{Ack, AckKind, Disconnect, Properties, ReasonCode},
};

use super::{Hub, time::Timer};
use crate::{
    Output,
    links::{LinkSlot, Stage},
};

/// Why a link ends, and what becomes of the will.
#[derive(Debug)]
pub(super) struct Parting {
    pub(super) end: LinkEnd,
    pub(super) will: Last,
}

/// What becomes of the will when a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// It is published, now or after its delay.
    Published,
    /// It is forgotten: the client said goodbye.
    Forgotten,
    /// It stays pending: the server goes down.
    Pending,
}

impl Parting {
    /// The network failed.
    pub(super) fn lost() -> Self {
        Self { end: LinkEnd::Lost, will: Last::Published }
    }

    /// We end it.
    pub(super) fn ours(reason: ReasonCode) -> Self {
        Self { end: LinkEnd::Ours(reason), will: Last::Published }
    }
}

impl Hub {
    /// Takes packets from `input` until it is empty, the link must wait, or its turn is over.
    pub(super) fn receive(&mut self, at: usize, input: &mut BytesMut) {
        self.turn = 0;
        loop {
            let Some(slot) = self.links.get_mut(at) else { return };
            if matches!(slot.stage, Stage::Over) {
                return input.clear();
            }
            if self.turn > self.config.turn_deliveries && !slot.is_turn_over {
                slot.is_turn_over = true;
                self.turns.push(slot.id);
            }
            // What is held looks itself whether it still is.
            slot.is_held = false;
            if !slot.is_reading() || !self.peers.is_working() {
                break;
            }
            match slot.link.receive(input, &mut self.spools, self.now) {
                Ok(Some(received)) => self.handle(at, received),
                Ok(None) => break,
                Err(end) => {
                    self.end_link(at, Parting { end, will: Last::Published });
                    return input.clear();
                }
            }
        }
        self.hold(at);
        // The link answers pings itself.
        self.links.write(at);
    }

    /// Whether bytes of a link would be taken now.
    pub(super) fn is_taking(&self, at: usize) -> bool {
        self.peers.is_working() && self.links.get(at).is_some_and(LinkSlot::is_reading)
    }

    /// Tells the driver to read no further while the link does not take what comes.
    pub(super) fn hold(&mut self, at: usize) {
        let is_working = self.peers.is_working();
        let Some(slot) = self.links.get_mut(at) else { return };
        slot.is_held = slot.link.is_receive_paused();
        // One that moves is read on over there.
        let is_leaving = matches!(slot.stage, Stage::Moving(..) | Stage::Over);
        let is_waiting = !is_leaving && (!slot.is_reading() || !is_working);
        if is_waiting && !slot.is_paused {
            slot.is_paused = true;
            self.outputs.push_back(Output::Pause(slot.id));
        }
    }

    /// Ends a link whose client broke a rule that only the hub can see.
    pub(super) fn fault(
        &mut self,
        at: usize,
        reason: ReasonCode,
        statement: &'static str,
        what: &str,
    ) {
        self.say_goodbye(at, reason);
        let end = LinkEnd::PeerFault { reason, statement, what: what.into() };
        self.end_link(at, Parting { end, will: Last::Published });
    }

    /// Writes DISCONNECT where the version has it.
    pub(super) fn say_goodbye(&mut self, at: usize, reason: ReasonCode) {
        if let Some(link) = self.links.write(at) {
            link.end(Disconnect { reason, properties: Properties::new() });
        }
    }

    /// The session that a link serves.
    pub(super) fn session_of(&self, at: usize) -> Option<usize> {
        match self.links.get(at)?.stage {
            Stage::Open(session) => Some(session),
            Stage::AwaitConnect | Stage::Asking(_) | Stage::Moving(..) | Stage::Over => None,
        }
    }

    /// Sees to it that the wheel wakes the link in time.
    ///
    /// A deadline that moved away is not set again: the link looks at it when it is woken too early.
    pub(super) fn arm(&mut self, at: usize) {
        let Some(slot) = self.links.get_mut(at) else { return };
        let Some(deadline) = slot.link.deadline() else { return };
        if slot.armed.is_none_or(|armed| deadline < armed) {
            slot.armed = Some(deadline);
            self.wheel.set(deadline, Timer::Link(slot.id));
        }
    }

    /// Lets a link that waited go on, if nothing else holds it.
    pub(super) fn go_on(&mut self, at: usize) {
        if !self.is_taking(at) {
            return;
        }
        let Some(slot) = self.links.get_mut(at) else { return };
        if core::mem::take(&mut slot.is_paused) {
            // It may have said much that was not read.
            slot.link.excuse_silence(self.now);
            self.outputs.push_back(Output::Resume(slot.id));
        }
    }

    fn handle(&mut self, at: usize, received: Received) {
        match received {
            Received::Publish(arrived) => match &arrived.payload {
                Payload::Bytes(_) => self.handle_publish(at, arrived),
                Payload::Spooled { .. } => self.await_room(at, arrived),
            },
            Received::Ack(kind, ack) => self.handle_ack(at, kind, ack),
            Received::Connect(connect) => self.handle_connect(at, connect),
            Received::Subscribe(subscribe) => self.handle_subscribe(at, subscribe),
            Received::Unsubscribe(unsubscribe) => self.handle_unsubscribe(at, unsubscribe),
            Received::Disconnect(disconnect) => self.handle_disconnect(at, disconnect),
            Received::Auth(_) => self.fault(
                at,
                ReasonCode::ProtocolError,
                "MQTT-4.12.0-7",
                "AUTH without an authentication method in CONNECT",
            ),
            Received::ConnAck(_)
            | Received::SubAck(_)
            | Received::UnsubAck(_)
            | Received::Pong(_) => self.fault(
                at,
                ReasonCode::ProtocolError,
                "MQTT-4.13.1-1",
                "a packet that only a server may send",
            ),
        }
    }

    /// A large message has arrived; whether there was room for its last bytes is known after the next drain.
    fn await_room(&mut self, at: usize, arrived: Arrived) {
        if let Some(slot) = self.links.get_mut(at) {
            slot.is_unconfirmed = true;
            self.arriving.push((slot.id, arrived));
        }
    }

    /// Publishes the large messages for which there was room, and refuses the others.
    pub(super) fn take_arrived(&mut self) {
        let next = core::mem::take(&mut self.arriving);
        for (id, arrived) in core::mem::replace(&mut self.arrived, next) {
            let Some(at) = self.links.find(id) else { continue };
            let Some(slot) = self.links.get_mut(at) else { continue };
            slot.is_unconfirmed = false;
            match &arrived.payload {
                Payload::Spooled { id, len } if self.spools.has_failed(id) => {
                    let what = format!("no room for a payload of {len} bytes");
                    self.fault(at, ReasonCode::QuotaExceeded, "MQTT-4.13.1-1", &what);
                }
                Payload::Spooled { .. } | Payload::Bytes(_) => self.handle_publish(at, arrived),
            }
            self.go_on(at);
        }
    }

    fn handle_ack(&mut self, at: usize, kind: AckKind, ack: Ack) {
        let Some(slot) = self.session_of(at) else { return };
        let Some(entry) = self.registry.get_mut(slot) else { return };
        let Some(link) = self.links.write(at) else { return };
        if kind == AckKind::PubRel {
            entry.session.handle_pubrel(&ack, Properties::new(), link, &mut self.journal);
            return;
        }
        match entry.session.handle_ack(kind, ack, link, &mut self.journal, Properties::new()) {
            Ok(_) => self.pump_later(slot),
            Err(fault) => {
                let what = "an acknowledgement that does not fit its message";
                self.fault(at, fault.reason, fault.statement, what);
            }
        }
    }

    /// The client says goodbye. Spec: v5 section 3.14.4 [MQTT-3.14.4-3], v3.1.1 [MQTT-3.14.4-3].
    fn handle_disconnect(&mut self, at: usize, disconnect: Disconnect) {
        let seconds_max = self.config.session_expiry_s_max;
        let asked = disconnect.properties.session_expiry_interval().copied();
        if let Some(slot) = self.session_of(at)
            && let Some(entry) = self.registry.get_mut(slot)
            && let Some(seconds) = asked
        {
            let seconds = seconds.min(seconds_max);
            if entry.expiry_s == 0 && seconds > 0 {
                let what = "DISCONNECT sets a session expiry that CONNECT had not";
                return self.fault(at, ReasonCode::ProtocolError, "MQTT-4.13.1-1", what);
            }
            entry.expiry_s = seconds;
        }
        let is_goodbye = disconnect.reason == ReasonCode::Success;
        let will = if is_goodbye { Last::Forgotten } else { Last::Published };
        self.end_link(at, Parting { end: LinkEnd::Disconnected(disconnect), will });
    }
}

impl LinkSlot {
    /// Whether the link can be read on after it was held.
    pub(super) fn is_released(&self) -> bool {
        self.is_held && !self.link.is_receive_paused()
    }
}
