//! The file of a tap, and how it is kept small.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use super::record::{HEAD, Record};
use crate::lock::lock;

/// The file of a tap; of all connections of one session.
#[derive(Debug)]
pub(crate) struct TapFile {
    path: PathBuf,
    bytes_max: u64,
    connections: AtomicU32,
    /// `None` once it could not be written.
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    file: File,
    len: u64,
}

impl TapFile {
    pub(super) fn create(path: PathBuf, bytes_max: u64) -> Self {
        let state = noted(&path, begin(&path));
        Self { path, bytes_max, connections: AtomicU32::new(0), state: Mutex::new(state) }
    }

    /// The number of a new connection, from 1.
    pub(super) fn next_connection(&self) -> u32 {
        self.connections.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Writes records at once.
    pub(super) fn write(&self, records: &[Record]) {
        if records.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.encode(&mut bytes));
        let mut state = lock(&self.state);
        let Some(open) = state.as_mut() else { return };
        if open.len > HEAD.len() as u64 && open.len + bytes.len() as u64 > self.bytes_max / 2 {
            *state = noted(&self.path, self.turn_over());
        }
        let Some(open) = state.as_mut() else { return };
        open.len += bytes.len() as u64;
        if noted(&self.path, open.file.write_all(&bytes)).is_none() {
            *state = None;
        }
    }

    /// Sets the file aside and begins a new one.
    fn turn_over(&self) -> io::Result<State> {
        let mut before: OsString = self.path.clone().into();
        before.push(".before");
        fs::rename(&self.path, before)?;
        begin(&self.path)
    }
}

fn begin(path: &Path) -> io::Result<State> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    super::unix::make_private(&mut options);
    let mut file = options.open(path)?;
    file.write_all(HEAD)?;
    Ok(State { file, len: HEAD.len() as u64 })
}

fn noted<T>(path: &Path, result: io::Result<T>) -> Option<T> {
    result
        .inspect_err(|error| {
            tracing::error!(path = %path.display(), "the tap is not written any more: {error}");
        })
        .ok()
}
