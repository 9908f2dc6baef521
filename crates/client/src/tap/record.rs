//! What stands in the file of a tap. `docs/tap.md` is its description.

use std::{
    io::{self, Read},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use postrider_proto::wire::Version;

use crate::Bytes;

/// One record of a tap.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// When, in microseconds, by the clock of the machine.
    pub time: SystemTime,
    /// Number of the connection, from 1.
    pub connection: u32,
    /// What happened.
    pub what: What,
}

/// What happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// It was opened.
    Opened {
        /// Where to: the URL without credentials.
        server: String,
    },
    /// A packet was sent.
    Sent(Taken),
    /// A packet was received.
    Received(Taken),
    /// It was closed, by whichever side.
    Closed,
}

/// A packet, as far as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Taken {
    /// Its length on the connection, in bytes.
    pub packet_len: u32,
    /// Its first bytes; none where a secret could not be blanked.
    pub bytes: Bytes,
    /// The version that is spoken; `None` before the CONNECT.
    pub version: Option<Version>,
}

/// Reads the records of a tap, in their order. The end of a file that was being written is no error.
#[derive(Debug)]
pub struct Records<R> {
    reader: R,
    has_head: bool,
    is_over: bool,
}

/// The first bytes of the file.
pub(super) const HEAD: &[u8] = b"postrider tap 1\n";
/// Bytes of a record before its data.
const FIXED: usize = 22;
/// Longest data of a record: what is kept of a CONNECT, and some more.
const DATA_MAX: usize = 1 << 20;

const OPENED: u8 = 0;
const SENT: u8 = 1;
const RECEIVED: u8 = 2;
const CLOSED: u8 = 3;

impl Record {
    pub(super) fn now(connection: u32, what: What) -> Self {
        Self { time: SystemTime::now(), connection, what }
    }

    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        let since = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let (kind, version, len, data): (u8, u8, u32, &[u8]) = match &self.what {
            What::Opened { server } => (OPENED, 0, 0, server.as_bytes()),
            What::Sent(taken) => (SENT, level(taken.version), taken.packet_len, &taken.bytes),
            What::Received(taken) => {
                (RECEIVED, level(taken.version), taken.packet_len, &taken.bytes)
            }
            What::Closed => (CLOSED, 0, 0, &[]),
        };
        into.extend_from_slice(&micros.to_be_bytes());
        into.extend_from_slice(&self.connection.to_be_bytes());
        into.extend_from_slice(&[kind, version]);
        into.extend_from_slice(&len.to_be_bytes());
        into.extend_from_slice(&u32::try_from(data.len()).unwrap_or_default().to_be_bytes());
        into.extend_from_slice(data);
    }
}

impl<R: Read> Records<R> {
    /// Reads from the beginning of a tap.
    pub fn new(reader: R) -> Self {
        Self { reader, has_head: false, is_over: false }
    }

    fn read(&mut self) -> io::Result<Option<Record>> {
        if !self.has_head {
            let mut head = [0; HEAD.len()];
            self.reader.read_exact(&mut head).map_err(|_| not_a_tap())?;
            if head != HEAD {
                return Err(not_a_tap());
            }
            self.has_head = true;
        }
        let mut fixed = [0; FIXED];
        if !fill(&mut self.reader, &mut fixed)? {
            return Ok(None);
        }
        let mut rest = fixed.as_slice();
        let micros = u64::from_be_bytes(part(&mut rest));
        let connection = u32::from_be_bytes(part(&mut rest));
        let [kind, version] = part(&mut rest);
        let packet_len = u32::from_be_bytes(part(&mut rest));
        let len = u32::from_be_bytes(part(&mut rest)) as usize;
        if len > DATA_MAX {
            return Err(damaged(format!("a record of {len} bytes")));
        }
        let mut data = vec![0; len];
        if !fill(&mut self.reader, &mut data)? {
            return Ok(None);
        }
        let taken = |data: Vec<u8>| {
            let version = from_level(version)?;
            Ok::<_, io::Error>(Taken { packet_len, bytes: data.into(), version })
        };
        let what = match kind {
            OPENED => What::Opened { server: String::from_utf8_lossy(&data).into_owned() },
            SENT => What::Sent(taken(data)?),
            RECEIVED => What::Received(taken(data)?),
            CLOSED => What::Closed,
            other => return Err(damaged(format!("a record of kind {other}"))),
        };
        let time = UNIX_EPOCH + Duration::from_micros(micros);
        Ok(Some(Record { time, connection, what }))
    }
}

impl<R: Read> Iterator for Records<R> {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<io::Result<Record>> {
        if self.is_over {
            return None;
        }
        let next = self.read().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Protocol level of a version; 0 for none. Spec: v5 section 3.1.2.2.
fn level(version: Option<Version>) -> u8 {
    match version {
        None => 0,
        Some(version) => version.level(),
    }
}

fn from_level(level: u8) -> io::Result<Option<Version>> {
    if level == 0 {
        return Ok(None);
    }
    let known = [Version::V31, Version::V311, Version::V5];
    let version = known.into_iter().find(|version| version.level() == level);
    version.map(Some).ok_or_else(|| damaged(format!("a packet of protocol level {level}")))
}

/// The next bytes of the fixed part, which has enough of them.
fn part<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (first, after) =
        rest.split_first_chunk().map_or(([0; N], [].as_slice()), |it| (*it.0, it.1));
    *rest = after;
    first
}

/// Fills `into`; false at the end of the file.
fn fill(reader: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn not_a_tap() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "not a tap: it does not begin with `postrider tap 1`",
    )
}

fn damaged(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the tap is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The description in docs/tap.md, byte by byte.
    #[test]
    fn a_record_is_what_the_page_says() {
        let taken = Taken {
            packet_len: 9,
            bytes: Bytes::from_static(b"\xc0\x00"),
            version: Some(Version::V5),
        };
        let time = UNIX_EPOCH + Duration::from_micros(0x0102);
        let record = Record { time, connection: 7, what: What::Received(taken) };
        let mut bytes = HEAD.to_vec();
        record.encode(&mut bytes);
        assert_eq!(
            bytes,
            *b"postrider tap 1\n\0\0\0\0\0\0\x01\x02\0\0\0\x07\x02\x05\0\0\0\x09\0\0\0\x02\xc0\x00"
        );
        let closed = Record { what: What::Closed, ..record.clone() };
        closed.encode(&mut bytes);
        let read: Vec<_> = Records::new(&bytes[..]).map(Result::unwrap).collect();
        assert_eq!(read, [record.clone(), closed]);
        // A process that died while it wrote.
        let read: Vec<_> = Records::new(&bytes[..bytes.len() - 1]).map(Result::unwrap).collect();
        assert_eq!(read, [record]);
    }

    #[test]
    fn what_is_no_tap_says_so_once() {
        let mut records = Records::new(&b"GIF89a and so on and on"[..]);
        assert!(records.next().unwrap().unwrap_err().to_string().contains("not a tap"));
        assert!(records.next().is_none());
        let mut wrong = HEAD.to_vec();
        wrong.extend([0xff; FIXED]);
        let error = Records::new(&wrong[..]).next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the tap is damaged: a record of 4294967295 bytes");
    }
}
