//! One connection's byte stream: opening, reading, writing, closing.

use std::{
    future::Future,
    io::IoSlice,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use postrider_net::Stream;
use postrider_proto::{Chunk, Client};
use postrider_store::StoreError;
use smallvec::SmallVec;
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::{
    LinkReason,
    connector::{Dialed, Dialing, reason_of},
    intake::Intake,
    vault::Vault,
};

/// The byte stream of now, or the attempt to get one.
pub(crate) struct Line {
    state: State,
    /// An attempt waits until the stream before it is closed.
    dialing: Option<Dialing>,
    pub(crate) input: Intake,
    /// The first bytes of the stream, to tell people who answers there.
    first: SmallVec<[u8; 8]>,
    /// What is known about the end of the stream, or about why there is none.
    fault: Option<LinkReason>,
    is_flushed: bool,
    /// As the stream was told.
    low_water: usize,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
}

enum State {
    Closed,
    Open(Stream),
    /// Writes what is left, then says that nothing follows, then waits for the other side to close.
    Closing {
        stream: Stream,
        is_shut: bool,
    },
}

/// What a write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// So many bytes.
    Bytes(u64),
    /// The stream is of no more use.
    Broken,
    /// Closed as it should be.
    Closed,
    /// What comes next is in a spool that cannot be read.
    Unreadable(u64, StoreError),
}

/// What a read did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// There is more in [`Line::input`].
    Some,
    /// The stream ended or broke.
    End,
}

/// Bytes of a spool in one write.
const SPOOL_READ_MAX: usize = 64 * 1024;
/// Slices in one vectored write.
const SLICES_MAX: usize = 32;

impl Line {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Closed,
            dialing: None,
            input: Intake::new(),
            first: SmallVec::new(),
            fault: None,
            is_flushed: true,
            low_water: 1,
            bytes_sent: 0,
            bytes_received: 0,
        }
    }

    /// A new attempt begins: what is known about the one before says nothing about it.
    pub(crate) fn forget_fault(&mut self) {
        self.fault = None;
    }

    pub(crate) fn dial(&mut self, dialing: Dialing) {
        self.dialing = Some(dialing);
    }

    pub(crate) fn is_dialing(&self) -> bool {
        self.dialing.is_some()
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing { .. })
    }

    /// Whether the stream has passed on all that was written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.is_flushed
    }

    /// Begins to close: what is left is still written.
    pub(crate) fn hang_up(&mut self) {
        if let State::Open(stream) = std::mem::replace(&mut self.state, State::Closed) {
            self.state = State::Closing { stream, is_shut: false };
        }
    }

    /// Drops the stream.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
    }

    /// Drops the stream and the attempt.
    pub(crate) fn cut(&mut self) {
        self.state = State::Closed;
        self.dialing = None;
    }

    /// The first bytes that the other side sent.
    pub(crate) fn first_bytes(&self) -> &[u8] {
        &self.first
    }

    /// What is known about the end of the stream, or about why there is none.
    pub(crate) fn fault(&self) -> Option<&LinkReason> {
        self.fault.as_ref()
    }

    /// Polls the attempt; with a stream the line is open.
    pub(crate) fn poll_dial(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        if !self.is_closed() {
            return Poll::Pending;
        }
        let Some(dialing) = &mut self.dialing else { return Poll::Pending };
        let dialed: Dialed = std::task::ready!(dialing.as_mut().poll(cx));
        self.dialing = None;
        let stream = match dialed {
            Ok(stream) => stream,
            Err(fault) => {
                self.fault = fault.reason;
                return Poll::Ready(Err(fault.what));
            }
        };
        self.state = State::Open(stream);
        self.input.clear();
        self.first.clear();
        self.is_flushed = true;
        self.low_water = 1;
        Poll::Ready(Ok(()))
    }

    /// Says how many bytes a read is worth, with those that were read before.
    pub(crate) fn await_bytes(&mut self, bytes: u32) {
        let low_water = (bytes as usize).saturating_sub(self.input.bytes.len()).max(1);
        if low_water != self.low_water
            && let State::Open(stream) = &mut self.state
            && stream.set_low_water(low_water).is_ok()
        {
            self.low_water = low_water;
        }
    }

    /// Reads once, more at a time while there is more to read.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let State::Open(stream) = &mut self.state else { return Poll::Pending };
        self.input.make_room();
        let (spare, from) = (self.input.spare(), self.input.bytes.len());
        let read = std::task::ready!(pin!(stream.read_buf(&mut self.input.bytes)).poll(cx));
        let count = match read {
            Ok(count @ 1..) => count,
            Ok(0) => return Poll::Ready(Read::End),
            Err(error) => {
                self.fault = reason_of(&error);
                return Poll::Ready(Read::End);
            }
        };
        self.input.took(count, spare);
        self.bytes_received += count as u64;
        let wanted = self.first.inline_size() - self.first.len();
        if wanted > 0 {
            let fresh = self.input.bytes.get(from..).unwrap_or_default();
            self.first.extend_from_slice(fresh.get(..wanted.min(fresh.len())).unwrap_or_default());
        }
        Poll::Ready(Read::Some)
    }

    /// Writes what the machine has, in one call; goes on with closing once there is nothing.
    pub(crate) fn poll_write(
        &mut self,
        machine: &Client,
        vault: &Vault,
        cx: &mut Context<'_>,
    ) -> Poll<Written> {
        let stream = match &mut self.state {
            State::Closed => return Poll::Pending,
            State::Open(_) if self.is_flushed && machine.is_written() => return Poll::Pending,
            State::Open(stream) | State::Closing { stream, is_shut: false } => stream,
            State::Closing { stream, is_shut: true } => return poll_end(stream, cx),
        };
        let output = gather(machine, vault);
        if !matches!(output, Gathered::Nothing) {
            self.is_flushed = false;
        }
        let written = match &output {
            Gathered::Nothing => None,
            Gathered::Slices(slices) => {
                Some(std::task::ready!(Pin::new(&mut *stream).poll_write_vectored(cx, slices)))
            }
            Gathered::Loaded(bytes) => {
                Some(std::task::ready!(Pin::new(&mut *stream).poll_write(cx, bytes)))
            }
            Gathered::Unreadable(spool, error) => {
                return Poll::Ready(Written::Unreadable(*spool, error.clone()));
            }
        };
        match written {
            Some(Ok(count @ 1..)) => {
                self.bytes_sent += count as u64;
                return Poll::Ready(Written::Bytes(count as u64));
            }
            Some(Ok(0) | Err(_)) => {
                self.fault = last_words(stream, cx);
                return Poll::Ready(Written::Broken);
            }
            None => {}
        }
        if !self.is_flushed {
            match std::task::ready!(Pin::new(&mut *stream).poll_flush(cx)) {
                Ok(()) => self.is_flushed = true,
                Err(_) => {
                    self.fault = last_words(stream, cx);
                    return Poll::Ready(Written::Broken);
                }
            }
        }
        self.poll_shutdown(cx)
    }

    /// Closing, everything is written: says so to the other side.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Written> {
        let State::Closing { stream, is_shut } = &mut self.state else { return Poll::Pending };
        match std::task::ready!(Pin::new(&mut *stream).poll_shutdown(cx)) {
            Ok(()) => {
                *is_shut = true;
                poll_end(stream, cx)
            }
            Err(_) => Poll::Ready(Written::Broken),
        }
    }
}

