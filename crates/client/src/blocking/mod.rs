//! The same session without async: verbs wait, messages come to callbacks or to an iterator.
//!
//! ```no_run
//! use postrider::{QoS, blocking::Session};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let session = Session::builder("mqtt://127.0.0.1:1883", "press-7").connect()?;
//!     session.subscribe("plant/+/set", QoS::AtLeastOnce, |session, message| {
//!         // Every verb may be called from inside a callback.
//!         if let Ok(payload) = message.payload() {
//!             let _ = session.publish("plant/7/state", payload).wait();
//!         }
//!     })?;
//!     session.publish("plant/7/temp", "21.5").qos(QoS::ExactlyOnce).wait()?;
//!     session.disconnect()?;
//!     Ok(())
//! }
//! ```
//!
//! The connection is driven by whoever waits for it: a verb, on the thread that called it, and the thread on which callbacks
//! run, one at a time, while there are none to run. Otherwise a thread of the session's own drives it, within 2 ms of the
//! last one that did. Verbs work from any thread, from inside callbacks, and inside an async runtime, whose thread they block
//! and where they leave the driving to others.
//!
//! A session ends when `disconnect` is called or its last handle is dropped; callbacks do not keep it alive.

mod callbacks;
mod events;
mod receipt;
pub(crate) mod seat;
mod subscription;
pub(crate) mod wait;

use std::{
    future::{Future, poll_fn, ready},
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll},
};

use bytes::Bytes;
use postrider_proto::{
    Limits,
    wire::{Properties, QoS},
};

use self::{
    callbacks::Callbacks,
    seat::{Seat, wait, wait_timeout, wait_unless_ready},
};
pub use self::{events::Events, receipt::Receipt, subscription::Subscription};
use crate::{
    Ack, AckError, Builder, ConnectError, Connected, DisconnectError, DisconnectRequest, Event,
    IntoFilter, IntoTopic, Message, Payload, PendingMessage, PublishError, PublishRequest,
    Published, Request, RequestError, Session as AsyncSession, SessionEnd, Source, Stats,
    StoredError, SubscribeError, SubscribeManyRequest, SubscribeRequest, UnsubscribeError, builder,
    lock::lock,
};

/// A session with a broker: cheap to clone, and the same session from every thread.
#[derive(Clone, Debug)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    session: AsyncSession,
    callbacks: Arc<Callbacks>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.callbacks.close();
    }
}

impl Builder<Session> {
    /// Connects, and starts the thread that drives the session while nobody waits for it.
    ///
    /// The first attempt is the only one: if it fails, nothing is left behind.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(self) -> Result<Session, ConnectError> {
        let (session, driver, connecting) = self.open()?;
        let shared = Arc::clone(&session.handle().0);
        let session = Seat::start(driver, &shared, builder::wait(session, connecting))
            .map_err(|error| ConnectError::Thread(error.to_string()))??;
        Ok(Session::new(session))
    }

    /// Starts the thread that drives the session, which connects in the background. See [`Builder::start`] of the async
    /// face.
    ///
    /// # Errors
    /// [`ConnectError`] if options are wrong or the store cannot be opened.
    pub fn start(self) -> Result<Session, ConnectError> {
        let (session, driver, _) = self.in_background().open()?;
        Seat::start(driver, session.shared(), ready(()))
            .map_err(|error| ConnectError::Thread(error.to_string()))?;
        Ok(Session::new(session))
    }
}

impl Session {
    /// Begins a session: where to connect and under which client id. See [`crate::Session::builder`].
    #[must_use]
    pub fn builder(url: impl Into<String>, client_id: impl Into<String>) -> Builder<Self> {
        Builder::new(url.into(), client_id.into())
    }

    fn new(session: AsyncSession) -> Self {
        let callbacks = Arc::new(Callbacks::new(Arc::clone(&session.handle().0)));
        Self { inner: Arc::new(Inner { session, callbacks }) }
    }

