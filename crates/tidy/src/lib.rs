//! The house rules, as programs.
//!
//! Each module holds one rule or one family of rules. A rule is a function from plain data (sources, package
//! metadata, texts) to a list of [`Fault`]s, so that its unit tests can hand it a bad input and see it fail.
//! `tests/house.rs` runs every rule on the repository itself.
//!
//! ```text
//! Repository --files--> Source --+--> arrows, length, purity, version, finished
//!      |                         `--> features, ledger, readme
//!      +--texts--> plain                                  all give Vec<Fault>
//!      `--metadata--> arrows, reach, supply
//! ```
//!
//! Reading order: [`repository`], [`source`], [`reach`], then the rules in any order.
#![forbid(unsafe_code)]

pub mod arrows;
pub mod fault;
pub mod features;
pub mod finished;
pub mod ledger;
pub mod length;
pub mod plain;
pub mod purity;
pub mod reach;
pub mod readme;
pub mod repository;
pub mod source;
pub mod supply;
pub mod tokens;
pub mod version;

pub use crate::fault::Fault;
pub use crate::repository::Repository;
pub use crate::source::{Purpose, Source};
