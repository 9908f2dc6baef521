//! One network connection: handshake, keep-alive, limits, aliases.

use bytes::BytesMut;
use postrider_wire::{
    Ack, AckKind, Auth, ConnAck, Connect, Disconnect, Publish, ReasonCode, SubAck, Subscribe,
    UnsubAck, Unsubscribe, Version,
};

use crate::{Delivery, Envelope, Gate, Limits, LinkConfig, Message, Outbox, Payload, Spools, Time};

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We sent (or send) CONNECT.
    Client,
    /// We wait for CONNECT.
    Server,
}

/// A PUBLISH that arrived whole, its alias resolved: `publish.topic` is always there, `publish.payload` is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The head.
    pub publish: Publish,
    /// The payload.
    pub payload: Payload,
}

/// What came in, after everything that concerns only the link was dealt with (pings, spooling, aliases).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Server: answer with [`Link::accept`] or [`Link::refuse`].
    Connect(alloc::boxed::Box<Connect>),
    /// Client: the verdict; with a success the link is open and has its [`Limits`].
    ConnAck(ConnAck),
    /// A message.
    Publish(Arrived),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(AckKind, Ack),
    /// Server only.
    Subscribe(Subscribe),
    /// Client only.
    SubAck(SubAck),
    /// Server only.
    Unsubscribe(Unsubscribe),
    /// Client only.
    UnsubAck(UnsubAck),
    /// The peer's last packet; the link is over.
    Disconnect(Disconnect),
    /// Enhanced authentication.
    Auth(Auth),
    /// Client: a PINGRESP, with the milliseconds since its PINGREQ.
    Pong(u64),
}

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEnd {
    /// The peer broke `statement`; `reason` was sent if this version can explain itself.
    PeerFault {
        /// Reason code.
        reason: ReasonCode,
        /// Statement of the standard that was broken.
        statement: &'static str,
        /// What was wrong, for people.
        what: alloc::string::String,
    },
    /// The peer said no, within the rules (CONNACK), with its properties for the reason string and server reference.
    Refused(ConnAck),
    /// The peer said DISCONNECT.
    Disconnected(Disconnect),
    /// We ended it, with this code.
    Ours(ReasonCode),
    /// The stream closed, or nothing arrived in time.
    Lost,
    /// No stream could be opened; why, for people.
    Unreachable(alloc::string::String),
}

/// One network connection, seen from either end.
///
/// ```text
/// server: AwaitConnect --CONNECT--> Deciding --accept--> Open --fault, DISCONNECT, end--> Over
///                                       `--refuse--> Over
/// client: AwaitConnAck --CONNACK success--> Open --...--> Over
/// ```
#[derive(Debug)]
pub struct Link {
    role: Role,
    config: LinkConfig,
    outbox: Outbox,
}

impl Link {
    /// A server's end: waits for CONNECT.
    #[must_use]
    pub fn server(config: LinkConfig, _now: Time) -> Self {
        Self { role: Role::Server, config, outbox: Outbox::default() }
    }

    /// A client's end: writes `connect` (whose properties get the limits of `config`) and waits for CONNACK.
    ///
    /// # Errors
    /// If `connect` cannot be written in its version.
    pub fn client(
        config: LinkConfig,
        _connect: &Connect,
        _now: Time,
    ) -> Result<Self, postrider_wire::EncodeError> {
        Ok(Self { role: Role::Client, config, outbox: Outbox::default() })
    }

    /// Takes the next thing from the front of `input`, or `Ok(None)` if more bytes are needed or the peer must wait
    /// ([`Link::is_receive_paused`]).
    ///
    /// # Errors
    /// [`LinkEnd`]; CONNACK or DISCONNECT is in the outbox then where the version has it. Flush, then close.
    pub fn receive(
        &mut self,
        _input: &mut BytesMut,
        _spools: &mut Spools,
        _now: Time,
    ) -> Result<Option<Received>, LinkEnd> {
        todo!()
    }

    /// Server: writes CONNACK behind `gate` and opens the link. The limits of `config` and the session expiry are
    /// added to `connack` where the version announces them; `keep_alive_s` is the one in force (announced as
    /// Server Keep Alive if it is not the client's).
    pub fn accept(
        &mut self,
        _connack: ConnAck,
        _keep_alive_s: u16,
        _session_expiry_s: u32,
        _gate: Gate,
    ) -> &Limits {
        todo!()
    }

    /// Server: writes a refusing CONNACK; the link is over. Flush, then close.
    pub fn refuse(&mut self, _connack: &ConnAck) {
        todo!()
    }

    /// Ends the link: writes DISCONNECT where role and version have one. Flush, then close.
    pub fn end(&mut self, _disconnect: Disconnect) {
        todo!()
    }

    /// Sends a PUBLISH. QoS 0 has no `packet_id`. Chooses a topic alias where the peer allows one.
    ///
    /// Returns false if it is too large for the peer (dropped, to be treated as delivered; v5 [MQTT-3.1.2-25]).
    pub fn send_publish(
        &mut self,
        _envelope: &mut Envelope,
        _delivery: &Delivery,
        _packet_id: Option<postrider_wire::PacketId>,
        _now: Time,
    ) -> bool {
        todo!()
    }

    /// Sends a message that is shared already, as [`Link::send_publish`] does; `is_dup` marks a re-delivery.
    pub fn send_message(
        &mut self,
        _message: &Message,
        _delivery: &Delivery,
        _packet_id: Option<postrider_wire::PacketId>,
        _is_dup: bool,
        _now: Time,
    ) -> bool {
        todo!()
    }

    /// Sends one of the four acknowledgements once `gate` is open. Acknowledgements keep their order.
    pub fn send_ack(&mut self, _kind: AckKind, _ack: Ack, _gate: Gate) {
        todo!()
    }

    /// Sends SUBSCRIBE, UNSUBSCRIBE, SUBACK, UNSUBACK or AUTH once `gate` is open, in order with acknowledgements.
    ///
    /// # Errors
    /// If it is too large for the peer.
    pub fn send(
        &mut self,
        _packet: &postrider_wire::Packet,
        _gate: Gate,
    ) -> Result<(), postrider_wire::EncodeError> {
        todo!()
    }

    /// Opens gates: everything up to `gate` is stored and fenced. Writes what waited for it.
    pub fn open_gates(&mut self, _gate: Gate) {
        todo!()
    }

    /// Deals with time: pings, keep-alive, handshake timeout. Call at [`Link::deadline`] or any time.
    ///
    /// # Errors
    /// [`LinkEnd`] as for [`Link::receive`].
    pub fn handle_time(&mut self, _now: Time) -> Result<(), LinkEnd> {
        todo!()
    }

    /// When [`Link::handle_time`] must be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        todo!()
    }

    /// Output waiting to be written.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Output waiting to be written; for [`Outbox::consume`].
    pub fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether the outbox may take more from the session's queue (below the high mark).
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.outbox.len() < self.config.outbox_high_bytes
    }

    /// What we may do towards the peer; `None` before the handshake is through.
    #[must_use]
    pub fn limits(&self) -> Option<&Limits> {
        todo!()
    }

    /// Whether the handshake is through and the link is not over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        todo!()
    }

    /// Whether nothing more may be received or sent; what is in the outbox is still flushed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        todo!()
    }

    /// Whether the peer is not read on because too many of its messages are open (3.x only) .
    #[must_use]
    pub fn is_receive_paused(&self) -> bool {
        todo!()
    }

    /// The version of the peer as an opaque key, once known.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        todo!()
    }

    /// Which end we are.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }
}
