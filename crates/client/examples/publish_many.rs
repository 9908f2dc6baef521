//! Publishes many messages with many of them on their way at once, and says how fast that was.
//!
//! ```text
//! cargo run --release -p postrider --example publish_many [URL] [COUNT]
//! ```

use std::{collections::VecDeque, time::Instant};

use postrider::{Bytes, QoS, Receipt, Session, Topic};

/// Publications on their way at once.
const WINDOW: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "mqtt://127.0.0.1:1883".to_owned());
    let count: u32 = args.next().map_or(Ok(100_000), |count| count.parse())?;

    let session = Session::builder(url, "").connect().await?;
    // A topic and a payload that are checked and copied once serve any number of messages.
    let topic = Topic::new("postrider/examples/many")?;
    let payload = Bytes::from_static(&[b'x'; 64]);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let started = Instant::now();
        let mut open: VecDeque<Receipt> = VecDeque::new();
        for _ in 0..count {
            if qos == QoS::AtMostOnce {
                session.publish(&topic, &payload).await?;
                continue;
            }
            if open.len() == WINDOW
                && let Some(oldest) = open.pop_front()
            {
                oldest.await?;
            }
            open.push_back(session.publish(&topic, &payload).qos(qos).receipt().await?);
        }
        for receipt in open {
            receipt.await?;
        }
        let rate = f64::from(count) / started.elapsed().as_secs_f64();
        println!("QoS {qos}: {count} messages, {rate:.0} per second");
    }
    session.disconnect().await?;
    Ok(())
}
