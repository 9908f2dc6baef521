//! Standard output, written by a thread of its own: a reader that pauses must not keep the session from its pings.

use std::{
    io::{self, Write},
    thread,
};

use postrider::{Message, PayloadReader};
use tokio::sync::{mpsc, oneshot};

/// Takes messages and writes them to standard output in large pieces, each flushed; then the messages of the piece are
/// acknowledged. What was not written stays unacknowledged, and comes again to who takes up the session.
#[derive(Debug)]
pub(crate) struct Printer {
    pending: Piece,
    pieces: mpsc::Sender<Piece>,
    result: oneshot::Receiver<io::Result<()>>,
}

/// What is written at once, and the messages that it is made of.
#[derive(Debug, Default)]
struct Piece {
    sheet: Sheet,
    messages: Vec<Message>,
    /// What the messages take in memory.
    bytes: usize,
}

/// What is to be printed. Large payloads are read from their files while they are printed.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    /// Large payloads, each with what comes before it.
    parts: Vec<(Vec<u8>, PayloadReader, Shape)>,
    /// What comes last.
    pub(crate) text: Vec<u8>,
}

/// How a payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Raw,
    Hex,
    HexCapital,
}

impl Shape {
    /// Appends bytes in this shape.
    pub(crate) fn append(self, bytes: &[u8], out: &mut Vec<u8>) {
        let digits = match self {
            Self::Raw => return out.extend_from_slice(bytes),
            Self::Hex => b"0123456789abcdef",
            Self::HexCapital => b"0123456789ABCDEF",
        };
        let digit = |at: u8| digits.get(usize::from(at)).copied().unwrap_or(b'?');
        out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    }
}

impl Sheet {
    /// Adds the payload of a message.
    pub(crate) fn add_payload(&mut self, message: &Message, shape: Shape) {
        let is_small = message.payload_len() < LARGE;
        match is_small.then(|| message.payload()) {
            Some(Ok(payload)) => shape.append(&payload, &mut self.text),
            // Read when its turn comes; so is the reason why it cannot be.
            Some(Err(_)) | None => {
                self.parts.push((std::mem::take(&mut self.text), message.reader(), shape));
            }
        }
    }

    /// Writes it all.
    ///
    /// # Errors
    /// What the system says of a write, or of a payload's file.
    pub(crate) fn write_to(self, out: &mut impl Write) -> io::Result<()> {
        for (text, mut payload, shape) in self.parts {
            out.write_all(&text)?;
            copy(&mut payload, shape, out)?;
        }
        out.write_all(&self.text)
    }
}

impl Piece {
    fn is_full(&self) -> bool {
        !self.sheet.parts.is_empty() || self.sheet.text.len().max(self.bytes) >= PIECE_BYTES
    }

    /// Writes it all, and acknowledges in the order of arrival.
    fn write(self) -> io::Result<()> {
        // Not for longer: packets are told there too.
        let mut out = io::stdout().lock();
        self.sheet.write_to(&mut out)?;
        out.flush()?;
        drop(out);
        // Whether the session is still there is told elsewhere.
        self.messages.iter().for_each(|message| drop(message.ack()));
        Ok(())
    }
}

fn copy(payload: &mut PayloadReader, shape: Shape, out: &mut impl Write) -> io::Result<()> {
    // `io::copy` would take pieces of 8 KiB.
    let (mut piece, mut shaped) = (vec![0; PIECE_BYTES], Vec::new());
    loop {
        let count = io::Read::read(payload, &mut piece)?;
        let read = piece.get(..count).unwrap_or_default();
        if read.is_empty() {
            return Ok(());
        }
        shaped.clear();
        shape.append(read, &mut shaped);
        out.write_all(&shaped)?;
    }
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
        Ok(Self { pending: Piece::default(), pieces, result })
    }

    /// Adds a message as `write` has it, which may be nothing; waits while the thread has enough to write.
    ///
    /// # Errors
    /// Nothing can be written any more; [`Printer::finish`] tells why.
    pub(crate) async fn add(
        &mut self,
        message: Message,
        write: impl FnOnce(&Message, &mut Sheet),
    ) -> Result<(), Closed> {
        write(&message, &mut self.pending.sheet);
        self.pending.bytes += size_of::<Message>() + message.payload_len();
        self.pending.messages.push(message);
        if self.pending.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Hands what was added to the thread.
    ///
    /// # Errors
    /// As [`Printer::add`].
    pub(crate) async fn flush(&mut self) -> Result<(), Closed> {
        if self.pending.messages.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.pending);
        self.pieces.send(piece).await.map_err(|_| Closed)
    }

    /// Resolves when nothing can be written any more.
    pub(crate) async fn closed(&self) {
        self.pieces.closed().await;
    }

    /// Waits until all is written and acknowledged.
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

fn write(mut pieces: mpsc::Receiver<Piece>) -> io::Result<()> {
    while let Some(piece) = pieces.blocking_recv() {
        piece.write()?;
    }
    Ok(())
}

/// Pieces that wait to be written; more would only hide a slow reader.
const PIECES_MAX: usize = 4;
/// A payload of at least so many bytes is not copied.
const LARGE: usize = 1 << 20;
/// A piece of this size is worth a call of the system.
const PIECE_BYTES: usize = 64 * 1024;
