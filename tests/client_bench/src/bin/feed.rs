//! The sender for the receivers, the same for all: as fast as they let it.

use std::sync::mpsc;

use anyhow::{Context, Result, bail};
use postrider::{Bytes, Protocol, QoS, Topic, blocking::Session};
use postrider_client_bench::{Credit, Plan, TOPIC};

fn main() -> Result<()> {
    let Plan::Receive(traffic) = Plan::of_arguments()? else {
        bail!("receive PORT QOS WINDOW SIZE MESSAGES");
    };
    let builder = Session::builder(format!("mqtt://127.0.0.1:{}", traffic.port), "bench-feed");
    let builder = builder.version(Protocol::V311).in_flight_max(u16::try_from(traffic.window)?);
    let session = builder.connect()?;
    let topic = Topic::new(TOPIC)?;
    let payload = Bytes::from(vec![b'x'; traffic.size]);
    let qos = QoS::from_bits(traffic.qos).context("a QoS is 0 to 2")?;
    let mut credit = Credit::default();
    let (done, is_done) = mpsc::channel();
    let mut open = 0;
    for _ in 0..traffic.total() {
        credit.take()?;
        if traffic.qos == 0 {
            session.publish(&topic, &payload).wait()?;
            continue;
        }
        if open == traffic.window {
            is_done.recv()??;
            open -= 1;
        }
        let done = done.clone();
        session.publish(&topic, &payload).qos(qos).on_complete(move |_, _, result| {
            // The program waits for each.
            let _ = done.send(result);
        })?;
        open += 1;
    }
    for _ in 0..open {
        is_done.recv()??;
    }
    session.disconnect()?;
    credit.end()
}
