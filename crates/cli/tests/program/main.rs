//! The real program, as its users meet it: options, output, exit status.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod compat;
mod demo;
#[cfg(target_os = "linux")]
mod failing_sync;
mod judges;
mod kept;
mod lost;
mod options;
#[cfg(unix)]
mod packets;
mod process;
mod profiles;
#[cfg(unix)]
mod progress;
mod pub_sub;
mod spool;
mod taps;
mod transport;
