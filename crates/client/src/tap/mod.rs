//! A tap: every packet of a session, both ways, written to a file as it goes over the connection.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use postrider::Session;
//!
//! let session = Session::builder("mqtt://127.0.0.1:1883", "press-7").tap("press-7.tap").connect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `postrider packets press-7.tap` prints it; [`Records`] reads it. It is for finding out what happened: the driver writes
//! the file itself, without a buffer, so that it is complete when the process dies, and costs a system call for each read
//! and write of the connection.
//!
//! Passwords and authentication data are replaced by five asterisks. Payloads are there, up to 4 KiB of each packet; on Unix
//! only the user may read the file. At [`Builder::tap_bytes`] the first half goes: it becomes FILE.before, in place of the
//! one of before, and the file begins anew. A file that cannot be written is reported in the log, once, and no more is
//! written; the session goes on.

mod file;
mod frame;
mod record;
mod stream;
#[cfg(unix)]
mod unix;

use std::{path::PathBuf, sync::Arc};

use crate::{Builder, connector::Dialing};

pub(crate) use self::file::TapFile;
pub use self::record::{Record, Records, Taken, What};

/// What a builder knows of its tap.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    path: Option<PathBuf>,
    bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { path: None, bytes_max: BYTES_MAX }
    }
}

/// Most bytes of a tap and the part before it; what fits into a mail.
const BYTES_MAX: u64 = 64 << 20;
/// The least that may be asked for.
const BYTES_MIN: u64 = 64 << 10;

impl<S> Builder<S> {
    /// Writes every packet, both ways, to this file, which is begun anew. See [`crate::tap`]. A file that cannot be written
    /// is logged as an error, and the session goes on without it.
    #[must_use]
    pub fn tap(mut self, path: impl Into<PathBuf>) -> Self {
        self.tap.path = Some(path.into());
        self
    }

    /// Most bytes on disk for [`Builder::tap`], with the part that is kept as FILE.before; at least 64 KiB. Default 64 MiB.
    #[must_use]
    pub fn tap_bytes(mut self, bytes_max: u64) -> Self {
        self.tap.bytes_max = bytes_max.max(BYTES_MIN);
        self
    }
}

impl Settings {
    /// The file, begun anew; `None` if none was asked for.
    pub(crate) fn open(self) -> Option<Arc<TapFile>> {
        let path = self.path?;
        Some(Arc::new(TapFile::create(path, self.bytes_max)))
    }
}

/// Taps the stream that an attempt will give.
pub(crate) fn on(tap: Option<&Arc<TapFile>>, server: &str, dialing: Dialing) -> Dialing {
    let Some(tap) = tap.map(Arc::clone) else { return dialing };
    let server = server.to_owned();
    Box::pin(async move { dialing.await.map(|stream| stream::tapped(stream, tap, &server)) })
}
