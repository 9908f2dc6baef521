//! Sessions over TLS, WebSocket and proxies, with a broker of ours at the other end.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else comes fails the test")]

mod failing;
mod full_window;
mod servers;
mod working;
mod world;
