//! The session machine, seen from one end: what it writes, what it keeps, what it records.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests may fail loudly")]

mod bench;
mod bounds;
mod durable;
mod inbound;
mod outbound;
mod records;
mod recovery;
mod resume;
