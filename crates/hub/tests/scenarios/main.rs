//! What a broker does, told as scenarios: clients on streams in memory, simulated time, one hub and two.
//!
//! Every scenario of [`world::each`] runs for 3.1.1 and 5.0, with one hub and with two, with and without a store.
#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names the packets it is about")]

mod access;
mod connect;
mod delivery;
mod durable;
mod groups;
mod hostile;
mod hubs;
mod options;
mod pace;
mod paging;
mod retained;
mod session;
mod subscribe;
mod takeover;
mod will;
mod world;
