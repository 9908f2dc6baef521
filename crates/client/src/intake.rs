//! The buffers that a connection's bytes are read into.

use bytes::BytesMut;

/// What was read and is not a whole packet yet, with room to read more.
///
/// Messages are cut out of the buffer that they were read into, not copied, so a buffer is free once the program has
/// dropped them. To read into it again costs less than a new one, which the allocator may have given back to the system:
/// while the program has the messages of one buffer, the next ones are read into another, and the two go in turn.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) bytes: BytesMut,
    /// The buffer before: nothing of it is ours to read, but it may be free again. A message that is kept for long does
    /// not keep it here for longer, since it is replaced then.
    before: BytesMut,
    /// Size of a buffer, and of most reads.
    size: usize,
    /// Whether the buffer was made larger for a packet that did not fit.
    is_large: bool,
    /// Whether the last read took all the room there was.
    is_filled: bool,
}

/// First size of a buffer: an idle session costs no more, and a busy one has a larger one after a few reads.
const SIZE_MIN: usize = 512;
/// Largest size of a buffer, but for one packet that is larger: more does not make it faster.
const SIZE_MAX: usize = 64 * 1024;

impl Intake {
    pub(crate) fn new() -> Self {
        Self {
            bytes: BytesMut::new(),
            before: BytesMut::new(),
            size: SIZE_MIN,
            is_large: false,
            is_filled: false,
        }
    }

    /// Bytes that fit without a larger buffer.
    pub(crate) fn spare(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Makes room for a read.
    pub(crate) fn make_room(&mut self) {
        if self.spare() >= self.size / 4 {
            return;
        }
        let len = self.bytes.len();
        if len > self.size - self.size / 4 {
            self.bytes.reserve(self.size);
            self.is_large = true;
            return;
        }
        if self.bytes.try_reclaim(self.size - len) {
            return;
        }
        let mut next = if self.before.try_reclaim(self.size) {
            std::mem::take(&mut self.before)
        } else {
            BytesMut::with_capacity(self.size)
        };
        next.extend_from_slice(&self.bytes);
        let mut before = std::mem::replace(&mut self.bytes, next);
        before.clear();
        self.before = if self.is_large { BytesMut::new() } else { before };
        self.is_large = false;
    }

    /// A read took so much of the room: more at a time while there is more to read.
    pub(crate) fn took(&mut self, count: usize, spare: usize) {
        self.is_filled = count == spare;
        if self.is_filled && self.size < SIZE_MAX {
            self.size *= 2;
        }
    }

    /// Whether the last read took all the room there was, so that more is there; says so once.
    pub(crate) fn take_filled(&mut self) -> bool {
        std::mem::take(&mut self.is_filled)
    }

    /// Forgets what was read.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.is_filled = false;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Fills the buffer of a busy connection but for `left` bytes at its end, which are no whole packet yet, and takes
    /// the rest as a message.
    fn read(intake: &mut Intake, left: usize) -> Bytes {
        intake.make_room();
        let spare = intake.spare();
        intake.bytes.resize(intake.bytes.len() + spare, b'x');
        intake.bytes.split_to(intake.bytes.len() - left).freeze()
    }

    fn busy() -> Intake {
        let mut intake = Intake::new();
        for _ in 0..16 {
            let spare = intake.spare();
            intake.took(spare, spare);
        }
        intake
    }

    #[test]
    fn buffer_of_dropped_messages_is_read_into_again() {
        let mut intake = busy();
        let first = read(&mut intake, 100).as_ptr();
        for _ in 0..10 {
            let message = read(&mut intake, 100);
            assert_eq!(message.as_ptr(), first);
            assert_eq!(message.len(), SIZE_MAX - 100);
        }
    }

    #[test]
    fn two_buffers_go_in_turn_while_messages_of_one_are_held() {
        let mut intake = busy();
        let mut held = read(&mut intake, 100);
        let mut next = read(&mut intake, 100);
        let (one, other) = (held.as_ptr(), next.as_ptr());
        assert_ne!(one, other);
        for _ in 0..10 {
            held = next;
            next = read(&mut intake, 100);
            assert_eq!(held.len(), SIZE_MAX - 100);
            assert!([one, other].contains(&next.as_ptr()));
            assert_ne!(held.as_ptr(), next.as_ptr());
        }
    }

    #[test]
    fn message_that_is_kept_does_not_keep_its_buffer_here() {
        let mut intake = busy();
        let kept = read(&mut intake, 0);
        let messages = [read(&mut intake, 0), read(&mut intake, 0)];
        assert!(kept.is_unique(), "only the program has it");
        assert!(messages.iter().all(|message| message.len() == SIZE_MAX));
    }

    #[test]
    fn larger_buffer_for_one_packet_is_not_set_aside() {
        let mut intake = busy();
        let mut read_all = 0;
        while read_all < 10 * SIZE_MAX {
            intake.make_room();
            let spare = intake.spare();
            assert!(spare >= SIZE_MAX / 4);
            intake.bytes.resize(intake.bytes.len() + spare, b'x');
            read_all += spare;
        }
        let large = intake.bytes.split().freeze();
        let message = read(&mut intake, 0);
        assert!(large.is_unique(), "only the program has it");
        assert_eq!(message.len(), SIZE_MAX);
    }

    #[test]
    fn what_is_no_whole_packet_yet_moves_along() {
        let mut intake = busy();
        intake.make_room();
        intake.bytes.resize(intake.spare() - 3, b'x');
        intake.bytes.extend_from_slice(b"end");
        let held = intake.bytes.split_to(intake.bytes.len() - 3);
        intake.make_room();
        assert_eq!(&intake.bytes[..], b"end");
        assert!(intake.spare() > SIZE_MAX / 2);
        drop(held);
    }

    #[test]
    fn idle_connection_has_a_small_buffer() {
        let mut intake = Intake::new();
        intake.make_room();
        assert_eq!(intake.bytes.capacity(), SIZE_MIN);
        let spare = intake.spare();
        intake.took(spare - 1, spare);
        let message = read(&mut intake, 0);
        intake.make_room();
        assert_eq!(intake.bytes.capacity(), SIZE_MIN);
        drop(message);
    }
}
