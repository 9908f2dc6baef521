//! A broker's brain without I/O: links, sessions, routing, retained messages, wills.
//!
//! One [`Hub`] runs on one thread. A broker on many cores has several; each is a peer of the others: one more
//! subscriber. Bytes, time and answers go in; outputs come out of one [`Hub::poll_output`].
#![forbid(unsafe_code)]

mod config;
mod hub;
mod output;
mod router;

pub use postrider_proto as proto;

pub use crate::config::{Authentication, HubConfig};
pub use crate::hub::{Hub, HubStats};
pub use crate::output::{Ask, Event, LinkId, MovedLink, Output, PeerMessage};
