//! `postrider sub`: prints the messages of some topics.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    process::ExitCode,
    task::Poll,
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::{ArgAction, Args};
use futures_core::Stream;
use postrider::{Event, Events, Filter, Message, QoS, Session, Stats, Subscription};
use tokio::time::timeout;

use crate::{
    connection::ConnectionArgs,
    log, number, out,
    printer::{Closed, Printer},
    stop::asked_to_stop,
};

/// Subscribes to topics and prints the messages, one line each.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = AFTER_HELP)]
pub(crate) struct SubscribeArgs {
    /// Topic filter; may be given several times. A message that fits several is printed once.
    #[arg(short, long = "topic", value_name = "FILTER", required = true, value_parser = Filter::new)]
    topics: Vec<Filter>,
    /// Highest quality of service in which messages come.
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Ends after this many messages.
    #[arg(short = 'C', long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Ends after this many seconds, with exit status 27.
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Prints the topic before the message.
    #[arg(short, long)]
    verbose: bool,
    /// Does not print messages that were retained before.
    #[arg(short = 'R', long)]
    no_retained: bool,
    /// Goes on with the session that the broker keeps for this client id, and leaves it there at the end. Needs --id.
    /// What had come already when --count or --timeout ended it is not kept; standard error says how many.
    #[arg(short = 'c', long, requires = "id")]
    disable_clean_session: bool,
    /// Seconds that the broker keeps the session without a connection. Default: for ever.
    #[arg(short = 'x', long, value_name = "SECONDS", requires = "disable_clean_session")]
    session_expiry_interval: Option<u32>,
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Prints help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

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
pub(crate) fn subscribe(args: &SubscribeArgs) -> anyhow::Result<ExitCode> {
    log::start_if_asked();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ending = runtime.block_on(run(args))?;
    Ok(ending.status())
}

async fn run(args: &SubscribeArgs) -> anyhow::Result<Ending> {
    let mut asked = pin!(asked_to_end(args)?);
    let mut printer = Printer::start().context("cannot start a thread")?;
    let session = tokio::select! {
        ending = &mut asked => return Ok(ending),
        session = connect(args) => session?,
    };
    let mut streams = Streams::new(args);
    let printed = {
        let mut printing = pin!(print(args, &session, &mut streams, &mut printer));
        let printed = tokio::select! {
            // The time is no reason to leave a message half printed.
            biased;
            printed = &mut printing => printed,
            ending = &mut asked => Ok(ending),
        };
        // Before the streams are dropped: that would unsubscribe, and a kept session is to keep its subscriptions.
        // Nothing was published that could be unfinished, and the connection may be gone already.
        let _ = session.disconnect().await;
        printed
    };
    let finished = finish(printer, matches!(printed, Ok(Ending::Enough)), asked).await;
    complain_about_rest(args, &session.stats(), streams.waiting());
    let ending = printed?;
    match finished {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Ending::NobodyReads),
        Err(error) => Err(anyhow!(error).context("cannot write to standard output")),
        Ok(()) => Ok(ending),
    }
}

