//! `postrider sub`: prints the messages of some topics.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    pin::{Pin, pin},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use postrider::{
    Filter, Message, Property, QoS, RetainHandling, Session, Stats, SubscribeManyRequest,
};
use tokio::time::timeout;

use crate::{
    args::{HandlingArg, Place, SubscribeArgs},
    names::Manner,
    number, out,
    output::Output,
    printer::{Printer, Sheet},
    status::{self, Codes, Usage},
    stop::asked_to_stop,
    streams::{Change, Changes, Streams},
    teller::Teller,
    trace::Subscribed,
};

/// Why it ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// All messages that were asked for are printed.
    Enough,
    /// Nobody reads the output any more.
    NobodyReads,
    /// A signal came.
    Stopped,
    /// The time is over.
    TimedOut,
}

/// Prints messages until it is enough; the exit status says why it ended.
pub(crate) fn subscribe(args: &mut SubscribeArgs, manner: Manner) -> anyhow::Result<ExitCode> {
    args.connection.begin(manner)?;
    if let Some(topic) = args.connection.url_topic() {
        match Filter::new(topic) {
            Ok(filter) => args.topics.push(filter),
            Err(error) => bail!(Usage(format!("--url: topic '{topic}': {error}"))),
        }
    }
    if args.topics.is_empty() && args.unsubscribe.is_empty() {
        bail!(Usage("--topic <FILTER> is needed, or a --url with a topic".to_owned()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ending = runtime.block_on(run(args, manner))?;
    if ending == Ending::TimedOut && manner == Manner::Mosquitto {
        out::complain("Timed out");
    }
    Ok(ending.status())
}

async fn run(args: &SubscribeArgs, manner: Manner) -> anyhow::Result<Ending> {
    let mut asked = pin!(asked_to_end(args)?);
    let mut printer = Printer::start().context("cannot start a thread")?;
    let session = tokio::select! {
        ending = &mut asked => return Ok(ending),
        session = connect(args, manner) => session?,
    };
    let (mut streams, changes) = Streams::new();
    let output = args.output.output(args.identifier().is_some(), manner);
    let printed = {
        let opening = args.open(&session, changes);
        let mut printing =
            pin!(print(args, &output, &session, opening, &mut streams, &mut printer));
        tokio::select! {
            // The time is no reason to leave a message half printed.
            biased;
            printed = &mut printing => printed,
            ending = &mut asked => Ok(ending),
        }
    };
    // What is written is acknowledged, as long as there is a connection.
    let finished = finish(printer, matches!(printed, Ok(Ending::Enough)), asked).await;
    // Before the streams are dropped: that would unsubscribe, and a kept session is to keep its subscriptions.
    // The connection may be gone already.
    let _ = args.connection.disconnect(&session).await;
    complain_about_rest(args, &session.stats(), &mut streams);
    let ending = printed?;
    match finished {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Ending::NobodyReads),
        Err(error) => Err(anyhow!(error).context("cannot write to standard output")),
        Ok(()) => Ok(ending),
    }
}

/// Says what came, is not with the broker any more, and was not printed.
fn complain_about_rest(args: &SubscribeArgs, stats: &Stats, streams: &mut Streams) {
    // Without a kept session nobody expects what comes after the last message.
    let (lost, unnamed) =
        if args.connection.is_kept() { (streams.drain(), streams.unnamed) } else { (0, 0) };
    for (count, what) in [
        (stats.dropped_slow, "at QoS 0 dropped: the output was read too slowly"),
        (lost, "at QoS 0 not printed: they had come after the last one"),
        (
            unnamed,
            "not printed: they are for subscriptions that no --topic names, or that have ended",
        ),
    ] {
        if count > 0 {
            out::complain(&format!("messages {what}: {}", number::thousands(count)));
        }
    }
}

/// Resolves when a signal comes or the time is over. Begins to listen at once.
fn asked_to_end(args: &SubscribeArgs) -> anyhow::Result<impl Future<Output = Ending>> {
    let stop = asked_to_stop().context("cannot catch signals")?;
    let time = args.timeout.map(Duration::from_secs);
    Ok(async move {
        let Some(time) = time else {
            stop.await;
            return Ending::Stopped;
        };
        timeout(time, stop).await.map_or(Ending::TimedOut, |_| Ending::Stopped)
    })
}

async fn connect(args: &SubscribeArgs, manner: Manner) -> anyhow::Result<Session> {
    let mut builder = args.connection.builder(manner, Subscribed::Told)?;
    let is_bounded = |property| matches!(property, Property::ReceiveMaximum(_));
    if !args.connection.of(Place::Connect).any(is_bounded) {
        // Nothing waits behind messages that are not printed yet, a SUBACK neither; the streams bound what is read.
        builder = builder.receive_maximum(u16::MAX);
    }
    let builder = builder
        .stream_messages(STREAM_MESSAGES)
        .stream_bytes(STREAM_BYTES)
        .stall_budget(Duration::MAX)
        .manual_acknowledgement();
    Ok(builder.connect().await?)
}

/// Prints until there are enough messages, or nobody reads them. A kept session has messages before `opening`, which makes
/// the subscriptions, is over.
async fn print(
    args: &SubscribeArgs,
    output: &Output,
    session: &Session,
    opening: impl Future<Output = anyhow::Result<()>>,
    streams: &mut Streams,
    printer: &mut Printer,
) -> anyhow::Result<Ending> {
    let mut opening = pin!(opening);
    if args.exit_after_subscribing {
        opening.await?;
        return Ok(Ending::Enough);
    }
    streams.read_rest(session);
    let mut teller = Teller::new(session);
    let mut is_open = false;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let message = match streams.try_next() {
            Some(message) => message,
            None => {
                if printer.flush().await.is_err() {
                    return Ok(Ending::NobodyReads);
                }
                tokio::select! {
                    message = streams.next() => message?,
                    opened = &mut opening, if !is_open => {
                        opened?;
                        is_open = true;
                        continue;
                    }
                    () = teller.tell() => continue,
                    () = printer.closed() => return Ok(Ending::NobodyReads),
                }
            }
        };
        let is_named = args.names(&message);
        if is_named && args.retained_only && !message.is_retained() {
            break;
        }
        streams.unnamed += u64::from(!is_named);
        let is_taken = is_named && args.takes(&message, session).await?;
        let is_printed = is_taken && args.is_drawn(&message);
        let write = |message: &Message, sheet: &mut Sheet| {
            if is_printed {
                output.write(message, sheet);
            }
        };
        if printer.add(message, write).await.is_err() {
            return Ok(Ending::NobodyReads);
        }
        left -= u64::from(is_taken);
    }
    if !is_open && printer.flush().await.is_ok() {
        // The answers may be behind messages that are not read any more.
        timeout(LAST_ANSWERS, opening).await.context("a subscription has no answer")??;
    }
    Ok(Ending::Enough)
}

impl SubscribeArgs {
    /// The codes that the server refuses with.
    pub(crate) fn codes(&self, manner: Manner) -> Codes {
        self.connection.codes(manner)
    }

    /// Subscribes and unsubscribes.
    async fn open(&self, session: &Session, changes: Changes) -> anyhow::Result<()> {
        self.subscribe(session, &changes).await?;
        for filter in &self.unsubscribe {
            let _ = changes.send(Change::Ended(filter.clone()));
            let properties = self.connection.of(Place::Unsubscribe).collect();
            session.unsubscribe_with(filter, properties).await?;
        }
        Ok(())
    }

    /// Subscribes to each filter once, to several with one packet.
    async fn subscribe(&self, session: &Session, changes: &Changes) -> anyhow::Result<()> {
        let mut filters: Vec<&Filter> = Vec::new();
        for filter in &self.topics {
            if !filters.contains(&filter) {
                filters.push(filter);
            }
        }
        // What was granted stays with a kept session, as the rest of it does.
        let mut refusals = Vec::new();
        for filters in filters.chunks(FILTERS_PER_SUBSCRIBE_MAX) {
            let verdicts = self.request(session, filters)?.await?;
            for (filter, verdict) in filters.iter().zip(verdicts) {
                match verdict {
                    // Nobody may be left who reads it.
                    Ok(stream) => drop(changes.send(Change::Opened((*filter).clone(), stream))),
                    Err(refusal) => refusals.push(refusal),
                }
            }
        }
        let mut refusals = refusals.into_iter();
        let Some(first) = refusals.next() else { return Ok(()) };
        refusals.for_each(|other| out::complain(&other.to_string()));
        Err(first.into())
    }

    fn request(
        &self,
        session: &Session,
        filters: &[&Filter],
    ) -> anyhow::Result<SubscribeManyRequest> {
        let qos = QoS::from_bits(self.qos).context("--qos must be 0, 1 or 2")?;
        let mut request = session.subscribe_many(filters.iter().map(|filter| (*filter, qos)));
        if self.retain_as_published {
            request = request.retain_as_published(true);
        }
        if let Some(when) = self.retain_handling {
            request = request.retain_handling(when.handling());
        }
        for property in self.connection.of(Place::Subscribe) {
            if let Property::SubscriptionIdentifier(id) = property {
                request = request.identifier(id);
            } else if let Property::UserProperty(name, value) = property {
                request = request.user_property(name.as_str(), value.as_str());
            }
        }
        Ok(request)
    }

    /// The user's subscription identifier.
    fn identifier(&self) -> Option<u32> {
        self.connection.of(Place::Subscribe).find_map(|property| {
            if let Property::SubscriptionIdentifier(id) = property { Some(id) } else { None }
        })
    }

    /// Whether a message is for one of the filters.
    fn names(&self, message: &Message) -> bool {
        let topic = message.topic_name();
        topic.is_some_and(|topic| self.topics.iter().any(|filter| filter.matches(topic)))
    }

    /// Whether a message is one that was asked for. Clears it at the broker if that was asked for.
    async fn takes(&self, message: &Message, session: &Session) -> anyhow::Result<bool> {
        let topic = message.topic_name();
        if topic.is_some_and(|topic| self.filter_out.iter().any(|filter| filter.matches(topic))) {
            return Ok(false);
        }
        if self.remove_retained && message.is_retained() {
            let clearing = session.publish(message.topic(), Vec::new()).retain(true);
            let topic = message.topic();
            let cleared = clearing.qos(QoS::AtLeastOnce).receipt().await;
            cleared.with_context(|| format!("--remove-retained: '{topic}' was not cleared"))?;
        }
        // The broker tells us too what was cleared.
        let is_clearing =
            self.remove_retained && !message.is_retained() && message.payload_len() == 0;
        let is_unwanted = self.no_retained && message.is_retained();
        Ok(!(is_clearing || is_unwanted))
    }

    /// Whether a message is among those that --random-filter lets through.
    fn is_drawn(&self, message: &Message) -> bool {
        let Some(chance) = self.random_filter else { return true };
        RandomState::new().hash_one(message.arrival()) % 10_000 < u64::from(chance)
    }
}

impl HandlingArg {
    /// The same for a subscription.
    pub(crate) fn handling(self) -> RetainHandling {
        match self {
            Self::Always => RetainHandling::Send,
            Self::New => RetainHandling::SendIfNew,
            Self::Never => RetainHandling::DoNotSend,
        }
    }
}

/// Waits for the rest of the output: for all of it if the user wants it, a moment if the program is to end.
async fn finish(
    printer: Printer,
    is_wanted: bool,
    asked: Pin<&mut impl Future<Output = Ending>>,
) -> io::Result<()> {
    let mut written = pin!(printer.finish());
    if is_wanted {
        tokio::select! {
            result = &mut written => return result,
            _ = asked => {}
        }
    }
    timeout(LAST_WORDS, written).await.unwrap_or(Ok(()))
}

impl Ending {
    fn status(self) -> ExitCode {
        match self {
            Self::Enough | Self::NobodyReads | Self::Stopped => ExitCode::SUCCESS,
            Self::TimedOut => ExitCode::from(status::TIMED_OUT),
        }
    }
}

/// AWS IoT closes the connection above this.
const FILTERS_PER_SUBSCRIBE_MAX: usize = 8;
/// How long the end waits for a reader of the output that does not read.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long an end waits for the answers to the subscriptions.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// Messages that wait to be printed.
const STREAM_MESSAGES: usize = 100_000;
/// Bytes that wait to be printed.
const STREAM_BYTES: usize = 64 * 1024 * 1024;
