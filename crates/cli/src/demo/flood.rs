//! Many numbered messages at one quality of service, through one session and back.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use postrider::{QoS, Receipt, Session, Subscription, Topic};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{Demo, PATIENCE, line, steps::next, tally::Tally};
use crate::{
    bar::{Bar, Plain},
    number::{rate, thousands},
};

impl Demo {
    /// Publishes the messages to the topic of `stream` while it reads them.
    pub(super) async fn flood(
        &self,
        session: &Session,
        stream: &mut Subscription,
    ) -> anyhow::Result<()> {
        let qos = stream.granted();
        let name = format!("{} at QoS {}", thousands(self.messages.into()), qos.bits());
        let mut bar = Bar::messages(&name, self.messages.into(), Plain::Lines);
        let begun = Instant::now();
        self.exchange(session, stream, qos, &mut bar).await.with_context(|| name.clone())?;
        let took = begun.elapsed();
        drop(bar);
        let rate = thousands(rate(self.messages.into(), took));
        line(&name, &format!("all there, in order; {rate} messages/s"), took)?;
        Ok(())
    }

    async fn exchange(
        &self,
        session: &Session,
        stream: &mut Subscription,
        qos: QoS,
        bar: &mut Bar,
    ) -> anyhow::Result<()> {
        let topic = Topic::new(stream.filter())?;
        let ahead = usize::try_from(self.ahead.unwrap_or(self.messages))?;
        let credit = Semaphore::new(ahead);
        let (receipts, taken) = mpsc::channel(ahead.min(RECEIPTS_MAX));
        let sending = send(session, &topic, qos, self.messages, &credit, receipts);
        let ((), (), ()) = tokio::try_join!(
            sending,
            complete(taken),
            receive(stream, self.messages, &credit, bar)
        )?;
        // Nobody else publishes here: what is left came twice.
        ensure!(stream.try_next().is_none(), "a message came twice");
        Ok(())
    }
}

async fn send(
    session: &Session,
    topic: &Topic,
    qos: QoS,
    count: u32,
    credit: &Semaphore,
    receipts: mpsc::Sender<(u32, Receipt)>,
) -> anyhow::Result<()> {
    for number in 0..count {
        credit.acquire().await?.forget();
        let request = session.publish(topic, payload(number)).qos(qos);
        let failed = || format!("message {number} was not published");
        match qos {
            QoS::AtMostOnce => drop(request.await.with_context(failed)?),
            QoS::AtLeastOnce | QoS::ExactlyOnce => {
                let receipt = request.receipt().await.with_context(failed)?;
                if receipts.send((number, receipt)).await.is_err() {
                    bail!("nobody waits for the end of message {number}");
                }
            }
        }
    }
    Ok(())
}

/// Waits for the end of each exchange.
async fn complete(mut receipts: mpsc::Receiver<(u32, Receipt)>) -> anyhow::Result<()> {
    while let Some((number, receipt)) = receipts.recv().await {
        receipt.await.with_context(|| format!("message {number} was not completed"))?;
    }
    Ok(())
}

async fn receive(
    stream: &mut Subscription,
    count: u32,
    credit: &Semaphore,
    bar: &mut Bar,
) -> anyhow::Result<()> {
    let mut tally = Tally::new(count);
    let mut arrived = 0;
    while arrived < count {
        let message = match stream.try_next() {
            Some(message) => message,
            None => match timeout(PATIENCE, next(stream)).await {
                Ok(message) => message?,
                Err(_) => bail!("nothing came for {} s: {tally}", PATIENCE.as_secs()),
            },
        };
        tally.count(number(&message.payload()?));
        arrived = tally.arrived();
        credit.add_permits(1);
        if arrived.is_multiple_of(BAR_EVERY) {
            bar.set(arrived.into());
        }
    }
    ensure!(tally.is_clean(), "{tally}");
    Ok(())
}

fn payload(number: u32) -> Vec<u8> {
    let mut payload = vec![b'.'; PAYLOAD_BYTES];
    payload.splice(..4, number.to_be_bytes());
    payload
}

/// The number of a message, if it is one of ours.
fn number(payload: &[u8]) -> Option<u32> {
    let (number, rest) = payload.split_first_chunk()?;
    let is_ours = payload.len() == PAYLOAD_BYTES && rest.iter().all(|byte| *byte == b'.');
    is_ours.then(|| u32::from_be_bytes(*number))
}

/// Bytes of each message.
const PAYLOAD_BYTES: usize = 64;
/// Messages whose completion is awaited at once.
const RECEIPTS_MAX: usize = 10_000;
/// Messages between two looks at the bar.
const BAR_EVERY: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_carries_its_number() {
        for wanted in [0, 1, u32::MAX] {
            let mut bytes = payload(wanted);
            assert_eq!(bytes.len(), PAYLOAD_BYTES);
            assert_eq!(number(&bytes), Some(wanted));
            bytes[PAYLOAD_BYTES - 1] = b'!';
            assert_eq!(number(&bytes), None);
            bytes.pop();
            assert_eq!(number(&bytes), None);
        }
        assert_eq!(number(b""), None);
    }
}
