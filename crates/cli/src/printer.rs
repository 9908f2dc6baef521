//! Standard output, written by a thread of its own: a reader that pauses must not keep the session from its pings.

use std::{
    io::{self, Write},
    thread,
};

use tokio::sync::{mpsc, oneshot};

/// Takes bytes and writes them to standard output in large pieces, each flushed.
#[derive(Debug)]
pub(crate) struct Printer {
    pending: Vec<u8>,
    pieces: mpsc::Sender<Vec<u8>>,
    result: oneshot::Receiver<io::Result<()>>,
}

impl Printer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gave none.
    pub(crate) fn start() -> io::Result<Self> {
        let (pieces, taken) = mpsc::channel(PIECES_MAX);
        let (ended, result) = oneshot::channel();
        thread::Builder::new().name("postrider-printer".to_owned()).spawn(move || {
            // Nobody may be left who wants to know.
            let _ = ended.send(write(taken));
        })?;
        Ok(Self { pending: Vec::new(), pieces, result })
    }

    /// Adds what `write` appends; waits while the thread has enough to write.
    ///
    /// # Errors
    /// Nothing can be written any more; [`Printer::finish`] tells why.
    pub(crate) async fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Closed> {
        write(&mut self.pending);
        if self.pending.len() < PIECE_BYTES {
            return Ok(());
        }
        self.flush().await
    }

    /// Hands what was added to the thread.
    ///
    /// # Errors
    /// As [`Printer::add`].
    pub(crate) async fn flush(&mut self) -> Result<(), Closed> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.pending);
        self.pieces.send(piece).await.map_err(|_| Closed)
    }

    /// Resolves when nothing can be written any more.
    pub(crate) async fn closed(&self) {
        self.pieces.closed().await;
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// What the system said when it took no more.
    pub(crate) async fn finish(mut self) -> io::Result<()> {
        // If the thread has ended, its result says why.
        let _ = self.flush().await;
        drop(self.pieces);
        self.result.await.unwrap_or_else(|_| Err(io::Error::other("the printer ended")))
    }
}

/// Standard output takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

fn write(mut pieces: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(piece) = pieces.blocking_recv() {
        // Not for longer: packets are told there too.
        let mut out = io::stdout().lock();
        out.write_all(&piece)?;
        out.flush()?;
    }
    Ok(())
}

/// Pieces that wait to be written; more would only hide a slow reader.
const PIECES_MAX: usize = 4;
/// A piece of this size is worth a call of the system.
const PIECE_BYTES: usize = 64 * 1024;
