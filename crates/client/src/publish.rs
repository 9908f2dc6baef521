//! Publishing: the request, its future, and the receipt.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use postrider_proto::wire::{Properties, Property, Publish, QoS, ReasonCode, Text, TextError};
use tracing::Span;

use crate::{
    IntoTopic, Payload, PublishError, Source,
    command::{Command, PublishCommand},
    filling::{Filling, SPOOL_ABOVE},
    mailbox::{Closed, Ticket},
    said::{say, seconds},
    session::Session,
    shared::{Handle, Shared},
    slot::{PublishAnswer, PublishSlot},
    spans,
};

/// A message about to be published. `.await` it, or take a [`Receipt`] first.
///
/// Awaiting resolves when the exchange is complete: at QoS 1 and 2 when the server has acknowledged, at QoS 0 when the
/// session has taken the message to send it. Once polled, the message is on its way: dropping the future loses nothing.
///
/// `S` is the kind of session; see [`crate::blocking`] for what is called there in place of `.await`.
#[must_use = "nothing is published until it is awaited"]
#[derive(Debug)]
pub struct PublishRequest<'a, S = Session> {
    pub(crate) session: &'a S,
    handle: &'a Arc<Handle>,
    head: Publish,
    /// Of PUBREL.
    release: Option<Box<Properties>>,
    content: Content,
    fault: Option<PublishError>,
}

/// What a message carries, and where it is.
#[derive(Debug)]
pub(crate) enum Content {
    Here(Bytes),
    There(Source),
}

impl From<Payload> for Content {
    fn from(payload: Payload) -> Self {
        Self::Here(payload.0)
    }
}

impl From<Source> for Content {
    fn from(source: Source) -> Self {
        Self::There(source)
    }
}

/// A completed publication.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Message number, counted up from 1 per session and never used again; 0 at QoS 0.
    pub number: u64,
    /// The server's reason code: `Success`, or `NoMatchingSubscribers` if it knows that nobody listens (5.0).
    pub reason: ReasonCode,
    /// Properties of the server's last acknowledgement: PUBACK, or PUBCOMP at QoS 2 (5.0).
    pub properties: Properties,
    /// Properties of the PUBREC that came before, at QoS 2 (5.0); none if those of all open exchanges had more than 1 MiB,
    /// or PUBREC came to another process.
    pub pubrec_properties: Properties,
    /// The server acknowledged a QoS 2 message as QoS 1 (some brokers do): it may have been delivered twice.
    pub is_downgraded: bool,
}

/// A message that the session has taken. It is sent, resent and completed whether or not this is kept.
#[derive(Debug)]
pub struct Receipt {
    number: u64,
    slot: Option<Arc<PublishSlot>>,
}

/// Resolves when a publication is complete. Made by awaiting a [`PublishRequest`].
#[derive(Debug)]
pub struct PublishFuture<'a> {
    sending: Sending<'a>,
    slot: Option<Arc<PublishSlot>>,
    is_sent: bool,
    /// Ends with the future.
    _span: Span,
}

/// Resolves when a publication is complete. Made by awaiting a [`Receipt`].
#[derive(Debug)]
pub struct Completed {
    slot: Option<Arc<PublishSlot>>,
}

