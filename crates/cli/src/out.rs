//! Lines for people. A reader that went away is no reason to fail.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// Writes a line to standard output at once.
pub(crate) fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
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
