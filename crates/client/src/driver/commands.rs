//! What handles ask, given to the machine.

use postrider_proto::{
    Sent,
    wire::{Filter, Properties, Publish, QoS, Topic},
};
use postrider_store::StoreError;

use super::{
    Driver, newest, refusal::publish_refusal, subscribing::Asking, unsubscribing::Leaving,
};
use crate::{
    Event, PendingMessage, PublishError, Receipt, SessionEnd, StoredError, StreamEnd,
    SubscribeError, UnsubscribeError, WhenFull,
    answer::Answer,
    builder::{OPERATIONS_MAX, SPOOL_BYTES_MAX},
    command::{Command, PublishCommand, SpaceCommand},
    filling::{SPOOL_ABOVE, Space},
    publish::Published,
    shared::MAILBOX,
    slot::PublishAnswer,
};

/// A request that waits for the server's answer.
#[derive(Debug)]
pub(super) enum Operation {
    Subscribe(Asking),
    Unsubscribe(Box<Leaving>),
}

/// Messages that may wait in the session's queue while it is connected; more wait in the mailbox, where they cost
/// less and hold up their publishers.
const QUEUED_SOFT_MAX: u32 = 1024;

impl Operation {
    /// The filters that it unsubscribes.
    pub(super) fn unsubscribed(&self) -> impl Iterator<Item = &Filter> {
        let leaving = match self {
            Self::Subscribe(_) => None,
            Self::Unsubscribe(leaving) => Some(leaving),
        };
        leaving.into_iter().flat_map(|leaving| leaving.filters())
    }

    pub(super) fn refuse(self, end: &SessionEnd) {
        match self {
            Self::Subscribe(asking) => asking.refuse(end),
            Self::Unsubscribe(leaving) => leaving.refuse(end),
        }
    }
}

impl Driver {
    /// Applies commands in their order, until one must wait.
    pub(super) fn apply_inbox(&mut self) {
        while let Some(command) = self.inbox.front() {
            if !self.life.is_over() && !self.can_take(command) {
                if !self.expire() {
                    return;
                }
                continue;
            }
            if let Some(command) = self.inbox.pop_front() {
                self.apply(command);
            }
        }
    }

    /// Without a connection publishers wait for what expires. Says whether anything did.
    fn expire(&mut self) -> bool {
        if self.is_connected {
            return false;
        }
        let before = self.machine.stats().queued;
        self.room_at = self.machine.expire_front(self.now);
        self.machine.stats().queued < before
    }

    /// Says that the session is over, or is about to be.
    pub(super) fn refuse(&mut self, command: Command, end: &SessionEnd) {
        match command {
            Command::Publish(PublishCommand { answer, .. }) => {
                let error = PublishError::Over(end.clone());
                let unheard = match answer {
                    Some(answer) => answer.done(Err(error)),
                    None => Some(error),
                };
                self.stats.refused += u64::from(unheard.is_some());
            }
            Command::Space(space) => space.answer.give(Err(PublishError::Over(end.clone()))),
            Command::Subscribe(subscribe) => {
                for line in subscribe.lines {
                    line.queue.end(StreamEnd::Over(end.clone()));
                    line.answer.give(Err(SubscribeError::Over(end.clone())));
                }
            }
            Command::Unsubscribe(unsubscribe) => {
                unsubscribe.answer.give(Err(UnsubscribeError::Over(end.clone())));
            }
            Command::DropStream { answer, .. } => {
                if let Some(answer) = answer {
                    answer.give(Err(UnsubscribeError::Over(end.clone())));
                }
            }
            Command::Receipt { answer, .. } => {
                answer.give(Err(PublishError::Over(end.clone())));
            }
            // Dropped, an answer says that the session is over.
            Command::Pending(_) | Command::Reauthenticate(_) => {}
            Command::Unmatched(queue) => queue.end(StreamEnd::Over(end.clone())),
            Command::ReadOwn { answer, .. } => answer.give(Err(StoredError::Over(end.clone()))),
            Command::Disconnect(disconnect) => self.leave(*disconnect),
        }
    }

    /// Whether a command may be applied: while connected, a full queue holds publishers up; otherwise what was built
    /// decides. QoS 0 waits here for a connection that is behind, where it costs nothing, unless it would hold up others.
    fn can_take(&self, command: &Command) -> bool {
        // Whoever leaves has waited long enough.
        if self.leaving_until.is_some_and(|until| until <= self.now) {
            return true;
        }
        match command {
            Command::Publish(publish) => {
                let may_lie = publish.head.qos == QoS::AtMostOnce && !self.is_pressing;
                (self.has_room(publish.cost() as u64) && !(may_lie && self.machine.is_backed_up()))
                    || self.shared.mailbox.is_overfull()
            }
            // A payload in a spool takes no room in the queue.
            Command::Space(_) => self.has_room(0),
            Command::Subscribe(_) | Command::Unsubscribe(_) | Command::DropStream { .. } => {
                self.operations.len() < OPERATIONS_MAX as usize
            }
            Command::Receipt { .. }
            | Command::Pending(_)
            | Command::Reauthenticate(_)
            | Command::Unmatched(_)
            | Command::ReadOwn { .. }
            | Command::Disconnect(_) => true,
        }
    }

