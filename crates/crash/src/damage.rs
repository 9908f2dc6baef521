//! Stores with a flipped byte, opened by those who use them: an error, or what was written, or all of that but a large
//! message, whose payload is a file of its own; never something else.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use postrider::{ConnectError, Message, QoS, Session, Subscription};
use postrider_broker::{Broker, StartError};
use tokio::{task::yield_now, time::timeout};

use crate::workplace::Workplace;

/// Flips bytes of small stores, one at a time.
#[derive(Args)]
pub(crate) struct FlipsArgs {
    /// Every so many bytes of what holds something; 1 takes them all.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Every so many bytes of pages that hold nothing, which look alike.
    #[arg(long, default_value_t = 997, value_parser = clap::value_parser!(u32).range(1..))]
    blank_every: u32,
    /// Every so many bytes of large payloads.
    #[arg(long, default_value_t = 1499, value_parser = clap::value_parser!(u32).range(1..))]
    spool_every: u32,
    /// Where copies of the stores are made: memory is much faster. Default: a directory that is removed at the end.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// What somebody reads from a store, as texts.
type Content = BTreeSet<String>;

/// Makes a store.
type Make = fn(&Path) -> Result<()>;

/// What comes of opening a store: its content, or a refusal in words.
type Probe = fn(&Path) -> Result<Result<Content, String>>;

/// Flips bytes of a broker's and of a client's store. Prints a line for each file; returns whether all went well.
pub(crate) fn flips(args: &FlipsArgs) -> Result<bool> {
    let workplace = Workplace::new(args.folder.clone())?;
    let folder = workplace.path();
    let mut is_well = true;
    let stores: [(&str, Make, Probe); 2] =
        [("broker", make_broker, probe_broker), ("client", make_client, probe_client)];
    for (name, make, probe) in stores {
        let good = folder.join(name);
        make(&good).with_context(|| format!("the store of the {name} cannot be made"))?;
        let copy = folder.join(format!("{name}-copy"));
        copy_store(&good, &copy)?;
        let expected = probe(&copy)?.map_err(anyhow::Error::msg)?;
        ensure!(expected.len() >= CONTENT_MIN, "the store of the {name} holds {expected:?}");
        for file in files(&good)? {
            let flips = Flips { args, good: &good, file: &file, probe, expected: &expected };
            let found = flips.run(&copy)?;
            // Every byte of a large payload counts.
            let is_whole = !is_spool(&file) || found.harmless + found.refused == 0;
            let is_good = found.faults.is_empty() && is_whole;
            let word = if is_good { "pass" } else { "fail" };
            let Found { refused, given_up, harmless, .. } = found;
            println!(
                "{word}: {name}, {}: {refused} flips refused, {given_up} lost the large message, {harmless} harmless",
                file.display()
            );
            for fault in found.faults.iter().take(FAULTS_SHOWN) {
                println!("  {fault}");
            }
            is_well &= is_good;
        }
    }
    Ok(is_well)
}

/// Flips in one file of one store.
struct Flips<'a> {
    args: &'a FlipsArgs,
    good: &'a Path,
    file: &'a Path,
    probe: Probe,
    expected: &'a Content,
}

/// What came of flips.
#[derive(Default)]
struct Found {
    /// The store was not opened.
    refused: usize,
    /// All was there but a large message.
    given_up: usize,
    /// All was there.
    harmless: usize,
    /// What must not be.
    faults: Vec<String>,
}

impl Flips<'_> {
    fn run(&self, copy: &Path) -> Result<Found> {
        let bytes = fs::read(self.good.join(self.file))?;
        let places = if is_spool(self.file) {
            (0..bytes.len()).step_by(self.args.spool_every as usize).collect()
        } else {
            places(&bytes, self.args)
        };
        let next = AtomicUsize::new(0);
        let work = |worker: usize| -> Result<Found> {
            let mut tally = Found::default();
            while let Some(&at) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Each in a place of its own: who was refused may hold its lock for a moment.
                let copy = copy.with_extension(format!("{worker}-{at}"));
                copy_store(self.good, &copy)?;
                let mut bad = bytes.clone();
                if let Some(byte) = bad.get_mut(at) {
                    *byte ^= FLIP;
                }
                fs::write(copy.join(self.file), &bad)?;
                let found = catch_unwind(AssertUnwindSafe(|| (self.probe)(&copy)));
                match found {
                    Err(_) => tally.faults.push(format!("byte {at}: a panic")),
                    Ok(Err(error)) => tally.faults.push(format!("byte {at}: {error:#}")),
                    Ok(Ok(Err(_))) => tally.refused += 1,
                    Ok(Ok(Ok(content))) if content == *self.expected => tally.harmless += 1,
                    Ok(Ok(Ok(content))) if self.lacks_large_only(&content) => tally.given_up += 1,
                    Ok(Ok(Ok(content))) => {
                        let differs = self.expected.symmetric_difference(&content);
                        let differs: Vec<_> = differs.take(3).collect();
                        tally.faults.push(format!("byte {at}: other content, such as {differs:?}"));
                    }
                }
                fs::remove_dir_all(&copy)?;
            }
            Ok(tally)
        };
        let workers = thread::available_parallelism().map_or(1, |count| count.get());
        let found: Vec<_> = thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> =
                (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
            threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        let mut sum = Found::default();
        for found in found {
            let found = found.map_err(|_| anyhow::anyhow!("a worker panicked"))??;
            sum.refused += found.refused;
            sum.given_up += found.given_up;
            sum.harmless += found.harmless;
            sum.faults.extend(found.faults);
        }
        Ok(sum)
    }

    /// Whether one large message is missing and nothing else differs, after damage to a large payload.
    fn lacks_large_only(&self, content: &Content) -> bool {
        let mut lacking = self.expected.difference(content);
        let is_large = lacking.next().is_some_and(|text| text.contains(LARGE_WORD));
        is_spool(self.file)
            && is_large
            && lacking.next().is_none()
            && content.is_subset(self.expected)
    }
}

