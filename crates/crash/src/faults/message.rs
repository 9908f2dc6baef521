//! Which message is which: every payload begins with its name.

use std::fmt;

/// A message: its number counts up from 1 for each publisher and QoS, which have a topic of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) publisher: u8,
    /// 1 or 2.
    pub(crate) qos: u8,
    pub(crate) number: u32,
}

impl Name {
    /// The name at the beginning of a payload.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let text = payload.get(..payload.len().min(NAME_LEN_MAX))?;
        Self::parse(str::from_utf8(text).ok()?)
    }

    /// A name as it is shown, with anything behind it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let publisher = words.next()?.parse().ok()?;
        let qos = words.next()?.parse().ok()?;
        let number = words.next()?.parse().ok()?;
        Some(Self { publisher, qos, number })
    }

    /// A payload of at least so many bytes.
    pub(crate) fn payload(self, len: usize) -> String {
        // What is behind the name must not look like a part of it.
        format!("{:<len$}", format!("{self} "))
    }

    pub(crate) fn topic(self) -> String {
        format!("faults/{}/{}", self.publisher, self.qos)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.publisher, self.qos, self.number)
    }
}

/// The longest name: three numbers and the spaces behind them.
const NAME_LEN_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_tells_its_name() {
        let name = Name { publisher: 3, qos: 2, number: 4_294_967_295 };
        for len in [0, 24, 25, 10_000] {
            let payload = name.payload(len);
            assert!(payload.len() >= len);
            assert_eq!(Name::read(payload.as_bytes()), Some(name));
        }
        assert_eq!(Name::read(b"3 2"), None);
        assert_eq!(Name::read(b"hello world !"), None);
        assert_eq!(name.topic(), "faults/3/2");
    }
}
