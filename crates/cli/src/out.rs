//! Lines for people. A reader that went away is no reason to fail.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Context;

/// Writes a line to standard output at once.
///
/// # Errors
/// The system does not take it, as on a full disk. That nobody reads it is none.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    print(format!("{line}\n").as_bytes())
}

/// Writes a line beside the work to standard output: one that cannot be written is no reason to fail.
pub(crate) fn mention(line: &str) {
    let _ = say(line);
}

/// Writes a text to standard output, with the errors of [`say`].
pub(crate) fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(text).and_then(|()| out.flush()))
}

/// What a write to standard output means: that nobody reads is no reason to fail.
pub(crate) fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Writes a line to standard error, unless there is to be silence.
pub(crate) fn complain(line: &str) {
    if !is_quiet() {
        insist(line);
    }
}

/// Writes a line to standard error in any case. `eprintln!` would panic where nobody reads it, or its disk is full.
pub(crate) fn insist(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// From now on [`complain`] does nothing.
pub(crate) fn be_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// Whether there is to be silence.
pub(crate) fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

static IS_QUIET: AtomicBool = AtomicBool::new(false);
