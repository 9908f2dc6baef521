//! An MQTT client that does not lose messages: async and blocking, MQTT 3.1.1 and 5.0.
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
//!
//! # What it is
//!
//! A [`Session`] is a cheap handle: clone it into every task. Behind it one driver connects, reconnects, subscribes again,
//! sends what is queued, and hands each message to every stream that asked for it.
//!
//! ```text
//! Session --publish, subscribe, ...--> mailbox --> driver <--bytes--> broker
//!                                                    |
//! Subscription <--messages-- stream queue <----------+
//! Receipt, Events, Stats <---------------------------'
//! ```
//!
//! The rules of the protocol are in `postrider-proto`, a machine without I/O; the driver only moves bytes and time. It is a
//! task of the tokio runtime in which [`Builder::connect`] was called, or a thread of its own in the [`blocking`] face.
//!
//! # What it promises
//!
//! - An awaited publication at QoS 1 or 2 was acknowledged, or the error says why not. Dropping a future or a [`Receipt`]
//!   never takes a message back.
//! - What is published without a connection waits for one; QoS 0 is refused then, unless
//!   [`Builder::queue_qos0_offline`] is set. While connected, a full queue holds publishers up.
//! - Every queue is bounded, and everything dropped is counted in [`Stats`] or told by [`Events`].
//! - A message goes once to every [`Subscription`] whose filter matches, however many copies the broker sends. One that
//!   nobody asked for is kept for a while, see [`Session::unmatched`].
//! - Many filters cost one round trip ([`Session::subscribe_many`]), and each has its own verdict.
//! - A message is acknowledged when it arrives, or when the program says so ([`Builder::manual_acknowledgement`]), with
//!   what it stores in the same step ([`Message::ack_with`]).
//! - A payload of 1 MiB or more lies in a file: when it arrives ([`Message::reader`]), when it is published from one
//!   ([`Session::publish_from`]), and while it waits in a store. The files are beside the store, or among the system's
//!   temporary files (`TMPDIR`).
//! - Every verb may be called anywhere, from inside any callback too.
//!
//! Without a store the session lives as long as the process. It starts clean unless [`Builder::clean_start`] says
//! otherwise, and asks the server to keep it for an hour, so that a reconnect loses nothing.
//!
//! # With a store
//!
//! [`Builder::store`] keeps the session in a folder. Then this holds, however a process ends:
//!
//! - What [`PublishRequest::stored`] or [`Receipt::stored`] said is stored reaches the server, unless it expires or the
//!   server refuses it: at QoS 1 at least once, at QoS 2 exactly once, in the order of publishing, as long as the server
//!   keeps the session. [`Mode`] says whether a power cut counts too.
//! - If the server has forgotten the session (see [`Builder::session_expiry`]), what is open starts again, and
//!   [`Connected::restarted`] says what may arrive twice.
//! - An arrived message at QoS 2 is acknowledged when its identifier is stored. The program gets it before that: a message
//!   whose handler ran when the process died may come again.
//! - Nothing is acknowledged that is not stored. A store that fails ends the session with [`SessionEnd::Store`]; a new one
//!   goes on from the same folder.
//! - [`Builder::start`] needs no broker: publish, end the program, and let a later one deliver.
//!
//! ```no_run
//! use postrider::{QoS, Session};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Session::builder("mqtt://127.0.0.1:1883", "press-7").store("press-7.state");
//! let session = builder.start().await?;
//! let receipt = session.publish("plant/7/temp", "21.5").qos(QoS::ExactlyOnce).stored().await?;
//! println!("message {} will not be lost", receipt.message_number());
//! for message in session.pending().await? {
//!     println!("{} {:?} {:?}", message.number, message.topic, message.stage);
//! }
//! session.disconnect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # TLS, WebSocket, proxies
//!
//! The scheme of the URL decides: `mqtt://`, `mqtts://` (TLS), `ws://` and `wss://` (WebSocket), `unix:`. [`Builder::tls`] says
//! whom to trust and who we are, [`Builder::websocket`] what to ask for, [`Builder::proxy`] what to go through. What fails has
//! a type of its own ([`TlsError`], [`WebSocketError`], [`ProxyError`]) that tells what to do.
//!
//! What can be seen of a session from outside is in [`observing`].
//!
//! # Reading order
//!
//! [`Builder`], [`Session`], [`PublishRequest`] and [`Receipt`], [`Subscription`] and [`Message`], [`Events`], then
//! [`blocking`]. Errors say what happened and what to do: [`ConnectError`], [`PublishError`], [`SubscribeError`].
#![forbid(unsafe_code)]

mod answer;
mod authentication;
pub mod blocking;
mod body;
mod builder;
mod client_id;
mod command;
mod connector;
mod dispatch;
mod driver;
mod error;
mod event;
mod extras;
mod filling;
mod gauge;
#[cfg(test)]
mod gauge_tests;
mod intake;
#[cfg(feature = "json")]
mod json;
mod latest;
mod line;
mod lock;
mod mailbox;
#[cfg(test)]
mod mailbox_tests;
mod message;
#[cfg(feature = "metrics")]
mod metrics;
pub mod observing;
mod outlet;
#[cfg(test)]
mod overlap;
mod payload;
mod pending;
mod protocol;
mod publish;
mod queue;
mod reason;
mod request;
mod retry;
mod said;
mod session;
mod shared;
mod slot;
mod source;
mod spans;
mod stats;
mod subscription;
pub mod tap;
mod token;
mod topic;
mod transport;
mod trie;
mod upcoming;
mod vault;
mod when_full;
mod when_slow;
mod will;

pub use bytes::Bytes;
#[cfg(feature = "srv")]
pub use postrider_net::Srv;
pub use postrider_net::{
    NotAPin, Pin, Proxy, ProxyError, ProxyRules, ProxyUrlError, ProxyVariableError, Stream, Tls,
    TlsError, TlsVersion, UrlError, Watch, WebSocket, WebSocketError,
};
pub use postrider_proto::{
    Again, Limits,
    client::Restarted,
    wire::{
        Filter, FilterError, Properties, Property, QoS, ReasonCode, RetainHandling, Text,
        TextError, Topic, TopicError, Version,
    },
};

#[cfg(feature = "scram")]
pub use crate::authentication::Scram;
#[cfg(feature = "json")]
pub use crate::json::JsonError;
pub use postrider_store::{Mode, StoreError};

pub use crate::{
    authentication::{
        AuthenticationError, AuthenticationExchange, Authenticator, ReauthenticateError,
    },
    body::PayloadReader,
    builder::Builder,
    connector::Attempt,
    error::{
        AckError, ConnectError, DisconnectError, NotText, PayloadError, PublishError, SourceError,
        StoredError, SubscribeError, UnsubscribeError,
    },
    event::{Connected, Event, Events, Resubscription, Settled},
    message::Message,
    payload::Payload,
    pending::{PendingMessage, Stage},
    protocol::Protocol,
    publish::{Completed, PublishFuture, PublishRequest, Published, Receipt},
    queue::StreamEnd,
    reason::{LinkReason, SessionEnd},
    request::{Reply, ReplyError, Request, RequestError},
    session::{DisconnectRequest, Session},
    source::Source,
    stats::Stats,
    subscription::{SubscribeManyRequest, SubscribeRequest, Subscription, Unmatched},
    token::{Ack, Batch},
    topic::{IntoFilter, IntoTopic, NotFilter, NotTopic},
    transport::ServerPolicy,
    upcoming::Upcoming,
    when_full::WhenFull,
    when_slow::WhenSlow,
    will::Will,
};
