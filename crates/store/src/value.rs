//! Values in memory: small ones in place, so that they hold no batch.

use bytes::Bytes;

/// A value. A large one shares the batch in which it came; a small one would keep a whole batch for a few bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Short(u8, [u8; SHORT_LEN]),
    Shared(Bytes),
}

const SHORT_LEN: usize = 22;

impl Value {
    /// The value that lies in `batch` from the first to before the second of these places.
    pub(crate) fn within(batch: &Bytes, (from, to): (usize, usize)) -> Self {
        let short = batch.get(from..to).and_then(Self::short);
        short.unwrap_or_else(|| Self::Shared(batch.slice(from..to)))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Shared(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Short(len, _) => usize::from(*len),
            Self::Shared(bytes) => bytes.len(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        match self {
            Self::Short(..) => Bytes::copy_from_slice(self.bytes()),
            Self::Shared(bytes) => bytes.clone(),
        }
    }

    fn short(bytes: &[u8]) -> Option<Self> {
        let mut short = [0; SHORT_LEN];
        short.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self::Short(u8::try_from(bytes.len()).ok()?, short))
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::short(&bytes).unwrap_or(Self::Shared(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_hold_no_batch() {
        let batch = Bytes::from((0..100).collect::<Vec<u8>>());
        for len in 0..60 {
            let value = Value::within(&batch, (7, 7 + len));
            assert_eq!(value.bytes(), &batch[7..7 + len]);
            assert_eq!((value.len(), value.to_bytes()), (len, batch.slice(7..7 + len)));
            assert_eq!(value, Value::from(batch.slice(7..7 + len)));
            assert_eq!(matches!(value, Value::Shared(_)), len > SHORT_LEN);
        }
    }
}
