//! The client machine against a scripted server, and against a server made of our own link and session.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests may fail loudly")]

mod answers;
mod authenticating;
mod connecting;
mod desk;
mod durable;
mod ends;
mod entrusted;
mod gathering;
mod manual;
mod operations;
mod pair;
mod parking;
mod publishing;
mod receiving;
mod reconnecting;
mod remarks;
mod settling;
