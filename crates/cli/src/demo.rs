//! `postrider demo`: the main job, step by step, each with what was done and measured.

mod flood;
mod giant;
mod noise;
mod steps;
mod tally;

use std::{
    hash::{BuildHasher, RandomState},
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use postrider::{Builder, Protocol, Session, Stats};
use postrider_broker::Broker;
use postrider_check::Dial;
use tokio::time::timeout;

use crate::{
    args::DemoArgs,
    bar::WIDTH,
    log,
    names::Manner,
    number::{thousands, time},
    out,
    status::Usage,
    transport::dialing,
};

/// A demonstration under way.
struct Demo {
    url: String,
    protocol: Protocol,
    /// Ends client ids and begins topics, so that two demonstrations do not meet.
    mark: String,
    /// Messages that may be on their way at once; `None` leaves that to the back-pressure of client and broker.
    ahead: Option<u32>,
    messages: u32,
    largest: Option<u32>,
    how: Option<Dial>,
}

/// Runs all steps; an error if anything is missing, doubled, out of order or different.
pub(crate) fn demo(args: &DemoArgs) -> anyhow::Result<()> {
    log::start_if_asked();
    if args.url.is_none() && args.transport.is_given() {
        bail!(Usage("options for TLS, WebSocket and proxies need a --url <URL>".to_owned()));
    }
    let broker = match &args.url {
        Some(_) => None,
        None => {
            let builder = Broker::builder().listen("tcp://127.0.0.1:0");
            Some(builder.start().context("cannot start a broker")?)
        }
    };
    let own =
        broker.as_ref().and_then(|broker| broker.endpoints().first()).map(ToString::to_string);
    // Its own broker is here, whatever the environment says.
    let how = args.url.as_ref().map(|_| args.transport.dial(Manner::Postrider)).transpose()?;
    let demo = Demo {
        url: args
            .url
            .as_ref()
            .map(|url| args.transport.secured(url))
            .or(own)
            .context("the broker does not say where it listens")?,
        protocol: args.protocol_version.protocol(),
        mark: format!("{:08x}", RandomState::new().hash_one("demo") >> 32),
        ahead: args.url.as_ref().map(|_| AHEAD),
        messages: args.messages,
        largest: args.largest,
        how,
    };
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(demo.run(broker.is_some()))?;
    if let Some(broker) = broker {
        broker.shut_down();
    }
    out::say(&format!(
        "\nAll there, in order, once, and unchanged. {} in all.",
        time(begun.elapsed())
    ))
}

impl Demo {
    async fn run(&self, is_own: bool) -> anyhow::Result<()> {
        let whose = if is_own { "a broker of its own" } else { "a broker" };
        out::say(&format!("postrider demo, with {whose}\n"))?;
        let session = self.connect().await?;
        let mut streams = self.subscribe(&session).await?;
        self.publish(&session, &mut streams).await?;
        let mut second = self.retain(&session).await?;
        for stream in &mut streams {
            self.flood(&session, stream).await?;
        }
        self.giant(&session, &mut second).await?;
        check_losses(&session.stats())?;
        self.unsubscribe(&session, &mut streams).await?;
        self.unsubscribe_all(&session, &mut streams).await?;
        check_losses(&session.stats())?;
        self.disconnect(&session, &second.session).await
    }

    /// Settings of one of our clients.
    fn client(&self, name: &str) -> Builder {
        // A connection that breaks is something to show, not to hide.
        let builder =
            Session::builder(&self.url, format!("demo-{name}-{}", self.mark)).reconnect(false);
        match &self.how {
            Some(how) => dialing(builder, how.clone()),
            None => builder,
        }
    }

    /// One of our topics.
    fn topic(&self, name: &str) -> String {
        format!("postrider/demo/{}/{name}", self.mark)
    }
}

/// Does one step and prints its line: name, what was done, and the time it took. The step may take [`PATIENCE`].
async fn step<T>(
    name: &str,
    work: impl Future<Output = anyhow::Result<(T, String)>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    // Some of these futures are large.
    let done = timeout(PATIENCE, pin!(work)).await;
    let done = done.with_context(|| format!("not done within {} s", PATIENCE.as_secs()));
    let (value, text) = done.and_then(|done| done).with_context(|| name.to_owned())?;
    line(name, &text, begun.elapsed())?;
    Ok(value)
}

/// Prints the line of a step.
fn line(name: &str, text: &str, took: Duration) -> anyhow::Result<()> {
    out::say(&format!("  {name:<WIDTH$}{text:<TEXT_WIDTH$}{:>10}", time(took)))
}

/// An error if the session itself says that something went wrong.
fn check_losses(stats: &Stats) -> anyhow::Result<()> {
    let counts = [
        (stats.disconnections, "connections lost"),
        (stats.resent, "messages sent again"),
        (stats.dropped_full, "messages dropped from a full queue"),
        (stats.dropped_expired, "messages expired"),
        (stats.dropped_too_large, "messages too large"),
        (stats.dropped_slow, "messages dropped because they were read too slowly"),
        (stats.refused, "messages refused"),
        (stats.slow_streams, "subscriptions ended because they were read too slowly"),
        (stats.unmatched, "messages that no subscription asked for"),
        (stats.dropped_unmatched, "messages that no subscription asked for, and dropped"),
    ];
    let faults = counts.iter().filter(|(count, _)| *count > 0);
    let texts: Vec<_> =
        faults.map(|(count, what)| format!("{} {what}", thousands(*count))).collect();
    ensure!(texts.is_empty(), "the session counts {}", texts.join(", "));
    Ok(())
}

/// How long anything may take without any progress.
const PATIENCE: Duration = Duration::from_secs(30);
/// Other brokers drop messages when a subscriber has too many waiting: Mosquitto above 1,000.
const AHEAD: u32 = 500;
/// Width of the second column.
const TEXT_WIDTH: usize = 52;
