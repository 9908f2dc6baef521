//! A session against a peer that the test plays, packet by packet.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

mod acknowledging;
mod authenticating;
mod behind;
mod beside;
mod blocked;
mod blocking;
mod cancelled;
mod connecting;
mod damage;
mod disconnecting;
#[cfg(feature = "json")]
mod json;
mod large;
mod many;
mod observed;
mod offline;
mod peer;
mod policies;
mod preparing;
mod properties;
mod property_table;
mod publishing;
mod reconnecting;
mod requesting;
#[cfg(feature = "scram")]
mod scram;
mod seated;
mod slowness;
mod storing;
mod streams;
mod surplus;
mod tapped;
