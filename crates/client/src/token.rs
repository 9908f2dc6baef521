//! Messages that the program acknowledges itself: who has a copy, and what happens when it lets go of it.
//!
//! ```text
//! arrival --- Parcel --+-- Token of stream 1 --ack--.
//!                      `-- Token of stream 2 --ack--+--all have--> Outcome::Acknowledged, with what they store
//!                               `--dropped--> Outcome::Returned, and later a new Token for the same stream
//! last copy gone, nobody acknowledged --> Outcome::Gone
//! ```

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use postrider_proto::{
    AckReason,
    client::{OwnChange, check_own},
    wire::{PacketType, Property, ReasonCode, Text, TextError},
};

use crate::{
    AckError, Builder, Message,
    answer::{Answer, Awaited, Gone, answer},
    lock::lock,
    shared::Shared,
};

impl<S> Builder<S> {
    /// The program acknowledges messages of QoS 1 and 2 itself, with [`crate::Message::ack`]; otherwise the session does
    /// when they arrive.
    ///
    /// What holds when the process dies, for a message that arrived (and the server keeps the session):
    ///
    /// | | QoS 1 | QoS 2 |
    /// | --- | --- | --- |
    /// | automatic | gone, if its handler had not finished | the same |
    /// | by hand | comes again until acknowledged | the same |
    /// | ... with a store | and with the same [`crate::Message::number`] | the same; once acknowledged, never again |
    /// | `ack_with` | what it stores is there at least once | what it stores is there exactly once |
    ///
    /// At QoS 1 the server does not hear that its PUBACK was lost: it sends a message that was acknowledged again, and
    /// nobody can tell. A handler that does something outside the store may do it twice in any case, if the process dies
    /// between doing it and the acknowledgement; then [`crate::Message::is_redelivery`] says so.
    ///
    /// - The server may leave [`Builder::receive_maximum`] messages open. A message that is not acknowledged holds the
    ///   answers of later ones back, and in the end no more come; the connection stays, with its pings.
    /// - A server of 3.1.1 knows no such maximum, and one of 5.0 may break it where a session was resumed. Then the first
    ///   message too many is not read before earlier ones are acknowledged, and neither is what comes behind it, answers to
    ///   verbs among them. A program with so many unacknowledged messages that awaits a verb, a publication at QoS 1
    ///   or 2 or a subscription, before it acknowledges the oldest of them, may wait for ever.
    /// - A message that is dropped unacknowledged comes again on the same stream, after a tenth of a second at first,
    ///   later less often. If its stream has ended, it goes where a new message would go.
    /// - After a reconnect the server sends what is open again. It is not handed out again while the program, or a
    ///   stream, has its copy; that one still counts.
    /// - If the server has lost the session, its messages are gone: [`crate::AckError::Stale`].
    /// - What no stream wants is kept unacknowledged, see [`crate::Session::unmatched`].
    ///
    /// A sum that counts every reading once, whenever this process dies:
    ///
    /// ```
    /// use postrider::{QoS, blocking::Session};
    /// use postrider_testing::TestBroker;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = TestBroker::start()?;
    /// # let folder = std::env::temp_dir().join(format!("postrider-sum-{}", std::process::id()));
    /// let session = Session::builder(broker.url(), "sum")
    ///     .store(&folder)
    ///     .manual_acknowledgement()
    ///     .connect()?;
    /// let readings = session.subscribe_with("meter/+", QoS::ExactlyOnce).open()?;
    /// for reading in ["3", "4"] {
    ///     session.publish("meter/7", reading).qos(QoS::ExactlyOnce).wait()?;
    /// }
    /// for message in readings.take(2) {
    ///     let sum = session.stored("sum")?.unwrap_or_default();
    ///     let sum = std::str::from_utf8(&sum)?.parse().unwrap_or(0) + message.text()?.parse::<u64>()?;
    ///     // The sum and the end of the message are stored in one step.
    ///     message.ack_with(|batch| batch.put("sum", sum.to_string())).wait()?;
    /// }
    /// assert_eq!(session.stored("sum")?.as_deref(), Some(&b"7"[..]));
    /// session.disconnect()?;
    /// # std::fs::remove_dir_all(&folder).ok();
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn manual_acknowledgement(mut self) -> Self {
        self.is_manual = true;
        self
    }
}

/// What a program stores together with an acknowledgement, see [`Message::ack_with`], and what it tells the server with
/// it. Stored are at most 1 MiB of keys and values (32 bytes more for each change count too), and 1,024 bytes a key. The
/// last change of a key counts.
#[derive(Debug, Default)]
pub struct Batch {
    changes: Vec<OwnChange>,
    reason: AckReason,
    /// The first thing that cannot be sent.
    fault: Option<AckError>,
}

