//! Strings, topic names, topic filters and client identifiers: types that cannot hold a wrong
//! value.

use core::{borrow::Borrow, fmt};

use bytes::Bytes;

/// A string of the standard: at most 65,535 bytes of UTF-8 without U+0000, shared and cheap to
/// clone. Equality, order and hash are those of the bytes. Spec: v5 section 1.5.4.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Bytes);

/// A topic name: a non-empty [`Text`] without `+` and `#`. Spec: v5 section 4.7.
///
/// One exception: a client's decoder may be told to let wildcard characters in received topics
/// pass, because RabbitMQ sends them (it turns `*` into `+`).
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
    ///
    /// Spec: v5 section 1.5.4 [MQTT-1.5.4-1] [MQTT-1.5.4-2], v3.1.1 section 1.5.3 [MQTT-1.5.3-1]
    /// [MQTT-1.5.3-2].
    pub fn from_bytes(bytes: Bytes) -> Result<Self, TextError> {
        scan(&bytes)?;
        Ok(Self(bytes))
    }

    /// Copies a string.
    ///
    /// # Errors
    /// As [`Text::from_bytes`].
    pub fn new(text: &str) -> Result<Self, TextError> {
        scan(text.as_bytes())?;
        Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
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

    /// The string. Checks the bytes again, since this crate has no unsafe code: not for the message
    /// path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// A copy that owns just its own bytes, for what outlives the read buffer.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// Whether it holds `+` or `#`.
    pub(crate) fn has_wildcard(&self) -> bool {
        wildcard_at(&self.0).is_some()
    }
}

impl Topic {
    /// Copies a topic name.
    ///
    /// # Errors
    /// [`TopicError`] names the offending byte.
    pub fn new(name: &str) -> Result<Self, TopicError> {
        Self::check(name.as_bytes())?;
        Ok(Self(Text(Bytes::copy_from_slice(name.as_bytes()))))
    }

    /// Takes a string without copying it.
    ///
    /// # Errors
    /// As [`Topic::new`].
    pub fn from_text(text: Text) -> Result<Self, TopicError> {
        if text.0.is_empty() {
            return Err(TopicError::Empty);
        }
        match wildcard_at(&text.0) {
            Some(at) => Err(TopicError::Wildcard(at)),
            None => Ok(Self(text)),
        }
    }

    /// Takes bytes without copying them.
    ///
    /// # Errors
    /// As [`Topic::new`].
    pub fn from_bytes(bytes: Bytes) -> Result<Self, TopicError> {
        Self::check(&bytes)?;
        Ok(Self(Text(bytes)))
    }

    /// As [`Topic::from_bytes`], but wildcard characters may pass.
    pub(crate) fn from_bytes_lenient(bytes: Bytes) -> Result<Self, TopicError> {
        match Self::check(&bytes) {
            Ok(()) | Err(TopicError::Wildcard(_)) => Ok(Self(Text(bytes))),
            Err(error @ (TopicError::Text(_) | TopicError::Empty)) => Err(error),
        }
    }

    /// The string behind it.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.0
    }

    fn check(bytes: &[u8]) -> Result<(), TopicError> {
        if bytes.is_empty() {
            return Err(TopicError::Empty);
        }
        let seen = scan(bytes).map_err(TopicError::Text)?;
        if !seen.has_wildcard {
            return Ok(());
        }
        wildcard_at(bytes).map_or(Ok(()), |at| Err(TopicError::Wildcard(at)))
    }
}

impl Filter {
    /// Copies a topic filter.
    ///
    /// # Errors
    /// [`FilterError`] names the offending byte.
    pub fn new(filter: &str) -> Result<Self, FilterError> {
        Self::check(filter.as_bytes())?;
        Ok(Self(Text(Bytes::copy_from_slice(filter.as_bytes()))))
    }

