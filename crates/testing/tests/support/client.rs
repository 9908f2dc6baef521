//! One client for scenarios, over either face.

use std::{
    io,
    net::{Shutdown, TcpStream},
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use postrider::{
    Bytes, ConnectError, DisconnectError, Event, Message, PublishError, Published, QoS, Receipt,
    Session, SessionEnd, Stream, SubscribeError, UnsubscribeError, blocking,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Runtime,
};

use super::{Face, inbox::Inbox, setting::Options};

/// Longest wait for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A connected client.
pub(crate) struct Client {
    inner: Inner,
    /// The sockets it has opened, to cut them.
    sockets: Sockets,
    /// Before each of its topics.
    scope: String,
    /// Whether the next bytes from the broker get lost, and the connection with them.
    is_deaf: Arc<AtomicBool>,
    pongs: Arc<Pongs>,
}

/// How many reads were a PINGRESP and nothing else.
#[derive(Default)]
struct Pongs {
    count: Mutex<u32>,
    has_come: Condvar,
}

enum Inner {
    /// The runtime has a worker of its own, so the session is driven between calls too.
    Async(Runtime, Session),
    Blocking(blocking::Session),
}

type Sockets = Arc<Mutex<Vec<TcpStream>>>;

/// A publication on its way.
pub(crate) enum Pending<'a> {
    Async(&'a Runtime, Receipt),
    Blocking(mpsc::Receiver<Result<Published, PublishError>>, u64),
}

impl Client {
    pub(crate) fn connect(
        face: Face,
        url: &str,
        id: &str,
        scope: &str,
        options: Options,
    ) -> Result<Self, ConnectError> {
        let sockets = Sockets::default();
        let is_deaf = Arc::new(AtomicBool::new(false));
        let pongs = Arc::<Pongs>::default();
        let open = connector(url, &sockets, &is_deaf, &pongs);
        let id = format!("{}{id}", scope.replace('/', "-"));
        let inner = match face {
            Face::Async => {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .expect("a runtime");
                let builder = options.apply(Session::builder(url, &id)).connector(open);
                let session = runtime.block_on(builder.connect())?;
                Inner::Async(runtime, session)
            }
            Face::Blocking => {
                let builder = options.apply(blocking::Session::builder(url, &id)).connector(open);
                Inner::Blocking(builder.connect()?)
            }
        };
        Ok(Self { inner, sockets, scope: scope.to_owned(), is_deaf, pongs })
    }

    /// Publishes and waits for the whole exchange.
    pub(crate) fn publish(&self, topic: &str, payload: impl Into<Bytes>, qos: QoS) -> Published {
        self.publish_retained(topic, payload, qos, false)
    }

    pub(crate) fn publish_retained(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
        retain: bool,
    ) -> Published {
        self.try_publish(topic, payload, qos, retain).expect("the broker takes the message")
    }

    pub(crate) fn try_publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
        retain: bool,
    ) -> Result<Published, PublishError> {
        self.try_publish_exactly(&self.topic(topic), payload, qos, retain)
    }

    /// Publishes to a topic as it is, without the scope of the case.
    pub(crate) fn try_publish_exactly(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
        retain: bool,
    ) -> Result<Published, PublishError> {
        let payload = payload.into();
        match &self.inner {
            Inner::Async(runtime, session) => runtime
                .block_on(async { session.publish(topic, payload).qos(qos).retain(retain).await }),
            Inner::Blocking(session) => {
                session.publish(topic, payload).qos(qos).retain(retain).wait()
            }
        }
    }

    /// Publishes and does not wait for the end.
    pub(crate) fn start_publish(&self, topic: &str, payload: &str, qos: QoS) -> Pending<'_> {
        let topic = self.topic(topic);
        match &self.inner {
            Inner::Async(runtime, session) => {
                let receipt = runtime
                    .block_on(session.publish(topic.as_str(), payload).qos(qos).receipt())
                    .expect("the session takes the message");
                Pending::Async(runtime, receipt)
            }
            Inner::Blocking(session) => {
                let (done, is_done) = mpsc::channel();
                let number = session
                    .publish(topic.as_str(), payload)
                    .qos(qos)
                    .on_complete(move |_, _, result| done.send(result).expect("the test waits"))
                    .expect("the session takes the message");
                Pending::Blocking(is_done, number)
            }
        }
    }

    pub(crate) fn subscribe(&self, filter: &str, qos: QoS) -> Inbox<'_> {
        let granted = self.try_subscribe_exactly(&self.topic(filter), qos);
        granted.expect("the broker grants the subscription")
    }

    /// Subscribes to a filter as it is, without the scope of the case.
    pub(crate) fn try_subscribe_exactly(
        &self,
        filter: &str,
        qos: QoS,
    ) -> Result<Inbox<'_>, SubscribeError> {
        match &self.inner {
            Inner::Async(runtime, session) => {
                let stream = runtime.block_on(async { session.subscribe(filter, qos).await })?;
                Ok(Inbox::of_stream(runtime, stream))
            }
            Inner::Blocking(session) => {
                let (sender, messages) = mpsc::channel();
                // The test may have dropped its end.
                let granted =
                    session.subscribe(filter, qos, move |_, message| drop(sender.send(message)))?;
                Ok(Inbox::of_callback(messages, granted))
            }
        }
    }

    /// Answers each message of a filter from inside whatever receives it.
    pub(crate) fn answer(&self, filter: &str, topic: &str, qos: QoS) {
        let (filter, topic, inner) =
            (self.topic(filter), self.topic(topic), self.topic("answer/inner"));
        let answer =
            move |message: &Message| format!("re: {}", message.text_lossy().expect("a small one"));
        match &self.inner {
            Inner::Async(runtime, session) => {
                let mut stream = runtime
                    .block_on(async { session.subscribe(filter.as_str(), QoS::ExactlyOnce).await })
                    .expect("the broker grants the subscription");
                let session = session.clone();
                runtime.spawn(async move {
                    while let Some(message) = stream.next().await {
                        let _inner = session.subscribe(inner.as_str(), QoS::AtMostOnce).await;
                        session.publish(topic.as_str(), answer(&message)).qos(qos).await?;
                    }
                    Ok::<(), PublishError>(())
                });
            }
            Inner::Blocking(session) => {
                session
                    .subscribe(filter.as_str(), QoS::ExactlyOnce, move |session, message| {
                        session
                            .subscribe(inner.as_str(), QoS::AtMostOnce, |_, _| {})
                            .expect("a subscribe inside a callback");
                        session
                            .publish(topic.as_str(), answer(&message))
                            .qos(qos)
                            .wait()
                            .expect("a publish inside a callback");
                        session
                            .unsubscribe(inner.as_str())
                            .expect("an unsubscribe inside a callback");
                    })
                    .expect("the broker grants the subscription");
            }
        }
    }

    pub(crate) fn unsubscribe(&self, filter: &str) -> Result<(), UnsubscribeError> {
        let filter = self.topic(filter);
        match &self.inner {
            Inner::Async(runtime, session) => {
                runtime.block_on(session.unsubscribe(filter.as_str()))
            }
            Inner::Blocking(session) => session.unsubscribe(filter.as_str()),
        }
    }

    pub(crate) fn unsubscribe_all(&self) -> Result<(), UnsubscribeError> {
        match &self.inner {
            Inner::Async(runtime, session) => runtime.block_on(session.unsubscribe_all()),
            Inner::Blocking(session) => session.unsubscribe_all(),
        }
    }

    pub(crate) fn disconnect(&self) -> Result<(), DisconnectError> {
        match &self.inner {
            Inner::Async(runtime, session) => runtime.block_on(session.disconnect()),
            Inner::Blocking(session) => session.disconnect(),
        }
    }

    pub(crate) fn session_present(&self) -> bool {
        let connected = match &self.inner {
            Inner::Async(_, session) => session.connected(),
            Inner::Blocking(session) => session.connected(),
        };
        connected.expect("connected").session_present
    }

    pub(crate) fn ended(&self) -> Option<SessionEnd> {
        match &self.inner {
            Inner::Async(_, session) => session.ended(),
            Inner::Blocking(session) => session.ended(),
        }
    }

    /// Waits for an event.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        mut is_it: impl FnMut(&Event) -> bool + Send + 'static,
    ) {
        let found = match &self.inner {
            Inner::Async(runtime, session) => {
                let mut events = session.events();
                runtime.block_on(async {
                    let wanted = async {
                        while let Some(event) = events.next().await {
                            if is_it(&event) {
                                return true;
                            }
                        }
                        false
                    };
                    tokio::time::timeout(PATIENCE, wanted).await.unwrap_or(false)
                })
            }
            Inner::Blocking(session) => {
                let (sender, is_found) = mpsc::channel();
                session
                    .on_event(move |_, event| {
                        if is_it(&event) {
                            // The test may have gone on after an event like this one.
                            let _ = sender.send(());
                        }
                    })
                    .expect("a thread for callbacks");
                is_found.recv_timeout(PATIENCE).is_ok()
            }
        };
        assert!(found, "no event in time: {what}");
    }

    /// Ends the connection as a cut cable would.
    pub(crate) fn cut(&self) {
        for socket in self.sockets.lock().expect("no panic").drain(..) {
            // A socket of a connection that has ended already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Lets the broker's next answer get lost, and the connection with it.
    pub(crate) fn lose_next_answer(&self) {
        self.is_deaf.store(true, Ordering::Relaxed);
    }

    /// Waits until the broker has answered so many pings, on a connection without other traffic.
    pub(crate) fn wait_for_answers_to_pings(&self, count: u32) {
        let pongs = self.pongs.count.lock().expect("no panic");
        let waited = self.pongs.has_come.wait_timeout_while(pongs, PATIENCE, |have| *have < count);
        assert!(!waited.expect("no panic").1.timed_out(), "no {count} answers to pings in time");
    }

    /// How many connections it has opened.
    pub(crate) fn connections(&self) -> usize {
        self.sockets.lock().expect("no panic").len()
    }

    fn topic(&self, topic: &str) -> String {
        format!("{}{topic}", self.scope)
    }
}

impl Pending<'_> {
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Async(_, receipt) => receipt.message_number(),
            Self::Blocking(_, number) => *number,
        }
    }

    /// Waits for the end of the exchange.
    pub(crate) fn complete(self) -> Published {
        let result = match self {
            Self::Async(runtime, receipt) => runtime
                .block_on(async { tokio::time::timeout(PATIENCE, receipt.completed()).await })
                .expect("in time"),
            Self::Blocking(is_done, _) => is_done.recv_timeout(PATIENCE).expect("in time"),
        };
        result.expect("the broker takes the message")
    }
}

