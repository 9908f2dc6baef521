//! `postrider pub`: publishes a message, or one for each line.

use std::{
    collections::VecDeque,
    io::{self, BufRead},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use postrider::{
    Bytes, Completed, DisconnectError, Property, PublishError, PublishRequest, QoS, Session, Topic,
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    args::{self, ConnectionArgs, PublishArgs},
    bar::{Bar, Plain},
    names::Manner,
    out,
    payload::Content,
    status::{Codes, Usage},
    teller::Teller,
    trace::Subscribed,
};

/// Publishes the message; an error if the broker did not take it.
pub(crate) fn publish(args: &PublishArgs, manner: Manner) -> anyhow::Result<()> {
    args.connection.begin(manner)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let (Some(store), true) = (&args.spool.store, args.spool.flush) {
        return runtime.block_on(args.flush(store, manner));
    }
    let topic = topic(args.topic.as_ref(), &args.connection)?;
    let content = match args.stdin_line {
        true => Content::Bytes(Bytes::new()),
        false => args.message.content()?,
    };
    let qos = args.qos.unwrap_or_else(|| u8::from(args.spool.store.is_some()));
    let qos = QoS::from_bits(qos).context("--qos must be 0, 1 or 2")?;
    if args.spool.store.is_some() && qos == QoS::AtMostOnce {
        bail!(Usage("--store needs --qos 1 or 2: a message at QoS 0 is not stored".to_owned()));
    }
    let message = Message {
        topic,
        qos,
        retain: args.retain,
        properties: args.connection.of_message().collect(),
    };
    match &args.spool.store {
        Some(store) => runtime.block_on(args.store(store, &message, &content, manner)),
        None => runtime.block_on(args.send(&message, &content, manner)),
    }
}

/// The topic of the option, or of the URL.
pub(crate) fn topic(option: Option<&Topic>, connection: &ConnectionArgs) -> anyhow::Result<Topic> {
    match (option, connection.url_topic()) {
        (Some(topic), _) => Ok(topic.clone()),
        (None, Some(topic)) => match args::topic(topic) {
            Ok(topic) => Ok(topic),
            Err(error) => bail!(Usage(format!("--url: topic '{topic}': {error}"))),
        },
        (None, None) => bail!(Usage("--topic <TOPIC> is needed, or a --url with one".to_owned())),
    }
}

/// A message without its payload.
pub(crate) struct Message {
    pub(crate) topic: Topic,
    qos: QoS,
    retain: bool,
    properties: Vec<Property>,
}

impl PublishArgs {
    /// The codes that the server refuses with.
    pub(crate) fn codes(&self, manner: Manner) -> Codes {
        self.connection.codes(manner)
    }

    async fn send(
        &self,
        message: &Message,
        content: &Content,
        manner: Manner,
    ) -> anyhow::Result<()> {
        let mut builder = self.connection.builder(manner, Subscribed::Untold)?;
        if let Some(messages) = self.max_inflight {
            builder = builder.in_flight_max(messages);
        }
        // Whoever publishes one message wants an answer, not another attempt; a stream of lines is to survive.
        builder = builder.reconnect(self.stdin_line).queue_qos0_offline(self.stdin_line);
        let session = builder.connect().await?;
        let size = content.len();
        let topic = &message.topic;
        let publishing = async {
            if self.stdin_line {
                // Nobody who waits for long is to wonder why.
                Teller::new(&session).beside(lines(message, &session)).await?;
            } else {
                self.times(message, content, &session).await?;
            }
            match self.connection.disconnect(&session).await {
                // All is acknowledged; what becomes of the connection is no concern of it.
                Err(DisconnectError::Over(_)) if message.qos != QoS::AtMostOnce => Ok(()),
                // At QoS 0 this is what waits until all is written.
                done => done.with_context(|| format!("'{topic}' may be lost")),
            }
        };
        if size < BAR_ABOVE || out::is_quiet() {
            publishing.await
        } else {
            let size = size.saturating_mul(self.repeat);
            with_bar(&session, size, publishing).await
        }
    }

    async fn times(
        &self,
        message: &Message,
        content: &Content,
        session: &Session,
    ) -> anyhow::Result<()> {
        for time in 0..self.repeat {
            if time > 0 && !self.repeat_delay.is_zero() {
                sleep(self.repeat_delay).await;
            }
            let published = message.request(session, content)?.await;
            published.with_context(|| format!("'{}' was not published", message.topic))?;
        }
        Ok(())
    }
}

impl Message {
    pub(crate) fn request<'a>(
        &self,
        session: &'a Session,
        content: &Content,
    ) -> io::Result<PublishRequest<'a>> {
        let request = content.publish(session, self.topic.clone())?;
        let request = request.qos(self.qos).retain(self.retain);
        Ok(self.properties.iter().cloned().fold(request, PublishRequest::property))
    }
}

