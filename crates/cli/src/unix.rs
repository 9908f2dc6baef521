//! What a long-running program settles with a Unix system.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Raises the soft limit of open files to the hard one; returns what is in force then, or `None` for no limit.
pub(crate) fn raise_open_files() -> Option<u64> {
    let Rlimit { maximum, current } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        // Some systems have a hard limit that they do not grant.
        Err(_) => current,
    }
}

/// Begins to catch SIGHUP, which asks a service to read its files again.
pub(crate) fn hangups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Begins to catch SIGTERM and SIGINT, and waits for the first of them; returns its name.
///
/// Signals are caught from the call on, not from the first poll of the future.
pub(crate) fn asked_to_stop() -> io::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
