//! Turns a URL into a byte stream. Knows no MQTT.
//!
//! ```text
//! "mqtt://user:pass@host:1883" --Address::parse--> Endpoint --dial-----------> Stream
//!                                                           `-Listener::bind-> Listener --accept--> Stream
//! ```
//!
//! A [`Stream`] hides what it runs on: TCP, a Unix socket, or any byte stream of the caller's. [`Clock`] is here because
//! those who drive streams also have to tell their machines the time.
#![forbid(unsafe_code)]

mod address;
mod clock;
mod listener;
mod stream;
#[cfg(unix)]
mod unix;

pub use crate::address::{Address, Credentials, Endpoint, UrlError};
pub use crate::clock::Clock;
pub use crate::listener::Listener;
pub use crate::stream::{Bytes, Detached, DialError, Stream, dial};
