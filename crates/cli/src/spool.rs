//! `postrider pub --store`: messages that wait in a folder, and their delivery.

use std::{collections::VecDeque, future::pending, io, path::Path, time::Duration};

use anyhow::{Context, bail};
use postrider::{
    Builder, ConnectError, Event, PendingMessage, PublishError, PublishRequest, Receipt, Session,
    SessionEnd, StoreError,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{
    args::PublishArgs,
    bar::{Bar, Plain},
    names::Manner,
    out,
    payload::Content,
    publish::{Message, each_line},
    trace::Subscribed,
};

impl PublishArgs {
    /// Stores the messages. Nobody is connected to.
    pub(crate) async fn store(
        &self,
        store: &Path,
        message: &Message,
        content: &Content,
        manner: Manner,
    ) -> anyhow::Result<()> {
        let offline = |_| pending::<io::Result<postrider::Stream>>();
        let session = open(|| Ok(self.spooled(store, manner)?.connector(offline))).await?;
        let storing = async {
            if self.stdin_line {
                return lines(message, &session).await;
            }
            for _ in 0..self.repeat {
                let stored = stored(message.request(&session, content)?).await;
                stored.with_context(|| format!("'{}' is not stored", message.topic))?;
            }
            Ok(())
        };
        let stored = storing.await;
        let closed = session.disconnect().await;
        stored?;
        if let Err(error) = closed {
            // Whoever took this for a failure would store it again.
            out::complain(&format!("all is stored, but the store cannot be closed: {error}"));
        }
        Ok(())
    }

    /// Delivers what is in the store.
    pub(crate) async fn flush(&self, store: &Path, manner: Manner) -> anyhow::Result<()> {
        if !store.try_exists().with_context(|| format!("--store '{}'", store.display()))? {
            out::complain(&format!(
                "--store '{}' is not there: nothing to deliver",
                store.display()
            ));
            return Ok(());
        }
        let builder = || Ok(self.spooled(store, manner)?.reconnect_attempts(ATTEMPTS_MAX));
        let session = open(builder).await?;
        let flushed = drain(&session).await;
        let left = session.stats().pending();
        let closed = self.connection.disconnect(&session).await;
        flushed.with_context(|| {
            let messages = if left == 1 {
                "1 message waits".to_owned()
            } else {
                format!("{left} messages wait")
            };
            format!("{messages} in '{}'", store.display())
        })?;
        closed.context("the store cannot be closed")
    }

    fn spooled(&self, store: &Path, manner: Manner) -> anyhow::Result<Builder> {
        let mut builder = self.connection.builder(manner, Subscribed::Untold)?.store(store);
        if let Some(expiry) = self.connection.expiry_wanted() {
            builder = builder.session_expiry(expiry);
        } else {
            // Or the broker would forget what it has acknowledged, and a message at QoS 2 come twice.
            builder = builder.session_expiry(EXPIRY);
        }
        if let Some(messages) = self.max_inflight {
            builder = builder.in_flight_max(messages);
        }
        Ok(builder)
    }
}

/// Opens the store; waits a while for another script that has it open.
async fn open(builder: impl Fn() -> anyhow::Result<Builder>) -> anyhow::Result<Session> {
    let until = Instant::now() + OTHERS_MAX;
    loop {
        match builder()?.start().await {
            Err(ConnectError::Store(StoreError::Locked(_))) if Instant::now() < until => {
                sleep(OTHERS_EVERY).await;
            }
            opened => return Ok(opened?),
        }
    }
}

async fn stored(request: PublishRequest<'_>) -> Result<(), PublishError> {
    request.stored().await.map(drop)
}

/// Stores each line; many of them at once.
async fn lines(message: &Message, session: &Session) -> anyhow::Result<()> {
    let mut lines = each_line()?;
    let mut open: VecDeque<(u64, Receipt)> = VecDeque::new();
    let mut number = 0;
    while let Some(line) = lines.recv().await {
        let content = Content::Bytes(line.context("--stdin-line")?.into());
        number += 1;
        let not_stored = |number| move || format!("line {number} is not stored");
        let receipt = message.request(session, &content)?.receipt().await;
        open.push_back((number, receipt.with_context(not_stored(number))?));
        if open.len() >= OPEN_MAX
            && let Some((number, mut receipt)) = open.pop_front()
        {
            receipt.stored().await.with_context(not_stored(number))?;
        }
    }
    for (number, mut receipt) in open {
        receipt.stored().await.with_context(|| format!("line {number} is not stored"))?;
    }
    Ok(())
}

/// Waits until everything is acknowledged. The first refused message is the error, after all others were delivered.
async fn drain(session: &Session) -> anyhow::Result<()> {
    let mut events = session.events();
    // Their topics: of one that has failed the session knows no more. It may be over, which an event says.
    let messages = session.pending().await.unwrap_or_default();
    let total = session.stats().pending();
    let mut bar = (!out::is_quiet()).then(|| Bar::messages("delivering", total, Plain::Lines));
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut was_connected, mut failed) = (false, None);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::Connected(_)) => was_connected = true,
                // Who is not there at all is asked again by whoever has called us.
                Some(Event::Disconnected { reason, .. }) if !was_connected => {
                    bail!(ConnectError::Ended(SessionEnd::Link(reason)));
                }
                Some(Event::PublishFailed { number, error }) => {
                    note(&mut failed, given_up(&messages, number, error));
                }
                Some(Event::Over(end)) => bail!(ConnectError::Ended(end)),
                None => bail!(ConnectError::Ended(SessionEnd::Stopped)),
                Some(_) => {}
            },
            _ = look.tick(), if was_connected => {
                let left = session.stats().pending();
                if let Some(bar) = &mut bar {
                    bar.set(total.saturating_sub(left));
                }
                if left == 0 {
                    break;
                }
            }
        }
    }
    while let Some(event) = events.try_next() {
        if let Event::PublishFailed { number, error } = event {
            note(&mut failed, given_up(&messages, number, error));
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The error of a message that is not in the store any more.
fn given_up(messages: &[PendingMessage], number: u64, error: PublishError) -> anyhow::Error {
    let topic = messages.iter().find(|it| it.number == number).and_then(|it| it.topic.as_ref());
    let topic = topic.map_or_else(String::new, |topic| format!(" to '{topic}'"));
    let message = format!("message {number}{topic}");
    anyhow::Error::from(error).context(format!("{message} was not delivered and is given up"))
}

/// Keeps the first error, and says the others.
fn note(failed: &mut Option<anyhow::Error>, error: anyhow::Error) {
    match failed {
        Some(_) => out::complain(&format!("error: {error:#}")),
        None => *failed = Some(error),
    }
}

/// How long the broker keeps the session between two deliveries.
const EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Attempts to connect again while the store is delivered.
const ATTEMPTS_MAX: u32 = 5;
/// How long to wait for another script, and how often to look.
const OTHERS_MAX: Duration = Duration::from_secs(10);
const OTHERS_EVERY: Duration = Duration::from_millis(20);
/// Lines on their way to the disk.
const OPEN_MAX: usize = 1000;
/// How often the bar looks at what is left.
const LOOK_EVERY: Duration = Duration::from_millis(20);
