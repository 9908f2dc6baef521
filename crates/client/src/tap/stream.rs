//! A byte stream that is tapped.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use postrider_net::Stream;
use postrider_proto::wire::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    file::TapFile,
    frame::{Frame, Frames},
    record::{Record, Taken, What},
};

/// A stream, and what is noted of it.
struct Tapped {
    inner: Stream,
    file: Arc<TapFile>,
    connection: u32,
    version: Option<Version>,
    sent: Frames,
    received: Frames,
}

/// Notes what goes over a stream.
pub(super) fn tapped(inner: Stream, file: Arc<TapFile>, server: &str) -> Stream {
    let connection = file.next_connection();
    let opened = What::Opened { server: server.to_owned() };
    file.write(&[Record::now(connection, opened)]);
    let (sent, received) = (Frames::default(), Frames::default());
    Stream::new(Tapped { inner, file, connection, version: None, sent, received })
}

impl Tapped {
    fn note_sent<'a>(&mut self, bytes: impl Iterator<Item = &'a [u8]>) {
        let mut records = Vec::new();
        for bytes in bytes {
            let frames = self.sent.take(bytes, &mut self.version);
            records.extend(frames.into_iter().map(|it| Record::now(self.connection, sent(it))));
        }
        self.file.write(&records);
    }

    fn note_received(&mut self, bytes: &[u8]) {
        let frames = self.received.take(bytes, &mut self.version);
        let records = frames.into_iter().map(|it| Record::now(self.connection, received(it)));
        self.file.write(&records.collect::<Vec<_>>());
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        let half_sent = self.sent.rest(&mut self.version).map(sent);
        let half_received = self.received.rest(&mut self.version).map(received);
        let ends = half_sent.into_iter().chain(half_received).chain([What::Closed]);
        let records: Vec<_> = ends.map(|what| Record::now(self.connection, what)).collect();
        self.file.write(&records);
    }
}

fn sent(frame: Frame) -> What {
    What::Sent(taken(frame))
}

fn received(frame: Frame) -> What {
    What::Received(taken(frame))
}

fn taken(frame: Frame) -> Taken {
    let packet_len = u32::try_from(frame.packet_len).unwrap_or(u32::MAX);
    Taken { packet_len, bytes: frame.bytes, version: frame.version }
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.note_received(buf.filled().get(before..).unwrap_or_default());
        result
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut left)) = result {
            let written = slices.iter().map(|slice| {
                let (taken, _) = slice.split_at(left.min(slice.len()));
                left -= taken.len();
                taken
            });
            self.note_sent(written);
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