impl Batch {
    /// Stores a value under a key of the program's own; none of these keys meets one of the session's.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (key, value) = (key.as_ref(), value.as_ref());
        let change = OwnChange::Put(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        self.changes.push(change);
    }

    /// Removes what stands under a key of the program's own.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.changes.push(OwnChange::Delete(Bytes::copy_from_slice(key.as_ref())));
    }

    /// The reason code of PUBACK or PUBREC (5.0): `Success`, `NoMatchingSubscribers`, or one from 0x80 on, which refuses the
    /// message, see [`Message::refuse`].
    pub fn reason(&mut self, reason: ReasonCode) {
        if !reason.may_stand_in(PacketType::PubAck) {
            self.fault.get_or_insert(AckError::Reason(reason));
        }
        self.reason.code = reason;
    }

    /// An explanation for the server's log (5.0).
    pub fn explanation(&mut self, text: &str) {
        if let Some(text) = self.reason_string(text) {
            self.reason.properties.set(text);
        }
    }

    /// Adds a name and a value to PUBACK or PUBREC (5.0).
    pub fn user_property(&mut self, name: &str, value: &str) {
        if let Some(pair) = self.pair(name, value) {
            self.reason.properties.push(pair);
        }
    }

    /// An explanation in the PUBCOMP of a message at QoS 2 (5.0). What PUBCOMP says is left out where PUBREL comes to
    /// another process, and where that of all messages has more than 1 MiB.
    pub fn pubcomp_explanation(&mut self, text: &str) {
        if let Some(text) = self.reason_string(text) {
            self.reason.completion.set(text);
        }
    }

    /// Adds a name and a value to the PUBCOMP of a message at QoS 2 (5.0), see [`Batch::pubcomp_explanation`].
    pub fn pubcomp_user_property(&mut self, name: &str, value: &str) {
        if let Some(pair) = self.pair(name, value) {
            self.reason.completion.push(pair);
        }
    }

    fn reason_string(&mut self, text: &str) -> Option<Property> {
        let text = Text::new(text).map_err(|error| self.reject("the explanation", error));
        text.ok().map(Property::ReasonString)
    }

    fn pair(&mut self, name: &str, value: &str) -> Option<Property> {
        match (Text::new(name), Text::new(value)) {
            (Ok(name), Ok(value)) => Some(Property::UserProperty(name, value)),
            (Err(error), _) | (_, Err(error)) => {
                self.reject("a user property", error);
                None
            }
        }
    }

    fn reject(&mut self, what: &'static str, error: TextError) {
        self.fault.get_or_insert(AckError::Text { what, error });
    }
}

/// What became of a message, for the driver. These do not stand in the mailbox: publications that wait there for room may
/// be waiting for the very answers that the server sends only once it has these acknowledgements.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Every stream has acknowledged it.
    Acknowledged(Acknowledged),
    /// A stream's copy was dropped unacknowledged.
    Returned(Box<Returned>),
    /// Nobody has a copy, and nobody has acknowledged it.
    Gone(u64),
}

/// An acknowledgement of all who had the message.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) number: u64,
    pub(crate) own: Vec<OwnChange>,
    pub(crate) reason: AckReason,
    pub(crate) answers: Vec<Answer<AckResult>>,
}

/// A copy to be delivered again.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) stream: u64,
    pub(crate) message: Message,
}

/// An acknowledgement on its way; `.await` it to know that it is stored. Dropping it takes nothing back.
#[derive(Debug)]
pub struct Ack(Result<Option<Answered>, AckError>);

/// What will be answered, and by whose driver.
type Answered = (Awaited<AckResult>, Arc<Shared>);

impl Ack {
    /// Nothing needs to be acknowledged.
    pub(crate) fn nothing() -> Self {
        Self(Ok(None))
    }

    pub(crate) fn refused(error: AckError) -> Self {
        Self(Err(error))
    }

    /// Of the session whose driver answers, if one does.
    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        self.0.as_ref().ok()?.as_ref().map(|(_, shared)| Arc::clone(shared))
    }
}

impl Future for Ack {
    type Output = AckResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AckResult> {
        match &self.0 {
            Ok(None) => Poll::Ready(Ok(())),
            Ok(Some((awaited, shared))) => awaited
                .poll(cx)
                .map(|answer| answer.unwrap_or_else(|Gone| Err(AckError::Over(shared.end())))),
            Err(error) => Poll::Ready(Err(error.clone())),
        }
    }
}

/// How an acknowledgement ends.
pub(crate) type AckResult = Result<(), AckError>;

/// One arrived message, however many streams have a copy.
pub(crate) struct Parcel {
    number: u64,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Copies of streams that have not acknowledged.
    open: usize,
    /// What is told the server; `None` until a stream has acknowledged.
    reason: Option<AckReason>,
    own: Vec<OwnChange>,
    answers: Vec<Answer<AckResult>>,
    /// The driver has been told.
    is_done: bool,
}