    /// Publishes a message: [`PublishRequest::wait`], [`PublishRequest::receipt`] or [`PublishRequest::on_complete`].
    pub fn publish(
        &self,
        topic: impl IntoTopic,
        payload: impl Into<Payload>,
    ) -> PublishRequest<'_, Self> {
        PublishRequest::new(self, self.inner.session.handle(), topic, payload.into())
    }

    /// Publishes a message whose answer [`Request::wait`] waits for. See [`crate::Session::request`].
    pub fn request(&self, topic: impl IntoTopic, payload: impl Into<Payload>) -> Request<'_, Self> {
        Request::new(self, self.inner.session.handle(), topic, payload)
    }

    /// Publishes a payload from a file or a reader, without having it in memory. See [`crate::Session::publish_from`].
    pub fn publish_from(&self, topic: impl IntoTopic, source: Source) -> PublishRequest<'_, Self> {
        PublishRequest::new(self, self.inner.session.handle(), topic, source)
    }

    /// Waits until the exchange of a message is complete, also of one that a process before this one published into the
    /// same store.
    ///
    /// # Errors
    /// [`PublishError::NotOpen`] if it is complete already, or was never published; others if it fails.
    pub fn complete(&self, number: u64) -> Result<Published, PublishError> {
        self.wait(async { self.inner.session.receipt(number).await?.await })
    }

    /// Every message whose exchange is not complete. See [`crate::Session::pending`].
    ///
    /// # Errors
    /// Why the session is over.
    pub fn pending(&self) -> Result<Vec<PendingMessage>, SessionEnd> {
        self.wait(self.inner.session.pending())
    }

    /// Subscribes to a filter; `callback` gets each of its messages, on the callback thread. Returns the granted QoS.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn subscribe(
        &self,
        filter: impl IntoFilter,
        qos: QoS,
        callback: impl FnMut(&Self, Message) + Send + 'static,
    ) -> Result<QoS, SubscribeError> {
        self.subscribe_with(filter, qos).call(callback)
    }

    /// Subscribes with options: [`SubscribeRequest::call`] a callback, or [`SubscribeRequest::open`] an iterator.
    pub fn subscribe_with(&self, filter: impl IntoFilter, qos: QoS) -> SubscribeRequest<Self> {
        let handle = Arc::clone(self.inner.session.handle());
        SubscribeRequest::new(self.clone(), handle, filter, qos)
    }

    /// Subscribes to several filters at once, in one SUBSCRIBE; `callback` gets each of their messages, on the callback
    /// thread, those of one filter in their order, and one that matches two of them twice. Returns the verdict on each
    /// filter, in their order: the granted QoS, or why there is none. See [`crate::Session::subscribe_many`].
    ///
    /// # Errors
    /// [`SubscribeError`], with nothing sent, unless the session ends.
    pub fn subscribe_many(
        &self,
        filters: impl IntoIterator<Item = (impl IntoFilter, QoS)>,
        callback: impl FnMut(&Self, Message) + Send + 'static,
    ) -> Result<Vec<Result<QoS, SubscribeError>>, SubscribeError> {
        self.subscribe_many_with(filters).call(callback)
    }

    /// [`Session::subscribe_many`] with options: [`SubscribeManyRequest::call`] a callback, or
    /// [`SubscribeManyRequest::open`] iterators.
    pub fn subscribe_many_with(
        &self,
        filters: impl IntoIterator<Item = (impl IntoFilter, QoS)>,
    ) -> SubscribeManyRequest<Self> {
        let handle = Arc::clone(self.inner.session.handle());
        SubscribeManyRequest::new_many(self.clone(), handle, filters)
    }

    /// Unsubscribes from a filter; its callbacks and iterators end.
    ///
    /// # Errors
    /// [`UnsubscribeError`].
    pub fn unsubscribe(&self, filter: impl IntoFilter) -> Result<(), UnsubscribeError> {
        self.wait(self.inner.session.unsubscribe(filter))
    }

    /// [`Session::unsubscribe`] with properties. See [`crate::Session::unsubscribe_with`].
    ///
    /// # Errors
    /// [`UnsubscribeError`].
    pub fn unsubscribe_with(
        &self,
        filter: impl IntoFilter,
        properties: Properties,
    ) -> Result<Properties, UnsubscribeError> {
        self.wait(self.inner.session.unsubscribe_with(filter, properties))
    }

    /// Unsubscribes from every filter; all callbacks and iterators end.
    ///
    /// # Errors
    /// [`UnsubscribeError`].
    pub fn unsubscribe_all(&self) -> Result<(), UnsubscribeError> {
        self.wait(self.inner.session.unsubscribe_all())
    }

    /// Waits until everything published is complete (at most 10 s), says goodbye and ends the session. See
    /// [`crate::Session::disconnect`].
    ///
    /// # Errors
    /// [`DisconnectError`].
    pub fn disconnect(&self) -> Result<(), DisconnectError> {
        self.wait(self.inner.session.disconnect())
    }

    /// [`Session::disconnect`] with options; ends with [`DisconnectRequest::wait`].
    pub fn disconnect_with(&self) -> DisconnectRequest<Self> {
        DisconnectRequest::new(Arc::clone(self.inner.session.handle()))
    }

    /// What happens to the connection, beginning with the state of now. See [`crate::Session::events`].
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.inner.session.events(), &self.inner.session.handle().0)
    }

    /// Calls `callback` for each event, on the callback thread, beginning with the state of now.
    ///
    /// # Errors
    /// If there is no thread for callbacks.
    pub fn on_event(
        &self,
        mut callback: impl FnMut(&Self, Event) + Send + 'static,
    ) -> Result<(), ConnectError> {
        let mut events = crate::event::open(&self.inner.session.handle().0, None);
        let weak = self.downgrade();
        let poll = move |cx: &mut Context<'_>| events.poll(cx);
        self.spawn(each(poll, move |event| weak.call(|session| callback(session, event))))
    }

    /// Calls `callback` for each message that no subscription asks for. See [`crate::Session::unmatched`].
    ///
    /// # Errors
    /// If there is no thread for callbacks.
    pub fn on_unmatched(
        &self,
        mut callback: impl FnMut(&Self, Message) + Send + 'static,
    ) -> Result<(), ConnectError> {
        let mut unmatched = self.inner.session.unmatched();
        unmatched.let_go();
        let weak = self.downgrade();
        let poll = move |cx: &mut Context<'_>| unmatched.poll(cx);
        self.spawn(each(poll, move |message| weak.call(|session| callback(session, message))))
    }

    /// Reads what [`crate::Message::ack_with`] has stored under a key. See [`crate::Session::stored`].
    ///
    /// # Errors
    /// [`StoredError`].
    pub fn stored(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, StoredError> {
        self.wait(self.inner.session.stored(key))
    }

    /// Counts, as of the driver's last turn.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.session.stats()
    }

    /// What the server lets us send; `None` without a connection.
    #[must_use]
    pub fn limits(&self) -> Option<Limits> {
        self.inner.session.limits()
    }

    /// The connection of now; `None` if there is none.
    #[must_use]
    pub fn connected(&self) -> Option<Connected> {
        self.inner.session.connected()
    }

    /// Why the session is over; `None` while it is not.
    #[must_use]
    pub fn ended(&self) -> Option<SessionEnd> {
        self.inner.session.ended()
    }

    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        wait(self.inner.session.shared(), future)
    }

    pub(crate) fn session(&self) -> &AsyncSession {
        &self.inner.session
    }

    /// Calls back for each message, on the callback thread, as long as `call` says so. Gives the granted QoS.
    fn call_for_each(
        &self,
        mut messages: crate::Subscription,
        mut call: impl FnMut(&Self, Message) -> bool + Send + 'static,
    ) -> Result<QoS, SubscribeError> {
        messages.let_go();
        let granted = messages.granted();
        let weak = self.downgrade();
        let poll = move |cx: &mut Context<'_>| messages.poll(cx);
        let all = each(poll, move |message| {
            let mut is_wanted = true;
            weak.call(|session| is_wanted = call(session, message)) && is_wanted
        });
        let spawned = self.inner.callbacks.spawn(all);
        spawned.map_err(|error| SubscribeError::Thread(error.to_string()))?;
        Ok(granted)
    }

    fn downgrade(&self) -> WeakSession {
        WeakSession(Arc::downgrade(&self.inner))
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Result<(), ConnectError> {
        let spawned = self.inner.callbacks.spawn(future);
        spawned.map_err(|error| ConnectError::Thread(error.to_string()))
    }
}

