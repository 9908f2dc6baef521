//! The folder in which a run works.

use std::{
    io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A folder that was asked for and stays, or a new one that goes with this.
#[derive(Debug)]
pub(crate) enum Workplace {
    Given(PathBuf),
    Made(TempDir),
}

impl Workplace {
    pub(crate) fn new(given: Option<PathBuf>) -> io::Result<Self> {
        given.map_or_else(|| tempfile::tempdir().map(Self::Made), |path| Ok(Self::Given(path)))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Made(made) => made.path(),
        }
    }
}
