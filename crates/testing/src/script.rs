//! What a scripted broker does on one connection.

use std::time::Duration;

use bytes::Bytes;
use postrider_broker::wire::{
    Packet, PacketType, Properties, Publish, QoS, ReasonCode, Topic, TopicError,
};

/// What happens on one connection, step by step. After the last step the connection stays open, and is read, until the
/// client closes it.
///
/// PINGREQ is answered whenever packets are read, unless [`Script::expect`] waits for one; a step that waits for the test or
/// for time reads none.
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
    /// Waits for the next packet, which must be of this type. It is not answered.
    Expect(PacketType),
    /// Waits for SUBSCRIBE and grants what it asks for.
    Grant,
    /// Waits for SUBSCRIBE and refuses all of its filters.
    RefuseSubscribe(ReasonCode),
    /// Waits for UNSUBSCRIBE and answers it.
    Release,
    /// Waits for PUBLISH and acknowledges or refuses it, at QoS 2 with PUBREL and PUBCOMP.
    AnswerPublish(ReasonCode),
    /// Sends a message with the next packet identifier, and waits until it is acknowledged.
    Deliver(Publish),
    /// Answers whatever comes, until the client closes the connection. No message goes to a subscriber.
    Serve,
    /// Waits so long. What comes meanwhile is read afterwards.
    Delay(Duration),
    /// Cuts the connection as a broken network does: the client hears of a reset.
    Cut,
    /// Reads so many bytes more and cuts the connection, in the middle of a packet or not. They are not noted.
    CutAfter(u64),
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

    /// Waits for the next packet, which must be of this type. It is not answered: that is how a packet is dropped.
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

    /// Waits for SUBSCRIBE and grants what it asks for.
    pub fn grant(self) -> Self {
        self.step(Step::Grant)
    }

    /// Waits for SUBSCRIBE and refuses all of its filters.
    pub fn refuse_subscribe(self, reason: ReasonCode) -> Self {
        self.step(Step::RefuseSubscribe(reason))
    }

    /// Waits for UNSUBSCRIBE and answers it.
    pub fn release(self) -> Self {
        self.step(Step::Release)
    }

    /// Waits for PUBLISH and acknowledges it; at QoS 2 with PUBREL and PUBCOMP.
    pub fn acknowledge(self) -> Self {
        self.step(Step::AnswerPublish(ReasonCode::Success))
    }

    /// Waits for PUBLISH and refuses it. MQTT 3 knows no such answer: there the client takes it for a success.
    pub fn refuse_publish(self, reason: ReasonCode) -> Self {
        self.step(Step::AnswerPublish(reason))
    }

    /// Sends a message and waits until the client has acknowledged it.
    ///
    /// # Errors
    /// [`TopicError`] if the topic is not one.
    pub fn deliver(
        self,
        topic: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> Result<Self, TopicError> {
        Ok(self.step(Step::Deliver(Publish {
            dup: false,
            qos,
            retain: false,
            topic: Some(Topic::new(topic)?),
            packet_id: None,
            properties: Properties::new(),
            payload: payload.into(),
        })))
    }

    /// Answers whatever comes, CONNECT too, until the client closes the connection. No message goes to a subscriber.
    pub fn serve(self) -> Self {
        self.step(Step::Serve)
    }

    /// Waits so long; what comes meanwhile is read afterwards. [`Script::wait`] waits for the test, which is faster and
    /// surer.
    pub fn delay(self, time: Duration) -> Self {
        self.step(Step::Delay(time))
    }

    /// Cuts the connection as a broken network does: the client hears of a reset.
    pub fn cut(self) -> Self {
        self.step(Step::Cut)
    }

    /// Reads so many bytes more, and cuts the connection, in the middle of a packet or not.
    pub fn cut_after(self, bytes: u64) -> Self {
        self.step(Step::CutAfter(bytes))
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
