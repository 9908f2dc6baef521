//! The session machine, seen from one end: what it writes, what it keeps, what it records.

mod bench;
mod bounds;
mod durable;
mod inbound;
mod outbound;
mod records;
mod recovery;
mod resume;
