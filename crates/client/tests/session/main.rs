//! A session against a peer that the test plays, packet by packet.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

mod acknowledging;
mod beside;
mod blocked;
mod blocking;
mod cancelled;
mod connecting;
mod damage;
mod disconnecting;
mod large;
mod observed;
mod offline;
mod peer;
mod policies;
mod publishing;
mod reconnecting;
mod slowness;
mod storing;
mod streams;
mod tapped;