    /// Takes a string without copying it.
    ///
    /// # Errors
    /// As [`Filter::new`].
    pub fn from_text(text: Text) -> Result<Self, FilterError> {
        Self::check_shape(&text.0)?;
        Ok(Self(text))
    }

    /// Takes bytes without copying them.
    ///
    /// # Errors
    /// As [`Filter::new`].
    pub fn from_bytes(bytes: Bytes) -> Result<Self, FilterError> {
        Self::check(&bytes)?;
        Ok(Self(Text(bytes)))
    }

    /// The string behind it.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.0
    }

    /// Group and path of a shared filter, `None` for an ordinary one.
    ///
    /// Every version: 3.1 and 3.1.1 know no shared filters, but brokers offer them there in the
    /// same form. Spec: v5 section 4.8.2 [MQTT-4.8.2-1].
    #[must_use]
    pub fn share(&self) -> Option<Share<'_>> {
        let (group, path) = split_share(self.as_bytes())?;
        Some(Share {
            group: core::str::from_utf8(group).unwrap_or_default(),
            path: core::str::from_utf8(path).unwrap_or_default(),
        })
    }

    /// Whether it is a shared filter.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        split_share(self.as_bytes()).is_some()
    }

    /// The bytes that are matched against topics: behind `$share/group/`, or the whole filter.
    #[must_use]
    pub fn path_bytes(&self) -> &[u8] {
        let bytes = self.as_bytes();
        split_share(bytes).map_or(bytes, |(_, path)| path)
    }

    /// Whether the path has `+` or `#`.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        wildcard_at(self.path_bytes()).is_some()
    }

    /// Whether the path matches a topic. Spec: v5 section 4.7 [MQTT-4.7.2-1].
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        matches(self.path_bytes(), topic.as_bytes())
    }

    fn check(bytes: &[u8]) -> Result<(), FilterError> {
        scan(bytes).map_err(FilterError::Text)?;
        Self::check_shape(bytes)
    }

    fn check_shape(bytes: &[u8]) -> Result<(), FilterError> {
        let Some(shared) = bytes.strip_prefix(SHARE_PREFIX) else {
            return check_path(bytes, 0);
        };
        let Some(slash) = memchr::memchr(b'/', shared) else { return Err(FilterError::Share) };
        let (group, path) = shared.split_at(slash);
        if group.is_empty() || wildcard_at(group).is_some() {
            return Err(FilterError::Share);
        }
        check_path(path.get(1..).unwrap_or_default(), SHARE_PREFIX.len() + slash + 1)
    }
}

impl ClientId {
    /// Copies a client identifier.
    ///
    /// # Errors
    /// As [`Text::new`].
    pub fn new(id: &str) -> Result<Self, TextError> {
        Text::new(id).map(Self)
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

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(len) => write!(f, "string of {len} bytes is longer than 65535"),
            Self::NotUtf8(at) => write!(f, "string is not UTF-8 at byte {at}"),
            Self::Nul(at) => write!(f, "string holds U+0000 at byte {at}"),
        }
    }
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(error) => write!(f, "topic name: {error}"),
            Self::Empty => f.write_str("topic name is empty"),
            Self::Wildcard(at) => write!(f, "topic name has a wildcard at byte {at}"),
        }
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(error) => write!(f, "topic filter: {error}"),
            Self::Empty => f.write_str("topic filter is empty"),
            Self::MultiLevel(at) => {
                write!(f, "topic filter has a '#' at byte {at} that is not the whole last level")
            }
            Self::SingleLevel(at) => {
                write!(f, "topic filter has a '+' at byte {at} that does not fill its level")
            }
            Self::Share => f.write_str("shared topic filter is not of the form $share/name/filter"),
        }
    }
}

impl core::error::Error for TextError {}
impl core::error::Error for TopicError {}
impl core::error::Error for FilterError {}

/// What one pass over the bytes of a string saw.
struct Seen {
    has_wildcard: bool,
}

