//! Subscribing: the request and the stream it gives.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use postrider_proto::wire::{
    Filter, Properties, Property, QoS, RetainHandling, SubscribeFilter, SubscribeOptions, Text,
};
use tracing::{Instrument, Span};

use crate::{
    IntoFilter, Message, Session, StreamEnd, SubscribeError, UnsubscribeError, WhenSlow,
    answer::{Gone, answer},
    command::{Command, SubscribeCommand, SubscribeLine},
    mailbox::{Closed, Ticket},
    queue::{Reader, StreamQueue},
    shared::{Handle, Shared},
    spans,
};

/// A subscription about to be made; `.await` it.
///
/// `S` is the kind of session; see [`crate::blocking`] for what is called there in place of `.await`. `F` is what it asks
/// for: one filter, or several ([`SubscribeManyRequest`]).
#[must_use = "nothing is subscribed until it is awaited"]
#[derive(Debug)]
pub struct SubscribeRequest<S = Session, F = Filter> {
    pub(crate) session: S,
    handle: Arc<Handle>,
    filters: Result<F, SubscribeError>,
    options: SubscribeOptions,
    identifier: Option<u32>,
    properties: Properties,
    pub(crate) when_slow: WhenSlow,
}

/// Several subscriptions about to be made at once, see [`Session::subscribe_many`]; `.await` it. Its options hold for each
/// of them.
pub type SubscribeManyRequest<S = Session> = SubscribeRequest<S, Vec<(Filter, QoS)>>;

/// The messages of one subscription, in the order in which they arrived.
///
/// Several streams on one filter share one subscription at the server, and each gets every message; so do streams of
/// filters that overlap. Each gets the retained messages once, when it is opened; only where the server has no subscription
/// identifiers (3.1.1 has none), and with [`SubscribeRequest::retain_as_published`] or an identifier of the program's own,
/// do the streams that are there get them again when another one is opened on their filter. Dropping the stream unsubscribes
/// in the background once it is the last one of its filter. The subscription is made again by itself after the server lost
/// the session.
///
/// The stream holds at most what [`crate::Builder::stream_messages`] and [`crate::Builder::stream_bytes`] say. Once full,
/// it holds up everything that arrives, for at most [`crate::Builder::stall_budget`]; then a message at QoS 0 takes the
/// place of the oldest one, and one at QoS 1 or 2 ends the stream with [`StreamEnd::TooSlow`]. [`WhenSlow`] has other
/// policies. Acknowledgements have an order: those that the program holds back hold later ones back.
#[derive(Debug)]
pub struct Subscription {
    reader: Reader,
    filter: Filter,
    granted: QoS,
    properties: Properties,
    is_dropped_by_name: bool,
}

impl<S> SubscribeRequest<S> {
    pub(crate) fn new(session: S, handle: Arc<Handle>, filter: impl IntoFilter, qos: QoS) -> Self {
        Self::asking(session, handle, filter.into_filter().map_err(SubscribeError::Filter), qos)
    }

    pub(crate) async fn send(self) -> Result<Subscription, SubscribeError> {
        let qos = self.options.qos;
        let streams = self.map(|filter| vec![(filter, qos)]).send().await?;
        streams.into_iter().next().unwrap_or(Err(SubscribeError::Empty))
    }
}

impl<S> SubscribeManyRequest<S> {
    pub(crate) fn new_many(
        session: S,
        handle: Arc<Handle>,
        filters: impl IntoIterator<Item = (impl IntoFilter, QoS)>,
    ) -> Self {
        let filters = filters.into_iter().map(|(filter, qos)| Ok((filter.into_filter()?, qos)));
        Self::asking(session, handle, filters.collect(), QoS::AtMostOnce)
    }

    /// The verdict on each filter, in order.
    pub(crate) async fn send(self) -> Result<Verdicts, SubscribeError> {
        let filters = self.filters.as_deref().unwrap_or_default();
        let span = filters.first().map(|(first, _)| spans::subscribe(first, filters.len()));
        self.open_streams().instrument(span.unwrap_or_else(Span::none)).await
    }

