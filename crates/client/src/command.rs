//! What handles ask of the driver.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use postrider_proto::{
    Payload,
    wire::{Disconnect, Filter, Properties, Publish, QoS, SubscribeFilter},
};

use crate::{
    DisconnectError, PendingMessage, PublishError, ReauthenticateError, Receipt, StoredError,
    SubscribeError, UnsubscribeError, answer::Answer, filling::Space, mailbox::Mail,
    queue::StreamQueue, slot::PublishAnswer,
};

/// One request. Publications stand here whole, so that they cost no allocation; the rest is rare and boxed.
#[derive(Debug)]
pub(crate) enum Command {
    /// Publish.
    Publish(PublishCommand),
    /// Room for a large payload that is about to be published.
    Space(Box<SpaceCommand>),
    /// Subscribe, and deliver to streams.
    Subscribe(Box<SubscribeCommand>),
    /// End all streams of some filters, or of all.
    Unsubscribe(Box<UnsubscribeCommand>),
    /// A stream was dropped or ended by its owner.
    DropStream {
        /// Its number.
        stream: u64,
        /// Who wants to know when the server has answered, if anybody.
        answer: Option<Answer<Result<Properties, UnsubscribeError>>>,
    },
    /// A receipt for a message that is not finished.
    Receipt {
        /// Message number.
        number: u64,
        /// Who wants it.
        answer: Answer<Result<Receipt, PublishError>>,
    },
    /// What is not finished.
    Pending(Answer<Vec<PendingMessage>>),
    /// Authenticate again.
    Reauthenticate(Answer<Result<(), ReauthenticateError>>),
    /// Deliver what no subscription asks for to this stream.
    Unmatched(Arc<StreamQueue>),
    /// Read what the program stored.
    ReadOwn { key: Bytes, answer: Answer<Result<Option<Bytes>, StoredError>> },
    /// Flush, say goodbye, end.
    Disconnect(Box<DisconnectCommand>),
}

#[derive(Debug)]
pub(crate) struct PublishCommand {
    pub(crate) head: Publish,
    pub(crate) payload: Payload,
    /// Properties of its PUBREL.
    pub(crate) release: Option<Box<Properties>>,
    /// Of the message; 0 at QoS 0, and until there is a place in the mailbox.
    pub(crate) number: u64,
    /// The machine will not refuse it, so its number is known as soon as it has one.
    pub(crate) is_certain: bool,
    /// `None`: QoS 0, and nobody waits.
    pub(crate) answer: Option<PublishAnswer>,
}

#[derive(Debug)]
pub(crate) struct SpaceCommand {
    pub(crate) head: Publish,
    /// Length of the payload in bytes.
    pub(crate) len: u64,
    pub(crate) answer: Answer<Result<Option<Space>, PublishError>>,
}

#[derive(Debug)]
pub(crate) struct SubscribeCommand {
    pub(crate) lines: Vec<SubscribeLine>,
    /// The program's own subscription identifier.
    pub(crate) identifier: Option<u32>,
    pub(crate) properties: Properties,
}

/// One filter of a request, the stream for it, and who waits for the verdict.
#[derive(Debug)]
pub(crate) struct SubscribeLine {
    pub(crate) line: SubscribeFilter,
    pub(crate) queue: Arc<StreamQueue>,
    pub(crate) answer: Answer<Result<Granted, SubscribeError>>,
}

/// What the server answered to a subscription.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) qos: QoS,
    /// Properties of its SUBACK.
    pub(crate) properties: Properties,
}

#[derive(Debug)]
pub(crate) struct UnsubscribeCommand {
    /// `None`: all.
    pub(crate) filters: Option<Vec<Filter>>,
    pub(crate) properties: Properties,
    pub(crate) answer: Answer<Result<Properties, UnsubscribeError>>,
}

#[derive(Debug)]
pub(crate) struct DisconnectCommand {
    pub(crate) disconnect: Disconnect,
    /// Session expiry that the program asked for, in seconds.
    pub(crate) session_expiry_s: Option<u32>,
    /// How long publications may take to complete.
    pub(crate) flush: Duration,
    pub(crate) answer: Answer<Result<(), DisconnectError>>,
}

impl Mail for Command {
    fn number(&mut self, next: &mut u64, is_sure: bool) {
        if let Self::Publish(publish) = self
            && publish.head.qos > QoS::AtMostOnce
        {
            publish.number = *next;
            *next += 1;
            if is_sure
                && publish.is_certain
                && let Some(answer) = &publish.answer
            {
                answer.numbered(publish.number);
            }
        }
    }

    /// What may be lost with the connection may wait for it.
    fn is_patient(&self) -> bool {
        matches!(self, Self::Publish(publish) if publish.head.qos == QoS::AtMostOnce)
    }
}

impl PublishCommand {
    pub(crate) fn new(head: Publish, payload: Payload, answer: Option<PublishAnswer>) -> Self {
        Self { head, payload, release: None, number: 0, is_certain: false, answer }
    }

    /// Bytes it counts for in the mailbox: of a payload in a spool, none.
    pub(crate) fn cost(&self) -> usize {
        let topic = self.head.topic.as_ref().map_or(0, |topic| topic.as_bytes().len());
        match &self.payload {
            Payload::Bytes(bytes) => bytes.len().saturating_add(topic),
            Payload::Spooled { .. } => topic,
        }
    }
}
