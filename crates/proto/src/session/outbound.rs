//! The sender: messages of ours on their way to the peer.

use postrider_wire::{Ack, AckKind, PacketId, Properties, QoS, ReasonCode};

use crate::{
    AckOutcome, Delivery, Durability, Envelope, Fact, FlightState, Gate, Journal, Link, PeerFault,
    QueueFull, Sent, Session, Time,
    mutation::{Mutation, planted},
    session::{Facing, Fate},
};

/// What may be done next.
enum Step {
    /// Write the PUBLISH of the first unsent flight, in this slot.
    Send(u32),
    /// Give the first message of the queue an id.
    Promote,
    /// Write the oldest message of QoS 0.
    SendLoose,
}

impl Session {
    /// Takes an outgoing message: writes it to `link` at once if its turn has come, or queues it. Without a link a
    /// QoS 0 message is dropped and counted, unless the session is configured to queue it.
    ///
    /// The bounds hold for queue and flights together. A single message larger than the bound is taken when nothing
    /// else is open, since it could never be sent otherwise.
    ///
    /// # Errors
    /// [`QueueFull`]; nothing has changed then. (At QoS 0 on a full queue the oldest QoS 0 message goes first.)
    pub fn send(
        &mut self,
        envelope: &mut Envelope,
        delivery: Delivery,
        link: Option<&mut Link>,
        journal: &mut Journal,
        now: Time,
    ) -> Result<Sent, QueueFull> {
        let link = link.filter(|link| self.link.is_some() && link.is_open());
        if delivery.qos == QoS::AtMostOnce {
            return self.send_loose(envelope, delivery, link, journal, now);
        }
        self.make_room(envelope.message().cost_bytes(), journal, now)?;
        let number = self.new_number(journal);
        let Some(link) = link else { return Ok(self.enqueue(number, envelope, delivery, journal)) };
        let must_wait = self.is_recording(journal)
            && self.durability != Durability::Memory
            && (delivery.qos == QoS::ExactlyOnce
                || !journal.is_stored(self.reserving(number), self.durability));
        if !must_wait
            && link.has_room()
            && self.has_memory(journal)
            && let Some((facing, id)) = self.free_way(envelope.message().payload.len(), now)
        {
            return Ok(self.fly(number, id, facing, envelope, delivery, link, journal, now));
        }
        let sent = self.enqueue(number, envelope, delivery, journal);
        self.pump(link, journal, now);
        Ok(sent)
    }

    /// Whether one more message that counts for `cost` bytes is taken, and none of QoS 0 dropped for it.
    #[must_use]
    pub fn has_room_for(&self, cost: u64) -> bool {
        let (messages, bytes) = self.held();
        let fits = messages < self.config.queue_messages_max
            && bytes.saturating_add(cost) <= self.config.queue_bytes_max;
        fits || messages == 0
    }

    /// Whether one more message that counts for `cost` bytes is taken if the message `number` is dropped for it.
    pub(crate) fn has_room_in_place_of(&self, number: u64, cost: u64) -> bool {
        let others = self.queue.kept_len() + self.flights.len() - u32::from(self.queue.has(number));
        let bytes = self.queue.kept_bytes() + self.flights.bytes() - self.queue.cost(number);
        others == 0
            || (others < self.config.queue_messages_max
                && bytes.saturating_add(cost) <= self.config.queue_bytes_max)
    }

    /// Sends what may be sent now: flights to send again, then the queue, within quota and the outbox's room, and only
    /// what is stored. Call after acknowledgements, `handle_stored`, and when the outbox was drained.
    ///
    /// Spec: v5 [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-4.9.0-2].
    pub fn pump(&mut self, link: &mut Link, journal: &mut Journal, now: Time) {
        let Some(facing) = self.link else { return };
        if !link.is_open() {
            return;
        }
        self.release_again(link);
        self.is_congested = false;
        while !self.queue.is_empty() || self.flights.first_unsent().is_some() {
            if !link.has_room() {
                self.is_congested = true;
                return;
            }
            match self.next_step(facing, journal, now) {
                Some(Step::Send(slot)) => self.send_flight(slot, facing, link, journal, now),
                Some(Step::Promote) => self.promote(facing, journal, now),
                Some(Step::SendLoose) => self.send_first_loose(facing, link, now),
                None => return,
            }
        }
    }

