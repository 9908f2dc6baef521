//! One broken rule at one place.

use std::fmt;

/// A broken rule: where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Path inside the repository, with `/`; or the name of a package.
    pub place: String,
    /// Line in the file, counted from 1; 0 where a line makes no sense.
    pub line: usize,
    /// What is wrong, as half a sentence.
    pub says: String,
}

impl Fault {
    /// A fault at a line of a file.
    pub fn at(place: &str, line: usize, says: impl Into<String>) -> Self {
        Self { place: place.to_owned(), line, says: says.into() }
    }

    /// A fault of a whole file or package.
    pub fn of(place: &str, says: impl Into<String>) -> Self {
        Self::at(place, 0, says)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.place, self.says)
        } else {
            write!(f, "{}:{}: {}", self.place, self.line, self.says)
        }
    }
}
