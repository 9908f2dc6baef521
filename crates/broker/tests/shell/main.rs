//! The broker over real sockets, with raw packets.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod life;
mod load;
mod peer;
mod traffic;

use postrider_broker::{Broker, Builder, wire::Version};

/// The versions whose packets look alike enough for one test.
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fn start(builder: Builder) -> Broker {
    builder.listen("tcp://127.0.0.1:0").start().unwrap()
}
