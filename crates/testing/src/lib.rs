//! Brokers for tests of programs that speak MQTT: a real one in the same process, and one that plays a script.
//!
//! [`TestBroker`] is the broker of `postrider-broker` on a free port. It can be stopped, killed and started again on the
//! same port. [`ScriptedBroker`] does what a script says, right or wrong: it refuses, answers with any bytes, hangs up in
//! the middle of an exchange, and tells afterwards what it received.
//!
//! ```
//! use postrider_testing::TestBroker;
//!
//! let mut broker = TestBroker::start()?;
//! assert!(broker.url().starts_with("mqtt://127.0.0.1:"));
//! let port = broker.port();
//! broker.restart()?; // Clients see a goodbye, then a broker that knows nothing of them.
//! assert_eq!(broker.port(), port);
//! # Ok::<(), postrider_testing::StartError>(())
//! ```
#![forbid(unsafe_code)]

mod broker;
mod play;
mod script;
mod scripted;

pub use postrider_broker::wire;
pub use postrider_broker::{Broker, Builder, StartError};

pub use crate::broker::TestBroker;
pub use crate::script::{Script, ScriptError, Step};
pub use crate::scripted::{Received, ScriptedBroker};
