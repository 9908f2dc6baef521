//! One connection: two lanes of bytes, each cut into pieces and delayed, order kept.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::Random;

/// Bytes on their way in one direction.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    under_way: VecDeque<(u64, Bytes)>,
    last_at: u64,
    /// What arrived and was not taken by the receiver yet.
    pub(crate) input: BytesMut,
}

/// A connection between a client and a link of a hub.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) client: usize,
    pub(crate) hub: u16,
    pub(crate) link: postrider_hub::LinkId,
    pub(crate) to_hub: Lane,
    pub(crate) to_client: Lane,
    /// Nothing arrives before this time.
    pub(crate) stalled_until: u64,
    /// The hub does not want to read.
    pub(crate) is_paused: bool,
    pub(crate) is_client_open: bool,
    pub(crate) is_hub_open: bool,
}

impl Lane {
    /// Sends bytes; returns when the last of them arrives. They arrive in pieces of any size.
    pub(crate) fn send(&mut self, bytes: &[u8], now: u64, random: &mut Random) -> Vec<u64> {
        let mut rest = bytes;
        let mut times = Vec::new();
        while !rest.is_empty() {
            let most = rest.len() as u64;
            let cut = if random.chance(70) { most } else { random.between(1, most) };
            let (piece, behind) = rest.split_at(usize::try_from(cut).unwrap_or(rest.len()));
            self.last_at = self.last_at.max(now + random.between(1, 30));
            self.under_way.push_back((self.last_at, Bytes::copy_from_slice(piece)));
            times.push(self.last_at);
            rest = behind;
        }
        times
    }

    /// Loses what is under way.
    pub(crate) fn lose(&mut self) {
        self.under_way.clear();
    }

    /// Moves what has arrived by now to the input; says whether there was anything.
    pub(crate) fn arrive(&mut self, now: u64) -> bool {
        let before = self.input.len();
        while let Some((_, bytes)) = self.under_way.pop_front_if(|(at, _)| *at <= now) {
            self.input.extend_from_slice(&bytes);
        }
        self.input.len() > before
    }
}

impl Pipe {
    /// A new connection, open at both ends.
    pub(crate) fn new(client: usize, hub: u16, link: postrider_hub::LinkId) -> Self {
        Self {
            client,
            hub,
            link,
            to_hub: Lane::default(),
            to_client: Lane::default(),
            stalled_until: 0,
            is_paused: false,
            is_client_open: true,
            is_hub_open: true,
        }
    }
}
