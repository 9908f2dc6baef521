//! What lies between a socket and the bytes: TLS, WebSocket, proxies; in all orders.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod authority;
mod keys;
mod peers;
mod proxies;
mod tls;
mod websocket;
