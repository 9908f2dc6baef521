//! Plays raw packets at a broker and judges the answers.
//!
//! The judge uses byte streams and the decoder of the packet codec only, none of our state machines, so that it can be
//! trusted with our broker as well as with any other. Most of what it plays is text, in `cases/*.txt`, readable without
//! Rust; `cases/README.md` explains it:
//!
//! ```text
//! ## a second CONNECT ends the connection
//! v5 [MQTT-3.1.0-2] v3.1.1 [MQTT-3.1.0-2]
//! A connect
//! A hello
//! A ends ProtocolError
//! ```
//!
//! The rest are families made of tables: each property in each packet, each packet cut short, each string spoilt, each
//! length of a length.
//!
//! [`cases`] gives them all, [`judge`] plays one with one version, [`judge_all`] many at once. A [`Verdict`] says what
//! was expected and what came.
#![forbid(unsafe_code)]

mod actor;
mod case;
mod family;
mod hello;
mod judge;
mod law;
mod line;
mod parse;
mod raw;
mod surprise;

pub use postrider_net::{Address, Dial, DialError};

pub use crate::{
    case::{Case, CaseError, cases},
    judge::{Verdict, judge, judge_all, reach},
    surprise::Surprise,
};