impl PublishRequest<'_, Session> {
    /// Waits until the exchange is complete: at QoS 1 and 2 until the server has acknowledged, at QoS 0 until the session
    /// has taken the message.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn wait(self) -> Result<Published, PublishError> {
        let shared = self.session.session().shared();
        if self.is_answered() {
            wait(shared, self.complete())
        } else {
            wait_unless_ready(shared, self.complete())
        }
    }

    /// Waits until the session has taken the message; its end is known from the [`Receipt`].
    ///
    /// This is the way to have many publications on their way at once: take receipts, and wait for the oldest. While the
    /// session's queue is well filled and the connection stands, it waits: that is the back-pressure.
    ///
    /// # Errors
    /// [`PublishError`] if nothing was taken.
    pub fn receipt(self) -> Result<Receipt, PublishError> {
        let shared = &self.session.session().handle().0;
        wait_unless_ready(shared, self.take_receipt()).map(|receipt| Receipt::new(receipt, shared))
    }

    /// Waits until the session's store has the message. Its end is known from the [`Receipt`].
    ///
    /// # Errors
    /// [`PublishError::NotStored`] without a store and at QoS 0; others if nothing was taken.
    pub fn stored(self) -> Result<Receipt, PublishError> {
        let shared = &self.session.session().handle().0;
        wait(shared, self.take_stored()).map(|receipt| Receipt::new(receipt, shared))
    }

    /// As [`PublishRequest::receipt`]; once the exchange is complete `callback` gets the message number and how it ended, on
    /// the callback thread, at QoS 0 too; not if the last handle of the session was dropped before.
    ///
    /// # Errors
    /// [`PublishError`] if nothing was taken; `callback` is not called then.
    pub fn on_complete(
        self,
        callback: impl FnOnce(&Session, u64, Result<Published, PublishError>) + Send + 'static,
    ) -> Result<u64, PublishError> {
        let session = self.session;
        let receipt = wait_unless_ready(session.session().shared(), self.take_receipt())?;
        let number = receipt.message_number();
        let end = receipt.end();
        let weak = session.downgrade();
        let mut callback = Some(callback);
        let completed = async move {
            let result = receipt.await;
            if let Some(callback) = callback.take() {
                weak.call(|session| callback(session, number, result));
            }
        };
        // Without a thread there is no callback, but the message is on its way.
        if let Err(error) = session.inner.callbacks.spawn_after(end, completed) {
            tracing::error!("no thread for callbacks: {error}");
        }
        Ok(number)
    }
}

