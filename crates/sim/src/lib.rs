//! Clients and a broker in one process, on simulated time and a simulated network.
//!
//! Everything is drawn from one seed: who publishes what and when, how bytes are cut into pieces and delayed, when
//! links are reset. The same seed gives the same run, byte for byte. After the faults stop, everything must drain, and
//! the [`Model`], which is written from the standard and knows nothing of the machines, says whether what arrived is what
//! the standard allows.
//!
//! ```text
//!   seed --> Script --> World { clients, pipes, hubs, disks } --> Model --> verdict
//! ```
//!
//! The machines are the real ones, `postrider_proto::Client` and `postrider_hub::Hub`; there is no I/O anywhere.
#![forbid(unsafe_code)]

mod client;
mod disk;
mod model;
mod pipe;
mod random;
mod script;
mod world;

pub use crate::{
    model::{Model, Violation},
    random::Random,
    script::Script,
    world::{Counts, World},
};

/// Runs one seed to its end.
///
/// # Errors
/// The violation with seed and simulated time, and the last actions, as one text for people.
pub fn run_seed(seed: u64) -> Result<Counts, String> {
    World::new(Script::from_seed(seed)).run()
}
