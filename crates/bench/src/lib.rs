//! A load generator for MQTT brokers, built on the packet codec and byte streams alone.
//!
//! It shares no state machine with the client and the broker it measures, so that a fault in those cannot hide itself.
//! Every message carries its publisher, a sequence number and the time of sending; every receiver counts what is
//! lost, doubled and out of order.
//!
//! ```text
//! Plan --run--> publishers --> broker --> subscribers --> Tally --> Report
//!                   ^------------ credit -----------'
//! ```
//!
//! A publisher never runs further ahead of its slowest subscriber than [`Plan::ahead`] messages. So the rate is what
//! the broker carries from end to end, not how fast it can throw away QoS 0 messages.
#![forbid(unsafe_code)]

mod credit;
mod peer;
mod plan;
mod process;
mod publisher;
mod report;
mod run;
mod subscriber;
mod tally;

pub use crate::{
    peer::BenchError,
    plan::{Plan, Shape},
    report::Report,
    run::run,
};
