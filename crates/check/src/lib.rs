//! Plays raw packets at a broker and judges the answers.
//!
//! The judge uses the packet codec and byte streams only, none of our state machines, so that it can be trusted with
//! our broker as well as with any other. What it plays is text, in `cases/*.txt`, readable without Rust:
//!
//! ```text
//! ## a second CONNECT ends the connection
//! v5 [MQTT-3.1.0-2] v3.1.1 [MQTT-3.1.0-2]
//! A connect
//! A connect again
//! 5: A expect DISCONNECT ProtocolError*
//! A closed
//! ```
//!
//! [`cases`] reads them, [`judge`] runs one with one version, and says what was expected and what came.
#![forbid(unsafe_code)]

mod actor;
mod case;
mod judge;

pub use crate::{
    actor::Surprise,
    case::{Case, CaseError, Step, cases},
    judge::{Verdict, judge},
};
