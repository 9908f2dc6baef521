//! A session against a peer that the test plays, packet by packet.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

mod acknowledging;
mod authenticating;
mod blocking;
mod connecting;
mod damage;
mod disconnecting;
#[cfg(feature = "json")]
mod json;
mod large;
mod offline;
mod peer;
mod preparing;
mod properties;
mod publishing;
mod reconnecting;
mod requesting;
#[cfg(feature = "scram")]
mod scram;
mod slowness;
mod storing;
mod streams;