/// Whether it is the file of a large payload.
fn is_spool(file: &Path) -> bool {
    file.starts_with(SPOOLS)
}

fn large() -> String {
    (0..LARGE_LEN).map(|at| char::from(b'a' + (at * at % 26) as u8)).collect()
}

/// A message in words; a large one by a sum of its bytes.
fn words(message: &Message) -> Result<String> {
    let text = message.text_lossy()?;
    if text.len() < LARGE_LEN {
        return Ok(format!("{} {text}", message.topic()));
    }
    let mut sum = DefaultHasher::new();
    text.hash(&mut sum);
    Ok(format!("{} {} bytes {:x}", message.topic(), text.len(), sum.finish()))
}

/// Which bytes are flipped.
fn places(bytes: &[u8], args: &FlipsArgs) -> Vec<usize> {
    let (mut places, mut held, mut blank) = (Vec::new(), 0, 0);
    for (span, at) in bytes.chunks(SPAN).zip((0..).step_by(SPAN)) {
        let is_blank = span.iter().all(|byte| *byte == 0);
        for at in at..at + span.len() {
            let (count, every) =
                if is_blank { (&mut blank, args.blank_every) } else { (&mut held, args.every) };
            if *count % every == 0 {
                places.push(at);
            }
            *count += 1;
        }
    }
    places
}

/// A session that waits for messages, messages that wait for it at both QoS, and retained messages.
fn make_broker(path: &Path) -> Result<()> {
    let broker = builder(path).start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let keeper = keeper(&broker).await?;
        let subscription = keeper.subscribe("kept/#", QoS::ExactlyOnce).await?;
        keeper.disconnect().await?;
        drop(subscription);
        let session = session(&broker, "publisher").connect().await?;
        for number in 0..12 {
            let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            let topic = format!("kept/{number}");
            session.publish(topic, format!("payload {number}")).qos(qos).await?;
        }
        for topic in ["retained/a", "retained/b"] {
            session.publish(topic, "kept for all").qos(QoS::AtLeastOnce).retain(true).await?;
        }
        for (number, qos) in (1..).zip([QoS::AtLeastOnce, QoS::ExactlyOnce]) {
            session.publish(format!("kept/{LARGE_WORD}/{number}"), large()).qos(qos).await?;
        }
        let topic = format!("retained/{LARGE_WORD}");
        session.publish(topic, large()).qos(QoS::AtLeastOnce).retain(true).await?;
        session.disconnect().await?;
        anyhow::Ok(())
    })?;
    broker.shut_down();
    Ok(())
}

