//! What a message carries.

use bytes::{Bytes, BytesMut};

/// The payload of a message to publish: any bytes, 0 to 268,435,455 of them less the head of the packet.
///
/// Owned bytes ([`Bytes`], [`Vec<u8>`], [`String`]) are taken without copying; borrowed ones are copied once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(pub(crate) Bytes);

impl Payload {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has length zero; such a retained message clears what is retained.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<&Bytes> for Payload {
    fn from(bytes: &Bytes) -> Self {
        Self(bytes.clone())
    }
}

impl From<BytesMut> for Payload {
    fn from(bytes: BytesMut) -> Self {
        Self(bytes.freeze())
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&String> for Payload {
    fn from(text: &String) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl From<&Vec<u8>> for Payload {
    fn from(bytes: &Vec<u8>) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Payload {
    fn from(bytes: &[u8; N]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for Payload {
    fn from(bytes: [u8; N]) -> Self {
        Self(Bytes::copy_from_slice(&bytes))
    }
}