    /// Handles PUBACK, PUBREC or PUBCOMP for a message of ours; answers PUBREC with PUBREL. Call [`Session::pump`]
    /// after a batch of them.
    ///
    /// `release` are the properties of that PUBREL. Unknown PUBACK and PUBCOMP are ignored; unknown PUBREC is answered with PUBREL (0x92 where there are codes).
    ///
    /// # Errors
    /// [`PeerFault`] if the kind does not fit the flight.
    pub fn handle_ack(
        &mut self,
        kind: AckKind,
        ack: Ack,
        link: &mut Link,
        journal: &mut Journal,
        release: Properties,
    ) -> Result<AckOutcome, PeerFault> {
        self.release_again(link);
        let slot = self.ids.slot(ack.packet_id);
        let flight = slot.and_then(|slot| Some((slot, self.flights.get(slot)?)));
        let Some((slot, flight)) = flight.filter(|(_, flight)| flight.was_sent) else {
            if kind == AckKind::PubRec && !ack.reason.is_error() {
                self.answer_unknown(ack.packet_id, link);
            }
            return Ok(AckOutcome::Unknown);
        };
        let (number, packet_id, seq) = (flight.number, flight.packet_id, flight.seq);
        let allows_puback = self.config.is_puback_for_qos2_allowed;
        match (flight.state, kind) {
            (FlightState::AwaitAck, AckKind::PubAck)
            | (FlightState::AwaitComp | FlightState::GivenUp, AckKind::PubComp) => {
                Ok(self.finish(slot, number, ack, false, journal))
            }
            // Some brokers answer a QoS 2 PUBLISH with PUBACK: done as QoS 1, reported as such.
            (FlightState::AwaitRec, AckKind::PubAck) if allows_puback => {
                Ok(self.finish(slot, number, ack, true, journal))
            }
            (
                FlightState::AwaitRec | FlightState::AwaitComp | FlightState::GivenUp,
                AckKind::PubRec,
            ) if ack.reason.is_error() => Ok(self.finish(slot, number, ack, false, journal)),
            (FlightState::AwaitRec, AckKind::PubRec) => {
                let state = FlightState::AwaitComp;
                let fact = Fact::Flight { number, packet_id, state };
                let seq = self.change(fact, Some(slot), journal);
                self.absolve(number);
                if let Some(flight) = self.flights.get_mut(slot) {
                    flight.seq = seq;
                }
                let seq = if planted(Mutation::PubRelBeforeStore) { 0 } else { seq };
                send_release(link, packet_id, seq, release);
                Ok(AckOutcome::Progress)
            }
            // Our PUBREL may be on its way; answering again is harmless.
            (FlightState::AwaitComp | FlightState::GivenUp, AckKind::PubRec) => {
                send_release(link, packet_id, seq, release);
                Ok(AckOutcome::Progress)
            }
            (_, AckKind::PubRel) => Ok(AckOutcome::Unknown),
            (FlightState::AwaitAck, AckKind::PubRec | AckKind::PubComp) => {
                Err(PeerFault { reason: ReasonCode::ProtocolError, statement: "MQTT-4.3.2-4" })
            }
            (FlightState::AwaitRec, AckKind::PubAck | AckKind::PubComp)
            | (FlightState::AwaitComp | FlightState::GivenUp, AckKind::PubAck) => {
                Err(PeerFault { reason: ReasonCode::ProtocolError, statement: "MQTT-4.3.3-8" })
            }
        }
    }

    /// The number of the message of ours that is in flight under this id.
    #[must_use]
    pub fn number_of(&self, packet_id: PacketId) -> Option<u64> {
        Some(self.flights.get(self.ids.slot(packet_id)?)?.number)
    }

    fn finish(
        &mut self,
        slot: u32,
        number: u64,
        ack: Ack,
        is_downgraded: bool,
        journal: &mut Journal,
    ) -> AckOutcome {
        let mut lost = Journal::new(false);
        let journal = if planted(Mutation::FinishNotRecorded) { &mut lost } else { journal };
        let has_failed = self.tell_failure(slot);
        self.change(Fact::Finished { number }, Some(slot), journal);
        self.absolve(number);
        if has_failed {
            return AckOutcome::Failed;
        }
        AckOutcome::Done { number, ack, is_downgraded }
    }

    fn answer_unknown(&self, packet_id: PacketId, link: &mut Link) {
        let has_codes = self.link.is_some_and(|facing| facing.has_codes);
        let reason =
            if has_codes { ReasonCode::PacketIdentifierNotFound } else { ReasonCode::Success };
        let ack = Ack { packet_id, reason, properties: Default::default() };
        link.send_ack(AckKind::PubRel, ack, Gate::default());
    }

