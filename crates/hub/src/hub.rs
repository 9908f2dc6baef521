//! The hub: everything that happens to a broker, in order.

mod absent;
mod connect;
mod damage;
mod deliver;
mod drain;
mod end;
mod page;
mod park;
mod peers;
mod publish;
mod receive;
mod recover;
mod replay;
mod subscribe;
mod time;
mod will;

use std::collections::VecDeque;

use bytes::BytesMut;
use postrider_proto::{
    Arrived, Chunk, Delivery, Durability, Journal, Link, PageRows, Record, SpoolOutput, Spools,
    Time, Wheel,
    wire::{Connect, Filter, ReasonCode},
};
use smallvec::SmallVec;

use crate::{
    HubConfig, LinkId, MovedLink, Output, PeerMessage,
    hash::KeyedHash,
    keep::{KeepLimits, Keeper},
    links::{Links, Opened},
    peer::Peers,
    registry::Registry,
    route::Route,
    router::Router,
    share::Shares,
};

use self::{
    page::Pages,
    park::{Lent, Stuck},
    receive::Parting,
    time::Timer,
    will::Departures,
};

/// Counts of one hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubStats {
    /// Links open now.
    pub links: u64,
    /// Sessions, with and without a link.
    pub sessions: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Retained messages.
    pub retained: u64,
    /// PUBLISH packets received.
    pub publishes_received: u64,
    /// PUBLISH packets sent or queued for subscribers.
    pub publishes_sent: u64,
    /// Messages dropped (queue full, expired, too large).
    pub dropped: u64,
}

/// A broker's brain.
///
/// Inputs are the `handle_*` methods, `accept`, `adopt` and `consume`. Give it any number of inputs of one wake-up,
/// then call [`Hub::poll_output`] until it says `Wait`.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    /// Time of the last input.
    now: Time,
    /// The home of client ids and groups; the same in all hubs of a broker.
    homes: KeyedHash,
    links: Links,
    registry: Registry,
    router: Router<Route>,
    shares: Shares,
    keeper: Keeper,
    peers: Peers,
    journal: Journal,
    spools: Spools,
    wheel: Wheel<Timer>,
    /// Client ids that were invented.
    assigned: u64,
    is_shut: bool,
    /// Pages on their way from the store.
    pages: Pages,
    /// What the peers say, while a publish waits for a page.
    stuck: Stuck,
    /// What came for a publish that is being handled.
    lent: Option<Lent>,
    /// Published wills that are not yet stored everywhere.
    departures: Departures,
    /// The record of the last session that ended; a CONNACK that says there is none waits for it.
    session_gone: u64,
    /// The record of the last retained message; one that it has overtaken waits for it.
    last_retained: u64,
    stats: HubStats,

    // Batch: what the next drain has to do.
    outputs: VecDeque<Output>,
    is_draining: bool,
    /// What is appended to spools comes before all other outputs, and records after that.
    appends: VecDeque<SpoolOutput>,
    is_fetching: bool,
    /// Sessions that may be able to send.
    pumps: Vec<usize>,
    /// Sessions that want a part of their queue back from the store.
    paging: Vec<usize>,
    /// Sessions with retained messages on their way.
    replays: Vec<usize>,
    /// Links whose streams are to be closed.
    closing: Vec<LinkId>,
    /// Links that go to another hub.
    moving: Vec<LinkId>,
    /// Large messages whose last bytes go to the driver with the next drain, and those that went with the last.
    arriving: Vec<(LinkId, Arrived)>,
    arrived: Vec<(LinkId, Arrived)>,
    /// CONNECTs of links that came from other hubs before work began here.
    early: Vec<(LinkId, Box<Connect>)>,
    /// Links that used up their turn.
    turns: Vec<LinkId>,
    /// How far the store and the peers were when links were told last.
    opened: Opened,
    /// Whether something waits until what was handed to the store is synced.
    awaits_sync: bool,
    /// Deliveries caused by the input that is being handled.
    turn: u32,

    // Scratch of one publish, kept for its memory.
    /// Counts publishes; tells the hits of one from those of the last.
    mark: u64,
    hits: Vec<Hit>,
    share_hits: Vec<usize>,
    peer_hits: SmallVec<[u16; 8]>,
    /// Owners of the sessions that took it at QoS 2, if several hubs may store it.
    takers: Vec<u64>,
    /// The same of groups, with the owners of the members.
    group_takers: Vec<(Filter, u64)>,
}

