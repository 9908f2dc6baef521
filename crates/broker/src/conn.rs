//! One connection: its stream, what was read and not yet understood, and how writing stands.

use std::{
    io::{self, IoSlice},
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use postrider_hub::{Hub, LinkId};
use postrider_net::Stream;
use postrider_proto::{Chunk, Durability, Time};
use postrider_store::StoreError;
use smallvec::SmallVec;
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::{
    ready::{Ready, Signal},
    vault::Vault,
};

/// A connection and what its driver knows about it.
pub(crate) struct Conn {
    pub(crate) link: LinkId,
    pub(crate) stream: Stream,
    /// Where it comes from, for the log.
    pub(crate) peer: String,
    /// What its acknowledgements rely on.
    pub(crate) mode: Durability,
    /// Bytes of a packet that is not complete, or bytes that the hub did not want yet. Mostly empty: reading goes into
    /// the driver's buffer, so an idle connection has none.
    pub(crate) input: BytesMut,
    pub(crate) signal: Arc<Signal>,
    waker: Waker,
    /// The hub wants no more bytes for now.
    pub(crate) is_paused: bool,
    /// The hub wants to see `input` again.
    pub(crate) has_unread: bool,
    /// The stream takes nothing; its waker will tell when it does.
    pub(crate) is_blocked: bool,
    /// It stands in the driver's list of connections to write to.
    pub(crate) is_dirty: bool,
    /// To be closed as soon as everything is written.
    pub(crate) is_closing: bool,
    /// The peer sent its last byte. What is written once more may still reach it.
    pub(crate) is_ended: bool,
}

/// How reading went.
pub(crate) enum Reading {
    /// The stream has nothing more; its waker will tell.
    Waits,
    /// The turn's share was read; there may be more.
    More,
    /// The peer sent its last byte.
    Ended,
    /// The stream failed.
    Failed(io::Error),
}

/// How writing went.
pub(crate) enum Writing {
    /// Everything is written.
    Done,
    /// The stream takes no more; its waker will tell.
    Blocked,
    /// The turn's share was written; there is more.
    More,
    /// The stream failed.
    Failed(io::Error),
    /// The large payload in this spool cannot be read.
    Unreadable(u64, StoreError),
}

impl Conn {
    pub(crate) fn new(
        link: LinkId,
        stream: Stream,
        peer: String,
        mode: Durability,
        ready: &Arc<Ready>,
    ) -> Self {
        let signal = Signal::new(link.slot, ready);
        Self {
            link,
            stream,
            peer,
            mode,
            input: BytesMut::new(),
            waker: Waker::from(Arc::clone(&signal)),
            signal,
            is_paused: false,
            has_unread: false,
            is_blocked: false,
            is_dirty: false,
            is_closing: false,
            is_ended: false,
        }
    }

    /// Whether bytes may be read for the hub.
    pub(crate) fn is_readable(&self) -> bool {
        !self.is_paused && !self.is_closing && !self.is_ended
    }

    /// Reads what is there, up to the share of one turn, and gives it to the hub. Adds the number of bytes to `read`.
    ///
    /// `shared` is the driver's buffer; it is used unless a part of a packet waits in the connection's own.
    pub(crate) fn read(
        &mut self,
        hub: &mut Hub,
        shared: &mut BytesMut,
        now: Time,
        read: &mut usize,
    ) -> Reading {
        if mem::take(&mut self.has_unread) {
            hub.handle_bytes(self.link, &mut self.input, now);
            if !hub.is_reading(self.link) {
                return Reading::Waits;
            }
        }
        for _ in 0..READS_PER_TURN {
            let has_own = !self.input.is_empty();
            let buffer = if has_own { &mut self.input } else { &mut *shared };
            if buffer.capacity() - buffer.len() < READ_BYTES_MIN {
                buffer.reserve(READ_BYTES);
            }
            let spare = buffer.capacity() - buffer.len();
            let mut cx = Context::from_waker(&self.waker);
            // `ReadBuf` keeps no state between polls, so it can be made anew for each.
            let taken = match pin!(self.stream.read_buf(buffer)).poll(&mut cx) {
                Poll::Pending => return Reading::Waits,
                Poll::Ready(Err(error)) => return Reading::Failed(error),
                Poll::Ready(Ok(0)) => return Reading::Ended,
                Poll::Ready(Ok(taken)) => taken,
            };
            *read += taken;
            hub.handle_bytes(self.link, buffer, now);
            if has_own {
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
            } else {
                self.keep(shared);
            }
            // Not beyond what the hub takes: the end of the stream must not overtake bytes that were not looked at.
            if !hub.is_reading(self.link) {
                return Reading::Waits;
            }
            if taken == spare {
                return Reading::More;
            }
        }
        Reading::More
    }

    /// Keeps what the hub left in the shared buffer.
    fn keep(&mut self, shared: &mut BytesMut) {
        if shared.len() > COPY_BYTES_MAX {
            self.input = mem::take(shared);
        } else if !shared.is_empty() {
            self.input = BytesMut::from(&shared[..]);
            shared.clear();
        }
    }

    /// Writes what the hub has for this link, up to the share of one turn.
    pub(crate) fn write(&mut self, hub: &mut Hub, vault: &Vault, now: Time) -> Writing {
        for _ in 0..WRITES_PER_TURN {
            let written = match self.write_once(hub, vault) {
                Ok(Some(Poll::Ready(Ok(0)))) => {
                    return Writing::Failed(io::ErrorKind::WriteZero.into());
                }
                Ok(Some(Poll::Ready(Ok(written)))) => written,
                Ok(Some(Poll::Ready(Err(error)))) => return Writing::Failed(error),
                Ok(Some(Poll::Pending)) => {
                    self.is_blocked = true;
                    return Writing::Blocked;
                }
                Ok(None) => return self.flush(),
                Err((spool, error)) => return Writing::Unreadable(spool, error),
            };
            hub.consume(self.link, written as u64, now);
        }
        Writing::More
    }

    /// Has the layers of the stream give away what they hold.
    fn flush(&mut self) -> Writing {
        let mut cx = Context::from_waker(&self.waker);
        match Pin::new(&mut self.stream).poll_flush(&mut cx) {
            Poll::Ready(Ok(())) => Writing::Done,
            Poll::Ready(Err(error)) => Writing::Failed(error),
            Poll::Pending => {
                self.is_blocked = true;
                Writing::Blocked
            }
        }
    }

    /// Tries one write; `None` if there is nothing to write.
    fn write_once(
        &mut self,
        hub: &Hub,
        vault: &Vault,
    ) -> Result<Option<Poll<io::Result<usize>>>, (u64, StoreError)> {
        let pieces = gather(hub, self.link, vault)?;
        let mut cx = Context::from_waker(&self.waker);
        let stream = Pin::new(&mut self.stream);
        Ok(match pieces.as_slice() {
            [] => None,
            [piece] => Some(stream.poll_write(&mut cx, piece.bytes())),
            pieces => {
                let slices: SmallVec<[IoSlice<'_>; SLICES_INLINE]> =
                    pieces.iter().map(|piece| IoSlice::new(piece.bytes())).collect();
                Some(stream.poll_write_vectored(&mut cx, &slices))
            }
        })
    }

    /// Asks the stream to flush and to send its last byte; true once that is done or can never be done.
    pub(crate) fn finish(&mut self) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        Pin::new(&mut self.stream).poll_shutdown(&mut cx).is_ready()
    }
}

/// Bytes to write: borrowed from the hub, or read from a spool.
enum Piece<'a> {
    Borrowed(&'a [u8]),
    Read(Bytes),
}

impl Piece<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Read(bytes) => bytes,
        }
    }
}

