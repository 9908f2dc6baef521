//! The examples of `docs/from-wlanguage.md`, at a broker in this process. `guide.rs` sees to it that the page shows them
//! as they stand here.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

mod guide;
mod in_async;
mod in_blocking;
mod plant;
#[allow(dead_code, reason = "other tests need more of it")]
#[path = "../transports/world.rs"]
mod world;

/// How an example ends.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;
