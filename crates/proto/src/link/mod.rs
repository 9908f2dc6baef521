//! One network connection: handshake, keep-alive, limits, aliases.

mod alias;
mod end;
mod handshake;
mod held;
mod pulse;
mod receive;
mod send;
mod window;

use alloc::boxed::Box;

use bytes::BytesMut;
use postrider_wire::{
    Ack, AckKind, Auth, ConnAck, Connect, Decoder, DecoderConfig, Disconnect, EncodeError, Packet,
    PacketId, Properties, Publish, QoS, SubAck, Subscribe, UnsubAck, Unsubscribe, Version,
};

use self::{
    alias::{AliasesIn, AliasesOut},
    handshake::Asked,
    held::Held,
    pulse::Pulse,
    receive::Spooling,
    window::Window,
};
use crate::{Delivery, Envelope, Gate, Limits, LinkConfig, Message, Outbox, Payload, Spools, Time};

pub use self::end::LinkEnd;

/// Bytes of acknowledgements and the like that may wait for a peer that does not read, or for the store, before the
/// peer itself is not read on: 65,536 short acknowledgements.
const REPLY_BYTES_MAX: u64 = 256 * 1024;

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
    Connect(Box<Connect>),
    /// Client: the verdict; with a success the link is open and has its [`Limits`], else it is over.
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

/// One network connection, seen from either end.
///
/// ```text
/// server: AwaitConnect --CONNECT--> Deciding --accept--> Open --fault, DISCONNECT, end--> Over
///                                       `--refuse--> Over
/// client: AwaitConnAck --CONNACK success--> Open --fault, DISCONNECT, end--> Over
///                `--CONNACK refusal--> Over
/// ```
///
/// After each wake-up write [`Link::outbox`], and call [`Link::handle_time`] at [`Link::deadline`].
#[derive(Debug)]
pub struct Link {
    role: Role,
    config: LinkConfig,
    state: State,
    decoder: Decoder,
    /// What CONNECT says: ours as a client, the peer's as a server.
    asked: Asked,
    /// There from the handshake on, and still there when the link is over.
    limits: Option<Limits>,
    outbox: Outbox,
    held: Held,
    /// The gate of a CONNACK that is in the outbox but not shown yet.
    connack_gate: Option<Gate>,
    aliases_in: AliasesIn,
    aliases_out: AliasesOut,
    window: Window,
    /// Client: CONNACK says that a session is present.
    is_resumed: bool,
    /// Client: PUBLISHes of the server beyond our Receive Maximum, since [`Link::take_surplus`].
    surplus: u64,
    pulse: Pulse,
    /// A PUBLISH whose payload is on its way to a spool.
    spooling: Option<Box<Spooling>>,
    /// Length of the input when it was last looked at, to see whether bytes came.
    input_seen: usize,
    /// Whether a message at QoS 1 or 2 begins the rest of the input.
    is_message_next: bool,
    /// Properties of the PUBLISH being written; empty in between, kept for its memory.
    scratch: Properties,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    AwaitConnect,
    Deciding,
    AwaitConnAck,
    Open,
    Over,
}

impl Link {
    /// A server's end: waits for CONNECT.
    #[must_use]
    pub fn server(config: LinkConfig, now: Time) -> Self {
        Self::new(Role::Server, config, State::AwaitConnect, None, now)
    }

    /// A client's end: writes `connect` (whose properties get the limits of `config`) and waits for CONNACK.
    ///
    /// # Errors
    /// If `connect` cannot be written in its version.
    pub fn client(config: LinkConfig, connect: &Connect, now: Time) -> Result<Self, EncodeError> {
        let mut link =
            Self::new(Role::Client, config, State::AwaitConnAck, Some(connect.version), now);
        link.write_connect(connect)?;
        Ok(link)
    }

