//! Asking and answering: a message that says where its answer is expected, and the answer.
//!
//! ```text
//! request --PUBLISH, response topic, correlation data--> server --> whoever is subscribed
//!    ^                                                                      |
//!    '--- waiting, by correlation data <--- stream of the response topic <--'  reply
//! ```
//!
//! Spec: v5 section 4.10.

mod error;
mod options;
mod reply;
mod waiting;

use std::{
    future::{Future, IntoFuture, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use postrider_proto::wire::{Property, QoS, ReasonCode};

use crate::{
    Connected, Event, IntoTopic, Message, Payload, PublishRequest, Session, event,
    shared::{Handle, Shared},
    subscription::SubscribeRequest,
};

pub use self::{
    error::{ReplyError, RequestError},
    reply::Reply,
};
pub(crate) use self::{options::Settings, waiting::Requests};

/// A message that will be answered; `.await` it for the answer.
///
/// Any number may wait at once. The first one subscribes to the session's response topic, see
/// [`crate::Builder::response_prefix`]. In a session with [`crate::Builder::manual_acknowledgement`] the session
/// acknowledges answers itself. Dropping the future gives the answer up, not the request.
///
/// `S` is the kind of session; see [`crate::blocking`] for what is called there in place of `.await`.
#[must_use = "nothing is asked until it is awaited"]
#[derive(Debug)]
pub struct Request<'a, S = Session> {
    publish: PublishRequest<'a, S>,
    handle: &'a Arc<Handle>,
    timeout: Duration,
}

/// How long an answer may take, unless the request says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Session {
    /// Publishes a message at QoS 1 and waits for the answer to it (5.0).
    ///
    /// ```no_run
    /// # async fn example(session: postrider::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let answer = session.request("plant/7/read", "temp").await?;
    /// println!("{}", answer.text()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The other end answers with [`Message::reply`], or with any client that sends the correlation data of the request
    /// to its response topic.
    pub fn request(&self, topic: impl IntoTopic, payload: impl Into<Payload>) -> Request<'_> {
        Request::new(self, self.handle(), topic, payload)
    }
}

impl<'a, S> Request<'a, S> {
    pub(crate) fn new(
        session: &'a S,
        handle: &'a Arc<Handle>,
        topic: impl IntoTopic,
        payload: impl Into<Payload>,
    ) -> Self {
        let publish = PublishRequest::new(session, handle, topic, payload.into());
        Self { publish: publish.qos(QoS::AtLeastOnce), handle, timeout: TIMEOUT }
    }

    /// How long everything may take: connecting, subscribing, the request, the answer. Default 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Quality of service; 1 if not called. At QoS 0 the server cannot say that nobody listens.
    pub fn qos(self, qos: QoS) -> Self {
        self.publishing(|publish| publish.qos(qos))
    }

    /// How long the request is worth delivering; whole seconds. Default: without an end.
    pub fn expiry(self, expiry: Duration) -> Self {
        self.publishing(|publish| publish.expiry(expiry))
    }

    /// What the payload is, such as `application/json`.
    pub fn content_type(self, content_type: &str) -> Self {
        self.publishing(|publish| publish.content_type(content_type))
    }

    /// Adds a name and a value.
    pub fn user_property(self, name: &str, value: &str) -> Self {
        self.publishing(|publish| publish.user_property(name, value))
    }

    /// Adds any property that a PUBLISH may have; response topic and correlation data are the session's own.
    pub fn property(self, property: Property) -> Self {
        self.publishing(|publish| publish.property(property))
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(self) -> Result<Message, RequestError> {
        let Self { publish, handle, timeout } = self;
        let waiting = handle.0.requests.enter(timeout, &handle.0);
        let correlation = waiting.correlation();
        let mut sending = pin!(async {
            let topic = response_topic(handle).await?;
            let publish = publish.response_topic(&topic).correlation_data(correlation);
            let published = publish.complete().await.map_err(RequestError::Publish)?;
            if published.reason == ReasonCode::NoMatchingSubscribers {
                return Err(RequestError::NoResponder);
            }
            Ok(())
        });
        let mut is_sent = false;
        poll_fn(|cx| {
            // The answer may come before the acknowledgement of the request.
            if let Poll::Ready(answer) = waiting.poll(cx) {
                return Poll::Ready(answer);
            }
            if !is_sent && let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                is_sent = true;
                if let Err(error) = sent {
                    return Poll::Ready(Err(error));
                }
            }
            Poll::Pending
        })
        .await
    }

    pub(crate) fn shared(&self) -> &'a Shared {
        &self.handle.0
    }

    fn publishing(
        mut self,
        change: impl FnOnce(PublishRequest<'a, S>) -> PublishRequest<'a, S>,
    ) -> Self {
        self.publish = change(self.publish);
        self
    }
}

impl<'a> IntoFuture for Request<'a> {
    type Output = Result<Message, RequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

/// The session's response topic, subscribed to.
async fn response_topic(handle: &Arc<Handle>) -> Result<String, RequestError> {
    let shared = &handle.0;
    let mut desk = shared.requests.desk.lock().await;
    let connected = connection(shared).await?;
    if !connected.limits.has_properties {
        return Err(RequestError::NotInVersion(connected.version));
    }
    let topic = shared.requests.response_topic(&connected);
    if *desk != Some(topic.clone()) || !shared.requests.is_listening() {
        *desk = None;
        let subscribe =
            SubscribeRequest::new((), Arc::clone(handle), topic.as_str(), QoS::AtLeastOnce);
        let stream = subscribe.send().await.map_err(RequestError::Subscribe)?;
        shared.requests.listen(stream);
        *desk = Some(topic.clone());
    }
    Ok(topic)
}

/// The connection, or the next one.
async fn connection(shared: &Arc<Shared>) -> Result<Connected, RequestError> {
    let mut events = event::open(shared, None);
    while let Some(event) = events.next().await {
        if let Event::Connected(connected) = event {
            return Ok(*connected);
        }
    }
    Err(RequestError::Over(shared.end()))
}
