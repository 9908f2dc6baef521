//! The state machines that client and broker share, without I/O, clocks, randomness or threads.
//!
//! Bytes, time and commands go in; bytes to write, records to store and events come out. A driver owns the socket, the
//! disk and the clock; any number of inputs of one wake-up is followed by one drain of the outputs. What this crate is
//! not: a broker (routing, retained messages and wills are in `postrider-hub`) or something that dials (the `postrider`
//! crate does).
//!
//! ```text
//!            +---------------------------- Client ----------------------------+
//!            |  operations, subscriptions        Reconnect --> Dial(plan)     |
//!            |                                                                |
//!            |    Session  what outlives a connection: flights, queue, ids    |
//!  records <-|       |     every durable change is a Record in the Journal    |
//!            |       | PUBLISH, acknowledgements behind a Gate                |
//!            |       v                                                        |
//!  bytes  -->|     Link    one connection: handshake, limits, keep-alive,     |--> Outbox: bytes,
//!  time   -->|             aliases, receive maximum, faults                   |    spool ranges
//!            +----------------------------------------------------------------+
//! ```
//!
//! A broker uses the same [`Session`] and [`Link`], many of each, without [`Client`].
//!
//! # Parts, in reading order
//!
//! - [`Message`], [`Delivery`], [`Envelope`]: an application message, how one receiver gets it, and the two during a
//!   batch, when one encoding serves many receivers.
//! - [`Link`]: one network connection from either end; [`Received`] comes in, the [`Outbox`] goes out, [`LinkEnd`] says
//!   why it is over. [`Limits`] are the negotiated facts; nobody else asks for the version.
//! - [`Session`], [`Journal`], [`Record`], [`Gate`]: QoS 1 and 2, and nothing confirmed before it is stored.
//! - [`Client`], [`Reconnect`]: a link, a session and pending operations; when and where to connect.
//! - [`Spools`]: payloads too large for memory. [`Wheel`]: timers of many links in O(1). [`Time`]: an argument.
//!
//! # Example
//!
//! Both ends of a connection, with a buffer for a network:
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use postrider_proto::wire::{ClientId, ConnAck, Connect, Properties, Publish, QoS, ReasonCode, Topic, Version};
//! use postrider_proto::{
//!     Chunk, Delivery, Gate, Link, LinkConfig, LinkEnd, Message, Payload, Received, Spools, Time,
//! };
//!
//! /// What a driver does with a socket: write the chunks, then say how much was written.
//! fn carry(from: &mut Link, to: &mut BytesMut) {
//!     for chunk in from.outbox().chunks() {
//!         let Chunk::Bytes(bytes) = chunk else { unreachable!("nothing is spooled here") };
//!         to.extend_from_slice(bytes);
//!     }
//!     let all = from.outbox().len();
//!     from.outbox_mut().consume(all);
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (now, mut network, mut spools) = (Time(0), BytesMut::new(), Spools::new(0));
//! let connect = Connect {
//!     version: Version::V5,
//!     clean_start: true,
//!     keep_alive: 60,
//!     client_id: ClientId::new("press-7")?,
//!     user_name: None,
//!     password: None,
//!     will: None,
//!     properties: Properties::new(),
//! };
//! let mut client = Link::client(LinkConfig::default(), &connect, now)?;
//! let mut server = Link::server(LinkConfig::default(), now);
//!
//! carry(&mut client, &mut network);
//! let received = server.receive(&mut network, &mut spools, now)?;
//! assert!(matches!(received, Some(Received::Connect(_))));
//! let reason = ReasonCode::Success;
//! let connack = ConnAck { session_present: false, reason, properties: Properties::new() };
//! server.accept(connack, connect.keep_alive, 0, Gate::default());
//!
//! carry(&mut server, &mut network);
//! client.receive(&mut network, &mut spools, now)?;
//! assert!(client.is_open());
//!
//! let publish = Publish {
//!     dup: false,
//!     qos: QoS::AtMostOnce,
//!     retain: false,
//!     topic: Some(Topic::new("plant/7/temp")?),
//!     packet_id: None,
//!     properties: Properties::new(),
//!     payload: Bytes::new(),
//! };
//! let message = Message::from_publish(publish, Payload::Bytes(Bytes::from_static(b"21.5")), now);
//! let delivery =
//!     Delivery { qos: QoS::AtMostOnce, retain: false, subscription_ids: Default::default() };
//! assert!(client.send_message(&message, &delivery, None, false, now));
//!
//! carry(&mut client, &mut network);
//! let Some(Received::Publish(arrived)) = server.receive(&mut network, &mut spools, now)? else {
//!     return Err("a message".into());
//! };
//! assert_eq!(arrived.payload, message.payload);
//! // Nothing more for one and a half keep-alive intervals: the server gives up.
//! let end = server.handle_time(now.plus_s(90)).expect_err("too late");
//! assert_eq!(end, LinkEnd::Ours(ReasonCode::KeepAliveTimeout));
//! # Ok(())
//! # }
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod client;
mod limits;
mod link;
mod link_terms;
mod message;
pub mod mutation;
mod outbox;
mod reconnect;
mod record;
mod session;
mod spool;
mod time;
mod timer;

pub use postrider_wire as wire;

pub use crate::client::Client;
pub use crate::limits::{Limits, LinkConfig};
pub use crate::link::{Arrived, Link, LinkEnd, Received, Role};
pub use crate::link_terms::{EmptyClientId, Terms};
pub use crate::message::{Delivery, Envelope, Message, Payload};
pub use crate::outbox::{Chunk, Outbox};
pub use crate::reconnect::{Again, HOPS_MAX, Plan, Reconnect, ReconnectConfig, Verdict};
pub use crate::record::{
    Durability, Fact, FlightState, Gate, Journal, Progress, Record, RecordError, Stamp,
};
pub use crate::session::{
    AckOutcome, AckReason, Arrival, Entrusted, Fate, OpenMessage, PageRequest, PageRows, Parked,
    PeerFault, QueueFull, Resume, Sent, Session, SessionConfig, SessionStats, Takers,
};
pub use crate::spool::{SpoolId, SpoolOutput, Spools};
pub use crate::time::Time;
pub use crate::timer::Wheel;
