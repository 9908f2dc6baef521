//! What becomes of messages that a stream has no room for.

use crate::SubscribeRequest;

/// What becomes of a message for which a stream has no room, because its reader is too slow. See
/// [`SubscribeRequest::when_slow`]. Whatever is dropped is counted in [`crate::Stats`].
///
/// A message that the program would acknowledge itself ([`crate::Builder::manual_acknowledgement`]) counts as
/// acknowledged when it is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenSlow {
    /// Everything that arrives is held up, for at most [`crate::Builder::stall_budget`] and never while a verb waits for
    /// its answer; pings go on. After that a message at QoS 0 takes the place of the oldest one, and one at QoS 1 or 2 ends
    /// the stream with [`crate::StreamEnd::TooSlow`].
    #[default]
    Block,
    /// The oldest message goes, whatever its QoS. Nothing is ever held up for this stream.
    DropOldest,
    /// Of each topic only the last message waits, full or not; where more topics come than there is room for, the oldest
    /// message goes. Nothing is ever held up for this stream.
    KeepLatest,
    /// The stream ends at once, with [`crate::StreamEnd::TooSlow`]. Nothing is ever held up for it.
    Fail,
}

impl WhenSlow {
    /// Whether messages go out of the middle of the queue, so that a reader must not take them ahead.
    pub(crate) fn drops(self) -> bool {
        match self {
            Self::DropOldest | Self::KeepLatest => true,
            Self::Block | Self::Fail => false,
        }
    }
}

impl<S, F> SubscribeRequest<S, F> {
    /// What becomes of messages when the reader of this stream is too slow; default [`WhenSlow::Block`]. Other streams have
    /// policies of their own.
    pub fn when_slow(mut self, when_slow: WhenSlow) -> Self {
        self.when_slow = when_slow;
        self
    }
}
