//! An MQTT client that does not lose messages: async and blocking, MQTT 3.1.1 and 5.0.
//!
//! # First program
//!
//! ```no_run
//! use postrider::{QoS, Session};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let session = Session::builder("mqtt://127.0.0.1:1883", "press-7").connect().await?;
//!     let mut temps = session.subscribe("plant/+/temp", QoS::AtLeastOnce).await?;
//!     session.publish("plant/7/temp", "21.5").qos(QoS::ExactlyOnce).retain(true).await?;
//!     if let Some(message) = temps.next().await {
//!         println!("{} {}", message.topic(), message.text()?);
//!     }
//!     session.unsubscribe_all().await?;
//!     session.disconnect().await?;
//!     Ok(())
//! }
//! ```
#![forbid(unsafe_code)]

mod answer;
pub mod blocking;
mod builder;
mod clock;
mod command;
mod connector;
mod dispatch;
mod driver;
mod error;
mod event;
mod line;
mod lock;
mod mailbox;
mod message;
mod outlet;
mod overlap;
mod payload;
mod pending;
mod publish;
mod queue;
mod reason;
mod session;
mod shared;
mod stats;
mod subscription;
mod topic;
mod trie;
mod will;

pub use bytes::Bytes;
pub use postrider_net::{Stream, UrlError};
pub use postrider_proto::{
    Limits,
    wire::{
        Filter, FilterError, Properties, Property, QoS, ReasonCode, RetainHandling, Text,
        TextError, Topic, TopicError, Version,
    },
};

pub use crate::{
    builder::{Builder, Protocol},
    connector::Attempt,
    error::{ConnectError, DisconnectError, PublishError, SubscribeError, UnsubscribeError},
    event::{Connected, Event, Events},
    message::{Message, NotText},
    payload::Payload,
    publish::{Completed, PublishFuture, PublishRequest, Published, Receipt},
    queue::StreamEnd,
    reason::{LinkReason, SessionEnd},
    session::{DisconnectRequest, Session},
    stats::Stats,
    subscription::{SubscribeRequest, Subscription, Unmatched},
    topic::{IntoFilter, IntoTopic, NotFilter, NotTopic},
    will::Will,
};