    async fn open_streams(self) -> Result<Verdicts, SubscribeError> {
        let filters = self.filters?;
        if filters.is_empty() {
            return Err(SubscribeError::Empty);
        }
        if let Some(id) = self.identifier.filter(|id| !IDENTIFIERS.contains(id)) {
            return Err(SubscribeError::Identifier(id));
        }
        let shared = &self.handle.0;
        let (mut lines, mut waiting) = (Vec::new(), Vec::new());
        for (filter, qos) in filters {
            let queue = StreamQueue::new(shared.next_stream(), shared.stream_room, self.when_slow);
            let queue = Arc::new(queue);
            let handle = Some(Arc::clone(&self.handle));
            // Made before anything is sent: if this future is dropped, its drop takes the subscription back.
            let subscription = Subscription {
                reader: Reader::new(Arc::clone(&queue), Arc::clone(shared), handle),
                filter: filter.clone(),
                granted: qos,
                properties: Properties::new(),
                is_dropped_by_name: false,
            };
            let line =
                SubscribeFilter { filter, options: SubscribeOptions { qos, ..self.options } };
            let (answer, answered) = answer();
            lines.push(SubscribeLine { line, queue, answer });
            waiting.push((subscription, answered));
        }
        let (identifier, properties) = (self.identifier, self.properties);
        let command = SubscribeCommand { lines, identifier, properties };
        let over = |Gone| SubscribeError::Over(shared.end());
        send(shared, Command::Subscribe(Box::new(command))).await.map_err(over)?;
        let mut verdicts = Vec::with_capacity(waiting.len());
        for (mut subscription, answered) in waiting {
            verdicts.push(match answered.wait().await.map_err(over)? {
                Ok(granted) => {
                    subscription.granted = granted.qos;
                    subscription.properties = granted.properties;
                    Ok(subscription)
                }
                Err(error) => {
                    subscription.is_dropped_by_name = true;
                    Err(error)
                }
            });
        }
        Ok(verdicts)
    }
}

impl<S, F> SubscribeRequest<S, F> {
    fn asking(
        session: S,
        handle: Arc<Handle>,
        filters: Result<F, SubscribeError>,
        qos: QoS,
    ) -> Self {
        Self {
            session,
            handle,
            filters,
            options: SubscribeOptions { qos, ..SubscribeOptions::default() },
            identifier: None,
            properties: Properties::new(),
            when_slow: WhenSlow::Block,
        }
    }

    /// The same request for something else.
    fn map<G>(self, change: impl FnOnce(F) -> G) -> SubscribeRequest<S, G> {
        let Self { session, handle, filters, options, identifier, properties, when_slow } = self;
        let filters = filters.map(change);
        SubscribeRequest { session, handle, filters, options, identifier, properties, when_slow }
    }

    /// Do not deliver what this session publishes itself (5.0).
    pub fn no_local(mut self, no_local: bool) -> Self {
        self.options.no_local = no_local;
        self
    }

    /// Deliver the retain flag as it was published, not only as "this was retained before you subscribed" (5.0).
    pub fn retain_as_published(mut self, retain_as_published: bool) -> Self {
        self.options.retain_as_published = retain_as_published;
        self
    }

    /// When to deliver retained messages: at every subscribe (the default), at a new one, or never (5.0).
    pub fn retain_handling(mut self, retain_handling: RetainHandling) -> Self {
        self.options.retain_handling = retain_handling;
        self
    }

    /// A subscription identifier of the program's own, 1 to 268,435,455, which comes back in the properties of each
    /// message (5.0). Without one the session chooses, so that overlapping filters are told apart. A server without
    /// identifiers refuses it; one that comes to be connected to later is subscribed to without.
    pub fn identifier(mut self, identifier: u32) -> Self {
        self.identifier = Some(identifier);
        self
    }

    /// Adds a name and a value to the request (5.0).
    pub fn user_property(mut self, name: &str, value: &str) -> Self {
        match (Text::new(name), Text::new(value)) {
            (Ok(name), Ok(value)) => self.properties.push(Property::UserProperty(name, value)),
            (Err(error), _) | (_, Err(error)) => {
                let what = "a user property";
                self.filters = self.filters.and(Err(SubscribeError::Text { what, error }));
            }
        }
        self
    }
}

/// What becomes of each filter of a request, in their order.
pub(crate) type Verdicts = Vec<Result<Subscription, SubscribeError>>;

/// Subscription identifiers that the standard allows. Spec: v5 section 3.8.2.1.2.
const IDENTIFIERS: std::ops::RangeInclusive<u32> = 1..=268_435_455;