    /// How many publications, of those that wait in the mailbox, will certainly find room in the session.
    pub(super) fn room(&self) -> usize {
        let stats = self.machine.stats();
        let has_bytes = stats.bytes.saturating_add(MAILBOX.bytes as u64) <= self.queue_bytes_max;
        if !self.is_connected || !self.inbox.is_empty() || self.vault.is_behind() || !has_bytes {
            return 0;
        }
        let messages = stats.queued.saturating_add(stats.flights);
        let room = self.queue_messages_max.saturating_sub(messages);
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    fn has_room(&self, cost: u64) -> bool {
        if self.vault.is_behind() {
            return false;
        }
        let is_patient = self.when_full == WhenFull::Wait && !self.is_abandoned;
        if !self.is_connected && (!is_patient || self.leaving_until.is_some()) {
            return true;
        }
        let stats = self.machine.stats();
        let messages = stats.queued.saturating_add(stats.flights);
        let bytes = stats.bytes.saturating_add(cost);
        messages == 0
            || ((stats.queued < QUEUED_SOFT_MAX || !self.is_connected)
                && messages < self.queue_messages_max
                && bytes <= self.queue_bytes_max)
    }

    fn apply(&mut self, command: Command) {
        if !self.life.takes_commands() {
            let end = self.shared.over().unwrap_or(SessionEnd::Disconnected);
            return self.refuse(command, &end);
        }
        match command {
            Command::Publish(publish) => self.publish(publish),
            Command::Space(space) => {
                let SpaceCommand { head, len, answer } = *space;
                let space = self.space(&head, len);
                answer.give(space);
            }
            Command::Subscribe(subscribe) => self.subscribe(*subscribe),
            Command::Unsubscribe(unsubscribe) => self.unsubscribe(*unsubscribe),
            Command::DropStream { stream, answer } => self.drop_stream(stream, answer),
            Command::Receipt { number, answer } => self.claim(number, answer),
            Command::Pending(answer) => self.list(answer),
            Command::Reauthenticate(answer) => self.reauthenticate(answer),
            Command::Unmatched(queue) => self.dispatch.open_unmatched(queue),
            Command::ReadOwn { key, answer } => {
                let value = self.read_own(&key);
                answer.give(value);
            }
            Command::Disconnect(disconnect) => self.leave(*disconnect),
        }
    }

    fn publish(&mut self, command: PublishCommand) {
        let PublishCommand { head, payload, release, number, answer, .. } = command;
        let latest = self.kept_latest(&head);
        let replaces = latest.as_ref().and_then(|topic| self.latest.get(topic));
        let replaces = replaces.filter(|_| !self.is_connected);
        self.machine.number_from(number);
        let release = release.map_or_else(Properties::new, |release| *release);
        match self.machine.publish_with(head, payload, release, replaces, self.now) {
            Ok(Sent { number, seq }) => {
                self.stats.published += 1;
                if let Some(topic) = latest {
                    self.latest.put(topic, number, || newest::open(&self.machine));
                }
                let Some(answer) = answer else { return };
                if number > 0 {
                    answer.taken(number, seq > 0);
                    if seq > 0 {
                        self.storing.push_back((seq, answer.storing()));
                    }
                    self.pending.insert(number, answer);
                } else {
                    // Nobody can be missed by a success.
                    let _ = answer.done(Ok(Published::unacknowledged(0)));
                }
            }
            Err(refusal) => {
                let mut error = publish_refusal(refusal, self.shared.end());
                let is_full = matches!(error, PublishError::QueueFull { .. });
                if is_full && self.when_full == WhenFull::DropNewest {
                    error = PublishError::Dropped;
                }
                let unheard = match answer {
                    Some(answer) => answer.done(Err(error)),
                    None => Some(error),
                };
                if let Some(error) = unheard {
                    self.stats.refused += 1;
                    self.shared.tell(&Event::PublishFailed { number, error });
                }
            }
        }
    }

    /// Room for a payload, if it is large and could be published.
    fn space(&mut self, head: &Publish, len: u64) -> Result<Option<Space>, PublishError> {
        let checked = self.machine.check(head, len);
        checked.map_err(|refusal| publish_refusal(refusal, self.shared.end()))?;
        if len < SPOOL_ABOVE {
            return Ok(None);
        }
        // A payload that passed the check is shorter than that.
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        match self.machine.begin_spool(len) {
            Some(id) => Ok(Some(Space { id, door: self.vault.side_door() })),
            None => Err(PublishError::Spool(StoreError::SpoolLimit(SPOOL_BYTES_MAX))),
        }
    }

    /// The topic of a message of which only the latest is to wait.
    fn kept_latest(&self, head: &Publish) -> Option<Topic> {
        let is_kept = self.when_full == WhenFull::KeepLatest && head.qos != QoS::AtMostOnce;
        head.topic.as_ref().filter(|_| is_kept).map(Topic::detached)
    }

    fn claim(&mut self, number: u64, answer: Answer<Result<Receipt, PublishError>>) {
        if !self.machine.is_open(number) {
            return answer.give(Err(PublishError::NotOpen(number)));
        }
        if self.machine.is_given_up(number) {
            return answer.give(Err(PublishError::Unreadable));
        }
        let (receipt, claim) = Receipt::of(number);
        match self.vault.last_open() {
            _ if !self.vault.is_durable() => claim.taken(number, false),
            Some(seq) => self.storing.push_back((seq, claim.storing())),
            None => claim.storing().done(),
        }
        let claims = self.claims.entry(number).or_default();
        claims.retain(PublishAnswer::is_awaited);
        claims.push(claim);
        answer.give(Ok(receipt));
    }

    fn list(&mut self, answer: Answer<Vec<PendingMessage>>) {
        let open = self.machine.open();
        let mut list: Vec<_> = open.map(|open| PendingMessage::new(open, self.now)).collect();
        list.sort_unstable_by_key(|message| message.number);
        // What only the store holds is younger than all of them.
        if self.machine.stats().paged > 0 {
            let last = list.last().map_or(0, |message| message.number);
            let now = self.now;
            let read = self.vault.waiting(|open| {
                if open.number > last {
                    list.push(PendingMessage::new(open, now));
                }
            });
            if let Err(error) = read {
                return self.fail_store(error);
            }
        }
        answer.give(list);
    }
}