/// A session that a publish matched.
#[derive(Debug)]
struct Hit {
    slot: usize,
    delivery: Delivery,
    /// Whether retained messages for one of its matching subscriptions are still on their way.
    is_replaying: bool,
}

impl Hub {
    /// A hub with nothing in it.
    #[must_use]
    pub fn new(mut config: HubConfig, now: Time) -> Self {
        // Tables of strangers' names get a seed that the home of a name tells nothing about.
        let homes = KeyedHash::new(config.seed);
        let seed = homes.pair(u64::from(config.index), 0x7461_626c_6573);
        let hubs = config.hubs.max(1);
        config.session.is_noted_elsewhere = hubs > 1;
        let limits = KeepLimits {
            messages_max: config.retained_max,
            bytes_max: config.retained_bytes_max,
            resident_bytes_max: match config.is_durable {
                true => config.retained_resident_bytes_max,
                false => u64::MAX,
            },
        };
        Self {
            now,
            homes,
            links: Links::default(),
            registry: Registry::new(seed, config.index, hubs),
            router: Router::new(seed),
            shares: Shares::new(seed),
            keeper: Keeper::new(seed, config.index, hubs > 1, limits),
            peers: Peers::new(seed, config.index, hubs),
            journal: Journal::new(config.is_durable),
            // All hubs of a broker share one store, so their spools have different numbers.
            spools: Spools::numbered(
                config.spool_bytes_max,
                1 + u64::from(config.index),
                u64::from(hubs),
            ),
            wheel: Wheel::new(now),
            assigned: 0,
            is_shut: false,
            pages: Pages::default(),
            stuck: Stuck::default(),
            lent: None,
            departures: Departures::default(),
            session_gone: 0,
            last_retained: 0,
            stats: HubStats::default(),
            outputs: VecDeque::new(),
            is_draining: false,
            appends: VecDeque::new(),
            is_fetching: false,
            pumps: Vec::new(),
            paging: Vec::new(),
            replays: Vec::new(),
            closing: Vec::new(),
            moving: Vec::new(),
            arriving: Vec::new(),
            arrived: Vec::new(),
            early: Vec::new(),
            turns: Vec::new(),
            opened: Opened::default(),
            awaits_sync: false,
            turn: 0,
            mark: 0,
            hits: Vec::new(),
            share_hits: Vec::new(),
            peer_hits: SmallVec::new(),
            takers: Vec::new(),
            group_takers: Vec::new(),
            config,
        }
    }

    /// Rebuilds state from what the store held, before the first link. Those of one owner come together, as they do in
    /// the order of keys; they are looked at one by one, so they may come from a disk.
    ///
    /// With several hubs each gets the session records of all owners, and keeps the sessions whose home it is. It needs
    /// the other records of these owners only ([`HubConfig::is_home`]), and all that belong to no owner. What changes by
    /// recovering (a link that was lost with the process) is recorded.
    pub fn recover(&mut self, records: impl IntoIterator<Item = Record>, now: Time) {
        self.advance(now);
        self.take_records(records);
    }

    /// Keeps the number of a spool, and all below it, from being given out: files of a store that another hub recovers,
    /// or nobody. Before the first link.
    pub fn reserve_spools(&mut self, number: u64) {
        self.spools.reserve(number);
    }

    /// A stream was accepted. What it hears of is synced first.
    pub fn accept(&mut self, now: Time) -> LinkId {
        self.accept_relying_on(Durability::Durable, now)
    }

    /// As [`Hub::accept`]; `durability` says in which sense records must be stored before the link hears of them. With
    /// [`Durability::Memory`] a session that begins there is not recorded; one that was goes on being recorded.
    pub fn accept_relying_on(&mut self, durability: Durability, now: Time) -> LinkId {
        self.advance(now);
        self.add_link(Link::server(self.config.link, now), durability)
    }

    /// A link arrives from another hub. Call `handle_bytes` next, also without new bytes.
    pub fn adopt(&mut self, mut moved: MovedLink, now: Time) -> LinkId {
        self.advance(now);
        // Records and fences are numbered by each hub for itself.
        moved.link.close_gates();
        let id = self.add_link(moved.link, moved.durability);
        if self.peers.is_working() {
            self.handle_connect(id.slot as usize, moved.connect);
        } else {
            self.early.push((id, moved.connect));
        }
        id
    }

