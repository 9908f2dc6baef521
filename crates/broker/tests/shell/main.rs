//! The broker over real sockets, with raw packets.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod damage;
#[cfg(target_os = "linux")]
mod full_unix;
mod life;
mod load;
mod peer;
mod shared;
mod store;
mod traffic;

use postrider_broker::{Broker, Builder, wire::Version};

/// The versions whose packets look alike enough for one test.
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// Starts a broker on a free port. Set `RUST_LOG` to see its log.
fn start(builder: Builder) -> Broker {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Another test may have started the log.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    builder.listen("tcp://127.0.0.1:0").start().unwrap()
}
