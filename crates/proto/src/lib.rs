//! The state machines that client and broker share, without I/O, clocks, randomness or threads.
//!
//! A [`Link`] is one network connection and dies with it. A [`Session`] outlives it: flights, queue, identifiers.
//! A [`Client`] is a link, a session and pending operations. Bytes, time and commands go in; outputs come out of one
//! `poll_output`, after any number of inputs of one wake-up.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod client;
mod limits;
mod link;
mod link_terms;
mod message;
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
pub use crate::reconnect::{Plan, Reconnect, ReconnectConfig, Verdict};
pub use crate::record::{Fact, FlightState, Gate, Journal, Record, RecordError};
pub use crate::session::{
    AckOutcome, Arrival, Fate, PeerFault, QueueFull, Resume, Sent, Session, SessionConfig,
    SessionStats,
};
pub use crate::spool::{SpoolId, SpoolOutput, Spools};
pub use crate::time::Time;
pub use crate::timer::Wheel;
