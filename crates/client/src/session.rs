//! The handle of a session: its verbs.

use std::{future::IntoFuture, marker::PhantomData, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use postrider_proto::{
    Limits,
    wire::{Disconnect, Filter, PacketType, Properties, Property, QoS, ReasonCode, Text},
};

use crate::{
    Builder, Connected, DisconnectError, Events, IntoFilter, IntoTopic, Payload, PendingMessage,
    PublishError, PublishRequest, Receipt, SessionEnd, Source, Stats, StoredError,
    SubscribeManyRequest, SubscribeRequest, Unmatched, UnsubscribeError,
    answer::{Gone, answer},
    builder::ms,
    command::{Command, DisconnectCommand, UnsubscribeCommand},
    event,
    mailbox::Closed,
    said::{say, seconds},
    shared::{Handle, Shared},
    subscription::send,
};

/// A session with a broker: cheap to clone, and the same session from every task and thread.
///
/// It stays connected by itself. When the last handle and the last stream are dropped, what was published is flushed and
/// the session is disconnected in the background; [`Session::disconnect`] does the same and says how it went.
#[derive(Clone, Debug)]
pub struct Session {
    handle: Arc<Handle>,
}

/// A disconnect with options; `.await` it.
///
/// `S` is the kind of session; see [`crate::blocking`] for what is called there in place of `.await`.
#[must_use = "nothing is disconnected until it is awaited"]
#[derive(Debug)]
pub struct DisconnectRequest<S = Session> {
    kind: PhantomData<fn() -> S>,
    handle: Arc<Handle>,
    disconnect: Disconnect,
    session_expiry_s: Option<u32>,
    flush: Duration,
    fault: Option<DisconnectError>,
}

impl Session {
    /// Begins a session: where to connect and under which client id.
    ///
    /// `url` is `mqtt://user:password@host:1883`, `tcp://host:1883` or `unix:/path`. An empty client id is replaced by one
    /// that is made here, so that a reconnect finds the session again.
    #[must_use]
    pub fn builder(url: impl Into<String>, client_id: impl Into<String>) -> Builder {
        Builder::new(url.into(), client_id.into())
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { handle: shared.open_handle() }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.handle.0
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Publishes a message; `.await` the request, or its [`PublishRequest::receipt`].
    pub fn publish(
        &self,
        topic: impl IntoTopic,
        payload: impl Into<Payload>,
    ) -> PublishRequest<'_> {
        PublishRequest::new(self, &self.handle, topic, payload.into())
    }

    /// Publishes a payload from a file or a reader, without having it in memory; otherwise as [`Session::publish`].
    ///
    /// ```no_run
    /// # async fn example(session: postrider::Session) -> Result<(), postrider::PublishError> {
    /// use postrider::{QoS, Source};
    ///
    /// let picture = Source::file("picture.png");
    /// session.publish_from("plant/7/picture", picture).qos(QoS::ExactlyOnce).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It is read on a thread of its own into a file beside the session's store, or among the system's temporary files
    /// (`TMPDIR`) without one, and takes its place in the queue once it was read whole. Before anything is read, topic,
    /// properties and length are checked, and the session's queue must have room. A payload of 1 MiB or more given to
    /// [`Session::publish`] goes the same way if it is to be stored.
    ///
    /// If it has fewer or more bytes than it should, or cannot be read, nothing is published and nothing is left of it:
    /// [`PublishError::Source`].
    pub fn publish_from(&self, topic: impl IntoTopic, source: Source) -> PublishRequest<'_> {
        PublishRequest::new(self, &self.handle, topic, source)
    }

    /// A receipt for a message by its number, while its exchange is not complete: also for one that a process before this
    /// one published into the same store.
    ///
    /// How a message ended that is complete is not stored, not even a refusal: its publication, a receipt that was there
    /// before, or [`crate::Event::PublishFailed`] says it, in the process that learns of it.
    ///
    /// # Errors
    /// [`PublishError::NotOpen`] if the message is complete, or was never published; [`PublishError::Unreadable`] if it has
    /// failed so, also in a process before this one; [`PublishError::Over`].
    pub async fn receipt(&self, number: u64) -> Result<Receipt, PublishError> {
        let shared = self.shared();
        let (answer, answered) = answer();
        let over = |Gone| PublishError::Over(shared.end());
        send(shared, Command::Receipt { number, answer }).await.map_err(over)?;
        answered.wait().await.map_err(over)?
    }

    /// Every message published at QoS 1 or 2 whose exchange is not complete, by rising numbers. Those that wait for their
    /// turn are listed too, so this may be long.
    ///
    /// # Errors
    /// Why the session is over.
    pub async fn pending(&self) -> Result<Vec<PendingMessage>, SessionEnd> {
        let shared = self.shared();
        let (answer, answered) = answer();
        let over = |Gone| shared.end();
        send(shared, Command::Pending(answer)).await.map_err(over)?;
        answered.wait().await.map_err(over)
    }

    /// Subscribes to a filter; `.await` the request for a [`crate::Subscription`], the stream of its messages.
    pub fn subscribe(&self, filter: impl IntoFilter, qos: QoS) -> SubscribeRequest {
        SubscribeRequest::new(self.clone(), Arc::clone(&self.handle), filter, qos)
    }

    /// Subscribes to several filters at once, in one SUBSCRIBE; `.await` the request for the verdict on each filter, in
    /// their order: a [`crate::Subscription`] of its own, or why there is none.
    ///
    /// ```no_run
    /// # async fn example(session: postrider::Session) -> Result<(), postrider::SubscribeError> {
    /// use postrider::QoS;
    ///
    /// let filters = ["plant/+/temp", "plant/+/speed"].map(|filter| (filter, QoS::AtLeastOnce));
    /// for verdict in session.subscribe_many(filters).await? {
    ///     match verdict {
    ///         Ok(stream) => println!("{} at QoS {:?}", stream.filter(), stream.granted()),
    ///         Err(refusal) => eprintln!("{refusal}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A filter that is refused takes nothing from the others. For all or nothing collect the verdicts into a
    /// `Result<Vec<_>, _>`: the streams that go with an error are unsubscribed, as all that are dropped. Each stream is as
    /// one of [`Session::subscribe`], for what is true of one filter (its bounds, its end, which of several copies is whose)
    /// is not true of a list; `select_all` of the crate `futures` makes one stream of them.
    ///
    /// It is more than one SUBSCRIBE if the server does not take one as large ([`Limits::packet_size_max`]), and if filters
    /// overlap, since a SUBSCRIBE has one identifier and overlapping filters are told apart by theirs (5.0). None of them
    /// waits for the answer to another. Some servers take few filters at once: AWS IoT closes the connection for more than
    /// eight.
    ///
    /// # Errors
    /// [`crate::SubscribeError`], with nothing sent: [`Empty`](crate::SubscribeError::Empty) without a filter, and what is
    /// wrong with the first filter that is none, or with an option. `Over` if the session ends before the last verdict.
    ///
    /// Spec: v5 sections 3.8.3 and 3.9.3 [MQTT-3.8.4-6], v3.1.1 sections 3.8.3 and 3.9.3 [MQTT-3.8.4-5].
    pub fn subscribe_many(
        &self,
        filters: impl IntoIterator<Item = (impl IntoFilter, QoS)>,
    ) -> SubscribeManyRequest {
        SubscribeManyRequest::new_many(self.clone(), Arc::clone(&self.handle), filters)
    }

    /// Unsubscribes from a filter and ends all its streams. It need not have been subscribed by this process.
    ///
    /// # Errors
    /// [`UnsubscribeError`].
    pub async fn unsubscribe(&self, filter: impl IntoFilter) -> Result<(), UnsubscribeError> {
        self.unsubscribe_with(filter, Properties::new()).await.map(drop)
    }

    /// [`Session::unsubscribe`] with properties, of which an UNSUBSCRIBE may have user properties (5.0). Returns those of
    /// the server's UNSUBACK.
    ///
    /// # Errors
    /// [`UnsubscribeError`].
    pub async fn unsubscribe_with(
        &self,
        filter: impl IntoFilter,
        properties: Properties,
    ) -> Result<Properties, UnsubscribeError> {
        self.send_unsubscribe(Some(vec![filter.into_filter()?]), properties).await
    }

    /// Unsubscribes from every filter and ends all streams.
    ///
    /// # Errors
    /// [`UnsubscribeError`].
    pub async fn unsubscribe_all(&self) -> Result<(), UnsubscribeError> {
        self.send_unsubscribe(None, Properties::new()).await.map(drop)
    }

    async fn send_unsubscribe(
        &self,
        filters: Option<Vec<Filter>>,
        properties: Properties,
    ) -> Result<Properties, UnsubscribeError> {
        let shared = self.shared();
        let (answer, answered) = answer();
        let unsubscribe = UnsubscribeCommand { filters, properties, answer };
        let command = Command::Unsubscribe(Box::new(unsubscribe));
        // It does not wait for room: a future that is dropped must not take the request with it.
        shared
            .mailbox
            .force(command, 0)
            .map_err(|Closed(_)| UnsubscribeError::Over(shared.end()))?;
        answered.wait().await.map_err(|Gone| UnsubscribeError::Over(shared.end()))?
    }

    /// Waits until everything published is complete (at most 10 s), says goodbye and ends the session: no will is sent,
    /// and all streams end. A second call does nothing.
    ///
    /// A session that began clean is forgotten by a 5.0 server at once; one that is to be resumed keeps its expiry.
    ///
    /// # Errors
    /// [`DisconnectError::Unfinished`] if publications are not confirmed and no store keeps them; the session is over
    /// all the same.
    pub async fn disconnect(&self) -> Result<(), DisconnectError> {
        self.disconnect_with().await
    }

    /// [`Session::disconnect`] with options.
    pub fn disconnect_with(&self) -> DisconnectRequest {
        DisconnectRequest::new(Arc::clone(&self.handle))
    }

    /// Reads what [`crate::Message::ack_with`] has stored under a key; `None` if there is nothing. Acknowledgements that
    /// were called before count, stored or not.
    ///
    /// # Errors
    /// [`StoredError`].
    pub async fn stored(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, StoredError> {
        let (answer, answered) = answer();
        let key = Bytes::copy_from_slice(key.as_ref());
        let shared = self.shared();
        let over = |Gone| StoredError::Over(shared.end());
        send(shared, Command::ReadOwn { key, answer }).await.map_err(over)?;
        answered.wait().await.map_err(over)?
    }

    /// What happens to the connection, beginning with the state of now.
    #[must_use]
    pub fn events(&self) -> Events {
        event::open(&self.handle.0, Some(Arc::clone(&self.handle)))
    }

    /// Messages that no subscription asks for, beginning with those kept so far. Only the latest such stream gets them.
    #[must_use]
    pub fn unmatched(&self) -> Unmatched {
        Unmatched::new(&self.handle)
    }

    /// Counts, as of the driver's last turn.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared().stats()
    }

    /// What the server lets us send; `None` without a connection.
    #[must_use]
    pub fn limits(&self) -> Option<Limits> {
        self.shared().limits()
    }

    /// The connection of now; `None` if there is none.
    #[must_use]
    pub fn connected(&self) -> Option<Connected> {
        self.shared().connected()
    }

    /// Why the session is over; `None` while it is not.
    #[must_use]
    pub fn ended(&self) -> Option<SessionEnd> {
        self.shared().over()
    }
}

