//! What a scripted broker does on one connection.

use bytes::Bytes;
use postrider_broker::wire::{Packet, PacketType, ReasonCode};

/// What happens on one connection, step by step. After the last step the connection stays open, and is read, until the
/// client closes it.
///
/// PINGREQ is answered at any time, unless [`Script::expect`] waits for one.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Script {
    pub(crate) steps: Vec<Step>,
}

/// One step of a [`Script`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Waits for CONNECT and answers it with a CONNACK in the client's version.
    Answer {
        /// The verdict.
        reason: ReasonCode,
        /// The Session Present flag.
        session_present: bool,
    },
    /// Waits for the next packet, which must be of this type.
    Expect(PacketType),
    /// Sends a packet in the version of the CONNECT that came before.
    Packet(Packet),
    /// Sends these bytes, whatever they mean.
    Bytes(Bytes),
    /// Waits until the test calls `release` with this name.
    Wait(String),
    /// Closes the connection.
    Close,
    /// Waits until the client closes the connection; packets that come before are noted.
    Closed,
}

/// How the play differed from the script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// A packet of another type came, or the client closed the connection, or sent what is no packet.
    #[error("connection {connection}, step {step}: expected {expected}, got {got}")]
    Unexpected {
        /// Number of the connection, from 1.
        connection: usize,
        /// Number of the step, from 1.
        step: usize,
        /// What the script wanted.
        expected: String,
        /// What came.
        got: String,
    },
    /// A packet of the script cannot be sent.
    #[error("connection {connection}, step {step}: the packet cannot be encoded: {what}")]
    Packet {
        /// Number of the connection, from 1.
        connection: usize,
        /// Number of the step, from 1.
        step: usize,
        /// What is wrong with it.
        what: String,
    },
    /// Time ran out.
    #[error("after 10 s, {0}")]
    TimedOut(String),
    /// The system refused a socket or a thread.
    #[error("the scripted broker cannot run: {0}")]
    System(String),
}

impl Script {
    /// An empty script: the connection is accepted and read, nothing is answered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds any step.
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Waits for CONNECT and accepts it, without a session.
    pub fn accept(self) -> Self {
        self.step(Step::Answer { reason: ReasonCode::Success, session_present: false })
    }

    /// Waits for CONNECT and accepts it with the session of before.
    pub fn resume(self) -> Self {
        self.step(Step::Answer { reason: ReasonCode::Success, session_present: true })
    }

    /// Waits for CONNECT, refuses it and closes.
    pub fn refuse(self, reason: ReasonCode) -> Self {
        self.step(Step::Answer { reason, session_present: false }).step(Step::Close)
    }

    /// Waits for the next packet, which must be of this type.
    pub fn expect(self, packet: PacketType) -> Self {
        self.step(Step::Expect(packet))
    }

    /// Sends a packet in the version of the client's CONNECT.
    pub fn send(self, packet: Packet) -> Self {
        self.step(Step::Packet(packet))
    }

    /// Sends bytes, whatever they mean.
    pub fn send_bytes(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Bytes(bytes.into()))
    }

    /// Waits until the test calls [`crate::ScriptedBroker::release`] with this name.
    pub fn wait(self, name: impl Into<String>) -> Self {
        self.step(Step::Wait(name.into()))
    }

    /// Closes the connection.
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// Waits until the client closes the connection.
    pub fn closed(self) -> Self {
        self.step(Step::Closed)
    }
}