/// What a message has that is to be acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    parcel: Arc<Parcel>,
    pub(crate) is_redelivery: bool,
    /// How often it was dropped unacknowledged.
    pub(crate) returns: u32,
    /// There once a stream has it; shared by clones.
    token: Option<Arc<Token>>,
}

/// One stream's copy.
struct Token {
    parcel: Arc<Parcel>,
    stream: u64,
    /// For the next delivery, if this one is dropped.
    message: Message,
    is_done: AtomicBool,
}

impl Charge {
    pub(crate) fn new(number: u64, is_redelivery: bool, shared: &Arc<Shared>) -> Self {
        let (shared, state) = (Arc::clone(shared), Mutex::default());
        let parcel = Arc::new(Parcel { number, shared, state });
        Self { parcel, is_redelivery, returns: 0, token: None }
    }

    pub(crate) fn number(&self) -> u64 {
        self.parcel.number
    }

    /// The same charge for one stream's copy; `message` is what comes again if it is dropped.
    pub(crate) fn for_stream(&self, stream: u64, mut message: Message) -> Self {
        message.charge = Some(Box::new(Self {
            is_redelivery: true,
            returns: self.returns.saturating_add(1),
            parcel: Arc::clone(&self.parcel),
            token: None,
        }));
        lock(&self.parcel.state).open += 1;
        let (parcel, is_done) = (Arc::clone(&self.parcel), AtomicBool::new(false));
        let token = Token { parcel, stream, message, is_done };
        Self { token: Some(Arc::new(token)), parcel: Arc::clone(&self.parcel), ..*self }
    }

    /// A dropped copy is about to be delivered again, or never will be. Says whether that was the last one, and others
    /// have acknowledged: then the message is acknowledged.
    pub(crate) fn close_copy(&self) -> bool {
        let mut state = lock(&self.parcel.state);
        state.open = state.open.saturating_sub(1);
        state.open == 0 && state.reason.is_some()
    }

    /// Tells the driver that all streams have acknowledged.
    pub(crate) fn acknowledge(&self) {
        self.parcel.acknowledge();
    }

    pub(crate) fn ack(&self, batch: Batch) -> Ack {
        let shared = Arc::clone(&self.parcel.shared);
        Ack(self.send(batch).map(|awaited| Some((awaited, shared))))
    }

    /// Acknowledges a copy that nobody will read.
    pub(crate) fn give_up(&self) {
        match &self.token {
            // Nobody waits for it to be stored.
            Some(_) => drop(self.ack(Batch::default())),
            None => self.parcel.acknowledge(),
        }
    }

    /// Whether a stream has a copy.
    pub(crate) fn has_copies(&self) -> bool {
        lock(&self.parcel.state).open > 0
    }

    fn send(&self, batch: Batch) -> Result<Awaited<AckResult>, AckError> {
        let number = self.parcel.number;
        let shared = &self.parcel.shared;
        if let Some(fault) = batch.fault {
            return Err(fault);
        }
        if !batch.changes.is_empty() && !shared.has_store {
            return Err(AckError::NoStore);
        }
        check_own(&batch.changes).map_err(|error| AckError::from_machine(error, shared))?;
        let token = self.token.as_ref().ok_or(AckError::Stale { number })?;
        if token.is_done.swap(true, Ordering::AcqRel) {
            return Err(AckError::Stale { number });
        }
        let (answer, answered) = answer();
        let mut state = lock(&self.parcel.state);
        state.open = state.open.saturating_sub(1);
        // Who takes a message goes before who refuses it; else the first one has the word.
        if state
            .reason
            .as_ref()
            .is_none_or(|said| said.code.is_error() && !batch.reason.code.is_error())
        {
            state.reason = Some(batch.reason);
        }
        state.own.extend(batch.changes);
        state.answers.push(answer);
        let is_last = state.open == 0;
        drop(state);
        if is_last {
            self.parcel.acknowledge();
        }
        Ok(answered)
    }
}

impl Parcel {
    fn acknowledge(&self) {
        let mut state = lock(&self.state);
        state.is_done = true;
        let acknowledged = Acknowledged {
            number: self.number,
            own: mem::take(&mut state.own),
            reason: state.reason.take().unwrap_or_default(),
            answers: mem::take(&mut state.answers),
        };
        drop(state);
        // Where nobody takes it any more the answers are dropped, which says that the session is over.
        self.shared.report(Outcome::Acknowledged(acknowledged));
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if !lock(&self.state).is_done {
            self.shared.report(Outcome::Gone(self.number));
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if !*self.is_done.get_mut() {
            let (stream, message) = (self.stream, self.message.clone());
            // Once the session is over, the server sends it again to the next one.
            self.parcel.shared.report(Outcome::Returned(Box::new(Returned { stream, message })));
        }
    }
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parcel").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("stream", &self.stream).finish_non_exhaustive()
    }
}