/// Publishes each line; the first refused one is the error, after the last line.
async fn lines(message: &Message, session: &Session) -> anyhow::Result<()> {
    let mut lines = each_line()?;
    let mut open: VecDeque<(u64, Completed)> = VecDeque::new();
    let mut failed = None;
    let mut number = 0;
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line else { break };
                let line = Content::Bytes(line.context("--stdin-line")?.into());
                let request = message.request(session, &line)?;
                number += 1;
                match request.receipt().await {
                    Ok(receipt) => open.push_back((number, receipt.into_future())),
                    Err(error @ PublishError::Over(_)) => return Err(named(number, error)),
                    Err(error) => note(&mut failed, number, error),
                }
            }
            Some((number, result)) = first(&mut open), if !open.is_empty() => {
                open.pop_front();
                if let Err(error) = result {
                    note(&mut failed, number, error);
                }
            }
        }
    }
    for (number, result) in open {
        if let Err(error) = result.await {
            note(&mut failed, number, error);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The lines of standard input.
pub(crate) fn each_line() -> anyhow::Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    let (sender, lines) = mpsc::channel(LINES_MAX);
    // It ends with its input, or with the process.
    let reader = thread::Builder::new().name("postrider-lines".to_owned());
    reader.spawn(move || read_lines(&sender)).context("cannot start a thread")?;
    Ok(lines)
}

/// Waits for the oldest publication.
async fn first(
    open: &mut VecDeque<(u64, Completed)>,
) -> Option<(u64, Result<postrider::Published, PublishError>)> {
    let (number, completed) = open.front_mut()?;
    Some((*number, completed.await))
}

/// Keeps the first error, and says the others.
fn note(failed: &mut Option<anyhow::Error>, number: u64, error: PublishError) {
    let error = named(number, error);
    match failed {
        Some(_) => out::complain(&format!("error: {error:#}")),
        None => *failed = Some(error),
    }
}

fn named(number: u64, error: PublishError) -> anyhow::Error {
    anyhow::Error::from(error).context(format!("line {number} was not published"))
}

fn read_lines(lines: &mpsc::Sender<io::Result<Vec<u8>>>) {
    for line in io::stdin().lock().split(b'\n') {
        let is_end = line.is_err();
        if lines.blocking_send(line).is_err() || is_end {
            return;
        }
    }
}

/// Shows how much is written while `publishing` runs.
async fn with_bar(
    session: &Session,
    size: u64,
    publishing: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut bar = Bar::bytes("publishing", size, Plain::Nothing);
    let before = session.stats().bytes_sent;
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut publishing = std::pin::pin!(publishing);
    loop {
        tokio::select! {
            result = &mut publishing => return result,
            _ = look.tick() => bar.set(session.stats().bytes_sent - before),
        }
    }
}

/// Lines that wait to be published; more would only hide a slow broker.
const LINES_MAX: usize = 100;
/// Bytes from which on a bar is shown.
const BAR_ABOVE: u64 = 1 << 20;
/// How often the bar looks at what is written.
const LOOK_EVERY: Duration = Duration::from_millis(50);
