//! Turns a URL into a byte stream. Knows no MQTT.
//!
//! ```text
//! "mqtts://user:pass@host" --Address::parse--> Endpoint --dial_with-------> Stream
//!                                                       `-Listener::bind-> Listener --accept--> Stream
//!
//! names, addresses --> socket --> proxy? --> TLS? --> WebSocket? --> Stream
//! ```
//!
//! A [`Stream`] hides what it runs on: TCP, a Unix socket, any byte stream of the caller's, and the layers on it. How to
//! dial stands in [`Dial`], and in it [`Tls`], [`WebSocket`] and [`Proxy`]. [`Clock`] is here because those who drive
//! streams also have to tell their machines the time.
#![forbid(unsafe_code)]

mod address;
mod clock;
mod dial;
mod environment;
mod http;
mod listener;
#[cfg(target_os = "linux")]
mod low_water;
mod proxy;
#[cfg(feature = "srv")]
mod service;
mod socket;
mod stream;
mod tls;
#[cfg(unix)]
mod unix;
mod watch;
mod websocket;

#[cfg(all(feature = "tls", not(any(feature = "aws-lc-rs", feature = "ring"))))]
compile_error!("TLS needs one of the features ring and aws-lc-rs, which turn it on");

#[cfg(feature = "srv")]
pub use crate::service::Srv;
pub use crate::{
    address::{Address, Credentials, Endpoint, UrlError, elsewhere},
    clock::Clock,
    dial::{Dial, DialError, dial, dial_with},
    environment::{ProxyRules, ProxyVariableError},
    listener::{LayerError, Layers, Listener},
    proxy::{Proxy, ProxyError, ProxyUrlError},
    stream::{Bytes, Detached, Stream},
    tls::{NotAPin, Pin, ServerTls, Tls, TlsError, TlsVersion},
    watch::Watch,
    websocket::{WebSocket, WebSocketError},
};
