//! The driver's end of one stream: stages messages, and knows when the stream is full for too long.

use std::{collections::VecDeque, sync::Arc};

use postrider_proto::{Time, wire::QoS};

use crate::{
    Message, StreamEnd, WhenSlow,
    queue::{Fill, GaveWay, StreamQueue},
};

/// The driver's end of one stream.
#[derive(Debug)]
pub(crate) struct Outlet {
    queue: Arc<StreamQueue>,
    /// Arrived in this turn; pushed at its end under one lock.
    staged: VecDeque<Message>,
    /// Since when the stream has been full.
    full_since: Option<Time>,
    /// Not yet asked for.
    gave_way: GaveWay,
    /// The identifier with which its filter was subscribed for it: the server sends its retained messages with that.
    pub(crate) identifier: Option<u32>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It will be pushed.
    Taken,
    /// It took the place of an older one, or of itself, at QoS 0.
    Dropped,
    /// The stream has been full for too long and cannot drop it: it must end.
    TooSlow,
}

impl Outlet {
    pub(crate) fn new(queue: Arc<StreamQueue>, identifier: Option<u32>) -> Self {
        let gave_way = GaveWay::default();
        Self { queue, staged: VecDeque::new(), full_since: None, gave_way, identifier }
    }

    pub(crate) fn id(&self) -> u64 {
        self.queue.id
    }

    /// Takes a message unless the stream has been full for longer than `stall_ms`.
    ///
    /// A full stream within its budget still takes what was read already; the driver stops reading. Other policies than
    /// [`WhenSlow::Block`] know no budget.
    #[inline]
    pub(crate) fn offer(&mut self, message: Message, now: Time, stall_ms: u64) -> Offered {
        if !self.queue.when_slow.drops() && self.queue.fill() != Fill::Room {
            if self.queue.when_slow == WhenSlow::Fail {
                return Offered::TooSlow;
            }
            let since = *self.full_since.get_or_insert(now);
            if now.ms_since(since) >= stall_ms {
                return self.offer_late(message);
            }
        }
        self.stage(message);
        Offered::Taken
    }

    /// Whether reading must stop for this stream. While a verb waits for its answer, only a flooded one stops it.
    pub(crate) fn stalls(&mut self, now: Time, stall_ms: u64, has_waiting_verb: bool) -> bool {
        let Some(since) = self.full_since else { return false };
        if self.queue.watch() {
            self.full_since = None;
            return false;
        }
        let fill = self.queue.fill();
        let is_in_time = now.ms_since(since) < stall_ms;
        is_in_time && (fill == Fill::Flooded || (fill == Fill::Full && !has_waiting_verb))
    }

    /// When the budget of a full stream ends.
    pub(crate) fn deadline(&self, stall_ms: u64) -> Option<Time> {
        self.full_since.map(|since| since.plus_ms(stall_ms))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full_since.is_some()
    }

    /// Hands over what was staged.
    pub(crate) fn flush(&mut self) {
        if !self.staged.is_empty() {
            self.queue.push(&mut self.staged);
        }
    }

    pub(crate) fn end(&mut self, end: StreamEnd) {
        self.flush();
        self.queue.end(end);
    }

    fn offer_late(&mut self, message: Message) -> Offered {
        if message.qos() != QoS::AtMostOnce {
            return Offered::TooSlow;
        }
        self.flush();
        if self.queue.drop_oldest() {
            self.stage(message);
        }
        Offered::Dropped
    }

    /// Takes a message in any case.
    #[inline]
    pub(crate) fn stage(&mut self, mut message: Message) {
        message.assign_to(self.id());
        if self.queue.when_slow.drops() {
            let GaveWay { oldest, outdated } = self.queue.put(message);
            self.gave_way.oldest += oldest;
            self.gave_way.outdated += outdated;
            return;
        }
        self.queue.reserve(&message);
        self.staged.push_back(message);
    }

    /// What gave way since the last time.
    pub(crate) fn take_gave_way(&mut self) -> GaveWay {
        std::mem::take(&mut self.gave_way)
    }
}