impl<'a, S> PublishRequest<'a, S> {
    pub(crate) fn new(
        session: &'a S,
        handle: &'a Arc<Handle>,
        topic: impl IntoTopic,
        content: impl Into<Content>,
    ) -> Self {
        let (topic, fault) = match topic.into_topic() {
            Ok(topic) => (Some(topic), None),
            Err(error) => (None, Some(PublishError::Topic(error))),
        };
        let head = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic,
            packet_id: None,
            properties: Properties::new(),
            payload: Bytes::new(),
        };
        Self { session, handle, head, release: None, content: content.into(), fault }
    }

    /// Quality of service; 0 if not called.
    pub fn qos(mut self, qos: QoS) -> Self {
        self.head.qos = qos;
        self
    }

    /// Whether the server keeps the message for later subscribers of its topic; an empty payload clears what it keeps.
    pub fn retain(mut self, retain: bool) -> Self {
        self.head.retain = retain;
        self
    }

    /// How long the message is worth delivering (5.0); whole seconds, up to 136 years.
    pub fn expiry(self, expiry: Duration) -> Self {
        self.property(Property::MessageExpiryInterval(seconds(expiry)))
    }

    /// What the payload is, such as `application/json` (5.0).
    pub fn content_type(self, content_type: &str) -> Self {
        self.text("content type", content_type, Property::ContentType)
    }

    /// Where an answer is expected (5.0).
    pub fn response_topic(self, topic: &str) -> Self {
        self.text("response topic", topic, Property::ResponseTopic)
    }

    /// What an answer must carry (5.0); at most 65,535 bytes.
    pub fn correlation_data(self, data: impl Into<Payload>) -> Self {
        self.property(Property::CorrelationData(data.into().0))
    }

    /// Says that the payload is UTF-8 text (5.0).
    pub fn mark_text(self) -> Self {
        self.property(Property::PayloadFormatIndicator(1))
    }

    /// Adds a name and a value (5.0).
    pub fn user_property(mut self, name: &str, value: &str) -> Self {
        match (Text::new(name), Text::new(value)) {
            (Ok(name), Ok(value)) => self.property(Property::UserProperty(name, value)),
            (Err(error), _) | (_, Err(error)) => {
                self.blame("a user property", error);
                self
            }
        }
    }

    /// Adds any property that a PUBLISH may have (5.0), in place of one of its kind; a user property stands beside others.
    pub fn property(mut self, property: Property) -> Self {
        say(&mut self.head.properties, property);
        self
    }

    /// Adds a property to the PUBREL of this message at QoS 2 (5.0): a reason string or a user property. It is left out
    /// where PUBREL is sent again on another connection, or by another process. Those of all open messages may have 1 MiB.
    pub fn pubrel_property(mut self, property: Property) -> Self {
        say(self.release.get_or_insert_default(), property);
        self
    }

    pub(crate) async fn take_receipt(self) -> Result<Receipt, PublishError> {
        let mut sending = self.sending(true);
        let slot = std::future::poll_fn(|cx| sending.poll(cx)).await?;
        match slot {
            Some(slot) => {
                let number = std::future::poll_fn(|cx| slot.poll_taken(cx)).await?;
                Ok(Receipt { number, slot: Some(slot) })
            }
            None => Ok(Receipt { number: 0, slot: None }),
        }
    }

    pub(crate) async fn take_stored(self) -> Result<Receipt, PublishError> {
        if !self.handle.0.has_store || self.head.qos == QoS::AtMostOnce {
            return Err(self.fault.unwrap_or(PublishError::NotStored));
        }
        let mut receipt = self.take_receipt().await?;
        receipt.stored().await?;
        Ok(receipt)
    }

    /// Whether the server answers.
    pub(crate) fn is_answered(&self) -> bool {
        self.head.qos != QoS::AtMostOnce
    }

    pub(crate) fn complete(self) -> PublishFuture<'a> {
        let span = spans::publish(&self.head);
        PublishFuture { sending: self.sending(false), slot: None, is_sent: false, _span: span }
    }

    fn text(mut self, what: &'static str, text: &str, make: fn(Text) -> Property) -> Self {
        match Text::new(text) {
            Ok(text) => self.property(make(text)),
            Err(error) => {
                self.blame(what, error);
                self
            }
        }
    }

    /// The first fault counts.
    fn blame(&mut self, what: &'static str, error: TextError) {
        self.fault.get_or_insert(PublishError::Text { what, error });
    }

    fn sending(self, wants_receipt: bool) -> Sending<'a> {
        let shared = &*self.handle.0;
        if let Some(fault) = self.fault {
            return Sending { shared, step: Step::Failed(fault) };
        }
        let is_offline = shared.packet_size_max() == 0;
        let is_qos0 = self.head.qos == QoS::AtMostOnce;
        if is_qos0 && is_offline && !shared.takes_qos0_offline && shared.over().is_none() {
            return Sending { shared, step: Step::Failed(PublishError::NotConnected) };
        }
        let is_stored = shared.has_store && !is_qos0;
        let payload = match self.content {
            Content::Here(bytes) if !is_stored || (bytes.len() as u64) < SPOOL_ABOVE => {
                postrider_proto::Payload::Bytes(bytes)
            }
            Content::Here(bytes) => {
                let source = Source::bytes(bytes);
                return Sending::filling(self.handle, self.head, self.release, source);
            }
            Content::There(source) => {
                return Sending::filling(self.handle, self.head, self.release, source);
            }
        };
        let mut command = PublishCommand::new(self.head, payload, None);
        command.release = self.release;
        let cost = command.cost();
        command.is_certain = command.release.is_none()
            && shared.takes(command.head.qos)
            && is_plain(&command.head, cost, shared.packet_size_max());
        let slot = if !wants_receipt && is_qos0 && command.is_certain {
            None
        } else {
            let slot = Arc::new(PublishSlot::default());
            command.answer = Some(PublishAnswer(Some(Arc::clone(&slot))));
            Some(slot)
        };
        let step = Step::Waiting {
            command: Some(Command::Publish(command)),
            cost,
            ticket: Ticket::default(),
            slot,
            is_polled: false,
        };
        Sending { shared, step }
    }
}

