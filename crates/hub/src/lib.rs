//! A broker's brain without I/O: links, sessions, routing, retained messages, wills.
//!
//! One [`Hub`] runs on one thread. A broker on many cores has several; each is a peer of the others: one more
//! subscriber. Bytes, time and answers go in; outputs come out of one [`Hub::poll_output`].
//!
//! ```text
//!            handle_bytes                    poll_output
//!  link ----> proto::Link ---> connect, publish, subscribe ---> Transmit, Close, Pause, Resume
//!                                 |            |
//!                  registry of sessions     router, groups, retained
//!                                 |            |
//!                           proto::Session <---'---> peers ---> Peer
//!                                 |
//!                           proto::Journal ----------------> Store
//! ```
//!
//! Reading order: [`HubConfig`], [`Output`], [`Hub`]; inside, `hub/links.rs` is where bytes arrive and
//! `hub/publish.rs` where messages find their way.
//!
//! ```
//! use postrider_hub::{Hub, HubConfig, Output, proto::Time};
//!
//! let mut hub = Hub::new(HubConfig::default(), Time(0));
//! let link = hub.accept(Time(0));
//! let mut input = bytes::BytesMut::from(&b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a"[..]);
//! hub.handle_bytes(link, &mut input, Time(0));
//! let mut said = Vec::new();
//! loop {
//!     match hub.poll_output() {
//!         Output::Transmit(link) => {
//!             for chunk in hub.chunks(link) {
//!                 if let postrider_hub::proto::Chunk::Bytes(bytes) = chunk {
//!                     said.extend_from_slice(bytes);
//!                 }
//!             }
//!             hub.consume(link, said.len() as u64, Time(0));
//!         }
//!         Output::Wait(_) => break,
//!         _ => {}
//!     }
//! }
//! assert_eq!(said, [0x20, 2, 0, 0]); // CONNACK, accepted
//! ```
#![forbid(unsafe_code)]

mod config;
mod crossing;
mod cursor;
mod entries;
mod hash;
mod hub;
mod keep;
mod links;
mod output;
mod peer;
mod registry;
mod retained;
mod route;
mod router;
mod share;
mod shared;
mod stall;
mod will;

pub use postrider_proto as proto;

pub use crate::config::{Authentication, HubConfig};
pub use crate::hub::{Hub, HubStats};
pub use crate::output::{Ask, Event, LinkId, MovedLink, Output, PeerMessage};
