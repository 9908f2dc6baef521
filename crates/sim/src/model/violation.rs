//! What the model reports.

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Statement of 5.0 that is broken (3.1.1 says the same elsewhere).
    pub statement: &'static str,
    /// What was seen.
    pub what: String,
}

pub(crate) fn violation<T>(statement: &'static str, what: String) -> Result<T, Violation> {
    Err(Violation { statement, what })
}
