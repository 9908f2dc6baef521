//! The publisher: numbers at QoS 1 and at QoS 2, each in its order, until it is told to stop.
//!
//! A number is accepted once the session has stored it: from then on it must arrive, whatever is killed. After a restart the
//! session goes on with what its store holds, and this program with the next number; it never publishes a number again.

use std::{
    io::{self, BufRead},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use postrider::{Payload, QoS, Receipt, Session};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time,
};

use crate::{
    journal::{self, Journal},
    process::StoreMode,
};

#[derive(Args)]
pub(crate) struct PublisherArgs {
    #[arg(long)]
    url: String,
    /// Where the session is kept.
    #[arg(long)]
    store: PathBuf,
    #[arg(long, value_enum, default_value_t = StoreMode::Durable)]
    mode: StoreMode,
    /// What was begun and accepted.
    #[arg(long)]
    journal: PathBuf,
    /// Messages per second.
    #[arg(long)]
    rate: u32,
    /// Numbers of one QoS that are open at most.
    #[arg(long, default_value_t = WINDOW)]
    window: usize,
    /// Payloads are filled up to this many bytes.
    #[arg(long, default_value_t = 0)]
    payload_bytes: usize,
}

/// Publishes until standard input says `stop`; then finishes all, says `drained` and waits to be ended.
pub(crate) fn run(args: PublisherArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begun = journal::read(&args.journal)?;
        let journal = Arc::new(Mutex::new(Journal::open(&args.journal)?));
        let session = Session::builder(&args.url, "crash-publisher")
            .store(&args.store)
            .store_mode(args.mode.of_session())
            .backoff(BACKOFF_MIN, BACKOFF_MAX)
            .stable_after(Duration::ZERO)
            .start()
            .await?;
        let stop = heard_stop()?;
        let [one, two] = begun.map(|begun| begun.last);
        let publisher = |qos, last| Publisher {
            session: &session,
            journal: Arc::clone(&journal),
            qos,
            last,
            // Both QoS have half of the rate.
            pause: Duration::from_secs(2) / args.rate,
            window: args.window,
            payload_bytes: args.payload_bytes,
            stop: stop.clone(),
        };
        let (one, two) = (publisher(QoS::AtLeastOnce, one), publisher(QoS::ExactlyOnce, two));
        tokio::try_join!(one.run(), two.run())?;
        println!("drained");
        // The one who started it ends it.
        std::future::pending::<Result<()>>().await
    })
}

/// Numbers of one QoS.
struct Publisher<'a> {
    session: &'a Session,
    journal: Arc<Mutex<Journal>>,
    qos: QoS,
    last: u64,
    pause: Duration,
    window: usize,
    payload_bytes: usize,
    stop: watch::Receiver<bool>,
}

impl Publisher<'_> {
    async fn run(mut self) -> Result<()> {
        let topic = topic(self.qos);
        let window = Arc::new(Semaphore::new(self.window));
        let mut pace = time::interval(self.pause);
        pace.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut open = JoinSet::new();
        while !*self.stop.borrow() {
            tokio::select! {
                _ = pace.tick() => (),
                changed = self.stop.changed() => changed?,
            }
            let permit = tokio::select! {
                permit = Arc::clone(&window).acquire_owned() => permit?,
                changed = self.stop.changed() => {
                    changed?;
                    break;
                }
            };
            while let Some(done) = open.try_join_next() {
                done??;
            }
            self.last += 1;
            let number = self.last;
            let qos = self.qos as u8;
            self.journal.lock().unwrap_or_else(PoisonError::into_inner).begin(qos, number)?;
            let payload = format!("{number:<width$}", width = self.payload_bytes);
            let request = self.session.publish(topic, Payload::from(payload)).qos(self.qos);
            let receipt = request.receipt().await?;
            open.spawn(finish(receipt, Arc::clone(&self.journal), qos, number, permit));
        }
        while let Some(done) = open.join_next().await {
            done??;
        }
        self.session.publish(topic, "end").qos(self.qos).await?;
        Ok(())
    }
}

/// Notes that a number is accepted, and waits for the end of its exchange.
async fn finish(
    mut receipt: Receipt,
    journal: Arc<Mutex<Journal>>,
    qos: u8,
    number: u64,
    permit: OwnedSemaphorePermit,
) -> Result<()> {
    receipt.stored().await?;
    journal.lock().unwrap_or_else(PoisonError::into_inner).accept(qos, number)?;
    receipt.completed().await?;
    drop(permit);
    Ok(())
}

/// Where numbers of a QoS go.
pub(crate) fn topic(qos: QoS) -> &'static str {
    match qos {
        QoS::AtMostOnce => "crash/0",
        QoS::AtLeastOnce => "crash/1",
        QoS::ExactlyOnce => "crash/2",
    }
}

/// Becomes true when standard input says `stop`.
pub(crate) fn heard_stop() -> Result<watch::Receiver<bool>> {
    let (sender, stop) = watch::channel(false);
    thread::Builder::new()
        .name("standard input".to_owned())
        .spawn(move || {
            for line in io::stdin().lock().lines().map_while(io::Result::ok) {
                if line == "stop" && sender.send(true).is_err() {
                    return;
                }
            }
            // Kept so that the end of the input is no news.
            thread::park();
            drop(sender);
        })
        .context("standard input cannot be read")?;
    Ok(stop)
}

/// Numbers of one QoS that are open at most.
pub(crate) const WINDOW: usize = 16;
/// How long to wait before connecting again: a kill is over soon.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(20);
pub(crate) const BACKOFF_MAX: Duration = Duration::from_millis(200);
