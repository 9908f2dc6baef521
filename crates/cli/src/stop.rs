//! Being asked to stop, on every system.

#[cfg(unix)]
pub(crate) use crate::unix::asked_to_stop;

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub(crate) fn asked_to_stop() -> std::io::Result<impl Future<Output = &'static str>> {
    Ok(async { tokio::signal::ctrl_c().await.map_or("an error", |()| "Ctrl-C") })
}