/// Says what came and was not printed.
fn complain_about_rest(args: &SubscribeArgs, stats: &Stats, waiting: usize) {
    let dropped = stats.dropped_slow;
    // Without a kept session nobody expects what comes after the last message.
    let (waiting, unmatched) = if args.disable_clean_session {
        (u64::try_from(waiting).unwrap_or(u64::MAX), stats.unmatched + stats.dropped_unmatched)
    } else {
        (0, 0)
    };
    for (count, what) in [
        (dropped, "at QoS 0 dropped: the output was read too slowly"),
        (waiting, "not printed: they had come after the last one"),
        (unmatched, "not printed: the kept session has subscriptions that no --topic names"),
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

async fn connect(args: &SubscribeArgs) -> anyhow::Result<Session> {
    let mut builder = args
        .connection
        .builder()?
        .stream_messages(STREAM_MESSAGES)
        .stream_bytes(STREAM_BYTES)
        .stall_budget(Duration::MAX);
    if args.disable_clean_session {
        anyhow::ensure!(
            args.connection.has_id(),
            "--disable-clean-session needs an --id that is not empty"
        );
        let expiry =
            args.session_expiry_interval.map_or(Duration::MAX, |s| Duration::from_secs(s.into()));
        builder = builder.clean_start(false).session_expiry(expiry);
    }
    Ok(builder.connect().await?)
}

/// Prints until there are enough messages, or nobody reads them.
async fn print(
    args: &SubscribeArgs,
    session: &Session,
    streams: &mut Streams,
    printer: &mut Printer,
) -> anyhow::Result<Ending> {
    let mut teller = Teller::new(session);
    streams.subscribe(session, args).await?;
    let mut left = args.count.unwrap_or(u64::MAX);
    loop {
        let message = match streams.try_next() {
            Some(message) => message,
            None => {
                if printer.flush().await.is_err() {
                    return Ok(Ending::NobodyReads);
                }
                tokio::select! {
                    message = streams.next() => message?,
                    () = teller.tell() => continue,
                    () = printer.closed() => return Ok(Ending::NobodyReads),
                }
            }
        };
        if args.no_retained && message.is_retained() {
            continue;
        }
        if print_one(&message, args.verbose, printer).await.is_err() {
            return Ok(Ending::NobodyReads);
        }
        left -= 1;
        if left == 0 {
            return Ok(Ending::Enough);
        }
    }
}

async fn print_one(
    message: &Message,
    with_topic: bool,
    printer: &mut Printer,
) -> Result<(), Closed> {
    if with_topic {
        printer.add(message.topic().as_bytes()).await?;
        printer.add(b" ").await?;
    }
    for piece in message.pieces() {
        printer.add(piece).await?;
    }
    printer.add(b"\n").await
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

/// Says on standard error what happens to the connection.
struct Teller {
    events: Events,
    is_connected: bool,
}

impl Teller {
    fn new(session: &Session) -> Self {
        Self { events: session.events(), is_connected: true }
    }

    /// Waits for one event.
    async fn tell(&mut self) {
        match self.events.next().await {
            Some(Event::Connected(connected)) if !self.is_connected => {
                self.is_connected = true;
                out::complain(match connected.session_present {
                    true => "connected again",
                    false => "connected again; the broker has kept no messages",
                });
            }
            Some(Event::Disconnected { reason, retry_in: Some(wait) }) => {
                self.is_connected = false;
                let wait = number::time(wait);
                out::complain(&format!("disconnected: {reason}; trying again in {wait}"));
            }
            Some(Event::SubscriptionLost { filter, why }) => {
                out::complain(&format!("the subscription to '{filter}' is lost: {why}"));
            }
            Some(_) => {}
            // The streams end too, and say why.
            None => std::future::pending().await,
        }
    }
}

/// The subscriptions, read in turn.
struct Streams {
    streams: Vec<Subscription>,
    filters: Vec<Filter>,
    /// Which one is read first next time.
    turn: usize,
}

impl Streams {
    /// Each filter once, not subscribed yet.
    fn new(args: &SubscribeArgs) -> Self {
        let mut filters: Vec<Filter> = Vec::with_capacity(args.topics.len());
        for filter in &args.topics {
            if !filters.contains(filter) {
                filters.push(filter.clone());
            }
        }
        Self { streams: Vec::new(), filters, turn: 0 }
    }

    async fn subscribe(&mut self, session: &Session, args: &SubscribeArgs) -> anyhow::Result<()> {
        let qos = QoS::from_bits(args.qos).context("--qos must be 0, 1 or 2")?;
        for filter in &self.filters {
            self.streams.push(session.subscribe(filter, qos).await?);
        }
        Ok(())
    }

    /// Messages that came and were not read.
    fn waiting(&self) -> usize {
        self.streams.iter().map(Subscription::waiting).sum()
    }

    /// The next message that is there already.
    fn try_next(&mut self) -> Option<Message> {
        for _ in 0..self.streams.len() {
            let index = self.turn;
            self.turn = (index + 1) % self.streams.len();
            while let Some(message) = self.streams.get_mut(index).and_then(Subscription::try_next) {
                if self.is_first(index, &message) {
                    return Some(message);
                }
            }
        }
        None
    }

    /// Waits for the next message; an error if a stream ended.
    async fn next(&mut self) -> anyhow::Result<Message> {
        loop {
            let (index, message) = poll_fn(|cx| {
                for (index, stream) in self.streams.iter_mut().enumerate() {
                    if let Poll::Ready(message) = Pin::new(stream).poll_next(cx) {
                        return Poll::Ready((index, message));
                    }
                }
                Poll::Pending
            })
            .await;
            let Some(message) = message else { return Err(self.why_ended(index)) };
            if self.is_first(index, &message) {
                return Ok(message);
            }
        }
    }

    /// Whether no earlier stream has the message too. A shared subscription gets messages of its own.
    fn is_first(&self, index: usize, message: &Message) -> bool {
        let fits = |filter: &&Filter| {
            !filter.is_shared() && message.topic_name().is_some_and(|topic| filter.matches(topic))
        };
        let is_shared = self.filters.get(index).is_some_and(Filter::is_shared);
        is_shared || !self.filters.iter().take(index).any(|filter| fits(&filter))
    }

    fn why_ended(&self, index: usize) -> anyhow::Error {
        let stream = self.streams.get(index);
        let filter = stream.map_or("", Subscription::filter);
        match stream.and_then(Subscription::ended) {
            Some(end) => anyhow!("nothing more comes for '{filter}': {end}"),
            None => anyhow!("nothing more comes for '{filter}'"),
        }
    }
}

impl Ending {
    fn status(self) -> ExitCode {
        match self {
            Self::Enough | Self::NobodyReads | Self::Stopped => ExitCode::SUCCESS,
            Self::TimedOut => ExitCode::from(TIMED_OUT),
        }
    }
}

/// The exit status of `mosquitto_sub -W`.
const TIMED_OUT: u8 = 27;
/// How long the end waits for a reader of the output that does not read.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Messages that wait to be printed.
const STREAM_MESSAGES: usize = 100_000;
/// Bytes that wait to be printed.
const STREAM_BYTES: usize = 64 * 1024 * 1024;

const AFTER_HELP: &str = "\
Examples:
  postrider sub -t 'plant/+/temp' -v
  postrider sub -h broker.example -u ann -P secret -t 'plant/#' -q 1
  postrider sub -t plant/7/state -C 1 -W 10     one message, or status 27 after 10 s
  postrider sub -i archive -c -q 2 -t 'plant/#'     also what came while it did not run

Each message is printed as it came, and a line feed. The exit status is 0 after --count messages, \
SIGINT, SIGTERM, or when nobody reads the output any more; 27 if --timeout passed before; 1 after \
an error; 2 for a wrong option. A lost connection is made again, and standard error says so.";
