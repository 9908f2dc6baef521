//! A byte stream that is tapped.

use std::sync::Arc;

use postrider_net::{Stream, Watch};
use postrider_proto::wire::Version;

use super::{
    file::TapFile,
    frame::{Frame, Frames},
    record::{Record, Taken, What},
};

/// What is noted of a stream.
struct Tapped {
    file: Arc<TapFile>,
    connection: u32,
    version: Option<Version>,
    sent: Frames,
    received: Frames,
}

/// Notes what goes over a stream.
pub(super) fn tapped(stream: Stream, file: Arc<TapFile>, server: &str) -> Stream {
    let connection = file.next_connection();
    let opened = What::Opened { server: server.to_owned() };
    file.write(&[Record::now(connection, opened)]);
    let (sent, received) = (Frames::default(), Frames::default());
    stream.watched(Tapped { file, connection, version: None, sent, received })
}

impl Watch for Tapped {
    fn handle_sent(&mut self, pieces: &mut dyn Iterator<Item = &[u8]>) {
        let mut records = Vec::new();
        for bytes in pieces {
            let frames = self.sent.take(bytes, &mut self.version);
            records.extend(frames.into_iter().map(|it| Record::now(self.connection, sent(it))));
        }
        self.file.write(&records);
    }

    fn handle_received(&mut self, bytes: &[u8]) {
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