    /// Takes the next thing from the front of `input`, or `Ok(None)` if more bytes are needed or the peer must wait
    /// ([`Link::is_receive_paused`]).
    ///
    /// # Errors
    /// [`LinkEnd`]; CONNACK or DISCONNECT is in the outbox then where the version has it. Flush, then close.
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        spools: &mut Spools,
        now: Time,
    ) -> Result<Option<Received>, LinkEnd> {
        self.pulse.set_now(now);
        if input.len() > self.input_seen {
            self.pulse.received();
        }
        let received = self.receive_next(input, spools);
        self.input_seen = input.len();
        received
    }

    /// Server: writes CONNACK behind `gate` and opens the link. The limits of `config` and the session expiry are
    /// added to `connack` where the version announces them; `keep_alive_s` is the one in force (announced as
    /// Server Keep Alive if it is not the client's). Maximum QoS and Retain Available in `connack` bind the client.
    ///
    /// Until the gate opens nothing leaves, whatever is sent meanwhile; [`Link::has_room`] says no. If not even the
    /// bare CONNACK fits into what the client accepts, the link is over at once.
    pub fn accept(
        &mut self,
        connack: ConnAck,
        keep_alive_s: u16,
        session_expiry_s: u32,
        gate: Gate,
    ) -> &Limits {
        let limits =
            self.asked.limits(&self.config, self.has_properties(), keep_alive_s, session_expiry_s);
        self.write_accept(connack, &limits, gate);
        self.limits.insert(limits)
    }

    /// Server: writes a refusing CONNACK; the link is over. Flush, then close.
    ///
    /// A reason that 3.x has no return code for becomes the nearest one it has; if there is none, nothing is written.
    /// Spec: v3.1.1 [MQTT-3.2.2-6].
    pub fn refuse(&mut self, connack: &ConnAck) {
        debug_assert_eq!(self.state, State::Deciding);
        if self.state == State::Deciding {
            self.write_refusal(connack);
        }
        self.finish();
    }

    /// Ends the link: writes DISCONNECT where role and version have one. Flush, then close.
    ///
    /// In 3.x a DISCONNECT always tells the server to forget the will, so with another reason than 0x00 none is
    /// written. A session expiry that may not stand in it is left out. Acknowledgements behind closed gates are dropped.
    pub fn end(&mut self, disconnect: Disconnect) {
        self.write_disconnect(disconnect);
        self.finish();
    }

    /// Sends a PUBLISH. QoS 0 has no `packet_id`. Chooses a topic alias where the peer allows one.
    ///
    /// Returns false if it is too large for the peer (dropped, to be treated as delivered; v5 [MQTT-3.1.2-25]). On a
    /// link that is over it is lost, and true.
    pub fn send_publish(
        &mut self,
        envelope: &mut Envelope,
        delivery: &Delivery,
        packet_id: Option<PacketId>,
        now: Time,
    ) -> bool {
        self.pulse.set_now(now);
        self.write_envelope(envelope, delivery, packet_id, now)
    }

    /// Sends a message that is shared already, as [`Link::send_publish`] does; `is_dup` marks a re-delivery.
    pub fn send_message(
        &mut self,
        message: &Message,
        delivery: &Delivery,
        packet_id: Option<PacketId>,
        is_dup: bool,
        now: Time,
    ) -> bool {
        self.pulse.set_now(now);
        self.write_message(message, delivery, packet_id, is_dup, now)
    }

    /// Sends one of the four acknowledgements once `gate` is open. Acknowledgements keep their order.
    ///
    /// Reason string and user properties are left out if they do not fit or the peer does not want them; in 3.x a
    /// reason has no place at all.
    pub fn send_ack(&mut self, kind: AckKind, ack: Ack, gate: Gate) {
        self.write_ack(kind, ack, gate);
    }

    /// Sends SUBSCRIBE, UNSUBSCRIBE, SUBACK, UNSUBACK or AUTH once `gate` is open, in order with acknowledgements.
    ///
    /// # Errors
    /// If it is too large for the peer, even without reason string and user properties where it is an answer.
    pub fn send(&mut self, packet: &Packet, gate: Gate) -> Result<(), EncodeError> {
        self.write_gated_packet(packet, gate)
    }

    /// Opens gates: everything up to `gate` is stored and fenced. Writes what waited for it.
    ///
    /// A new link has no gate open: tell it at once how far the store is.
    pub fn open_gates(&mut self, gate: Gate) {
        let released = self.held.open(gate, &mut self.outbox);
        self.window.written(released);
        if self.connack_gate.is_some_and(|gate| self.held.is_open(gate)) {
            self.connack_gate = None;
            self.outbox.release();
        }
    }

    /// Closes all gates: the link goes, before its CONNECT is answered, to an owner that counts stores and fences anew.
    pub fn close_gates(&mut self) {
        self.held.close();
    }

    /// Deals with time: pings, keep-alive, handshake timeout. Call at [`Link::deadline`] or any time.
    ///
    /// # Errors
    /// [`LinkEnd`] as for [`Link::receive`].
    pub fn handle_time(&mut self, now: Time) -> Result<(), LinkEnd> {
        self.pulse.set_now(now);
        if self.is_receive_paused() {
            // What it said while we did not listen counts.
            self.pulse.received();
        }
        if self.pulse.is_quiet() {
            self.outbox.shrink();
        }
        self.handle_silence()
    }

    /// Client: sends PINGREQ at once, though none is due, to hear whether the server is still there.
    pub fn ping(&mut self, now: Time) {
        self.pulse.set_now(now);
        if self.role == Role::Client && self.is_open() {
            self.write_now(&Packet::PingReq);
            self.pulse.pinged();
        }
    }

    /// The driver has left the peer unread on purpose up to `now`: its silence does not count.
    pub fn excuse_silence(&mut self, now: Time) {
        self.pulse.set_now(now);
        self.pulse.received();
    }

    /// Client: how many PUBLISHes of a resumed session came beyond our Receive Maximum since this was asked last. A server
    /// may not send them (v5 [MQTT-3.3.4-9]); they are taken all the same.
    pub fn take_surplus(&mut self) -> u64 {
        core::mem::take(&mut self.surplus)
    }

    /// Output waiting to be written; for [`Outbox::consume`].
    pub fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// When [`Link::handle_time`] must be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match (self.state, self.role) {
            (State::Over, _) => None,
            (_, Role::Client) => self.pulse.deadline_client(),
            (_, Role::Server) => self.pulse.deadline_server(),
        }
    }

    /// Output waiting to be written.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Whether the outbox may take more from the session's queue (the link is open, its CONNACK is out, and it is below
    /// the high mark).
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.is_open()
            && !self.outbox.is_held()
            && self.outbox.total() < self.config.outbox_high_bytes
    }

    /// What we may do towards the peer; `None` before the handshake is through.
    #[must_use]
    pub fn limits(&self) -> Option<&Limits> {
        self.limits.as_ref()
    }

    /// Whether the handshake is through and the link is not over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether nothing more may be received or sent; what is in the outbox is still flushed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether the peer is not read on, so that [`Link::receive`] takes nothing even if a packet is there. Call it again
    /// after [`Link::open_gates`], acknowledgements and [`Outbox::consume`].
    ///
    /// In 3.x one more message at QoS 1 or 2 is not taken, nor what is behind it, while `receive_maximum_unannounced` of the
    /// peer's have no PUBACK or PUBREC (if not set: 65,535); in 5.0 while a server has more such messages of a resumed
    /// session than `receive_maximum`, which it may not. In all versions nothing is while 256 KiB of answers wait for the
    /// store, or for a peer that does not read them. None of this waits for another packet of the peer, so both cannot wait
    /// for each other. But a program that answers by itself, and waits for a packet that is behind such a message before it
    /// does, waits for ever.
    #[must_use]
    pub fn is_receive_paused(&self) -> bool {
        if self.state != State::Open {
            return false;
        }
        // The payload of a PUBLISH that is counted already must come before it can be answered.
        let is_full = self.is_message_next && self.spooling.is_none() && {
            // Up to what was announced all else must still be read. Spec: v5 [MQTT-4.9.0-3].
            let unanswered = self.window.unanswered();
            match (self.has_properties(), self.role) {
                (false, _) => {
                    let unanswered_max = self.config.receive_maximum_unannounced;
                    unanswered >= unanswered_max.unwrap_or(u16::MAX).into()
                }
                (true, Role::Client) => {
                    let open_max = u32::from(self.config.receive_maximum);
                    unanswered > open_max && self.open_of_peer() > open_max
                }
                (true, Role::Server) => false,
            }
        };
        is_full
            || self.held.len_bytes() as u64 >= REPLY_BYTES_MAX
            || self.outbox.in_memory() >= self.config.outbox_high_bytes + REPLY_BYTES_MAX
    }

    /// The version of the peer as an opaque key, once known.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.decoder.version()
    }

    /// Which end we are.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    fn new(
        role: Role,
        config: LinkConfig,
        state: State,
        version: Option<Version>,
        now: Time,
    ) -> Self {
        let decoder = DecoderConfig {
            packet_size_max: config.packet_size_max,
            stream_above: config.spool_above,
            is_topic_lenient: config.is_topic_lenient,
        };
        Self {
            role,
            config: LinkConfig { receive_maximum: config.receive_maximum.max(1), ..config },
            state,
            decoder: Decoder::new(decoder, version),
            asked: Asked::default(),
            limits: None,
            outbox: Outbox::default(),
            held: Held::default(),
            connack_gate: None,
            aliases_in: AliasesIn::default(),
            aliases_out: match config.are_aliases_reused {
                true => AliasesOut::reusing(),
                false => AliasesOut::default(),
            },
            window: Window::default(),
            is_resumed: false,
            surplus: 0,
            pulse: Pulse::new(now, config.handshake_ms),
            spooling: None,
            input_seen: 0,
            is_message_next: false,
            scratch: Properties::new(),
        }
    }

    /// Nothing more goes in or out but what is in the outbox.
    fn finish(&mut self) {
        self.state = State::Over;
        self.spooling = None;
        self.connack_gate = None;
        self.held.clear();
        // Without its CONNACK the peer may be told nothing; it was not stored in time.
        self.outbox.discard_held();
    }

    /// Whether properties and reason codes travel.
    fn has_properties(&self) -> bool {
        self.version().is_some_and(Version::has_properties)
    }

    /// How many PUBLISHes of the peer count against our Receive Maximum (5.0), those among them whose last
    /// acknowledgement is not written.
    fn open_of_peer(&self) -> u32 {
        self.window.open() + self.held.tally().finished
    }

    /// Largest packet the peer accepts, in bytes, as far as is known.
    fn packet_size_max(&self) -> u32 {
        self.limits.as_ref().map_or_else(
            || self.asked.packet_size_max_of_peer(self.role),
            |limits| limits.packet_size_max,
        )
    }

    /// Whether a PUBLISH at `qos` and with RETAIN as given is something we offered to the peer.
    fn offers(&self, qos: QoS, retain: bool) -> (bool, bool) {
        (qos <= self.asked.qos_max_offered, !retain || self.asked.has_retain_offered)
    }
}
