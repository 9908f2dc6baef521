//! Several subscriptions, read as one.

use std::{future::poll_fn, pin::Pin, task::Poll};

use anyhow::anyhow;
use futures_core::Stream;
use postrider::{Filter, Message, StreamEnd, SubscribeError, Subscription};

/// The subscriptions, read in the order in which messages arrived.
pub(crate) struct Streams {
    lanes: Vec<Lane>,
}

struct Lane {
    filter: Filter,
    stream: Subscription,
    /// The oldest message that was not read.
    head: Option<Message>,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self { lanes: Vec::new() }
    }

    pub(crate) fn push(&mut self, filter: Filter, stream: Subscription) {
        self.lanes.push(Lane { filter, stream, head: None });
    }

    /// Forgets a subscription that was ended on purpose.
    pub(crate) fn remove(&mut self, filter: &Filter) {
        self.lanes.retain(|lane| lane.filter != *filter);
    }

    /// Messages that came and were not read.
    pub(crate) fn waiting(&self) -> usize {
        let waits = |lane: &Lane| lane.stream.waiting() + usize::from(lane.head.is_some());
        self.lanes.iter().map(waits).sum()
    }

    /// The next message that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Message> {
        for index in 0..self.lanes.len() {
            while let Some(lane) = self.lanes.get_mut(index).filter(|lane| lane.head.is_none()) {
                let Some(message) = lane.stream.try_next() else { break };
                self.keep(index, message);
            }
        }
        self.oldest()
    }

    /// Waits for the next message; an error if a stream ended.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Message> {
        loop {
            let (index, message) = poll_fn(|cx| {
                for (index, lane) in self.lanes.iter_mut().enumerate() {
                    if lane.head.is_some() {
                        continue;
                    }
                    if let Poll::Ready(message) = Pin::new(&mut lane.stream).poll_next(cx) {
                        return Poll::Ready((index, message));
                    }
                }
                Poll::Pending
            })
            .await;
            let Some(message) = message else { return Err(self.why_ended(index)) };
            self.keep(index, message);
            if let Some(message) = self.try_next() {
                return Ok(message);
            }
        }
    }

    /// Keeps a message as the head of its stream, if no earlier stream has it too.
    fn keep(&mut self, index: usize, message: Message) {
        if self.is_first(index, &message)
            && let Some(lane) = self.lanes.get_mut(index)
        {
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
        let is_shared = self.lanes.get(index).is_some_and(|lane| lane.filter.is_shared());
        is_shared || !self.lanes.iter().take(index).any(|lane| fits(&lane.filter))
    }

    fn why_ended(&self, index: usize) -> anyhow::Error {
        let stream = self.lanes.get(index).map(|lane| &lane.stream);
        let filter = stream.map_or("", Subscription::filter);
        match stream.and_then(Subscription::ended) {
            // An error that has a status of its own.
            Some(StreamEnd::Over(end)) => anyhow::Error::new(SubscribeError::Over(end))
                .context(format!("nothing more comes for '{filter}'")),
            Some(end) => anyhow!("nothing more comes for '{filter}': {end}"),
            None => anyhow!("nothing more comes for '{filter}'"),
        }
    }
}