impl SubscribeRequest<Session> {
    /// Subscribes; `callback` gets each message, on the callback thread. Returns the granted QoS.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn call(
        self,
        mut callback: impl FnMut(&Session, Message) + Send + 'static,
    ) -> Result<QoS, SubscribeError> {
        let session = self.session.clone();
        let messages = session.wait(self.send())?;
        session.call_for_each(messages, move |session, message| {
            callback(session, message);
            true
        })
    }

    /// Subscribes; the messages come from an iterator. Dropping it unsubscribes in the background.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn open(self) -> Result<Subscription, SubscribeError> {
        let session = self.session.clone();
        session.wait(self.send()).map(Subscription::new)
    }
}

impl SubscribeManyRequest<Session> {
    /// Subscribes; `callback` gets each message, on the callback thread. Returns the granted QoS of each filter, or why it
    /// was refused, in order.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn call(
        self,
        callback: impl FnMut(&Session, Message) + Send + 'static,
    ) -> Result<Vec<Result<QoS, SubscribeError>>, SubscribeError> {
        let session = self.session.clone();
        let verdicts = session.wait(self.send())?;
        let callback = Arc::new(Mutex::new(Some(callback)));
        let call = |messages| {
            let callback = Arc::clone(&callback);
            session.call_for_each(messages, move |session, message| {
                // One that panics is not put back.
                let taken = lock(&callback).take();
                let Some(mut call) = taken else { return false };
                call(session, message);
                *lock(&callback) = Some(call);
                true
            })
        };
        Ok(verdicts.into_iter().map(|verdict| verdict.and_then(call)).collect())
    }

    /// Subscribes; the messages of each filter come from an iterator of its own, in their order; or there is none, and
    /// why. Dropping one unsubscribes its filter in the background.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn open(self) -> Result<Vec<Result<Subscription, SubscribeError>>, SubscribeError> {
        let session = self.session.clone();
        let verdicts = session.wait(self.send())?;
        Ok(verdicts.into_iter().map(|verdict| verdict.map(Subscription::new)).collect())
    }
}

impl Ack {
    /// Waits until the acknowledgement is stored.
    ///
    /// # Errors
    /// [`AckError`].
    pub fn wait(self) -> Result<(), AckError> {
        match self.shared() {
            Some(shared) => wait(&shared, self),
            None => wait::wait(self),
        }
    }
}

impl Request<'_, Session> {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn wait(self) -> Result<Message, RequestError> {
        wait(self.shared(), self.ask())
    }
}

impl DisconnectRequest<Session> {
    /// Waits until the session has ended.
    ///
    /// # Errors
    /// [`DisconnectError`].
    pub fn wait(self) -> Result<(), DisconnectError> {
        let handle = Arc::clone(self.handle());
        wait(&handle.0, self.send())
    }
}

/// A session as callbacks know it: they do not keep it alive.
struct WeakSession(Weak<Inner>);

impl WeakSession {
    /// Calls back if the session is still there; says whether it is.
    fn call(&self, callback: impl FnOnce(&Session)) -> bool {
        let Some(inner) = self.0.upgrade() else { return false };
        callback(&Session { inner });
        true
    }
}

/// Calls back for each item in turns of a bounded length, so that one busy subscription cannot starve the others.
fn each<T>(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Option<T>>,
    mut call: impl FnMut(T) -> bool,
) -> impl Future<Output = ()> {
    poll_fn(move |cx| {
        for _ in 0..CALLS_PER_TURN {
            match poll(cx) {
                Poll::Ready(item) => {
                    if !item.is_some_and(&mut call) {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Callbacks of one subscription before the next one's turn.
const CALLS_PER_TURN: usize = 64;
