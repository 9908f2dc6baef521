//! An MQTT broker that can be embedded or run alone: 3.1, 3.1.1 and 5.0 on one port.
//!
//! All rules are in `postrider-hub`, which does no I/O. This crate gives it sockets, a clock, threads and a store:
//!
//! ```text
//! acceptor --stream--> driver (one thread and one event loop per hub)
//!                        |  reads what is ready  -> Hub::handle_bytes
//!                        |  drains Hub::poll_output, once for all that was read
//!                        `  writes Hub::chunks   -> Hub::consume
//! driver <--batches in order--> driver            (two hubs or more)
//! driver --> vault: the hub's door to the store   (records: one write a drain; large payloads: files)
//! recovery: store -> hubs, at the start
//! ```
//!
//! ```
//! use postrider_broker::Broker;
//!
//! let broker = Broker::builder().listen("tcp://127.0.0.1:0").start()?;
//! println!("listening on {}", broker.endpoints()[0]);
//! broker.shut_down();
//! # Ok::<(), postrider_broker::StartError>(())
//! ```
#![forbid(unsafe_code)]

mod acceptor;
mod broker;
mod builder;
mod conn;
mod driver;
mod inbox;
mod ready;
mod recovery;
mod users;
mod vault;

pub use postrider_hub::HubStats;
pub use postrider_net::{Address, Endpoint, ServerTls, Stream, TlsError, TlsVersion, UrlError};
pub use postrider_proto::{Durability as Mode, wire};
pub use postrider_store::StoreError;

pub use crate::broker::{Broker, Connector};
pub use crate::builder::{Builder, Failure, ReloadError, StartError};