    /// The link resumed: PUBREL again for all that wait for PUBCOMP. No quota holds them back (v5 [MQTT-3.3.4-8]), but
    /// they count, since the peer may count them too.
    fn release_again(&mut self, link: &mut Link) {
        if !core::mem::take(&mut self.must_release) {
            return;
        }
        let count =
            self.flights.release_again(|id, seq| send_release(link, id, seq, Properties::new()));
        self.used += count;
        self.stats.resent += u64::from(count);
    }

    /// QoS 0: written, queued, or dropped.
    fn send_loose(
        &mut self,
        envelope: &mut Envelope,
        delivery: Delivery,
        mut link: Option<&mut Link>,
        journal: &mut Journal,
        now: Time,
    ) -> Result<Sent, QueueFull> {
        let sent = Sent { number: 0, seq: 0 };
        if let (Some(link), Some(facing)) = (&mut link, self.link)
            && self.queue.loose_len() == 0
            && link.has_room()
        {
            self.write_loose(facing, link, envelope, &delivery, now);
            return Ok(sent);
        }
        if link.is_none() && !self.config.is_qos0_queued_offline {
            self.stats.dropped_offline += 1;
            return Ok(sent);
        }
        let cost = envelope.message().cost_bytes();
        self.make_room(cost, journal, now)?;
        self.queue.push_loose(envelope.shared(), delivery, cost);
        if let Some(link) = link {
            self.pump(link, journal, now);
        }
        Ok(sent)
    }

    /// Drops expired messages at the front of the queue, as for a new one. Returns when the first of the others expires.
    pub(crate) fn expire_front(&mut self, journal: &mut Journal, now: Time) -> Option<Time> {
        while let Some(first) = self.queue.first() {
            if !first.message.is_expired(now) {
                return first.message.expires;
            }
            let number = first.number;
            self.drop_expired(number, journal);
        }
        None
    }

    /// Makes room for one more message: expired ones at the front of the queue go, and others if they are to give way;
    /// then the oldest of QoS 0.
    fn make_room(&mut self, cost: u64, journal: &mut Journal, now: Time) -> Result<(), QueueFull> {
        while self.is_full_of_kept(cost) {
            match self.queue.first() {
                Some(first) if first.message.is_expired(now) => {
                    let number = first.number;
                    self.drop_expired(number, journal);
                }
                Some(first) if self.config.is_oldest_dropped && self.link.is_none() => {
                    let number = first.number;
                    self.drop_waiting(number, Fate::Dropped, journal);
                }
                _ => {
                    self.stats.dropped_full += 1;
                    let (messages, bytes) = self.held();
                    return Err(QueueFull { messages, bytes });
                }
            }
        }
        loop {
            if self.has_room_for(cost) || self.queue.take_loose().is_none() {
                return Ok(());
            }
            self.stats.dropped_full += 1;
        }
    }

    /// Whether what may not be dropped leaves no room. A session without any such message takes one of any size.
    fn is_full_of_kept(&self, cost: u64) -> bool {
        if planted(Mutation::QueueUnbounded) {
            return false;
        }
        let messages = self.queue.kept_len() + self.flights.len();
        let bytes = self.queue.kept_bytes() + self.flights.bytes();
        messages > 0
            && (messages >= self.config.queue_messages_max
                || bytes.saturating_add(cost) > self.config.queue_bytes_max)
    }

    /// Whether one more flight may be in memory. Without a store the message is there anyway.
    fn has_memory(&self, journal: &Journal) -> bool {
        let bytes = self.flights.bytes();
        bytes == 0 || bytes < self.config.queue_resident_bytes_max || !self.is_recording(journal)
    }

    /// Messages and bytes in queue and flights.
    fn held(&self) -> (u32, u64) {
        let messages = self.queue.kept_len() + self.queue.loose_len() + self.flights.len();
        (messages, self.queue.bytes() + self.flights.bytes())
    }

    fn enqueue(
        &mut self,
        number: u64,
        envelope: &mut Envelope,
        delivery: Delivery,
        journal: &mut Journal,
    ) -> Sent {
        let fact = Fact::Queued { number, message: envelope.shared(), delivery };
        let mut lost = Journal::new(false);
        let journal = if planted(Mutation::MessageNotRecorded) { &mut lost } else { journal };
        Sent { number, seq: self.change(fact, None, journal) }
    }

