//! The log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts the log: warnings, and the broker's start and stop; with `verbosity` 1 connections too, with 2 decisions, with
/// 3 everything. The environment variable `RUST_LOG` overrides it.
pub(crate) fn start(verbosity: u8) {
    let default = match verbosity {
        0 => "warn,postrider_broker::broker=info",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let is_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(is_terminal);
    // It would say so on standard error, and panic: a full disk, or a reader that went away, would end the broker.
    log.with_env_filter(filter).log_internal_errors(false).init();
}

/// Starts the log if the environment variable `RUST_LOG` asks for one.
pub(crate) fn start_if_asked() {
    if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
        start(0);
    }
}
