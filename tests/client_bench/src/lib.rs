//! What the programs share: their arguments, and what is measured.

mod meter;
mod pace;
mod plan;

pub use self::{
    meter::{Meter, resident_kib},
    pace::{Arrivals, Credit},
    plan::{Plan, TOPIC, Traffic},
};
