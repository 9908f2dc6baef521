//! What the router keeps for each filter of a subscriber, and how its keys tell subscribers apart.

use postrider_proto::wire::{QoS, SubscribeOptions};

/// What a subscriber wants of the messages that match one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// Subscription identifier; 0 if there is none.
    pub(crate) identifier: u32,
    /// How many retained messages this hub had taken when the subscription was made.
    pub(crate) since: u64,
    /// Whether retained messages for it are still on their way.
    pub(crate) is_replaying: bool,
}

/// Who is behind a key of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The session in this slot.
    Session(usize),
    /// The shared group in this slot.
    Share(usize),
    /// The hub with this index.
    Peer(u16),
}

impl Route {
    /// From what a client asked for.
    pub(crate) fn new(options: SubscribeOptions, identifier: Option<u32>, since: u64) -> Self {
        Self {
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            identifier: identifier.unwrap_or(0),
            since,
            is_replaying: false,
        }
    }

    /// For a group or a peer, which decide themselves.
    pub(crate) const fn any() -> Self {
        Self {
            qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: true,
            identifier: 0,
            since: 0,
            is_replaying: false,
        }
    }
}

impl Target {
    const SHARES: u64 = 1 << 40;
    const PEERS: u64 = 1 << 41;

    /// The key in the router.
    pub(crate) fn key(self) -> u64 {
        match self {
            Self::Session(slot) => slot as u64,
            Self::Share(slot) => Self::SHARES | slot as u64,
            Self::Peer(hub) => Self::PEERS | u64::from(hub),
        }
    }

    /// Reads a key back.
    #[inline]
    pub(crate) fn of(key: u64) -> Self {
        if key < Self::SHARES {
            Self::Session(key as usize)
        } else if key < Self::PEERS {
            Self::Share((key & !Self::SHARES) as usize)
        } else {
            Self::Peer((key & !Self::PEERS) as u16)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back() {
        for target in [
            Target::Session(0),
            Target::Session(usize::from(u16::MAX)),
            Target::Share(0),
            Target::Share(7),
            Target::Peer(0),
            Target::Peer(u16::MAX),
        ] {
            assert_eq!(Target::of(target.key()), target);
        }
    }
}
