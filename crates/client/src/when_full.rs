//! What becomes of messages for which there is no room.

/// What becomes of a message for which a full queue has no room, without a connection. Whatever is dropped is counted in
/// [`crate::Stats`] and told to who waits for it, or by [`crate::Event::PublishFailed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// The publisher waits for room: for a connection, or until waiting messages expire.
    Wait,
    /// It fails with [`crate::PublishError::QueueFull`].
    #[default]
    Refuse,
    /// The oldest that waits is dropped, with [`crate::PublishError::Dropped`].
    DropOldest,
    /// It is dropped, with [`crate::PublishError::Dropped`].
    DropNewest,
    /// Without a connection one message of each topic waits, full or not: a later one takes its place
    /// ([`crate::PublishError::Superseded`]). Where more topics come than there is room, as [`WhenFull::Refuse`].
    KeepLatest,
}