/// How long a disconnect waits for publications to complete, unless told otherwise.
const FLUSH: Duration = Duration::from_secs(10);

impl<S> DisconnectRequest<S> {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        let reason = ReasonCode::Success;
        Self {
            kind: PhantomData,
            handle,
            disconnect: Disconnect { reason, properties: Properties::new() },
            session_expiry_s: None,
            flush: FLUSH,
            fault: None,
        }
    }

    /// The reason code (5.0); `DisconnectWithWill` makes the server publish the will.
    pub fn reason(mut self, reason: ReasonCode) -> Self {
        if reason.may_stand_in(PacketType::Disconnect) {
            self.disconnect.reason = reason;
        } else {
            self.fault.get_or_insert(DisconnectError::Reason(reason));
        }
        self
    }

    /// How long the server keeps the session from now on (5.0); whole seconds. A session that was begun with an expiry of
    /// zero cannot be given another one.
    pub fn session_expiry(mut self, expiry: Duration) -> Self {
        self.session_expiry_s = Some(seconds(expiry));
        self
    }

    /// An explanation for the server's log (5.0).
    pub fn explanation(mut self, text: &str) -> Self {
        match Text::new(text) {
            Ok(text) => self.disconnect.properties.set(Property::ReasonString(text)),
            Err(error) => {
                self.fault = Some(DisconnectError::Text { what: "the explanation", error });
            }
        }
        self
    }

    /// Adds any property that a DISCONNECT may have (5.0).
    pub fn property(mut self, property: Property) -> Self {
        if let Property::SessionExpiryInterval(seconds) = property {
            self.session_expiry_s = Some(seconds);
        } else if property.kind().may_stand_in(PacketType::Disconnect) {
            say(&mut self.disconnect.properties, property);
        } else {
            self.fault.get_or_insert(DisconnectError::Property(property.kind().name()));
        }
        self
    }

    /// How long publications may take to complete; zero hangs up behind what is written already. Of several disconnects
    /// the one that waits least decides.
    pub fn flush(mut self, flush: Duration) -> Self {
        self.flush = flush;
        self
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    pub(crate) async fn send(self) -> Result<(), DisconnectError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let (answer, answered) = answer();
        let command = Command::Disconnect(Box::new(DisconnectCommand {
            disconnect: self.disconnect,
            session_expiry_s: self.session_expiry_s,
            flush: self.flush,
            answer,
        }));
        let shared = &self.handle.0;
        shared.leave(ms(self.flush));
        let ended = |Gone| match shared.end() {
            SessionEnd::Disconnected => Ok(()),
            end @ (SessionEnd::Link(_) | SessionEnd::Store(_) | SessionEnd::Stopped) => {
                Err(DisconnectError::Over(end))
            }
        };
        // Nor does this wait for room.
        if shared.mailbox.force(command, 0).is_err() {
            return ended(Gone);
        }
        answered.wait().await.unwrap_or_else(ended)
    }
}

impl IntoFuture for DisconnectRequest {
    type Output = Result<(), DisconnectError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
