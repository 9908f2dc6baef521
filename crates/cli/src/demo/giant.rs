//! One message of the largest size there is.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use postrider::{Message, QoS, Session, Subscription};
use postrider_broker::wire::PACKET_SIZE_MAX;
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{
    Demo, PATIENCE, line,
    noise::{Sum, noise},
    steps::next,
};
use crate::{
    bar::{Bar, Plain},
    number::{rate, thousands},
};

/// The second client.
pub(super) struct Second {
    pub(super) session: Session,
}

impl Demo {
    /// Publishes a giant from one client to the other and compares it at both ends.
    pub(super) async fn giant(&self, one: &Session, two: &mut Second) -> anyhow::Result<()> {
        let name = "largest message";
        self.compare(name, one, &two.session).await.with_context(|| name.to_owned())
    }

    async fn compare(&self, name: &str, one: &Session, two: &Session) -> anyhow::Result<()> {
        let topic = self.topic("largest");
        let (largest, is_bounded) = payload_max(one, &topic)?;
        let (len, size) = match self.largest {
            Some(len) if len != largest => (len, ""),
            _ if is_bounded => (largest, ", the largest it takes"),
            _ => (largest, ", the largest there is"),
        };
        let len = usize::try_from(len)?;
        // A second or so of computing must not keep the clients from their connections.
        let (payload, sum) = spawn_blocking(move || noise(len)).await?;
        let mut stream = two.subscribe(&topic, QoS::AtLeastOnce).await?;
        let begun = Instant::now();
        let message = transfer(name, one, two, &mut stream, payload).await?;
        let took = begun.elapsed();
        ensure!(message.payload_len() == len, "{} of {len} bytes came", message.payload_len());
        stream.unsubscribe().await?;
        let summed = spawn_blocking(move || {
            let mut sum = Sum::default();
            sum.add_all(message.reader())?;
            Ok::<_, std::io::Error>(sum.finish())
        });
        let came = summed.await??;
        ensure!(came == sum, "SHA-256 was {sum} and came as {came}");
        let len = u64::try_from(len)?;
        let megabytes = rate(len, took) / 1_000_000;
        let text = format!("{} bytes{size}; {} MB/s", thousands(len), thousands(megabytes));
        line(name, &text, took)?;
        let first = sum.get(..16).unwrap_or(&sum);
        line("SHA-256", &format!("the same at both ends, {first}..."), begun.elapsed() - took)?;
        Ok(())
    }
}

/// Publishes while the stream waits for it. A bar shows the mean of what is sent and what has come.
async fn transfer(
    name: &str,
    one: &Session,
    two: &Session,
    stream: &mut Subscription,
    payload: Vec<u8>,
) -> anyhow::Result<Message> {
    let total = u64::try_from(payload.len())?;
    let topic = stream.filter().to_owned();
    let moved = || one.stats().bytes_sent + two.stats().bytes_received;
    let before = moved();
    let mut bar = Bar::bytes(name, total, Plain::Lines);
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let publishing = async {
        let published = one.publish(&topic, payload).qos(QoS::AtLeastOnce).await;
        published.map(drop).context("it was not published")
    };
    let mut both = std::pin::pin!(async { tokio::try_join!(publishing, next(stream)) });
    let (mut last, mut moved_at) = (before, Instant::now());
    loop {
        tokio::select! {
            done = &mut both => return done.map(|((), message)| message),
            _ = look.tick() => {}
        }
        let now = moved();
        bar.set((now - before) / 2);
        if now != last {
            (last, moved_at) = (now, Instant::now());
        } else if moved_at.elapsed() > PATIENCE {
            let (sent, received) = (one.stats().bytes_sent, two.stats().bytes_received);
            let (sent, received) = (thousands(sent), thousands(received));
            bail!(
                "nothing moved for {} s, after {sent} bytes out and {received} in",
                PATIENCE.as_secs()
            );
        }
    }
}

/// The largest payload that a QoS 1 packet to this topic can hold and the broker takes, and whether it is the broker that
/// takes no more.
fn payload_max(session: &Session, topic: &str) -> anyhow::Result<(u32, bool)> {
    let limits = session.limits().context("the connection is gone")?;
    // First byte and four bytes of length; topic with its length; packet identifier; length of no properties.
    let head = 5 + 2 + u32::try_from(topic.len())? + 2 + u32::from(limits.has_properties);
    let packet_size_max = limits.packet_size_max.min(PACKET_SIZE_MAX);
    Ok((packet_size_max.saturating_sub(head), packet_size_max < PACKET_SIZE_MAX))
}

/// How often the bar looks at what has moved.
const LOOK_EVERY: Duration = Duration::from_millis(50);