    /// If nothing stands before a new message: what is known of the peer, and an id.
    fn free_way(&mut self, payload_len: u32, now: Time) -> Option<(Facing, PacketId)> {
        let facing = self.link?;
        let is_free = (self.queue.kept_len() == 0 || planted(Mutation::QueueJumped))
            && !self.must_release
            && self.flights.first_unsent().is_none()
            && self.may_begin(facing, payload_len, now);
        if is_free { Some((facing, self.ids.next_free()?)) } else { None }
    }

    /// Whether the window has a place for one more flight, with so long a payload.
    fn may_begin(&mut self, facing: Facing, payload_len: u32, now: Time) -> bool {
        let free = facing.window.saturating_sub(self.flights.len());
        self.gather.may_begin(free, facing.window, payload_len, now)
    }

    fn note_begun(&mut self, facing: Facing, now: Time) {
        if self.config.is_gathering && self.flights.len() >= facing.window {
            self.gather.fill(facing.window, now);
        }
    }

    /// Writes a new message of QoS 1 or 2 straight to the link.
    #[expect(clippy::too_many_arguments, reason = "one caller; a struct would only rename them")]
    fn fly(
        &mut self,
        number: u64,
        packet_id: PacketId,
        facing: Facing,
        envelope: &mut Envelope,
        delivery: Delivery,
        link: &mut Link,
        journal: &mut Journal,
        now: Time,
    ) -> Sent {
        if let Some(what) = facing.lacks(&delivery) {
            self.number_next = number + 1;
            self.give_up(number, Fate::NotOffered(what));
            return Sent { number, seq: 0 };
        }
        if !link.send_publish(envelope, &delivery, Some(packet_id), now) {
            self.number_next = number + 1;
            self.give_up(number, Fate::TooLarge);
            return Sent { number, seq: 0 };
        }
        let state = first_state(delivery.qos);
        let sent = self.enqueue(number, envelope, delivery, journal);
        self.change(Fact::Flight { number, packet_id, state }, None, journal);
        self.ids.go_on_behind(packet_id);
        self.note_begun(facing, now);
        self.flights.mark_sent();
        self.note_sent(now);
        self.used += 1;
        sent
    }

    fn next_step(&mut self, facing: Facing, journal: &Journal, now: Time) -> Option<Step> {
        let unsent = self.flights.first_unsent();
        if let Some((slot, flight)) = unsent
            && self.used < facing.window
            && journal.is_stored(flight.seq, self.durability)
        {
            return Some(Step::Send(slot));
        }
        // Every flight needs its share of the window sooner or later, sent on this link or not.
        let payload_len = self.queue.first().map(|first| first.message.payload.len());
        let may_begin = payload_len.is_some_and(|len| self.may_begin(facing, len, now))
            && self.ids.next_free().is_some()
            && self.has_memory(journal);
        let first = self.queue.first().filter(|_| may_begin);
        match (first, self.queue.first_loose()) {
            (Some(first), Some(loose)) if loose.place < first.place => Some(Step::SendLoose),
            (Some(_), _) => Some(Step::Promote),
            (None, Some(_)) => Some(Step::SendLoose),
            (None, None) => None,
        }
    }

    /// Writes the PUBLISH of a flight, for the first time or again.
    fn send_flight(
        &mut self,
        slot: u32,
        facing: Facing,
        link: &mut Link,
        journal: &mut Journal,
        now: Time,
    ) {
        let Some(flight) = self.flights.get(slot) else { return };
        let (number, is_dup, id) = (flight.number, flight.was_sent, Some(flight.packet_id));
        let is_dup = is_dup && !planted(Mutation::DupForgotten) || planted(Mutation::DupAtFirst);
        let fate = match (&flight.message, facing.lacks(&flight.delivery)) {
            (Some(message), None) => {
                if link.send_message(message, &flight.delivery, id, is_dup, now) {
                    self.flights.mark_sent();
                    self.note_sent(now);
                    self.used += 1;
                    self.stats.resent += u64::from(is_dup);
                    return;
                }
                Fate::TooLarge
            }
            (Some(_), Some(what)) => Fate::NotOffered(what),
            // A store that lost the message but kept its flight: there is nothing to send.
            (None, _) => Fate::Expired,
        };
        self.change(Fact::Finished { number }, Some(slot), journal);
        self.give_up(number, fate);
    }

