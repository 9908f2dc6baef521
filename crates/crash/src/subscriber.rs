//! The subscriber: counts each number, and the place at which it came first, in the same step as its acknowledgement.

use std::{
    collections::BTreeMap,
    future::IntoFuture,
    io::{self, BufRead},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use postrider::{Ack, AckError, Message, QoS, Session};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    process::StoreMode,
    publisher::{BACKOFF_MAX, BACKOFF_MIN},
};

#[derive(Args)]
pub(crate) struct SubscriberArgs {
    #[arg(long)]
    url: String,
    /// Where the session is kept, and the numbers with it.
    #[arg(long)]
    store: PathBuf,
    #[arg(long, value_enum, default_value_t = StoreMode::Durable)]
    mode: StoreMode,
}

/// Says `subscribed`, counts, says `ended` when a QoS is over, and when standard input says `report LAST` tells of each
/// number up to that one: `arrived QOS NUMBER COUNT PLACE`, and at the end `reported`. Then it waits to be ended.
pub(crate) fn run(args: SubscriberArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let session = Session::builder(&args.url, "crash-subscriber")
            .clean_start(false)
            .store(&args.store)
            .store_mode(args.mode.of_session())
            .manual_acknowledgement()
            .backoff(BACKOFF_MIN, BACKOFF_MAX)
            .stable_after(Duration::ZERO)
            .start()
            .await?;
        let mut places = BTreeMap::new();
        for qos in [1, 2] {
            places
                .insert(qos, read(&session, &place_key(qos)).await?.map_or(0, |[place, _]| place));
        }
        let mut counter = Counter { session: session.clone(), places, acks: JoinSet::new() };
        // What came before this process had subscribed comes first.
        let mut unmatched = session.unmatched();
        let subscribing = session.subscribe("crash/+", QoS::ExactlyOnce);
        let mut subscribing = std::pin::pin!(subscribing.into_future());
        let mut subscription = loop {
            tokio::select! {
                subscription = &mut subscribing => break subscription?,
                Some(message) = unmatched.next() => counter.count(&message).await?,
            }
        };
        println!("subscribed");
        let mut wishes = heard()?;
        loop {
            tokio::select! {
                biased;
                Some(message) = unmatched.next() => counter.count(&message).await?,
                message = subscription.next() => {
                    let Some(message) = message else {
                        let end = session.ended().map_or_else(String::new, |end| end.to_string());
                        anyhow::bail!("the stream ended: {:?} {end}", subscription.ended());
                    };
                    counter.count(&message).await?;
                }
                Some(stored) = counter.acks.join_next() => stored??,
                Some(last) = wishes.recv() => report(&session, last).await?,
            }
        }
    })
}

/// Counts messages.
struct Counter {
    session: Session,
    /// The last place that was given, by QoS.
    places: BTreeMap<u64, u64>,
    /// On their way.
    acks: JoinSet<Result<()>>,
}

impl Counter {
    async fn count(&mut self, message: &Message) -> Result<()> {
        let qos = message.qos() as u64;
        let text = message.text()?.trim_end();
        if text == "end" {
            // All before it have been counted.
            self.acks.spawn(say_ended(message.ack(), qos));
            return Ok(());
        }
        let number: u64 = text.parse().with_context(|| format!("'{text}' is no number"))?;
        let key = key(qos, number);
        let place = self.places.entry(qos).or_default();
        *place += 1;
        let (count, first) = match read(&self.session, &key).await? {
            Some([count, first]) => (count + 1, first),
            None => (1, *place),
        };
        let ack = message.ack_with(|batch| {
            batch.put(key, write([count, first]));
            batch.put(place_key(qos), write([*place, 0]));
        });
        self.acks.spawn(async move {
            match ack.await {
                // The broker has lost the session: nothing was counted, and nobody waits for an answer.
                Ok(()) | Err(AckError::Stale { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
        Ok(())
    }
}

async fn say_ended(ack: Ack, qos: u64) -> Result<()> {
    ack.await?;
    println!("ended {qos}");
    Ok(())
}

async fn report(session: &Session, last: u64) -> Result<()> {
    for qos in [1, 2] {
        for number in 1..=last {
            if let Some([count, place]) = read(session, &key(qos, number)).await? {
                println!("arrived {qos} {number} {count} {place}");
            }
        }
    }
    println!("reported");
    Ok(())
}

/// Two numbers that stand under a key.
async fn read(session: &Session, key: &[u8]) -> Result<Option<[u64; 2]>> {
    let Some(value) = session.stored(key).await? else { return Ok(None) };
    let numbers = value.split_first_chunk::<8>().and_then(|(first, rest)| {
        let second = rest.first_chunk::<8>()?;
        Some([u64::from_be_bytes(*first), u64::from_be_bytes(*second)])
    });
    numbers.map(Some).context("a value is not of this program")
}

fn write([first, second]: [u64; 2]) -> [u8; 16] {
    (u128::from(first) << 64 | u128::from(second)).to_be_bytes()
}

fn key(qos: u64, number: u64) -> Vec<u8> {
    [&b"number"[..], &write([qos, number])].concat()
}

fn place_key(qos: u64) -> Vec<u8> {
    [&b"place"[..], &qos.to_be_bytes()].concat()
}

/// What is asked for on standard input: the numbers behind `report`.
fn heard() -> Result<mpsc::UnboundedReceiver<u64>> {
    let (sender, wishes) = mpsc::unbounded_channel();
    thread::Builder::new().name("standard input".to_owned()).spawn(move || {
        for line in io::stdin().lock().lines().map_while(io::Result::ok) {
            let last = line.strip_prefix("report ").and_then(|last| last.parse().ok());
            if last.is_some_and(|last| sender.send(last).is_err()) {
                return;
            }
        }
    })?;
    Ok(wishes)
}
