//! Postrider's async face: one thread for the program and the driver.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail};
use postrider::{Bytes, Protocol, QoS, Receipt, Session, Topic};
use postrider_client_bench::{Arrivals, Meter, Plan, TOPIC, Traffic, resident_kib};

/// The program is a task, as its driver is: what runs in `block_on` costs a look for events at each wake-up.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tokio::spawn(run()).await?
}

async fn run() -> Result<()> {
    match Plan::of_arguments()? {
        Plan::Publish(traffic) => publish(traffic).await,
        Plan::Receive(traffic) => receive(traffic).await,
        Plan::Idle { port, sessions } => idle(port, sessions).await,
    }
}

async fn open(port: u16, id: &str, window: usize) -> Result<Session> {
    let builder = Session::builder(format!("mqtt://127.0.0.1:{port}"), id);
    let builder = builder.version(Protocol::V311).in_flight_max(u16::try_from(window)?);
    Ok(builder.connect().await?)
}

async fn publish(traffic: Traffic) -> Result<()> {
    let session = open(traffic.port, "bench-async", traffic.window).await?;
    let mut meter = Meter::new(traffic.warm_up())?;
    let topic = Topic::new(TOPIC)?;
    let payload = Bytes::from(vec![b'x'; traffic.size]);
    let qos = qos(traffic.qos)?;
    let mut open: VecDeque<Receipt> = VecDeque::with_capacity(traffic.window);
    for _ in 0..traffic.total() {
        if traffic.qos == 0 {
            session.publish(&topic, &payload).await?;
            meter.count();
            continue;
        }
        if open.len() == traffic.window {
            finish(open.pop_front(), &mut meter).await?;
        }
        meter.begin();
        open.push_back(session.publish(&topic, &payload).qos(qos).receipt().await?);
    }
    while !open.is_empty() {
        finish(open.pop_front(), &mut meter).await?;
    }
    if traffic.qos == 0 {
        session.publish("bench/end", "").qos(QoS::AtLeastOnce).await?;
    }
    meter.report()?;
    session.disconnect().await?;
    Ok(())
}

async fn finish(receipt: Option<Receipt>, meter: &mut Meter) -> Result<()> {
    receipt.context("none is open")?.await?;
    meter.complete();
    Ok(())
}

async fn receive(traffic: Traffic) -> Result<()> {
    let session = open(traffic.port, "bench-async", traffic.window).await?;
    let mut messages = session.subscribe(TOPIC, qos(traffic.qos)?).await?;
    let mut meter = Meter::new(traffic.warm_up())?;
    let mut arrivals = Arrivals::default();
    arrivals.ready()?;
    while meter.done() < traffic.total() {
        let message = messages.next().await.context("the stream has ended")?;
        if message.payload_len() != traffic.size {
            bail!("a payload of {} bytes", message.payload_len());
        }
        meter.count();
        arrivals.count()?;
    }
    meter.report()?;
    session.disconnect().await?;
    Ok(())
}

async fn idle(port: u16, sessions: usize) -> Result<()> {
    let before = resident_kib()?;
    let mut open_sessions = Vec::new();
    for at in 0..sessions {
        open_sessions.push(open(port, &format!("bench-async-{at}"), 100).await?);
    }
    eprintln!("kib={}", resident_kib()?.saturating_sub(before));
    Ok(())
}

fn qos(level: u8) -> Result<QoS> {
    QoS::from_bits(level).context("a QoS is 0 to 2")
}
