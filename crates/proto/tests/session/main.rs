//! The session machine, seen from one end: what it writes, what it keeps, what it records.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests may fail loudly")]

mod bench;
mod bounds;
mod damage;
mod disk;
mod durable;
mod inbound;
mod outbound;
mod paging;
mod records;
mod recovery;
mod resume;