impl PublishRequest<'_> {
    /// Waits until the session has taken the message; its end is known from the [`Receipt`].
    ///
    /// This is the way to have many publications on their way at once. While the session's queue is well filled and the
    /// connection stands, it waits: that is the back-pressure.
    ///
    /// # Errors
    /// [`PublishError`] if nothing was taken. Where that shows only later (the connection is lost a moment after, and the
    /// queue is full), the receipt says it.
    pub async fn receipt(self) -> Result<Receipt, PublishError> {
        self.take_receipt().await
    }

    /// Waits until the session's store has the message, so that it is not lost with the process: see
    /// [`crate::Builder::store`]. Its end is known from the [`Receipt`].
    ///
    /// # Errors
    /// [`PublishError::NotStored`] without a store and at QoS 0; others if nothing was taken.
    pub async fn stored(self) -> Result<Receipt, PublishError> {
        self.take_stored().await
    }
}

/// Whether the machine cannot refuse a message, so that nobody must wait for its verdict.
fn is_plain(head: &Publish, cost: usize, packet_size_max: u32) -> bool {
    !head.retain
        && head.properties.is_empty()
        && cost.saturating_add(HEAD_LEN_MAX) <= usize::try_from(packet_size_max).unwrap_or(0)
}

/// Bytes of a PUBLISH besides topic, payload and properties: fixed header, lengths, packet identifier.
const HEAD_LEN_MAX: usize = 16;

impl<'a> IntoFuture for PublishRequest<'a> {
    type Output = Result<Published, PublishError>;
    type IntoFuture = PublishFuture<'a>;

    fn into_future(self) -> PublishFuture<'a> {
        self.complete()
    }
}

impl Future for PublishFuture<'_> {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_sent {
            match self.sending.poll(cx) {
                Poll::Ready(Ok(slot)) => {
                    self.slot = slot;
                    self.is_sent = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        match &self.slot {
            Some(slot) => slot.poll_done(cx),
            None => Poll::Ready(Ok(Published::unacknowledged(0))),
        }
    }
}

impl Published {
    pub(crate) fn unacknowledged(number: u64) -> Self {
        let reason = ReasonCode::Success;
        let (properties, pubrec_properties) = (Properties::new(), Properties::new());
        Self { number, reason, properties, pubrec_properties, is_downgraded: false }
    }
}

impl Receipt {
    /// Message number, counted up from 1 per session and never used again; 0 at QoS 0.
    #[must_use]
    pub fn message_number(&self) -> u64 {
        self.number
    }