/// Opens TCP connections and remembers them.
fn connector(
    url: &str,
    sockets: &Sockets,
    is_deaf: &Arc<AtomicBool>,
    pongs: &Arc<Pongs>,
) -> impl Fn(postrider::Attempt) -> Opening + Send + Sync + 'static {
    let address = url.trim_start_matches("mqtt://").to_owned();
    let (sockets, is_deaf, pongs) = (Arc::clone(sockets), Arc::clone(is_deaf), Arc::clone(pongs));
    move |_| {
        let (address, sockets) = (address.clone(), Arc::clone(&sockets));
        let (is_deaf, pongs) = (Arc::clone(&is_deaf), Arc::clone(&pongs));
        Box::pin(async move {
            let socket = TcpStream::connect(address.as_str())?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            sockets.lock().expect("no panic").push(socket.try_clone()?);
            let socket = tokio::net::TcpStream::from_std(socket)?;
            Ok(Stream::new(Lossy { socket, is_deaf, pongs }))
        })
    }
}

type Opening = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

/// A connection that loses what it is told to lose.
struct Lossy {
    socket: tokio::net::TcpStream,
    is_deaf: Arc<AtomicBool>,
    pongs: Arc<Pongs>,
}

impl AsyncRead for Lossy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.socket).poll_read(cx, buffer));
        if buffer.filled().len() > before && self.is_deaf.swap(false, Ordering::Relaxed) {
            buffer.set_filled(before);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if buffer.filled().get(before..) == Some(&[0xd0, 0]) {
            *self.pongs.count.lock().expect("no panic") += 1;
            self.pongs.has_come.notify_all();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Lossy {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