/// Puts a command into the mailbox, waiting for room.
pub(crate) async fn send(shared: &Shared, command: Command) -> Result<(), Gone> {
    let (mut command, mut ticket) = (Some(command), Ticket::default());
    std::future::poll_fn(|cx| {
        shared.mailbox.poll_send(cx, &mut ticket, &mut command, 0).map_err(|Closed(_)| Gone)
    })
    .await
}

impl IntoFuture for SubscribeRequest {
    type Output = Result<Subscription, SubscribeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl IntoFuture for SubscribeManyRequest {
    type Output = Result<Vec<Result<Subscription, SubscribeError>>, SubscribeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl Subscription {
    /// The next message; `None` once the stream has ended and everything before was read ([`Subscription::ended`]).
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.reader.poll(cx)).await
    }

    /// The next message if there is one already.
    pub fn try_next(&mut self) -> Option<Message> {
        self.reader.try_take()
    }

    /// The filter it was made with.
    #[must_use]
    pub fn filter(&self) -> &str {
        self.filter.as_str()
    }

    /// The QoS that the server granted: its messages come at most at this one.
    #[must_use]
    pub fn granted(&self) -> QoS {
        self.granted
    }

    /// All properties of the server's SUBACK (5.0).
    #[must_use]
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Messages that arrived and were not read yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.reader.queue().held()
    }

    /// Why the stream ended; `None` while it has not.
    #[must_use]
    pub fn ended(&self) -> Option<StreamEnd> {
        self.reader.queue().ended()
    }

    /// Ends this stream, and the subscription at the server if no other stream has the same filter. Resolves when the
    /// server has answered.
    ///
    /// # Errors
    /// [`UnsubscribeError`].
    pub async fn unsubscribe(mut self) -> Result<(), UnsubscribeError> {
        self.is_dropped_by_name = true;
        let shared = Arc::clone(self.reader.shared());
        if self.ended().is_some() {
            return Ok(());
        }
        let (answer, answered) = answer();
        let stream = self.reader.queue().id;
        let command = Command::DropStream { stream, answer: Some(answer) };
        let over = || UnsubscribeError::Over(shared.end());
        shared.mailbox.force(command, 0).map_err(|Closed(_)| over())?;
        answered.wait().await.map_err(|Gone| over())?.map(drop)
    }

    /// Lets the session end although this stream is still there.
    pub(crate) fn let_go(&mut self) {
        self.reader.let_go();
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.reader.shared()
    }

    /// Leaves the stream to the driver, which reads it from now on.
    pub(crate) fn into_queue(mut self) -> Arc<StreamQueue> {
        self.is_dropped_by_name = true;
        Arc::clone(self.reader.queue())
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.reader.poll(cx)
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.reader.poll(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if !self.is_dropped_by_name && self.ended().is_none() {
            let command = Command::DropStream { stream: self.reader.queue().id, answer: None };
            // A closed mailbox means that the session is over, and the subscription with it.
            let _ = self.reader.shared().mailbox.force(command, 0);
        }
    }
}

/// Messages that no subscription asked for: of an old session's subscriptions, or of a server with ideas of its own.
///
/// Without such a stream the session keeps as many of them as a stream holds until a subscription or a stream for them
/// comes, and counts what it drops beyond.
#[derive(Debug)]
pub struct Unmatched {
    reader: Reader,
}

impl Unmatched {
    pub(crate) fn new(handle: &Arc<Handle>) -> Self {
        let shared = &handle.0;
        let queue = StreamQueue::new(shared.next_stream(), shared.stream_room, WhenSlow::Block);
        let queue = Arc::new(queue);
        if shared.mailbox.force(Command::Unmatched(Arc::clone(&queue)), 0).is_err() {
            queue.end(StreamEnd::Over(shared.end()));
        }
        Self { reader: Reader::new(queue, Arc::clone(shared), Some(Arc::clone(handle))) }
    }

    /// The next message; `None` once the session is over or another such stream was opened.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.reader.poll(cx)).await
    }

    /// The next message if there is one already.
    pub fn try_next(&mut self) -> Option<Message> {
        self.reader.try_take()
    }

    /// Lets the session end although this stream is still there.
    pub(crate) fn let_go(&mut self) {
        self.reader.let_go();
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.reader.poll(cx)
    }
}

impl Stream for Unmatched {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.reader.poll(cx)
    }
}

impl Drop for Unmatched {
    fn drop(&mut self) {
        let command = Command::DropStream { stream: self.reader.queue().id, answer: None };
        // A closed mailbox means that the session is over.
        let _ = self.reader.shared().mailbox.force(command, 0);
    }
}
