//! Publications that are not complete, by message number.

use std::{collections::VecDeque, time::Duration};

use postrider_proto::{FlightState, OpenMessage, Time, wire::QoS};

use crate::slot::PublishAnswer;

/// A message published at QoS 1 or 2 whose exchange is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingMessage {
    /// Message number.
    pub number: u64,
    /// Its topic; `None` once the server has taken a message at QoS 2 over, when it is not kept any longer.
    pub topic: Option<String>,
    /// Its quality of service.
    pub qos: QoS,
    /// How far it is.
    pub stage: Stage,
    /// Time since it was published; `None` as for the topic.
    pub age: Option<Duration>,
}

/// How far a publication is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// It waits for its turn, or for a connection.
    Queued,
    /// It was sent and is not acknowledged.
    Sent,
    /// QoS 2: the server has taken it over; the end of the exchange is missing.
    Received,
    /// QoS 2: it has failed with [`PublishError::Unreadable`](crate::PublishError::Unreadable), by this process or one
    /// before it; the end of the exchange is missing.
    Failed,
}

impl PendingMessage {
    pub(crate) fn new(open: OpenMessage<'_>, now: Time) -> Self {
        let topic = open.message.and_then(|message| message.head.topic.as_ref());
        Self {
            number: open.number,
            topic: topic.map(|topic| topic.as_str().to_owned()),
            qos: open.qos,
            stage: match open.flight {
                None => Stage::Queued,
                Some(FlightState::AwaitAck | FlightState::AwaitRec) => Stage::Sent,
                Some(FlightState::AwaitComp) => Stage::Received,
                Some(FlightState::GivenUp) => Stage::Failed,
            },
            age: open.message.map(|message| Duration::from_millis(now.ms_since(message.arrived))),
        }
    }
}

/// Answers by message number. Numbers rise and end nearly in order, so a ring with an offset finds each at once.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Number of the first place.
    first: u64,
    places: VecDeque<Option<PublishAnswer>>,
    count: usize,
    /// Answers that were left by the last sweep.
    swept: usize,
}

/// Answers below which nobody looks for those that are of no use.
const SWEEP_MIN: usize = 1024;

impl Pending {
    /// Adds the answer of a number; numbers come in rising order.
    pub(crate) fn insert(&mut self, number: u64, answer: PublishAnswer) {
        if self.places.is_empty() {
            self.first = number;
        }
        debug_assert!(number >= self.first, "numbers rise");
        while self.first.saturating_add(self.places.len() as u64) < number {
            self.places.push_back(None);
        }
        self.places.push_back(Some(answer));
        self.count += 1;
        if self.count >= SWEEP_MIN.max(self.swept.saturating_mul(2)) {
            self.sweep();
        }
    }

    /// Forgets answers that nobody waits for, so that millions of messages may wait for a connection.
    fn sweep(&mut self) {
        for place in &mut self.places {
            if place.as_ref().is_some_and(|answer| !answer.is_awaited()) {
                self.count -= 1;
                // Nobody hears it.
                drop(place.take());
            }
        }
        self.trim();
        self.swept = self.count;
    }

    fn trim(&mut self) {
        while matches!(self.places.front(), Some(None)) {
            self.places.pop_front();
            self.first += 1;
        }
    }

    /// Takes the answer of a number out.
    pub(crate) fn take(&mut self, number: u64) -> Option<PublishAnswer> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let answer = self.places.get_mut(at)?.take()?;
        self.count -= 1;
        self.trim();
        Some(answer)
    }

    /// Takes all out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = PublishAnswer> {
        self.count = 0;
        std::mem::take(&mut self.places).into_iter().flatten()
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }
}
