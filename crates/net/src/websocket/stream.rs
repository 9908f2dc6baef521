//! A byte stream in binary frames. RFC 6455 sections 5 and 7.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    WebSocketError,
    frame::{HEAD_LEN_MAX, Head, Opcode, mask},
};
use crate::{Stream, stream::Layer};

/// Which end we are. Clients mask what they send. RFC 6455 section 5.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// A byte stream in binary frames.
pub(super) struct Framed {
    below: Stream,
    side: Side,
    // Reading.
    state: Reading,
    /// A head that is not whole, or the payload of a control frame.
    held: Vec<u8>,
    /// Payload that came with the answer to the opening.
    early: Vec<u8>,
    /// Whether a message goes on in another frame.
    is_open: bool,
    /// The other side has said that nothing follows.
    is_ended: bool,
    // Writing.
    out: Vec<u8>,
    out_at: usize,
    /// A control frame to send next; a later one takes its place.
    reply: Option<(Opcode, Vec<u8>)>,
    /// We have said that nothing follows.
    is_closed: bool,
    masks: Masks,
}

/// Where in a frame the next byte stands.
#[derive(Clone, Copy, Debug)]
enum Reading {
    Head,
    Data { left: u64, offset: u64, mask: Option<[u8; 4]> },
    Control { opcode: Opcode, left: u64, mask: Option<[u8; 4]> },
}

/// Unpredictable masks, drawn many at a time.
#[derive(Default)]
struct Masks(Vec<[u8; 4]>);

/// Most payload in a frame that we send: what is written waits in memory until it is gone.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Room that an idle connection keeps.
const KEPT_BYTES_MAX: usize = 4 * 1024;
/// Masks drawn at a time.
const MASKS: usize = 64;
/// Close codes. RFC 6455 section 7.4.1.
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;

impl Framed {
    /// An open WebSocket; `early` came after the answer that opened it.
    pub(super) fn open(below: Stream, side: Side, early: &[u8]) -> Result<Stream, WebSocketError> {
        let mut framed = Self {
            below,
            side,
            state: Reading::Head,
            held: Vec::new(),
            early: Vec::new(),
            is_open: false,
            is_ended: false,
            out: Vec::new(),
            out_at: 0,
            reply: None,
            is_closed: false,
            masks: Masks::default(),
        };
        let mut early = early.to_vec();
        let kept = framed.unframe(&mut early)?;
        early.truncate(kept);
        framed.early = early;
        Ok(Stream::layered(framed))
    }

    /// Takes frames apart in place: payload moves to the front. Returns its length.
    fn unframe(&mut self, bytes: &mut [u8]) -> Result<usize, WebSocketError> {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() && !self.is_ended {
            match &mut self.state {
                Reading::Head => {
                    self.held.extend(bytes.get(at));
                    at += 1;
                    if let Some(head) = Head::read(&self.held)? {
                        self.held.clear();
                        self.begin(head)?;
                    }
                }
                Reading::Data { left, offset, mask: key } => {
                    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    bytes.copy_within(at..at + len, kept);
                    if let (Some(key), Some(moved)) = (key, bytes.get_mut(kept..kept + len)) {
                        mask(moved, *key, *offset);
                    }
                    (at, kept) = (at + len, kept + len);
                    (*left, *offset) = (*left - len as u64, *offset + len as u64);
                    if *left == 0 {
                        self.state = Reading::Head;
                    }
                }
                Reading::Control { left, .. } => {
                    self.held.extend(bytes.get(at));
                    (at, *left) = (at + 1, *left - 1);
                    self.end_control();
                }
            }
        }
        Ok(kept)
    }

