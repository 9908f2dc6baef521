//! What can go wrong with asking and answering.

use std::time::Duration;

use postrider_proto::wire::Version;

use crate::{NotTopic, PublishError, SessionEnd, SubscribeError};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server speaks 3.1.1, where a message cannot say where its answer is expected.
    #[error("requests need MQTT 5.0, and the server speaks {0}: publish and subscribe by hand")]
    NotInVersion(Version),
    /// The server says that nobody is subscribed to the topic of the request (reason code 0x10).
    #[error("nobody is subscribed to the topic of the request")]
    NoResponder,
    /// No answer in time. The request may have been delivered.
    #[error("no answer within {} s; is a responder subscribed to the topic?", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The request was not published.
    #[error("request: {0}")]
    Publish(PublishError),
    /// The response topic could not be subscribed to.
    #[error("response topic: {0}")]
    Subscribe(SubscribeError),
    /// The response topic was unsubscribed while the answer was awaited, by the program or by the server.
    #[error("the response topic was unsubscribed before the answer came: ask again")]
    Unsubscribed,
    /// The session is over.
    #[error("{0}")]
    Over(SessionEnd),
}

/// Why a message was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The message does not say where an answer is expected.
    #[error("the message on '{topic}' asks for no answer: it has no response topic")]
    NotAsked {
        /// Its topic.
        topic: String,
    },
    /// Its response topic cannot be published to.
    #[error("the response topic cannot be used: {0}")]
    ResponseTopic(#[from] NotTopic),
    /// The answer was not published.
    #[error("answer: {0}")]
    Publish(#[from] PublishError),
}
