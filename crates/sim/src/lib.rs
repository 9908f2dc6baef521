//! Clients and a broker in one process, on simulated time, a simulated network and simulated disks.
//!
//! Everything is drawn from one seed: who publishes what and when, how bytes are cut into pieces and delayed, when
//! links are reset, machines crash and disks fail. The same seed gives the same run, byte for byte. What is written
//! to any pipe is read along and held against the standard ([`Model`], which knows nothing of the machines, and the
//! exchanges of each session) and against what is durable at that moment. After the faults stop, everything must drain.
//!
//! ```text
//!   seed --> Script --> World { clients, pipes, hubs, disks } --> verdict, Counts
//!                                   |        |
//!                 every packet, both ends   durable records, read from their bytes
//!                                   v        v
//!                              Model, exchanges, facts
//! ```
//!
//! The machines are the real ones, `postrider_proto::Client` and `postrider_hub::Hub`; there is no I/O anywhere.
#![forbid(unsafe_code)]

mod client;
mod counts;
mod disk;
mod eye;
mod facts;
mod flow;
mod model;
mod pipe;
mod presence;
mod random;
mod script;
mod shelf;
mod world;

pub use postrider_proto::mutation;

pub use crate::{
    counts::Counts,
    model::{Model, NewMessage, Seen, Violation},
    random::Random,
    script::Script,
    world::World,
};

/// Runs one seed to its end.
///
/// # Errors
/// The violation with seed, step and simulated time, and the last actions, as one text for people.
pub fn run_seed(seed: u64) -> Result<Counts, String> {
    World::new(Script::from_seed(seed)).run()
}

/// As [`run_seed`], without what was added to runs later ([`Script::plain`]).
///
/// # Errors
/// As [`run_seed`].
pub fn run_plain(seed: u64) -> Result<Counts, String> {
    World::new(Script::plain(seed)).run()
}