    fn begin(&mut self, head: Head) -> Result<(), WebSocketError> {
        if head.mask.is_some() == (self.side == Side::Client) {
            return Err(WebSocketError::Frame("a frame is masked or not, as it must not be"));
        }
        let Head { is_last, opcode, mask, len } = head;
        match (opcode, self.is_open) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {
                self.state = Reading::Control { opcode, left: len, mask };
                self.end_control();
                return Ok(());
            }
            // Spec: v5 section 6, [MQTT-6.0.0-1]: nothing but binary frames.
            (Opcode::Text, _) => return Err(WebSocketError::Frame(TEXT)),
            (Opcode::Binary, true) | (Opcode::Continuation, false) => {
                return Err(WebSocketError::Frame("a message begins inside of another"));
            }
            (Opcode::Binary, false) | (Opcode::Continuation, true) => {}
        }
        self.is_open = !is_last;
        if len > 0 {
            self.state = Reading::Data { left: len, offset: 0, mask };
        }
        Ok(())
    }

    /// Does what a control frame asks, once it is whole.
    fn end_control(&mut self) {
        let Reading::Control { opcode, left: 0, mask: key } = self.state else { return };
        let mut payload = std::mem::take(&mut self.held);
        if let Some(key) = key {
            mask(&mut payload, key, 0);
        }
        self.state = Reading::Head;
        match opcode {
            Opcode::Ping if !self.is_closed => self.reply = Some((Opcode::Pong, payload)),
            Opcode::Close => {
                self.is_ended = true;
                payload.truncate(2);
                self.say_close(payload);
            }
            Opcode::Ping | Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
    }

    /// Nothing of ours follows after this.
    fn say_close(&mut self, payload: Vec<u8>) {
        if !self.is_closed {
            self.is_closed = true;
            self.reply = Some((Opcode::Close, payload));
        }
    }

    /// Puts a frame into `out`.
    fn frame<'a>(
        &mut self,
        opcode: Opcode,
        len: usize,
        payload: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let key = match self.side {
            Side::Client => Some(self.masks.next()?),
            Side::Server => None,
        };
        self.out.reserve(HEAD_LEN_MAX + len);
        Head { is_last: true, opcode, mask: key, len: len as u64 }.write(&mut self.out);
        let from = self.out.len();
        for part in payload {
            let left = from + len - self.out.len();
            self.out.extend_from_slice(part.get(..left).unwrap_or(part));
        }
        if let (Some(key), Some(written)) = (key, self.out.get_mut(from..)) {
            mask(written, key, 0);
        }
        Ok(())
    }

    /// Gives everything to the stream below.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while let Some(rest) = self.out.get(self.out_at..).filter(|rest| !rest.is_empty()) {
                match ready!(Pin::new(&mut self.below).poll_write(cx, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    len => self.out_at += len,
                }
            }
            self.out.clear();
            self.out_at = 0;
            match self.reply.take() {
                Some((opcode, payload)) => {
                    self.frame(opcode, payload.len(), std::iter::once(payload.as_slice()))?;
                }
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        if self.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = slices.iter().map(|slice| slice.len()).sum::<usize>().min(FRAME_BYTES_MAX);
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        self.frame(Opcode::Binary, len, slices.iter().map(|slice| &**slice))?;
        // What cannot be written at once is written with what follows, or by a flush.
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(len))
    }

    /// Sends what a read made necessary, as far as that can be done now; the rest goes with the next read or write.
    fn answer(&mut self, cx: &mut Context<'_>) {
        if self.reply.is_none() && self.out_at == self.out.len() {
            return;
        }
        if let Poll::Ready(Ok(())) = self.poll_drain(cx) {
            // A stream that fails says so to the next read.
            let _ = Pin::new(&mut self.below).poll_flush(cx);
        }
    }
}

impl Masks {
    fn next(&mut self) -> io::Result<[u8; 4]> {
        if self.0.is_empty() {
            let mut bytes = [0; MASKS * 4];
            getrandom::fill(&mut bytes).map_err(io::Error::other)?;
            self.0.extend(bytes.as_chunks::<4>().0);
        }
        self.0.pop().ok_or_else(|| io::ErrorKind::Other.into())
    }
}

impl Layer for Framed {
    fn below(&mut self) -> &mut Stream {
        &mut self.below
    }

    fn kind(&self) -> &'static str {
        "websocket"
    }
}

impl AsyncRead for Framed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let len = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early[..len]);
            self.early.drain(..len);
            self.answer(cx);
            return Poll::Ready(Ok(()));
        }
        loop {
            self.answer(cx);
            if self.is_ended {
                return Poll::Ready(Ok(()));
            }
            let from = buffer.filled().len();
            ready!(Pin::new(&mut self.below).poll_read(cx, buffer))?;
            let fresh = buffer.filled_mut().get_mut(from..).unwrap_or_default();
            if fresh.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match self.unframe(fresh) {
                Ok(kept) => buffer.set_filled(from + kept),
                Err(error) => {
                    buffer.set_filled(from);
                    let is_text = error == WebSocketError::Frame(TEXT);
                    let code = if is_text { UNSUPPORTED_DATA } else { PROTOCOL_ERROR };
                    self.is_ended = true;
                    self.say_close(code.to_be_bytes().to_vec());
                    self.answer(cx);
                    let error = io::Error::new(io::ErrorKind::InvalidData, error);
                    return Poll::Ready(Err(error));
                }
            }
            self.answer(cx);
            if buffer.filled().len() > from {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Framed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        if self.out.capacity() > KEPT_BYTES_MAX {
            self.out = Vec::new();
        }
        Pin::new(&mut self.below).poll_flush(cx)
    }

    /// Sends a close frame. A client leaves closing the connection to the server. RFC 6455 section 7.1.1.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.say_close(NORMAL.to_be_bytes().to_vec());
        ready!(self.poll_drain(cx))?;
        match self.side {
            Side::Client => Pin::new(&mut self.below).poll_flush(cx),
            Side::Server => Pin::new(&mut self.below).poll_shutdown(cx),
        }
    }
}

const TEXT: &str = "a text frame, where MQTT wants binary ones";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::timeout,
    };

    use super::*;

    /// Who only reads has nothing to write the rest of an answer with.
    #[tokio::test]
    async fn a_pong_that_cannot_be_written_at_once_is_written_by_reading_on() {
        let (near, mut far) = duplex(64);
        let mut near = Framed::open(Stream::new(near), Side::Client, &[]).unwrap();
        let asking = async {
            far.write_all(&[0x89, 100]).await.unwrap();
            far.write_all(&[b'!'; 100]).await.unwrap();
            let mut pong = [0; 2 + 4 + 100];
            far.read_exact(&mut pong).await.unwrap();
            pong
        };
        let mut byte = [0];
        let pong = tokio::select! {
            read = near.read(&mut byte) => panic!("{read:?}"),
            pong = timeout(Duration::from_secs(10), asking) => pong.expect("a whole answer in time"),
        };
        assert_eq!(pong[..2], [0x8a, 0x80 | 100]);
    }
}
