//! One connection: two lanes of bytes, each cut into pieces and delayed, order kept, and somebody who reads along.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use postrider_proto::wire::{Connect, Version};

use crate::{Random, eye::Eye, flow::Side};

/// Bytes on their way in one direction.
#[derive(Debug)]
pub(crate) struct Lane {
    under_way: VecDeque<(u64, Bytes)>,
    last_at: u64,
    /// What arrived and was not taken by the receiver yet.
    pub(crate) input: BytesMut,
    /// Reads what is sent.
    pub(crate) sent: Eye,
    /// Reads what the receiver has taken.
    pub(crate) taken: Eye,
}

/// A connection between a client and a link of a hub.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) client: usize,
    /// Whether a stranger with the client's identifier holds the client's end.
    pub(crate) is_stranger: bool,
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
    // What was seen on it.
    /// From client to hub, and back.
    pub(crate) up: Side,
    pub(crate) down: Side,
    /// The CONNECT, once the hub took it.
    pub(crate) connect: Option<Box<Connect>>,
    /// The number of its will, if the broker accepted one and may have to publish it.
    pub(crate) will: Option<usize>,
    /// The broker took a DISCONNECT that says goodbye; it may have come right behind the CONNECT, before CONNACK is written.
    pub(crate) is_will_withdrawn: bool,
    /// What CONNACK must say about the session, if that is known.
    pub(crate) session_present: Option<bool>,
    pub(crate) is_accepted: bool,
    /// Whether the client has read CONNACK.
    pub(crate) is_answered: bool,
    /// Whether what was lost with it is counted.
    pub(crate) is_settled: bool,
}

impl Lane {
    fn new(version: Option<Version>) -> Self {
        Self {
            under_way: VecDeque::new(),
            last_at: 0,
            input: BytesMut::new(),
            sent: Eye::new(version),
            taken: Eye::new(version),
        }
    }

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
    pub(crate) fn new(
        index: usize,
        client: usize,
        version: Version,
        hub: u16,
        link: postrider_hub::LinkId,
    ) -> Self {
        Self {
            client,
            is_stranger: false,
            hub,
            link,
            to_hub: Lane::new(None),
            to_client: Lane::new(Some(version)),
            stalled_until: 0,
            is_paused: false,
            is_client_open: true,
            is_hub_open: true,
            up: Side::new(index as u64),
            down: Side::new(0),
            connect: None,
            will: None,
            is_will_withdrawn: false,
            session_present: None,
            is_accepted: false,
            is_answered: false,
            is_settled: false,
        }
    }
}