    /// Gives the first message of the queue an id; it is written in a later step, once it may be.
    fn promote(&mut self, facing: Facing, journal: &mut Journal, now: Time) {
        let Some(first) = self.queue.first() else { return };
        let (number, qos) = (first.number, first.delivery.qos);
        if first.message.is_expired(now) {
            return self.drop_expired(number, journal);
        }
        if let Some(what) = facing.lacks(&first.delivery) {
            self.change(Fact::Finished { number }, None, journal);
            return self.give_up(number, Fate::NotOffered(what));
        }
        let Some(packet_id) = self.ids.next_free() else { return };
        let fact = Fact::Flight { number, packet_id, state: first_state(qos) };
        let seq = self.change(fact, None, journal);
        self.ids.go_on_behind(packet_id);
        self.note_begun(facing, now);
        let slot = self.ids.slot(packet_id);
        let reserving = self.reserving(number);
        if let Some(flight) = slot.and_then(|slot| self.flights.get_mut(slot)) {
            flight.was_sent = false;
            // At QoS 1 a second delivery does no harm, so nothing is lost by being early.
            let must_wait = qos == QoS::ExactlyOnce && !planted(Mutation::PublishBeforeStore);
            flight.seq = if must_wait { seq } else { reserving };
        }
    }

    fn send_first_loose(&mut self, facing: Facing, link: &mut Link, now: Time) {
        let Some(waiting) = self.queue.take_loose() else { return };
        if waiting.message.is_expired(now) {
            self.stats.dropped_expired += 1;
        } else if facing.lacks(&waiting.delivery).is_some() {
            self.stats.dropped_not_offered += 1;
        } else if !link.send_message(&waiting.message, &waiting.delivery, None, false, now) {
            self.stats.dropped_too_large += 1;
        }
    }

    fn write_loose(
        &mut self,
        facing: Facing,
        link: &mut Link,
        envelope: &mut Envelope,
        delivery: &Delivery,
        now: Time,
    ) {
        if facing.lacks(delivery).is_some() {
            self.stats.dropped_not_offered += 1;
        } else if !link.send_publish(envelope, delivery, None, now) {
            self.stats.dropped_too_large += 1;
        }
    }

    /// Drops a message that waits, because a younger one takes its place. Returns whether it waited.
    pub fn supersede(&mut self, number: u64, journal: &mut Journal) -> bool {
        let is_waiting = self.queue.has(number);
        if is_waiting {
            self.drop_waiting(number, Fate::Superseded, journal);
        }
        is_waiting
    }

    pub(super) fn drop_expired(&mut self, number: u64, journal: &mut Journal) {
        self.drop_waiting(number, Fate::Expired, journal);
    }

    fn drop_waiting(&mut self, number: u64, fate: Fate, journal: &mut Journal) {
        self.change(Fact::Finished { number }, None, journal);
        self.give_up(number, fate);
    }

    /// Counts and reports a message that was not delivered.
    pub(super) fn give_up(&mut self, number: u64, fate: Fate) {
        match fate {
            Fate::Expired => self.stats.dropped_expired += 1,
            Fate::TooLarge => self.stats.dropped_too_large += 1,
            Fate::NotOffered(_) => self.stats.dropped_not_offered += 1,
            Fate::Unreadable => self.stats.dropped_unreadable += 1,
            Fate::Dropped => self.stats.dropped_full += 1,
            Fate::Parked(_) => self.stats.dropped_parked += 1,
            Fate::Superseded => self.stats.dropped_superseded += 1,
            Fate::Completed(_) | Fate::Lost | Fate::MayBeDouble => {}
        }
        self.report(number, fate);
    }
}

impl Facing {
    /// What the peer does not take of this delivery. Spec: v5 [MQTT-3.2.2-11] [MQTT-3.2.2-14].
    fn lacks(&self, delivery: &Delivery) -> Option<&'static str> {
        if delivery.qos > self.qos_max {
            Some(if delivery.qos == QoS::ExactlyOnce { "QoS 2" } else { "QoS 1" })
        } else if delivery.retain && !self.has_retain {
            Some("retain")
        } else {
            None
        }
    }
}

fn send_release(link: &mut Link, packet_id: PacketId, stored: u64, properties: Properties) {
    let ack = Ack { packet_id, reason: ReasonCode::Success, properties };
    link.send_ack(AckKind::PubRel, ack, Gate { stored, fence: 0 });
}

fn first_state(qos: QoS) -> FlightState {
    match qos {
        QoS::AtMostOnce | QoS::AtLeastOnce => FlightState::AwaitAck,
        QoS::ExactlyOnce => FlightState::AwaitRec,
    }
}
