//! What a hub asks of its driver.

use postrider_proto::{
    Durability, Link, PageRequest, Record, RecordError, SpoolOutput, Time,
    wire::{Bytes, ClientId, Connect, Text},
};

use crate::peer::Parcel;

/// Names a link of one hub. Numbers of closed links are not reused soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    /// Slot in the hub's table; small, for the driver's own table.
    pub slot: u32,
    /// Tells one user of the slot from the next.
    pub generation: u32,
}

/// A question about a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Echo it in [`crate::Hub::handle_answer`].
    pub link: LinkId,
    /// Client identifier as sent; may be empty.
    pub client_id: ClientId,
    /// User name.
    pub user_name: Option<Text>,
    /// Password.
    pub password: Option<Bytes>,
}

/// A link on its way to the hub where its session lives: the driver hands it over with the socket and unread bytes.
#[derive(Debug)]
pub struct MovedLink {
    pub(crate) link: Link,
    pub(crate) durability: Durability,
    pub(crate) connect: Box<Connect>,
}

/// What one hub tells another; opaque to the driver, which keeps the order between any two hubs.
#[derive(Clone, Debug)]
pub struct PeerMessage(pub(crate) Box<Parcel>);

/// What the driver must do. Drain until `Wait`.
#[derive(Debug)]
pub enum Output {
    /// The link has output: write [`crate::Hub::chunks`], then [`crate::Hub::consume`]. Once per drain.
    Transmit(LinkId),
    /// Flush what is left, then close the stream. The driver calls `handle_closed` in any case; the slot of the link
    /// is not given to another one before that.
    Close(LinkId),
    /// Stop reading this link until `Resume`.
    Pause(LinkId),
    /// Call `handle_bytes` for this link again, with whatever is unread, and go on reading it.
    Resume(LinkId),
    /// Decide about a CONNECT and call `handle_answer`.
    Ask(Ask),
    /// Hand the link, its socket and unread bytes to hub `to`, which calls [`crate::Hub::adopt`]. The link id is void here.
    Move {
        /// The link, in this hub's numbers.
        link: LinkId,
        /// Index of the other hub.
        to: u16,
        /// Its state.
        moved: Box<MovedLink>,
    },
    /// Deliver to the peer hub with this index, in order.
    Peer(u16, PeerMessage),
    /// Store this record; call `handle_stored` once it and all before it are durable.
    Store(u64, Record),
    /// Read these rows, and call `handle_page`, now or later. All records up to here must be with the store, synced or
    /// not.
    Page {
        /// Echoed in the answer.
        ticket: u64,
        /// Which rows.
        request: PageRequest,
    },
    /// Append to or drop a spool.
    Spool(SpoolOutput),
    /// For the log.
    Event(Event),
    /// Nothing more now; call `handle_time` at this time at the latest (at once if it is not later than now).
    Wait(Option<Time>),
}

/// For the log and for embedding programs; never payloads or credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A session got a link.
    Connected {
        /// Its link.
        link: LinkId,
        /// Its client identifier.
        client_id: ClientId,
        /// Whether it was there before.
        session_present: bool,
    },
    /// A link ended.
    Disconnected {
        /// The link.
        link: LinkId,
        /// Its client identifier, once it had one.
        client_id: Option<ClientId>,
        /// Why.
        end: postrider_proto::LinkEnd,
    },
    /// The store gave something back that is no message of a queue and no retained one, or lacks some; they are lost to
    /// the session.
    Unreadable {
        /// Client identifier of the session.
        client_id: ClientId,
        /// What is wrong.
        error: RecordError,
    },
}