    /// Bytes arrived. Whole packets are taken from `input`; the rest stays there for the next call.
    ///
    /// Bytes behind a CONNECT that is not decided yet stay too, and those of a link that was told to pause or that moved.
    pub fn handle_bytes(&mut self, link: LinkId, input: &mut BytesMut, now: Time) {
        self.advance(now);
        // What comes for a link that has moved goes with it to the other hub.
        if let Some(at) = self.links.find(link) {
            self.receive(at, input);
        }
    }

    /// The stream ended or failed. Harmless for a link that is gone.
    pub fn handle_closed(&mut self, link: LinkId, now: Time) {
        self.advance(now);
        if let Some(at) = self.links.find(link) {
            self.end_link(at, Parting::lost());
            self.forget_link(at);
        }
    }

    /// The answer to [`Output::Ask`]: `Success`, or the reason to refuse with.
    pub fn handle_answer(&mut self, link: LinkId, reason: ReasonCode, now: Time) {
        self.advance(now);
        if let Some(at) = self.links.find(link) {
            self.answer(at, reason);
        }
    }

    /// A peer hub said something.
    pub fn handle_peer(&mut self, from: u16, message: PeerMessage, now: Time) {
        self.advance(now);
        self.handle_parcel(from, *message.0);
    }

    /// Records up to `seq` are durable.
    pub fn handle_stored(&mut self, seq: u64, now: Time) {
        self.advance(now);
        self.journal.handle_stored(seq);
    }

    /// Records up to `seq` survive the process, but not a power cut.
    pub fn handle_handed(&mut self, seq: u64, now: Time) {
        self.advance(now);
        self.journal.handle_handed(seq);
    }

    /// There was no room for bytes of this spool: its message is refused. To be called before the drain ends that asked
    /// for them to be appended. False if records name it already, so that the store has failed.
    pub fn handle_spool_failed(&mut self, number: u64, now: Time) -> bool {
        self.advance(now);
        self.spools.fail(number)
    }

    /// Answers a [`Output::Page`].
    pub fn handle_page(&mut self, ticket: u64, page: PageRows, now: Time) {
        self.advance(now);
        self.take_page(ticket, page);
    }

    /// Time passed.
    pub fn handle_time(&mut self, now: Time) {
        self.advance(now);
        self.expire();
        self.resume_turns();
    }

    /// Ends all links with 0x8B Server shutting down; sessions and records stay. Wills stay pending as the standard
    /// allows.
    pub fn shut_down(&mut self, now: Time) {
        self.advance(now);
        self.end_all_links();
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Output {
        self.next_output()
    }

    /// The bytes to write to a link now, in order.
    pub fn chunks(&self, link: LinkId) -> impl Iterator<Item = Chunk<'_>> {
        let at = self.links.find(link);
        let slot = at.and_then(|at| self.links.get(at));
        slot.into_iter().flat_map(|slot| slot.link.outbox().chunks())
    }

    /// Says that the first `bytes` of [`Hub::chunks`] were written.
    pub fn consume(&mut self, link: LinkId, bytes: u64, now: Time) {
        self.advance(now);
        if let Some(at) = self.links.find(link) {
            self.written_out(at, bytes);
        }
    }

    /// Whether anything waits until the records of the last drain, and all before, are synced. If not, the driver may
    /// take its time. To be asked at `Wait`.
    #[must_use]
    pub fn awaits_sync(&self) -> bool {
        self.awaits_sync
    }

    /// Whether [`Hub::handle_bytes`] would take packets of this link now.
    ///
    /// While it would not, unread bytes must be kept and the end of the stream must not be reported, since what came
    /// before it was not looked at; `Pause` says so too, but only with the next drain.
    #[must_use]
    pub fn is_reading(&self, link: LinkId) -> bool {
        self.links.find(link).is_some_and(|at| self.is_taking(at))
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> HubStats {
        let dropped: u64 =
            self.registry.iter().map(|(_, entry)| deliver::dropped(&entry.session.stats())).sum();
        HubStats {
            links: self.links.len() as u64,
            sessions: self.registry.len() as u64,
            retained: self.keeper.len(),
            dropped: self.stats.dropped + dropped,
            ..self.stats
        }
    }

    /// Time never goes back here, whatever the driver's clock does.
    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// The hub where something with this name lives.
    fn home(&self, name: &[u8]) -> u16 {
        match self.config.hubs {
            0 | 1 => self.config.index,
            hubs => self.homes.home(name, hubs),
        }
    }
}