    /// Waits until the session's store has the message, or its exchange is complete. A receipt has one who waits.
    ///
    /// # Errors
    /// [`PublishError::NotStored`] without a store and at QoS 0; others if the message failed.
    pub async fn stored(&mut self) -> Result<(), PublishError> {
        match &self.slot {
            Some(slot) if self.number > 0 => std::future::poll_fn(|cx| slot.poll_stored(cx)).await,
            Some(_) | None => Err(PublishError::NotStored),
        }
    }

    /// What to poll for the moment from which on awaiting the receipt does not wait.
    pub(crate) fn end(&self) -> impl FnOnce(&mut Context<'_>) -> Poll<()> + use<> {
        let slot = self.slot.clone();
        move |cx| slot.map_or(Poll::Ready(()), |slot| slot.poll_end(cx))
    }

    /// A receipt and the driver's end of it, for a message that is open.
    pub(crate) fn of(number: u64) -> (Self, PublishAnswer) {
        let slot = Arc::new(PublishSlot::numbered(number));
        (Self { number, slot: Some(Arc::clone(&slot)) }, PublishAnswer(Some(slot)))
    }

    /// Waits until the exchange is complete; the same as awaiting the receipt.
    ///
    /// # Errors
    /// [`PublishError`] if the server refused the message or the session ended first.
    pub async fn completed(self) -> Result<Published, PublishError> {
        self.await
    }
}

impl IntoFuture for Receipt {
    type Output = Result<Published, PublishError>;
    type IntoFuture = Completed;

    fn into_future(self) -> Completed {
        Completed { slot: self.slot }
    }
}

impl Future for Completed {
    type Output = Result<Published, PublishError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &self.slot {
            Some(slot) => slot.poll_done(cx),
            None => Poll::Ready(Ok(Published::unacknowledged(0))),
        }
    }
}

/// A command on its way into the mailbox.
#[derive(Debug)]
struct Sending<'a> {
    shared: &'a Shared,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Failed(PublishError),
    /// The payload is read first; whoever does that sends it.
    Filling(Option<(Box<Filling>, Arc<PublishSlot>)>),
    Waiting {
        command: Option<Command>,
        cost: usize,
        ticket: Ticket,
        slot: Option<Arc<PublishSlot>>,
        is_polled: bool,
    },
}

impl<'a> Sending<'a> {
    /// Of a message whose payload has yet to be read.
    fn filling(
        handle: &'a Arc<Handle>,
        head: Publish,
        release: Option<Box<Properties>>,
        source: Source,
    ) -> Self {
        let slot = Arc::new(PublishSlot::default());
        let answer = PublishAnswer(Some(Arc::clone(&slot)));
        let filling = Filling { handle: Arc::clone(handle), head, release, source, answer };
        Self { shared: &handle.0, step: Step::Filling(Some((Box::new(filling), slot))) }
    }

    /// Resolves when the mailbox has it.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Arc<PublishSlot>>, PublishError>> {
        match &mut self.step {
            Step::Failed(error) => Poll::Ready(Err(error.clone())),
            Step::Filling(filling) => Poll::Ready(Ok(filling.take().map(|(filling, slot)| {
                filling.start();
                slot
            }))),
            Step::Waiting { command, cost, ticket, slot, is_polled } => {
                *is_polled = true;
                match self.shared.mailbox.poll_send(cx, ticket, command, *cost) {
                    Poll::Ready(Ok(())) => Poll::Ready(Ok(slot.take())),
                    Poll::Ready(Err(Closed(command))) => {
                        discard(command);
                        Poll::Ready(Err(PublishError::Over(self.shared.end())))
                    }
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

/// The mailbox was full when the future was dropped: the message goes in all the same, and the session's own bounds
/// decide. Otherwise a timeout around a publish could lose it.
impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Step::Waiting { command, cost, is_polled: true, .. } = &mut self.step
            && let Some(command) = command.take()
            && let Err(Closed(command)) = self.shared.mailbox.force(command, *cost)
        {
            discard(command);
        }
    }
}

/// Drops a command that the driver will not see; its answer must not call it a stop of the runtime.
fn discard(command: Command) {
    if let Command::Publish(PublishCommand { answer: Some(mut answer), .. }) = command {
        answer.0 = None;
    }
}
