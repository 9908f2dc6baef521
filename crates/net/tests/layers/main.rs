//! What lies between a socket and the bytes: TLS, WebSocket, proxies; in all orders.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else comes fails the test")]
#![allow(clippy::result_large_err, reason = "what tungstenite asks of its callbacks")]

mod authority;
mod keys;
mod peers;
mod proxies;
mod revoked;
mod tls;
mod websocket;
