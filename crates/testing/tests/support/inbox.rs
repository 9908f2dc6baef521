//! The messages of one subscription, from a stream or from a callback.

use std::sync::mpsc;

use postrider::{Message, QoS, Subscription};
use tokio::runtime::Runtime;

use super::client::PATIENCE;

/// The messages of one subscription.
pub(crate) struct Inbox<'a> {
    source: Source<'a>,
    granted: QoS,
}

enum Source<'a> {
    Stream(&'a Runtime, Subscription),
    Callback(mpsc::Receiver<Message>),
}

impl<'a> Inbox<'a> {
    pub(crate) fn of_stream(runtime: &'a Runtime, stream: Subscription) -> Self {
        let granted = stream.granted();
        Self { source: Source::Stream(runtime, stream), granted }
    }

    pub(crate) fn of_callback(messages: mpsc::Receiver<Message>, granted: QoS) -> Self {
        Self { source: Source::Callback(messages), granted }
    }

    pub(crate) fn granted(&self) -> QoS {
        self.granted
    }

    /// The next message, waiting for it.
    pub(crate) fn next(&mut self) -> Message {
        match &mut self.source {
            Source::Stream(runtime, stream) => runtime
                .block_on(async { tokio::time::timeout(PATIENCE, stream.next()).await })
                .expect("a message in time")
                .expect("the stream goes on"),
            Source::Callback(messages) => {
                messages.recv_timeout(PATIENCE).expect("a message in time")
            }
        }
    }

    /// The next messages as text.
    pub(crate) fn texts(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next().text().expect("text").to_owned()).collect()
    }

    /// Waits for the end, and gives what came before.
    pub(crate) fn rest(&mut self) -> Vec<Message> {
        let mut rest = Vec::new();
        loop {
            let next = match &mut self.source {
                Source::Stream(runtime, stream) => runtime
                    .block_on(async { tokio::time::timeout(PATIENCE, stream.next()).await })
                    .expect("an end in time"),
                Source::Callback(messages) => match messages.recv_timeout(PATIENCE) {
                    Ok(message) => Some(message),
                    Err(mpsc::RecvTimeoutError::Disconnected) => None,
                    Err(mpsc::RecvTimeoutError::Timeout) => panic!("no end in time"),
                },
            };
            match next {
                Some(message) => rest.push(message),
                None => return rest,
            }
        }
    }
}