/// Checks the rules of every string and looks for wildcards, eight bytes at a time.
fn scan(bytes: &[u8]) -> Result<Seen, TextError> {
    if bytes.len() > TEXT_LEN_MAX {
        return Err(TextError::TooLong(bytes.len()));
    }
    let mut high = 0;
    let mut zero = 0;
    let mut wild = 0;
    let mut see = |word: u64| {
        high |= word;
        zero |= zero_bytes(word);
        // '#' and '+' differ in this one bit only.
        wild |= zero_bytes((word | every(0x08)) ^ every(b'+'));
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        see(u64::from_le_bytes(*word));
    }
    match bytes.last_chunk::<8>() {
        Some(last) if !rest.is_empty() => see(u64::from_le_bytes(*last)),
        Some(_) => {}
        None => see(rest.iter().fold(every(b'a'), |word, &byte| word << 8 | u64::from(byte))),
    }
    if high & every(0x80) != 0 {
        core::str::from_utf8(bytes).map_err(|error| TextError::NotUtf8(error.valid_up_to()))?;
    }
    if zero != 0 {
        return Err(TextError::Nul(memchr::memchr(0, bytes).unwrap_or_default()));
    }
    Ok(Seen { has_wildcard: wild != 0 })
}

/// A word with `byte` in each of its eight places.
const fn every(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Not 0 exactly if one of the eight bytes is 0.
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(every(1)) & !word & every(0x80)
}

fn wildcard_at(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'+', b'#', bytes)
}

/// Group and path of a checked shared filter.
fn split_share(filter: &[u8]) -> Option<(&[u8], &[u8])> {
    let shared = filter.strip_prefix(SHARE_PREFIX)?;
    let (group, path) = shared.split_at_checked(memchr::memchr(b'/', shared)?)?;
    Some((group, path.get(1..)?))
}

/// Checks the wildcards of a path that begins at byte `base` of its filter.
fn check_path(path: &[u8], base: usize) -> Result<(), FilterError> {
    if path.is_empty() {
        return Err(FilterError::Empty);
    }
    let mut from = 0;
    while let Some(found) = path.get(from..).and_then(wildcard_at) {
        let at = from + found;
        let is_level_start = at == 0 || path.get(at - 1) == Some(&b'/');
        match (path.get(at), path.get(at + 1)) {
            (Some(b'+'), None | Some(b'/')) if is_level_start => {}
            (Some(b'+'), _) => return Err(FilterError::SingleLevel(base + at)),
            (_, None) if is_level_start => {}
            _ => return Err(FilterError::MultiLevel(base + at)),
        }
        from = at + 1;
    }
    Ok(())
}

/// Whether the path of a filter matches a topic name, level by level, on the raw bytes.
fn matches(path: &[u8], topic: &[u8]) -> bool {
    let is_wild_first = matches!(path.first(), Some(b'+' | b'#'));
    if is_wild_first && topic.first() == Some(&b'$') {
        return false;
    }
    let mut levels = topic.split(|&byte| byte == b'/');
    for pattern in path.split(|&byte| byte == b'/') {
        // '#' stands for its parent level too, so it matches when the topic has ended.
        if pattern == b"#" {
            return true;
        }
        match levels.next() {
            Some(level) if pattern == b"+" || pattern == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Longest string in bytes: its length is sent in two.
const TEXT_LEN_MAX: usize = 65_535;
const SHARE_PREFIX: &[u8] = b"$share/";

macro_rules! shown_as_text {
    ($($name:ty),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

macro_rules! compares_as_bytes {
    ($($name:ty),*) => {$(
        // Equality, order and hash are those of the bytes, so maps can be asked with a borrowed
        // slice.
        impl Borrow<[u8]> for $name {
            fn borrow(&self) -> &[u8] {
                self.as_bytes()
            }
        }
        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }
        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }
    )*};
}
compares_as_bytes!(Text, Topic, Filter, ClientId);
