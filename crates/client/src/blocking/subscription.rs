//! Messages of one subscription, for a thread that waits for them.

use std::{sync::Arc, time::Duration};

use postrider_proto::wire::{Properties, QoS};

use super::{wait, wait_timeout};
use crate::{Message, StreamEnd, UnsubscribeError};

/// The messages of one subscription, in the order in which they arrived. See [`crate::Subscription`] for its bounds.
#[derive(Debug)]
pub struct Subscription {
    messages: crate::Subscription,
}

impl Subscription {
    pub(super) fn new(messages: crate::Subscription) -> Self {
        Self { messages }
    }

    /// The next message if one comes within `timeout`. `None` also once the stream has ended ([`Subscription::ended`]).
    pub fn next_within(&mut self, timeout: Duration) -> Option<Message> {
        let shared = Arc::clone(self.messages.shared());
        wait_timeout(&shared, self.messages.next(), timeout).flatten()
    }

    /// The next message if there is one already.
    pub fn try_next(&mut self) -> Option<Message> {
        self.messages.try_next()
    }

    /// The filter it was made with; `filter` is a method of every iterator.
    #[must_use]
    pub fn topic_filter(&self) -> &str {
        self.messages.filter()
    }

    /// The QoS that the server granted.
    #[must_use]
    pub fn granted(&self) -> QoS {
        self.messages.granted()
    }

    /// The properties of the server's SUBACK (5.0).
    #[must_use]
    pub fn properties(&self) -> &Properties {
        self.messages.properties()
    }

    /// Messages that arrived and were not read yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.messages.waiting()
    }

    /// Why the stream ended; `None` while it has not.
    #[must_use]
    pub fn ended(&self) -> Option<StreamEnd> {
        self.messages.ended()
    }

    /// Ends this stream, and the subscription at the server if no other stream has the same filter.
    ///
    /// # Errors
    /// [`UnsubscribeError`].
    pub fn unsubscribe(self) -> Result<(), UnsubscribeError> {
        let shared = Arc::clone(self.messages.shared());
        wait(&shared, self.messages.unsubscribe())
    }
}

/// Waits for each message; ends with the stream.
impl Iterator for Subscription {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        if let Some(message) = self.messages.try_next() {
            return Some(message);
        }
        let shared = Arc::clone(self.messages.shared());
        wait(&shared, self.messages.next())
    }
}