/// What the other side said before it hung up on us: in TLS 1.3 a server judges our certificate when we write already.
fn last_words(stream: &mut Stream, cx: &mut Context<'_>) -> Option<LinkReason> {
    let mut scratch = [0; 1024];
    loop {
        match pin!(stream.read(&mut scratch)).poll(cx) {
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Ok(0)) | Poll::Pending => return None,
            Poll::Ready(Err(error)) => return reason_of(&error),
        }
    }
}

/// Throws away what still comes, until the other side closes. To close first, with bytes unread, would reset the
/// connection and could take our last packet with it.
fn poll_end(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Written> {
    let mut scratch = [0; 1024];
    loop {
        match std::task::ready!(pin!(stream.read(&mut scratch)).poll(cx)) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Poll::Ready(Written::Closed),
        }
    }
}

/// What one write takes.
#[expect(clippy::large_enum_variant, reason = "lives on the stack for one write")]
enum Gathered<'a> {
    Nothing,
    Slices(SmallVec<[IoSlice<'a>; SLICES_MAX]>),
    /// A piece of a spool.
    Loaded(Bytes),
    /// A spool that cannot be read.
    Unreadable(u64, StoreError),
}

/// What to write next: slices of the machine, or a piece of a spool where that comes first.
fn gather<'a>(machine: &'a Client, vault: &Vault) -> Gathered<'a> {
    let mut slices = SmallVec::new();
    for chunk in machine.chunks() {
        match chunk {
            Chunk::Bytes(bytes) => slices.push(IoSlice::new(bytes)),
            Chunk::Spool { id, offset, len } if slices.is_empty() => {
                let len = usize::try_from(len).unwrap_or(SPOOL_READ_MAX).min(SPOOL_READ_MAX);
                let loaded = vault.spool_read(id.number(), u64::from(offset), len);
                return match loaded {
                    Ok(bytes) => Gathered::Loaded(bytes),
                    Err(error) => Gathered::Unreadable(id.number(), error),
                };
            }
            Chunk::Spool { .. } => break,
        }
        if slices.len() == SLICES_MAX {
            break;
        }
    }
    if slices.is_empty() { Gathered::Nothing } else { Gathered::Slices(slices) }
}

/// What a stream looks like whose first bytes are no CONNACK.
pub(crate) fn describe(first: &[u8]) -> String {
    match first {
        [0x15 | 0x16, 0x03, ..] => "it speaks TLS; this port wants mqtts, not mqtt".to_owned(),
        [b'H', b'T', b'T', b'P', ..] => "it speaks HTTP".to_owned(),
        [b'S', b'S', b'H', ..] => "it speaks SSH".to_owned(),
        [] => "it closed the connection without an answer".to_owned(),
        bytes => {
            let text: String = bytes.escape_ascii().to_string();
            format!("its first bytes are \"{text}\"")
        }
    }
}
