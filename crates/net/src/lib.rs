//! Turns a URL into a byte stream. Knows no MQTT.
#![forbid(unsafe_code)]

mod address;
mod listener;
mod stream;

pub use crate::address::{Address, Credentials, Endpoint, UrlError};
pub use crate::listener::Listener;
pub use crate::stream::{DialError, Stream, dial};
