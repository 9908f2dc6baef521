//! The mailbox between handles and driver, and the gauge of a stream, in every order that their threads can run in.
//!
//! Their sources are compiled once more here, with the mutex and the atomics of `loom`, which tries every interleaving. A
//! wake-up that can be lost shows as a deadlock.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(dead_code, unreachable_pub, reason = "the models use a part of each source")]

#[path = "../../src/gauge.rs"]
mod gauge;
mod gauge_model;
mod lock;
#[path = "../../src/mailbox.rs"]
mod mailbox;
mod mailbox_model;

/// Tries the orders in which a thread is interrupted at most twice where it could go on. That is where faults are, and what
/// makes it a matter of seconds.
fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(run);
}