/// Opens the store, takes up the session that waits and asks for what is retained.
fn probe_broker(path: &Path) -> Result<Result<Content, String>> {
    let broker = match builder(path).start() {
        Ok(broker) => broker,
        Err(error @ StartError::Store(_)) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let content = runtime.block_on(async {
        timeout(PROBE_PATIENCE, read_broker(&broker)).await.context("the broker does not answer")?
    });
    broker.kill();
    content.map(Ok)
}

async fn read_broker(broker: &Broker) -> Result<Content> {
    let mut content = Content::new();
    let keeper = keeper(broker).await?;
    let mut kept = keeper.unmatched();
    // A damaged message may have cost the first connection already.
    let connected = loop {
        match keeper.connected() {
            Some(connected) => break connected,
            None => yield_now().await,
        }
    };
    let present = connected.session_present;
    content.insert(format!("session present: {present}"));
    let asker = session(broker, "asker").connect().await?;
    let mut retained = asker.subscribe("retained/#", QoS::AtMostOnce).await?;
    // What was there before comes before what is published now.
    for topic in ["kept/end", "retained/end"] {
        asker.publish(topic, "").qos(QoS::AtLeastOnce).await?;
    }
    if present {
        while let Some(message) = kept.next().await
            && message.topic() != "kept/end"
        {
            let twice = format!("{} {:?}", words(&message)?, message.qos());
            // A damaged message costs its link, and others at QoS 1 come again.
            let is_again = message.is_dup() && message.qos() == QoS::AtLeastOnce;
            ensure!(content.insert(twice) || is_again, "{} came twice", message.topic());
        }
    }
    while let Some(message) = retained.next().await
        && message.topic() != "retained/end"
    {
        content.insert(words(&message)?);
    }
    Ok(content)
}

fn builder(path: &Path) -> postrider_broker::Builder {
    Broker::builder().store(path).spool_above(LARGE_LEN as u32 - 1)
}

async fn keeper(broker: &Broker) -> Result<Session> {
    Ok(session(broker, "keeper").clean_start(false).connect().await?)
}

/// A session that was left with messages to publish, and with what its program stored beside its acknowledgements.
fn make_client(path: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let broker = Broker::builder().start()?;
        let press = press(&broker, path).start().await?;
        let mut orders = press.subscribe("orders/#", QoS::ExactlyOnce).await?;
        for (number, qos) in (0..).zip([QoS::AtLeastOnce, QoS::ExactlyOnce]) {
            press.publish("orders/new", format!("order {number}")).qos(qos).await?;
            let order = orders.next().await.context("the order came")?;
            let payload = order.payload()?;
            order.ack_with(|batch| batch.put(order_key(number), payload)).await?;
        }
        broker.kill();
        for number in 0..12 {
            let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            let topic = format!("made/{number}");
            press.publish(topic, format!("piece {number}")).qos(qos).stored().await?;
        }
        let large = large().repeat(CLIENT_LARGE_TIMES);
        let publishing = press.publish(format!("made/{LARGE_WORD}"), large);
        publishing.qos(QoS::ExactlyOnce).stored().await?;
        press.disconnect_with().flush(Duration::ZERO).await?;
        anyhow::Ok(())
    })
}

/// Opens the store, lets the session publish what it holds, and reads what the program stored.
fn probe_client(path: &Path) -> Result<Result<Content, String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let broker = Broker::builder().start()?;
    let content = runtime.block_on(async {
        let watcher = session(&broker, "watcher").connect().await?;
        let made = watcher.subscribe("made/#", QoS::ExactlyOnce).await?;
        let press = match press(&broker, path).start().await {
            Ok(press) => press,
            Err(error @ ConnectError::Store(_)) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let read = timeout(PROBE_PATIENCE, read_client(made, &press));
        let content = read.await.context("the session does not go on")?;
        press.disconnect_with().flush(Duration::ZERO).await?;
        content.map(Ok)
    });
    broker.kill();
    content
}

async fn read_client(mut made: Subscription, press: &Session) -> Result<Content> {
    let mut content = Content::new();
    for number in 0..2 {
        if let Some(order) = press.stored(order_key(number)).await? {
            content.insert(format!("stored {}", String::from_utf8_lossy(&order)));
        }
    }
    // What was there before comes before what is published now.
    press.publish("made/end", "").qos(QoS::ExactlyOnce).receipt().await?;
    while let Some(message) = made.next().await
        && message.topic() != "made/end"
    {
        let twice = format!("{} {:?}", words(&message)?, message.qos());
        // A damaged message costs its link, and others at QoS 1 come again, by way of the broker as new ones.
        let is_again = message.qos() == QoS::AtLeastOnce;
        ensure!(content.insert(twice) || is_again, "{} came twice", message.topic());
    }
    Ok(content)
}

fn press(broker: &Broker, path: &Path) -> postrider::Builder {
    session(broker, "press-7").clean_start(false).store(path).manual_acknowledgement()
}

fn order_key(number: u8) -> [u8; 6] {
    [b'o', b'r', b'd', b'e', b'r', number]
}

fn session(broker: &Broker, client_id: &str) -> postrider::Builder {
    let connector = broker.connector();
    Session::builder("mqtt://in-process", client_id).connector(move |_| {
        let stream = connector.connect();
        async move { Ok(stream) }
    })
}

fn copy_store(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_store(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The files of a store that hold something, relative to it.
fn files(store: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() && metadata.len() > 0 {
            files.push(PathBuf::from(entry.file_name()));
        }
    }
    for entry in fs::read_dir(store.join(SPOOLS))? {
        files.push(Path::new(SPOOLS).join(entry?.file_name()));
    }
    files.sort();
    Ok(files)
}

/// The folder of large payloads.
const SPOOLS: &str = "spools";
/// Marks large messages.
const LARGE_WORD: &str = "large";
/// Bytes of a large payload at the broker: more than one checksum's share.
const LARGE_LEN: usize = 20_000;
/// A client takes a longer one for large.
const CLIENT_LARGE_TIMES: usize = 53;
/// What is flipped: bits at both ends of a byte.
const FLIP: u8 = 0x41;
/// Bytes that are looked at together to see whether they hold anything.
const SPAN: usize = 64;
/// A store with less in it shows nothing.
const CONTENT_MIN: usize = 10;
/// How long a store may take to be opened and read.
const PROBE_PATIENCE: Duration = Duration::from_secs(20);
/// Faults of a file that are shown.
const FAULTS_SHOWN: usize = 10;
