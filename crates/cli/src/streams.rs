//! Several subscriptions, read as one.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use anyhow::anyhow;
use futures_core::Stream;
use postrider::{
    Filter, Message, QoS, Session, StreamEnd, SubscribeError, Subscription, Unmatched,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The subscriptions, and what comes for none of them, read in the order in which messages arrived.
pub(crate) struct Streams {
    lanes: Vec<Lane>,
    changes: UnboundedReceiver<Change>,
    /// Counts messages that are for none of the filters, by who reads them.
    pub(crate) unnamed: u64,
}

/// Says which subscriptions there are, while they are read.
pub(crate) type Changes = UnboundedSender<Change>;

/// What becomes of a subscription.
pub(crate) enum Change {
    Opened(Filter, Subscription),
    /// It is ended on purpose.
    Ended(Filter),
}

struct Lane {
    source: Source,
    /// The oldest message that was not read.
    head: Option<Message>,
}

enum Source {
    Named(Filter, Subscription),
    /// What a kept session has before its subscriptions are made again, or for others.
    Rest(Unmatched),
}

impl Streams {
    /// None yet; they come by the other end.
    pub(crate) fn new() -> (Self, Changes) {
        let (changed, changes) = unbounded_channel();
        (Self { lanes: Vec::new(), changes, unnamed: 0 }, changed)
    }

    /// Reads what is for no subscription too.
    pub(crate) fn read_rest(&mut self, session: &Session) {
        self.lanes.insert(0, Lane { source: Source::Rest(session.unmatched()), head: None });
    }

    /// Reads to the end what was not read; says how many messages of it are lost: those at QoS 0.
    pub(crate) fn drain(&mut self) -> u64 {
        let mut lost = 0;
        while let Some(message) = self.try_next() {
            lost += u64::from(message.qos() == QoS::AtMostOnce);
        }
        lost
    }

    /// The next message that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Message> {
        while let Ok(change) = self.changes.try_recv() {
            self.apply(change);
        }
        for index in 0..self.lanes.len() {
            while let Some(lane) = self.lanes.get_mut(index).filter(|lane| lane.head.is_none()) {
                let Some(message) = lane.source.try_next() else { break };
                self.keep(index, message);
            }
        }
        self.oldest()
    }

    /// Waits for the next message; an error if a stream ended.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Message> {
        loop {
            let (index, message) = poll_fn(|cx| self.poll(cx)).await;
            let Some(message) = message else { return Err(self.why_ended(index)) };
            self.keep(index, message);
            if let Some(message) = self.try_next() {
                return Ok(message);
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(usize, Option<Message>)> {
        while let Poll::Ready(Some(change)) = self.changes.poll_recv(cx) {
            self.apply(change);
        }
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if lane.head.is_none()
                && let Poll::Ready(message) = lane.source.poll(cx)
            {
                return Poll::Ready((index, message));
            }
        }
        Poll::Pending
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Opened(filter, stream) => {
                self.lanes.push(Lane { source: Source::Named(filter, stream), head: None });
            }
            Change::Ended(filter) => {
                self.lanes.retain(|lane| lane.source.filter() != Some(&filter));
            }
        }
    }

    /// Keeps a message as the head of its stream, if no earlier stream has it too.
    fn keep(&mut self, index: usize, message: Message) {
        if !self.is_first(index, &message) {
            // It is over once the other copy is acknowledged too.
            drop(message.ack());
        } else if let Some(lane) = self.lanes.get_mut(index) {
            lane.head = Some(message);
        }
    }

    fn oldest(&mut self) -> Option<Message> {
        let heads = self.lanes.iter_mut().filter(|lane| lane.head.is_some());
        let arrival = |lane: &&mut Lane| lane.head.as_ref().map(Message::arrival);
        heads.min_by_key(arrival)?.head.take()
    }

    /// Whether no earlier stream has the message too. A shared subscription gets messages of its own.
    fn is_first(&self, index: usize, message: &Message) -> bool {
        let fits = |filter: &Filter| {
            !filter.is_shared() && message.topic_name().is_some_and(|topic| filter.matches(topic))
        };
        let filter = self.lanes.get(index).and_then(|lane| lane.source.filter());
        let is_shared = filter.is_some_and(Filter::is_shared);
        let mut earlier = self.lanes.iter().take(index);
        is_shared || !earlier.any(|lane| lane.source.filter().is_some_and(fits))
    }

    fn why_ended(&self, index: usize) -> anyhow::Error {
        let source = self.lanes.get(index).map(|lane| &lane.source);
        let Some(Source::Named(filter, stream)) = source else {
            return anyhow!("nothing more comes");
        };
        match stream.ended() {
            // An error that has a status of its own.
            Some(StreamEnd::Over(end)) => anyhow::Error::new(SubscribeError::Over(end))
                .context(format!("nothing more comes for '{filter}'")),
            Some(end) => anyhow!("nothing more comes for '{filter}': {end}"),
            None => anyhow!("nothing more comes for '{filter}'"),
        }
    }
}

impl Source {
    fn filter(&self) -> Option<&Filter> {
        match self {
            Self::Named(filter, _) => Some(filter),
            Self::Rest(_) => None,
        }
    }

    fn try_next(&mut self) -> Option<Message> {
        match self {
            Self::Named(_, stream) => stream.try_next(),
            Self::Rest(stream) => stream.try_next(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        match self {
            Self::Named(_, stream) => Pin::new(stream).poll_next(cx),
            Self::Rest(stream) => match ready!(Pin::new(stream).poll_next(cx)) {
                // The others end too, and say why.
                None => Poll::Pending,
                message => Poll::Ready(message),
            },
        }
    }
}
