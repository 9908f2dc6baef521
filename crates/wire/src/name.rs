//! Strings, topic names, topic filters and client identifiers: types that cannot hold a wrong value.

use bytes::Bytes;

/// A string of the standard: at most 65,535 bytes of UTF-8 without U+0000, shared and cheap to clone.
/// Equality, order and hash are those of the bytes. Spec: v5 section 1.5.4.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Bytes);

/// A topic name: a non-empty [`Text`] without `+` and `#`. Spec: v5 section 4.7.
///
/// One exception: a client's decoder may be told to let wildcard characters in received topics pass, because RabbitMQ
/// sends them (it turns `*` into `+`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Text);

/// A topic filter, possibly shared (`$share/group/filter`). Spec: v5 sections 4.7 and 4.8.2.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Filter(Text);

/// A client identifier; may be empty. Spec: v5 section 3.1.3.1.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Text);

/// The two parts of a shared filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// Share name.
    pub group: &'a str,
    /// The filter behind it.
    pub path: &'a str,
}

/// Why a string is not a [`Text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextError {
    /// Longer than 65,535 bytes; the length.
    TooLong(usize),
    /// Not UTF-8 from this byte on.
    NotUtf8(usize),
    /// U+0000 at this byte.
    Nul(usize),
}

/// Why a string is not a [`Topic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicError {
    /// Not a string of the standard.
    Text(TextError),
    /// Empty.
    Empty,
    /// `+` or `#` at this byte.
    Wildcard(usize),
}

/// Why a string is not a [`Filter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterError {
    /// Not a string of the standard.
    Text(TextError),
    /// Empty, or nothing behind `$share/group/`.
    Empty,
    /// `#` at this byte is not the whole last level.
    MultiLevel(usize),
    /// `+` at this byte does not fill its level.
    SingleLevel(usize),
    /// `$share` without a group name, or with a wildcard in it.
    Share,
}

impl Text {
    /// Takes bytes without copying them.
    ///
    /// # Errors
    /// [`TextError`] if they are too long, not UTF-8, or hold U+0000.
    pub fn from_bytes(_bytes: Bytes) -> Result<Self, TextError> {
        todo!()
    }

    /// Copies a string.
    ///
    /// # Errors
    /// As [`Text::from_bytes`].
    pub fn new(_text: &str) -> Result<Self, TextError> {
        todo!()
    }

    /// The bytes of the string; costs nothing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, shared; costs a reference count.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The string. Checks the bytes again, since this crate has no unsafe code: not for the message path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// A copy that owns just its own bytes, for what outlives the read buffer.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl Topic {
    /// Copies a topic name.
    ///
    /// # Errors
    /// [`TopicError`] names the offending byte.
    pub fn new(_name: &str) -> Result<Self, TopicError> {
        todo!()
    }

    /// Takes a string without copying it.
    ///
    /// # Errors
    /// As [`Topic::new`].
    pub fn from_text(_text: Text) -> Result<Self, TopicError> {
        todo!()
    }

    /// The string behind it.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.0
    }
}

impl Filter {
    /// Copies a topic filter.
    ///
    /// # Errors
    /// [`FilterError`] names the offending byte.
    pub fn new(_filter: &str) -> Result<Self, FilterError> {
        todo!()
    }

    /// Takes a string without copying it.
    ///
    /// # Errors
    /// As [`Filter::new`].
    pub fn from_text(_text: Text) -> Result<Self, FilterError> {
        todo!()
    }

    /// The string behind it.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.0
    }

    /// Group and path of a shared filter, `None` for an ordinary one.
    #[must_use]
    pub fn share(&self) -> Option<Share<'_>> {
        todo!()
    }

    /// The bytes that are matched against topics: behind `$share/group/`, or the whole filter.
    #[must_use]
    pub fn path_bytes(&self) -> &[u8] {
        todo!()
    }

    /// Whether the path has `+` or `#`.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        todo!()
    }

    /// Whether the path matches a topic. Spec: v5 section 4.7 [MQTT-4.7.2-1].
    #[must_use]
    pub fn matches(&self, _topic: &Topic) -> bool {
        todo!()
    }
}

impl ClientId {
    /// Copies a client identifier.
    ///
    /// # Errors
    /// As [`Text::new`].
    pub fn new(_id: &str) -> Result<Self, TextError> {
        todo!()
    }

    /// Takes a string without copying it.
    #[must_use]
    pub fn from_text(text: Text) -> Self {
        Self(text)
    }

    /// The string behind it.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.0
    }

    /// Whether it has length zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.as_bytes().is_empty()
    }
}

macro_rules! shown_as_text {
    ($($name:ty),*) => {$(
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Debug::fmt(self.as_str(), f)
            }
        }
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}
shown_as_text!(Text, Topic, Filter, ClientId);

macro_rules! reads_as_text {
    ($($name:ty),*) => {$(
        impl $name {
            /// The bytes of the string; costs nothing.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// The string; checks the bytes again, not for the message path.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// A copy that owns just its own bytes, for what outlives the read buffer.
            #[must_use]
            pub fn detached(&self) -> Self {
                Self(self.0.detached())
            }
        }
    )*};
}
reads_as_text!(Topic, Filter, ClientId);