/// The first pieces of a link's output, for one system call.
fn gather<'a>(
    hub: &'a Hub,
    link: LinkId,
    vault: &Vault,
) -> Result<SmallVec<[Piece<'a>; SLICES_INLINE]>, (u64, StoreError)> {
    let mut pieces = SmallVec::new();
    for chunk in hub.chunks(link) {
        if pieces.len() >= SLICES_MAX {
            break;
        }
        match chunk {
            Chunk::Bytes([]) => {}
            Chunk::Bytes(bytes) => pieces.push(Piece::Borrowed(bytes)),
            Chunk::Spool { id, offset, len } => {
                let (mut at, end) = (u64::from(offset), u64::from(offset) + u64::from(len));
                let stop = end.min(at + SPOOL_BYTES);
                while at < stop && pieces.len() < SLICES_MAX {
                    let len = usize::try_from(stop - at).unwrap_or(usize::MAX);
                    let read = vault.spool_read(id.number(), at, len);
                    let bytes = match read {
                        Ok(bytes) => bytes,
                        Err(error) if pieces.is_empty() => return Err((id.number(), error)),
                        // What comes before it can be written.
                        Err(_) => return Ok(pieces),
                    };
                    at += bytes.len() as u64;
                    pieces.push(Piece::Read(bytes));
                }
                if at < end {
                    break;
                }
            }
        }
    }
    Ok(pieces)
}

/// Bytes for which room is made in a read buffer: enough that one call empties most sockets.
const READ_BYTES: usize = 64 * 1024;
/// Below this much room a new buffer is cheaper than many short reads.
const READ_BYTES_MIN: usize = 4 * 1024;
/// Up to this many unread bytes are copied out of the driver's buffer, which stays with the driver.
const COPY_BYTES_MAX: usize = 8 * 1024;
/// Reads of one connection before others get their turn. The second finds out, without a system call, that a socket is
/// empty.
const READS_PER_TURN: u32 = 2;
/// Writes to one connection before others get their turn.
const WRITES_PER_TURN: u32 = 8;
/// Slices of one write; the system's limit is 1024, and more than a few dozen gain nothing.
const SLICES_MAX: usize = 64;
/// Slices that need no allocation.
const SLICES_INLINE: usize = 8;
/// Bytes of a spool read for one write.
const SPOOL_BYTES: u64 = 256 * 1024;
