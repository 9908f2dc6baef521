//! The example `line_driven_client`, driven as an outside judge of clients would: it must keep what is legal, end what
//! is not, and go on to the next line whatever happened.
//!
//! Each test starts the example and plays the server's side of many connections in the language of `script`.
#![forbid(unsafe_code)]

mod acknowledging;
mod authority;
mod closing;
mod connecting;
mod framing;
mod limiting;
mod lines;
mod receiving;
mod script;
mod subscribing;
