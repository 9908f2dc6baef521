//! Bytes of one direction, cut into packets, of which the beginning is kept and secrets are not.

use bytes::{Bytes, BytesMut};
use postrider_proto::wire::{
    Decoder, DecoderConfig, Event, PACKET_SIZE_MAX, Packet, Properties, Property, Version, encode,
};

/// Cuts the bytes of one direction into packets.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// What is kept of the packet that is on its way.
    kept: Vec<u8>,
    /// Its length, once its head is there.
    packet_len: Option<u64>,
    /// Bytes of it that came.
    came: u64,
}

/// A packet that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) packet_len: u64,
    pub(super) bytes: Bytes,
    /// The version that a CONNECT asks for.
    pub(super) version: Option<Version>,
}

/// Bytes of a packet that are kept.
pub(super) const KEPT_MAX: usize = 4096;
/// The same where a secret may stand, which can be blanked only in a whole packet.
const SECRET_MAX: usize = 256 * 1024;
/// What stands in place of a secret.
const BLANK: &[u8] = b"*****";

impl Frames {
    /// Takes bytes; hands out the packets that they complete.
    pub(super) fn take(&mut self, mut bytes: &[u8], version: &mut Option<Version>) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some((&first, rest)) = bytes.split_first() {
            let Some(packet_len) = self.packet_len else {
                // The head, byte by byte: there are at most five.
                self.kept.push(first);
                self.came += 1;
                bytes = rest;
                self.packet_len = length(&self.kept);
                frames.extend(self.finish(version));
                continue;
            };
            let left = packet_len.saturating_sub(self.came);
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (taken, rest) = bytes.split_at(count);
            let room = self.kept_max().saturating_sub(self.kept.len());
            self.kept.extend_from_slice(taken.get(..room.min(count)).unwrap_or_default());
            self.came += count as u64;
            bytes = rest;
            frames.extend(self.finish(version));
        }
        frames
    }

    /// A packet that the connection has cut off.
    pub(super) fn rest(&mut self, version: &mut Option<Version>) -> Option<Frame> {
        (self.came > 0).then(|| self.cut(version))
    }

    fn finish(&mut self, version: &mut Option<Version>) -> Option<Frame> {
        let is_whole = self.packet_len.is_some_and(|len| self.came >= len);
        is_whole.then(|| self.cut(version))
    }

    fn cut(&mut self, version: &mut Option<Version>) -> Frame {
        let (is_secret, came) = (self.has_secret(), self.came);
        let packet_len = self.packet_len.take().unwrap_or(came);
        let kept = std::mem::take(&mut self.kept);
        self.came = 0;
        if !is_secret {
            return Frame { packet_len, bytes: kept.into(), version: *version };
        }
        let blanked = blanked(&kept, version);
        Frame { packet_len, bytes: blanked.unwrap_or_default(), version: *version }
    }

    fn kept_max(&self) -> usize {
        if self.has_secret() { SECRET_MAX } else { KEPT_MAX }
    }

    /// CONNECT, CONNACK and AUTH.
    fn has_secret(&self) -> bool {
        matches!(self.kept.first().map(|first| first >> 4), Some(1 | 2 | 15))
    }
}

/// Length of a packet with its head, if that is there. What is no head counts as a packet of its own, for people to see.
fn length(head: &[u8]) -> Option<u64> {
    let mut value = 0;
    for (index, byte) in head.iter().skip(1).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 || index == 3 {
            return Some(value + index as u64 + 2);
        }
    }
    None
}

/// The packet without its secrets; `None` if it cannot be read, so that nobody knows where they are.
fn blanked(bytes: &[u8], version: &mut Option<Version>) -> Option<Bytes> {
    let config = DecoderConfig {
        packet_size_max: PACKET_SIZE_MAX,
        stream_above: u32::MAX,
        is_topic_lenient: true,
    };
    let mut input = BytesMut::from(bytes);
    let is_connect = bytes.first() == Some(&0x10);
    let known = version.filter(|_| !is_connect);
    let Ok(Some(Event::Packet(mut packet))) = Decoder::new(config, known).decode(&mut input) else {
        return None;
    };
    if let Packet::Connect(connect) = &mut packet {
        *version = Some(connect.version);
        connect.password = connect.password.take().map(|_| Bytes::from_static(BLANK));
        blank(&mut connect.properties);
    } else if let Packet::ConnAck(connack) = &mut packet {
        blank(&mut connack.properties);
    } else if let Packet::Auth(auth) = &mut packet {
        blank(&mut auth.properties);
    }
    let mut blanked = Vec::new();
    encode(&packet, (*version)?, PACKET_SIZE_MAX, &mut blanked).ok()?;
    Some(blanked.into())
}

fn blank(properties: &mut Properties) {
    if properties.authentication_data().is_some() {
        properties.set(Property::AuthenticationData(Bytes::from_static(BLANK)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever pieces the bytes come in.
    #[test]
    fn packets_are_cut_and_only_their_beginning_is_kept() {
        let mut large = vec![0x30, 0x88, 0x27];
        large.extend([0, 1, b'a']);
        large.resize(3 + 5000, b'x');
        let stream = [&[0xc0, 0][..], &large, &[0x40, 2, 0, 1]].concat();
        for size in [1, 2, 7, 4096, 10_000] {
            let (mut frames, mut version, mut all) = (Frames::default(), Some(Version::V5), vec![]);
            for piece in stream.chunks(size) {
                all.extend(frames.take(piece, &mut version));
            }
            let lens: Vec<_> = all.iter().map(|it| (it.packet_len, it.bytes.len())).collect();
            assert_eq!(lens, [(2, 2), (5003, KEPT_MAX), (4, 4)], "pieces of {size}");
            assert_eq!(frames.rest(&mut version), None);
        }
    }

    #[test]
    fn a_packet_that_is_cut_off_is_kept_as_far_as_it_came() {
        let (mut frames, mut version) = (Frames::default(), None);
        assert_eq!(frames.take(&[0x30, 9, 0, 1, b'a'], &mut version), []);
        let rest = frames.rest(&mut version).unwrap();
        assert_eq!((rest.packet_len, rest.bytes.len()), (11, 5));
    }

    #[test]
    fn a_connect_that_cannot_be_read_is_not_kept() {
        let (mut frames, mut version) = (Frames::default(), None);
        let frame = frames.take(b"\x10\x06secret", &mut version).remove(0);
        assert_eq!((frame.packet_len, frame.bytes.len()), (8, 0));
    }
}
